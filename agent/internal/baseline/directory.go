package baseline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/gofleet/gofleet/agent/internal/change"
	"github.com/gofleet/gofleet/agent/internal/record"
	"github.com/gofleet/gofleet/agent/spec"
)

// make makes the directory, for its owner only until set says more. In a
// directory of the owner's it is made with the owner's rights, and so is never
// something else that the owner has put in its place.
func (at *found) make(o owners) error {
	if !at.Theirs {
		return unix.Mkdirat(at.FD, at.name, 0o700)
	}
	done := make(chan error)
	go func() {
		// The rights are this thread's. It ends with the goroutine, for nothing
		// unlocks it.
		runtime.LockOSThread()
		err := errors.Join(unix.Setfsgid(int(o.gid)), unix.Setfsuid(int(o.uid)))
		if err == nil {
			err = unix.Mkdirat(at.FD, at.name, 0o700)
		}
		done <- err
	}()
	return <-done
}

// set gives the directory its owner and mode, by a descriptor: whatever stands
// at its path by then.
func (at *found) set(o owners, mode uint32) error {
	fail := func(err error) error {
		return fmt.Errorf("set owner and mode of %s: %w", filepath.Join(at.Path, at.name), err)
	}
	fd, err := unix.Openat(at.FD, at.name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return fail(err)
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return fail(err)
	}
	if at.Theirs && st.Uid != o.uid {
		return fail(fmt.Errorf("it belongs to uid %d now", st.Uid))
	}
	if st.Uid != o.uid || st.Gid != o.gid {
		if err := unix.Fchown(fd, int(o.uid), int(o.gid)); err != nil {
			return fail(err)
		}
	}
	if err := errors.Join(unix.Fchmod(fd, mode), unix.Fsync(fd)); err != nil {
		return fail(err)
	}
	parent, err := unix.Openat(at.FD, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fail(err)
	}
	defer unix.Close(parent)
	if err := unix.Fsync(parent); err != nil && !errors.Is(err, unix.EINVAL) {
		return fail(err)
	}
	return nil
}

// removeDirectory plans to remove a directory that nothing names any more, if
// gofleet made it and nothing is in it but what goes too.
func (p *planner) removeDirectory(path string, wanted, going map[string]bool) error {
	noted := p.rec.Directories[path]
	o := owners{uid: ownerNow(path)}
	at, err := lookAt(spec.Directory{Path: path}, o)
	if err != nil {
		p.warnings = append(p.warnings, fmt.Sprintf("directory %s stays: %v", path, err))
	}
	if err != nil || at.st == nil || !noted.Made {
		if err == nil {
			at.Close()
		}
		delete(p.rec.Directories, path)
		return nil
	}
	defer at.Close()
	empty, err := emptyBut(path, going)
	if err != nil {
		return err
	}
	if !empty {
		p.warnings = append(p.warnings, fmt.Sprintf("directory %s stays, because something is in it: remove it with rm -r %s", path, path))
		delete(p.rec.Directories, path)
		return nil
	}
	going[path] = true
	parents := upTo(noted.Above, wanted)
	for _, above := range parents {
		if ok, err := emptyBut(above, going); err == nil && ok {
			going[above] = true
		}
	}
	r := &removing{p: p, path: path, above: parents, noted: noted, was: owners{uid: at.st.Uid, gid: at.st.Gid}, mode: at.st.Mode & 0o7777}
	p.steps = append(p.steps, change.Step{
		Name: "remove directory " + path, Path: path, Diff: "removed: " + path + "\n", Do: r.do, Undo: r.undo,
	})
	return nil
}

// emptyBut reports whether nothing is in a directory but what goes.
func emptyBut(path string, going map[string]bool) (bool, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return false, err
	}
	defer f.Close()
	for range 2 {
		names, err := f.Readdirnames(100)
		for _, n := range names {
			if !going[filepath.Join(path, n)] {
				return false, nil
			}
		}
		if errors.Is(err, io.EOF) {
			return true, nil
		}
		if err != nil {
			return false, err
		}
	}
	return false, nil
}

// removing is the step that removes one directory and the parents that were
// made with it.
type removing struct {
	p     *planner
	path  string
	above []string // what was made with it and goes with it, if it is empty
	noted *record.Directory
	was   owners
	mode  uint32

	gone []string // what was removed, the deepest first
}

func (r *removing) do(context.Context) error {
	for _, path := range append([]string{r.path}, r.above...) {
		at, err := lookAt(spec.Directory{Path: path}, r.was)
		if err != nil {
			return err
		}
		if at.st != nil {
			err = unix.Unlinkat(at.FD, at.name, unix.AT_REMOVEDIR)
		}
		at.Close()
		if errors.Is(err, unix.ENOTEMPTY) || errors.Is(err, unix.EEXIST) {
			break // something has come into it
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove %s: %w", path, err)
		}
		if at.st != nil {
			r.gone = append(r.gone, path)
		}
	}
	delete(r.p.rec.Directories, r.path)
	return nil
}

func (r *removing) undo() error {
	r.p.rec.Directories[r.path] = r.noted
	for i := len(r.gone) - 1; i >= 0; i-- {
		o, mode := owners{}, uint32(0o755)
		if r.gone[i] == r.path {
			o, mode = r.was, r.mode
		}
		at, err := lookAt(spec.Directory{Path: r.gone[i]}, r.was)
		if err != nil {
			return err
		}
		if at.st == nil {
			if at.Theirs {
				o.uid, o.gid = r.was.uid, r.was.gid
			}
			err = at.make(o)
		}
		if err == nil {
			err = at.set(o, mode)
		}
		at.Close()
		if err != nil {
			return err
		}
	}
	return nil
}
