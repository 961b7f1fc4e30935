package hostfile

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// maxLinks bounds the links that Reach follows.
const maxLinks = 16

// A Place is a directory that was reached without passing anything that
// somebody but root could have put there or could replace.
type Place struct {
	FD      int      // of the deepest directory that is there, O_PATH; Close closes it
	Path    string   // of that directory, free of links
	Missing []string // names below Path that are not there, from above
}

// Close closes the place.
func (p *Place) Close() error { return unix.Close(p.FD) }

// UntrustedError is a directory on the way that somebody but root can change.
type UntrustedError struct {
	Path   string
	Reason string
}

func (e *UntrustedError) Error() string { return e.Path + " " + e.Reason }

// Reach goes to dir from the root, one directory after the other. Each must be
// root's and writable by nobody else, or have the sticky bit. A link is
// followed if it is root's and stands where only root could have put it. What
// stands in the way is an *UntrustedError.
func Reach(dir string) (*Place, error) {
	for range maxLinks {
		p, again, err := reach(filepath.Clean(dir))
		if err != nil {
			return nil, err
		}
		if again == "" {
			return p, nil
		}
		dir = again
	}
	return nil, &UntrustedError{dir, "is reached through too many links"}
}

// reach goes as far as it can without a link. At one that may be followed it
// gives the way to go instead.
func reach(dir string) (place *Place, again string, err error) {
	fd, err := unix.Open("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, "", fmt.Errorf("open /: %w", err)
	}
	p := &Place{FD: fd, Path: "/"}
	defer func() {
		if place == nil {
			p.Close()
		}
	}()
	parts := strings.FieldsFunc(dir, func(r rune) bool { return r == '/' })
	sticky := false // what stands in p.FD may be anybody's
	for i, name := range parts {
		full := filepath.Join(p.Path, name)
		next, err := unix.Openat(p.FD, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if errors.Is(err, fs.ErrNotExist) {
			p.Missing = parts[i:]
			return p, "", nil
		}
		if err != nil {
			return nil, "", fmt.Errorf("open %s: %w", full, err)
		}
		var st unix.Stat_t
		if err := unix.Fstat(next, &st); err != nil {
			unix.Close(next)
			return nil, "", fmt.Errorf("look at %s: %w", full, err)
		}
		reason := distrust(&st, sticky)
		if link := st.Mode&unix.S_IFMT == unix.S_IFLNK; reason != "" || link {
			target := ""
			if reason == "" {
				target, err = readlinkFD(next)
			}
			unix.Close(next)
			switch {
			case reason != "":
				return nil, "", &UntrustedError{full, reason}
			case err != nil:
				return nil, "", fmt.Errorf("read link %s: %w", full, err)
			}
			if !filepath.IsAbs(target) {
				target = filepath.Join(p.Path, target)
			}
			return nil, filepath.Join(append([]string{target}, parts[i+1:]...)...), nil
		}
		unix.Close(p.FD)
		p.FD, p.Path = next, full
		sticky = othersWrite(&st)
	}
	return p, "", nil
}

// distrust says why what was found on the way is not to be passed, if so.
func distrust(st *unix.Stat_t, sticky bool) string {
	kind := st.Mode & unix.S_IFMT
	switch {
	case kind == unix.S_IFLNK && sticky:
		return "is a link in a directory that others can write"
	case kind == unix.S_IFLNK && st.Uid != 0:
		return fmt.Sprintf("is a link of uid %d, who could lead it elsewhere", st.Uid)
	case kind == unix.S_IFLNK:
		return ""
	case kind != unix.S_IFDIR:
		return "is not a directory"
	case st.Uid != 0:
		return fmt.Sprintf("belongs to uid %d, who could put a link there", st.Uid)
	case othersWrite(st) && st.Mode&unix.S_ISVTX == 0:
		return fmt.Sprintf("can be written by others than root (mode %04o)", st.Mode&0o7777)
	}
	return ""
}

// othersWrite reports whether somebody but root may put things into a directory.
func othersWrite(st *unix.Stat_t) bool {
	return st.Mode&0o002 != 0 || st.Mode&0o020 != 0 && st.Gid != 0
}

func readlinkFD(fd int) (string, error) {
	b := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(fd, "", b)
	return string(b[:max(n, 0)]), err
}
