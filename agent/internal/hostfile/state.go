// Package hostfile looks at, writes and puts back the single files and links
// that gofleet has on a host outside of homes and toolchains: each is planned
// as a change.Step whose Undo is exact. It knows nothing of what is in them.
package hostfile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/gofleet/gofleet/agent/internal/durable"
	"github.com/gofleet/gofleet/agent/internal/hostcmd"
)

// maxFile bounds what is read of a file that somebody may have replaced.
const maxFile = 1 << 20

// Type is what stands at a path.
type Type int

// The types of a State.
const (
	Absent Type = iota
	File
	Link
	Other // a directory, device, socket or pipe
)

// State is what stands at a path, enough to put it back.
type State struct {
	Type     Type
	Mode     fs.FileMode // permission bits
	UID, GID int
	Content  []byte // of a File
	Target   string // of a Link
}

// Look reads what stands at path, following no link there.
func Look(path string) (State, error) {
	fi, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return State{}, nil
	}
	if err != nil {
		return State{}, fmt.Errorf("look at %s: %w", path, err)
	}
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return State{}, fmt.Errorf("look at %s: %w", path, err)
	}
	s := State{Type: Other, Mode: fi.Mode().Perm(), UID: int(st.Uid), GID: int(st.Gid)}
	switch {
	case fi.Mode().IsRegular():
		s.Type = File
		s.Content, err = read(path)
	case fi.Mode()&fs.ModeSymlink != 0:
		s.Type = Link
		s.Target, err = os.Readlink(path)
	}
	if err != nil {
		return State{}, fmt.Errorf("look at %s: %w", path, err)
	}
	return s, nil
}

func read(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(b) > maxFile {
		err = fmt.Errorf("the file is larger than %d bytes", maxFile)
	}
	return b, err
}

// PutBack makes path what it was when it was looked at. A State of Type Other
// is never replaced by this package, and so never put back.
func (s *State) PutBack(path string) error {
	switch s.Type {
	case Absent:
		if _, err := os.Lstat(filepath.Dir(path)); errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return durable.Remove(path)
	case File:
		return replace(path, s, nil)
	case Link:
		if err := durable.Symlink(s.Target, path); err != nil {
			return err
		}
		return os.Lchown(path, s.UID, s.GID)
	}
	return nil
}

// replace writes the file of state s beside path, has it checked, and moves it
// in. The name has a dot in front: sudo and run-parts ignore it.
func replace(path string, s *State, check func(tmp string) error) error {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, ".gofleet-*")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer os.Remove(f.Name())
	_, err = f.Write(s.Content)
	err = errors.Join(err, f.Chown(s.UID, s.GID), f.Chmod(s.Mode), f.Sync(), f.Close())
	if err == nil && check != nil {
		err = check(f.Name())
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return durable.SyncDir(dir)
}

// MakeDirs makes dir and what is missing above it, 0755, and gives the
// directories that it made, the deepest first.
func MakeDirs(dir string) (made []string, err error) {
	var missing []string
	for d := dir; ; d = filepath.Dir(d) {
		fi, err := os.Stat(d)
		if err == nil && !fi.IsDir() {
			return nil, fmt.Errorf("%s is not a directory", d)
		}
		if err == nil || d == filepath.Dir(d) {
			break
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		missing = append(missing, d)
	}
	for i := len(missing) - 1; i >= 0; i-- {
		d := missing[i]
		if err := os.Mkdir(d, 0o755); err != nil {
			return made, err
		}
		made = append([]string{d}, made...)
		if err := errors.Join(os.Chmod(d, 0o755), durable.SyncDir(filepath.Dir(d))); err != nil {
			return made, err
		}
	}
	return made, nil
}

// RemoveDirs takes back MakeDirs, as far as the directories are empty.
func RemoveDirs(made []string) error {
	for _, d := range made {
		err := os.Remove(d)
		if errors.Is(err, unix.ENOTEMPTY) || errors.Is(err, unix.EEXIST) {
			return nil
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// Relabel gives new files the context that the SELinux policy has for them.
// Without SELinux, or without restorecon, it does nothing.
func Relabel(ctx context.Context, paths ...string) error {
	if _, err := os.Stat("/sys/fs/selinux/enforce"); err != nil || len(paths) == 0 {
		return nil
	}
	restorecon := hostcmd.Find("restorecon")
	if restorecon == "" {
		return nil
	}
	_, err := hostcmd.Run(ctx, "", restorecon, append([]string{"--"}, paths...)...)
	return err
}
