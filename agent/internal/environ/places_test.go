package environ_test

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/gofleet/gofleet/agent/internal/environ"
	"github.com/gofleet/gofleet/agent/internal/hosttest"
	"github.com/gofleet/gofleet/agent/internal/record"
	"github.com/gofleet/gofleet/agent/spec"
	"github.com/gofleet/gofleet/agent/wire"
)

const (
	pamFile     = "/etc/environment"
	systemdFile = "/etc/systemd/system.conf.d/50-gofleet.conf"
)

// hard are values that each reader has to give back as they are.
var hard = map[string]string{
	"G_PLAIN": "info", "G_EMPTY": "", "G_SPACES": " two  words ", "G_DOLLAR": "$HOME ${X} `id` @{HOME}",
	"G_TAB": "a\tb", "G_GLOB": "~/x * ? [a] ! ; & | < > ( )", "G_EQUALS": "a=b,c:d@e+f", "G_UNICODE": "ünï",
}

// systemd imitates a host on which it runs, and logs what systemctl is asked.
func systemd(t *testing.T) (log string) {
	t.Helper()
	log = "/run/systemctl.log"
	hosttest.Write(t, "/run/systemd/system/.keep", "", 0o644)
	hosttest.Write(t, "/usr/sbin/systemctl", "#!/bin/sh\necho \"$@\" >> "+log+"\n", 0o755)
	hosttest.Write(t, log, "", 0o644)
	return log
}

// printenv is a variable in a session that PAM opens.
func printenv(t *testing.T, name string) string {
	t.Helper()
	out := hosttest.Run(t, "su", "-s", "/bin/sh", "nobody", "-c", `printf '<%s>' "$`+name+`"`)
	return strings.TrimSuffix(strings.TrimPrefix(out, "<"), ">")
}

func TestPAMSessionsGetTheValues(t *testing.T) {
	if !hosttest.Enter(t) {
		return
	}
	install(t, target, "go1.26.8")
	const others = "# by hand\nPATH=\"/usr/bin:/bin\"\n\n  LANG=C.UTF-8\nlast=without an end"
	hosttest.Write(t, pamFile, others, 0o640)
	before := hosttest.Snapshot(t, "/etc")
	rec := newRecord(t)
	s := newSpec()
	s.Environment, s.EnvironmentFiles = hard, []string{spec.EnvironmentPAM}
	r, steps, _ := apply(t, s, target, rec)
	for name, want := range hard {
		if got := printenv(t, name); got != want {
			t.Errorf("%s is %q in a session, not %q", name, got, want)
		}
	}
	if got := read(t, pamFile); !strings.HasPrefix(got, others+"\n# BEGIN gofleet") {
		t.Errorf("other lines: %s", got)
	}
	if got := hosttest.Run(t, "stat", "-c", "%a", pamFile); got != "640\n" {
		t.Errorf("mode %s", got)
	}
	if strings.Contains(read(t, profile), "G_PLAIN") {
		t.Error("the profile has them too")
	}
	if slices.ContainsFunc(names(steps), func(n string) bool { return strings.Contains(n, "systemd") }) {
		t.Errorf("steps %q", names(steps))
	}
	nothingToDo(t, s, target, rec)
	if err := r.Undo(); err != nil {
		t.Fatal(err)
	}
	hosttest.Same(t, before, hosttest.Snapshot(t, "/etc"))

	// What somebody does to the block is drift and is put right; what they do
	// beside it stays, and survives the removal.
	apply(t, s, target, rec)
	hosttest.Run(t, "sed", "-i", "s/G_PLAIN=info/G_PLAIN=debug/; s/by hand/by another hand/", pamFile)
	_, steps, _ = apply(t, s, target, rec)
	if len(steps) != 1 || !steps[0].Drift || printenv(t, "G_PLAIN") != "info" {
		t.Errorf("after drift: steps %q, %s", names(steps), printenv(t, "G_PLAIN"))
	}
	s.EnvironmentFiles = []string{spec.EnvironmentProfile}
	_, steps, _ = apply(t, s, target, rec)
	if got := read(t, pamFile); got != strings.Replace(others, "by hand", "by another hand", 1) || steps[len(steps)-1].Drift {
		t.Errorf("after removal (steps %q):\n%s", names(steps), got)
	}
	if strings.Contains(encode(t, rec), pamFile) {
		t.Errorf("record: %s", encode(t, rec))
	}
}

// TestPAMFileThatWasNotThere: it goes again, and a run that was cut after the
// block was written is remembered.
func TestPAMFileThatWasNotThere(t *testing.T) {
	if !hosttest.Enter(t) {
		return
	}
	install(t, target, "go1.26.8")
	os.Remove(pamFile)
	rec := newRecord(t)
	s := newSpec()
	apply(t, s, target, rec)
	s.Environment, s.EnvironmentFiles = map[string]string{"A": "b"}, []string{spec.EnvironmentProfile, spec.EnvironmentPAM}
	steps, _, err := environ.Plan(context.Background(), s, target, rec)
	if err != nil || len(steps) != 2 {
		t.Fatalf("%q, %v", names(steps), err)
	}
	if strings.Contains(steps[1].Diff, "BEGIN") && !strings.Contains(steps[1].Diff, "+A=b") {
		t.Errorf("diff: %s", steps[1].Diff)
	}
	cut := encode(t, rec) // as it is saved before the first step
	for _, st := range steps {
		if err := st.Do(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	rec = parseRecord(t, cut)
	s.Environment = nil
	if _, steps, _ := apply(t, s, target, rec); len(steps) != 2 {
		t.Errorf("steps after the cut: %q", names(steps))
	}
	if _, err := os.Lstat(pamFile); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is still there: %v", pamFile, err)
	}
}

func TestSystemdDropIn(t *testing.T) {
	if !hosttest.Enter(t) {
		return
	}
	install(t, target, "go1.26.8")
	rec := newRecord(t)
	s := newSpec()
	s.Environment = map[string]string{"LOG_LEVEL": "info", "QUOTES": `a "b" 'c' \d`}
	s.EnvironmentFiles = []string{spec.EnvironmentSystemd}
	_, _, err := environ.Plan(context.Background(), s, target, rec)
	if e := wire.AsError(err, ""); err == nil || e.Kind != wire.KindEnvironment || !strings.Contains(e.Message, "systemd, which does not run on this host") {
		t.Fatalf("without systemd: %v", err)
	}
	log := systemd(t)
	before := hosttest.Snapshot(t, "/etc")
	r, steps, _ := apply(t, s, target, rec)
	want := "[Manager]\nDefaultEnvironment=\"LOG_LEVEL=info\"\nDefaultEnvironment=\"QUOTES=a \\\"b\\\" 'c' \\\\d\"\n"
	if got := read(t, systemdFile); !strings.HasSuffix(got, want) {
		t.Errorf("drop-in:\n%s", got)
	}
	if read(t, log) != "daemon-reload\n" || steps[len(steps)-1].Drift || rec.Reload {
		t.Errorf("reload: %q %v", read(t, log), rec.Reload)
	}
	nothingToDo(t, s, target, rec)
	if err := r.Undo(); err != nil {
		t.Fatal(err)
	}
	hosttest.Same(t, before, hosttest.Snapshot(t, "/etc"))
	if read(t, log) != "daemon-reload\ndaemon-reload\n" {
		t.Errorf("undo did not reload: %q", read(t, log))
	}

	// A run that was cut before the reload: the next one makes up for it.
	rec = newRecord(t)
	if steps, _, err = environ.Plan(context.Background(), s, target, rec); err != nil {
		t.Fatal(err)
	}
	for _, st := range steps {
		if st.Name == "reload systemd" {
			break
		}
		if err := st.Do(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	if _, steps, _ = apply(t, s, target, rec); names(steps)[0] != "reload systemd" {
		t.Errorf("after the cut: %q", names(steps))
	}
	// Taken out again.
	steps, _, err = environ.PlanRemove(context.Background(), rec)
	if err != nil {
		t.Fatal(err)
	}
	run(t, steps)
	if _, err := os.Lstat(systemdFile); err == nil || rec.Reload || strings.Count(read(t, log), "\n") != 4 {
		t.Errorf("removed: %v, %v, %q", err, rec.Reload, read(t, log))
	}
}

func parseRecord(t *testing.T, text string) *record.Record {
	t.Helper()
	rec, err := record.Parse([]byte(text), "host.json")
	if err != nil {
		t.Fatal(err)
	}
	return rec
}
