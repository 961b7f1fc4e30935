package toolchain

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gofleet/gofleet/agent/internal/change"
	"github.com/gofleet/gofleet/agent/wire"
)

func TestNewLayout(t *testing.T) {
	l, err := NewLayout("/usr/local/lib/gofleet/", "/usr/local/go", 0)
	if err != nil || l.Dir("1.26.8") != "/usr/local/lib/gofleet/go1.26.8" || l.User {
		t.Errorf("%+v, %v", l, err)
	}
	if got := target(l.Link, l.Dir("1.26.8")); got != "lib/gofleet/go1.26.8" {
		t.Errorf("target is %q", got)
	}
	if got := target("/opt/go", l.Dir("1.26.8")); got != "/usr/local/lib/gofleet/go1.26.8" {
		t.Errorf("target elsewhere is %q", got)
	}
	if l, err := NewLayout("/home/u/gofleet", "/usr/local/go", 1000); err != nil || l.Link != "/home/u/gofleet/go" || l.LockPath() != "/home/u/gofleet/.lock" {
		t.Errorf("ordinary user: %+v, %v", l, err)
	}
	for _, bad := range [][2]string{
		{"relative", "/usr/local/go"}, {"/", "/go"}, {"/usr/local/go/x", "/usr/local/go"}, {"/a", "/a"},
		{"/usr/local/lib/gofleet", "/usr/local/lib/gofleet/go1.26.8"}, {"/a", "/"}, {"/a", "go"},
	} {
		if _, err := NewLayout(bad[0], bad[1], 0); kindOf(err) != wire.KindLink {
			t.Errorf("%v: %v", bad, err)
		}
	}
}

// What root believes and removes is nobody else's to put there.
func TestCheckOwners(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to give directories away")
	}
	base := t.TempDir()
	dir := func(name string, uid, gid int, mode uint32) string {
		path := filepath.Join(base, name)
		if err := errors.Join(os.MkdirAll(path, 0o755), os.Chown(path, uid, gid), unix.Chmod(path, mode)); err != nil {
			t.Fatal(err)
		}
		return path
	}
	ours, theirs := dir("ours", 0, 0, 0o755), dir("theirs", 4242, 0, 0o755)
	within, open := dir("theirs/roots", 0, 0, 0o755), dir("open", 0, 0, 0o777)
	groups, sticky := dir("groups", 0, 4242, 0o775), dir("sticky", 0, 0, 0o1777)
	filled := dir("sticky/filled", 4242, 0, 0o755)
	leads := filepath.Join(ours, "link")
	if err := os.Symlink(theirs, leads); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		root, link string
		bad        string
	}{
		{ours + "/gofleet", ours + "/go", ""},
		{sticky + "/gofleet", sticky + "/go", ""},
		{theirs + "/gofleet", ours + "/go", "gofleet_root"},
		{ours + "/gofleet", theirs + "/go", "gofleet_link"},
		{within + "/gofleet", ours + "/go", "gofleet_root"},
		{filled, ours + "/go", "gofleet_root"},
		{open + "/gofleet", ours + "/go", "gofleet_root"},
		{groups + "/gofleet", ours + "/go", "gofleet_root"},
		{leads + "/gofleet", ours + "/go", "gofleet_root"},
	} {
		l := Layout{Root: c.root, Link: c.link}
		err := l.CheckOwners()
		if (err == nil) != (c.bad == "") || err != nil && (kindOf(err) != wire.KindLink || !strings.HasPrefix(err.Error(), c.bad)) {
			t.Errorf("root %s, link %s: %v", c.root, c.link, err)
		}
		l.User = true
		if err := l.CheckOwners(); err != nil {
			t.Errorf("ordinary user's root %s: %v", c.root, err)
		}
	}
}

func TestUnmanagedDirectoryIsKeptAndPutBack(t *testing.T) {
	for name, noExchange := range map[string]bool{"exchange": false, "renames": true} {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			s := newStore(t)
			s.noExchange = noExchange
			unmanaged(t, s)
			before := listing(t, s.Link)
			a := pack(t, "1.1", smallTree("1.1"))
			if err := install(ctx, s, a, Hooks{}); err != nil {
				t.Fatal(err)
			}
			st, err := s.Inspect(ctx, "1.1", false)
			if err != nil || st.Link.Kind != LinkUnmanaged || st.Before != "1.0" {
				t.Fatalf("%+v, %v", st, err)
			}
			rec := mustLoad(t, s)
			steps, err := s.PlanSwitch(st, "1.1", rec)
			if err != nil || len(steps) != 1 || !strings.Contains(steps[0].Diff, "directory, which is kept") {
				t.Fatalf("%v, %v", steps, err)
			}
			r := change.NewRecorder(false, true)
			if err := r.Run(ctx, steps...); err != nil {
				t.Fatal(err)
			}
			wantVersion(t, s, "1.1")
			wantClean(t, s)
			if st, err = s.Inspect(ctx, "1.1", false); err != nil || len(st.Unmanaged) != 1 || !strings.HasPrefix(st.Previous, "go.unmanaged-1.0-") {
				t.Fatalf("%+v, %v", st, err)
			}
			kept := filepath.Join(s.Root, st.Unmanaged[0])
			if rec.Kept[s.Link] != kept || !slices.Equal(listing(t, kept), before) {
				t.Errorf("kept %q", rec.Kept)
			}

			rb, err := s.PlanRollback(st, "", rec)
			if err != nil || rb.Managed || rb.Version != "1.0" || len(rb.Steps) != 1 {
				t.Fatalf("%+v, %v", rb, err)
			}
			if err := rb.Steps[0].Do(ctx); err != nil {
				t.Fatal(err)
			}
			wantVersion(t, s, "1.0")
			if st, err := s.Inspect(ctx, "", false); err != nil || st.Link.Kind != LinkKept || st.Before != "1.0" || st.Previous != "" {
				t.Errorf("%+v, %v", st, err)
			}
			if err := rb.Steps[0].Undo(); err != nil {
				t.Fatal(err)
			}
			wantVersion(t, s, "1.1")

			if err := r.Undo(); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(listing(t, s.Link), before) || rec.Kept[s.Link] != "" || rec.Files[s.Link] != "" {
				t.Errorf("after taking back: %v, %v", listing(t, s.Root), rec)
			}
		})
	}
}

func TestForeignLinkIsRememberedAndPutBack(t *testing.T) {
	ctx := t.Context()
	s := newStore(t)
	other := filepath.Join(filepath.Dir(s.Link), "opt/go-by-hand")
	for path, body := range smallTree("1.0") {
		writeFile(t, filepath.Join(other, path), body)
	}
	if err := os.Symlink("opt/go-by-hand", s.Link); err != nil {
		t.Fatal(err)
	}
	if st, err := s.Inspect(ctx, "", false); err != nil || st.Link.Kind != LinkForeign || st.Before != "1.0" || st.Link.Dir != other {
		t.Fatalf("%+v, %v", st, err)
	}
	mustApply(t, s, pack(t, "1.1", smallTree("1.1")))
	wantVersion(t, s, "1.1")
	st, err := s.Inspect(ctx, "1.1", false)
	if err != nil || st.Previous != other {
		t.Fatalf("%+v, %v", st, err)
	}
	rb, err := s.PlanRollback(st, "", mustLoad(t, s))
	if err != nil || rb.Dir != other || rb.Managed {
		t.Fatalf("%+v, %v", rb, err)
	}
	removeAll(t, s, st)
	wantVersion(t, s, "1.0")
	if to, _ := os.Readlink(s.Link); to != "opt/go-by-hand" {
		t.Errorf("link put back as %q", to)
	}
}

func TestChangedLinkIsDrift(t *testing.T) {
	s := newStore(t)
	a, b := pack(t, "1.1", smallTree("1.1")), pack(t, "1.2", smallTree("1.2"))
	mustApply(t, s, a)
	st, err := s.Inspect(t.Context(), "1.2", false)
	if err != nil {
		t.Fatal(err)
	}
	if steps, err := s.PlanSwitch(st, "1.2", mustLoad(t, s)); err != nil || len(steps) != 1 || steps[0].Drift {
		t.Errorf("an upgrade is no drift: %v, %v", steps, err)
	}
	mustApply(t, s, b)
	if err := os.Remove(s.Link); err != nil {
		t.Fatal(err)
	}
	if st, err = s.Inspect(t.Context(), "1.2", false); err != nil {
		t.Fatal(err)
	}
	steps, err := s.PlanSwitch(st, "1.2", mustLoad(t, s))
	if err != nil || len(steps) != 1 || !steps[0].Drift || steps[0].Path != s.Link {
		t.Errorf("a removed link is drift: %v, %v", steps, err)
	}
}

func TestLinkThatCannotBe(t *testing.T) {
	t.Run("file", func(t *testing.T) {
		s := newStore(t)
		writeFile(t, s.Link, "a file")
		wantRefused(t, s, LinkFile)
	})
	t.Run("mount point", func(t *testing.T) {
		asRoot(t)
		s := newStore(t)
		mustMkdir(t, s.Link)
		mountTmpfs(t, s.Link, "1m")
		wantRefused(t, s, LinkMount)
	})
	t.Run("mount below", func(t *testing.T) {
		asRoot(t)
		s := newStore(t)
		mustMkdir(t, filepath.Join(s.Link, "pkg mod"))
		mountTmpfs(t, filepath.Join(s.Link, "pkg mod"), "1m")
		wantRefused(t, s, LinkUnmanaged)
	})
}

// wantRefused checks that planning and switching both refuse, and that the
// link stays as it is.
func wantRefused(t *testing.T, s *Store, kind LinkKind) {
	t.Helper()
	if err := install(t.Context(), s, pack(t, "1.1", smallTree("1.1")), Hooks{}); err != nil {
		t.Fatal(err)
	}
	st, err := s.Inspect(t.Context(), "1.1", false)
	if err != nil || st.Link.Kind != kind {
		t.Fatalf("%+v, %v", st, err)
	}
	before, err := os.Lstat(s.Link)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.PlanSwitch(st, "1.1", mustLoad(t, s)); kindOf(err) != wire.KindLink {
		t.Errorf("plan: %v", err)
	}
	if err := s.Switch(t.Context(), "1.1", mustLoad(t, s)); kindOf(err) != wire.KindLink {
		t.Errorf("switch: %v", err)
	}
	if after, err := os.Lstat(s.Link); err != nil || !os.SameFile(before, after) {
		t.Errorf("the link's place was touched: %v", err)
	}
}

// TestRunningToolchainStays starts a program from an old toolchain.
func TestRunningToolchainStays(t *testing.T) {
	s := newStore(t)
	files := smallTree("1.1")
	sleep, err := os.ReadFile("/bin/sleep")
	if err != nil {
		t.Fatal(err)
	}
	files["bin/sleep"] = string(sleep)
	mustApply(t, s, pack(t, "1.1", files))
	cmd := exec.Command(filepath.Join(s.Dir("1.1"), "bin/sleep"), "600")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	for _, v := range []string{"1.2", "1.3", "1.4"} {
		mustApply(t, s, pack(t, v, smallTree(v))) // keeps one older
	}
	st, err := s.Inspect(t.Context(), "1.4", false)
	if err != nil || st.find("1.1") == nil || st.find("1.2") != nil {
		t.Fatalf("%+v, %v", st.Toolchains, err)
	}
	if steps, warnings := s.PlanPrune(st, "1.4", 0); len(steps) != 0 || len(warnings) != 1 || !strings.Contains(warnings[0], "in use by process") {
		t.Errorf("prune: %v, %v", steps, warnings)
	}
	if _, err := s.PlanRemove(st, "1.1"); kindOf(err) != wire.KindInUse {
		t.Errorf("remove: %v", err)
	}
}
