//go:build linux

package lab

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Host is one running host.
type Host struct {
	Name     string
	Addr     string // an IPv4 address
	Port     int    // of sshd
	UpperDir string // what the host has written, as overlayfs keeps it
	Config   HostConfig

	lab   *Lab
	index int // from 1
	boot  bootOrder
}

func newHost(l *Lab, index int, s hostState) *Host {
	return &Host{Name: s.Config.Name, Addr: s.Addr, Port: 22, UpperDir: s.Upper, Config: s.Config, lab: l, index: index, boot: s.Boot}
}

// LogFile holds what sshd of the host logs.
func (h *Host) LogFile() string { return filepath.Join(h.lab.Dir, "logs", h.Name) }

// booting is a host whose pid 1 has been started.
type booting struct {
	pid    int
	cmd    *exec.Cmd
	orders *os.File // pid 1 reads here
	status *os.File // and writes here
	said   *bufio.Reader
}

// spawn starts pid 1 of h in new namespaces: this program again, which Main
// takes from there.
func (l *Lab) spawn(h *Host) (*booting, error) {
	if err := os.MkdirAll(filepath.Dir(h.LogFile()), 0o755); err != nil {
		return nil, err
	}
	log, err := os.OpenFile(h.LogFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	ordersIn, orders, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer ordersIn.Close()
	status, statusOut, err := os.Pipe()
	if err != nil {
		orders.Close()
		return nil, err
	}
	defer statusOut.Close()
	cmd := &exec.Cmd{
		Path: "/proc/self/exe", Args: []string{initName, l.Dir, h.Name},
		Env: []string{"PATH=" + hostPath}, Dir: "/",
		Stdout: log, Stderr: log, ExtraFiles: []*os.File{ordersIn, statusOut},
		SysProcAttr: &syscall.SysProcAttr{
			Setsid:     true,
			Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC | syscall.CLONE_NEWNET,
		},
	}
	b := &booting{cmd: cmd, orders: orders, status: status, said: bufio.NewReader(status)}
	line, err := json.Marshal(h.boot)
	if err == nil {
		err = cmd.Start()
	}
	if err == nil {
		b.pid = cmd.Process.Pid
		_, err = orders.Write(append(line, '\n'))
		go cmd.Wait() // reaps it if it ends before this program
	}
	if err != nil {
		orders.Close()
		status.Close()
		return nil, err
	}
	return b, nil
}

// mounted waits until the host's filesystems are in place.
func (b *booting) mounted(ctx context.Context) error { return b.hear(ctx, sayMounted) }

// listening tells pid 1 that its network is there and waits until sshd listens.
func (b *booting) listening(ctx context.Context) error {
	if _, err := b.orders.WriteString("go\n"); err != nil {
		return err
	}
	return b.hear(ctx, sayListening)
}

// close gives up the pipes, but not the one that holds an ephemeral host.
func (b *booting) close(hold bool) {
	b.status.Close()
	if !hold {
		b.orders.Close()
	}
}

// hear waits for pid 1 to say a line; any other is an error.
func (b *booting) hear(ctx context.Context, want string) error {
	stop := context.AfterFunc(ctx, func() { b.status.Close() })
	defer stop()
	line, err := b.said.ReadString('\n')
	switch line = strings.TrimSpace(line); {
	case ctx.Err() != nil:
		return ctx.Err()
	case err == io.EOF && line == "":
		return errors.New("its pid 1 ended: does the program call lab.Main first?")
	case err != nil:
		return err
	case line != want:
		return errors.New(line)
	}
	return nil
}

// tail is the end of a log, for an error message.
func tail(path string) string {
	b, err := os.ReadFile(path)
	if err != nil || len(b) == 0 {
		return ""
	}
	if len(b) > 500 {
		b = b[len(b)-500:]
	}
	return "\n" + string(bytes.TrimSpace(b))
}

// pid finds the host's pid 1 as this machine numbers it; 0 if it does not run.
func (h *Host) pid() (int, error) {
	all, err := initProcesses()
	if err != nil {
		return 0, err
	}
	for _, p := range all {
		if p.Dir == h.lab.Dir && p.Host == h.Name {
			return p.PID, nil
		}
	}
	return 0, nil
}

// Command returns argv as a command of root's inside the host, not yet started
// and with little but PATH and HOME in its environment. It does not come through
// sshd, so it is not held to the host's CPUs, kernel and machine.
func (h *Host) Command(ctx context.Context, argv ...string) (*exec.Cmd, error) {
	pid, err := h.pid()
	if err != nil {
		return nil, err
	}
	if pid == 0 {
		return nil, fmt.Errorf("host %s does not run", h.Name)
	}
	if h.Config.Systemd {
		if pid, err = innerPID(pid); err != nil {
			return nil, fmt.Errorf("host %s: %w", h.Name, err)
		}
	}
	enter := []string{"--target", strconv.Itoa(pid), "--mount", "--uts", "--ipc", "--net", "--pid", "--"}
	if h.Config.Musl {
		enter = append(enter, "chroot", muslRoot)
	}
	cmd := exec.CommandContext(ctx, "nsenter", append(enter, argv...)...)
	cmd.Env = []string{"PATH=" + hostPath, "HOME=/root", "USER=root", "LOGNAME=root", "SHELL=/bin/bash"}
	cmd.Dir = "/"
	return cmd, nil
}

// Exec runs argv as root inside the host, without SSH, and returns what it
// wrote to stdout; what it wrote to stderr is in the error.
func (h *Host) Exec(ctx context.Context, argv ...string) ([]byte, error) {
	cmd, err := h.Command(ctx, argv...)
	if err != nil {
		return nil, err
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return out, fmt.Errorf("%s on %s: %w: %s", strings.Join(argv, " "), h.Name, err, bytes.TrimSpace(stderr.Bytes()))
	}
	return out, nil
}

// KillSSHD kills sshd and all its sessions at once; when it returns, new
// connections are refused until StartSSHD. Root's processes below sudo get a
// hangup at most.
func (h *Host) KillSSHD(ctx context.Context) error {
	pid, err := h.pid()
	if err != nil {
		return err
	}
	if h.Config.Systemd { // it would start one that is killed again
		if _, err := h.Exec(ctx, "systemctl", "stop", "ssh.service"); err != nil {
			return err
		}
		if err := h.DropSessions(ctx); err != nil && !exited(err, 1) { // there may be none
			return err
		}
	} else if _, err := h.Exec(ctx, "pkill", "-KILL", "-x", "sshd"); err != nil {
		return err
	}
	for listens(strconv.Itoa(pid), h.Port) {
		select {
		case <-ctx.Done():
			return fmt.Errorf("kill sshd on %s: %w", h.Name, ctx.Err())
		case <-time.After(time.Millisecond):
		}
	}
	return nil
}

// exited tells whether err is of a program that ended with code.
func exited(err error, code int) bool {
	var exit *exec.ExitError
	return errors.As(err, &exit) && exit.ExitCode() == code
}

// DropSessions kills the sessions of sshd but not sshd itself: connections
// break, and new ones are accepted.
func (h *Host) DropSessions(ctx context.Context) error {
	_, err := h.Exec(ctx, "pkill", "-KILL", "-f", "^sshd(-session)?: [^/]")
	return err
}

// StartSSHD starts sshd after KillSSHD and waits until it answers.
func (h *Host) StartSSHD(ctx context.Context) error {
	pid, err := h.pid()
	if err != nil {
		return err
	}
	if pid == 0 {
		return fmt.Errorf("host %s does not run", h.Name)
	}
	if h.Config.Systemd {
		if _, err := h.Exec(ctx, "systemctl", "start", "ssh.service"); err != nil {
			return err
		}
		return answers(ctx, net.JoinHostPort(h.Addr, "22"))
	}
	if err := syscall.Kill(pid, startSignal); err != nil {
		return fmt.Errorf("start sshd on %s: %w", h.Name, err)
	}
	return answers(ctx, net.JoinHostPort(h.Addr, "22"))
}

// Kill ends all processes of the host at once, as a power cut does, and leaves
// its files. Reboot brings it back.
func (h *Host) Kill(ctx context.Context) error {
	all, err := livingHosts(h.lab.Dir)
	if err != nil {
		return err
	}
	for _, p := range all {
		if p.Host == h.Name {
			if err := p.kill(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// Reboot kills the host if it runs and boots it on the same files; its /run is
// empty then. It returns when sshd answers.
func (h *Host) Reboot(ctx context.Context) error {
	if err := h.Kill(ctx); err != nil {
		return err
	}
	unplug(ctx, h.lab.state.Slot, h.index)
	return h.lab.start(ctx, []*Host{h})
}

// CutNetwork takes the host's link down: packets vanish, nothing is refused.
func (h *Host) CutNetwork(ctx context.Context) error {
	return ip(ctx, "link set "+h.lab.state.Slot.veth(h.index)+" down")
}

// RestoreNetwork takes the link up again.
func (h *Host) RestoreNetwork(ctx context.Context) error {
	return ip(ctx, "link set "+h.lab.state.Slot.veth(h.index)+" up")
}

// Running tells whether the host's pid 1 lives.
func (h *Host) Running() (bool, error) {
	pid, err := h.pid()
	return pid != 0, err
}
