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
	Theirs  bool     // the directory is the owner's whom ReachOf was told of
	Sticky  bool     // others can put things into it, and not take away what isn't theirs
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
func Reach(dir string) (*Place, error) { return ReachOf(dir, 0) }

// ReachOf is Reach that also goes through directories of one owner, if nobody
// else can write them. From there on no link is followed, and everything must be
// that owner's: it can only mislead about what is its own.
func ReachOf(dir string, owner uint32) (*Place, error) {
	for range maxLinks {
		p, again, err := reach(filepath.Clean(dir), owner)
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
func reach(dir string, owner uint32) (place *Place, again string, err error) {
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
		reason := p.distrust(full, &st, owner)
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
		p.Theirs, p.Sticky = st.Uid != 0, othersWrite(full, &st)
	}
	return p, "", nil
}

// distrust says why what was found in a place is not to be passed, if so.
func (p *Place) distrust(path string, st *unix.Stat_t, owner uint32) string {
	link := st.Mode&unix.S_IFMT == unix.S_IFLNK
	switch {
	case link && (p.Theirs || p.Sticky):
		return "is a link in a directory that others than root can write"
	case link && st.Uid != 0:
		return fmt.Sprintf("is a link of uid %d, who could lead it elsewhere", st.Uid)
	case link:
		return ""
	case st.Mode&unix.S_IFMT != unix.S_IFDIR:
		return "is not a directory"
	case st.Uid != 0 && st.Uid != owner:
		return fmt.Sprintf("belongs to uid %d, who could put a link there", st.Uid)
	case p.Theirs && st.Uid != owner:
		return fmt.Sprintf("belongs to uid %d, in a directory of uid %d", st.Uid, owner)
	case othersWrite(path, st) && (st.Mode&unix.S_ISVTX == 0 || st.Uid != 0):
		return fmt.Sprintf("can be written by others (mode %04o)", st.Mode&0o7777)
	}
	return ""
}

// othersWrite reports whether somebody but root may put things into a
// directory. Debian gave /usr/local to its group staff until 2018: who is in it
// may put programs on root's path, and so is root there.
func othersWrite(path string, st *unix.Stat_t) bool {
	const staff = 50
	groups := st.Mode&0o020 != 0 && st.Gid != 0
	if st.Gid == staff && st.Mode&unix.S_ISGID != 0 && (path == "/usr/local" || strings.HasPrefix(path, "/usr/local/")) {
		groups = false
	}
	return st.Mode&0o002 != 0 || groups
}

func readlinkFD(fd int) (string, error) {
	b := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(fd, "", b)
	return string(b[:max(n, 0)]), err
}
