//go:build linux

package rig

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
)

// Proxy passes TCP connections on, counts what goes by, and cuts.
type Proxy struct {
	listener net.Listener
	to       string
	limit    atomic.Int64 // bytes towards the host, after which all is cut; 0 is none
	sent     atomic.Int64 // bytes towards the host, in all
	cuts     atomic.Int64

	mu    sync.Mutex
	conns map[net.Conn]bool
	done  sync.WaitGroup
}

// NewProxy passes connections on to an address. Close must be called.
func NewProxy(to string) (*Proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &Proxy{listener: l, to: to, conns: map[net.Conn]bool{}}
	p.done.Go(p.accept)
	return p, nil
}

// Addr is where it listens.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// CutAfter ends a connection when that many bytes have gone towards the host
// from now on, and each one after it at once; 0 never does. Sent begins anew.
// The host gets those bytes, the controller no more answer.
func (p *Proxy) CutAfter(bytes int64) {
	p.sent.Store(0)
	p.limit.Store(bytes)
}

// Sent are the bytes that went towards the host since CutAfter.
func (p *Proxy) Sent() int64 { return p.sent.Load() }

// Cuts is how often it has cut.
func (p *Proxy) Cuts() int64 { return p.cuts.Load() }

// Cut ends all connections at once, with a reset.
func (p *Proxy) Cut() {
	p.cuts.Add(1)
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		if tcp, ok := c.(*net.TCPConn); ok {
			tcp.SetLinger(0)
		}
		c.Close()
	}
}

// Close ends it, and returns when nothing of it is left.
func (p *Proxy) Close() {
	p.listener.Close()
	p.Cut()
	p.done.Wait()
}

func (p *Proxy) accept() {
	for {
		from, err := p.listener.Accept()
		if err != nil {
			return
		}
		to, err := net.Dial("tcp", p.to)
		if err != nil {
			from.Close()
			continue
		}
		p.mu.Lock()
		p.conns[from], p.conns[to] = true, true
		p.mu.Unlock()
		p.done.Go(func() { p.pass(from, to) })
	}
}

func (p *Proxy) pass(from, to net.Conn) {
	var both sync.WaitGroup
	both.Go(func() {
		_, err := io.Copy(&counted{p, to}, from)
		if errors.Is(err, errLimit) {
			// The host gets all of it, and then an end.
			p.cuts.Add(1)
			from.Close()
			to.(*net.TCPConn).CloseWrite()
			return
		}
		to.Close()
		from.Close()
	})
	both.Go(func() {
		io.Copy(from, to)
		from.Close()
		io.Copy(io.Discard, to)
		to.Close()
	})
	both.Wait()
	p.mu.Lock()
	delete(p.conns, from)
	delete(p.conns, to)
	p.mu.Unlock()
}

var errLimit = errors.New("as many bytes as may pass have passed")

// counted is the way towards the host.
type counted struct {
	p  *Proxy
	to net.Conn
}

func (c *counted) Write(b []byte) (int, error) {
	limit := c.p.limit.Load()
	over := c.p.sent.Add(int64(len(b))) - limit
	if limit == 0 || over < 0 {
		return c.to.Write(b)
	}
	n, err := c.to.Write(b[:max(0, int64(len(b))-over)])
	if err == nil {
		err = errLimit
	}
	return n, err
}
