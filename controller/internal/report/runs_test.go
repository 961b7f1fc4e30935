package report

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gofleet/gofleet/agent/wire"
	"github.com/gofleet/gofleet/controller/internal/journal"
)

// kept is a store with one run in which everything happens.
func kept(t *testing.T, message string) (journal.Store, string) {
	t.Helper()
	store := journal.Store{Dir: t.TempDir()}
	exit := 10
	run := journal.Run{
		ID: "20261122T144501Z-00007c1e", Command: wire.Apply, Gofleet: "0.1.0", Controller: "ana@desk", Directory: "/srv",
		Started: newFakeClock().at, Order: "random", Seed: 7, Batches: []int{1, 5},
		Arguments: []journal.Argument{{Flag: "extra-vars", Value: message + "=…", Withheld: true}, {Flag: "serial", Value: "1,100%"}},
	}
	for _, h := range []string{"web1", "web2", "web3", "web4", "web5", "h" + message} {
		run.Scope = append(run.Scope, journal.Member{Host: h, Spec: "0123456789abcdef"})
	}
	clock := newFakeClock()
	w, err := store.Create(run, clock.now)
	if err != nil {
		t.Fatal(err)
	}
	upgrade := &wire.GoChange{Before: "1.25.3", After: "1.26.8"}
	for _, e := range []journal.Event{
		{Kind: journal.KindForce, Message: "1 of 6 hosts failed, more than --max-fail 0 allows"},
		{Kind: journal.KindBatch, Batch: 1, Hosts: 1},
		{Kind: journal.KindBegin, Batch: 1, Host: "web1"},
		{Kind: journal.KindResult, Batch: 1, Host: "web1", Status: wire.Changed, Changed: true, Go: upgrade, Bytes: 5, Seconds: map[string]float64{"total": 2}},
		{Kind: journal.KindGate, Batch: 1, Gate: "./smoke", Status: wire.OK},
		{Kind: journal.KindBatch, Batch: 2, Hosts: 5},
		{Kind: journal.KindBegin, Batch: 2, Host: "web2"},
		{Kind: journal.KindBegin, Batch: 2, Host: "web3"},
		{Kind: journal.KindResult, Batch: 2, Host: "web3", Status: wire.Changed, Changed: true, Go: upgrade},
		{Kind: journal.KindBegin, Batch: 2, Host: "web4"},
		{Kind: journal.KindResult, Batch: 2, Host: "web4", Status: wire.Failed, Error: &journal.Error{Kind: wire.KindVerify, Message: message}, Phase: "verify"},
		{Kind: journal.KindGate, Batch: 2, Gate: "./smoke", Status: wire.Failed, Message: "./smoke: exit status 1\n" + message},
		{Kind: journal.KindStop, Batch: 2, Message: "the gate after batch 2 of 2: ./smoke: exit status 1\n" + message},
		{Kind: journal.KindBegin, Stage: journal.StageRollback, Batch: 2, Host: "web3"},
		{Kind: journal.KindResult, Stage: journal.StageRollback, Batch: 2, Host: "web3", Status: wire.Changed, Go: &wire.GoChange{Before: "1.26.8", After: "1.25.3"}},
		{Kind: journal.KindResume, Hosts: 4, Message: "by ana@desk, gofleet 0.1.0"},
		{Kind: journal.KindEnd, Ended: "stopped", Exit: &exit, Summary: map[wire.Status]int{wire.Changed: 2}},
	} {
		clock.step(time.Second)
		w.Say(e)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return store, run.ID
}

func TestJournalAndRunsFitTheirSchemas(t *testing.T) {
	store, id := kept(t, "sorry")

	for name, fragment := range map[string]string{"run.json": "", "events.jsonl": "#/$defs/event"} {
		text, err := os.ReadFile(filepath.Join(store.Dir, id, name))
		if err != nil {
			t.Fatal(err)
		}
		s := schema(t, "gofleet.journal.v1.json"+fragment)
		if fragment == "" {
			validate(t, s, text)
			continue
		}
		for line := range strings.Lines(string(text)) {
			validate(t, s, []byte(line))
		}
	}
	rec, err := store.Load(id)
	if err != nil {
		t.Fatal(err)
	}
	glance, err := store.Glance(id)
	if err != nil {
		t.Fatal(err)
	}
	r, stdout, _ := newReporter(t, Options{Format: "json"})
	if err := r.Record(rec); err != nil {
		t.Fatal(err)
	}
	validate(t, schema(t, "gofleet.runs.show.v1.json"), stdout.Bytes())
	for _, list := range [][]*journal.Glance{nil, {glance}} {
		r, stdout, _ = newReporter(t, Options{Format: "json"})
		if err := r.Runs(list); err != nil {
			t.Fatal(err)
		}
		validate(t, schema(t, "gofleet.runs.v1.json"), stdout.Bytes())
	}
}

func TestRecordTellsHowHostsStand(t *testing.T) {
	store, id := kept(t, "sorry")
	rec, err := store.Load(id)
	if err != nil {
		t.Fatal(err)
	}
	r, stdout, _ := newReporter(t, Options{})
	if err := r.Record(rec); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"run          " + id + "\n", "state        stopped\n", "order        random, seed 7\n",
		"--max-fail 0 allows\n", "batch 2 begins: 5 hosts\n", "gate after batch 1: ./smoke: passed\n",
		"gate after batch 2: ./smoke: failed: ./smoke: exit status 1\n             sorry\n",
		"stopped: the gate after batch 2 of 2: ./smoke: exit status 1\n", "ended: stopped, exit code 10\n",
		"changed  web1        go1.25.3 → go1.26.8\n",
		"unknown  web2        begun, and no word of how it ended; it may have been changed\n",
		"skipped  web3        taken back to go1.25.3\n", "failed   web4        verify_failed: sorry\n",
		"skipped  web5,hsorry  not begun\n", "resume: gofleet apply --resume " + id + "\n",
	} {
		if got := strings.Join(strings.Fields(stdout.String()), " "); !strings.Contains(got, strings.Join(strings.Fields(want), " ")) {
			t.Errorf("no line %q in\n%s", want, stdout)
		}
	}
}

func TestHostileJournal(t *testing.T) {
	store, id := kept(t, hostile)
	rec, err := store.Load(id)
	if err != nil {
		t.Fatal(err)
	}
	for _, format := range []string{"text", "json"} {
		r, stdout, _ := newReporter(t, Options{Format: format})
		if err := r.Record(rec); err != nil {
			t.Fatal(err)
		}
		harmless(t, format, stdout.String())
		if format == "json" {
			var v any
			decode(t, stdout.Bytes(), &v)
			harmlessJSON(t, v)
		}
	}
}
