package toolchain

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gofleet/gofleet/agent/wire"
)

// LinkKind is what stands at gofleet_link.
type LinkKind string

// What can stand at gofleet_link.
const (
	LinkNone      LinkKind = "none"
	LinkManaged   LinkKind = "managed"   // leads to a versioned directory of this root
	LinkKept      LinkKind = "kept"      // leads to an unmanaged toolchain that is kept in this root
	LinkForeign   LinkKind = "foreign"   // a link that leads elsewhere
	LinkUnmanaged LinkKind = "unmanaged" // a real directory
	LinkMount     LinkKind = "mount"     // a mount point: cannot be switched
	LinkFile      LinkKind = "file"      // neither link nor directory: refused
)

// Link is gofleet_link as it is.
type Link struct {
	Kind    LinkKind
	Target  string // what a link says
	Dir     string // absolute directory that Go is found in; "" if there is none
	Version string // of the Go found there, without "go"; "" if there is none
}

// Toolchain is one installed release.
type Toolchain struct {
	Version string
	Dir     string
	Header  *Header      // nil: manifest missing or damaged
	Drift   []wire.Drift // absolute paths; filled in for the one inspected
}

// State is what Inspect found.
type State struct {
	Link       Link
	Before     string       // the version that the link leads to; "" for none
	Current    *Toolchain   // what the link leads to, if it is managed and there
	Wanted     *Toolchain   // the wanted version, if it is there
	Previous   string       // what the link led to before Current, as in Header.Previous; "" if that is gone
	Toolchains []Toolchain  // all that have a versioned directory, newest installed first
	Unmanaged  []string     // names of kept unmanaged toolchains in the root
	Leftovers  []string     // paths that a crash left
	Drift      []wire.Drift // of Wanted, or without a wanted version of Current
	DiskBytes  int64        // what Wanted takes already
	Inodes     int64
}

// Ready reports whether the wanted toolchain is there and unaltered.
func (st *State) Ready() bool { return st.Wanted != nil && len(st.Drift) == 0 }

// Inspect looks and changes nothing. With a wanted version its drift is looked
// for, otherwise that of the current one: VERSION by content, bin/ and
// pkg/tool/ by size, mode and owner; with deep every file by content, and
// extra and missing ones. go.env is judged elsewhere. A current or wanted
// toolchain whose manifest has a newer format is an error of kind
// manifest_newer.
func (s *Store) Inspect(ctx context.Context, wanted string, deep bool) (*State, error) {
	if wanted != "" {
		if err := checkVersion(wanted); err != nil {
			return nil, err
		}
	}
	st := &State{}
	var err error
	if st.Link, err = s.inspectLink(); err != nil {
		return nil, hostError(err)
	}
	st.Before = st.Link.Version
	if err := s.list(st); err != nil {
		return nil, hostError(err)
	}
	look := wanted
	if look == "" && st.Link.Kind == LinkManaged {
		look = st.Link.Version
	}
	for i := range st.Toolchains {
		t := &st.Toolchains[i]
		if t.Version != look {
			err = s.loadHeader(t, t.Version == st.Link.Version)
		} else if t.Drift, err = s.load(ctx, t, deep); err == nil {
			st.Drift = t.Drift
		}
		if err != nil {
			return nil, hostError(err)
		}
	}
	sort.SliceStable(st.Toolchains, func(i, j int) bool { return newestFirst(st.Toolchains[i], st.Toolchains[j]) < 0 })
	if st.Link.Kind == LinkManaged {
		st.Current = st.find(st.Link.Version)
	}
	if st.Wanted = st.find(wanted); st.Wanted != nil && st.Wanted.Header != nil {
		st.DiskBytes = st.Wanted.Header.DiskBytes
		st.Inodes = int64(st.Wanted.Header.Tree.Files + st.Wanted.Header.Tree.Dirs + 1)
	}
	st.Previous = s.previous(st)
	return st, nil
}

func newestFirst(a, b Toolchain) int {
	at, bt := time.Time{}, time.Time{}
	if a.Header != nil {
		at = a.Header.Installed
	}
	if b.Header != nil {
		bt = b.Header.Installed
	}
	if c := bt.Compare(at); c != 0 {
		return c
	}
	return strings.Compare(a.Version, b.Version)
}

func (st *State) find(version string) *Toolchain {
	for i := range st.Toolchains {
		if version != "" && st.Toolchains[i].Version == version {
			return &st.Toolchains[i]
		}
	}
	return nil
}

// load reads the manifest of the toolchain that the run is about, and looks
// for its drift.
func (s *Store) load(ctx context.Context, t *Toolchain, deep bool) ([]wire.Drift, error) {
	m, err := s.readManifest(t.Version)
	if errors.Is(err, fs.ErrNotExist) {
		return []wire.Drift{{Path: s.Manifest(t.Version), How: howMissing}}, nil
	}
	if isMissing(err) {
		return []wire.Drift{{Path: s.Manifest(t.Version), How: howContent}}, nil
	}
	if err != nil {
		return nil, err
	}
	t.Header = &m.Header
	if m.Mending {
		return []wire.Drift{{Path: s.Manifest(t.Version), How: "a repair was cut"}}, nil
	}
	return drift(ctx, t.Dir, m, deep)
}

// loadHeader reads the header only, without proving it: enough to tell a
// toolchain's age. A newer format is an error if the link leads there; others
// are left alone.
func (s *Store) loadHeader(t *Toolchain, current bool) error {
	h, err := s.readHeader(t.Version)
	switch {
	case isMissing(err):
	case isNewer(err) && !current:
		t.Header = &Header{Format: Format + 1, Version: t.Version}
	case err != nil:
		return err
	default:
		t.Header = h
	}
	return nil
}

// previous is what rollback goes to, if it is still there.
func (s *Store) previous(st *State) string {
	if st.Current == nil || st.Current.Header == nil {
		return ""
	}
	p := st.Current.Header.Previous
	if p == "" || p == filepath.Base(st.Current.Dir) {
		return ""
	}
	if dir, err := os.Stat(s.place(p)); err != nil || !dir.IsDir() {
		return ""
	}
	return p
}

// place is the directory that a Header.Previous means.
func (s *Store) place(previous string) string {
	if filepath.IsAbs(previous) {
		return filepath.Clean(previous)
	}
	return filepath.Join(s.Root, filepath.Base(previous))
}

// list finds what is in the root.
func (s *Store) list(st *State) error {
	entries, err := os.ReadDir(s.Root)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list gofleet_root: %w", err)
	}
	for _, e := range entries {
		name, path := e.Name(), filepath.Join(s.Root, e.Name())
		switch version, ok := versionOf(name); {
		case ok && e.IsDir():
			if _, err := os.Lstat(s.Manifest(version)); errors.Is(err, fs.ErrNotExist) && st.Link.Dir != path {
				st.Leftovers = append(st.Leftovers, path)
			} else {
				st.Toolchains = append(st.Toolchains, Toolchain{Version: version, Dir: path})
			}
		case strings.HasPrefix(name, unmanagedPrefix) && e.IsDir():
			st.Unmanaged = append(st.Unmanaged, name)
		case isLeftover(name, e), path == s.Staging(), path == s.intent():
			st.Leftovers = append(st.Leftovers, path)
		}
	}
	return nil
}

// unmanagedPrefix begins the names of toolchains that were at gofleet_link
// before gofleet came.
const unmanagedPrefix = "go.unmanaged-"

// isLeftover knows what durable writing and a prepared exchange leave in the
// root when they are cut.
func isLeftover(name string, e fs.DirEntry) bool {
	return strings.HasPrefix(name, ".gofleet-") ||
		strings.HasPrefix(name, unmanagedPrefix) && e.Type()&fs.ModeSymlink != 0
}

// inspectLink looks at gofleet_link.
func (s *Store) inspectLink() (Link, error) {
	st, err := os.Lstat(s.Link)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return Link{Kind: LinkNone}, nil
	}
	if err != nil {
		return Link{}, fmt.Errorf("look at gofleet_link: %w", err)
	}
	switch {
	case st.Mode()&fs.ModeSymlink != 0:
		return s.followLink()
	case isMount(s.Link):
		return Link{Kind: LinkMount, Dir: s.Link, Version: versionIn(s.Link)}, nil
	case st.IsDir():
		return Link{Kind: LinkUnmanaged, Dir: s.Link, Version: versionIn(s.Link)}, nil
	}
	return Link{Kind: LinkFile}, nil
}

func (s *Store) followLink() (Link, error) {
	to, err := os.Readlink(s.Link)
	if err != nil {
		return Link{}, fmt.Errorf("read gofleet_link: %w", err)
	}
	l := Link{Kind: LinkForeign, Target: to}
	path := to
	if !filepath.IsAbs(path) {
		path = filepath.Join(filepath.Dir(s.Link), path)
	}
	path = filepath.Clean(path)
	if filepath.Dir(path) == s.Root || sameDir(filepath.Dir(path), s.Root) {
		path = filepath.Join(s.Root, filepath.Base(path))
		if version, ok := versionOf(filepath.Base(path)); ok {
			l.Kind = LinkManaged
			if dir, err := os.Lstat(path); err == nil && dir.IsDir() {
				l.Dir, l.Version = path, version
			}
			return l, nil
		}
		if strings.HasPrefix(filepath.Base(path), unmanagedPrefix) {
			l.Kind = LinkKept
		}
	}
	if dir, err := os.Stat(s.Link); err == nil && dir.IsDir() {
		l.Dir, l.Version = path, versionIn(s.Link)
	}
	return l, nil
}

func sameDir(a, b string) bool {
	x, err1 := os.Stat(a)
	y, err2 := os.Stat(b)
	return err1 == nil && err2 == nil && os.SameFile(x, y)
}

// versionIn reads the VERSION file of a GOROOT, without "go"; "" if there is
// none that can be believed.
func versionIn(dir string) string {
	f, err := os.OpenFile(filepath.Join(dir, "VERSION"), os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return ""
	}
	defer f.Close()
	b := make([]byte, 64)
	n, _ := f.Read(b)
	line, _, _ := bytes.Cut(b[:n], []byte{'\n'})
	if v, ok := versionOf(strings.TrimSpace(string(line))); ok {
		return v
	}
	return ""
}

// isMount reports whether something is mounted at path.
func isMount(path string) bool {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return false
	}
	points := mountPoints()
	if points == nil {
		return otherDevice(real)
	}
	return slices.Contains(points, real)
}

// mountPoints are those that this process sees; nil where /proc doesn't tell.
func mountPoints() []string {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil
	}
	var points []string
	for _, line := range strings.SplitAfter(string(b), "\n") {
		if f := strings.Fields(line); len(f) > 4 {
			points = append(points, unescapeMount(f[4]))
		}
	}
	return points
}

// otherDevice is the poorer test, for hosts without /proc.
func otherDevice(path string) bool {
	var a, b unix.Stat_t
	return unix.Lstat(path, &a) == nil && unix.Lstat(filepath.Dir(path), &b) == nil && a.Dev != b.Dev
}

// unescapeMount undoes the octal escapes of mountinfo.
func unescapeMount(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}
