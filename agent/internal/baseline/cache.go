package baseline

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/gofleet/gofleet/agent/internal/change"
	"github.com/gofleet/gofleet/agent/spec"
)

const (
	defaultACL = "system.posix_acl_default"
	aclNote    = "acl:" // of a cache's directory, in rec.Files
)

// cache plans that what anybody makes in the caches' directories, which are
// among p.want.Directories, can be written by their group whatever its umask
// is: a default access list of the directories' own mode.
func cache(_ context.Context, p *planner) error {
	dirs := p.want.Cache.Dirs()
	for path, note := range p.rec.Files {
		if note == aclNote && !slices.Contains(dirs, path) {
			delete(p.rec.Files, path) // the directory goes, or stays as it is
		}
	}
	for _, dir := range dirs {
		if err := p.cacheACL(spec.Directory{Path: dir, Mode: p.want.Cache.Mode}); err != nil {
			return fmt.Errorf("%s: %w", dir, err)
		}
	}
	return nil
}

func (p *planner) cacheACL(d spec.Directory) error {
	want := encodeACL(d.Mode)
	now, err := readACL(d)
	switch {
	case errors.Is(err, unix.ENOTSUP):
		p.warnings = append(p.warnings, fmt.Sprintf("%s: the filesystem has no access lists: who uses the cache needs umask 0002", d.Path))
		return nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	case err == nil && bytes.Equal(now, want):
		p.rec.Files[d.Path] = aclNote
		return nil
	}
	_, ours := p.rec.Files[d.Path]
	var before []byte
	done := false
	p.steps = append(p.steps, change.Step{
		Name: "share " + d.Path + " with its group", Path: d.Path, Drift: ours,
		Diff: fmt.Sprintf("default access list: mode %04o whatever the umask\n", d.Mode&0o777),
		Do: func(context.Context) error {
			var err error
			if before, err = readACL(d); err != nil && !errors.Is(err, unix.ENOTSUP) {
				return err
			}
			if err := writeACL(d, want); err != nil && !errors.Is(err, unix.ENOTSUP) {
				return err
			}
			p.rec.Files[d.Path], done = aclNote, true
			return nil
		},
		Undo: func() error {
			if !ours {
				delete(p.rec.Files, d.Path)
			}
			if !done {
				return nil
			}
			return writeACL(d, before)
		},
	})
	return nil
}

// encodeACL is an access list of the three entries that a mode has.
func encodeACL(mode uint32) []byte {
	const version, undefined = 2, 0xffffffff
	b := binary.LittleEndian.AppendUint32(nil, version)
	for _, e := range []struct{ tag, perm uint32 }{{0x01, mode >> 6}, {0x04, mode >> 3}, {0x20, mode}} { // owner, group, others
		b = binary.LittleEndian.AppendUint16(b, uint16(e.tag))
		b = binary.LittleEndian.AppendUint16(b, uint16(e.perm&7))
		b = binary.LittleEndian.AppendUint32(b, undefined)
	}
	return b
}

// openCache opens a directory that lookAt reaches.
func openCache(d spec.Directory) (int, error) {
	at, err := lookAt(d, owners{})
	if err != nil {
		return -1, err
	}
	defer at.Close()
	if at.st == nil {
		return -1, fs.ErrNotExist
	}
	return unix.Openat(at.FD, at.name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
}

// readACL gives a directory's default access list; nil is none.
func readACL(d spec.Directory) ([]byte, error) {
	fd, err := openCache(d)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	b := make([]byte, 1024)
	n, err := unix.Fgetxattr(fd, defaultACL, b)
	if errors.Is(err, unix.ENODATA) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the access list: %w", err)
	}
	return b[:n], nil
}

func writeACL(d spec.Directory, acl []byte) error {
	fd, err := openCache(d)
	if errors.Is(err, fs.ErrNotExist) && acl == nil {
		return nil
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if acl == nil {
		err = unix.Fremovexattr(fd, defaultACL)
	} else {
		err = unix.Fsetxattr(fd, defaultACL, acl, 0)
	}
	if err != nil && !errors.Is(err, unix.ENODATA) {
		return fmt.Errorf("set the access list: %w", err)
	}
	return nil
}
