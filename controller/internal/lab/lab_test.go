//go:build linux

package lab

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"gopkg.in/yaml.v3"
)

func TestUpAndDown(t *testing.T) {
	needRoot(t)
	began := time.Now()
	l, err := Up(testContext(t), Config{Dir: t.TempDir(), Hosts: make([]HostConfig, 8)})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("8 hosts up in %v", time.Since(began).Round(time.Millisecond))
	defer l.Down(context.Background())
	tr := tracesOf(t, l)
	if l.Upper != "tmpfs" {
		t.Errorf("hosts write on %s", l.Upper)
	}

	var inventory struct {
		Lab struct {
			Vars  map[string]string
			Hosts map[string]map[string]string
		}
	}
	text, err := os.ReadFile(l.InventoryFile())
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, &inventory); err != nil {
		t.Fatal(err)
	}
	if got := inventory.Lab.Hosts["h8"]["ansible_host"]; len(inventory.Lab.Hosts) != 8 || got != l.Hosts[7].Addr {
		t.Errorf("inventory has %d hosts and h8 at %q", len(inventory.Lab.Hosts), got)
	}

	// Another process finds it, and can't start it again.
	dir := filepath.Dir(l.Dir)
	if _, err := Up(testContext(t), Config{Dir: dir, Hosts: make([]HostConfig, 1)}); err == nil || !strings.Contains(err.Error(), "up already") {
		t.Errorf("a second Up: %v", err)
	}
	found, err := Find(dir, "")
	if err != nil {
		t.Fatal(err)
	}
	if out, err := found.Host("h3").Exec(testContext(t), "hostname"); err != nil || string(out) != "h3\n" {
		t.Errorf("exec: %q, %v", out, err)
	}
	// Hosts see each other, by name.
	if out, err := found.Host("h3").Exec(testContext(t), "bash", "-c", "read -n 4 x < /dev/tcp/h4/22; echo $x"); err != nil || string(out) != "SSH-\n" {
		t.Errorf("h3 to h4: %q, %v", out, err)
	}
	if _, err := found.Host("h3").Exec(testContext(t), "touch", "/usr/local/lib/mark"); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(found.Host("h3").UpperDir, "usr/local/lib/mark")); err != nil {
		t.Errorf("what a host writes does not show: %v", err)
	}
	if err := found.Down(testContext(t)); err != nil {
		t.Fatal(err)
	}
	tr.gone(t)
	if _, err := Find(dir, ""); err == nil {
		t.Error("the lab is still found")
	}
}

func TestUpperOnDisk(t *testing.T) {
	needRoot(t)
	disk := t.TempDir()
	l := startLab(t, Config{UpperDir: disk, Hosts: make([]HostConfig, 1)})
	if l.Upper != "disk" || !strings.HasPrefix(l.Hosts[0].UpperDir, disk+"/") {
		t.Errorf("upper %s in %s", l.Upper, l.Hosts[0].UpperDir)
	}
	check{user: AdminUser, command: "sudo touch /usr/local/lib/mark && echo done", want: `^done\n$`}.run(t, l, l.Hosts[0])
	if err := l.Down(testContext(t)); err != nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(disk); len(left) != 0 {
		t.Errorf("left on the disk: %v", left)
	}
}

func TestRebootKillCut(t *testing.T) {
	needRoot(t)
	ctx := testContext(t)
	l := startLab(t, Config{Hosts: make([]HostConfig, 2)})
	h := l.Hosts[0]
	in := func() error { return l.SSH(ctx, AdminUser, h, "true").Run() }
	check{user: AdminUser, command: "sudo touch /usr/local/lib/kept /run/lost; (setsid sleep 600 </dev/null >/dev/null 2>&1 &)", want: `^$`}.run(t, l, h)
	if err := h.Reboot(ctx); err != nil {
		t.Fatal(err)
	}
	check{user: AdminUser, command: "ls /usr/local/lib /run/lost 2>/dev/null; pgrep sleep", want: `^/usr/local/lib:\nkept\n$`, fails: true}.run(t, l, h)

	if err := h.Kill(ctx); err != nil {
		t.Fatal(err)
	}
	if up, err := h.Running(); up || err != nil {
		t.Errorf("running after Kill: %v, %v", up, err)
	}
	if err := h.Reboot(ctx); err != nil {
		t.Fatal(err)
	}

	if err := h.KillSSHD(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := net.Dial("tcp", net.JoinHostPort(h.Addr, "22")); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("dial without sshd: %v", err)
	}
	if err := h.StartSSHD(ctx); err != nil {
		t.Fatal(err)
	}

	// A session that is dropped ends; sshd stays.
	session := l.SSH(ctx, AdminUser, h, "echo in; sleep 600")
	stdout, err := session.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := session.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := stdout.Read(make([]byte, 3)); err != nil {
		t.Fatal(err)
	}
	if err := h.DropSessions(ctx); err != nil {
		t.Fatal(err)
	}
	if err := session.Wait(); err == nil {
		t.Error("the session ended well")
	}
	if err := in(); err != nil {
		t.Errorf("login after DropSessions: %v", err)
	}

	if err := h.CutNetwork(ctx); err != nil {
		t.Fatal(err)
	}
	if conn, err := net.DialTimeout("tcp", net.JoinHostPort(h.Addr, "22"), 300*time.Millisecond); err == nil {
		conn.Close()
		t.Error("the cut network carries")
	}
	if err := h.RestoreNetwork(ctx); err != nil {
		t.Fatal(err)
	}
	eventually(t, "login after RestoreNetwork", func() bool { return in() == nil })
}

// startCrashing runs a program that brings up a lab in dir.
func startCrashing(t *testing.T, dir string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), crashingEnv+"="+dir)
	cmd.Stderr = os.Stderr
	return cmd
}

func TestCrash(t *testing.T) {
	needRoot(t)
	ctx := testContext(t)
	for _, when := range []string{"starting", "up"} {
		t.Run(when, func(t *testing.T) {
			dir := t.TempDir()
			labDir := filepath.Join(dir, "crash")
			cmd := startCrashing(t, dir)
			stdout, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			if when == "up" {
				if _, err := stdout.Read(make([]byte, 2)); err != nil {
					t.Fatal(err)
				}
			} else {
				eventually(t, "a host's process", func() bool {
					hosts, err := livingHosts(labDir)
					return err == nil && len(hosts) > 0
				})
			}
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait()
			eventually(t, "the end of ephemeral hosts", func() bool {
				hosts, err := livingHosts(labDir)
				return err == nil && len(hosts) == 0
			})
			// The next Up clears up by itself.
			l, err := Up(ctx, Config{Dir: dir, Name: "crash", Hosts: make([]HostConfig, 1)})
			if err != nil {
				t.Fatal(err)
			}
			tr := tracesOf(t, l)
			if err := Remove(ctx, dir, "crash"); err != nil {
				t.Fatal(err)
			}
			tr.gone(t)
		})
	}
}

// Down after a crash finds everything, also of hosts that still run.
func TestRemoveAfterCrash(t *testing.T) {
	needRoot(t)
	ctx := testContext(t)
	l, err := Up(ctx, Config{Dir: t.TempDir(), Name: "crash", Hosts: make([]HostConfig, 2)})
	if err != nil {
		t.Fatal(err)
	}
	tr := tracesOf(t, l)
	if err := os.Remove(stateFile(l.Dir)); err != nil {
		t.Fatal(err)
	}
	if err := Remove(ctx, filepath.Dir(l.Dir), "crash"); err != nil {
		t.Fatal(err)
	}
	tr.gone(t)
}

func TestTwoLabs(t *testing.T) {
	needRoot(t)
	var labs [2]*Lab
	var wg sync.WaitGroup
	for i := range labs {
		wg.Go(func() {
			l, err := Up(testContext(t), Config{Dir: t.TempDir(), Hosts: make([]HostConfig, 2)})
			if err != nil {
				t.Error(err)
				return
			}
			labs[i] = l
		})
	}
	wg.Wait()
	for _, l := range labs {
		if l != nil {
			defer l.Down(context.Background())
			check{user: AdminUser, command: "echo in", want: `^in\n$`}.run(t, l, l.Hosts[1])
		}
	}
	if labs[0] != nil && labs[1] != nil && labs[0].Hosts[0].Addr == labs[1].Hosts[0].Addr {
		t.Error("two labs share an address")
	}
}

// A failed Up leaves nothing and says what the host said.
func TestUpFails(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	_, err := Up(testContext(t), Config{Dir: dir, Hosts: []HostConfig{{}, {SSHD: []string{"NoSuchKeyword yes"}}}})
	if err == nil || !strings.Contains(err.Error(), "h2") || !strings.Contains(err.Error(), "NoSuchKeyword") {
		t.Errorf("error %v", err)
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if hosts, err := livingHosts(filepath.Join(dir, "default")); err != nil || len(hosts) > 0 {
		t.Errorf("hosts still run: %v, %v", hosts, err)
	}
}

func TestPurge(t *testing.T) {
	needRoot(t)
	cmd := exec.CommandContext(testContext(t), "/proc/self/exe")
	cmd.Env = append(os.Environ(), purgingEnv+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWNET}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

// TestSystemd boots an image twice, with systemd and everything below it, and
// leaves nothing of two hosts that ended.
func TestSystemd(t *testing.T) {
	needRoot(t)
	image := HostConfig{Image: "bookworm", Systemd: true}
	repo, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
	defer cancel()
	l, err := Up(ctx, Config{Dir: t.TempDir(), CacheDir: filepath.Join(repo, ".cache", "images"), Ephemeral: true, Hosts: []HostConfig{image, image}})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Down(context.Background())
	groups := func() []string {
		top, err := cgroupMount()
		if err != nil || top == "" {
			t.Fatalf("no control groups: %v", err)
		}
		found, err := filepath.Glob(filepath.Join(top, cgroupName(l.Dir, "*")))
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	traces := tracesOf(t, l)
	if got := groups(); len(got) != 2 {
		t.Errorf("control groups are %q", got)
	}
	h := l.Hosts[0]
	// What one host's systemd does to its own groups is not the other's.
	for _, command := range []string{
		"systemctl is-system-running", "systemctl restart ssh", "test $(hostname) = h1", "echo 1 > /proc/sys/net/ipv4/ip_forward", "touch /etc/kept",
	} {
		if _, err := h.Exec(ctx, "sh", "-c", command); err != nil {
			t.Error(err)
		}
	}
	if err := h.Reboot(ctx); err != nil {
		t.Fatal(err)
	}
	for _, h := range l.Hosts {
		if out, err := l.SSH(ctx, AdminUser, h, "sudo ps -o comm= -p 1; ls /etc/kept; ip -4 -o addr show eth0").CombinedOutput(); err != nil && h == l.Hosts[0] || !strings.HasPrefix(string(out), "systemd\n") || !strings.Contains(string(out), h.Addr) {
			t.Errorf("%s: %v: %s", h.Name, err, out)
		}
	}
	if err := l.Down(ctx); err != nil {
		t.Fatal(err)
	}
	traces.gone(t)
	if left := groups(); len(left) > 0 {
		t.Errorf("control groups left: %q", left)
	}
}
