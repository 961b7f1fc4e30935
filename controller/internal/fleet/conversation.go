package fleet

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gofleet/gofleet/agent/wire"
	"github.com/gofleet/gofleet/controller/internal/journal"
	"github.com/gofleet/gofleet/controller/internal/release"
)

// pingEvery is how often an agent hears from us; it gives up after 60 s.
const pingEvery = 10 * time.Second

// reportWithin is how long an agent may take to report after a failed upload.
const reportWithin = 30 * time.Second

// stopWithin is how long an agent may take to report after it was told to stop:
// it may have a tree to remove. A host cannot hold a run that was interrupted.
const stopWithin = 5 * time.Minute

// ZstdFrom is the number of hosts from which making a zstd form pays on a run
// that finds none in the cache.
const ZstdFrom = 8

// conversation is the talk with one host's agent, from dialling to its report.
type conversation struct {
	*run
	index   int // of the host in the run
	job     job
	host    *Host
	version string
	mark    journal.Mark // that the host is begun
	line
	tasked  bool      // the agent may have its task
	entered sync.Once // its place in entry was given back
	seconds map[string]float64
	sent    atomic.Int64
	seeded  atomic.Int64
	noSeed  atomic.Pointer[string] // why the seed did not bring it all
	last    atomic.Pointer[string]
	proved  chan wire.Proof
	proving bool // a fresh login was asked for; there is one at most
	stays   bool // the connection is as it was when the agent reported
}

// hold runs the phases in order and returns the agent's report.
func (c *conversation) hold(ctx context.Context) (*wire.Report, error) {
	defer func() {
		if c.conn != nil && !c.stays {
			c.conn.Close()
		}
	}()
	if err := c.reach(ctx); err != nil {
		return nil, err
	}
	// Nothing is changed that the journal does not know to be begun.
	if err := c.Journal.Wait(ctx, c.mark); err != nil {
		return nil, wire.NewError(wire.KindJournal, err, "make room, or look at the disk of the state directory; the host was not changed")
	}
	c.tasked = true
	if err := c.out.Write(wire.Command{Task: c.task()}); err != nil {
		return nil, c.lost(err)
	}
	report, err := c.converse(ctx)
	if c.stays = c.stays && err == nil && report.Error == nil; c.stays {
		c.idle.put(c.index, c.line)
	}
	return report, err
}

// reach has the agent of an earlier pass, or connects and starts one.
func (c *conversation) reach(ctx context.Context) error {
	if l := c.idle.take(c.index); l != nil {
		c.phase("connect")
		if l.answers(ctx) {
			c.line = *l
			return nil
		}
		l.conn.Close()
	}
	if err := c.connect(ctx); err != nil {
		return err
	}
	return c.start(ctx)
}

// timed notes how long a phase of the controller took.
func (c *conversation) timed(phase string, f func() error) error {
	c.phase(phase)
	begun := c.Now()
	err := f()
	c.seconds[phase] = c.Now().Sub(begun).Seconds()
	return err
}

// phase tells what the host has come to.
func (c *conversation) phase(name string) {
	c.last.Store(&name)
	c.Observer.Phase(c.host.Name, name)
}

func (c *conversation) lastPhase() string {
	if p := c.last.Load(); p != nil {
		return *p
	}
	return ""
}

func (c *conversation) connect(ctx context.Context) error {
	return c.timed("connect", func() (err error) {
		c.conn, err = c.host.Connect(ctx)
		return err
	})
}

func (c *conversation) start(ctx context.Context) error {
	return c.timed("agent", func() (err error) {
		if c.agent, err = c.conn.StartAgent(ctx, c.host.Spec); err != nil {
			return err
		}
		c.out = wire.NewWriter(c.agent.In)
		if got := c.agent.Hello.Protocol; got != wire.Protocol {
			return wire.NewError(wire.KindProtocol,
				fmt.Errorf("the agent speaks protocol %d, this gofleet %d", got, wire.Protocol),
				"the agents in this gofleet are of another build: run make agents and build again")
		}
		return nil
	})
}

func (c *conversation) task() *wire.Task {
	t := &wire.Task{
		Run: c.Run, Host: c.host.Name, Controller: c.Controller, Action: c.job.action, Check: c.job.check, Verify: c.job.verify,
		Diff: c.Diff, Deep: c.Deep && c.job.stage == journal.StageMain,
		Version: c.version, Gofleet: c.Gofleet, Now: c.Now().UTC(), Spec: c.job.specFor(c.host.Spec, c.Command),
		Compare: !c.Whole, Stay: c.job.stays(c.host.Spec),
	}
	t.Modules, t.Gopath = offerFiles(c.host.Modules), offerFiles(c.host.Gopath)
	t.Packages, t.NoPackages = offerFiles(c.host.Packages), c.host.NoPackages
	p := c.agent.Hello.Platform
	switch offer, ok := c.host.Offers[p]; {
	case ok && offer.Archive != nil:
		a := offer.Archive
		t.Release = &wire.Release{
			Version: a.Version(), Platform: p, Name: a.Name(), SHA256: a.SHA256(),
			Evidence: a.Evidence().String(), Tree: a.Tree(),
		}
	case ok && offer.Missing != nil:
		t.Missing = offer.Missing.Error()
	default:
		t.Missing = fmt.Sprintf("no archive of go%s for %s", c.host.Spec.GoVersion, p)
	}
	return t
}

// errMute is what ends a conversation whose agent does not come to its end.
var errMute = errors.New("it did not report when it was told to stop")

// lost explains an agent that stopped talking. It wants the connection as it
// is: once we have closed that, nobody knows who ended it.
func (c *conversation) lost(err error) error {
	err = c.agent.Explain(err)
	var w *wire.Error
	if errors.As(err, &w) {
		return err
	}
	return &wire.Error{Kind: wire.KindAgent, Retryable: true,
		Message: fmt.Sprintf("the connection to the agent was lost: %v", err),
		Hint:    "the host still has the Go that it had; run the same command again"}
}

// converse reads the agent's events until its report, sends what it needs,
// and keeps telling it that we are here.
func (c *conversation) converse(ctx context.Context) (*wire.Report, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	// Reading has no context: closing the agent's channel ends it.
	release := context.AfterFunc(ctx, func() { c.conn.Close() })
	defer release()

	events := make(chan wire.Event)
	broken := make(chan error, 1)
	go func() {
		for {
			var e wire.Event
			if err := c.agent.Out.Read(&e); err != nil {
				broken <- err
				return
			}
			select {
			case events <- e:
			case <-ctx.Done():
				return
			}
			if e.Report != nil {
				return
			}
		}
	}()

	var failed error              // of the upload
	var lastWord <-chan time.Time // the agent has until then to report about it
	// An agent that has ended takes no words, but its report may not be read yet.
	var deaf error
	tell := func(word wire.Command) {
		if deaf != nil {
			return
		}
		if deaf = c.out.Write(word); deaf != nil && lastWord == nil {
			lastWord = time.After(reportWithin)
		}
	}
	ping := time.NewTicker(pingEvery)
	defer ping.Stop()
	stop := c.Stop
	up := &upload{conversation: c, done: make(chan error, 1), sending: make(chan struct{}, 1)}
	failures := up.done
	defer func() {
		cancel(nil)
		up.steps.Wait()
		up.close()
	}()
	for {
		select {
		case e := <-events:
			if e.Report != nil {
				c.stays = c.job.stays(c.host.Spec) && release()
				return c.final(e.Report, failed)
			}
			if err := c.event(ctx, e, up); err != nil {
				return nil, err
			}
		case failed = <-failures:
			failures = nil // what fails behind it is no news
			// Asked to stop, the agent abandons what it has and reports.
			lastWord = time.After(reportWithin)
			tell(wire.Command{Stop: true})
		case p := <-c.proved:
			tell(wire.Command{Proof: &p})
		case <-lastWord:
			return nil, c.lost(cmp.Or(failed, deaf, errMute))
		case err := <-broken:
			if errors.Is(err, io.EOF) {
				err = errors.New("it ended without a report")
			}
			return nil, c.lost(cmp.Or(failed, err))
		case <-ping.C:
			tell(wire.Command{Ping: true})
		case <-stop:
			stop = nil
			lastWord = time.After(stopWithin)
			tell(wire.Command{Stop: true})
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// final is the agent's report, unless the upload's own error tells more: of a
// failed write, SFTP says no reason, but the agent sees a full disk. An agent
// that has all it needs is done, whatever became of the upload's end.
func (c *conversation) final(r *wire.Report, failed error) (*wire.Report, error) {
	if failed != nil && r.Error != nil && r.Error.Kind == wire.KindStopped {
		return nil, c.lost(failed)
	}
	if err := r.Valid(); err != nil {
		return nil, wire.NewError(wire.KindProtocol, fmt.Errorf("the agent's report is not what it should be: %w", err), "")
	}
	return r, nil
}

// event handles one event that is not the report.
func (c *conversation) event(ctx context.Context, e wire.Event, up *upload) error {
	switch {
	case e.Phase != "":
		c.phase(c.host.Mask.Text(e.Phase))
	case e.Waiting != "":
		c.phase("wait: " + c.host.Mask.Text(e.Waiting))
	case e.Prove != "" && (c.proving || !c.job.changes):
		return wire.NewError(wire.KindProtocol, errors.New("the agent asks for a login that no change needs"), "")
	case e.Prove != "":
		c.proving = true
		up.steps.Go(func() { c.prove(ctx, e.Prove) })
	case e.Compare:
		up.describe(e.Part)
	case e.Index != "":
		up.index(e.Index, e.Part)
	case e.Want:
		up.offer(ctx)
	case len(e.Lacks) > 0:
		up.offerDifference(ctx, e.Lacks, e.Part)
	case e.Fetched > 0:
		up.fetched(e.Fetched)
	case e.Need != nil:
		if e.Need.Lost != "" {
			up.seedLost(c.host.Mask.Text(e.Need.Lost))
		}
		up.send(ctx, *e.Need)
	}
	return nil
}

// archive is the one offered to this host's agent.
func (c *conversation) archive() (*release.Archive, error) {
	a := c.host.Offers[c.agent.Hello.Platform].Archive
	if a == nil {
		return nil, wire.NewError(wire.KindProtocol, errors.New("the agent asks for an archive that was not offered"), "")
	}
	return a, nil
}

// files are those of a part that were offered to this host's agent.
func (c *conversation) files(part wire.Part) (*release.FileTree, error) {
	files := map[wire.Part]*release.FileTree{
		wire.PartModules: c.host.Modules, wire.PartGopath: c.host.Gopath, wire.PartPackages: c.host.Packages,
	}[part]
	if files == nil {
		return nil, wire.NewError(wire.KindProtocol, fmt.Errorf("the agent asks for %q, which was not offered", part), "")
	}
	return files, nil
}

func offerFiles(f *release.FileTree) *wire.Release {
	if f == nil {
		return nil
	}
	return &wire.Release{Name: f.Name(), Evidence: f.Evidence(), Tree: f.Tree()}
}
