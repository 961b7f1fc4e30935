package remote

import (
	"context"
	"net"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
)

const (
	// loginsAtOnce is how many log in at one sshd at the same time. From ten on
	// sshd's MaxStartups drops some at random, and a busy one still counts those
	// that have come through.
	loginsAtOnce = 4

	// handshakes is how many log in anywhere at the same time. More would wait
	// for this machine's processors while their clocks run.
	handshakes = 64

	// turn is how long a login keeps others waiting: hosts that accept
	// connections and stay silent take no processor.
	turn = 5 * time.Second

	// forwardsEach is how many hosts are reached through one connection to a jump
	// host: its sshd has a process for each connection, which has an open file
	// for each host and may mostly have 1024.
	forwardsEach = 500
)

// admission lets as many log in at once as others can bear.
type admission struct {
	mu   sync.Mutex
	at   map[string]*gate // by sshd
	all  *semaphore.Weighted
	once sync.Once
}

// gate is that of one sshd; it is forgotten when nobody stands before it.
type gate struct {
	*semaphore.Weighted
	users int
}

// sshd waits for a turn at the sshd behind key, of which each has n at once.
// leave must be called when the login has ended.
func (a *admission) sshd(ctx context.Context, key string, n int) (leave func(), err error) {
	a.mu.Lock()
	g := a.at[key]
	if g == nil {
		g = &gate{Weighted: semaphore.NewWeighted(int64(n))}
		put(&a.at, key, g)
	}
	g.users++
	a.mu.Unlock()
	gone := func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		if g.users--; g.users == 0 {
			delete(a.at, key)
		}
	}
	if err := g.Acquire(ctx, 1); err != nil {
		gone()
		return nil, context.Cause(ctx)
	}
	return func() {
		g.Release(1)
		gone()
	}, nil
}

// handshake waits for a turn on this machine. leave must be called when the
// login has ended.
func (a *admission) handshake(ctx context.Context) (leave func(), err error) {
	a.once.Do(func() { a.all = semaphore.NewWeighted(handshakes) })
	if err := a.all.Acquire(ctx, 1); err != nil {
		return nil, context.Cause(ctx)
	}
	release := sync.OnceFunc(func() { a.all.Release(1) })
	late := time.AfterFunc(turn, release)
	return func() { late.Stop(); release() }, nil
}

// seated is a connection through a jump host, whose seat it gives back.
type seated struct {
	net.Conn
	leave func()
}

func (c *seated) Close() error {
	err := c.Conn.Close()
	c.leave()
	return err
}

// sit takes one of n seats for hosts behind t, if one is free.
func (t *sshTransport) sit(n int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended || t.seats >= n {
		return false
	}
	t.seats++
	return true
}

// stand gives a seat back.
func (t *sshTransport) stand() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.seats--
}

// sshd names the sshd that s leads to: one address may be another machine's
// behind another jump host.
func (s *settings) sshd() string {
	key := s.addr() + "\x00" + s.proxyCommand
	if s.via != nil {
		key += "\x00" + s.via.addr
	}
	for i := range s.jumps {
		key += "\x00" + s.jumps[i].addr()
	}
	return key
}
