package fleet

import (
	"context"
	"fmt"
	"sync"

	"github.com/gofleet/gofleet/agent/wire"
	"github.com/gofleet/gofleet/controller/internal/release"
)

// opener gives a transfer to read, and what closes it.
type opener func(context.Context) (*release.Transfer, func() error, error)

// part is one transfer on a seed.
type part struct {
	ready chan struct{} // closed once the seed takes it, or err is set
	err   error
}

// provide has the seed get a transfer, if it has not begun to yet. It returns
// when the seed takes it: hosts follow while it arrives. open gives the
// transfer for the time that takes.
func (s *site) provide(ctx context.Context, sum string, open opener) error {
	if s.gone.Err() != nil {
		return context.Cause(s.gone)
	}
	s.mu.Lock()
	p, ok := s.parts[sum]
	if !ok {
		p = &part{ready: make(chan struct{})}
		s.parts[sum] = p
		s.work.Go(func() { s.feed(p, open) })
	}
	s.mu.Unlock()
	select {
	case <-p.ready:
		return p.err
	case <-s.gone.Done():
		return context.Cause(s.gone)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// feed sends one transfer to the seed, after those before it.
func (s *site) feed(p *part, open opener) {
	ready := sync.OnceFunc(func() { close(p.ready) })
	defer ready()
	fail := func(err error) {
		p.err = err
		s.giveUpFor(err)
	}
	if err := s.begin(); err != nil {
		p.err = err
		return
	}
	select {
	case s.feeding <- struct{}{}:
		defer func() { <-s.feeding }()
	case <-s.gone.Done():
		p.err = context.Cause(s.gone)
		return
	}
	t, done, err := open(s.gone)
	if err != nil {
		fail(err)
		return
	}
	defer done()
	if err := s.out.Write(wire.Command{Send: &t.Transfer}); err != nil {
		fail(err)
		return
	}
	select {
	case <-s.needs:
	case <-s.gone.Done():
		p.err = context.Cause(s.gone)
		return
	}
	if err := s.uploads.Acquire(s.gone); err != nil {
		p.err = err
		return
	}
	defer s.uploads.Release()
	ready()
	err = sendData(s.gone, s.out, t, 0, func(n int64) {
		s.sent.Add(n)
		s.acknowledged.Add(n)
	})
	if err != nil {
		s.giveUpFor(fmt.Errorf("it was lost: %w", err))
	}
}

// turn is a host's at a seed: as many have one at once as a seed serves.
type turn struct {
	site     *site
	end      func()
	transfer *release.Transfer
	at       int64 // what came from the seed ends here
}

// turn waits for a host's turn, and says from where it gets a transfer.
func (s *site) turn(ctx context.Context, host string, sum string, open opener) (*wire.Source, *turn, error) {
	if err := s.turns.Acquire(ctx, 1); err != nil {
		return nil, nil, err
	}
	t := &turn{site: s, end: sync.OnceFunc(func() { s.turns.Release(1) })}
	if err := s.provide(ctx, sum, open); err != nil {
		t.end()
		return nil, nil, err
	}
	from := &wire.Source{Serving: *s.serving, Key: s.key}
	if host == s.seed.Name {
		from.Addresses = [][]byte{{127, 0, 0, 1}}
	}
	return from, t, nil
}

// brought notes what a host got from the seed.
func (s *site) brought(host string, n int64) {
	s.gave.Add(n)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.served[host] = true
}

// missedBy notes that a host did not get what it wanted. A seed that no host
// reaches is not tried by all of them.
func (s *site) missedBy(why string) {
	s.mu.Lock()
	s.missed++
	hopeless := len(s.served) == 0 && s.missed >= seedTries
	s.mu.Unlock()
	if hopeless {
		s.giveUpFor(fmt.Errorf("no host of its site gets anything from it: %s", why))
	}
}
