package remote

import (
	"context"
	"fmt"
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
	listed  time.Time
}

// agentListFor is how long the list of an agent's keys is believed, so that a
// thousand hosts don't ask a thousand times.
const agentListFor = 10 * time.Second

// agentTimeout bounds an agent's answer to a list request.
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
	return a.list(ctx)
}

func (a *agentSocket) list(ctx context.Context) ([]ssh.AlgorithmSigner, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.conn != nil && time.Since(a.listed) < agentListFor {
		return a.signers, nil
	}
	ctx, cancel := context.WithTimeout(ctx, agentTimeout)
	defer cancel()
	if a.conn != nil {
		// Signatures may be under way on this connection: it is kept.
		if err := a.refresh(ctx); err == nil {
			return a.signers, nil
		}
	}
	conn, err := new(net.Dialer).DialContext(ctx, "unix", a.path)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", a.path, err)
	}
	a.conn, a.client = conn, agent.NewClient(conn)
	if err := a.refresh(ctx); err != nil {
		return nil, fmt.Errorf("list keys: %w", err)
	}
	return a.signers, nil
}

// refresh lists the keys anew; the connection is gone after an error.
func (a *agentSocket) refresh(ctx context.Context) error {
	conn := a.conn
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	signers, err := a.client.Signers()
	if !stop() && err == nil {
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
	a.listed = time.Now()
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
