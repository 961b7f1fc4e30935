package durable

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestSweep(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{".gofleet-123", ".gofleet-", ".gofleet-12x", "gofleet-123", "other"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, ".gofleet-77"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("nowhere", filepath.Join(dir, ".gofleet-77", "link")); err != nil {
		t.Fatal(err)
	}
	want := []string{".gofleet-", ".gofleet-12x", "gofleet-123", "other"}
	if os.Geteuid() == 0 {
		theirs := filepath.Join(dir, ".gofleet-99")
		if err := os.WriteFile(theirs, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Lchown(theirs, 12345, 12345); err != nil {
			t.Fatal(err)
		}
		want = append(want, ".gofleet-99")
	}
	if err := Sweep(dir); err != nil {
		t.Fatal(err)
	}
	if got := names(t, dir); !slices.Equal(got, slices.Sorted(slices.Values(want))) {
		t.Errorf("left are %q, want %q", got, want)
	}
	if err := Sweep(filepath.Join(dir, "absent")); err != nil {
		t.Error(err)
	}
}

func TestSymlinkLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "link")
	for _, target := range []string{"one", "two"} {
		if err := Symlink(target, path); err != nil {
			t.Fatal(err)
		}
		if got, err := os.Readlink(path); err != nil || got != target {
			t.Errorf("link leads to %q, %v", got, err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "full"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := Symlink("three", filepath.Join(dir, "full")); err == nil {
		t.Error("a directory was replaced")
	}
	if got := names(t, dir); !slices.Equal(got, []string{"full", "link"}) {
		t.Errorf("left are %q", got)
	}
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}
