package remote

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/gofleet/gofleet/agent/wire"
)

// sshTransport is an SSH connection that is watched.
type sshTransport struct {
	client *ssh.Client
	addr   string
	direct bool // no jump host and no command is on the way

	mu    sync.Mutex
	ended bool
	cause error
	seats int // that hosts behind this jump host have

	done   chan struct{} // closed when the connection has ended
	noSFTP error         // SFTP was tried, and is not there
}

const (
	defaultAlive    = 15 * time.Second
	defaultAliveMax = 3

	// answerGrace is how long a host may take to answer before a connection
	// counts as whole whose channel has ended. keepAlive asks for longer.
	answerGrace = 5 * time.Second
)

// newSSHTransport watches a connection; via is the jump host on its way, or nil.
func newSSHTransport(client *ssh.Client, s *settings, via *sshTransport) *sshTransport {
	t := &sshTransport{client: client, addr: s.addr(), direct: via == nil && s.proxyCommand == "", done: make(chan struct{})}
	go func() {
		err := client.Wait()
		if via != nil && brokenSoon(via) != nil {
			err = fmt.Errorf("jump host %s went away", via.addr)
		}
		e := wire.NewError(wire.KindUnreachable, fmt.Errorf("the connection to %s was lost: %w", t.addr, err),
			"the host still has the Go that it had; run the same command again")
		e.Retryable = true
		t.end(e)
		close(t.done)
	}()
	interval := defaultAlive
	if s.aliveInterval != nil {
		interval = *s.aliveInterval
	}
	if s.keepAlive != 0 {
		interval = s.keepAlive
	}
	if interval > 0 {
		go t.keepAlive(interval, cmp.Or(s.aliveCountMax, defaultAliveMax))
	}
	return t
}

// keepAlive asks the host for an answer each interval, and ends the
// connection when it stays away for the length of misses intervals.
func (t *sshTransport) keepAlive(interval time.Duration, misses int) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-t.done:
			return
		}
		answer := make(chan bool, 1)
		go func() { answer <- t.answers() }()
		wait := time.NewTimer(time.Duration(misses) * interval)
		select {
		case <-answer:
		case <-wait.C:
			t.end(&wire.Error{Kind: wire.KindTimeout, Retryable: true,
				Message: fmt.Sprintf("%s did not answer for %s", t.addr, time.Duration(misses)*interval),
				Hint:    "the host or the way to it went down; the next run cleans up and goes on"})
			t.client.Close()
		case <-t.done:
		}
		wait.Stop()
	}
}

func (t *sshTransport) answers() bool {
	// The answer is a failure where the request is not known: an answer all the same.
	_, _, err := t.client.SendRequest("keepalive@openssh.com", true, nil)
	return err == nil
}

// end notes the first reason why the connection ended.
func (t *sshTransport) end(cause error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.ended {
		t.ended, t.cause = true, cause
	}
}

func (t *sshTransport) broken() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.cause
}

func (t *sshTransport) over() <-chan struct{} { return t.done }

func (t *sshTransport) exec(ctx context.Context, command string, tty bool) (process, error) {
	return startSSH(ctx, t.client, command, tty)
}

func (t *sshTransport) close() error {
	t.end(nil)
	return t.client.Close()
}
