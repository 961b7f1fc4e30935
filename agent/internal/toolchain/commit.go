package toolchain

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gofleet/gofleet/agent/internal/durable"
	"github.com/gofleet/gofleet/agent/tree"
)

// Hooks are what others do to a toolchain before it counts as installed.
type Hooks struct {
	// Prepare writes what belongs into a GOROOT beside the archive's content:
	// go.env. It runs before anything is synced.
	Prepare func(dir string) error
	// Verify proves that the toolchain in dir works. It runs in the versioned
	// directory; for a repair of the current toolchain, which must not be
	// replaced by something that doesn't work, in staging.
	Verify func(ctx context.Context, dir string) error
}

// Commit moves a staged tree to its versioned directory and writes its
// manifest; then it is installed, and survives a crash. The directory of a
// toolchain that the link leads to is exchanged in one step, so that the link
// never leads to nothing. What Verify refuses is removed again. The staging
// directory is gone afterwards in any case.
func (s *Store) Commit(ctx context.Context, st *Staged, hooks Hooks) error {
	err := s.commit(ctx, st, hooks)
	if derr := st.Discard(); err == nil {
		err = derr
	}
	return hostError(err)
}

func (s *Store) commit(ctx context.Context, st *Staged, hooks Hooks) error {
	link, err := s.inspectLink()
	if err != nil {
		return err
	}
	if hooks.Prepare != nil {
		if err := hooks.Prepare(st.Dir); err != nil {
			return err
		}
	}
	if err := os.Chmod(st.Dir, 0o755); err != nil {
		return fmt.Errorf("open the staged tree to all: %w", err)
	}
	s.fault("commit.prepared")
	if err := ctx.Err(); err != nil {
		return stopped(context.Cause(ctx))
	}
	dir := s.Dir(st.Release.Version)
	m := s.newManifest(st, link)
	if link.Kind == LinkManaged && link.Dir == dir {
		return s.replaceCurrent(ctx, st, m, hooks)
	}
	err = s.install(st, m)
	if err == nil && hooks.Verify != nil {
		err = hooks.Verify(ctx, dir)
	}
	if err != nil {
		return errors.Join(err, s.remove(m.Version))
	}
	return nil
}

// install makes a new versioned directory. One that is there is not in use by
// the link: it is altered, and makes room.
func (s *Store) install(st *Staged, m *Manifest) error {
	dir := s.Dir(m.Version)
	if err := s.remove(m.Version); err != nil {
		return err
	}
	if err := os.Rename(st.Dir, dir); err != nil {
		return fmt.Errorf("move the staged tree: %w", err)
	}
	s.fault("commit.renamed")
	// One syncfs for 15,000 files and the rename; only then the manifest, which
	// says that everything is there.
	if err := syncAll(s.Root); err != nil {
		return err
	}
	s.fault("commit.synced")
	if err := s.writeManifest(m); err != nil {
		return err
	}
	s.fault("commit.recorded")
	return nil
}

// replaceCurrent repairs the toolchain that the link leads to.
func (s *Store) replaceCurrent(ctx context.Context, st *Staged, m *Manifest, hooks Hooks) error {
	dir := s.Dir(m.Version)
	if hooks.Verify != nil {
		if err := hooks.Verify(ctx, st.Dir); err != nil {
			return err
		}
	}
	if err := syncAll(s.Root); err != nil {
		return err
	}
	s.fault("repair.synced")
	err := s.exchange(st.Dir, dir)
	if cannotExchange(err) {
		err = s.mend(ctx, st, *m)
	}
	if err != nil {
		return fmt.Errorf("repair %s: %w", dir, err)
	}
	s.fault("repair.exchanged")
	if err := durable.SyncDir(s.Root); err != nil {
		return err
	}
	if err := s.writeManifest(m); err != nil {
		return err
	}
	s.fault("repair.recorded")
	return nil
}

// mend repairs the versioned directory file by file, where the filesystem can
// exchange no directories (an overlay's lower layer, old kernels). Each file
// is replaced by one rename, so every file is at every instant what it was or
// what it should be. The manifest says so meanwhile, so that after a crash the
// next run mends again.
func (s *Store) mend(ctx context.Context, st *Staged, m Manifest) error {
	m.Mending = true
	if err := s.writeManifest(&m); err != nil {
		return err
	}
	dir := s.Dir(st.Release.Version)
	buf := make([]byte, 128<<10)
	for i := range st.tree {
		if i == len(st.tree)/2 {
			s.fault("mend.half")
		}
		e := &st.tree[i]
		from, to := filepath.Join(st.Dir, e.Path), filepath.Join(dir, e.Path)
		var err error
		if e.Dir {
			err = mendDir(to)
		} else {
			err = mendFile(ctx, from, to, e, buf)
		}
		if err != nil {
			return err
		}
	}
	extra, err := extraPaths(ctx, dir, st.tree)
	if err != nil {
		return err
	}
	for _, path := range extra {
		if err := os.RemoveAll(filepath.Join(dir, path)); err != nil {
			return err
		}
	}
	return syncAll(s.Root)
}

func mendDir(path string) error {
	if st, err := os.Lstat(path); err == nil && !st.IsDir() {
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	return makeDir(path, 0o755)
}

func mendFile(ctx context.Context, from, to string, e *tree.Entry, buf []byte) error {
	same, err := likeEntry(to, e)
	switch {
	case err != nil:
		return err
	case e.Path == goEnv:
		same, err = equalFiles(from, to)
	case same:
		same, err = sameContent(ctx, to, e, buf)
	}
	if err != nil || same {
		return err
	}
	if st, err := os.Lstat(to); err == nil && st.IsDir() {
		if err := os.RemoveAll(to); err != nil {
			return err
		}
	}
	return os.Rename(from, to)
}

// equalFiles compares two small files; one that isn't there equals none.
func equalFiles(a, b string) (bool, error) {
	x, err := os.ReadFile(a)
	if err != nil {
		return false, err
	}
	if st, err := os.Lstat(b); err != nil || !st.Mode().IsRegular() || st.Size() != int64(len(x)) {
		return false, nil
	}
	y, err := os.ReadFile(b)
	return err == nil && bytes.Equal(x, y), err
}

func (s *Store) newManifest(st *Staged, link Link) *Manifest {
	r := st.Release
	m := &Manifest{text: st.tree.Encode(), Header: Header{
		Format: Format, Version: r.Version, Platform: r.Platform, Archive: r.Name, SHA256: r.SHA256,
		Evidence: r.Evidence, Tree: r.Tree, DiskBytes: diskBytes(st.tree),
		Installed: time.Now().UTC().Truncate(time.Second), Gofleet: s.Gofleet, Previous: s.leadsTo(link),
	}}
	if link.Dir == s.Dir(r.Version) { // a repair changes nothing about what was before
		m.Previous = ""
		if old, err := s.readManifest(r.Version); err == nil {
			m.Previous = old.Previous
		}
	}
	return m
}

// leadsTo is a link in the form of Header.Previous.
func (s *Store) leadsTo(l Link) string {
	switch {
	case l.Dir == "" || l.Kind == LinkUnmanaged:
		return ""
	case filepath.Dir(l.Dir) == s.Root:
		return filepath.Base(l.Dir)
	}
	return l.Dir
}

// exchange swaps two names in one step.
func (s *Store) exchange(a, b string) error {
	if s.noExchange {
		return unix.EINVAL
	}
	err := unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE)
	if err != nil {
		return &os.LinkError{Op: "exchange", Old: a, New: b, Err: err}
	}
	return nil
}

// cannotExchange reports an error of exchange that stems from the filesystem:
// an overlay's lower layer, two filesystems, one without the operation, an old
// kernel.
func cannotExchange(err error) bool {
	for _, e := range []error{unix.EXDEV, unix.EINVAL, unix.ENOSYS, unix.ENOTSUP} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// syncAll writes out everything on the filesystem of dir. From Linux 5.8 it
// also tells of write errors.
func syncAll(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync: %w", err)
	}
	defer f.Close()
	if err := unix.Syncfs(int(f.Fd())); err != nil {
		return fmt.Errorf("sync the filesystem of %s: %w", dir, err)
	}
	return nil
}

// remove takes a versioned directory away: first its manifest, so that a crash
// leaves something that is known as a leftover, then its name, then its files.
func (s *Store) remove(version string) error {
	dir := s.Dir(version)
	if _, err := os.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err := durable.Remove(s.Manifest(version)); err != nil {
		return err
	}
	s.fault("remove.forgotten")
	trash := dir
	if err := makeDir(s.Staging(), 0o711); err != nil {
		return err
	}
	if tmp, err := os.MkdirTemp(s.Staging(), "removed-"); err == nil {
		if err := os.Rename(dir, filepath.Join(tmp, filepath.Base(dir))); err == nil {
			trash = tmp
		} else {
			os.Remove(tmp) // an overlay's lower layer: it can only be emptied
		}
	}
	s.fault("remove.moved")
	if err := os.RemoveAll(trash); err != nil {
		return fmt.Errorf("remove %s: %w", dir, err)
	}
	os.Remove(s.Staging()) // stays if another step still works in it
	return durable.SyncDir(s.Root)
}
