package environ_test

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/gofleet/gofleet/agent/internal/environ"
	"github.com/gofleet/gofleet/agent/internal/hosttest"
	"github.com/gofleet/gofleet/agent/internal/record"
	"github.com/gofleet/gofleet/agent/spec"
	"github.com/gofleet/gofleet/agent/wire"
)

const (
	oldTarget = root + "/go1.20.3"
	userFile  = "/home/deploy/.config/go/env"
)

func oldSpec() *spec.Spec {
	s := newSpec()
	s.GoVersion = "1.20.3"
	s.Env = map[string]string{"GOPROXY": "off", "GOFLAGS": "-mod=vendor"}
	s.User = &spec.User{Name: "deploy"}
	return s
}

func TestUserEnvOfOldGo(t *testing.T) {
	if !hosttest.Enter(t) {
		return
	}
	install(t, oldTarget, "go1.20.3")
	install(t, target, "go1.26.8")
	hosttest.Run(t, "useradd", "-m", "deploy")
	theirs := "# by hand\nGOPRIVATE=corp.example\nGOPROXY=direct\nGOFLAGS=-mod=vendor"
	hosttest.Run(t, "install", "-d", "-m", "0700", "-o", "deploy", "-g", "deploy", "/home/deploy/.config", "/home/deploy/.config/go")
	hosttest.Write(t, userFile, theirs, 0o600)
	hosttest.Run(t, "chown", "deploy:deploy", userFile)
	before := hosttest.Snapshot(t, "/home")
	rec := newRecord(t)
	r, steps, _ := apply(t, oldSpec(), oldTarget, rec)
	if !slices.Contains(names(steps), "write "+userFile) || slices.Contains(names(steps), "write "+oldTarget+"/go.env") {
		t.Errorf("steps %q", names(steps))
	}
	want := "# by hand\nGOPRIVATE=corp.example\nGOFLAGS=-mod=vendor\nGOPROXY=off\n"
	if got := read(t, userFile); got != want {
		t.Errorf("go/env is %q, want %q", got, want)
	}
	if got := hosttest.Run(t, "stat", "-c", "%a %U:%G", userFile); got != "600 deploy:deploy\n" {
		t.Errorf("mode: %s", got)
	}
	nothingToDo(t, oldSpec(), oldTarget, rec)
	if err := r.Undo(); err != nil {
		t.Fatal(err)
	}
	hosttest.Same(t, before, hosttest.Snapshot(t, "/home"))

	apply(t, oldSpec(), oldTarget, rec)
	// Another variable of the user's own is no drift, ours is.
	hosttest.Run(t, "sh", "-c", "echo CC=clang >> "+userFile)
	nothingToDo(t, oldSpec(), oldTarget, rec)
	hosttest.Run(t, "sed", "-i", "s/GOPROXY=off/GOPROXY=on/", userFile)
	_, steps, _ = apply(t, oldSpec(), oldTarget, rec)
	if len(steps) != 1 || !steps[0].Drift {
		t.Errorf("drift: %q", names(steps))
	}
	// The upgrade takes ours away and gives the user's own value back.
	_, steps, _ = apply(t, oldSpec(), target, rec)
	if !slices.Contains(names(steps), "write "+userFile) {
		t.Errorf("upgrade: %q", names(steps))
	}
	if got, want := read(t, userFile), "# by hand\nGOPRIVATE=corp.example\nGOFLAGS=-mod=vendor\nCC=clang\nGOPROXY=direct\n"; got != want {
		t.Errorf("after the upgrade go/env is %q, want %q", got, want)
	}
	if len(rec.UserEnv) != 0 {
		t.Errorf("record: %+v", rec.UserEnv)
	}
	nothingToDo(t, oldSpec(), target, rec)
}

func TestUserEnvThatWasNotThere(t *testing.T) {
	if !hosttest.Enter(t) {
		return
	}
	install(t, oldTarget, "go1.20.3")
	// The account is made between plan and step, as in a first run.
	steps, _, err := environ.Plan(context.Background(), oldSpec(), oldTarget, newRecord(t))
	if err != nil {
		t.Fatal(err)
	}
	hosttest.Run(t, "useradd", "-m", "deploy")
	before := hosttest.Snapshot(t, "/home")
	r := run(t, steps)
	if got := read(t, userFile); got != "GOFLAGS=-mod=vendor\nGOPROXY=off\n" {
		t.Errorf("go/env is %q", got)
	}
	if err := r.Undo(); err != nil {
		t.Fatal(err)
	}
	hosttest.Same(t, before, hosttest.Snapshot(t, "/home"))

	rec := newRecord(t)
	apply(t, oldSpec(), oldTarget, rec)
	removal, _, err := environ.PlanRemove(context.Background(), rec)
	if err != nil {
		t.Fatal(err)
	}
	run(t, removal)
	hosttest.Same(t, before, hosttest.Snapshot(t, "/home"))

	nobody := oldSpec()
	nobody.User = nil
	_, _, warnings := apply(t, nobody, oldTarget, rec)
	if len(warnings) != 1 || !strings.Contains(warnings[0], "reaches nobody") {
		t.Errorf("warnings %q", warnings)
	}
}

func TestUserEnvRefusesLinks(t *testing.T) {
	if !hosttest.Enter(t) {
		return
	}
	install(t, oldTarget, "go1.20.3")
	hosttest.Run(t, "useradd", "-m", "deploy")
	for _, c := range []struct{ harm, says string }{
		{"ln -s /srv .config", ".config is a link"},
		{"mkdir .config; ln -s /srv .config/go", ".config/go is a link"},
		{"mkdir -p .config/go; ln -s /etc/passwd .config/go/env", ".config/go/env is a link"},
		{"mkdir -p .config/go/env", ".config/go/env is not a file"},
		{"touch .config", ".config is"},
	} {
		hosttest.Run(t, "su", "-", "deploy", "-c", c.harm)
		before := hosttest.Snapshot(t, "/home", "/srv", "/etc")
		_, _, err := environ.Plan(context.Background(), oldSpec(), oldTarget, newRecord(t))
		var e *wire.Error
		if !errors.As(err, &e) || e.Kind != wire.KindEnvironment || !strings.Contains(e.Message, c.says) || e.Hint == "" {
			t.Errorf("%s: %v", c.harm, err)
		}
		hosttest.Same(t, before, hosttest.Snapshot(t, "/home", "/srv", "/etc"))
		hosttest.Run(t, "rm", "-rf", "/home/deploy/.config")
	}
}

func TestOrdinaryUser(t *testing.T) {
	if !hosttest.Enter(t) {
		return
	}
	home := "/srv/nobody"
	prefix := home + "/gofleet"
	install(t, prefix+"/go1.26.8", "go1.26.8")
	install(t, prefix+"/go1.20.3", "go1.20.3")
	hosttest.Run(t, "chown", "-R", "65534:65534", home)
	t.Setenv("HOME", home)
	asNobody(t)

	s := newSpec()
	s.Root, s.Link = prefix, prefix+"/current"
	rec := newRecord(t)
	before := hosttest.Snapshot(t, home)
	r, steps, warnings := apply(t, s, prefix+"/go1.26.8", rec)
	want := []string{"write " + prefix + "/go1.26.8/go.env", "link " + prefix + "/bin/go", "link " + prefix + "/bin/gofmt"}
	if !slices.Equal(names(steps), want) || len(warnings) != 0 {
		t.Errorf("steps %q, warnings %q", names(steps), warnings)
	}
	nothingToDo(t, s, prefix+"/go1.26.8", rec)
	if err := r.Undo(); err != nil {
		t.Fatal(err)
	}
	hosttest.Same(t, before, hosttest.Snapshot(t, home))

	// Go 1.20 is told in the user's own go/env, without a child.
	r, steps, _ = apply(t, s, prefix+"/go1.20.3", rec)
	if names(steps)[0] != "write "+home+"/.config/go/env" || read(t, home+"/.config/go/env") != "GOTOOLCHAIN=local\n" {
		t.Errorf("steps %q", names(steps))
	}
	if err := r.Undo(); err != nil {
		t.Fatal(err)
	}
	hosttest.Same(t, before, hosttest.Snapshot(t, home))

	s.Environment = map[string]string{"LOG_LEVEL": "info"}
	_, _, err := environ.Plan(context.Background(), s, prefix+"/go1.26.8", rec)
	var e *wire.Error
	if !errors.As(err, &e) || e.Kind != wire.KindNeedsRoot || !strings.Contains(e.Message, "gofleet_environment") {
		t.Errorf("err = %v", err)
	}
	if _, err := os.Lstat(profile); err == nil {
		t.Error("there is a profile")
	}
}

// asNobody makes the rest of the test run as an ordinary user.
func asNobody(t *testing.T) {
	t.Helper()
	if err := errors.Join(syscall.Setgroups([]int{65534}), syscall.Setresgid(65534, 65534, 65534), syscall.Setresuid(65534, 65534, 65534)); err != nil {
		t.Fatal(err)
	}
}

// A run that is killed between writing a go/env and recording it is remembered
// by what it had announced.
func TestUserEnvOfARunThatWasCut(t *testing.T) {
	if !hosttest.Enter(t) {
		return
	}
	install(t, oldTarget, "go1.20.3")
	install(t, target, "go1.26.8")
	hosttest.Run(t, "useradd", "-m", "deploy")
	hosttest.Run(t, "install", "-d", "-o", "deploy", "-g", "deploy", "/home/deploy/.config", "/home/deploy/.config/go")
	theirs := "GOPRIVATE=corp.example\nGOPROXY=direct\n"
	hosttest.Write(t, userFile, theirs, 0o644)
	hosttest.Run(t, "chown", "deploy:deploy", userFile)

	// cut plans, keeps the record as it is saved then, and loses what the steps
	// noted; written says whether they came to write.
	cut := func(s *spec.Spec, rec *record.Record, written bool) *record.Record {
		steps, _, err := environ.Plan(context.Background(), s, oldTarget, rec)
		if err != nil {
			t.Fatal(err)
		}
		saved := encode(t, rec)
		if written {
			run(t, steps)
		}
		rec, err = record.Parse([]byte(saved), "record")
		if err != nil {
			t.Fatal(err)
		}
		return rec
	}
	other := oldSpec()
	other.Env = map[string]string{"GOPROXY": "https://inner.example"}
	rec := cut(oldSpec(), newRecord(t), true) // a first run
	rec = cut(other, rec, true)               // one with other values
	rec = cut(oldSpec(), rec, false)          // one that wrote nothing
	rec = cut(oldSpec(), rec, true)
	_, steps, _ := apply(t, oldSpec(), target, rec) // the upgrade
	if !slices.Contains(names(steps), "write "+userFile) {
		t.Errorf("upgrade: %q", names(steps))
	}
	if got := read(t, userFile); got != theirs {
		t.Errorf("after the upgrade go/env is %q, want %q", got, theirs)
	}
	if len(rec.UserEnv)+len(rec.DoingEnv) != 0 {
		t.Errorf("record: %s", encode(t, rec))
	}
	for _, s := range steps {
		if s.Drift && s.Path == userFile {
			t.Error("what a cut run wrote counts as drift")
		}
	}
}
