// Package durable writes small files so that a crash leaves the old content
// or the new one, never a mixture, and what was written stays written.
package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// WriteFile replaces path by content with exactly mode, in one rename, both
// the file and its directory fsynced. A link at path is replaced, not followed.
func WriteFile(path string, content []byte, mode fs.FileMode) error {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, ".gofleet-*")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	_, err = f.Write(content)
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
		return fmt.Errorf("write %s: %w", path, err)
	}
	return SyncDir(dir)
}

// Symlink makes path a link to target in one rename, replacing a file or link
// that is there, and fsyncs the directory.
func Symlink(target, path string) error {
	dir := filepath.Dir(path)
	tmp, err := os.MkdirTemp(dir, ".gofleet-*")
	if err != nil {
		return fmt.Errorf("link %s: %w", path, err)
	}
	link := filepath.Join(tmp, "link")
	err = os.Symlink(target, link)
	if err == nil {
		if err = os.Rename(link, path); err != nil {
			os.Remove(link)
		}
	}
	// Before the directory is synced, so that it does not come back.
	if rerr := os.Remove(tmp); err == nil {
		err = rerr
	}
	if err != nil {
		return fmt.Errorf("link %s: %w", path, err)
	}
	return SyncDir(dir)
}

// Sweep removes from dir what a cut WriteFile or Symlink of this process's
// user has left. A directory that is not there is no error.
func Sweep(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("sweep: %w", err)
	}
	for _, e := range entries {
		digits, ok := strings.CutPrefix(e.Name(), ".gofleet-")
		if !ok || digits == "" || strings.Trim(digits, "0123456789") != "" {
			continue
		}
		var st unix.Stat_t
		path := filepath.Join(dir, e.Name())
		if unix.Lstat(path, &st) != nil || int(st.Uid) != os.Geteuid() {
			continue // gone meanwhile, or somebody else's
		}
		if err := os.RemoveAll(path); err != nil {
			return fmt.Errorf("sweep: %w", err)
		}
	}
	return nil
}

// Remove removes path and fsyncs its directory. What is not there is no error.
func Remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove: %w", err)
	}
	return SyncDir(filepath.Dir(path))
}

// SyncDir makes renames and removals in dir durable.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync directory: %w", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("sync directory %s: %w", dir, err)
	}
	return nil
}
