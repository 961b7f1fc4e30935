package report

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/gofleet/gofleet/agent/wire"
	"github.com/gofleet/gofleet/controller/internal/fleet"
)

// stage is a Reporter on a terminal of the test's, drawn when the test says.
type stage struct {
	*Reporter
	t     *testing.T
	vt    *vt
	clock *fakeClock
	tick  chan time.Time
}

func newStage(t *testing.T, cols, rows int, o Options) *stage {
	t.Helper()
	s := &stage{t: t, vt: newVT(cols, rows), clock: newFakeClock(), tick: make(chan time.Time)}
	o.Stderr, o.ticks, o.Now = s.vt, s.tick, s.clock.now
	if o.Stdout == nil {
		o.Stdout = io.Discard
	}
	o.Look = Look{Live: true, Results: true, Size: s.vt.size}
	o.Command = wire.Apply
	var err error
	if s.Reporter, err = New(o); err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() {
		s.Stop()
		if len(s.vt.unknown) > 0 {
			t.Errorf("the terminal was sent %q", s.vt.unknown)
		}
	})
	return s
}

// frame lets d go by and gives what the terminal then shows.
func (s *stage) frame(d time.Duration) string {
	s.clock.step(d)
	s.tick <- time.Time{}
	s.tick <- time.Time{} // taken when the first frame is drawn
	return s.vt.text()
}

func names(format string, n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf(format, i+1)
	}
	return out
}

func ok(host string) fleet.Result {
	return fleet.Result{Host: host, Platform: "linux/amd64", Report: wire.Report{Status: wire.OK,
		Go: wire.GoChange{Before: "1.26.8", After: "1.26.8"}, Seconds: map[string]float64{"total": 1}}}
}

func unreachable(host, why string) fleet.Result {
	return fleet.Result{Host: host, Report: wire.Report{Status: wire.Unreachable,
		Error: &wire.Error{Kind: wire.KindUnreachable, Message: why}, Seconds: map[string]float64{"total": 1}}}
}

func TestLiveHosts(t *testing.T) {
	s := newStage(t, 100, 24, Options{Hosts: names("web%02d", 6)})
	s.Phase("web01", "connect")
	s.Phase("web02", "upload")
	s.Phase("web03", "upload")
	s.Phase("web04", "wait: run 20261122-1 of ana@desk, pid 4711")
	s.Done(ok("web05"))
	s.Bytes("web02", 0, 67_100_000)
	s.Bytes("web03", 0, 67_100_000)
	s.frame(time.Second)
	s.Bytes("web02", 20_000_000, 67_100_000)
	s.Bytes("web03", 10_000_000, 67_100_000)
	s.Done(unreachable("web06", "dial web06: connection refused"))
	golden(t, "live-hosts.txt", s.frame(time.Second))
}

func TestLiveFolds(t *testing.T) {
	s := newStage(t, 80, 10, Options{Hosts: names("web%02d", 40)})
	for i, h := range names("web%02d", 40) {
		switch {
		case i < 12:
			s.Phase(h, "upload")
			s.Bytes(h, 0, 67_100_000)
		case i < 20:
			s.Phase(h, "verify")
		case i < 30:
			s.Phase(h, "connect")
		}
	}
	s.frame(time.Second)
	for _, h := range names("web%02d", 12) {
		s.Bytes(h, 30_000_000, 67_100_000)
	}
	golden(t, "live-folded.txt", s.frame(time.Second))

}

func TestLiveOnTinyTerminal(t *testing.T) {
	s := newStage(t, 30, 3, Options{Hosts: names("web%02d", 40)})
	for _, h := range s.Hosts[:20] {
		s.Phase(h, "verify")
	}
	s.Done(unreachable("web30", "no route"))
	want := "apply  1/40 hosts  1 unreach…\n  verify    20  web[01-20]\n"
	if got := s.frame(time.Second); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestLiveLeavesNothing(t *testing.T) {
	s := newStage(t, 80, 24, Options{Hosts: names("web%d", 3)})
	s.Phase("web1", "connect")
	if got := s.frame(time.Second); !strings.Contains(got, "web1") {
		t.Fatalf("the view does not show web1:\n%s", got)
	}
	s.Stop()
	if got := s.vt.text(); got != "\n" {
		t.Errorf("the view left %q", got)
	}
}

func TestLiveSurvivesNarrowing(t *testing.T) {
	s := newStage(t, 100, 24, Options{Hosts: names("web%02d.example.net", 4)})
	s.Warn("", "first line")
	for _, h := range s.Hosts {
		s.Phase(h, "wait: somebody with a long name holds the lock, and has for quite some time")
	}
	s.frame(time.Second)
	for _, cols := range []int{60, 35, 20, 90} {
		s.vt.resize(cols, 24)
		s.frame(time.Second)
	}
	s.Stop()
	if got, want := s.vt.text(), "gofleet: warning: fi\nrst line\n"; got != want {
		t.Errorf("after narrowing the view left\n%q, want\n%q", got, want)
	}
}

func TestLinesStandAboveTheView(t *testing.T) {
	s := newStage(t, 80, 24, Options{Hosts: names("web%d", 2)})
	s.Phase("web1", "connect")
	s.frame(time.Second)
	s.Warn("", "inventory.yaml:3: duplicate key")
	got := s.frame(0)
	if !strings.HasPrefix(got, "gofleet: warning: inventory.yaml:3: duplicate key\napply  0/2 hosts") {
		t.Errorf("got:\n%s", got)
	}
	if strings.Count(got, "web1") != 1 {
		t.Errorf("the view stands there twice:\n%s", got)
	}
}

func TestLiveDrawsOnlyNews(t *testing.T) {
	s := newStage(t, 80, 24, Options{Hosts: names("web%d", 2)})
	s.Phase("web1", "connect")
	s.frame(time.Second)
	before := s.vt.writes
	s.frame(0)
	if s.vt.writes != before {
		t.Errorf("%d writes for a frame without news", s.vt.writes-before)
	}
}

func TestProgressBar(t *testing.T) {
	s := newStage(t, 90, 24, Options{})
	p := s.Progress("fetch go1.26.8.linux-amd64.tar.gz")
	p.Set(10_000_000, 67_100_000) // resumed here
	s.frame(time.Second)
	p.Set(20_000_000, 67_100_000)
	golden(t, "live-progress.txt", s.frame(time.Second))
	p.Set(67_100_000, 67_100_000)
	s.clock.step(2 * time.Second)
	p.End(nil)
	p.End(nil)
	want := "fetch go1.26.8.linux-amd64.tar.gz: 67.1 MB in 4.00 s, 14.3 MB/s\n"
	if got := s.frame(0); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestProgressWithoutTerminal(t *testing.T) {
	clock := newFakeClock()
	r, _, stderr := newReporter(t, Options{Now: clock.now})
	p := r.Progress("fetch x")
	for i := range 25 {
		p.Set(int64(i)*1_000_000, 100_000_000)
		clock.step(time.Second)
	}
	p.End(io.ErrUnexpectedEOF)
	want := "fetch x:  10%  10.0/100 MB  1.0 MB/s  1:30 left\nfetch x:  20%  20.0/100 MB  1.0 MB/s  1:20 left\n"
	if got := stderr.String(); got != want {
		t.Errorf("got\n%q, want\n%q", got, want)
	}
}

func TestProgressWithoutBytes(t *testing.T) {
	clock := newFakeClock()
	r, _, stderr := newReporter(t, Options{Now: clock.now})
	p := r.Progress("download modules of go.mod")
	clock.step(7 * time.Second)
	p.End(nil)
	if got, want := stderr.String(), "download modules of go.mod: 7.00 s\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestMeter(t *testing.T) {
	clock := newFakeClock()
	var m meter
	for i := range 200 { // 10 MB/s for 10 s, then 2 MB/s
		step := int64(500_000)
		if i > 100 {
			step = 100_000
		}
		done := int64(0)
		if n := len(m.samples); n > 0 {
			done = m.samples[n-1].done
		}
		m.add(clock.now(), done+step)
		if i == 100 {
			if r := m.rate(clock.now()); r < 9_900_000 || r > 10_100_000 {
				t.Errorf("after 5 s the rate is %.0f", r)
			}
		}
		clock.step(50 * time.Millisecond)
	}
	if r := m.rate(clock.now()); r > 2_500_000 {
		t.Errorf("the rate still remembers what was 5 s ago: %.0f", r)
	}
	clock.step(time.Minute)
	if r, left := m.rate(clock.now()), m.left(clock.now(), 1000); r != 0 || left != 0 {
		t.Errorf("stalled for a minute: rate %.0f, left %s", r, left)
	}
}
