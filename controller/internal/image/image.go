//go:build linux

// Package image runs commands inside a mounted system image or container root
// as if it were a host: in namespaces of its own, with that directory for its
// root, and without a network. It leaves nothing there: what it mounts goes
// with the command. It knows nothing of what is run.
package image

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// entry is the name by which Command starts this program again.
const entry = "gofleet-image"

// Error says what is wrong with a directory, and what to do.
type Error struct {
	Err  error
	Hint string
}

func (e *Error) Error() string { return e.Err.Error() }

// Unwrap gives the error.
func (e *Error) Unwrap() error { return e.Err }

func refuse(hint, format string, args ...any) error {
	return &Error{fmt.Errorf(format, args...), hint}
}

// Image is the root of a system that does not run.
type Image struct {
	dir  string
	lock *os.File
}

// Open looks whether dir is the root of a system whose programs this machine
// runs, and with exclusive keeps others from changing it until Close. Its
// errors are *Error.
func Open(dir string, exclusive bool) (*Image, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, refuse("", "open %s: %w", dir, err)
	}
	if os.Geteuid() != 0 {
		return nil, refuse("run gofleet as root, for it mounts and changes root there", "%s: only root can enter an image", abs)
	}
	if err := look(abs); err != nil {
		return nil, err
	}
	m := &Image{dir: abs}
	if exclusive {
		if m.lock, err = os.Open(abs); err == nil {
			err = unix.Flock(int(m.lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		}
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = refuse("wait until it has ended", "%s: another gofleet is at work on it", abs)
		}
	}
	if err == nil {
		err = m.try()
	}
	if err != nil {
		m.Close()
		return nil, err
	}
	return m, nil
}

// Close lets others change the image.
func (m *Image) Close() error {
	if m.lock == nil {
		return nil
	}
	return m.lock.Close()
}

// Dir is the absolute path of the image.
func (m *Image) Dir() string { return m.dir }

// look refuses what is not the root of another system.
func look(dir string) error {
	const hint = "name the directory that the image is mounted on, or the root of a container"
	fi, err := os.Lstat(dir)
	switch {
	case err != nil:
		return refuse(hint, "open the image: %w", err)
	case fi.Mode()&fs.ModeSymlink != 0:
		to, _ := os.Readlink(dir)
		return refuse("name the directory that it leads to", "%s is a link to %q", dir, to)
	case !fi.IsDir():
		return refuse(hint+"; gofleet does not mount image files", "%s is not a directory", dir)
	}
	if root, err := os.Stat("/"); err == nil && os.SameFile(root, fi) {
		return refuse("leave out --root, and set ansible_connection: local", "%s is the root of this machine", dir)
	}
	_, etc := os.Lstat(filepath.Join(dir, "etc/os-release"))
	_, usr := os.Lstat(filepath.Join(dir, "usr/lib/os-release"))
	if etc != nil && usr != nil {
		return refuse(hint, "%s is not the root of a system: it has neither etc/os-release nor usr/lib/os-release", dir)
	}
	for _, mount := range mounts {
		fi, err := os.Lstat(filepath.Join(dir, mount.at))
		if err != nil || !fi.IsDir() {
			return refuse("mkdir "+filepath.Join(dir, mount.at), "%s is not the root of a system: it has no directory %s", dir, mount.at)
		}
	}
	return nil
}

// try runs a shell that does nothing.
func (m *Image) try() error {
	out, err := m.Command("localhost", "exit 0").CombinedOutput()
	if err == nil {
		return nil
	}
	said := strings.TrimSpace(string(out))
	if strings.Contains(said, unix.ENOEXEC.Error()) {
		return refuse("install qemu-user-static and binfmt-support, or use a machine of the image's architecture",
			"%s: this machine does not run its programs, which are for another architecture", m.dir)
	}
	return refuse("", "%s: enter it: %w: %s", m.dir, err, said)
}

// Command is a line for the image's shell, as root and with the name of a host.
// All that it started ends with it. SysProcAttr is set.
func (m *Image) Command(host, line string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = []string{entry, m.dir, host, line}
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "USER=root", "LOGNAME=root", "LC_ALL=C"}
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS,
	}
	return cmd
}

// Main is to be called first by the main of programs that use this package. It
// returns unless Command has started the program.
func Main() {
	if len(os.Args) != 4 || os.Args[0] != entry {
		return
	}
	err := enter(os.Args[1], os.Args[2])
	if err == nil {
		err = unix.Exec("/bin/sh", []string{"sh", "-c", os.Args[3]}, os.Environ())
		err = fmt.Errorf("run /bin/sh: %w", err)
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(126)
}

// mount is what a system has beside its root.
type mount struct {
	at, kind string
	flags    uintptr
	data     string
}

var mounts = []mount{
	{"/proc", "proc", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, ""},
	{"/dev", "tmpfs", unix.MS_NOSUID | unix.MS_NOEXEC, "mode=0755,size=64k"},
	{"/run", "tmpfs", unix.MS_NOSUID | unix.MS_NODEV, "mode=0755"},
	{"/tmp", "tmpfs", unix.MS_NOSUID | unix.MS_NODEV, "mode=1777"},
}

// devices are those that programs expect.
var devices = []struct {
	name         string
	major, minor uint32
}{{"null", 1, 3}, {"zero", 1, 5}, {"full", 1, 7}, {"random", 1, 8}, {"urandom", 1, 9}, {"tty", 5, 0}}

// enter makes dir the root of this process, in whose namespaces nothing else is.
// The mounts are made when it is: links in the image lead nowhere outside.
func enter(dir, host string) error {
	if err := unix.Sethostname([]byte(host)); err != nil {
		return fmt.Errorf("set the host's name: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := unix.Mount(dir, dir, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("bind %s: %w", dir, err)
	}
	if err := unix.Chdir(dir); err != nil {
		return fmt.Errorf("enter %s: %w", dir, err)
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("make %s the root: %w", dir, err)
	}
	if err := errors.Join(unix.Unmount(".", unix.MNT_DETACH), unix.Chdir("/")); err != nil {
		return fmt.Errorf("leave the root of this machine: %w", err)
	}
	for _, m := range mounts {
		if err := unix.Mount(m.kind, m.at, m.kind, m.flags, m.data); err != nil {
			return fmt.Errorf("mount %s: %w", m.at, err)
		}
	}
	unix.Umask(0)
	defer unix.Umask(0o022)
	for _, d := range devices {
		if err := unix.Mknod("/dev/"+d.name, unix.S_IFCHR|0o666, int(unix.Mkdev(d.major, d.minor))); err != nil {
			return fmt.Errorf("make /dev/%s: %w", d.name, err)
		}
	}
	for name, to := range map[string]string{"fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2"} {
		if err := os.Symlink(to, "/dev/"+name); err != nil {
			return err
		}
	}
	return nil
}
