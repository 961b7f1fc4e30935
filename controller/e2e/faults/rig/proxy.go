//go:build linux

package rig

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Proxy passes TCP connections on, counts what goes by, and cuts, delays, slows
// down and withholds.
type Proxy struct {
	listener net.Listener
	to       string
	limit    atomic.Int64 // bytes towards the host, after which all is cut; 0 is none
	sent     atomic.Int64 // bytes towards the host, in all
	cuts     atomic.Int64
	delay    atomic.Int64                  // before each piece, either way, in nanoseconds
	rate     atomic.Int64                  // bytes a second, either way; 0 is all that there is
	gone     atomic.Pointer[chan struct{}] // not nil: nothing passes until it is closed

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

// Delay has each piece wait, either way.
func (p *Proxy) Delay(d time.Duration) { p.delay.Store(int64(d)) }

// Slow lets that many bytes a second through, either way; 0 lets all.
func (p *Proxy) Slow(rate int64) { p.rate.Store(rate) }

// Withhold lets nothing through any more, and closes nothing: both ends believe
// that the other is there.
func (p *Proxy) Withhold() {
	c := make(chan struct{})
	p.gone.CompareAndSwap(nil, &c)
}

// Heal ends all of these for new connections. Those from which something was
// withheld are reset.
func (p *Proxy) Heal() {
	p.delay.Store(0)
	p.rate.Store(0)
	p.CutAfter(0)
	if c := p.gone.Swap(nil); c != nil {
		p.Cut()
		close(*c)
	}
}

// hinder is what a piece of n bytes has to bear.
func (p *Proxy) hinder(n int) {
	if c := p.gone.Load(); c != nil {
		<-*c
	}
	d := time.Duration(p.delay.Load())
	if rate := p.rate.Load(); rate > 0 {
		d += time.Duration(n) * time.Second / time.Duration(rate)
	}
	time.Sleep(d)
}

// Close ends it, and returns when nothing of it is left.
func (p *Proxy) Close() {
	p.listener.Close()
	p.Heal()
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
		io.Copy(&hindered{p, from}, to)
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
	c.p.hinder(len(b))
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

// hindered is the way from the host.
type hindered struct {
	p    *Proxy
	from net.Conn
}

func (h *hindered) Write(b []byte) (int, error) {
	h.p.hinder(len(b))
	return h.from.Write(b)
}
