package bundle

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// workplace is the hidden directory beside a bundle in which it is made. One
// gofleet at a time has it; what a killed one left there, the next clears.
type workplace struct {
	final string   // the bundle's path
	dir   string   // its own
	lock  *os.File // on dir
}

// newWorkplace makes it, on the filesystem that the bundle will be on.
func newWorkplace(final string) (*workplace, error) {
	final, err := filepath.Abs(final)
	if err != nil {
		return nil, err
	}
	w := &workplace{final: final, dir: filepath.Join(filepath.Dir(final), "."+filepath.Base(final)+".new")}
	for w.lock == nil {
		if err := os.Mkdir(w.dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
		if err := w.take(); err != nil {
			return nil, err
		}
	}
	if err := w.restore(); err != nil {
		w.Close()
		return nil, err
	}
	return w, nil
}

// take locks the directory. It leaves it be where another gofleet has removed
// it meanwhile.
func (w *workplace) take() error {
	f, err := os.Open(w.dir)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	if err := lockDir(f); err != nil {
		f.Close()
		return fmt.Errorf("another gofleet is making %s: wait for its end", w.final)
	}
	mine, err := f.Stat()
	now, errNow := os.Lstat(w.dir)
	switch {
	case err == nil && errors.Is(errNow, fs.ErrNotExist):
		f.Close()
		return nil
	case err != nil || errNow != nil || !now.IsDir() || !os.SameFile(mine, now):
		f.Close()
		return fmt.Errorf("%s is in the way: take it away", w.dir)
	}
	w.lock = f
	return nil
}

// at is a path in it.
func (w *workplace) at(name string) string { return filepath.Join(w.dir, name) }

// What a workplace holds: the tree of a bundle that is a directory, and, while
// that is exchanged, the one that was there before.
const (
	newTree = "tree"
	oldTree = "old"
)

// restore clears up after a gofleet that was killed: between the two renames
// of an exchange there is the old bundle only.
func (w *workplace) restore() error {
	if _, err := os.Lstat(w.final); errors.Is(err, fs.ErrNotExist) {
		if err := os.Rename(w.at(oldTree), w.final); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	entries, err := os.ReadDir(w.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := os.RemoveAll(w.at(e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// exchange gives the tree its name; the one that was there goes.
func (w *workplace) exchange() error {
	if err := os.Rename(w.final, w.at(oldTree)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.Rename(w.at(newTree), w.final)
}

// Close removes what is still in it, and itself. A second Close does nothing: the
// next gofleet may have it by then.
func (w *workplace) Close() error {
	if w.lock == nil {
		return nil
	}
	err := errors.Join(os.RemoveAll(w.dir), w.lock.Close())
	w.lock = nil
	return err
}
