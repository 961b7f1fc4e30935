//go:build linux

package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// crashingEnv makes the test binary a program that calls Up and is to be killed.
const crashingEnv = "GOFLEET_LAB_TEST_CRASHING"

func TestMain(m *testing.M) {
	Main()
	if dir := os.Getenv(crashingEnv); dir != "" {
		os.Exit(crashing(dir))
	}
	if os.Getenv(purgingEnv) != "" {
		if err := purging(context.Background()); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// purgingEnv makes the test binary a program that purges what it started. Its
// namespaces are its own, so that other labs on the machine survive.
const purgingEnv = "GOFLEET_LAB_TEST_PURGING"

func purging(ctx context.Context) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	if err := errors.Join(
		unmountBelow(""), // other labs', in this namespace only
		unix.Mount("proc", "/proc", "proc", 0, ""),
		unix.Mount("tmpfs", "/run", "tmpfs", 0, ""),
	); err != nil {
		return err
	}
	others, err := mountsBelow("/run", "") // out of sight below this tmpfs
	if err != nil {
		return err
	}
	for _, c := range []Config{{Name: "a"}, {Name: "b", Dir: "/run/elsewhere"}} {
		c.Hosts = make([]HostConfig, 1)
		if _, err := Up(ctx, c); err != nil {
			return err
		}
	}
	if err := errors.Join(os.Remove("/run/elsewhere/b/state.json"), Purge(ctx)); err != nil {
		return err
	}
	left, err := initProcesses()
	if err != nil || len(left) > 0 {
		return fmt.Errorf("processes left: %v, %w", left, err)
	}
	links, err := net.Interfaces()
	if err != nil || len(links) != 1 {
		return fmt.Errorf("links left: %v, %w", links, err)
	}
	mounts, err := mountsBelow("/run", "")
	if err != nil || len(mounts) > len(others) {
		return fmt.Errorf("mounts left: %v, %w", mounts, err)
	}
	for _, dir := range []string{DefaultDir, "/run/elsewhere/b"} {
		if _, err := os.Stat(dir); err == nil {
			return fmt.Errorf("%s is left", dir)
		}
	}
	return nil
}

// crashing starts a lab, says so, and waits to be killed.
func crashing(dir string) int {
	_, err := Up(context.Background(), Config{Dir: dir, Name: "crash", Ephemeral: true, Hosts: make([]HostConfig, 4)})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println("up")
	select {}
}

// needRoot skips tests of namespaces for ordinary users.
func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: hosts are namespaces and mounts")
	}
}

func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// up starts a lab that goes with the test.
func startLab(t *testing.T, c Config) *Lab {
	t.Helper()
	c.Dir = t.TempDir()
	c.Ephemeral = true
	l, err := Up(testContext(t), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Down(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return l
}

// traces are what a lab leaves on the machine while it is up. They are told from
// other labs', which may come and go meanwhile.
type traces struct {
	dir        string
	slot       slot
	namespaces []string
}

func tracesOf(t *testing.T, l *Lab) traces {
	t.Helper()
	tr := traces{dir: l.Dir, slot: l.state.Slot}
	hosts, err := livingHosts(l.Dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range hosts {
		for _, kind := range []string{"pid", "net", "mnt", "uts", "ipc"} {
			ns, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", p.PID, kind))
			if err != nil {
				t.Fatal(err)
			}
			tr.namespaces = append(tr.namespaces, ns)
		}
	}
	if len(tr.left(t)) == 0 {
		t.Fatal("a lab that is up has no traces: this test proves nothing")
	}
	return tr
}

// left lists what there is of the lab.
func (tr traces) left(t *testing.T) []string {
	t.Helper()
	var left []string
	if _, err := os.Stat(tr.dir); err == nil {
		left = append(left, "directory "+tr.dir)
	}
	mounts, err := mountsBelow(filepath.Dir(tr.dir), "")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range mounts {
		left = append(left, "mount "+m)
	}
	out, err := exec.Command("ip", "-o", "link").Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line)
		name, _, _ := strings.Cut(strings.TrimSuffix(f[1], ":"), "@")
		ours := name == tr.slot.bridge() && strings.Contains(line, hardwareAddr(tr.dir).String())
		if ours || strings.HasPrefix(name, tr.slot.bridge()+"h") && tr.bridgeOurs(out) {
			left = append(left, "link "+name)
		}
	}
	links, err := filepath.Glob("/proc/[0-9]*/ns/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range links {
		if ns, err := os.Readlink(link); err == nil && slices.Contains(tr.namespaces, ns) {
			left = append(left, "process in "+ns+": "+link)
		}
	}
	return left
}

func (tr traces) bridgeOurs(links []byte) bool {
	return strings.Contains(string(links), hardwareAddr(tr.dir).String())
}

// gone fails the test if something of the lab is left.
func (tr traces) gone(t *testing.T) {
	t.Helper()
	for _, s := range tr.left(t) {
		t.Errorf("left behind: %s", s)
	}
}

// eventually waits for a state that another process brings about.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); {
		if time.Now().After(end) {
			t.Fatalf("%s: not within 20 s", what)
		}
		_, _ = unix.Poll(nil, 2)
	}
}
