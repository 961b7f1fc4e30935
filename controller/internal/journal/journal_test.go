package journal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gofleet/gofleet/agent/wire"
)

var day = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func id(t time.Time, n int) string { return t.Format("20060102T150405Z") + fmt.Sprintf("-%08x", n) }

func run(id string, hosts ...string) Run {
	r := Run{ID: id, Command: wire.Apply, Batches: []int{len(hosts)}}
	for _, h := range hosts {
		r.Scope = append(r.Scope, Member{Host: h, Spec: "s"})
	}
	return r
}

func create(t *testing.T, s Store, r Run) *Writer {
	t.Helper()
	w, err := s.Create(r, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	return w
}

func load(t *testing.T, s Store, id string) *Record {
	t.Helper()
	r, err := s.Load(id)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// crash ends a Writer as the end of its process would: nothing more is
// written, and the lock goes.
func crash(t *testing.T, w *Writer) {
	t.Helper()
	if err := w.Sync(context.Background()); err != nil {
		t.Fatal(err)
	}
	w.file.Close()
}

func begin(h string) Event { return Event{Kind: KindBegin, Host: h} }

func result(h string, s wire.Status) Event {
	e := Event{Kind: KindResult, Host: h, Status: s, Changed: s == wire.Changed}
	if s == wire.Failed {
		e.Error = &Error{Kind: wire.KindVerify, Message: "no"}
	}
	return e
}

func TestAHostIsWhatWasSaidOfIt(t *testing.T) {
	s := Store{t.TempDir()}
	w := create(t, s, run(id(day, 1), "never", "begun", "ok", "changed", "failed", "gated", "back", "stuck"))
	for _, e := range []Event{
		{Kind: KindResult, Stage: StageAudit, Host: "never", Status: wire.Failed}, // says nothing of what was done
		begin("begun"), begin("ok"), result("ok", wire.OK),
		begin("changed"), result("changed", wire.Changed), begin("failed"), result("failed", wire.Failed),
		begin("gated"), result("gated", wire.Changed),
		{Kind: KindResult, Stage: StageGate, Host: "gated", Status: wire.Failed, Changed: true, Error: &Error{Kind: wire.KindVerify}},
		begin("back"), result("back", wire.Changed),
		{Kind: KindBegin, Stage: StageRollback, Host: "back"},
		{Kind: KindResult, Stage: StageRollback, Host: "back", Status: wire.Changed, Go: &wire.GoChange{After: "1.2"}},
		begin("stuck"), result("stuck", wire.Changed), {Kind: KindBegin, Stage: StageRollback, Host: "stuck"},
	} {
		w.Say(e)
	}
	crash(t, w)
	r := load(t, s, id(day, 1))
	if r.State() != "broken" || r.Damaged != 0 {
		t.Errorf("state %s, %d lines damaged", r.State(), r.Damaged)
	}
	want := []struct {
		status                       wire.Status
		unknown, changed, back, done bool
	}{
		{status: wire.Skipped},
		{status: wire.Skipped, unknown: true},
		{status: wire.OK, done: true},
		{status: wire.Changed, changed: true, done: true},
		{status: wire.Failed},
		{status: wire.Failed, changed: true},
		{status: wire.Skipped, back: true},
		{status: wire.Changed, unknown: true, changed: true},
	}
	for i, h := range r.Hosts {
		w := want[i]
		if h.Status != w.status || h.Unknown != w.unknown || h.Changed != w.changed || h.TakenBack != w.back || h.Done() != w.done {
			t.Errorf("%s: %+v, want %+v", h.Host, h, w)
		}
	}
}

// How hosts stand depends on whether the process that was at them is alive.
func TestStandingOfARunThatHasNotEnded(t *testing.T) {
	s := Store{t.TempDir()}
	name := id(day, 1)
	w := create(t, s, run(name, "never", "at", "done", "back"))
	for _, e := range []Event{
		begin("at"), begin("done"), result("done", wire.OK),
		begin("back"), result("back", wire.Changed), {Kind: KindBegin, Stage: StageRollback, Host: "back"},
	} {
		w.Say(e)
	}
	if err := w.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	check := func(when string, want ...wire.Status) {
		t.Helper()
		r := load(t, s, name)
		for i := range r.Hosts {
			if got := r.Standing(&r.Hosts[i]); got != want[i] {
				t.Errorf("%s: %s is %s, want %s", when, r.Hosts[i].Host, got, want[i])
			}
			if r.Summary()[want[i]] == 0 {
				t.Errorf("%s: no host is %s in %v", when, want[i], r.Summary())
			}
		}
	}
	check("at work", Pending, Running, wire.OK, Running)
	crash(t, w)
	check("killed", Pending, Unknown, wire.OK, Unknown)
	again, _, err := s.Resume(name, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	again.Say(Event{Kind: KindResume})
	again.Say(begin("never"))
	if err := again.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	check("resumed", Running, Unknown, wire.OK, Unknown)
	again.Say(result("never", wire.OK))
	again.Say(begin("at"))
	again.Say(result("at", wire.Failed))
	if err := again.End("stopped", 8); err != nil {
		t.Fatal(err)
	}
	check("ended", wire.OK, wire.Failed, wire.OK, Unknown)
}

func TestTornLastLineWasNeverSaid(t *testing.T) {
	s := Store{t.TempDir()}
	name := id(day, 1)
	w := create(t, s, run(name, "a", "b"))
	w.Say(begin("a"))
	w.Say(result("a", wire.Changed))
	w.Say(begin("b"))
	crash(t, w)
	path := filepath.Join(s.Dir, name, "events.jsonl")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	last := strings.LastIndexByte(strings.TrimSuffix(string(whole), "\n"), '\n') + 1
	for cut := last; cut < len(whole); cut++ {
		if err := os.WriteFile(path, whole[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		r := load(t, s, name)
		if r.Damaged != 0 || r.Hosts[0].Status != wire.Changed || r.Hosts[1].Unknown {
			t.Fatalf("cut at %d of %d: %+v, %d damaged", cut, len(whole), r.Hosts, r.Damaged)
		}
		w, _, err := s.Resume(name, time.Now)
		if err != nil {
			t.Fatal(err)
		}
		w.Say(begin("b"))
		w.Say(result("b", wire.OK))
		if err := w.End("done", 0); err != nil {
			t.Fatal(err)
		}
		if r = load(t, s, name); r.Damaged != 0 || !r.Hosts[1].Done() || r.State() != "done" {
			t.Fatalf("resumed after a cut at %d: %+v, state %s, %d damaged", cut, r.Hosts, r.State(), r.Damaged)
		}
	}
	// What a disk has made of a line in the middle is said, and not believed.
	text := strings.Replace(string(whole), `"status":"changed"`, "\x00\x00\x00", 1)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := load(t, s, name); r.Damaged != 1 || !r.Hosts[0].Unknown {
		t.Errorf("a damaged result: %+v, %d damaged", r.Hosts[0], r.Damaged)
	}
}

func TestOneProcessARun(t *testing.T) {
	s := Store{t.TempDir()}
	name := id(day, 1)
	w := create(t, s, run(name, "a"))
	if r := load(t, s, name); !r.Alive || r.State() != "running" {
		t.Errorf("state %s", r.State())
	}
	if _, _, err := s.Resume(name, time.Now); !errors.Is(err, ErrRunning) {
		t.Errorf("a run that goes on is resumed: %v", err)
	}
	if gone, err := s.Prune(0, 0, day.Add(time.Hour)); err != nil || len(gone) != 0 {
		t.Errorf("a run that goes on is pruned: %v, %v", gone, err)
	}
	if _, err := s.Create(run(name), time.Now); err == nil {
		t.Error("two runs have one directory")
	}
	if err := w.End("interrupted", 130); err != nil {
		t.Fatal(err)
	}
	again, r, err := s.Resume(name, time.Now)
	if err != nil || r.State() != "interrupted" {
		t.Fatalf("resume: %v", err)
	}
	again.Say(Event{Kind: KindResume})
	crash(t, again)
	if r := load(t, s, name); r.State() != "broken" {
		t.Errorf("resumed and broken off, it is %s", r.State())
	}
}

func TestDurableWhenWaitReturns(t *testing.T) {
	s := Store{t.TempDir()}
	const hosts = 500
	var names []string
	for i := range hosts {
		names = append(names, fmt.Sprintf("h%d", i))
	}
	w := create(t, s, run(id(day, 1), names...))
	path := filepath.Join(s.Dir, id(day, 1), "events.jsonl")
	var all sync.WaitGroup
	for _, n := range names {
		all.Go(func() {
			if err := w.Wait(context.Background(), w.Say(begin(n))); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(text), "\n"); n != hosts {
		t.Errorf("%d of %d lines are in the file", n, hosts)
	}
	// All that came during a sync share the next: at the very worst one each.
	if w.syncs > hosts/2 {
		t.Errorf("%d syncs for %d hosts at once", w.syncs, hosts)
	}
}

func TestWriteFailureReachesWhoWaits(t *testing.T) {
	s := Store{t.TempDir()}
	w := create(t, s, run(id(day, 1), "a"))
	w.file.Close() // a disk that is gone
	if err := w.Wait(context.Background(), w.Say(begin("a"))); err == nil {
		t.Error("what could not be written is durable")
	}
	if err := w.Wait(context.Background(), w.Say(begin("a"))); err == nil {
		t.Error("what came after it is durable")
	}
}

func TestNilKeepsNothing(t *testing.T) {
	var w *Writer
	if err := errors.Join(w.Wait(context.Background(), w.Say(begin("a"))), w.Sync(context.Background()), w.End("done", 0), w.Close()); err != nil {
		t.Error(err)
	}
}

func TestPruneByAgeAndNumber(t *testing.T) {
	s := Store{t.TempDir()}
	for n := range 10 {
		w := create(t, s, run(id(day.AddDate(0, 0, -10*n), n), "a"))
		if err := w.End("done", 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(s.Dir, id(day.AddDate(-1, 0, 0), 99)), 0o700); err != nil { // ended before its first word
		t.Fatal(err)
	}
	gone, err := s.Prune(1000, 45*24*time.Hour, day)
	if err != nil || len(gone) != 6 {
		t.Errorf("by age: %v, %v", gone, err)
	}
	if gone, err = s.Prune(2, 45*24*time.Hour, day); err != nil || len(gone) != 3 {
		t.Errorf("by number: %v, %v", gone, err)
	}
	left, err := s.IDs()
	if err != nil || len(left) != 2 || left[0] != id(day, 0) || left[1] != id(day.AddDate(0, 0, -10), 1) {
		t.Errorf("left: %v, %v", left, err)
	}
}

func TestFind(t *testing.T) {
	s := Store{t.TempDir()}
	var missing *NotFoundError
	if _, err := s.Find("last"); !errors.As(err, &missing) {
		t.Errorf("without runs: %v", err)
	}
	old, new := id(day, 1), id(day.Add(time.Hour), 2)
	create(t, s, run(old))
	create(t, s, run(new))
	for name, want := range map[string]string{"last": new, old: old, old[:12]: old, new[:20]: new, "2026": "", "2027": "", "": ""} {
		got, err := s.Find(name)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("Find(%q) = %q, %v; want %q", name, got, err, want)
		}
	}
}

func TestLastIsTheNewestWithinASecond(t *testing.T) {
	s := Store{t.TempDir()}
	for n, random := range []int{5, 9, 1} {
		name := id(day, random)
		create(t, s, run(name))
		at := day.Add(time.Duration(n) * time.Millisecond)
		if err := os.Chtimes(filepath.Join(s.Dir, name, "run.json"), at, at); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := s.Find("last"); err != nil || got != id(day, 1) {
		t.Errorf("the last of three in one second is %s, %v", got, err)
	}
}

func TestGlanceReadsTheEnd(t *testing.T) {
	s := Store{t.TempDir()}
	name := id(day, 1)
	w := create(t, s, run(name, "a", "b"))
	w.Say(begin("a"))
	w.Say(result("a", wire.Failed))
	if err := w.Sync(context.Background()); err != nil {
		t.Fatal(err)
	}
	for _, want := range []struct {
		state string
		b     wire.Status
	}{{"running", Pending}, {"stopped", wire.Skipped}} {
		g, err := s.Glance(name)
		if err != nil || g.State != want.state || g.Summary[wire.Failed] != 1 || g.Summary[want.b] != 1 {
			t.Errorf("%s: %+v, %v", want.state, g, err)
		}
		if err := w.End("stopped", 10); err != nil {
			t.Fatal(err)
		}
	}
	if g, err := s.Glance(name); err != nil || g.Exit != 10 {
		t.Errorf("%+v, %v", g, err)
	}
}

func TestTallyCountsTheLastResultOfEachRun(t *testing.T) {
	s := Store{t.TempDir()}
	n := 0
	say := func(age time.Duration, change func(*Run), events ...Event) {
		n++
		r := run(id(day.Add(-age), n), "a", "b")
		if change != nil {
			change(&r)
		}
		w := create(t, s, r)
		for _, e := range events {
			w.Say(e)
		}
		if err := w.End("done", 0); err != nil {
			t.Fatal(err)
		}
	}
	say(time.Hour, nil, begin("a"), result("a", wire.Failed), begin("a"), result("a", wire.OK), begin("b"), result("b", wire.Failed))
	say(2*time.Hour, nil, begin("a"), result("a", wire.Unreachable), begin("b")) // of b nothing is known
	say(3*time.Hour, func(r *Run) { r.Check = true }, result("a", wire.Failed))
	say(4*time.Hour, func(r *Run) { r.Command = wire.Audit }, result("a", wire.Failed))
	say(5*time.Hour, nil, result("a", wire.Unmet), result("b", wire.Changed))
	say(100*time.Hour, nil, result("a", wire.Failed))
	got, err := s.Tally(day.Add(-10*time.Hour), func(string) bool { return true })
	if err != nil || got["a"] != (Tally{Good: 1}) || got["b"] != (Tally{Good: 1, Bad: 2}) {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := s.Tally(day.Add(-10*time.Hour), func(h string) bool { return h == "a" }); err != nil || len(got) != 1 {
		t.Errorf("of a alone: %+v, %v", got, err)
	}
	if share := (Tally{Good: 3, Bad: 1}).Share(); share != 0.75 {
		t.Errorf("share %v", share)
	}
}

func TestErrorsAreBounded(t *testing.T) {
	e := NewError(&wire.Error{Kind: wire.KindHost, Message: strings.Repeat("é", 5000)})
	if len(e.Message) > maxMessage+10 {
		t.Errorf("%d bytes are kept", len(e.Message))
	}
	if _, err := json.Marshal(e); err != nil {
		t.Error(err)
	}
}

// What is wanted soon becomes durable without anybody waiting, and results that
// come one after the other share a sync.
func TestWantedSoonSharesASync(t *testing.T) {
	w := create(t, Store{Dir: t.TempDir()}, run(id(time.Now(), 1), "a"))
	for range 50 {
		w.Say(result("a", wire.Changed))
		w.WantSoon()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.durable < w.said && w.err == nil {
		w.settled.Wait()
	}
	if w.err != nil || w.syncs > 25 {
		t.Errorf("%d syncs for 50 results, %v", w.syncs, w.err)
	}
}
