package fleet

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gofleet/gofleet/agent/spec"
	"github.com/gofleet/gofleet/agent/wire"
)

// counted has a fleet count the connections to each host, and those that are open.
func (w *world) counted() (connections map[string]*atomic.Int32, open *atomic.Int32) {
	connections, open = map[string]*atomic.Int32{}, &atomic.Int32{}
	for _, h := range w.hosts {
		n, connect := &atomic.Int32{}, h.Connect
		connections[h.Name] = n
		h.Connect = func(ctx context.Context) (Conn, error) {
			c, err := connect(ctx)
			if err == nil {
				n.Add(1)
				open.Add(1)
				c = &countedConn{Conn: c, open: open}
			}
			return c, err
		}
	}
	return connections, open
}

type countedConn struct {
	Conn
	open *atomic.Int32
	once sync.Once
}

func (c *countedConn) Close() error {
	c.once.Do(func() { c.open.Add(-1) })
	return c.Conn.Close()
}

func TestBatchesGoOnWithTheAuditsConnections(t *testing.T) {
	start := time.Date(2026, 11, 23, 5, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		name  string
		alter func(o *Options, w *world)
		want  map[string]int32 // connections; the others have one
		asked int              // tasks of all hosts
	}{
		{name: "one for audit, command and gate", asked: 12},
		{name: "more hosts than forks", alter: func(o *Options, _ *world) { o.Forks = 3 },
			want: map[string]int32{"h1": 2, "h2": 2, "h3": 2, "h4": 2}, asked: 12},
		{name: "after a pause", alter: func(o *Options, _ *world) {
			o.Rollout.Pause = func(context.Context, Batch, func(time.Time)) error { return nil }
		}, want: map[string]int32{"h3": 2, "h4": 2}, asked: 12},
		{name: "an audit of long ago", alter: func(o *Options, w *world) {
			var late atomic.Bool
			o.Now = func() time.Time {
				if late.Load() {
					return start.Add(keptFor + time.Second)
				}
				return start
			}
			w.do["h1"] = func(t wire.Task) wire.Report {
				late.Store(late.Load() || kindOf(t) == "main")
				return changes(t)
			}
		}, want: map[string]int32{"h3": 2, "h4": 2}, asked: 12},
		{name: "a gate where accounts may have changed", alter: func(_ *Options, w *world) {
			w.hosts[1].Spec = &spec.Spec{GoVersion: "1.26.8", Users: []spec.User{{Name: "app"}}}
		}, want: map[string]int32{"h2": 2}, asked: 12},
		{name: "a host that failed the audit", alter: func(_ *Options, w *world) { w.on("h3", "audit", wire.Unmet) },
			want: map[string]int32{"h3": 2}, asked: 12},
		{name: "no batches", alter: func(o *Options, _ *world) { o.Rollout = Rollout{} }, asked: 4},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, 4)
			o := options()
			o.Now = func() time.Time { return start }
			o.Rollout = Rollout{Batches: []int{2, 2}, LookAhead: true, Verify: true}
			if tt.alter != nil {
				tt.alter(&o, w)
			}
			connections, open := w.counted()
			out := Run(context.Background(), w.hosts, o)
			if out.Count(wire.Changed) != 4 {
				t.Errorf("not every host was changed: %+v", out.Results)
			}
			for host, n := range connections {
				want := max(tt.want[host], 1)
				if got := n.Load(); got != want {
					t.Errorf("%s was connected to %d times, want %d", host, got, want)
				}
			}
			if len(w.asked) != tt.asked {
				t.Errorf("hosts were asked %q", w.asked)
			}
			if n := open.Load(); n != 0 {
				t.Errorf("%d connections are open when the run is over", n)
			}
		})
	}
}

// TestAgentGoneBetweenPasses has agents end, or their hosts, while nothing is
// asked of them: the batch connects anew, and no host is unknown for it.
func TestAgentGoneBetweenPasses(t *testing.T) {
	w := newWorld(t, 3)
	var mu sync.Mutex
	agents := map[string]*fakeConn{}
	for _, h := range w.hosts {
		connect := h.Connect
		h.Connect = func(ctx context.Context) (Conn, error) {
			c, err := connect(ctx)
			mu.Lock()
			defer mu.Unlock()
			if _, again := agents[h.Name]; !again {
				agents[h.Name] = c.(*fakeConn)
			}
			return c, err
		}
	}
	connections, open := w.counted()
	o := options()
	o.Observer = &atStage{silent: &silent{}, do: func(s Stage) {
		if s.Batch == 1 && s.Name == "" {
			agents["h2"].Close()
		}
	}}
	o.Rollout = Rollout{Batches: []int{3}, LookAhead: true}
	out := Run(context.Background(), w.hosts, o)
	for i, r := range out.Results {
		if r.Status != wire.Changed || r.Unknown {
			t.Errorf("%s is %s, %v", r.Host, r.Status, r.Error)
		}
		if want := map[int]int32{1: 2}[i]; connections[r.Host].Load() != max(want, 1) {
			t.Errorf("%s was connected to %d times", r.Host, connections[r.Host].Load())
		}
	}
	if n := open.Load(); n != 0 {
		t.Errorf("%d connections are open when the run is over", n)
	}
	for i := range 3 {
		if name := fmt.Sprintf("main h%d", i+1); !slices.Contains(w.asked, name) {
			t.Errorf("no %s: %q", name, w.asked)
		}
	}
}

// atStage is an Observer that does something at each stage.
type atStage struct {
	*silent
	do func(Stage)
}

func (o *atStage) Stage(s Stage) { o.do(s) }
