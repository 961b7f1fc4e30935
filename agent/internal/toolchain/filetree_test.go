package toolchain

import (
	"bytes"
	"context"
	"crypto/sha256"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gofleet/gofleet/agent/internal/record"
	"github.com/gofleet/gofleet/agent/tree"
	"github.com/gofleet/gofleet/agent/wire"
)

// cacheOf is a module cache with these modules.
func cacheOf(modules ...string) map[string]string {
	files := map[string]string{"download/sumdb/sum.golang.org/supported": ""}
	for _, m := range modules {
		content := make([]byte, 20_000) // several chunks
		rand.NewChaCha8(sha256.Sum256([]byte(m))).Read(content)
		files["download/"+m+"/@v/list"] = "v1.0.0\n"
		files["download/"+m+"/@v/v1.0.0.mod"] = "module " + m + "\n"
		files["download/"+m+"/@v/v1.0.0.zip"] = string(content)
	}
	return files
}

// listed is how a controller lists and offers a cache.
func listed(files map[string]string) (tree.Manifest, archive) {
	var m tree.Manifest
	dirs := map[string]bool{".": true}
	for name, content := range files {
		m = append(m, tree.Entry{Path: name, Mode: 0o644, Size: int64(len(content)), SHA256: sha256.Sum256([]byte(content))})
		for d := path.Dir(name); !dirs[d]; d = path.Dir(d) {
			dirs[d] = true
			m = append(m, tree.Entry{Path: d, Dir: true, Mode: 0o755})
		}
	}
	m.Sort()
	a := archive{release: wire.Release{Name: "site.bundle", Evidence: "bundle: test"}}
	a.release.Tree.SHA256 = m.Sum()
	a.release.Tree.Files, a.release.Tree.Dirs, a.release.Tree.Bytes = m.Count()
	return m, a
}

// stageModules brings a cache into staging, and gives the paths that travelled.
func stageModules(ctx context.Context, t *testing.T, s *Store, files map[string]string) (*FileTree, *Staged, []string) {
	t.Helper()
	have := inspectModules(t, s, false)
	want, a := listed(files)
	if err := s.Make(); err != nil {
		t.Fatal(err)
	}
	g, err := s.GatherFiles(ctx, have, want)
	if err != nil {
		t.Fatal(err)
	}
	if len(g.Lacks()) == 0 {
		staged, err := g.Staged(a.release)
		if err != nil {
			t.Fatal(err)
		}
		return have, staged, nil
	}
	a, paths := difference(a, g, files)
	staged, err := stageFrom(ctx, s, a, g)
	if err != nil {
		t.Fatal(err)
	}
	return have, staged, paths
}

func applyModules(t *testing.T, s *Store, files map[string]string) []string {
	t.Helper()
	have, staged, paths := stageModules(t.Context(), t, s, files)
	dir, err := s.CommitFiles(have, staged)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.SwitchFiles(wire.PartModules, dir); err != nil {
		t.Fatal(err)
	}
	if err := s.SweepFiles(t.Context(), wire.PartModules); err != nil {
		t.Fatal(err)
	}
	return paths
}

func inspectModules(t *testing.T, s *Store, deep bool) *FileTree {
	t.Helper()
	m, err := s.InspectFiles(t.Context(), wire.PartModules, deep)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// wantModules wants the host to have this cache, whole, and nothing beside it.
func wantModules(t *testing.T, s *Store, files map[string]string) {
	t.Helper()
	_, a := listed(files)
	if m := inspectModules(t, s, true); !m.Has(a.release) || len(m.others) > 0 {
		t.Errorf("the host has %+v, drift %v, others %v", m.Header, m.Drift, m.others)
	}
	for name, content := range files {
		b, err := os.ReadFile(filepath.Join(s.FilesLink(wire.PartModules), FilesName, name))
		if err != nil || string(b) != content {
			t.Errorf("%s is not what was sent: %v", name, err)
		}
	}
	if _, err := os.Lstat(s.Staging()); err == nil {
		t.Error("something is left in staging")
	}
}

func TestModulesSendOnlyWhatIsLacking(t *testing.T) {
	s := newStore(t)
	one, two := cacheOf("a.example/x", "a.example/y"), cacheOf("a.example/y", "b.example/z")
	if sent := applyModules(t, s, one); len(sent) != len(one) {
		t.Errorf("to an empty host travelled %q", sent)
	}
	wantModules(t, s, one)
	kept := filepath.Join(s.FilesLink(wire.PartModules), FilesName, "download/a.example/y/@v/v1.0.0.zip")
	before, err := os.Stat(kept)
	if err != nil {
		t.Fatal(err)
	}
	sent := applyModules(t, s, two)
	if want := []string{"download/b.example/z/@v/v1.0.0.mod", "download/b.example/z/@v/v1.0.0.zip"}; !slices.Equal(sent, want) {
		t.Errorf("travelled %q, not %q", sent, want)
	}
	wantModules(t, s, two)
	if after, err := os.Stat(kept); err != nil || !os.SameFile(before, after) {
		t.Errorf("what both caches have is no longer one file: %v", err)
	}
	if sent := applyModules(t, s, cacheOf("a.example/y")); len(sent) > 0 {
		t.Errorf("for less than before travelled %q", sent)
	}
}

// TestModulesCut cuts an upload in its middle: the old cache stays in use, and
// the next run goes on where it was.
func TestModulesCut(t *testing.T) {
	s := newStore(t)
	one, two := cacheOf("a.example/x"), cacheOf("a.example/x", "b.example/y", "c.example/z")
	applyModules(t, s, one)
	want, offer := listed(two)
	begin := func() (*Upload, archive) {
		t.Helper()
		rec, err := record.Load(s.Root)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Sweep(true, rec); err != nil {
			t.Fatal(err)
		}
		g, err := s.GatherFiles(t.Context(), inspectModules(t, s, false), want)
		if err != nil {
			t.Fatal(err)
		}
		a, _ := difference(offer, g, two)
		u, err := s.Receive(t.Context(), a.release, a.transfer, g, os.Geteuid())
		if err != nil {
			t.Fatal(err)
		}
		return u, a
	}
	u, a := begin()
	half := int64(len(a.raw) / 2)
	if err := u.Append(bytes.NewReader(a.raw), half); err != nil {
		t.Fatal(err)
	}
	if err := u.Close(); err != nil {
		t.Fatal(err)
	}
	_, old := listed(one)
	if m := inspectModules(t, s, true); !m.Has(old.release) {
		t.Errorf("after the cut the host has %+v, drift %v", m.Header, m.Drift)
	}

	u, a = begin()
	defer u.Close()
	at := u.Need().Offset
	if at < half/2 || at > half {
		t.Errorf("goes on at %d of %d", at, half)
	}
	if err := u.Append(bytes.NewReader(a.raw[at:]), int64(len(a.raw))-at); err != nil {
		t.Fatal(err)
	}
	staged, err := u.Extract(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	// Cut again, before the switch: the next run takes what is there.
	dir, err := s.CommitFiles(inspectModules(t, s, false), staged)
	if err != nil {
		t.Fatal(err)
	}
	m := inspectModules(t, s, false)
	if !m.Has(old.release) {
		t.Error("before the switch the old cache is not in use")
	}
	if spare, err := s.Spare(t.Context(), m, offer.release); err != nil || spare != dir {
		t.Errorf("the cache that lies ready is %q, %v; not %q", spare, err, dir)
	}
	if err := s.SwitchFiles(wire.PartModules, dir); err != nil {
		t.Fatal(err)
	}
	if err := s.SweepFiles(t.Context(), wire.PartModules); err != nil {
		t.Fatal(err)
	}
	wantModules(t, s, two)
}

func TestModulesDrift(t *testing.T) {
	s := newStore(t)
	files := cacheOf("a.example/x", "b.example/y")
	applyModules(t, s, files)
	in := func(name string) string {
		return filepath.Join(s.FilesLink(wire.PartModules), FilesName, "download", name)
	}
	zip := in("a.example/x/@v/v1.0.0.zip")
	content := []byte(files["download/a.example/x/@v/v1.0.0.zip"])
	content[100] ^= 1
	if err := os.WriteFile(zip, content, 0o644); err != nil {
		t.Fatal(err)
	}
	if m := inspectModules(t, s, false); len(m.Drift) > 0 {
		t.Errorf("a quick look found %v", m.Drift)
	}
	if m := inspectModules(t, s, true); len(m.Drift) != 1 || !strings.HasSuffix(m.Drift[0].Path, "/x/@v/v1.0.0.zip") || m.Drift[0].How != howContent {
		t.Errorf("a deep look found %v", m.Drift)
	}
	if err := os.Remove(in("b.example/y/@v/v1.0.0.mod")); err != nil {
		t.Fatal(err)
	}
	m := inspectModules(t, s, true)
	want, _ := listed(files)
	if n, _ := m.Lacking(want); n != 2 {
		t.Errorf("%d files are lacking, not 2: %v", n, m.Drift)
	}
	if sent := applyModules(t, s, files); len(sent) != 2 {
		t.Errorf("for the repair travelled %q", sent)
	}
	wantModules(t, s, files)
}

// TestModulesRefused: other bytes than the list has, a whole archive, and
// something of somebody else's in the cache's place.
func TestModulesRefused(t *testing.T) {
	s := newStore(t)
	files := cacheOf("a.example/x")
	applyModules(t, s, files)
	bad := cacheOf("a.example/x", "b.example/y")
	want, a := listed(bad)
	g, err := s.GatherFiles(t.Context(), inspectModules(t, s, false), want)
	if err != nil {
		t.Fatal(err)
	}
	good, _ := difference(a, g, bad)
	zip := "download/b.example/y/@v/v1.0.0.zip"
	bad[zip] = strings.Replace(bad[zip], bad[zip][:1], "!", 1)
	a, _ = difference(a, g, bad)
	a.transfer.SHA256 = good.transfer.SHA256
	if _, err := stageFrom(t.Context(), s, a, g); kindOf(err) != wire.KindArchiveCorrupt {
		t.Errorf("other bytes: %v", err)
	}
	wantModules(t, s, files)

	whole := a.transfer
	whole.Difference = false
	if _, err := s.Receive(t.Context(), a.release, whole, nil, os.Geteuid()); kindOf(err) != wire.KindProtocol {
		t.Errorf("a whole archive: %v", err)
	}
	foreign := newStore(t)
	if err := os.MkdirAll(foreign.FilesLink(wire.PartModules), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := foreign.InspectFiles(t.Context(), wire.PartModules, false); kindOf(err) != wire.KindLink {
		t.Errorf("a directory in its place: %v", err)
	}
}
