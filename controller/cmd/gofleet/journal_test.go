package main

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/gofleet/gofleet/agent/wire"
	"github.com/gofleet/gofleet/controller/internal/journal"
)

func TestNoSecretsAreKept(t *testing.T) {
	for _, tt := range []struct {
		option, kept string
		withheld     bool
	}{
		{"@vars.yml", "@vars.yml", false},
		{"gofleet_go_version=1.26.8", "gofleet_go_version=1.26.8", false},
		{"gofleet_keep=1 gofleet_root=/opt/go", "gofleet_keep=1 gofleet_root=/opt/go", false},
		{`{"gofleet_keep": 1}`, `{"gofleet_keep": 1}`, false},
		{"ansible_become_password=hunter2", "ansible_become_password=…", true},
		{"gofleet_keep=1 token=hunter2", "gofleet_keep=…", true},
		{`{"gofleet_keep": 1, "token": "hunter2"}`, "token=…", true},
		{`token="hunter2 hunter2"`, "…", true},
		{"gofleet_go_version='1.26.8' token=hunter2", "…", true},
		{"{token: hunter2}", "…", true},
	} {
		kept, withheld := harmlessVars(tt.option)
		if withheld != tt.withheld || !strings.Contains(kept, tt.kept) || strings.Contains(kept, "hunter2") {
			t.Errorf("-e %s is kept as %q (withheld %t), want %q (%t)", tt.option, kept, withheld, tt.kept, tt.withheld)
		}
	}
}

func TestLimitToHostsOfARun(t *testing.T) {
	t.Setenv("XDG_STATE_HOME", t.TempDir())
	store, err := openJournals()
	if err != nil {
		t.Fatal(err)
	}
	id := runID(time.Now())
	run := journal.Run{ID: id, Command: wire.Apply, Batches: []int{4}}
	for _, h := range []string{"a", "b", "c", "fe80::1"} {
		run.Scope = append(run.Scope, journal.Member{Host: h})
	}
	w, err := store.Create(run, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	w.Say(journal.Event{Kind: journal.KindResult, Host: "a", Status: wire.Changed, Changed: true})
	w.Say(journal.Event{Kind: journal.KindResult, Host: "b", Status: wire.Failed})
	w.Say(journal.Event{Kind: journal.KindBegin, Host: "fe80::1"})
	if err := w.Sync(context.Background()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	for _, tt := range [][2]string{
		{"@last:failed", "b,"},
		{"@" + id + ":changed", "a,"},
		{"@" + id[:13] + ":undone,!c", "b,c,fe80::1,!c,"},
		{"@last:unknown,web*", "fe80::1,web*,"},
		{"@names", "@names"},
		{"web:@names", "web:@names"},
		{"web:!db", "web:!db"},
		{"", ""},
	} {
		if got, err := limit(tt[0]); err != nil || got != tt[1] {
			t.Errorf("--limit %s is %q, %v; want %q", tt[0], got, err, tt[1])
		}
	}
	for text, says := range map[string]string{
		"@last:unreachable": "no host of run", "@last:fialed": "there is no \"fialed\"", "@2020:failed": "there is no run",
	} {
		if got, err := limit(text); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("--limit %s is %q, %v", text, got, err)
		}
	}
}

func TestEnoughFiles(t *testing.T) {
	for _, tt := range []struct {
		atOnce int
		jumps  int
		limit  uint64
		hint   string
	}{
		{50, 0, 1024, ""}, {320, 0, 1024, ""}, {321, 0, 1024, "at most 320"}, {5000, 0, 1024, "at most 320"}, {1, 0, 10, "at most 1,"},
		{300, 60, 1024, ""}, {320, 60, 1024, "at most 300"}, {50, 5000, 1024, "several runs"}, {50, 810, 1024, ""},
	} {
		err := enoughFiles(tt.atOnce, tt.jumps, tt.limit)
		switch {
		case tt.hint == "" && err != nil:
			t.Errorf("%d hosts, %d files: %v", tt.atOnce, tt.limit, err)
		case tt.hint != "" && (err == nil || !strings.Contains(problemsOf(err)[0].Hint, tt.hint)):
			t.Errorf("%d hosts, %d files: %v, want the hint %q", tt.atOnce, tt.limit, err, tt.hint)
		}
	}
}
