//go:build linux

package image

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestMain(m *testing.M) {
	Main()
	os.Exit(m.Run())
}

// TestRefused: whatever is not the root of another system is refused by what it
// is, before anything is mounted.
func TestRefused(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to enter images")
	}
	dir := t.TempDir()
	root, link, file := filepath.Join(dir, "root"), filepath.Join(dir, "link"), filepath.Join(dir, "file")
	bare := filepath.Join(dir, "bare")
	err := errors.Join(
		os.MkdirAll(filepath.Join(root, "etc"), 0o755), os.WriteFile(filepath.Join(root, "etc/os-release"), []byte("ID=x\n"), 0o644),
		os.Symlink(root, link), os.WriteFile(file, nil, 0o644), os.Mkdir(bare, 0o755),
	)
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"/": "is the root of this machine", link: "is a link to", file: "is not a directory",
		bare: "it has neither etc/os-release", filepath.Join(dir, "nothing"): "no such file", root: "it has no directory /proc",
	} {
		m, err := Open(path, true)
		var refused *Error
		if m != nil || !errors.As(err, &refused) || !strings.Contains(err.Error(), want) || refused.Hint == "" {
			t.Errorf("%s: %v; want %q and a hint", path, err, want)
		}
	}
	// A root without a program for this machine's architecture.
	for _, d := range []string{"proc", "dev", "run", "tmp", "bin"} {
		if err := os.Mkdir(filepath.Join(root, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	foreign := "\x7fELF\x02\x01\x01" + strings.Repeat("\x00", 9) + "\x02\x00\xf7\x00\x01\x00\x00\x00"
	if err := os.WriteFile(filepath.Join(root, "bin/sh"), []byte(foreign), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(root, true); err == nil || !strings.Contains(err.Error(), "for another architecture") {
		t.Errorf("a foreign image: %v", err)
	}
	for _, d := range []string{"proc", "dev", "run", "tmp"} {
		if left, err := os.ReadDir(filepath.Join(root, d)); err != nil || len(left) > 0 {
			t.Errorf("%s: %v %v", d, left, err)
		}
	}
}
