package asuser

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// become takes on the identity in every thread, with no way back: setresuid
// from 0 clears all capabilities and makes the process undumpable, so that the
// user cannot trace it either.
func become(id Identity) error {
	if id.UID == 0 {
		return errors.New("refused")
	}
	groups := make([]int, 0, len(id.Groups)+1)
	for _, g := range append([]uint32{id.GID}, id.Groups...) {
		if !slices.Contains(groups, int(g)) {
			groups = append(groups, int(g))
		}
	}
	uid, gid := int(id.UID), int(id.GID)
	if err := syscall.Setgroups(groups); err != nil {
		return fmt.Errorf("setgroups: %w", err)
	}
	if err := syscall.Setresgid(gid, gid, gid); err != nil {
		return fmt.Errorf("setresgid: %w", err)
	}
	if err := syscall.Setresuid(uid, uid, uid); err != nil {
		return fmt.Errorf("setresuid: %w", err)
	}
	if syscall.Setuid(0) == nil {
		return errors.New("root could be had back")
	}
	return nil
}

func (j job) run() (a answer) {
	home, err := unix.Open(j.Home, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
			a.Refused = &RefusedError{Path: j.Home, Reason: "is not there"}
		} else {
			a.Failed = fmt.Sprintf("open %s: %v", j.Home, err)
		}
		return a
	}
	defer unix.Close(home)
	copied := false
	for _, op := range j.Ops {
		e, err := do(home, op)
		if err != nil {
			full := filepath.Join(j.Home, op.Path)
			var r *RefusedError
			switch {
			case errors.As(err, &r):
				a.Refused = &RefusedError{Path: filepath.Join(j.Home, r.Path), Reason: r.Reason}
			case errors.Is(err, fs.ErrPermission):
				a.Refused = &RefusedError{Path: full, Reason: fmt.Sprintf("is not the user's: %s: permission denied", op.Act)}
			default:
				a.Failed = fmt.Sprintf("%s %s: %v", op.Act, full, err)
			}
			return a
		}
		a.Entries = append(a.Entries, e)
		copied = copied || op.Act == Copy
	}
	if copied {
		if err := syncFiles(home); err != nil {
			a.Failed = fmt.Sprintf("sync %s: %v", j.Home, err)
		}
	}
	return a
}

// syncFiles has all of the filesystem on disk, which many files want once.
func syncFiles(home int) error {
	fd, err := unix.Openat(home, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Syncfs(fd)
}

func do(home int, op Op) (Entry, error) {
	if !fs.ValidPath(op.Path) {
		return Entry{}, errors.New("path is not clean")
	}
	dir, err := parent(home, op.Path)
	if errors.Is(err, fs.ErrNotExist) && (op.Act == Look || op.Act == Sum || op.Act == Remove) {
		return Entry{}, nil
	}
	var r *RefusedError
	if op.Act == Sum && errors.As(err, &r) && r.Reason == reason(File) {
		return Entry{}, nil // a file stands where a directory would be
	}
	if err != nil {
		return Entry{}, err
	}
	defer unix.Close(dir)
	name := filepath.Base(op.Path)
	before, err := stat(dir, name)
	if err == nil && before.Type == File {
		switch op.Act {
		case Sum:
			before.Sum, err = sum(dir, name)
		case Copy:
		default:
			before.Content, err = read(dir, name)
		}
	}
	if err != nil || op.Act == Look || op.Act == Sum {
		return before, err
	}
	if before.Type == Link || before.Type == Other {
		return before, &RefusedError{Path: op.Path, Reason: reason(before.Type)}
	}
	switch op.Act {
	case Mkdir:
		err = mkdir(dir, name, op, before)
	case Write:
		err = write(dir, name, op, before, bytes.NewReader(op.Content))
	case Copy:
		err = copyFrom(dir, name, op, before)
	case Chmod:
		err = chmod(dir, name, op)
	case Remove:
		err = remove(dir, name, before)
	default:
		err = fmt.Errorf("act %q is not known", op.Act)
	}
	return before, err
}

func reason(t Type) string {
	switch t {
	case Link:
		return "is a link"
	case Dir:
		return "is a directory"
	case File:
		return "is a file, not a directory"
	case Absent:
		return "is not there"
	}
	return "is neither a file nor a directory"
}

// parent opens the directory that holds path, one component after the other,
// none of which may be a link.
func parent(home int, path string) (int, error) {
	fd, err := unix.FcntlInt(uintptr(home), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	parts := strings.Split(path, "/")
	for i, part := range parts[:len(parts)-1] {
		next, err := unix.Openat(fd, part, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			if e, lerr := stat(fd, part); lerr == nil && e.Type != Dir && e.Type != Absent {
				err = &RefusedError{Path: filepath.Join(parts[:i+1]...), Reason: reason(e.Type)}
			}
			unix.Close(fd)
			return -1, err
		}
		unix.Close(fd)
		fd = next
	}
	return fd, nil
}

func stat(dir int, name string) (Entry, error) {
	var st unix.Stat_t
	err := unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW)
	if errors.Is(err, fs.ErrNotExist) {
		return Entry{}, nil
	}
	if err != nil {
		return Entry{}, err
	}
	e := Entry{Type: Other, Mode: uint32(st.Mode) & 0o7777, UID: int(st.Uid), GID: int(st.Gid)}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		e.Type = Dir
	case unix.S_IFLNK:
		e.Type = Link
	case unix.S_IFREG:
		e.Type = File
	}
	return e, nil
}

func open(dir int, name string) (*os.File, error) {
	fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

func sum(dir int, name string) (string, error) {
	f, err := open(dir, name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	_, err = io.Copy(h, f)
	return hex.EncodeToString(h.Sum(nil)), err
}

func read(dir int, name string) ([]byte, error) {
	f, err := open(dir, name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, MaxFile+1))
	if err == nil && len(b) > MaxFile {
		return nil, fmt.Errorf("the file is larger than %d bytes", MaxFile)
	}
	return b, err
}

func mkdir(dir int, name string, op Op, before Entry) error {
	switch before.Type {
	case Dir:
		return nil
	case File:
		return &RefusedError{Path: op.Path, Reason: reason(File)}
	}
	if err := unix.Mkdirat(dir, name, 0o700); err != nil {
		return err
	}
	if err := chmod(dir, name, op); err != nil {
		return err
	}
	return syncDir(dir)
}

// chmod opens first: fchmodat has no way to refuse a link on older kernels.
func chmod(dir int, name string, op Op) error {
	fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Fchmod(fd, op.Mode)
}

// write makes the new file beside the old one. The name is fixed, so that what
// a crash left is overwritten by the next run.
func write(dir int, name string, op Op, before Entry, content io.Reader) error {
	if before.Type == Dir {
		return &RefusedError{Path: op.Path, Reason: reason(Dir)}
	}
	tmp := "." + strings.TrimPrefix(name, ".") + ".gofleet"
	if err := unix.Unlinkat(dir, tmp, 0); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	fd, err := unix.Openat(dir, tmp, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), tmp)
	if _, err = io.Copy(f, content); err == nil && op.Act == Write {
		err = f.Sync()
	}
	err = errors.Join(err, setGroup(f, op.Group, before), unix.Fchmod(fd, op.Mode), f.Close())
	if err == nil {
		err = unix.Renameat(dir, tmp, dir, name)
	}
	if err != nil {
		unix.Unlinkat(dir, tmp, 0)
		return err
	}
	if op.Act == Copy {
		return nil
	}
	return syncDir(dir)
}

// copyFrom writes what another file has, and takes nothing but what it should
// have.
func copyFrom(dir int, name string, op Op, before Entry) error {
	from, err := open(unix.AT_FDCWD, op.From)
	if err != nil {
		return fmt.Errorf("open %s: %v", op.From, err) // permission there is not permission in the home
	}
	defer from.Close()
	return write(dir, name, op, before, &proved{from, sha256.New(), op})
}

// proved is an error in place of the end of a file with another sum.
type proved struct {
	io.Reader
	hash.Hash
	op Op
}

func (p *proved) Read(b []byte) (int, error) {
	n, err := p.Reader.Read(b)
	p.Hash.Write(b[:n])
	if err == io.EOF && hex.EncodeToString(p.Hash.Sum(nil)) != p.op.Sum {
		err = fmt.Errorf("%s is not what it should be", p.op.From)
	}
	return n, err
}

// setGroup gives the new file the group that was asked for, and otherwise, if
// the user may, the one that the replaced file had.
func setGroup(f *os.File, want *int, before Entry) error {
	switch {
	case want != nil:
		return f.Chown(-1, *want)
	case before.Type == File:
		if err := f.Chown(-1, before.GID); err != nil && !errors.Is(err, fs.ErrPermission) {
			return err
		}
	}
	return nil
}

func remove(dir int, name string, before Entry) error {
	flags := 0
	switch before.Type {
	case Absent:
		return nil
	case Dir:
		flags = unix.AT_REMOVEDIR
	}
	err := unix.Unlinkat(dir, name, flags)
	if errors.Is(err, unix.ENOTEMPTY) || errors.Is(err, unix.EEXIST) {
		return nil
	}
	if err != nil {
		return err
	}
	return syncDir(dir)
}

func syncDir(dir int) error {
	fd, err := unix.Openat(dir, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.Fsync(fd); err != nil && !errors.Is(err, unix.EINVAL) {
		return err
	}
	return nil
}
