package fleet

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gofleet/gofleet/agent/spec"
	"github.com/gofleet/gofleet/agent/wire"
	"github.com/gofleet/gofleet/controller/internal/journal"
)

func TestBatches(t *testing.T) {
	for _, tt := range []struct {
		serial string
		n      int
		want   []int
	}{
		{"1,10%,100%", 20, []int{1, 2, 17}},
		{"1,10%,100%", 5, []int{1, 1, 3}},
		{"30%", 10, []int{3, 3, 3, 1}},
		{"3", 7, []int{3, 3, 1}},
		{"5,2", 4, []int{4}},
		{"0.1%", 3, []int{1, 1, 1}},
		{"100%", 0, nil},
		{"1, 50 %", 5, []int{1, 2, 2}},
	} {
		serial, err := ParseSerial(tt.serial)
		if err != nil {
			t.Errorf("%s: %v", tt.serial, err)
			continue
		}
		if got := Batches(serial, tt.n); !slices.Equal(got, tt.want) {
			t.Errorf("--serial %s of %d hosts: %v, want %v", tt.serial, tt.n, got, tt.want)
		}
	}
	for _, bad := range []string{"", "0", "0%", "1,,2", "101%", "-1", "ten", "NaN%", "1e999%"} {
		if s, err := ParseSerial(bad); err == nil {
			t.Errorf("--serial %q is %v", bad, s)
		}
	}
}

func TestBudgetArithmetic(t *testing.T) {
	share := func(text string) *Share {
		if text == "" {
			return nil
		}
		s, err := ParseShare(text)
		if err != nil {
			t.Fatal(err)
		}
		return &s
	}
	for _, tt := range []struct {
		fail, unreachable   string
		fatal               bool
		failed, gone, scope int
		broken              string
	}{
		{"5%", "", false, 1, 0, 20, ""},
		{"5%", "", false, 2, 0, 20, "2 of 20 hosts failed, more than --max-fail 5%"},
		{"5%", "", false, 1, 0, 10, "--max-fail 5%"},
		{"5%", "", false, 0, 10, 10, ""}, // counted apart
		{"0", "", false, 0, 0, 10, ""},
		{"0", "", false, 1, 0, 10, "--max-fail 0"},
		{"2", "10%", false, 2, 1, 10, ""},
		{"2", "10%", false, 2, 2, 10, "--max-unreachable 10%"},
		{"100%", "100%", false, 5, 5, 10, ""},
		{"", "", false, 10, 10, 20, ""},
		{"", "", true, 0, 1, 10, "--any-errors-fatal"},
		{"50%", "", true, 1, 0, 10, "--any-errors-fatal"},
	} {
		b := Budget{Fail: share(tt.fail), Unreachable: share(tt.unreachable), Fatal: tt.fatal}
		got := b.broken(Spent{tt.failed, tt.gone}, tt.scope)
		if (got == "") != (tt.broken == "") || !strings.Contains(got, tt.broken) {
			t.Errorf("%+v: %q", tt, got)
		}
	}
}

// world is a fleet whose hosts tell what was asked of them.
type world struct {
	mu    sync.Mutex
	asked []string                               // "main web1", in the order of asking
	do    map[string]func(wire.Task) wire.Report // by host; the others change
	hosts []*Host
	store journal.Store
}

// kindOf names what a task is for.
func kindOf(t wire.Task) string {
	switch {
	case t.Verify:
		return "gate"
	case t.Check:
		return "audit"
	case t.Action == wire.Rollback:
		return "rollback"
	}
	return "main"
}

func newWorld(t *testing.T, n int) *world {
	w := &world{do: map[string]func(wire.Task) wire.Report{}, store: journal.Store{Dir: t.TempDir()}}
	for i := range n {
		name := fmt.Sprintf("h%d", i+1)
		w.hosts = append(w.hosts, fakeHost(name, func(a *fakeAgent) {
			w.mu.Lock()
			w.asked = append(w.asked, kindOf(a.task)+" "+name)
			do := w.do[name]
			w.mu.Unlock()
			if do != nil {
				a.report(do(a.task))
				return
			}
			a.report(changes(a.task))
		}))
	}
	return w
}

func changes(t wire.Task) wire.Report {
	switch kindOf(t) {
	case "gate":
		return wire.Report{Status: wire.OK}
	case "rollback":
		return wire.Report{Status: wire.Changed, Changed: true, Go: wire.GoChange{Before: "2", After: t.Version}}
	}
	return wire.Report{Status: wire.Changed, Changed: true, Go: wire.GoChange{Before: "1", After: "2"}}
}

// on answers one kind of task with a status, and the others as usual.
func (w *world) on(host, kind string, s wire.Status) {
	before := w.do[host]
	w.do[host] = func(t wire.Task) wire.Report {
		switch {
		case kindOf(t) == kind:
			r := wire.Report{Status: s}
			if s != wire.OK {
				r.Error = &wire.Error{Kind: wire.KindHost, Message: "as the test wants it"}
			}
			return r
		case before != nil:
			return before(t)
		}
		return changes(t)
	}
}

// roll runs with a journal, which at the end must tell of each host what the
// outcome tells.
func (w *world) roll(t *testing.T, rollout Rollout, more func(*Options)) *Outcome {
	t.Helper()
	o := options()
	o.Rollout = rollout
	run := journal.Run{ID: "20261122T120000Z-00000001", Command: wire.Apply, Batches: rollout.Batches}
	for _, h := range w.hosts {
		run.Scope = append(run.Scope, journal.Member{Host: h.Name})
	}
	j, err := w.store.Create(run, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	o.Journal = j
	if more != nil {
		more(&o)
	}
	out := Run(context.Background(), w.hosts, o)
	if err := j.End("done", out.ExitCode()); err != nil {
		t.Fatal(err)
	}
	r, err := w.store.Load(run.ID)
	if err != nil {
		t.Fatal(err)
	}
	for i := range r.Hosts {
		h, res := &r.Hosts[i], &out.Results[i]
		if out.Stopped != nil && out.Stopped.Batch == 0 { // what was predicted has not happened
			if h.Status != wire.Skipped || h.Changed || h.Unknown {
				t.Errorf("the run did not start, and the journal says %+v", h)
			}
			continue
		}
		if taken := res.Status == wire.Skipped && strings.HasPrefix(res.Error.Message, "taken back"); taken {
			if !h.TakenBack || h.Changed {
				t.Errorf("%s was taken back, and the journal says %+v", h.Host, h)
			}
			continue
		}
		if h.Status != res.Status || h.Unknown != res.Unknown {
			t.Errorf("%s ended %s (unknown %t), and the journal says %+v", h.Host, res.Status, res.Unknown, h)
		}
	}
	return out
}

func (w *world) count(kind string) int {
	n := 0
	for _, a := range w.asked {
		if strings.HasPrefix(a, kind+" ") {
			n++
		}
	}
	return n
}

func statuses(o *Outcome) string {
	var list []string
	for _, r := range o.Results {
		list = append(list, string(r.Status))
	}
	return strings.Join(list, " ")
}

func TestABatchEndsBeforeTheNextBegins(t *testing.T) {
	w := newWorld(t, 6)
	var order []string
	gate := Gate{Name: "g", Check: func(_ context.Context, b Batch) error {
		w.mu.Lock()
		defer w.mu.Unlock()
		order = append(order, fmt.Sprintf("%d/%d:%s asked %d", b.Number, b.Of, strings.Join(b.Hosts, ","), w.count("main")))
		return nil
	}}
	out := w.roll(t, Rollout{Batches: []int{1, 2, 3}, Verify: true, LookAhead: true, Gates: []Gate{gate}}, nil)
	want := []string{"1/3:h1 asked 1", "2/3:h2,h3 asked 3", "3/3:h4,h5,h6 asked 6"}
	if !slices.Equal(order, want) {
		t.Errorf("gates saw %q, want %q", order, want)
	}
	if w.count("audit") != 6 || w.count("gate") != 6 || w.count("main") != 6 {
		t.Errorf("asked %q", w.asked)
	}
	if out.ExitCode() != 0 || len(out.Batches) != 3 || !out.Batches[2].Gated {
		t.Errorf("exit code %d, batches %+v", out.ExitCode(), out.Batches)
	}
}

func TestPlainRunAsksEachHostOnce(t *testing.T) {
	w := newWorld(t, 5)
	w.roll(t, Rollout{}, nil)
	if len(w.asked) != 5 {
		t.Errorf("asked %q", w.asked)
	}
}

// What is left of a budget is told at the beginning and whenever some is
// spent, so that somebody can look at it before it breaks.
func TestWhatIsLeftOfABudget(t *testing.T) {
	w := newWorld(t, 6)
	w.on("h2", "main", wire.Failed)
	w.hosts[2].Connect = func(context.Context) (Conn, error) {
		return nil, wire.NewError(wire.KindUnreachable, errors.New("connection refused"), "")
	}
	w.on("h5", "main", wire.Failed)
	seen := &budgets{}
	w.roll(t, Rollout{Budget: Budget{Fail: &Share{Percent: 34, IsPart: true}, Unreachable: &Share{}}}, func(o *Options) {
		o.Observer, o.Forks = seen, 1
	})
	want := []string{
		"max-fail 34%: 2 of 2 left, max-unreachable 0: 0 of 0 left",
		"max-fail 34%: 1 of 2 left, max-unreachable 0: 0 of 0 left",
		"max-fail 34%: 1 of 2 left, max-unreachable 0: broken by 1",
	}
	if !slices.Equal(seen.told, want) {
		t.Errorf("told: %q", seen.told)
	}
}

// budgets is an Observer of budgets.
type budgets struct {
	silent
	told []string
}

func (b *budgets) Budget(left string) { b.told = append(b.told, left) }

func TestShareMost(t *testing.T) {
	for percent := range 101 {
		s := Share{Percent: float64(percent) / 10, IsPart: true}
		for all := range 200 {
			if n := s.most(all); !s.allows(n, all) || n < all && s.allows(n+1, all) {
				t.Fatalf("%s of %d: %d", s, all, n)
			}
		}
	}
}

func TestBrokenBudgetStopsTheRun(t *testing.T) {
	w := newWorld(t, 6)
	w.on("h2", "main", wire.Failed)
	fail := &Share{}
	out := w.roll(t, Rollout{Batches: []int{2, 2, 2}, Budget: Budget{Fail: fail}}, nil)
	if got := statuses(out); got != "changed failed skipped skipped skipped skipped" {
		t.Errorf("hosts are %s", got)
	}
	if e := out.Results[5].Error; e == nil || e.Kind != wire.KindRunStopped || !strings.Contains(e.Message, "1 of 6 hosts failed") {
		t.Errorf("a host that was not begun says %+v", e)
	}
	if out.ExitCode() != ExitFailed|ExitStopped || out.Stopped.Batch != 1 {
		t.Errorf("exit code %d, stopped %+v", out.ExitCode(), out.Stopped)
	}
	if w.count("rollback") != 0 {
		t.Error("something was taken back unasked")
	}
}

func TestRunningHostsFinishWhenABudgetBreaks(t *testing.T) {
	w := newWorld(t, 3)
	failed, working := make(chan struct{}), make(chan struct{})
	w.do["h1"] = func(wire.Task) wire.Report {
		<-working
		defer close(failed)
		return wire.Report{Status: wire.Failed, Error: &wire.Error{Kind: wire.KindHost}}
	}
	w.do["h2"] = func(task wire.Task) wire.Report {
		close(working)
		<-failed // at work while the budget breaks
		return changes(task)
	}
	out := w.roll(t, Rollout{Budget: Budget{Fatal: true}}, func(o *Options) { o.Forks = 2 })
	if got := statuses(out); got != "failed changed skipped" && got != "failed changed changed" {
		t.Errorf("hosts are %s", got)
	}
	if out.Stopped == nil {
		t.Error("nothing stopped the run")
	}
}

func TestPredictedFailuresKeepARunFromStarting(t *testing.T) {
	for _, force := range []bool{false, true} {
		w := newWorld(t, 4)
		w.on("h3", "audit", wire.Unmet)
		out := w.roll(t, Rollout{Budget: Budget{Fail: &Share{}}, LookAhead: true, Force: force}, nil)
		if force {
			if w.count("main") != 4 || out.ExitCode() != 0 {
				t.Errorf("forced: asked %q, exit code %d", w.asked, out.ExitCode())
			}
			r, err := w.store.Load("20261122T120000Z-00000001")
			if err != nil || !slices.ContainsFunc(r.Notes, func(e journal.Event) bool { return e.Kind == journal.KindForce }) {
				t.Errorf("the journal does not say that it was forced: %v", err)
			}
			continue
		}
		if w.count("main") != 0 || w.count("audit") != 4 {
			t.Errorf("asked %q", w.asked)
		}
		if got := statuses(out); got != "skipped skipped unmet skipped" {
			t.Errorf("hosts are %s", got)
		}
		if out.ExitCode() != ExitFailed|ExitStopped || out.Stopped.Batch != 0 {
			t.Errorf("exit code %d, stopped %+v", out.ExitCode(), out.Stopped)
		}
	}
}

func TestFailedGateOnAHost(t *testing.T) {
	for _, tt := range []struct {
		budget Budget
		want   string
	}{
		{Budget{}, "changed failed skipped"}, // no budget: the first one stops
		{Budget{Fail: &Share{Number: 1}}, "changed failed changed"},
	} {
		w := newWorld(t, 3)
		w.on("h2", "gate", wire.Failed)
		out := w.roll(t, Rollout{Batches: []int{2, 1}, Verify: true, Budget: tt.budget}, nil)
		if got := statuses(out); got != tt.want {
			t.Errorf("%+v: hosts are %s, want %s", tt.budget, got, tt.want)
		}
		if r := out.Results[1]; !r.Changed || !strings.HasPrefix(r.Error.Message, "gate after batch 1 of 2: ") {
			t.Errorf("the host says %+v", r.Error)
		}
	}
}

func TestFailedGateOnTheController(t *testing.T) {
	w := newWorld(t, 3)
	gate := Gate{Name: "probe", Check: func(_ context.Context, b Batch) error { return errors.New("no\nsaid more") }}
	out := w.roll(t, Rollout{Batches: []int{1, 2}, Gates: []Gate{gate}}, nil)
	if got := statuses(out); got != "changed skipped skipped" {
		t.Errorf("hosts are %s", got)
	}
	if out.ExitCode() != ExitStopped || out.Batches[0].Gated || out.Stopped.Detail != "said more" {
		t.Errorf("exit code %d, batches %+v, stopped %+v", out.ExitCode(), out.Batches, out.Stopped)
	}
}

func TestTakeBack(t *testing.T) {
	w := newWorld(t, 6)
	w.do["h1"] = func(task wire.Task) wire.Report { // had no Go
		r := changes(task)
		if kindOf(task) == "main" {
			r.Go.Before = ""
		}
		return r
	}
	w.on("h2", "main", wire.OK)
	w.on("h4", "rollback", wire.Failed)
	w.on("h5", "main", wire.Failed)
	out := w.roll(t, Rollout{Batches: []int{3, 2, 1}, Budget: Budget{Fail: &Share{}}, TakeBack: true}, nil)
	if got := statuses(out); got != "changed ok skipped failed failed skipped" {
		t.Errorf("hosts are %s", got)
	}
	if got := out.Results[0].Warnings; len(got) != 1 || !strings.Contains(got[0], "had no Go") {
		t.Errorf("h1 warns of %q", got)
	}
	if r := out.Results[2]; r.Go.After != "1" || !strings.HasPrefix(r.Error.Message, "taken back to go1") {
		t.Errorf("h3: %+v, %+v", r.Go, r.Error)
	}
	if r := out.Results[3]; r.Go.After != "2" || !strings.HasPrefix(r.Error.Message, "taking back to go1") {
		t.Errorf("h4: %+v, %+v", r.Go, r.Error)
	}
	if got := w.asked[len(w.asked)-2:]; !slices.Equal(got, []string{"rollback h4", "rollback h3"}) {
		t.Errorf("taken back in the order %q, want the last batch first", got)
	}
}

func TestPauseThatSaysNo(t *testing.T) {
	w := newWorld(t, 3)
	var paused []int
	pause := func(_ context.Context, b Batch, _ func(time.Time)) error {
		if paused = append(paused, b.Number); b.Number == 2 {
			return errors.New("the answer was no")
		}
		return nil
	}
	out := w.roll(t, Rollout{Batches: []int{1, 1, 1}, Pause: pause}, nil)
	if !slices.Equal(paused, []int{1, 2}) || statuses(out) != "changed changed skipped" || out.ExitCode() != ExitStopped {
		t.Errorf("paused after %v, hosts are %s, exit code %d", paused, statuses(out), out.ExitCode())
	}
}

func TestNothingIsChangedThatTheJournalDoesNotKnow(t *testing.T) {
	w := newWorld(t, 2)
	dir := w.store.Dir
	w.do["h1"] = func(task wire.Task) wire.Report {
		// What a crash would find now has to say that this host is begun.
		r, err := journal.Store{Dir: dir}.Load("20261122T120000Z-00000001")
		if err != nil || !r.Hosts[0].Unknown {
			t.Errorf("while the host is changed, the journal says %+v, %v", r, err)
		}
		return changes(task)
	}
	w.roll(t, Rollout{}, func(o *Options) { o.Forks = 1 })
}

func TestJournalThatFailsStopsTheRun(t *testing.T) {
	w := newWorld(t, 3)
	o := options()
	o.Forks = 1
	j, err := w.store.Create(journal.Run{ID: "20261122T120000Z-00000001"}, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	j.Close() // nothing can be written any more
	o.Journal = j
	out := Run(context.Background(), w.hosts, o)
	if len(w.asked) != 0 {
		t.Errorf("asked %q without a journal", w.asked)
	}
	if e := out.Results[0].Error; e == nil || e.Kind != wire.KindJournal {
		t.Errorf("the first host says %+v", e)
	}
	if e := out.Results[2].Error; e == nil || e.Kind != wire.KindRunStopped {
		t.Errorf("the last host says %+v", e)
	}
}

func TestLostHostIsUnknown(t *testing.T) {
	w := newWorld(t, 2)
	w.hosts[1] = fakeHost("h2", func(*fakeAgent) {}) // takes its task, and is gone
	out := w.roll(t, Rollout{}, nil)
	if !out.Results[1].Unknown || out.Results[0].Unknown {
		t.Errorf("unknown: %t and %t", out.Results[0].Unknown, out.Results[1].Unknown)
	}
}

func TestGateOfARollbackAsksForNoPreconditions(t *testing.T) {
	w := newWorld(t, 1)
	w.hosts[0].Spec = &spec.Spec{Preconditions: spec.Preconditions{OS: []string{"plan9"}}}
	w.do["h1"] = func(task wire.Task) wire.Report {
		if kindOf(task) == "gate" && task.Spec.Preconditions.OS != nil {
			t.Error("the gate asks for preconditions")
		}
		return changes(task)
	}
	w.roll(t, Rollout{Verify: true}, func(o *Options) { o.Command = wire.Rollback })
}
