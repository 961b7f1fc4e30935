package remote

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/gofleet/gofleet/agent/wire"
)

// jump is the connections to a jump host, shared by all hosts behind it: one,
// and more only where more hosts at once would be too many for it.
type jump struct {
	turn chan struct{} // holds one token: who has it may dial, the others wait
	vias []*sshTransport
	last failure
}

// failure is how the last attempt to reach a jump host ended.
type failure struct {
	err   error
	at    time.Time
	final bool // not to be tried again: a wrong key would lock the account
}

// lastJump connects to the jump hosts of s, one behind the other, and gives
// the connection to the last one, with a seat on it.
func (d *Dialer) lastJump(ctx context.Context, s *settings) (*sshTransport, error) {
	var via *sshTransport
	var chain []string
	for i := range s.jumps {
		hop := &s.jumps[i]
		chain = append(chain, hop.id())
		j, err := d.jump(strings.Join(chain, "\x00"))
		if err != nil {
			return nil, err
		}
		prev := via
		via, err = j.connect(ctx, d, hop, prev)
		if prev != nil {
			prev.stand() // connections of jump hosts are few, and stay
		}
		if err != nil {
			return nil, err
		}
	}
	return via, nil
}

func (d *Dialer) jump(id string) (*jump, error) {
	d.shared.mu.Lock()
	defer d.shared.mu.Unlock()
	if d.shared.closed {
		return nil, errors.New("the run has ended")
	}
	j, ok := d.shared.jumps[id]
	if !ok {
		j = &jump{turn: make(chan struct{}, 1)}
		put(&d.shared.jumps, id, j)
	}
	return j, nil
}

// connect gives a connection to the jump host and takes a seat on it, dialling
// it through prev where there is none, or all broke or are full.
func (j *jump) connect(ctx context.Context, d *Dialer, s *settings, prev *sshTransport) (*sshTransport, error) {
	came := time.Now()
	select {
	case j.turn <- struct{}{}:
		defer func() { <-j.turn }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if j.last.err != nil && (j.last.final || j.last.at.After(came)) {
		return nil, j.last.err // what this host has waited for
	}
	j.vias = slices.DeleteFunc(j.vias, func(t *sshTransport) bool { return t.broken() != nil })
	seats := cmp.Or(d.ForwardsEach, forwardsEach)
	for _, t := range j.vias {
		if t.sit(seats) {
			return t, nil
		}
	}
	hop := *s
	hop.via = prev
	via, err := d.connect(ctx, &hop)
	if err != nil {
		err = jumpError(s, err)
		if ctx.Err() == nil {
			j.last = failure{err: err, at: time.Now(), final: !wire.AsError(err, wire.KindUnreachable).Retryable}
		}
		return nil, err
	}
	via.sit(seats)
	j.vias = append(j.vias, via)
	return via, nil
}

// jumpError says that it was the jump host. Its own attempts are over, so the
// host behind it does not try again either.
func jumpError(s *settings, err error) error {
	e := wire.AsError(err, wire.KindUnreachable)
	e.Message = fmt.Sprintf("%s: %s", s.name, e.Message)
	return &dialError{err: e}
}

func (j *jump) close() {
	j.turn <- struct{}{}
	defer func() { <-j.turn }()
	for _, t := range j.vias {
		t.close()
	}
}

// dial opens a connection to addr from the host at the other end.
func (t *sshTransport) dial(ctx context.Context, addr string) (net.Conn, error) {
	conn, err := t.client.DialContext(ctx, "tcp", addr)
	var refused *ssh.OpenChannelError
	if err != nil && ctx.Err() == nil && !errors.As(err, &refused) && brokenSoon(t) != nil {
		return nil, fmt.Errorf("the connection to the jump host was lost: %w", io.ErrUnexpectedEOF)
	}
	return conn, err
}

// JumpFiles is how many open files the connections to jump hosts may take that
// are on the way to targets, with so many hosts at work at once: they stay
// until Close. Only the first of a chain has any, the others go through it. A
// target that cannot be resolved counts for nothing; failed has by its place why,
// which is what Dial would say.
func (d *Dialer) JumpFiles(targets []Target, atOnce int) (files int, failed map[int]error) {
	type hop struct {
		each, hosts int
	}
	hops := map[string]*hop{}
	failed = map[int]error{}
	for i, t := range targets {
		if t.Local {
			continue
		}
		s, err := d.resolve(t)
		if err != nil {
			failed[i] = err
		}
		if err != nil || len(s.jumps) == 0 {
			continue
		}
		first := &s.jumps[0]
		for len(first.jumps) > 0 { // its own, of ssh_config
			first = &first.jumps[0]
		}
		h := hops[first.id()]
		if h == nil {
			h = &hop{each: 1}
			if first.proxyCommand != "" {
				h.each = 3 // its pipes
			}
			hops[first.id()] = h
		}
		h.hosts++
	}
	seats := cmp.Or(d.ForwardsEach, forwardsEach)
	for _, h := range hops {
		files += h.each * ((min(h.hosts, max(atOnce, 1)) + seats - 1) / seats)
	}
	return files, failed
}

// id tells one jump host from another: hosts with the same share a connection.
func (s *settings) id() string {
	return s.user + "@" + s.addr() + "\x00" + strings.Join(s.named, "\x01")
}
