package toolchain

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/gofleet/gofleet/agent/internal/durable"
	"github.com/gofleet/gofleet/agent/internal/record"
	"github.com/gofleet/gofleet/agent/wire"
)

// intent is what the agent is about to do to a real directory at gofleet_link
// where it can't be exchanged with a link in one step. It is on disk before
// the first change, so that the next run completes what a crash has cut.
type intent struct {
	Format int    `json:"format"`
	Phase  phase  `json:"phase"`
	Link   string `json:"link"`
	Aside  string `json:"aside"`  // where the directory goes
	Target string `json:"target"` // what the link will say
}

type phase string

const (
	moving  phase = "moving"  // by rename: the directory is at Link or at Aside
	moved   phase = "moved"   // never written: known from what is there
	copying phase = "copying" // Aside is a copy in the making, Link untouched
	copied  phase = "copied"  // Aside is whole; Link is being replaced
)

func (s *Store) writeIntent(in intent) error {
	in.Format = Format
	b, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("encode intent: %w", err)
	}
	return durable.WriteFile(s.intent(), append(b, '\n'), 0o644)
}

// moveAside replaces the directory by a link in two renames, between which
// there is no link. Where the directory can't be renamed either (an overlay's
// lower layer), it is copied and then removed, and its go and gofmt lead to
// the new toolchain until the very end.
func (s *Store) moveAside(in intent) error {
	in.Phase = moving
	if err := s.writeIntent(in); err != nil {
		return err
	}
	s.fault("aside.intended")
	err := os.Rename(in.Link, in.Aside)
	if errors.Is(err, unix.EXDEV) {
		if err = s.copyAside(&in); err == nil {
			err = s.replaceCopied(in)
		}
	} else if err == nil {
		in.Phase = moved
		s.fault("aside.moved")
		err = s.finishLink(in)
	}
	if err != nil && (in.Phase == moved || in.Phase == copied) {
		return err // the intent stays: the next run goes on from it
	}
	return errors.Join(err, durable.Remove(s.intent()))
}

// finishLink makes the link where now nothing is.
func (s *Store) finishLink(in intent) error {
	if err := os.Symlink(in.Target, in.Link); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("link %s: %w", in.Link, err)
	}
	s.fault("aside.linked")
	return errors.Join(durable.SyncDir(filepath.Dir(in.Link)), durable.SyncDir(filepath.Dir(in.Aside)))
}

// copyAside is for a directory that cannot be renamed. What would not fit, or
// cannot be copied, is refused before anything changes. in.Phase says how far
// it came.
func (s *Store) copyAside(in *intent) error {
	if err := checkCopy(in.Link, filepath.Dir(in.Aside)); err != nil {
		return err
	}
	in.Phase = copying
	if err := s.writeIntent(*in); err != nil {
		return err
	}
	s.fault("copy.intended")
	err := copyTree(in.Link, in.Aside)
	if err == nil {
		err = syncAll(filepath.Dir(in.Aside))
	}
	if err != nil {
		return errors.Join(fmt.Errorf("copy %s aside: %w", in.Link, err), os.RemoveAll(in.Aside))
	}
	s.fault("copy.copied")
	in.Phase = copied
	if err := s.writeIntent(*in); err != nil {
		return err
	}
	s.fault("copy.confirmed")
	return nil
}

// replaceCopied removes the directory at the link, bin last, and makes the
// link. bin/go and bin/gofmt are first replaced, each in one rename, by links
// into the new toolchain, which finds its own GOROOT through them. It may be
// repeated at any point.
func (s *Store) replaceCopied(in intent) error {
	if st, err := os.Lstat(in.Link); err == nil && st.IsDir() {
		goroot := in.Target
		if !filepath.IsAbs(goroot) {
			goroot = filepath.Join(filepath.Dir(in.Link), goroot)
		}
		bin := filepath.Join(in.Link, "bin")
		for _, name := range []string{"go", "gofmt"} {
			if _, err := os.Lstat(filepath.Join(bin, name)); err != nil {
				continue
			}
			if err := durable.Symlink(filepath.Join(goroot, "bin", name), filepath.Join(bin, name)); err != nil {
				return err
			}
		}
		s.fault("copy.forwarded")
		if err := emptyExcept(in.Link, "bin"); err != nil {
			return err
		}
		s.fault("copy.emptied")
		if err := os.RemoveAll(in.Link); err != nil {
			return err
		}
		s.fault("copy.removed")
	}
	return s.finishLink(in)
}

func emptyExcept(dir, keep string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() != keep {
			if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// completeIntent ends what a crash has cut, in the one direction in which a
// usable Go is nearest.
func (s *Store) completeIntent(rec *record.Record) error {
	b, err := os.ReadFile(s.intent())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var in intent
	if err := json.Unmarshal(b, &in); err != nil || in.Link == "" || in.Aside == "" || in.Target == "" {
		return wire.NewError(wire.KindHost, fmt.Errorf("%s is damaged", s.intent()),
			"look whether gofleet_link is as it should be, then remove the file")
	}
	if in.Format > Format {
		return wire.NewError(wire.KindFormat, fmt.Errorf("%s has format %d; this gofleet reads up to %d", s.intent(), in.Format, Format),
			"use the newer gofleet that wrote it")
	}
	done, err := s.complete(in)
	if err != nil {
		return fmt.Errorf("complete the replacement of %s: %w", in.Link, err)
	}
	if done {
		rec.Kept[in.Link] = in.Aside
		rec.Files[in.Link] = linkPrefix + in.Target
	}
	return durable.Remove(s.intent())
}

// complete reports whether the link now stands where the directory was.
func (s *Store) complete(in intent) (bool, error) {
	here, herr := os.Lstat(in.Link)
	_, aerr := os.Lstat(in.Aside)
	switch {
	case in.Phase == copied:
		return true, s.replaceCopied(in)
	case in.Phase == copying:
		return false, os.RemoveAll(in.Aside)
	case herr == nil && here.IsDir(): // the first rename did not happen
		return false, nil
	case herr == nil: // both did
		return true, nil
	case aerr != nil:
		return false, fmt.Errorf("neither %s nor %s is there", in.Link, in.Aside)
	}
	return true, s.finishLink(in)
}

// mountsBelow reports whether anything is mounted inside dir.
func mountsBelow(dir string) bool {
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return false
	}
	for _, m := range mountPoints() {
		if strings.HasPrefix(m, real+"/") {
			return true
		}
	}
	return false
}

// checkCopy adds up what a copy of dir takes and compares it with what is free
// where it goes, with a tenth to spare.
func checkCopy(dir, to string) error {
	var bytes, inodes uint64
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		inodes++
		switch d.Type() {
		case fs.ModeDir, fs.ModeSymlink:
			bytes += 4 << 10
		case 0:
			st, err := d.Info()
			if err != nil {
				return err
			}
			bytes += uint64(st.Size()+4095) &^ 4095
		default:
			return wire.NewError(wire.KindLink, fmt.Errorf("gofleet_link %s holds %s, which cannot be kept aside", dir, path),
				"move the directory away by hand and apply again")
		}
		return nil
	})
	if err != nil {
		return err
	}
	var free unix.Statfs_t
	if err := unix.Statfs(to, &free); err != nil {
		return fmt.Errorf("look for space at %s: %w", to, err)
	}
	have := free.Bavail * uint64(free.Bsize)
	if have < bytes+bytes/10 || free.Files > 0 && free.Ffree < inodes+inodes/10 {
		return wire.NewError(wire.KindNoSpace,
			fmt.Errorf("keep %s aside: it takes %d MB and %d inodes, %s has %d MB and %d free", dir, bytes>>20, inodes, to, have>>20, free.Ffree),
			"free some space, or move the directory away by hand and apply again")
	}
	return nil
}

// copyTree copies directories, regular files and links with their modes,
// owners and times. to must not exist.
func copyTree(from, to string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		st, err := d.Info()
		if err != nil {
			return err
		}
		at := to + strings.TrimPrefix(path, from)
		switch d.Type() {
		case fs.ModeDir:
			err = os.Mkdir(at, 0o700)
		case fs.ModeSymlink:
			var dest string
			if dest, err = os.Readlink(path); err == nil {
				err = os.Symlink(dest, at)
			}
		case 0:
			err = copyFile(path, at)
		default:
			err = fmt.Errorf("%s is neither file, directory nor link", path)
		}
		if err != nil {
			return err
		}
		return copyAttributes(st, at)
	})
}

func copyFile(from, to string) error {
	in, err := os.OpenFile(from, os.O_RDONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

func copyAttributes(st fs.FileInfo, to string) error {
	uid, gid := owner(st)
	if err := os.Lchown(to, uid, gid); err != nil {
		return err
	}
	if st.Mode()&fs.ModeSymlink != 0 {
		return nil
	}
	if err := os.Chmod(to, st.Mode()&(fs.ModePerm|fs.ModeSetuid|fs.ModeSetgid|fs.ModeSticky)); err != nil {
		return err
	}
	return os.Chtimes(to, st.ModTime(), st.ModTime())
}
