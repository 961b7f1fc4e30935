package remote

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// commandConn is a connection whose other end is a ProxyCommand.
type commandConn struct {
	io.Reader
	io.WriteCloser
	cmd   *exec.Cmd
	close func() error
}

// startProxyCommand runs the command as ssh does: by the user's shell, with
// its own stderr.
func startProxyCommand(command string) (net.Conn, error) {
	shell := os.Getenv("SHELL")
	if shell == "" {
		shell = "/bin/sh"
	}
	cmd := exec.Command(shell, "-c", "exec "+command)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start ProxyCommand: %w", err)
	}
	c := &commandConn{Reader: out, WriteCloser: in, cmd: cmd}
	c.close = sync.OnceValue(func() error {
		in.Close()
		syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
		out.Close()
		go cmd.Process.Wait()
		return nil
	})
	return c, nil
}

// Close ends the command.
func (c *commandConn) Close() error { return c.close() }

// LocalAddr and RemoteAddr say that there are no addresses.
func (c *commandConn) LocalAddr() net.Addr  { return commandAddr{} }
func (c *commandConn) RemoteAddr() net.Addr { return commandAddr{} }

var errNoDeadline = errors.New("a ProxyCommand has no deadlines")

// Deadlines are the handshake's timer and the keepalive, which close.
func (c *commandConn) SetDeadline(time.Time) error      { return errNoDeadline }
func (c *commandConn) SetReadDeadline(time.Time) error  { return errNoDeadline }
func (c *commandConn) SetWriteDeadline(time.Time) error { return errNoDeadline }

type commandAddr struct{}

func (commandAddr) Network() string { return "command" }
func (commandAddr) String() string  { return "ProxyCommand" }
