package fleet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gofleet/gofleet/agent/spec"
	"github.com/gofleet/gofleet/agent/wire"
)

var amd64 = spec.Platform{OS: "linux", Arch: "amd64"}

// script is what a fake agent does after its Hello, until it returns.
type script func(a *fakeAgent)

// fakeAgent is the host's side of a conversation, for what real agents would
// not do on demand.
type fakeAgent struct {
	in     *wire.Reader
	out    *wire.Writer
	task   wire.Task
	upload func(ctx context.Context, src io.ReaderAt, offset, size int64, contiguous func(int64)) error
}

func (a *fakeAgent) report(r wire.Report) { a.out.Write(wire.Event{Report: &r}) }

// fakeConn runs a script in the agent's place.
type fakeConn struct {
	do     script
	agent  *fakeAgent
	closed chan struct{}
	once   sync.Once
}

func (c *fakeConn) StartAgent(context.Context, *spec.Spec) (*Agent, error) {
	toAgent, fromUs := io.Pipe()
	toUs, fromAgent := io.Pipe()
	c.agent.in, c.agent.out = wire.NewReader(toAgent, wire.MaxLine), wire.NewWriter(fromAgent)
	go func() {
		defer fromAgent.Close()
		defer toAgent.Close()
		for {
			var task wire.Command
			if c.agent.in.Read(&task) != nil {
				return
			}
			if task.Ready {
				c.agent.out.Write(wire.Event{Ready: true})
			}
			if task.Task == nil {
				continue
			}
			c.agent.task = *task.Task
			if c.do(c.agent); !c.agent.task.Stay {
				return
			}
		}
	}()
	go func() { // a closed connection ends both directions
		<-c.closed
		fromUs.CloseWithError(io.ErrClosedPipe)
		toUs.CloseWithError(io.ErrClosedPipe)
	}()
	return &Agent{
		Hello: wire.Hello{Protocol: wire.Protocol, Platform: amd64},
		In:    fromUs, Out: wire.NewReader(toUs, wire.MaxLine),
		Close:   func() error { return nil },
		Explain: func(err error) error { return err },
	}, nil
}

func (c *fakeConn) Upload(ctx context.Context, src io.ReaderAt, offset, size int64, _ string, contiguous func(int64)) error {
	return c.agent.upload(ctx, src, offset, size, contiguous)
}

func (c *fakeConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return nil
}

// fakeHost is a host whose agent does the script.
func fakeHost(name string, do script) *Host {
	return &Host{Name: name, Spec: &spec.Spec{GoVersion: "1.26.8"}, Connect: func(context.Context) (Conn, error) {
		return &fakeConn{do: do, agent: &fakeAgent{}, closed: make(chan struct{})}, nil
	}}
}

// silent is an Observer that only counts.
type silent struct{ done atomic.Int32 }

func (*silent) Phase(string, string)       {}
func (*silent) Bytes(string, int64, int64) {}
func (*silent) Warn(string, string)        {}
func (s *silent) Done(Result)              { s.done.Add(1) }
func (*silent) Stage(Stage)                {}
func (*silent) Revise(Result)              {}
func (*silent) Budget(string)              {}

func options() Options {
	return Options{Run: "r", Command: wire.Apply, Forks: 4, Uploads: 2, Observer: &silent{}, Now: time.Now}
}

func status(s wire.Status) script {
	return func(a *fakeAgent) { a.report(wire.Report{Status: s}) }
}

func TestRunKeepsOrderAndOneHostsTroubleApart(t *testing.T) {
	refused := &Host{Name: "d", Spec: &spec.Spec{}, Connect: func(context.Context) (Conn, error) {
		return nil, wire.NewError(wire.KindUnreachable, errors.New("connection refused"), "")
	}}
	o := options()
	out := Run(context.Background(), []*Host{
		fakeHost("a", status(wire.OK)), fakeHost("b", status(wire.Changed)),
		fakeHost("c", func(*fakeAgent) {}), // ends without a report
		refused, fakeHost("e", status(wire.Unmet)),
	}, o)
	want := []wire.Status{wire.OK, wire.Changed, wire.Failed, wire.Unreachable, wire.Unmet}
	for i, name := range []string{"a", "b", "c", "d", "e"} {
		if r := out.Results[i]; r.Host != name || r.Status != want[i] {
			t.Errorf("result %d is %s %s, want %s %s", i, r.Host, r.Status, name, want[i])
		}
	}
	if e := out.Results[2].Error; e == nil || e.Kind != wire.KindAgent || !e.Retryable {
		t.Errorf("an agent that ended without a report gives %+v", e)
	}
	if got := out.ExitCode(); got != ExitFailed|ExitUnreachable {
		t.Errorf("exit code %d, want %d", got, ExitFailed|ExitUnreachable)
	}
	if got := o.Observer.(*silent).done.Load(); got != 5 {
		t.Errorf("the observer was told of %d hosts", got)
	}
}

// A host that talks on and never reports cannot hold a run that was stopped.
func TestStopEndsWithoutTheHostsWord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stop, ended := make(chan struct{}), make(chan struct{})
		o := options()
		o.Stop = stop
		out := Run(context.Background(), []*Host{fakeHost("a", func(a *fakeAgent) {
			defer close(ended)
			go func() {
				var c wire.Command
				for a.in.Read(&c) == nil {
				}
			}()
			close(stop)
			for a.out.Write(wire.Event{Phase: "check"}) == nil {
				time.Sleep(time.Second)
			}
		})}, o)
		<-ended
		if e := out.Results[0].Error; e == nil || e.Kind != wire.KindAgent || !strings.Contains(e.Message, "told to stop") {
			t.Errorf("the host ended with %+v", out.Results[0].Report)
		}
	})
}

// What a host says of itself counts in the exit code and is printed.
func TestReportThatNoAgentMakes(t *testing.T) {
	evil := "\x1b[2Jok"
	for name, r := range map[string]wire.Report{
		"no status":          {},
		"unknown status":     {Status: wire.Status(evil)},
		"status of ours":     {Status: wire.Unreachable},
		"skipped":            {Status: wire.Skipped},
		"status of a check":  {Status: wire.OK, Checks: []wire.Check{{Name: "cpus", Status: wire.CheckStatus(evil)}}},
		"kind of an error":   {Status: wire.Failed, Error: &wire.Error{Kind: wire.Kind(evil)}},
		"error without kind": {Status: wire.Failed, Error: &wire.Error{Message: "x"}},
	} {
		out := Run(context.Background(), []*Host{fakeHost("a", func(a *fakeAgent) { a.report(r) })}, options())
		got := out.Results[0]
		if got.Status != wire.Failed || got.Error == nil || got.Error.Kind != wire.KindProtocol || strings.Contains(got.Error.Message, "\x1b") {
			t.Errorf("%s: %s, %+v", name, got.Status, got.Error)
		}
		if out.ExitCode() != ExitFailed {
			t.Errorf("%s: exit code %d", name, out.ExitCode())
		}
	}
}

func TestExitCodes(t *testing.T) {
	for _, tt := range []struct {
		statuses []wire.Status
		want     int
	}{
		{nil, 0},
		{[]wire.Status{wire.OK, wire.Changed, wire.Skipped}, 0},
		{[]wire.Status{wire.Drifted}, 2},
		{[]wire.Status{wire.Unmet, wire.OK}, 2},
		{[]wire.Status{wire.Unreachable}, 4},
		{[]wire.Status{wire.Failed, wire.Unreachable}, 6},
	} {
		var o Outcome
		for _, s := range tt.statuses {
			o.Results = append(o.Results, Result{Report: wire.Report{Status: s}})
		}
		if got := o.ExitCode(); got != tt.want {
			t.Errorf("%v: exit code %d, want %d", tt.statuses, got, tt.want)
		}
	}
}

func TestForksBoundHostsAtWork(t *testing.T) {
	var now, most atomic.Int32
	var hosts []*Host
	meet := make(chan struct{})
	for i := range 12 {
		hosts = append(hosts, fakeHost(fmt.Sprint(i), func(a *fakeAgent) {
			n := now.Add(1)
			for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
			}
			// Four meet here before any goes on, so that all four forks are seen.
			select {
			case meet <- struct{}{}:
			case <-meet:
			}
			now.Add(-1)
			a.report(wire.Report{Status: wire.OK})
		}))
	}
	Run(context.Background(), hosts, options())
	if got := most.Load(); got < 2 || got > 4 {
		t.Errorf("%d hosts were at work at once, want 2 to 4 forks", got)
	}
}

func TestStopLetsRunningHostsEndAndBeginsNone(t *testing.T) {
	stop := make(chan struct{})
	begun := make(chan struct{})
	o := options()
	o.Forks, o.Stop = 1, stop
	go func() {
		<-begun
		close(stop)
	}()
	out := Run(context.Background(), []*Host{
		fakeHost("a", func(a *fakeAgent) {
			close(begun)
			var c wire.Command
			for a.in.Read(&c) == nil && !c.Stop {
				c = wire.Command{}
			}
			a.report(wire.Report{Status: wire.Failed, Error: &wire.Error{Kind: wire.KindStopped}})
		}),
		fakeHost("b", status(wire.OK)),
	}, o)
	if r := out.Results[0]; r.Error == nil || r.Error.Kind != wire.KindStopped {
		t.Errorf("the running host gave %+v, want its own report", r.Report)
	}
	if r := out.Results[1]; r.Status != wire.Skipped {
		t.Errorf("the host behind it is %s, want skipped", r.Status)
	}
	if out.ExitCode() != ExitInterrupted {
		t.Errorf("exit code %d", out.ExitCode())
	}
}

func TestCancelCutsAtOnce(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	out := Run(ctx, []*Host{fakeHost("a", func(a *fakeAgent) {
		cancel()
		var c wire.Command
		for a.in.Read(&c) == nil { // hears nothing more, and says nothing
			c = wire.Command{}
		}
	})}, options())
	if e := out.Results[0].Error; e == nil || e.Kind != wire.KindInterrupted {
		t.Errorf("the host gave %+v", out.Results[0].Report)
	}
}

func TestHostTimeout(t *testing.T) {
	o := options()
	o.HostTimeout = time.Millisecond
	out := Run(context.Background(), []*Host{fakeHost("a", func(a *fakeAgent) {
		var c wire.Command
		for a.in.Read(&c) == nil {
			c = wire.Command{}
		}
	})}, o)
	if e := out.Results[0].Error; e == nil || e.Kind != wire.KindTimeout {
		t.Errorf("the host gave %+v", out.Results[0].Report)
	}
}

func TestAnotherProtocolIsRefused(t *testing.T) {
	h := fakeHost("a", status(wire.OK))
	connect := h.Connect
	h.Connect = func(ctx context.Context) (Conn, error) {
		c, err := connect(ctx)
		return &oldConn{c.(*fakeConn)}, err
	}
	out := Run(context.Background(), []*Host{h}, options())
	if e := out.Results[0].Error; e == nil || e.Kind != wire.KindProtocol || e.Hint == "" {
		t.Errorf("the host gave %+v", out.Results[0].Report)
	}
}

type oldConn struct{ *fakeConn }

func (c *oldConn) StartAgent(ctx context.Context, s *spec.Spec) (*Agent, error) {
	a, err := c.fakeConn.StartAgent(ctx, s)
	a.Hello.Protocol++
	return a, err
}

func TestUnofferedArchiveIsRefused(t *testing.T) {
	out := Run(context.Background(), []*Host{fakeHost("a", func(a *fakeAgent) {
		if a.task.Missing == "" {
			t.Error("the task does not say why there is no archive")
		}
		a.out.Write(wire.Event{Want: true})
		var c wire.Command
		a.in.Read(&c)
	})}, options())
	if e := out.Results[0].Error; e == nil || e.Kind != wire.KindProtocol {
		t.Errorf("the host gave %+v", out.Results[0].Report)
	}
}

// An agent that has ended takes no more words; what it had reported is read.
func TestReportIsReadBehindAFailedWord(t *testing.T) {
	stop := make(chan struct{})
	o := options()
	o.Stop = stop
	in := &deafAfter{tried: make(chan struct{})}
	h := fakeHost("a", func(a *fakeAgent) {
		in.deaf.Store(true)
		close(stop)
		<-in.tried
		a.report(wire.Report{Status: wire.Changed})
	})
	connect := h.Connect
	h.Connect = func(ctx context.Context) (Conn, error) {
		c, err := connect(ctx)
		return &deafConn{c.(*fakeConn), in}, err
	}
	if r := Run(context.Background(), []*Host{h}, o).Results[0]; r.Status != wire.Changed || r.Error != nil {
		t.Errorf("the host gave %s, %+v", r.Status, r.Error)
	}
}

// deafAfter passes words on until it is deaf, and tells when one was tried.
type deafAfter struct {
	io.Writer
	deaf  atomic.Bool
	tried chan struct{}
}

func (d *deafAfter) Write(p []byte) (int, error) {
	if !d.deaf.Load() {
		return d.Writer.Write(p)
	}
	close(d.tried)
	return 0, io.EOF
}

type deafConn struct {
	*fakeConn
	in *deafAfter
}

func (c *deafConn) StartAgent(ctx context.Context, s *spec.Spec) (*Agent, error) {
	a, err := c.fakeConn.StartAgent(ctx, s)
	c.in.Writer, a.In = a.In, c.in
	return a, err
}
