//go:build linux

package lab

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
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
	b := &booting{cmd: cmd, orders: orders, status: status}
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

// finish tells pid 1 that its network is there and waits until sshd listens.
func (b *booting) finish(ctx context.Context) error {
	defer b.status.Close()
	stop := context.AfterFunc(ctx, func() { b.status.Close() })
	defer stop()
	said := bufio.NewReader(b.status)
	for _, want := range []string{sayMounted, sayListening} {
		if want == sayListening {
			if _, err := b.orders.WriteString("go\n"); err != nil {
				return err
			}
		}
		line, err := said.ReadString('\n')
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == io.EOF && line == "":
			return fmt.Errorf("its pid 1 ended: does the program call lab.Main first?")
		case err != nil:
			return err
		case strings.TrimSpace(line) != want:
			return fmt.Errorf("%s", strings.TrimSpace(line))
		}
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
// and with nothing but PATH and HOME in its environment.
func (h *Host) Command(ctx context.Context, argv ...string) (*exec.Cmd, error) {
	pid, err := h.pid()
	if err != nil {
		return nil, err
	}
	if pid == 0 {
		return nil, fmt.Errorf("host %s does not run", h.Name)
	}
	cmd := exec.CommandContext(ctx, "nsenter", append([]string{"--target", strconv.Itoa(pid), "--mount", "--uts", "--ipc", "--net", "--pid", "--"}, argv...)...)
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
