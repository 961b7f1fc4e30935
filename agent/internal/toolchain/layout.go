// Package toolchain owns the Go toolchains of a host: it receives, verifies,
// extracts, switches, rolls back and removes them, and tells when one is no
// longer what was installed. It keeps a usable Go on the host at every
// instant, also over a crash. It knows nothing of inventories, of connections,
// or of what lies outside gofleet_root and gofleet_link, the agent's cache
// apart.
package toolchain

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/gofleet/gofleet/agent/internal/hostfile"
	"github.com/gofleet/gofleet/agent/wire"
)

// defaultLink is gofleet_link's default, which an ordinary user cannot have.
const defaultLink = "/usr/local/go"

// Layout says where everything of one gofleet_root lies.
type Layout struct {
	Root string // gofleet_root; absolute and clean
	Link string // gofleet_link; absolute and clean
	User bool   // an ordinary user's, under a prefix of their own
}

// NewLayout checks root and link. For an ordinary user, uid not 0, the default
// link becomes <root>/go. Errors are *wire.Error of kind link_refused.
func NewLayout(root, link string, uid int) (Layout, error) {
	l := Layout{Root: filepath.Clean(root), Link: filepath.Clean(link), User: uid != 0}
	if l.User && l.Link == defaultLink {
		l.Link = filepath.Join(l.Root, "go")
	}
	var err error
	switch {
	case !filepath.IsAbs(root) || !filepath.IsAbs(link):
		err = fmt.Errorf("gofleet_root %s and gofleet_link %s must be absolute", root, link)
	case l.Root == "/" || l.Link == "/":
		err = errors.New("neither gofleet_root nor gofleet_link can be /")
	case l.Root == l.Link || strings.HasPrefix(l.Root, l.Link+"/"):
		err = fmt.Errorf("gofleet_root %s lies in gofleet_link %s", l.Root, l.Link)
	case strings.HasPrefix(l.Link, l.Root+"/") && l.Link != filepath.Join(l.Root, "go"):
		err = fmt.Errorf("gofleet_link %s lies in gofleet_root %s", l.Link, l.Root)
	default:
		return l, nil
	}
	return l, wire.NewError(wire.KindLink, err, "give gofleet_link a place of its own, such as "+defaultLink)
}

// CheckOwners refuses, for root, a place that somebody else could put a link
// into or had filled before: root believes what lies below Root, and changes
// and removes there without looking twice. Errors are *wire.Error.
func (l *Layout) CheckOwners() error {
	if l.User {
		return nil
	}
	for _, at := range []struct{ variable, dir string }{{"gofleet_root", l.Root}, {"gofleet_link", filepath.Dir(l.Link)}} {
		place, err := hostfile.Reach(at.dir)
		var untrusted *hostfile.UntrustedError
		switch {
		case errors.As(err, &untrusted):
			return wire.NewError(wire.KindLink, fmt.Errorf("%s: %w", at.variable, err),
				"as root gofleet works only where every directory is root's and nobody else can write: put that right, choose another path, or become its owner (ansible_become_user)")
		case err != nil:
			return hostError(fmt.Errorf("%s: %w", at.variable, err))
		}
		place.Close()
	}
	return nil
}

// Dir is the versioned directory of a toolchain; version without "go".
func (l *Layout) Dir(version string) string { return filepath.Join(l.Root, "go"+version) }

// Manifests is the directory of the manifests and of the host record.
func (l *Layout) Manifests() string { return filepath.Join(l.Root, "manifests") }

// Manifest is the path of a toolchain's manifest.
func (l *Layout) Manifest(version string) string { return filepath.Join(l.Manifests(), "go"+version) }

// Staging is where a run works. Nothing in it is ever in use between runs.
func (l *Layout) Staging() string { return filepath.Join(l.Root, stagingName) }

const stagingName = ".staging"

// intent is the file that says which link is being made the slow way.
func (l *Layout) intent() string { return filepath.Join(l.Root, ".intent") }

// LockPath is the file that a changing run holds locked: one for the whole
// host as root, one in the prefix otherwise.
func (l *Layout) LockPath() string {
	if !l.User {
		if st, err := os.Stat("/run"); err == nil && st.IsDir() {
			return "/run/gofleet.lock"
		}
	}
	return filepath.Join(l.Root, lockName)
}

const lockName = ".lock"

// target is what the link at from holds to lead to dir: relative where both
// lie under the link's directory, so that the tree may be looked at from
// outside, through a chroot or an image.
func target(from, dir string) string {
	parent := filepath.Dir(from)
	if rel, ok := strings.CutPrefix(dir, strings.TrimSuffix(parent, "/")+"/"); ok {
		return rel
	}
	return dir
}

// versionOf gives the version that the name of a versioned directory says.
func versionOf(name string) (string, bool) {
	v, ok := strings.CutPrefix(name, "go")
	return v, ok && validVersion(v)
}

// validVersion accepts 1.26.8, 1.27rc1, 1.20: nothing that could leave a
// directory or hide in it.
func validVersion(v string) bool {
	if v == "" || len(v) > 32 || v[0] < '0' || v[0] > '9' {
		return false
	}
	for _, c := range []byte(v) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') && c != '.' && c != '-' {
			return false
		}
	}
	return !strings.Contains(v, "..")
}

func checkVersion(v string) error {
	if !validVersion(v) {
		return wire.NewError(wire.KindProtocol, fmt.Errorf("%q is not a Go version", v), "")
	}
	return nil
}

// Store is the toolchains of one layout, and the one thing that changes them.
// The caller holds the lock for everything but Inspect. It is for one
// goroutine at a time.
type Store struct {
	Layout
	Gofleet string // the controller's version, kept in manifests

	// Fault, if set, is called at each of faultPoints. Tests end the process
	// there.
	Fault func(point string)

	proved     proof
	noExchange bool // tests: the filesystem is one that can't
}

func (s *Store) fault(point string) {
	if s.Fault != nil {
		s.Fault(point)
	}
}

// makeDir makes dir with exactly mode and this process's owner and group,
// whatever umask, setgid bits and default ACLs above say. One that is there is
// brought to that too; anything else there is an error.
func makeDir(dir string, mode fs.FileMode) error {
	if err := os.Mkdir(dir, mode); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("make %s: %w", dir, err)
	}
	st, err := os.Lstat(dir)
	if err != nil {
		return fmt.Errorf("make %s: %w", dir, err)
	}
	if !st.IsDir() {
		return fmt.Errorf("make %s: it is there and no directory", dir)
	}
	if uid, gid := owner(st); uid != os.Geteuid() || gid != os.Getegid() {
		if err := os.Lchown(dir, os.Geteuid(), os.Getegid()); err != nil {
			return fmt.Errorf("make %s: %w", dir, err)
		}
	}
	if st.Mode() != fs.ModeDir|mode {
		if err := os.Chmod(dir, mode); err != nil {
			return fmt.Errorf("make %s: %w", dir, err)
		}
	}
	return nil
}

// Make makes the root and the directories that stay. It is safe to repeat.
func (s *Store) Make() error {
	if err := os.MkdirAll(filepath.Dir(s.Root), 0o755); err != nil {
		return hostError(fmt.Errorf("make gofleet_root: %w", err))
	}
	for _, dir := range []string{s.Root, s.Manifests()} {
		if err := makeDir(dir, 0o755); err != nil {
			return hostError(err)
		}
	}
	return nil
}
