// Package hosttest gives a test a host of its own to change: a mount namespace
// whose root is an overlay of this machine's root, on a tmpfs, so that real
// useradd, visudo and shells run and nothing of it is left. For tests only.
package hosttest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gofleet/gofleet/agent/internal/asuser"
)

// large is where Snapshot stops to read files: the machine's own, not the test's.
const large = 1 << 20

// inside is set in the environment of a test binary that has a host of its own.
const inside = "GOFLEET_HOSTTEST"

// Main is what a package's TestMain calls. It serves as the agent's main does
// for children that work as a user.
func Main(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == asuser.Command {
		os.Exit(asuser.Main(os.Stdin, os.Stdout))
	}
	if os.Getenv(inside) != "" {
		if err := enter(); err != nil {
			fmt.Fprintln(os.Stderr, "make a test host:", err)
			os.Exit(3)
		}
	}
	os.Exit(m.Run())
}

// Enter reports whether the test runs on a host of its own. If not, it runs the
// test again on one, and the caller returns:
//
//	if !hosttest.Enter(t) {
//		return
//	}
//
// It needs root, and skips the test without.
func Enter(t *testing.T) bool {
	t.Helper()
	if os.Getenv(inside) != "" {
		return true
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root, to mount")
	}
	cmd := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v", "-test.count=1", "-test.timeout=2m")
	cmd.Env = append(os.Environ(), inside+"=1", "HOME=/root")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWUTS}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Fatalf("the test did not run on its host:\n%s", out)
	}
	return false
}

// enter mounts the overlay and makes it the root of this process.
func enter() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	base := "/mnt"
	if err := unix.Mount("tmpfs", base, "tmpfs", 0, "mode=0755"); err != nil {
		return fmt.Errorf("mount tmpfs: %w", err)
	}
	upper, work, root := base+"/upper", base+"/work", base+"/root"
	for _, d := range []string{upper, work, root} {
		if err := os.Mkdir(d, 0o755); err != nil {
			return err
		}
	}
	data := fmt.Sprintf("lowerdir=/,upperdir=%s,workdir=%s", upper, work)
	if err := unix.Mount("overlay", root, "overlay", 0, data); err != nil {
		return fmt.Errorf("mount overlay: %w", err)
	}
	for _, m := range []struct {
		dir, kind string
		flags     uintptr
	}{{"/proc", "", unix.MS_BIND | unix.MS_REC}, {"/dev", "", unix.MS_BIND | unix.MS_REC}, {"/tmp", "tmpfs", 0}, {"/run", "tmpfs", 0}} {
		source := m.dir
		if m.kind != "" {
			source = m.kind
		}
		if err := unix.Mount(source, root+m.dir, m.kind, m.flags, ""); err != nil {
			return fmt.Errorf("mount %s: %w", m.dir, err)
		}
	}
	// A test may run below a directory that the overlay doesn't have.
	if err := errors.Join(os.Chmod(root+"/tmp", 0o1777), unix.Chroot(root), os.Chdir("/")); err != nil {
		return err
	}
	return sanitize()
}

// sanitize makes the host one that was never gofleet's, and without accounts
// that the machine happens to have.
func sanitize() error {
	for _, pattern := range []string{"/usr/local/lib/gofleet", "/usr/local/bin/go", "/usr/local/bin/gofmt", "/usr/local/bin/*.unmanaged*", "/etc/profile.d/gofleet.sh", "/etc/sudoers.d/gofleet-*"} {
		paths, err := filepath.Glob(pattern)
		if err != nil {
			return err
		}
		for _, p := range paths {
			if err := os.RemoveAll(p); err != nil {
				return err
			}
		}
	}
	return nil
}

// Run runs a command on the test's host and gives what it prints; a failure
// ends the test.
func Run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// Write writes a file of the test's host.
func Write(t *testing.T, path, content string, mode os.FileMode) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), mode), os.Chmod(path, mode)); err != nil {
		t.Fatal(err)
	}
}

// Hide takes programs away from the test's host, in every directory of PATH.
func Hide(t *testing.T, names ...string) {
	t.Helper()
	for _, n := range names {
		for _, dir := range []string{"/usr/sbin", "/usr/bin", "/sbin", "/bin", "/usr/local/sbin", "/usr/local/bin"} {
			if err := os.Remove(filepath.Join(dir, n)); err != nil && !errors.Is(err, os.ErrNotExist) {
				t.Fatal(err)
			}
		}
	}
}

// Snapshot describes everything below the roots: type, mode, owner, and content
// of files, for large ones size and time. Two equal snapshots are the same trees.
func Snapshot(t *testing.T, roots ...string) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, root := range roots {
		err := filepath.Walk(root, func(path string, fi os.FileInfo, err error) error {
			if errors.Is(err, os.ErrNotExist) {
				return nil
			}
			if err != nil {
				return err
			}
			st := fi.Sys().(*syscall.Stat_t)
			s := fmt.Sprintf("%v %d:%d ", fi.Mode(), st.Uid, st.Gid)
			switch {
			case fi.Mode().IsRegular() && fi.Size() > large:
				s += fmt.Sprint(fi.Size(), " bytes of ", fi.ModTime())
			case fi.Mode().IsRegular():
				b, err := os.ReadFile(path)
				if err != nil {
					return err
				}
				s += string(b)
			case fi.Mode()&os.ModeSymlink != 0:
				target, err := os.Readlink(path)
				if err != nil {
					return err
				}
				s += target
			}
			all[path] = s
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// Same compares two snapshots, without the paths named as different.
func Same(t *testing.T, before, after map[string]string, except ...string) {
	t.Helper()
	skip := map[string]bool{}
	for _, e := range except {
		skip[e] = true
	}
	for path, b := range before {
		if a, ok := after[path]; !skip[path] && (!ok || a != b) {
			t.Errorf("%s was\n%s\nand is\n%s", path, b, a)
		}
	}
	for path, a := range after {
		if _, ok := before[path]; !ok && !skip[path] {
			t.Errorf("%s is new: %s", path, a)
		}
	}
}
