//go:build linux

package lab

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// initName is argv[0] of a host's pid 1. With the lab's directory and the
// host's name behind it, it is how a host's process is found again.
const initName = "gofleet-lab-init"

// bootOrder is what a host's pid 1 is told on file descriptor 3.
type bootOrder struct {
	Root      string   `json:"root"`   // where the new root is put together
	Mounts    []mount  `json:"mounts"` // in order; the first is the root itself
	Hostname  string   `json:"hostname"`
	Addr      string   `json:"addr"` // with its prefix length
	CPUs      int      `json:"cpus"` // what sshd may run on; 0 is all
	Kernel    string   `json:"kernel"`
	Machine   string   `json:"machine"`
	Memory    int64    `json:"memory"`
	Clock     int64    `json:"clock"`   // seconds
	Command   []string `json:"command"` // the server, in the foreground
	Ephemeral bool     `json:"ephemeral"`
	Systemd   bool     `json:"systemd,omitempty"`
	Cgroup    string   `json:"cgroup,omitempty"` // of a host with systemd
}

// mount is one call of mount(2); Target is relative to the new root.
type mount struct {
	Type   string  `json:"type"` // "bind" binds Source, a path outside
	Source string  `json:"source"`
	Target string  `json:"target"`
	Flags  uintptr `json:"flags"`
	Data   string  `json:"data"`
}

type fileNode struct {
	name         string
	major, minor uint32
}

// The lines that pid 1 says on file descriptor 4.
const (
	sayMounted   = "mounted"
	sayListening = "listening"
)

// Main has to be called first in main, and in TestMain, of every program that
// calls Up: hosts are started by executing the program again, and Main is where
// such a process becomes a host's pid 1. In all others it returns at once.
func Main() {
	if len(os.Args) == 0 || os.Args[0] != initName {
		return
	}
	runtime.LockOSThread() // affinity and system call filters belong to a thread
	say := os.NewFile(4, "status")
	syscall.CloseOnExec(3)
	syscall.CloseOnExec(4)
	err := boot(bufio.NewReader(os.NewFile(3, "orders")), say)
	fmt.Fprintf(say, "%s\n", strings.ReplaceAll(err.Error(), "\n", " "))
	os.Exit(1)
}

// boot makes the machine around this process, starts the server in it and
// reaps what dies until the namespace is killed: it returns only to say what
// went wrong.
func boot(orders *bufio.Reader, say *os.File) error {
	var o bootOrder
	line, err := orders.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("read boot order: %w", err)
	}
	if err := json.Unmarshal(line, &o); err != nil {
		return fmt.Errorf("read boot order: %w", err)
	}
	signal.Ignore(syscall.SIGHUP, syscall.SIGINT, syscall.SIGTERM, syscall.SIGPIPE)
	if err := unix.Sethostname([]byte(o.Hostname)); err != nil {
		return fmt.Errorf("set hostname: %w", err)
	}
	if err := enterRoot(o); err != nil {
		return err
	}
	fmt.Fprintln(say, sayMounted)

	// The answer comes when the other end of the veth pair is in place.
	if _, err := orders.ReadString('\n'); err != nil {
		return fmt.Errorf("wait for the network: %w", err)
	}
	if o.Ephemeral {
		go func() {
			orders.ReadByte() // ends with the program that holds the other end
			os.Exit(0)
		}()
	}
	if err := configure("lo", "127.0.0.1/8"); err != nil {
		return err
	}
	if err := configure("eth0", o.Addr); err != nil {
		return err
	}
	if err := limit(o); err != nil {
		return err
	}
	return serve(o.Command, say)
}

// enterRoot mounts the host's filesystems and makes them this namespace's only
// ones.
func enterRoot(o bootOrder) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); errors.Is(err, unix.EINVAL) {
		return errors.New("make mounts private: / is no mount point, as in a chroot; mount that directory onto itself (mount --bind DIR DIR) before entering it")
	} else if err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if o.Systemd {
		return enterSystemd(o)
	}
	for _, m := range o.Mounts {
		if err := m.mount(o.Root); err != nil {
			return err
		}
	}
	if err := makeDev(filepath.Join(o.Root, "dev")); err != nil {
		return err
	}
	for path, mode := range map[string]os.FileMode{"run/sshd": 0o755, "run/lock": 0o777 | os.ModeSticky} {
		if err := os.MkdirAll(filepath.Join(o.Root, path), 0o755); err != nil {
			return err
		}
		if err := os.Chmod(filepath.Join(o.Root, path), mode); err != nil {
			return err
		}
	}
	if err := os.Chdir(o.Root); err != nil {
		return err
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("pivot root: %w", err)
	}
	// Both roots are stacked on "." now; the old one is on top.
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("unmount the old root: %w", err)
	}
	return os.Chdir("/")
}

func (m mount) mount(root string) error {
	target := filepath.Join(root, m.Target)
	typ, flags := m.Type, m.Flags
	if typ == "bind" {
		typ, flags = "", flags|unix.MS_BIND
	} else if err := os.MkdirAll(target, 0o755); err != nil {
		return err
	}
	if err := unix.Mount(m.Source, target, typ, flags, m.Data); err != nil {
		return fmt.Errorf("mount %s on %s: %w", m.Type, m.Target, err)
	}
	if m.Type == "bind" && m.Flags&^unix.MS_REC != 0 { // a bind takes its flags only so
		if err := unix.Mount("", target, "", flags|unix.MS_REMOUNT, ""); err != nil {
			return fmt.Errorf("set flags of %s: %w", m.Target, err)
		}
	}
	return nil
}

// makeDev fills a fresh tmpfs with the devices that every host has.
func makeDev(dir string) error {
	old := syscall.Umask(0)
	defer syscall.Umask(old)
	for _, n := range []fileNode{{"null", 1, 3}, {"zero", 1, 5}, {"full", 1, 7}, {"random", 1, 8}, {"urandom", 1, 9}, {"tty", 5, 0}} {
		if err := unix.Mknod(filepath.Join(dir, n.name), unix.S_IFCHR|0o666, int(unix.Mkdev(n.major, n.minor))); err != nil {
			return fmt.Errorf("make /dev/%s: %w", n.name, err)
		}
	}
	for name, to := range map[string]string{
		"ptmx": "pts/ptmx", "fd": "/proc/self/fd",
		"stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2",
	} {
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return nil
}

// configure gives an interface its address and switches it on.
func configure(name, cidr string) error {
	ip, network, err := net.ParseCIDR(cidr)
	if err != nil {
		return err
	}
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(s)
	set := func(request uint, fill func(*unix.Ifreq) error) error {
		r, err := unix.NewIfreq(name)
		if err != nil {
			return err
		}
		if err := fill(r); err != nil {
			return err
		}
		if err := unix.IoctlIfreq(s, request, r); err != nil {
			return fmt.Errorf("configure %s: %w", name, err)
		}
		return nil
	}
	for _, step := range []struct {
		request uint
		fill    func(*unix.Ifreq) error
	}{
		{unix.SIOCSIFADDR, func(r *unix.Ifreq) error { return r.SetInet4Addr(ip.To4()) }},
		{unix.SIOCSIFNETMASK, func(r *unix.Ifreq) error { return r.SetInet4Addr(network.Mask) }},
		{unix.SIOCSIFFLAGS, func(r *unix.Ifreq) error { r.SetUint16(unix.IFF_UP | unix.IFF_RUNNING); return nil }},
	} {
		if err := set(step.request, step.fill); err != nil {
			return err
		}
	}
	return nil
}

// limit narrows this thread, and with it the server and everything below it, to
// the CPUs, the kernel and the memory of the host.
func limit(o bootOrder) error {
	if o.CPUs > 0 {
		var set unix.CPUSet
		for i := range min(o.CPUs, runtime.NumCPU()) {
			set.Set(i)
		}
		if err := unix.SchedSetaffinity(0, &set); err != nil {
			return fmt.Errorf("set affinity: %w", err)
		}
	}
	if p := (pretence{release: o.Kernel, machine: o.Machine, memory: o.Memory, clock: o.Clock}); p != (pretence{}) {
		return intercept(p)
	}
	return nil
}

// hostPath is what processes of a host get as PATH when nobody else sets it.
const hostPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// serve starts the server, from this thread, at once and whenever startSignal
// asks for it. It says when the server listens for the first time; one that dies
// later is the host's own affair.
func serve(command []string, say *os.File) error {
	start := make(chan os.Signal, 1)
	signal.Notify(start, startSignal)
	died := make(chan int)
	go reap(died)
	listening := make(chan struct{})
	var over atomic.Bool
	go func() {
		for !listens("self", 22) && !over.Load() {
			time.Sleep(time.Millisecond)
		}
		close(listening)
	}()
	server, err := startServer(command)
	if err != nil {
		return err
	}
	first := listening
	for {
		select {
		case <-first:
			first = nil
			fmt.Fprintln(say, sayListening)
			say.Close()
		case pid := <-died:
			if pid == server && first != nil {
				over.Store(true)
				return fmt.Errorf("%s ended before it listened", command[0])
			}
		case <-start:
			if server, err = startServer(command); err != nil {
				fmt.Fprintln(os.Stderr, "gofleet-lab:", err)
			}
		}
	}
}

// startSignal asks a host's pid 1 to start the server again.
const startSignal = syscall.SIGUSR1

func startServer(command []string) (int, error) {
	pid, err := syscall.ForkExec(command[0], command, &syscall.ProcAttr{
		Dir:   "/",
		Env:   []string{"PATH=" + hostPath, "SYSTEMD_NSPAWN_API_VFS_WRITABLE=network"}, // the latter for hosts with systemd
		Files: []uintptr{0, 1, 2},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return 0, fmt.Errorf("start %s: %w", command[0], err)
	}
	return pid, nil
}

// reap collects every process that dies, orphans among them, and tells of each.
func reap(died chan<- int) {
	for {
		pid, err := syscall.Wait4(-1, nil, 0, nil)
		switch {
		case err == syscall.ECHILD:
			// Without children Wait4 does not block; the next may be an orphan
			// of what was started from outside.
			waitForChild()
		case err == nil:
			died <- pid
		}
	}
}

func waitForChild() {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGCHLD)
	defer signal.Stop(c)
	var info unix.Siginfo
	if err := unix.Waitid(unix.P_ALL, 0, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil); err == nil {
		return // one came in between
	}
	<-c
}

// listens tells whether a socket listens on port in the network namespace of a
// process.
func listens(process string, port int) bool {
	b, err := os.ReadFile("/proc/" + process + "/net/tcp")
	return err == nil && bytes.Contains(b, fmt.Appendf(nil, ":%04X 00000000:0000 0A", port))
}
