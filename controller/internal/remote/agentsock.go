package remote

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// agentSocket is a connection to ssh-agent that all hosts share.
type agentSocket struct {
	path string

	mu      sync.Mutex
	conn    net.Conn
	client  agent.ExtendedAgent
	signers []ssh.AlgorithmSigner
	failed  error // why there is no list
	asked   time.Time
}

// agentListFor is how long an agent's answer to a list request, or that it gave
// none, is believed, so that a thousand hosts don't ask a thousand times.
const agentListFor = 10 * time.Second

// agentTimeout bounds an agent's answer to a list request, and so does half the
// time of a login: keys in files may do without.
const agentTimeout = 10 * time.Second

// agentSigners lists the keys in the agent that s names, or none.
func (d *Dialer) agentSigners(ctx context.Context, s *settings) ([]ssh.AlgorithmSigner, error) {
	path := d.AgentSocket
	switch v := s.identityAgent; {
	case v == "none":
		return nil, nil
	case v == "SSH_AUTH_SOCK", v == "":
	case strings.HasPrefix(v, "$"):
		path = os.Getenv(strings.Trim(v[1:], "{}"))
	default:
		path = d.path(v, s.tokens(d, s.host))
	}
	if path == "" {
		return nil, nil
	}
	d.shared.mu.Lock()
	a, ok := d.shared.agents[path]
	if !ok {
		a = &agentSocket{path: path}
		put(&d.shared.agents, path, a)
	}
	d.shared.mu.Unlock()
	return a.list(ctx, min(agentTimeout, s.timeout/2))
}

// list gives the agent's keys. One host asks, the others wait for its answer.
func (a *agentSocket) list(ctx context.Context, within time.Duration) ([]ssh.AlgorithmSigner, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.asked.IsZero() && time.Since(a.asked) < agentListFor {
		return a.signers, a.failed
	}
	err := a.ask(ctx, within)
	if ctx.Err() != nil {
		return nil, context.Cause(ctx) // this host's end says nothing of the agent
	}
	a.failed, a.asked = err, time.Now()
	return a.signers, err
}

func (a *agentSocket) ask(ctx context.Context, within time.Duration) error {
	ctx, cancel := context.WithTimeoutCause(ctx, within, fmt.Errorf("no answer within %s", within))
	defer cancel()
	if a.conn != nil {
		// Signatures may be under way on this connection: it is kept.
		if err := a.refresh(ctx); err == nil {
			return nil
		}
	}
	conn, err := new(net.Dialer).DialContext(ctx, "unix", a.path)
	if err != nil {
		return fmt.Errorf("connect to %s: %w", a.path, err)
	}
	a.conn, a.client = conn, agent.NewClient(conn)
	if err := a.refresh(ctx); err != nil {
		return fmt.Errorf("list keys: %w", err)
	}
	return nil
}

// refresh lists the keys anew; the connection is gone after an error.
func (a *agentSocket) refresh(ctx context.Context) error {
	conn := a.conn
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	signers, err := a.client.Signers()
	if !stop() {
		err = context.Cause(ctx)
	}
	a.signers = nil
	if err != nil {
		conn.Close()
		a.conn, a.client = nil, nil
		return err
	}
	for _, s := range signers {
		if as, ok := s.(ssh.AlgorithmSigner); ok {
			a.signers = append(a.signers, as)
		}
	}
	return nil
}

func (a *agentSocket) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.conn != nil {
		a.conn.Close()
		a.conn = nil
	}
	a.signers = nil
}

// agentSigner is a key of the agent that is not waited for longer than its
// handshake lasts: the agent may be stuck, or wait for somebody.
type agentSigner struct {
	ssh.AlgorithmSigner
	h *handshake
}

func (s *agentSigner) Sign(rand io.Reader, data []byte) (*ssh.Signature, error) {
	return s.SignWithAlgorithm(rand, data, "")
}

func (s *agentSigner) SignWithAlgorithm(rand io.Reader, data []byte, algorithm string) (*ssh.Signature, error) {
	s.h.signing = true
	sig, err := await(s.h.ctx, func() (*ssh.Signature, error) { return s.AlgorithmSigner.SignWithAlgorithm(rand, data, algorithm) }, nil)
	s.h.signing = s.h.ctx.Err() != nil
	return sig, err
}
