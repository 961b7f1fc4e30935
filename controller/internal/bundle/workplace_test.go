package bundle

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/mod/module"
)

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	var list []string
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

// What lies beside a bundle under a name like its own is somebody's.
func TestNeighboursStay(t *testing.T) {
	dir, key := t.TempDir(), newKey(t)
	neighbours := []string{"site.bundle.new", "site.new", "site.old"}
	for _, name := range neighbours {
		writeDir(t, filepath.Join(dir, name), key)
	}
	for range 2 {
		writeDir(t, filepath.Join(dir, "site"), key)
		writeFile(t, filepath.Join(dir, "site.bundle"), 0, key)
	}
	if got, want := names(t, dir), append([]string{"site", "site.bundle"}, neighbours...); !slices.Equal(got, want) {
		t.Errorf("there are %v, want %v", got, want)
	}
	for _, name := range names(t, dir) {
		b, err := Open(filepath.Join(dir, name), trusting(key))
		must(t, err)
		must(t, b.Check(t.Context(), CheckOptions{}))
		must(t, b.Close())
	}
}

func TestOneMakerAtATime(t *testing.T) {
	path := filepath.Join(t.TempDir(), "site.bundle")
	first, err := NewFileWriter(path, "0.1.0", 0)
	must(t, err)
	defer first.Close()
	if _, err := NewFileWriter(path, "0.1.0", 0); err == nil || !strings.Contains(err.Error(), "another gofleet is making "+path) {
		t.Errorf("the second one: %v", err)
	}
	first.Close()
	writeFile(t, path, 0, newKey(t))
	if got := names(t, filepath.Dir(path)); !slices.Equal(got, []string{"site.bundle"}) {
		t.Errorf("there are %v", got)
	}
}

// A gofleet that was killed between the two renames of a directory left the
// old bundle under no name of its own.
func TestKilledWhileExchanging(t *testing.T) {
	dir, key := t.TempDir(), newKey(t)
	site := filepath.Join(dir, "site")
	writeDir(t, site, key)
	left := filepath.Join(dir, ".site.new")
	must(t, os.MkdirAll(filepath.Join(left, newTree, "archives"), 0o755))
	must(t, os.Rename(site, filepath.Join(left, oldTree)))
	w, err := NewDirWriter(site, "0.1.0")
	must(t, err)
	w.Close() // the next one does not get far either
	if got := names(t, dir); !slices.Equal(got, []string{"site"}) {
		t.Fatalf("there are %v", got)
	}
	b, err := Open(site, trusting(key))
	must(t, err)
	must(t, b.Close())
}

// A writer that has ended has no hand in what the next one does.
func TestClosedTwice(t *testing.T) {
	site := filepath.Join(t.TempDir(), "site.bundle")
	first, err := NewFileWriter(site, "0.1.0", 0)
	must(t, err)
	first.Close()
	second, err := NewFileWriter(site, "0.1.0", 0)
	must(t, err)
	defer second.Close()
	first.Close()
	if _, err := os.Stat(filepath.Join(filepath.Dir(site), ".site.bundle.new")); err != nil {
		t.Error(err)
	}
}

func TestDirectoryBelowOnesThatAreNotThere(t *testing.T) {
	dir, key := t.TempDir(), newKey(t)
	site := filepath.Join(dir, "a", "b", "site")
	writeDir(t, site, key)
	b, err := Open(site, trusting(key))
	must(t, err)
	must(t, b.Close())
}

// Nothing is fetched for a bundle that cannot be written.
func TestOutputIsTriedFirst(t *testing.T) {
	_, err := Create(t.Context(), CreateOptions{Versions: []string{"1.26.8"}, Output: filepath.Join(t.TempDir(), "gone", "site.bundle")})
	if err == nil || !strings.Contains(err.Error(), "write bundle") {
		t.Errorf("it says %v", err)
	}
}

func TestForeignWorkplace(t *testing.T) {
	dir, precious := t.TempDir(), t.TempDir()
	must(t, os.WriteFile(filepath.Join(precious, "file"), nil, 0o644))
	must(t, os.Symlink(precious, filepath.Join(dir, ".site.bundle.new")))
	if _, err := NewFileWriter(filepath.Join(dir, "site.bundle"), "0.1.0", 0); err == nil || !strings.Contains(err.Error(), "is in the way") {
		t.Errorf("a link to elsewhere: %v", err)
	}
	if got := names(t, precious); len(got) != 1 {
		t.Error("what the link leads to was cleared")
	}
}

func TestDirectoryThatIsNone(t *testing.T) {
	if _, err := Open(t.TempDir(), Options{}); err == nil || !strings.Contains(err.Error(), "the directory is no bundle") {
		t.Errorf("an empty directory: %v", err)
	}
}

// What other projects left in the module cache does not come along.
func TestGraphTakesGoModOnly(t *testing.T) {
	dir := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(dir, "example.org/a/@v"), 0o755))
	for _, suffix := range []string{".mod", ".info", ".zip"} {
		must(t, os.WriteFile(filepath.Join(dir, "example.org/a/@v/v1.0.0"+suffix), nil, 0o644))
	}
	g := &gathered{files: map[string]string{}, mods: map[module.Version]bool{}, sums: map[string]string{}}
	must(t, g.graph([]byte("example.org/a v1.0.0/go.mod h1:x=\nexample.org/gone v1.0.0/go.mod h1:y=\n"), dir))
	if len(g.files) != 1 || g.files["example.org/a/@v/v1.0.0.mod"] == "" || len(g.mods) != 1 {
		t.Errorf("taken are %v", g.files)
	}
	must(t, g.infos([]byte("example.org/main \nexample.org/a v1.0.0\n../lib \n"), dir))
	if len(g.files) != 2 || g.files["example.org/a/@v/v1.0.0.info"] == "" {
		t.Errorf("with those that are selected: %v", g.files)
	}
}

// Nobody waits for who might write to a FIFO.
func TestFIFO(t *testing.T) {
	dir, key := t.TempDir(), newKey(t)
	whole := filepath.Join(dir, "whole")
	must(t, syscall.Mkfifo(whole, 0o600))
	parts := filepath.Join(dir, "parts")
	writeFile(t, parts, 100_000, key)
	for _, name := range []string{whole, parts + ".part001", parts + partsSuffix, parts + partsSuffix + ".minisig"} {
		os.Remove(name)
		must(t, syscall.Mkfifo(name, 0o600))
		if b, err := Open(name, trusting(key)); err == nil {
			b.Close()
			t.Errorf("%s is taken", name)
		}
	}
}
