package baseline_test

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/gofleet/gofleet/agent/internal/baseline"
	"github.com/gofleet/gofleet/agent/internal/change"
	"github.com/gofleet/gofleet/agent/internal/hosttest"
	"github.com/gofleet/gofleet/agent/internal/record"
	"github.com/gofleet/gofleet/agent/spec"
	"github.com/gofleet/gofleet/agent/wire"
)

func TestMain(m *testing.M) { hosttest.Main(m) }

func newRecord(t *testing.T) *record.Record {
	t.Helper()
	rec, err := record.Load("/nonexistent")
	if err != nil {
		t.Fatal(err)
	}
	return rec
}

func directories(all ...spec.Directory) *spec.Spec { return &spec.Spec{Directories: all} }

func plan(t *testing.T, s *spec.Spec, rec *record.Record) ([]change.Step, []string) {
	t.Helper()
	steps, warnings, err := baseline.Plan(context.Background(), baseline.BeforeGo, s, rec)
	if err != nil {
		t.Fatalf("plan: %v", err)
	}
	return steps, warnings
}

func apply(t *testing.T, s *spec.Spec, rec *record.Record) (*change.Recorder, []change.Step, []string) {
	t.Helper()
	steps, warnings := plan(t, s, rec)
	r := change.NewRecorder(false, true)
	if err := r.Run(context.Background(), steps...); err != nil {
		t.Fatalf("run: %v", err)
	}
	if again, _ := plan(t, s, rec); len(again) != 0 {
		t.Errorf("second plan: %q", names(again))
	}
	return r, steps, warnings
}

func names(steps []change.Step) []string {
	var out []string
	for _, s := range steps {
		out = append(out, s.Name)
	}
	return out
}

func stat(t *testing.T, path, want string) {
	t.Helper()
	if got := strings.TrimSpace(hosttest.Run(t, "stat", "-c", "%U:%G %a", path)); got != want {
		t.Errorf("%s is %s; want %s", path, got, want)
	}
}

func gone(t *testing.T, paths ...string) {
	t.Helper()
	for _, path := range paths {
		if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is still there: %v", path, err)
		}
	}
}

// app is a tree of the deploy user's, below a parent that nothing names.
func app() *spec.Spec {
	return directories(
		spec.Directory{Path: "/opt/corp/app/logs", Owner: "deploy", Group: "games", Mode: 0o2770},
		spec.Directory{Path: "/opt/corp/app", Owner: "deploy", Mode: 0o750},
		spec.Directory{Path: "/srv/data", Owner: "root", Mode: 0o755},
	)
}

func TestDirectories(t *testing.T) {
	if !hosttest.Enter(t) {
		return
	}
	hosttest.Run(t, "useradd", "-m", "deploy")
	hosttest.Run(t, "install", "-d", "-m", "0700", "-o", "games", "/srv/data")
	before := hosttest.Snapshot(t, "/opt", "/srv")
	rec := newRecord(t)
	r, steps, _ := apply(t, app(), rec)
	if want := []string{"make directory /opt/corp/app", "make directory /opt/corp/app/logs", "set owner and mode of /srv/data"}; !slices.Equal(names(steps), want) {
		t.Errorf("steps %q", names(steps))
	}
	for _, s := range steps {
		if s.Drift || s.Path == "" {
			t.Errorf("%s: drift %v, path %q", s.Name, s.Drift, s.Path)
		}
	}
	stat(t, "/opt/corp", "root:root 755")
	stat(t, "/opt/corp/app", "deploy:deploy 750")
	stat(t, "/opt/corp/app/logs", "deploy:games 2770")
	stat(t, "/srv/data", "root:root 755")
	if err := r.Undo(); err != nil {
		t.Fatal(err)
	}
	hosttest.Same(t, before, hosttest.Snapshot(t, "/opt", "/srv"))
	if len(rec.Directories) != 0 {
		t.Errorf("record after undo: %v", rec.Directories)
	}
}

func TestDirectoriesThatDrifted(t *testing.T) {
	if !hosttest.Enter(t) {
		return
	}
	hosttest.Run(t, "useradd", "-m", "deploy")
	rec := newRecord(t)
	apply(t, app(), rec)
	for _, harm := range []string{"chmod 0777 /opt/corp/app/logs", "chown games /opt/corp/app", "rmdir /srv/data", "rm -r /opt/corp"} {
		hosttest.Run(t, "sh", "-ec", harm)
		if harm == "chown games /opt/corp/app" {
			// What is in it belongs to another then, and cannot be reached before it is put right.
			if steps, _, err := baseline.Plan(context.Background(), baseline.BeforeGo, app(), rec); err == nil {
				t.Errorf("%s: planned %q", harm, names(steps))
			}
			hosttest.Run(t, "chown", "deploy", "/opt/corp/app")
			continue
		}
		_, steps, _ := apply(t, app(), rec)
		for _, s := range steps {
			if !s.Drift {
				t.Errorf("%s: %s is not called drift", harm, s.Name)
			}
		}
		if len(steps) == 0 {
			t.Errorf("%s: nothing is repaired", harm)
		}
	}
	stat(t, "/opt/corp/app/logs", "deploy:games 2770")
	other := app()
	other.Directories[0].Mode = 0o2750
	if _, steps, _ := apply(t, other, rec); len(steps) != 1 || steps[0].Drift {
		t.Errorf("another mode in the inventory: %q", names(steps))
	}
}

func TestDirectoriesThatAreDropped(t *testing.T) {
	if !hosttest.Enter(t) {
		return
	}
	hosttest.Run(t, "useradd", "-m", "deploy")
	hosttest.Run(t, "mkdir", "/srv/data")
	rec := newRecord(t)
	apply(t, app(), rec)
	before := hosttest.Snapshot(t, "/opt", "/srv")
	r, steps, warnings := apply(t, &spec.Spec{}, rec)
	if want := []string{"remove directory /opt/corp/app/logs", "remove directory /opt/corp/app"}; !slices.Equal(names(steps), want) || len(warnings) != 0 {
		t.Errorf("steps %q, warnings %q", names(steps), warnings)
	}
	gone(t, "/opt/corp")
	stat(t, "/srv/data", "root:root 755")
	if len(rec.Directories) != 0 {
		t.Errorf("record: %v", rec.Directories)
	}
	if err := r.Undo(); err != nil {
		t.Fatal(err)
	}
	hosttest.Same(t, before, hosttest.Snapshot(t, "/opt", "/srv"))

	// Something is in one of them.
	rec = newRecord(t)
	hosttest.Run(t, "rm", "-r", "/opt/corp")
	apply(t, app(), rec)
	hosttest.Write(t, "/opt/corp/app/data", "precious", 0o644)
	_, steps, warnings = apply(t, &spec.Spec{}, rec)
	if len(steps) != 1 || len(warnings) != 1 || !strings.Contains(warnings[0], "rm -r /opt/corp/app") {
		t.Errorf("steps %q, warnings %q", names(steps), warnings)
	}
	if _, err := os.Lstat("/opt/corp/app/data"); err != nil {
		t.Error(err)
	}

	// A parent that was made with it stays if the inventory names it by now.
	rec = newRecord(t)
	inner := spec.Directory{Path: "/srv/a/b", Owner: "root", Mode: 0o755}
	apply(t, directories(inner), rec)
	apply(t, directories(spec.Directory{Path: "/srv/a", Owner: "root", Mode: 0o755}), rec)
	stat(t, "/srv/a", "root:root 755")
	gone(t, "/srv/a/b")
}

// TestOwnerMadeInTheSameRun: planned before the account is there.
func TestOwnerMadeInTheSameRun(t *testing.T) {
	if !hosttest.Enter(t) {
		return
	}
	want := app()
	want.Users = []spec.User{{Name: "deploy"}}
	rec := newRecord(t)
	steps, _ := plan(t, want, rec)
	hosttest.Run(t, "useradd", "-m", "deploy")
	if err := change.NewRecorder(false, false).Run(context.Background(), steps...); err != nil {
		t.Fatal(err)
	}
	stat(t, "/opt/corp/app/logs", "deploy:games 2770")
	if again, _ := plan(t, want, rec); len(again) != 0 {
		t.Errorf("second plan: %q", names(again))
	}
}

// TestCutDirectories cuts a run behind each step: what it made goes when
// nothing names it any more.
func TestCutDirectories(t *testing.T) {
	if !hosttest.Enter(t) {
		return
	}
	hosttest.Run(t, "useradd", "-m", "deploy")
	for n := range 4 {
		rec := newRecord(t)
		steps, _ := plan(t, app(), rec)
		saved, err := rec.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if err := change.NewRecorder(false, false).Run(context.Background(), steps[:n]...); err != nil {
			t.Fatal(err)
		}
		if rec, err = record.Parse(saved, "saved"); err != nil {
			t.Fatal(err)
		}
		apply(t, &spec.Spec{}, rec)
		gone(t, "/opt/corp", "/srv/data")
	}
}

func TestDirectoriesThatAreRefused(t *testing.T) {
	if !hosttest.Enter(t) {
		return
	}
	hosttest.Run(t, "useradd", "-m", "-u", "4400", "deploy")
	hosttest.Run(t, "sh", "-ec", `
		install -d -o deploy /srv/theirs; ln -s /etc /srv/theirs/link; mkdir /srv/theirs/roots
		mkdir /srv/open /srv/sticky; chmod 0777 /srv/open; chmod 1777 /srv/sticky
		install -d -o games /srv/sticky/planted; ln -s /etc /srv/sticky/link
		ln -s /opt /srv/final; touch /srv/file; ln -s /srv/theirs /srv/led; chown -h deploy /srv/led
		ln -s loop /srv/loop; chgrp games /opt; chmod g+w /opt`)
	before := hosttest.Snapshot(t, "/srv", "/opt", "/etc")
	for path, says := range map[string]string{
		"/srv/theirs/link/x":    "/srv/theirs/link is a link in a directory that others than root can write",
		"/srv/theirs/link":      "is a link",
		"/srv/theirs/roots":     "belongs to uid 0, who made it",
		"/srv/theirs/roots/x":   "/srv/theirs/roots belongs to uid 0, in a directory of uid 4400",
		"/srv/open/x":           "/srv/open can be written by others",
		"/srv/sticky/planted":   "belongs to uid 5, who made it",
		"/srv/sticky/planted/x": "/srv/sticky/planted belongs to uid 5",
		"/srv/sticky/link/x":    "/srv/sticky/link is a link in a directory",
		"/srv/final":            "is a link",
		"/srv/file":             "is not a directory",
		"/srv/file/x":           "/srv/file is not a directory",
		"/srv/led/x":            "/srv/led is a link of uid 4400",
		"/srv/loop/x":           "too many links",
		"/opt/x":                "/opt can be written by others",
		"/etc/ssh":              "is there already, with owner 0:0",
		"/usr/share/doc":        "is there already",
	} {
		d := spec.Directory{Path: path, Owner: "deploy", Mode: 0o755}
		steps, _, err := baseline.Plan(context.Background(), baseline.BeforeGo, directories(d), newRecord(t))
		var e *wire.Error
		if !errors.As(err, &e) || e.Kind != wire.KindBaseline || !strings.Contains(err.Error(), says) || e.Hint == "" || !strings.Contains(err.Error(), "gofleet_directories: "+path) {
			t.Errorf("%s: %q, %v; want it refused with %q and a hint", path, names(steps), err, says)
		}
	}
	for _, d := range []spec.Directory{{Path: "/srv/x", Owner: "nobodyhere"}, {Path: "/srv/x", Owner: "root", Group: "nosuch"}} {
		if _, _, err := baseline.Plan(context.Background(), baseline.BeforeGo, directories(d), newRecord(t)); err == nil || !strings.Contains(err.Error(), "is not on this host") {
			t.Errorf("%+v: %v", d, err)
		}
	}
	hosttest.Same(t, before, hosttest.Snapshot(t, "/srv", "/opt", "/etc"))

	// A link of root's in a place of root's may lead on.
	hosttest.Run(t, "sh", "-ec", "mkdir /srv/disk; ln -s disk /srv/volume")
	apply(t, directories(spec.Directory{Path: "/srv/volume/x/y", Owner: "deploy", Mode: 0o700}), newRecord(t))
	stat(t, "/srv/disk/x/y", "deploy:deploy 700")
	// And one that was refused at first is taken once its parent is the owner's.
	apply(t, directories(spec.Directory{Path: "/srv/theirs/a/b", Owner: "deploy", Mode: 0o700}), newRecord(t))
	stat(t, "/srv/theirs/a", "deploy:deploy 755")
	stat(t, "/srv/theirs/a/b", "deploy:deploy 700")
}

// A link that comes between plan and step is not followed, nor is what the
// owner puts in the place of what was planned.
func TestDirectorySwappedLater(t *testing.T) {
	if !hosttest.Enter(t) {
		return
	}
	hosttest.Run(t, "useradd", "-m", "deploy")
	hosttest.Run(t, "install", "-d", "-o", "deploy", "-g", "deploy", "/srv/app")
	hosttest.Run(t, "mkdir", "-m", "0700", "/srv/roots")
	for _, swap := range []string{"ln -s /srv/roots /srv/app/logs", "mkdir -m 0700 /srv/app/logs", "rmdir /srv/app; touch /srv/app"} {
		steps, _ := plan(t, directories(spec.Directory{Path: "/srv/app/logs", Owner: "deploy", Mode: 0o770}), newRecord(t))
		hosttest.Run(t, "sh", "-ec", swap)
		before := hosttest.Snapshot(t, "/srv")
		r := change.NewRecorder(false, false)
		if err := r.Run(context.Background(), steps...); err == nil {
			t.Errorf("%s: the step did not notice", swap)
		}
		if err := r.Undo(); err != nil {
			t.Errorf("%s: %v", swap, err)
		}
		hosttest.Same(t, before, hosttest.Snapshot(t, "/srv"))
		hosttest.Run(t, "sh", "-ec", "rm -rf /srv/app; install -d -o deploy -g deploy /srv/app")
	}
}
