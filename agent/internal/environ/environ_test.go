package environ_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gofleet/gofleet/agent/internal/change"
	"github.com/gofleet/gofleet/agent/internal/environ"
	"github.com/gofleet/gofleet/agent/internal/hosttest"
	"github.com/gofleet/gofleet/agent/internal/record"
	"github.com/gofleet/gofleet/agent/spec"
	"github.com/gofleet/gofleet/agent/wire"
)

func TestMain(m *testing.M) { hosttest.Main(m) }

const (
	root    = "/usr/local/lib/gofleet"
	target  = root + "/go1.26.8"
	link    = "/usr/local/golang" // this machine's own Go may be at the usual place
	profile = "/etc/profile.d/gofleet.sh"
	shipped = "# As shipped.\nGOPROXY=https://proxy.example/,direct\nGOSUMDB=sum.example\n\n# Toolchains.\nGOTOOLCHAIN=auto\n"
)

func newRecord(t *testing.T) *record.Record {
	t.Helper()
	rec, err := record.Load("/nonexistent")
	if err != nil {
		t.Fatal(err)
	}
	return rec
}

func newSpec() *spec.Spec {
	return &spec.Spec{GoVersion: "1.26.8", Root: root, Link: link, Env: map[string]string{"GOTOOLCHAIN": "local"},
		EnvironmentFiles: []string{spec.EnvironmentProfile}}
}

// install puts what this package needs of a toolchain at dir.
func install(t *testing.T, dir, version string) {
	t.Helper()
	hosttest.Write(t, dir+"/VERSION", version+"\ntime 2026-01-01T00:00:00Z\n", 0o644)
	hosttest.Write(t, dir+"/bin/go", "#!/bin/sh\necho "+version+"\n", 0o755)
	hosttest.Write(t, dir+"/bin/gofmt", "#!/bin/sh\necho gofmt\n", 0o755)
	if !strings.HasPrefix(version, "go1.20") {
		hosttest.Write(t, dir+"/go.env", shipped, 0o644)
	}
	os.Remove(link)
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
}

func apply(t *testing.T, s *spec.Spec, dir string, rec *record.Record) (*change.Recorder, []change.Step, []string) {
	t.Helper()
	steps, warnings, err := environ.Plan(context.Background(), s, dir, rec)
	if err != nil {
		t.Fatalf("plan: %v", err)
	}
	return run(t, steps), steps, warnings
}

func run(t *testing.T, steps []change.Step) *change.Recorder {
	t.Helper()
	r := change.NewRecorder(false, true)
	if err := r.Run(context.Background(), steps...); err != nil {
		t.Fatalf("run: %v", err)
	}
	return r
}

func names(steps []change.Step) []string {
	var out []string
	for _, s := range steps {
		out = append(out, s.Name)
	}
	return out
}

func nothingToDo(t *testing.T, s *spec.Spec, dir string, rec *record.Record) {
	t.Helper()
	steps, _, err := environ.Plan(context.Background(), s, dir, rec)
	if err != nil || len(steps) != 0 {
		t.Errorf("second plan: %v, %v", names(steps), err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func encode(t *testing.T, rec *record.Record) string {
	t.Helper()
	b, err := rec.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestFirstInstallAndUndo(t *testing.T) {
	if !hosttest.Enter(t) {
		return
	}
	install(t, target, "go1.26.8")
	rec := newRecord(t)
	before := hosttest.Snapshot(t, "/etc", "/usr/local/bin", root)
	noted := encode(t, rec)
	s := newSpec()
	s.Environment = map[string]string{"LOG_LEVEL": "info"}
	r, steps, warnings := apply(t, s, target, rec)
	want := []string{"write " + target + "/go.env", "write " + profile, "link /usr/local/bin/go", "link /usr/local/bin/gofmt"}
	if !slices.Equal(names(steps), want) || len(warnings) != 0 {
		t.Errorf("steps %q, warnings %q", names(steps), warnings)
	}
	for _, st := range steps {
		if st.Drift {
			t.Errorf("%s is called drift", st.Name)
		}
	}
	if got := hosttest.Run(t, "stat", "-c", "%a %U:%G", profile, target+"/go.env"); got != "644 root:root\n644 root:root\n" {
		t.Errorf("modes: %s", got)
	}
	// What ssh without a login shell, cron and sudo have for PATH.
	for _, path := range []string{"/usr/local/bin:/usr/bin:/bin", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"} {
		cmd := exec.Command("/bin/sh", "-c", "go")
		cmd.Env = []string{"PATH=" + path}
		if out, err := cmd.CombinedOutput(); err != nil || string(out) != "go1.26.8\n" {
			t.Errorf("PATH=%s: %s %v", path, out, err)
		}
	}
	if got := hosttest.Run(t, "sudo", "-u", "nobody", "go"); got != "go1.26.8\n" {
		t.Errorf("sudo: %s", got)
	}
	nothingToDo(t, s, target, rec)
	if err := r.Undo(); err != nil {
		t.Fatal(err)
	}
	hosttest.Same(t, before, hosttest.Snapshot(t, "/etc", "/usr/local/bin", root))
	rec.Shipped = map[string]string{}
	if got := encode(t, rec); got != noted {
		t.Errorf("record after undo: %s", got)
	}
}

func TestMissingDirectoriesAreMadeAndTakenBack(t *testing.T) {
	if !hosttest.Enter(t) {
		return
	}
	install(t, target, "go1.26.8")
	hosttest.Run(t, "rm", "-r", "/etc/profile.d", "/usr/local/bin")
	before := hosttest.Snapshot(t, "/etc", "/usr/local/bin", "/usr/local/lib")
	r, _, _ := apply(t, newSpec(), target, newRecord(t))
	if got := hosttest.Run(t, "stat", "-c", "%a %U:%G", "/etc/profile.d", "/usr/local/bin"); got != "755 root:root\n755 root:root\n" {
		t.Errorf("modes: %s", got)
	}
	if err := r.Undo(); err != nil {
		t.Fatal(err)
	}
	hosttest.Same(t, before, hosttest.Snapshot(t, "/etc", "/usr/local/bin", "/usr/local/lib"))
}

// shells are all that a host's users may log in with. CI has every one.
var shells = []string{"dash", "bash", "bash --posix", "busybox sh", "ksh", "mksh", "zsh", "zsh --emulate sh"}

func TestProfileInEveryShell(t *testing.T) {
	if !hosttest.Enter(t) {
		return
	}
	install(t, target, "go1.26.8")
	s := newSpec()
	tricky := ` it's $HOME "x" ` + "`id`" + ` \n * ; & | # ~ !`
	s.Environment = map[string]string{"TRICKY": tricky, "EMPTY": "", "_x1": "ü"}
	apply(t, s, target, newRecord(t))
	const bin = link + "/bin"
	paths := []struct{ before, after string }{
		{"/usr/bin:/bin", bin + ":/usr/bin:/bin"},
		{"", bin},
		{bin, bin},
		{"/usr/bin:" + bin, bin + ":/usr/bin"},
		{bin + ":/usr/bin", bin + ":/usr/bin"},
		{"/a:" + bin + ":/b:" + bin + ":/c", bin + ":/a:/b:/c"},
		{bin + ":" + bin, bin},
		{bin + "x:/y" + bin, bin + ":" + bin + "x:/y" + bin},
		{"/with space:/star*", bin + ":/with space:/star*"},
	}
	for _, shell := range shells {
		argv := strings.Fields(shell)
		program, err := exec.LookPath(argv[0])
		if err != nil {
			t.Errorf("%s is not on this machine: %v", argv[0], err)
			continue
		}
		for _, p := range paths {
			script := `PATH=$1; set -eu; . ` + profile + `; . ` + profile + `; /usr/bin/printf '%s\n' "$PATH|$TRICKY|$EMPTY|$_x1|${GOROOT-unset}|${gofleet_path-unset}${gofleet_bin-unset}"; /usr/bin/env`
			cmd := exec.Command(program, append(argv[1:], "-c", script, "sh", p.before)...)
			cmd.Env = []string{"HOME=/root"}
			out, err := cmd.CombinedOutput()
			line, env, _ := strings.Cut(string(out), "\n")
			if want := p.after + "|" + tricky + "||ü|unset|unsetunset"; err != nil || line != want {
				t.Errorf("%s with PATH=%q: %v\n%s\nwant\n%s", shell, p.before, err, line, want)
			}
			if !strings.Contains("\n"+env, "\nTRICKY="+tricky+"\n") || !strings.Contains("\n"+env, "\nPATH="+p.after+"\n") {
				t.Errorf("%s does not export: %s", shell, env)
			}
		}
	}
}

func TestLoginShellsFindGo(t *testing.T) {
	if !hosttest.Enter(t) {
		return
	}
	install(t, target, "go1.26.8")
	hosttest.Write(t, "/usr/bin/go", "#!/bin/sh\necho the distribution\n", 0o755)
	s := newSpec()
	s.Environment = map[string]string{"LOG_LEVEL": "info"}
	apply(t, s, target, newRecord(t))
	for _, shell := range []string{"/bin/dash", "/bin/bash", "/bin/ksh", "/bin/mksh"} {
		name := "user" + filepath.Base(shell)
		hosttest.Run(t, "useradd", "-m", "-s", shell, name)
		if got := hosttest.Run(t, "su", "-", name, "-c", "go; command -v go; echo $LOG_LEVEL"); got != "go1.26.8\n"+link+"/bin/go\ninfo\n" {
			t.Errorf("%s: %s", shell, got)
		}
	}
}

func TestGoReadsGoEnv(t *testing.T) {
	if !hosttest.Enter(t) {
		return
	}
	goroot := strings.TrimSpace(hosttest.Run(t, "go", "env", "GOROOT"))
	install(t, target, "go1.26.8")
	hosttest.Run(t, "cp", "-p", goroot+"/bin/go", target+"/bin/go")
	hosttest.Run(t, "mkdir", "-p", target+"/pkg/tool") // or it isn't a GOROOT
	hosttest.Run(t, "cp", "-p", goroot+"/VERSION", target+"/VERSION")
	s := newSpec()
	proxy := "https://mirror.example/a=b,direct"
	s.Env = map[string]string{"GOTOOLCHAIN": "local", "GOPROXY": proxy, "GOFLAGS": "-mod=mod"}
	rec := newRecord(t)
	apply(t, s, target, rec)
	env := func() string {
		cmd := exec.Command("/usr/local/bin/go", "env", "GOTOOLCHAIN", "GOPROXY", "GOSUMDB", "GOFLAGS", "GOROOT")
		cmd.Env = []string{"HOME=/srv", "PATH=/usr/bin:/bin"}
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("go env: %v\n%s", err, out)
		}
		return string(out)
	}
	if got, want := env(), "local\n"+proxy+"\nsum.example\n-mod=mod\n"+target+"\n"; got != want {
		t.Errorf("go env says\n%swant\n%s", got, want)
	}
	s.Env = map[string]string{"GOTOOLCHAIN": "local"}
	_, steps, _ := apply(t, s, target, rec)
	if len(steps) != 1 || steps[0].Drift {
		t.Errorf("a changed inventory: %q, drift %v", names(steps), steps[0].Drift)
	}
	if got, want := env(), "local\nhttps://proxy.example/,direct\nsum.example\n\n"+target+"\n"; got != want {
		t.Errorf("go env says\n%swant\n%s", got, want)
	}
	s.Env = nil
	apply(t, s, target, rec)
	if got := read(t, target+"/go.env"); got != shipped {
		t.Errorf("without gofleet_env go.env is not what was shipped: %q", got)
	}
}

func TestWriteGoEnv(t *testing.T) {
	if !hosttest.Enter(t) {
		return
	}
	dir := root + "/.staging/x/go"
	install(t, dir, "go1.26.8")
	s := newSpec()
	for range 2 {
		if err := environ.WriteGoEnv(dir, s); err != nil {
			t.Fatal(err)
		}
	}
	text := read(t, dir+"/go.env")
	if strings.Count(text, "GOTOOLCHAIN=local\n") != 1 || !strings.Contains(text, "\n#gofleet:shipped GOTOOLCHAIN=auto\n") {
		t.Errorf("go.env: %s", text)
	}
	if err := os.Rename(dir, target); err != nil {
		t.Fatal(err)
	}
	rec := newRecord(t)
	_, steps, _ := apply(t, s, target, rec)
	if slices.Contains(names(steps), "write "+target+"/go.env") {
		t.Error("what WriteGoEnv wrote is not what Plan wants")
	}
	// It is known from now on: an edit is drift, and is repaired to the byte.
	for _, edit := range []string{"", "GOPROXY=off\n", text + "GOFLAGS=-x\n", strings.Replace(text, "sum.example", "off", 1), shipped} {
		hosttest.Write(t, target+"/go.env", edit, 0o644)
		_, steps, _ := apply(t, s, target, rec)
		if len(steps) != 1 || !steps[0].Drift || steps[0].Path != target+"/go.env" {
			t.Errorf("edit %q: %q", edit, names(steps))
		}
		if got := read(t, target+"/go.env"); got != text {
			t.Errorf("edit %q is repaired to %q", edit, got)
		}
	}
	old := root + "/go1.20.3"
	install(t, old, "go1.20.3")
	if err := environ.WriteGoEnv(old, s); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(old + "/go.env"); err == nil {
		t.Error("Go 1.20 got a go.env")
	}
}

func TestDrift(t *testing.T) {
	if !hosttest.Enter(t) {
		return
	}
	install(t, target, "go1.26.8")
	rec := newRecord(t)
	apply(t, newSpec(), target, rec)
	good := hosttest.Snapshot(t, "/etc/profile.d", "/usr/local/bin", root)
	for _, c := range []struct{ path, harm string }{
		{profile, "echo export GOROOT=/x >> " + profile},
		{profile, "rm " + profile},
		{profile, "chmod 0600 " + profile},
		{profile, "chown nobody " + profile},
		{"/usr/local/bin/go", "rm /usr/local/bin/go"},
		{"/usr/local/bin/gofmt", "rm /usr/local/bin/gofmt; echo other > /usr/local/bin/gofmt"},
		{"/usr/local/bin/go", "ln -sfn /usr/bin/true /usr/local/bin/go"},
		{target + "/go.env", "rm " + target + "/go.env"},
		{target + "/go.env", "chmod 0666 " + target + "/go.env"},
	} {
		hosttest.Run(t, "sh", "-c", c.harm)
		harmed := hosttest.Snapshot(t, "/etc/profile.d", "/usr/local/bin", root)
		r, steps, _ := apply(t, newSpec(), target, rec)
		if len(steps) != 1 || !steps[0].Drift || !slices.Equal(wire.Paths(r.Drift()), []string{c.path}) {
			t.Errorf("%s: %q, drift %q", c.harm, names(steps), r.Drift())
		}
		if err := r.Undo(); err != nil {
			t.Errorf("%s: undo: %v", c.harm, err)
		}
		hosttest.Same(t, harmed, hosttest.Snapshot(t, "/etc/profile.d", "/usr/local/bin", root))
		apply(t, newSpec(), target, rec)
		for _, p := range []string{"/usr/local/bin/go.unmanaged", "/usr/local/bin/gofmt.unmanaged"} {
			os.Remove(p)
		}
		clear(rec.Kept)
		hosttest.Same(t, good, hosttest.Snapshot(t, "/etc/profile.d", "/usr/local/bin", root))
	}
}

func TestForeignCommandsAreKeptAndBroughtBack(t *testing.T) {
	if !hosttest.Enter(t) {
		return
	}
	install(t, target, "go1.26.8")
	hosttest.Write(t, "/usr/local/bin/go", "theirs", 0o750)
	hosttest.Run(t, "chown", "nobody:games", "/usr/local/bin/go")
	hosttest.Write(t, "/usr/local/bin/go.unmanaged", "older", 0o644)
	hosttest.Run(t, "ln", "-s", "/opt/gofmt", "/usr/local/bin/gofmt")
	rec := newRecord(t)
	before := hosttest.Snapshot(t, "/usr/local/bin", "/etc/profile.d")
	r, steps, warnings := apply(t, newSpec(), target, rec)
	for _, st := range steps {
		if st.Drift {
			t.Errorf("%s is called drift", st.Name)
		}
	}
	if len(warnings) != 2 || !strings.Contains(warnings[0], "kept as /usr/local/bin/go.unmanaged.2") {
		t.Errorf("warnings %q", warnings)
	}
	if read(t, "/usr/local/bin/go.unmanaged.2") != "theirs" || rec.Kept["/usr/local/bin/go"] != "/usr/local/bin/go.unmanaged.2" {
		t.Errorf("kept: %v", rec.Kept)
	}
	if err := r.Undo(); err != nil {
		t.Fatal(err)
	}
	hosttest.Same(t, before, hosttest.Snapshot(t, "/usr/local/bin", "/etc/profile.d"))

	apply(t, newSpec(), target, rec)
	nothingToDo(t, newSpec(), target, rec)
	managed := hosttest.Snapshot(t, "/usr/local/bin", "/etc/profile.d")
	noted := encode(t, rec)
	steps, _, err := environ.PlanRemove(context.Background(), rec)
	if err != nil {
		t.Fatal(err)
	}
	r = run(t, steps)
	hosttest.Same(t, before, hosttest.Snapshot(t, "/usr/local/bin", "/etc/profile.d"))
	if len(rec.Files) != 0 || len(rec.Kept) != 0 {
		t.Errorf("record: %s", encode(t, rec))
	}
	if err := r.Undo(); err != nil {
		t.Fatal(err)
	}
	hosttest.Same(t, managed, hosttest.Snapshot(t, "/usr/local/bin", "/etc/profile.d"))
	if !strings.Contains(noted, "go.unmanaged.2") || rec.Kept["/usr/local/bin/go"] == "" {
		t.Errorf("record after undo: %s", encode(t, rec))
	}
}

func TestRemoveLeavesWhatOthersPutThere(t *testing.T) {
	if !hosttest.Enter(t) {
		return
	}
	install(t, target, "go1.26.8")
	rec := newRecord(t)
	apply(t, newSpec(), target, rec)
	hosttest.Run(t, "ln", "-sfn", "/opt/go", "/usr/local/bin/go")
	steps, warnings, err := environ.PlanRemove(context.Background(), rec)
	if err != nil {
		t.Fatal(err)
	}
	run(t, steps)
	if got, _ := os.Readlink("/usr/local/bin/go"); got != "/opt/go" || len(warnings) != 1 {
		t.Errorf("link %q, warnings %q", got, warnings)
	}
	for _, gone := range []string{profile, "/usr/local/bin/gofmt"} {
		if _, err := os.Lstat(gone); err == nil {
			t.Errorf("%s is still there", gone)
		}
	}
}

func TestAnotherLinkOrRelativeOne(t *testing.T) {
	if !hosttest.Enter(t) {
		return
	}
	install(t, target, "go1.26.8")
	rec := newRecord(t)
	apply(t, newSpec(), target, rec)
	moved := newSpec()
	moved.Link = "/opt/go"
	_, steps, warnings := apply(t, moved, target, rec)
	for _, st := range steps {
		if st.Drift {
			t.Errorf("%s is called drift", st.Name)
		}
	}
	if got, _ := os.Readlink("/usr/local/bin/go"); got != "/opt/go/bin/go" || len(warnings) != 0 || len(rec.Kept) != 0 {
		t.Errorf("link %q, warnings %q, kept %v", got, warnings, rec.Kept)
	}
	hosttest.Run(t, "ln", "-sfn", "../../../opt/go/bin/go", "/usr/local/bin/go")
	nothingToDo(t, moved, target, rec)
}

func TestRefusedBeforeAnythingChanges(t *testing.T) {
	if !hosttest.Enter(t) {
		return
	}
	install(t, target, "go1.26.8")
	for _, c := range []struct {
		harm, undo, says string
		change           func(*spec.Spec)
	}{
		{harm: "ln -s /etc/passwd " + profile, undo: "rm " + profile, says: profile + " is a link"},
		{harm: "mkdir " + profile, undo: "rmdir " + profile, says: profile + " is not a regular file"},
		{harm: "mkdir /usr/local/bin/go", undo: "rmdir /usr/local/bin/go", says: "/usr/local/bin/go is neither"},
		{harm: "mv " + target + "/go.env /srv/go.env; ln -s /srv/go.env " + target + "/go.env",
			undo: "mv /srv/go.env " + target + "/go.env", says: "go.env is a link"},
		{change: func(s *spec.Spec) { s.Link = "/opt/a:b" }, says: "cannot stand in PATH"},
		{change: func(s *spec.Spec) { s.Env = map[string]string{"GOROOT": "/x"} }, says: "gofleet_env cannot set \"GOROOT\""},
		{change: func(s *spec.Spec) { s.Environment = map[string]string{"A": "x\ny"} }, says: "more than one line"},
		{change: func(s *spec.Spec) { s.Environment = map[string]string{"A;id": "x"} }, says: "cannot set"},
	} {
		if c.harm != "" {
			hosttest.Run(t, "sh", "-ec", c.harm)
		}
		s := newSpec()
		if c.change != nil {
			c.change(s)
		}
		before := hosttest.Snapshot(t, "/etc", "/usr/local/bin", root)
		steps, _, err := environ.Plan(context.Background(), s, target, newRecord(t))
		var e *wire.Error
		if !errors.As(err, &e) || e.Kind != wire.KindEnvironment || !strings.Contains(e.Message, c.says) || e.Hint == "" {
			t.Errorf("%s: %q, %v; want it refused with %q and a hint", c.harm, names(steps), err, c.says)
		}
		hosttest.Same(t, before, hosttest.Snapshot(t, "/etc", "/usr/local/bin", root))
		if c.undo != "" {
			hosttest.Run(t, "sh", "-ec", c.undo)
		}
	}
}

// The plan of a toolchain that isn't there yet, as check mode makes it.
func TestPlanBeforeInstall(t *testing.T) {
	if !hosttest.Enter(t) {
		return
	}
	steps, _, err := environ.Plan(context.Background(), newSpec(), target, newRecord(t))
	if want := []string{"write " + profile, "link /usr/local/bin/go", "link /usr/local/bin/gofmt"}; err != nil || !slices.Equal(names(steps), want) {
		t.Errorf("steps %q, %v", names(steps), err)
	}
	for _, s := range steps {
		if s.Diff == "" {
			t.Errorf("%s has no diff", s.Name)
		}
	}
}

func TestSecretsAreNotShown(t *testing.T) {
	if !hosttest.Enter(t) {
		return
	}
	install(t, target, "go1.26.8")
	rec := newRecord(t)
	s := newSpec()
	s.Env = map[string]string{"GOPROXY": "https://u:hunter2@mirror.example"}
	s.Environment = map[string]string{"API_TOKEN": "hunter2", "URL": "http://u:hunter2@x/"}
	for _, token := range []string{"hunter2", "hunter2b"} {
		s.Environment["API_TOKEN"] = token
		_, steps, _ := apply(t, s, target, rec)
		if len(steps) == 0 {
			t.Error("no steps")
		}
		for _, st := range steps {
			if strings.Contains(st.Diff, "hunter2") || st.Diff == "" {
				t.Errorf("%s shows %q", st.Name, st.Diff)
			}
		}
	}
}
