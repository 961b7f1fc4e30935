package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"sync"
	"syscall"

	"golang.org/x/crypto/ssh"
)

// process is a command that runs on a host.
type process interface {
	stdin() io.WriteCloser
	stdout() io.Reader
	stderr() io.Reader
	// wait returns when the command has ended: its exit code, or an error
	// when there is none because the connection was lost.
	wait() (code int, err error)
	// release lets go of a command that has ended, or is about to.
	release()
	// kill makes wait and all reads and writes return at once. Over SSH it
	// ends the whole connection: sshd answers the closing of a channel only
	// when the command in it has ended.
	kill()
}

// signalBase is what shells add to a signal's number in an exit code.
const signalBase = 128

type sshProcess struct {
	session  *ssh.Session
	client   *ssh.Client
	in       io.WriteCloser
	out, err io.Reader
}

func (p *sshProcess) stdin() io.WriteCloser { return p.in }
func (p *sshProcess) stdout() io.Reader     { return p.out }
func (p *sshProcess) stderr() io.Reader     { return p.err }

// Close writes to the connection, which blocks where the network does.
func (p *sshProcess) release() { go p.session.Close() }
func (p *sshProcess) kill()    { p.client.Close() }

func (p *sshProcess) wait() (int, error) {
	err := p.session.Wait()
	var exit *ssh.ExitError
	switch {
	case err == nil:
		return 0, nil
	case errors.As(err, &exit):
		return exit.ExitStatus(), nil
	}
	return -1, err
}

// startSSH runs a command, on a terminal if tty.
func startSSH(ctx context.Context, client *ssh.Client, command string, tty bool) (process, error) {
	session, err := newSession(ctx, client)
	if err != nil {
		return nil, err
	}
	p := &sshProcess{session: session, client: client}
	if p.in, err = session.StdinPipe(); err == nil {
		if p.out, err = session.StdoutPipe(); err == nil {
			p.err, err = session.StderrPipe()
		}
	}
	if err == nil && tty {
		if err = awaitError(ctx, func() error { return session.RequestPty("dumb", 24, 80, rawModes) }); err != nil && ctx.Err() == nil {
			err = fmt.Errorf("%w: %w", errNoTerminal, err)
		}
	}
	if err == nil {
		err = awaitError(ctx, func() error { return session.Start(command) })
	}
	if err != nil {
		p.release()
		return nil, err
	}
	return p, nil
}

// newSession opens a channel. A server that never answers costs a goroutine
// until the connection closes, but not the caller.
func newSession(ctx context.Context, client *ssh.Client) (*ssh.Session, error) {
	return await(ctx, client.NewSession, func(late *ssh.Session) { late.Close() })
}

// await runs f, which has no context, and stops waiting for it when ctx ends;
// what f makes after that goes to late, which may be nil. f must end by itself
// when its connection is closed.
func await[T any](ctx context.Context, f func() (T, error), late func(T)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result)
	go func() {
		v, err := f()
		select {
		case done <- result{v, err}:
		case <-ctx.Done():
			if err == nil && late != nil {
				late(v)
			}
		}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		var none T
		return none, context.Cause(ctx)
	}
}

// awaitError is await for what makes nothing.
func awaitError(ctx context.Context, f func() error) error {
	_, err := await(ctx, func() (struct{}, error) { return struct{}{}, f() }, nil)
	return err
}

// localTransport runs commands on this machine.
type localTransport struct {
	shell func(line string) *exec.Cmd // nil: /bin/sh of this machine

	mu      sync.Mutex
	closed  bool
	running []*localProcess
}

type localProcess struct {
	cmd      *exec.Cmd
	in       io.WriteCloser
	out, err io.ReadCloser

	mu    sync.Mutex
	ended bool // its process id may be another's by now
}

func (p *localProcess) stdin() io.WriteCloser { return p.in }
func (p *localProcess) stdout() io.Reader     { return p.out }
func (p *localProcess) stderr() io.Reader     { return p.err }

func (p *localProcess) release() { p.kill() }

func (p *localProcess) kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.ended {
		syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	}
	// What runs as another user cannot be killed, but it loses its pipes.
	p.in.Close()
	p.out.Close()
	p.err.Close()
}

func (p *localProcess) wait() (int, error) {
	// Process.Wait, not Cmd.Wait: that one closes the pipes under readers.
	state, err := p.cmd.Process.Wait()
	p.mu.Lock()
	p.ended = true
	p.mu.Unlock()
	if err != nil {
		return -1, err
	}
	if ws, ok := state.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return signalBase + int(ws.Signal()), nil
	}
	return state.ExitCode(), nil
}

func (l *localTransport) exec(_ context.Context, command string, tty bool) (process, error) {
	if tty {
		return nil, errNoTerminal // programs find the user's own
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, errors.New("the connection is closed")
	}
	shell := l.shell
	if shell == nil {
		shell = func(line string) *exec.Cmd { return exec.Command("/bin/sh", "-c", line) }
	}
	p := &localProcess{cmd: shell(command)}
	if p.cmd.SysProcAttr == nil {
		p.cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	// A group of its own, so that kill reaches what the shell started.
	p.cmd.SysProcAttr.Setpgid = true
	var err error
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if p.out, err = p.cmd.StdoutPipe(); err != nil {
		return nil, err
	}
	if p.err, err = p.cmd.StderrPipe(); err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start a shell: %w", err)
	}
	l.running = append(l.running, p)
	return p, nil
}

func (l *localTransport) answers() bool         { return true }
func (l *localTransport) broken() error         { return nil }
func (l *localTransport) over() <-chan struct{} { return nil }

func (l *localTransport) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	for _, p := range l.running {
		p.kill()
	}
	return nil
}
