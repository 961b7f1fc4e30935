//go:build linux

package lab

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// layer is a directory that overlayfs lays over others. Its methods take paths
// as the host will see them and leave what is below untouched.
type layer struct {
	dir    string
	below  []string // the layers under it, the nearest first
	opaque []string // directories in which nothing of below shows
}

// find returns where the nearest layer that has path has it.
func (l *layer) find(path string) (string, fs.FileInfo, bool) {
	for _, root := range append([]string{l.dir}, l.below...) {
		real := filepath.Join(root, path)
		info, err := os.Lstat(real)
		if err == nil {
			if isWhiteout(info) {
				return "", nil, false
			}
			return real, info, true
		}
		if root == l.dir && l.covered(path) {
			return "", nil, false
		}
	}
	return "", nil, false
}

func (l *layer) covered(path string) bool {
	for _, d := range l.opaque {
		if path != d && strings.HasPrefix(path, d+"/") {
			return true
		}
	}
	return false
}

func isWhiteout(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && info.Mode()&fs.ModeCharDevice != 0 && st.Rdev == 0
}

// resolve follows links among the parents of path, as the host would.
func (l *layer) resolve(path string) (string, error) {
	const limit = 40
	done, rest := "/", strings.Split(strings.Trim(path, "/"), "/")
	for links := 0; len(rest) > 1; {
		next := filepath.Join(done, rest[0])
		rest = rest[1:]
		real, info, ok := l.find(next)
		if !ok || info.Mode()&fs.ModeSymlink == 0 {
			done = next
			continue
		}
		if links++; links > limit {
			return "", fmt.Errorf("%s: too many links", path)
		}
		to, err := os.Readlink(real)
		if err != nil {
			return "", err
		}
		if !filepath.IsAbs(to) {
			to = filepath.Join(done, to)
		}
		rest = append(strings.Split(strings.Trim(to, "/"), "/"), rest...)
		done = "/"
	}
	return filepath.Join(done, rest[0]), nil
}

// parents makes the directories above path, like those below where there are
// some: overlayfs shows the attributes of the topmost.
func (l *layer) parents(path string) (real string, err error) {
	path, err = l.resolve(path)
	if err != nil {
		return "", err
	}
	if err := l.mkdir(filepath.Dir(path)); err != nil {
		return "", err
	}
	return filepath.Join(l.dir, path), nil
}

// mkdir makes a resolved path and what is above it.
func (l *layer) mkdir(path string) error {
	real := filepath.Join(l.dir, path)
	if _, err := os.Lstat(real); err == nil || path == "/" {
		return nil
	}
	if err := l.mkdir(filepath.Dir(path)); err != nil {
		return err
	}
	mode, uid, gid := fs.FileMode(0o755), 0, 0
	if _, info, ok := l.find(path); ok && info.IsDir() {
		st := info.Sys().(*syscall.Stat_t)
		mode, uid, gid = info.Mode()&(fs.ModePerm|fs.ModeSticky|fs.ModeSetgid|fs.ModeSetuid), int(st.Uid), int(st.Gid)
	}
	if err := os.Mkdir(real, 0o700); err != nil {
		return err
	}
	return own(real, mode, uid, gid)
}

func own(real string, mode fs.FileMode, uid, gid int) error {
	if err := os.Lchown(real, uid, gid); err != nil {
		return err
	}
	return os.Chmod(real, mode)
}

// write puts a regular file at path.
func (l *layer) write(path string, content []byte, mode fs.FileMode, uid, gid int) error {
	real, err := l.parents(path)
	if err != nil {
		return err
	}
	if err := os.Remove(real); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.WriteFile(real, content, 0o600); err != nil {
		return err
	}
	return own(real, mode, uid, gid)
}

// directory makes path a directory with these attributes.
func (l *layer) directory(path string, mode fs.FileMode, uid, gid int) error {
	real, err := l.parents(path)
	if err != nil {
		return err
	}
	if err := os.Mkdir(real, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return own(real, mode, uid, gid)
}

// link puts a symbolic link at path.
func (l *layer) link(to, path string) error {
	real, err := l.parents(path)
	if err != nil {
		return err
	}
	return os.Symlink(to, real)
}

// empty makes path a directory in which nothing of the layers below shows.
func (l *layer) empty(path string, mode fs.FileMode) error {
	if err := l.directory(path, mode, 0, 0); err != nil {
		return err
	}
	if err := unix.Lsetxattr(filepath.Join(l.dir, path), "trusted.overlay.opaque", []byte("y"), 0); err != nil {
		return fmt.Errorf("empty %s: %w", path, err)
	}
	l.opaque = append(l.opaque, path)
	return nil
}

// hide removes path from sight, if a layer below has it.
func (l *layer) hide(path string) error {
	real, err := l.parents(path)
	if err != nil {
		return err
	}
	if err := os.RemoveAll(real); err != nil {
		return err
	}
	if err := unix.Mknod(real, unix.S_IFCHR, 0); err != nil {
		return fmt.Errorf("hide %s: %w", path, err)
	}
	return nil
}

// hideAll hides what matches patterns in the layers below.
func (l *layer) hideAll(patterns ...string) error {
	for _, p := range patterns {
		for _, root := range l.below {
			found, err := filepath.Glob(filepath.Join(root, p))
			if err != nil {
				return err
			}
			for _, f := range found {
				rel, err := filepath.Rel(root, f)
				if err != nil {
					return err
				}
				if err := l.hide("/" + rel); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// read returns the content of path, "" if no layer has it.
func (l *layer) read(path string) (string, error) {
	real, _, ok := l.find(path)
	if !ok {
		return "", nil
	}
	b, err := os.ReadFile(real)
	return string(b), err
}
