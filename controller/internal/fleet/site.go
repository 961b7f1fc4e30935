package fleet

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/gofleet/gofleet/agent/spec"
	"github.com/gofleet/gofleet/agent/wire"
	"github.com/gofleet/gofleet/controller/internal/journal"
)

// seedKeySize is the length of the key that a seed and its hosts share.
const seedKeySize = 32

// seedServes is how many hosts a seed serves at once; others wait their turn.
const seedServes = 32

// seedStart is how long a seed may take from dialling until it listens.
const seedStart = 90 * time.Second

// seedEnd is how long it may take to end.
const seedEnd = 5 * time.Second

// seedTries is how many hosts may find that a seed which has served nobody
// cannot be reached, before no further one tries.
const seedTries = 3

// Seed is a host that gets what travels once and hands it to the hosts of its
// site. Nothing on it is changed.
type Seed struct {
	Name string // the inventory's
	Spec *spec.Spec
	Port int // to listen on; 0: a free one
	// Connect reaches it as who logs in: a seed needs no rights. The addresses
	// are those by which the controller knows it.
	Connect func(ctx context.Context) (Conn, []netip.Addr, error)
	Mask    *Mask
}

// SeedResult is what a seed did in a run.
type SeedResult struct {
	Seed  string
	Sent  int64  // bytes to it, from the controller
	Gave  int64  // bytes from it to hosts
	Hosts int    // that got something from it
	Lost  string // why it was given up, if it was
}

// site is a seed at work: one connection, from when its first host wants
// something until the run ends.
type site struct {
	*run
	seed  *Seed
	ctx   context.Context //nolint:containedctx // of the run, not of the host that is first
	turns *semaphore.Weighted
	key   []byte

	start   sync.Once
	out     *wire.Writer
	serving *wire.Serving
	needs   chan struct{}  // the seed has room for what was offered
	feeding chan struct{}  // holds a token while one transfer goes to the seed
	work    sync.WaitGroup // goroutines
	gone    context.Context
	giveUp  context.CancelCauseFunc // the seed is of no use any more

	sent atomic.Int64
	gave atomic.Int64

	mu     sync.Mutex
	parts  map[string]*part // by sha256 of what travels
	served map[string]bool  // hosts
	missed int              // hosts that did not reach it while none had
}

// openSites prepares the seeds of the hosts. What it returns ends them.
func (r *run) openSites(ctx context.Context) (end func()) {
	r.sites = map[*Seed]*site{}
	for _, h := range r.all {
		if h.Seed == nil || r.sites[h.Seed] != nil {
			continue
		}
		s := &site{
			run: r, seed: h.Seed, ctx: ctx, turns: semaphore.NewWeighted(seedServes), key: make([]byte, seedKeySize),
			needs: make(chan struct{}), feeding: make(chan struct{}, 1), parts: map[string]*part{}, served: map[string]bool{},
		}
		rand.Read(s.key)
		s.gone, s.giveUp = context.WithCancelCause(ctx)
		r.sites[h.Seed] = s
	}
	return func() {
		for _, h := range r.all {
			if s := r.sites[h.Seed]; s != nil {
				s.end()
				delete(r.sites, h.Seed)
			}
		}
	}
}

// errSeedDone ends a seed that has done its work.
var errSeedDone = errors.New("the run has ended")

// end ends the seed's agent and waits until nothing of it is at work.
func (s *site) end() {
	s.giveUp(errSeedDone)
	s.work.Wait()
	res := s.result()
	if len(s.parts) == 0 && res.Lost == "" {
		return // nobody wanted anything
	}
	s.run.seeds = append(s.run.seeds, res)
	s.Journal.Say(journal.Event{Kind: journal.KindSeed, Host: res.Seed, Bytes: res.Sent, Seeded: res.Gave, Hosts: res.Hosts, Message: res.Lost})
}

func (s *site) result() SeedResult {
	s.mu.Lock()
	defer s.mu.Unlock()
	res := SeedResult{Seed: s.seed.Name, Sent: s.sent.Load(), Gave: s.gave.Load(), Hosts: len(s.served)}
	if err := s.lost(); err != nil {
		res.Lost = err.Error()
	}
	return res
}

// lost is why the seed was given up; nil while it is of use, and after a good end.
func (s *site) lost() error {
	if cause := context.Cause(s.gone); cause != nil && !errors.Is(cause, errSeedDone) && s.ctx.Err() == nil {
		return cause
	}
	return nil
}

// giveUpFor gives the seed up and says so, the first time.
func (s *site) giveUpFor(err error) {
	s.mu.Lock()
	first := s.gone.Err() == nil
	s.giveUp(errors.New(s.seed.Mask.Text(err.Error())))
	s.mu.Unlock()
	if first {
		s.Observer.Warn(s.seed.Name, fmt.Sprintf("serves its site no longer, the controller does: %s", context.Cause(s.gone)))
	}
}

// begin starts the seed's agent, once.
func (s *site) begin() error {
	s.start.Do(func() {
		if err := s.listen(); err != nil {
			s.giveUpFor(err)
		}
	})
	return s.lost()
}

// listen connects, and returns when the seed listens.
func (s *site) listen() error {
	ctx, cancel := context.WithTimeoutCause(s.gone, seedStart, fmt.Errorf("it was not ready within %s", seedStart))
	defer cancel()
	conn, known, err := s.seed.Connect(ctx)
	if err != nil {
		return err
	}
	agent, err := conn.StartAgent(ctx, s.seed.Spec)
	if err == nil && agent.Hello.Protocol != wire.Protocol {
		err = fmt.Errorf("its agent speaks protocol %d, this gofleet %d", agent.Hello.Protocol, wire.Protocol)
	}
	if err != nil {
		conn.Close()
		return err
	}
	s.out = wire.NewWriter(agent.In)
	heard := make(chan struct{})
	context.AfterFunc(s.gone, func() { s.hangUp(conn, heard) })
	task := &wire.Task{
		Run: s.Run, Host: s.seed.Name, Controller: s.Controller, Action: wire.Serve, Gofleet: s.Gofleet, Now: s.Now().UTC(),
		Spec: spec.Spec{Root: s.seed.Spec.Root}, Seed: &wire.Seed{Key: s.key, Port: s.seed.Port},
	}
	if err := s.out.Write(wire.Command{Task: task}); err != nil {
		return agent.Explain(err)
	}
	serving := make(chan *wire.Serving, 1)
	s.work.Go(func() {
		defer agent.Close()
		defer close(heard)
		err := s.hear(agent, serving)
		var own *wire.Error // that the agent told of
		if err != nil && !errors.As(err, &own) {
			err = fmt.Errorf("it was lost: %w", agent.Explain(err))
		}
		if err != nil {
			s.giveUpFor(err)
		}
	})
	s.work.Go(s.ping)
	select {
	case s.serving = <-serving:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	for _, ip := range slices.Backward(known) { // before what may be bridges of its own
		if ip = ip.Unmap(); ip.IsValid() && !ip.IsUnspecified() && !ip.IsLoopback() {
			s.serving.Addresses = slices.Insert(s.serving.Addresses, 0, ip.AsSlice())
		}
	}
	s.serving.Addresses = distinct(s.serving.Addresses)
	return nil
}

// maxSeedAddresses bounds what a host tries.
const maxSeedAddresses = 8

func distinct(addresses [][]byte) [][]byte {
	var out [][]byte
	for _, a := range addresses {
		if !slices.ContainsFunc(out, func(b []byte) bool { return string(a) == string(b) }) && len(out) < maxSeedAddresses {
			out = append(out, a)
		}
	}
	return out
}

// hangUp ends the connection. A seed that has done its work is told so first,
// so that it has ended when the run has.
func (s *site) hangUp(conn Conn, heard <-chan struct{}) {
	if errors.Is(context.Cause(s.gone), errSeedDone) {
		go s.out.Write(wire.Command{Stop: true}) // a connection that is stuck takes no words
		select {
		case <-heard:
		case <-time.After(seedEnd):
		}
	}
	conn.Close()
}

// hear reads what the seed says until its end.
func (s *site) hear(agent *Agent, serving chan<- *wire.Serving) error {
	for {
		var e wire.Event
		if err := agent.Out.Read(&e); err != nil {
			if errors.Is(err, io.EOF) {
				err = errors.New("its agent ended")
			}
			return err
		}
		switch {
		case e.Report != nil && e.Report.Error != nil:
			return e.Report.Error
		case e.Serving != nil:
			select {
			case serving <- e.Serving:
			default:
			}
		case e.Need != nil:
			select {
			case s.needs <- struct{}{}:
			case <-s.gone.Done():
				return nil
			}
		}
	}
}

func (s *site) ping() {
	tick := time.NewTicker(pingEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			s.out.Write(wire.Command{Ping: true}) // a broken one shows itself to the reader
		case <-s.gone.Done():
			return
		}
	}
}
