package release

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"golang.org/x/mod/module"
)

func (n *fakeNet) copyLog(t testing.TB, cache string, modules ...module.Version) fstest.MapFS {
	t.Helper()
	c, err := CopyLog(t.Context(), FetchOptions{CacheDir: cache, Proxy: n.URL + "/proxy", SumDB: n.log.key, SumDBURL: n.URL + "/nowhere", To: t.TempDir()}, modules)
	must(t, err)
	if c.Name != "log.example.org" || len(c.Unknown) > 0 {
		t.Fatalf("%s, unknown %v", c.Name, c.Unknown)
	}
	fsys := fstest.MapFS{}
	for name, data := range c.Files {
		fsys[name] = &fstest.MapFile{Data: data}
	}
	return fsys
}

func someModules(n int) (list []module.Version) {
	for i := range n {
		list = append(list, module.Version{Path: fmt.Sprintf("example.org/Mod%d", i), Version: "v1.0.0"})
	}
	return list
}

func newCacheDir(t testing.TB) string { return filepath.Join(t.TempDir(), "cache") }

func TestCopiedLog(t *testing.T) {
	n := newNet(t)
	n.log.grow(t, 300, "before")
	fsys := n.copyLog(t, newCacheDir(t), someModules(40)...)
	log, err := OpenLog(fsys, n.log.key, newCacheDir(t), false)
	must(t, err)
	if log.Size < 340 || len(log.Lines) != 80 || log.Notes != "" || !strings.HasPrefix(log.Lines["example.org/Mod7 v1.0.0/go.mod"], "h1:") {
		t.Errorf("%d records, %d lines, %q", log.Size, len(log.Lines), log.Notes)
	}
	for name, file := range fsys {
		if len(file.Data) == 0 {
			continue // supported
		}
		good := file.Data
		for _, at := range []int{0, len(good) / 2, len(good) - 2} {
			bad := append([]byte(nil), good...)
			bad[at] ^= 1
			fsys[name] = &fstest.MapFile{Data: bad}
			var wrong *LogError
			if _, err := OpenLog(fsys, n.log.key, newCacheDir(t), false); !errors.As(err, &wrong) {
				t.Errorf("%s changed at %d: %v", name, at, err)
			} else if strings.HasPrefix(name, "lookup/") && wrong.File != name {
				t.Errorf("%s changed at %d is said to be %s", name, at, wrong.File)
			} else if strings.HasPrefix(name, "tile/") != strings.HasPrefix(wrong.File, "tile/") {
				t.Errorf("%s changed at %d is said to be %s", name, at, wrong.File)
			}
		}
		fsys[name] = &fstest.MapFile{Data: good}
	}
	if _, err := OpenLog(fsys, newLog(t).key, newCacheDir(t), false); err == nil {
		t.Error("a log by another key is taken")
	}
}

// A bundle's log must go with the one that the same user saw before.
func TestForkedAndRolledBackLogs(t *testing.T) {
	n := newNet(t)
	maker := newCacheDir(t)
	n.log.grow(t, 10, "early")
	old := n.copyLog(t, maker, someModules(3)...)
	n.log.grow(t, 700, "more")
	grown := n.copyLog(t, maker, someModules(5)...)

	user := newCacheDir(t)
	for _, fsys := range []fstest.MapFS{old, grown, old, grown} { // an older one that was seen may be seen again
		log, err := OpenLog(fsys, n.log.key, user, false)
		must(t, err)
		if log.Notes != "" {
			t.Error(log.Notes)
		}
	}

	n.log.grow(t, 300, "more still")
	third := n.copyLog(t, maker, someModules(6)...)
	skipped := newCacheDir(t) // who never saw the second can go on too
	for _, fsys := range []fstest.MapFS{old, third} {
		log, err := OpenLog(fsys, n.log.key, skipped, false)
		must(t, err)
		if log.Notes != "" {
			t.Error(log.Notes)
		}
	}

	late := newCacheDir(t)
	_, err := OpenLog(grown, n.log.key, late, false)
	must(t, err)
	var wrong *LogError
	if _, err := OpenLog(old, n.log.key, late, false); !errors.As(err, &wrong) || !wrong.Older || !strings.Contains(err.Error(), "rolled back") {
		t.Errorf("rolled back: %v", err)
	}
	_, err = OpenLog(old, n.log.key, late, true)
	must(t, err)

	n.log.start() // another history under the same key
	n.log.grow(t, 20, "other")
	forked := n.copyLog(t, newCacheDir(t), someModules(3)...)
	first := newCacheDir(t)
	_, err = OpenLog(old, n.log.key, first, false)
	must(t, err)
	if _, err := OpenLog(forked, n.log.key, first, false); !errors.As(err, &wrong) || !strings.Contains(err.Error(), "forked") {
		t.Errorf("forked: %v", err)
	}
	o := FetchOptions{CacheDir: maker, Proxy: n.URL + "/proxy", SumDB: n.log.key, SumDBURL: n.URL + "/nowhere", To: t.TempDir()}
	if _, err := CopyLog(t.Context(), o, someModules(3)); err == nil {
		t.Error("the maker of earlier bundles does not see the fork")
	}
}

// What the log says of an official archive is fetched for it.
func TestProve(t *testing.T) {
	n, dir := newNet(t), t.TempDir()
	fake := newFake("1.26.8", amd64)
	n.release(t, fake)
	file := fake.official(t, dir)
	o := FetchOptions{CacheDir: newCacheDir(t), Proxy: n.URL + "/proxy", SumDB: n.log.key, SumDBURL: n.URL + "/nowhere", Table: Table{}}
	must(t, Prove(t.Context(), file, o))
	v, err := Verify(t.Context(), file, Options{CacheDir: newCacheDir(t), Table: Table{}, SumDB: n.log.key})
	must(t, err)
	if !v.Verdict.Accepted || v.Verdict.By != SumDB {
		t.Errorf("%v", v)
	}

	other := newFake("1.26.9", amd64)
	n.release(t, other)
	other.files["src/runtime/rt0.go"] = "package changed\n"
	file = other.official(t, dir)
	if err := Prove(t.Context(), file, o); !isRefused(err) {
		t.Errorf("an archive that the log does not know: %v", err)
	}
	if err := Prove(t.Context(), newFake("1.20.3", amd64).official(t, dir), o); !errors.Is(err, ErrNoModule) {
		t.Errorf("an old one: %v", err)
	}
}
