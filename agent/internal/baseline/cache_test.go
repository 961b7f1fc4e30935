package baseline_test

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/gofleet/gofleet/agent/internal/baseline"
	"github.com/gofleet/gofleet/agent/internal/change"
	"github.com/gofleet/gofleet/agent/internal/hosttest"
	"github.com/gofleet/gofleet/agent/internal/record"
	"github.com/gofleet/gofleet/agent/spec"
)

func cacheSpec() *spec.Spec {
	s, err := spec.Parse(map[string]any{"gofleet_cache": map[string]any{"modcache": "/srv/go/mod", "build": "/srv/go/build", "group": "ci"}}, spec.Options{Prefix: "gofleet_"})
	if err != nil {
		panic(err)
	}
	return s
}

// TestSharedCache: what one member of the group makes with a strict umask,
// another can write into, and a third account cannot.
func TestSharedCache(t *testing.T) {
	if !hosttest.Enter(t) {
		return
	}
	// An overlay may have no access lists; a cache is often a mount of its own.
	hosttest.Run(t, "mkdir", "-p", "/srv")
	hosttest.Run(t, "mount", "-t", "tmpfs", "-o", "mode=0755", "tmpfs", "/srv")
	rec, err := record.Load("/nonexistent")
	if err != nil {
		t.Fatal(err)
	}
	s := cacheSpec()
	if _, _, err := baseline.Plan(context.Background(), baseline.BeforeGo, s, rec); err == nil || !strings.Contains(err.Error(), "group ci is not on this host") {
		t.Fatalf("without the group: %v", err)
	}
	hosttest.Run(t, "groupadd", "ci")
	hosttest.Run(t, "useradd", "-G", "ci", "one")
	hosttest.Run(t, "useradd", "-G", "ci", "two")
	hosttest.Run(t, "useradd", "three")
	before := hosttest.Snapshot(t, "/srv")
	plan := func() []change.Step {
		t.Helper()
		steps, warnings, err := baseline.Plan(context.Background(), baseline.BeforeGo, s, rec)
		if err != nil || len(warnings) > 0 {
			t.Fatalf("%q, %v", warnings, err)
		}
		return steps
	}
	r := change.NewRecorder(false, true)
	if err := r.Run(context.Background(), plan()...); err != nil {
		t.Fatal(err)
	}
	if steps := plan(); len(steps) != 0 {
		t.Errorf("second plan: %q", steps[0].Name)
	}
	as := func(user, line string) error {
		_, err := exec.Command("su", "-s", "/bin/sh", user, "-c", line).Output()
		return err
	}
	if err := as("one", "umask 077; mkdir -p /srv/go/build/00 && echo x > /srv/go/build/00/a"); err != nil {
		t.Fatal(err)
	}
	if err := as("two", "echo y >> /srv/go/build/00/a && touch /srv/go/build/00/b"); err != nil {
		t.Errorf("another member: %v", err)
	}
	if as("three", "touch /srv/go/build/c") == nil {
		t.Error("somebody else can write to the cache")
	}
	if got := hosttest.Run(t, "stat", "-c", "%a %U:%G", "/srv/go", "/srv/go/mod", "/srv/go/build/00"); got != "755 root:root\n2775 root:ci\n2775 one:ci\n" {
		t.Errorf("modes: %s", got)
	}

	hosttest.Run(t, "chmod", "g-w", "/srv/go/build")
	if steps := plan(); len(steps) != 1 || !steps[0].Drift {
		t.Errorf("after chmod: %d steps", len(steps))
	}
	hosttest.Run(t, "chmod", "g+w", "/srv/go/build")
	os.RemoveAll("/srv/go/build/00")
	if err := r.Undo(); err != nil {
		t.Fatal(err)
	}
	hosttest.Same(t, before, hosttest.Snapshot(t, "/srv"))

	// With the variable go the directories, as far as they are empty.
	rec, _ = record.Load("/nonexistent")
	if err := change.NewRecorder(false, false).Run(context.Background(), plan()...); err != nil {
		t.Fatal(err)
	}
	s = &spec.Spec{}
	if err := change.NewRecorder(false, false).Run(context.Background(), plan()...); err != nil {
		t.Fatal(err)
	}
	hosttest.Same(t, before, hosttest.Snapshot(t, "/srv"))
	if text, err := rec.Encode(); err != nil || strings.Contains(string(text), "/srv") {
		t.Errorf("record: %s %v", text, err)
	}
}
