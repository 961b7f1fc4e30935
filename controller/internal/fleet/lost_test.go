package fleet

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gofleet/gofleet/agent/spec"
	"github.com/gofleet/gofleet/agent/wire"
)

// explained is a connection whose agent tells at its end what became of it.
type explained struct {
	*fakeConn
	why    error // nil: nothing
	asked  *atomic.Int32
	closed *atomic.Bool // when it was asked
}

func (c *explained) StartAgent(ctx context.Context, s *spec.Spec) (*Agent, error) {
	a, err := c.fakeConn.StartAgent(ctx, s)
	a.Explain = func(err error) error {
		c.asked.Add(1)
		select {
		case <-c.fakeConn.closed:
			c.closed.Store(true)
		default:
		}
		if c.why != nil {
			return c.why
		}
		return err
	}
	return a, err
}

// explain has a host's agent tell why it ended, and counts who asks.
func explain(h *Host, why error) (asked *atomic.Int32, closed *atomic.Bool) {
	asked, closed = new(atomic.Int32), new(atomic.Bool)
	connect := h.Connect
	h.Connect = func(ctx context.Context) (Conn, error) {
		c, err := connect(ctx)
		return &explained{c.(*fakeConn), why, asked, closed}, err
	}
	return asked, closed
}

// Asking may take many seconds, and tells nothing of a connection that we have
// closed ourselves.
func TestEndIsExplainedOnceAndBeforeClosing(t *testing.T) {
	killed := &wire.Error{Kind: wire.KindAgent, Message: "the agent was killed by signal 9"}
	h := fakeHost("a", func(*fakeAgent) {})
	asked, closed := explain(h, killed)
	out := Run(context.Background(), []*Host{h}, options())
	if e := out.Results[0].Error; e == nil || e.Message != killed.Message {
		t.Errorf("the host gave %+v", e)
	}
	if asked.Load() != 1 || closed.Load() {
		t.Errorf("its end was explained %d times; after we had closed the connection: %t", asked.Load(), closed.Load())
	}
}

// What we refuse ourselves is told as that: the agent's end is our doing.
func TestRefusalIsNotExplainedAway(t *testing.T) {
	h := fakeHost("a", func(a *fakeAgent) {
		a.out.Write(wire.Event{Prove: "token"})
		var c wire.Command
		a.in.Read(&c)
	})
	explain(h, &wire.Error{Kind: wire.KindAgent, Message: "the agent ended without saying how"})
	o := options()
	o.Check = true
	out := Run(context.Background(), []*Host{h}, o)
	if e := out.Results[0].Error; e == nil || e.Kind != wire.KindProtocol {
		t.Errorf("the host gave %+v", e)
	}
}

// An agent that asks again and again ends its own host, in bounded memory, and
// nothing waits for what nobody reads any more.
func TestAgentThatAsksTooMuchEnds(t *testing.T) {
	h := fakeHost("a", func(a *fakeAgent) {
		a.upload = func(ctx context.Context, _ io.ReaderAt, _, _ int64, _ func(int64)) error {
			<-ctx.Done()
			return ctx.Err()
		}
		a.out.Write(wire.Event{Want: true})
		var c wire.Command
		for a.in.Read(&c) == nil && c.Send == nil {
			c = wire.Command{}
		}
		go io.Copy(io.Discard, a.in.Raw())
		for range 3 * maxSteps {
			a.out.Write(wire.Event{Need: &wire.Need{Path: "/staging/archive"}})
		}
	})
	h.Offers = map[spec.Platform]Offer{amd64: {Archive: newArchive(t)}}
	done := make(chan *Outcome, 1)
	go func() { done <- Run(context.Background(), []*Host{h, fakeHost("b", status(wire.OK))}, options()) }()
	select {
	case out := <-done:
		if e := out.Results[0].Error; e == nil || e.Kind != wire.KindProtocol {
			t.Errorf("the host gave %+v", e)
		}
		if out.Results[1].Status != wire.OK {
			t.Errorf("the other host gave %+v", out.Results[1].Report)
		}
	case <-time.After(time.Minute):
		t.Fatal("the run hangs")
	}
}

// A transfer that this machine cannot make is no lost connection.
func TestUnmadeTransferIsToldAsThat(t *testing.T) {
	archive := newArchive(t)
	// The zstd form has no place: its cache's directory is a file.
	cache := filepath.Dir(filepath.Dir(archive.TransferPath(wire.Zstd)))
	must(t, os.RemoveAll(cache))
	must(t, os.WriteFile(cache, nil, 0o600))
	h := fakeHost("a", func(a *fakeAgent) {
		a.out.Write(wire.Event{Want: true})
		var c wire.Command
		for a.in.Read(&c) == nil && !c.Stop {
			c = wire.Command{}
		}
		a.report(wire.Report{Status: wire.Failed, Error: &wire.Error{Kind: wire.KindStopped}})
	})
	h.Offers = map[spec.Platform]Offer{amd64: {Archive: archive}}
	o := options()
	o.Encoding = wire.Zstd
	out := Run(context.Background(), []*Host{h}, o)
	e := out.Results[0].Error
	if e == nil || e.Kind != wire.KindTransfer || !strings.HasPrefix(e.Message, "prepare ") || e.Hint == "" {
		t.Errorf("the host gave %+v", e)
	}
}
