package toolchain

import (
	"crypto/sha256"
	"os"
	"path/filepath"
	"testing"

	"github.com/gofleet/gofleet/agent/tree"
	"github.com/gofleet/gofleet/agent/wire"
)

// TestAside: what an earlier run brought is used if it is still what it was,
// to the last byte.
func TestAside(t *testing.T) {
	s := newStore(t)
	file := func(name, content string) tree.Entry {
		return tree.Entry{Path: name, Mode: 0o644, Size: int64(len(content)), SHA256: sha256.Sum256([]byte(content))}
	}
	m := tree.Manifest{{Path: "d", Dir: true, Mode: 0o755}, file("d/a.deb", "aaaa"), file("d/b.deb", "bbbb")}
	find := func(want string) {
		t.Helper()
		got, err := s.Aside(t.Context(), wire.PartPackages, m, func(path string) bool { return path == "d/a.deb" })
		if err != nil || got != want {
			t.Errorf("found %q, %v; want %q", got, err, want)
		}
	}
	find("")
	dir := s.FilesLink(wire.PartPackages) + "-new"
	if err := os.MkdirAll(filepath.Join(dir, "d"), 0o755); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "d/a.deb")
	write := func(content string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("aaaa")
	find(dir) // b.deb is not wanted
	write("aaab")
	find("")
	write("aaaa")
	if err := os.Rename(path, path+"x"); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(path+"x", path); err != nil {
		t.Fatal(err)
	}
	find("")
	if err := s.SweepFiles(t.Context(), wire.PartPackages); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("swept, and %s is there: %v", dir, err)
	}
}
