package toolchain

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// treeDir is a tree in staging that is being written. Nobody else can reach it
// yet, so that paths that are known to be clean can be opened whole, relative
// to its root. Modification times stay what writing makes them: the go command
// judges GOROOT by content, and it saves a system call a file.
type treeDir struct {
	root  int    // file descriptor
	umask uint32 // mode bits that new files do not get
}

// makeTree makes dir anew.
func makeTree(dir string) (*treeDir, error) {
	if err := os.RemoveAll(dir); err != nil {
		return nil, err
	}
	if err := makeDir(dir, 0o700); err != nil {
		return nil, err
	}
	return openTree(dir)
}

// openTree opens what makeTree made. close must be called.
func openTree(dir string) (*treeDir, error) {
	root, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: dir, Err: err}
	}
	t := &treeDir{root: root}
	if t.umask, err = t.masked(); err != nil {
		unix.Close(root)
		return nil, fmt.Errorf("make a file in %s: %w", dir, err)
	}
	return t, nil
}

func (t *treeDir) close() { unix.Close(t.root) }

// masked finds which mode bits new files do not get here, be it for the umask
// or for a default ACL.
func (t *treeDir) masked() (uint32, error) {
	const probe = ".probe"
	fd, err := unix.Openat(t.root, probe, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o777)
	if err != nil {
		return 0, err
	}
	var st unix.Stat_t
	err = errors.Join(unix.Fstat(fd, &st), unix.Close(fd), unix.Unlinkat(t.root, probe, 0))
	return 0o777 &^ st.Mode, err
}

// mkdir makes a directory whose parent is there.
func (t *treeDir) mkdir(path string) error {
	err := unix.Mkdirat(t.root, path, 0o755)
	if err == nil && t.umask&0o755 != 0 {
		err = unix.Fchmodat(t.root, path, 0o755, 0)
	}
	if err != nil {
		return &os.PathError{Op: "mkdir", Path: path, Err: err}
	}
	return nil
}

// create makes a file, which must not be there, and opens it.
func (t *treeDir) create(path string, mode uint32) (int, error) {
	fd, err := unix.Openat(t.root, path, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, mode)
	if err != nil {
		return -1, &os.PathError{Op: "create", Path: path, Err: err}
	}
	if t.umask&mode != 0 {
		if err := unix.Fchmod(fd, mode); err != nil {
			unix.Close(fd)
			return -1, &os.PathError{Op: "chmod", Path: path, Err: err}
		}
	}
	return fd, nil
}

func (t *treeDir) remove(path string) error {
	if err := unix.Unlinkat(t.root, path, 0); err != nil {
		return &os.PathError{Op: "remove", Path: path, Err: err}
	}
	return nil
}

func writeFull(fd int, p []byte) error {
	for len(p) > 0 {
		n, err := unix.Write(fd, p)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return err
		}
		p = p[n:]
	}
	return nil
}
