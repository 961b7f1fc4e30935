package baseline

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/gofleet/gofleet/agent/internal/account"
	"github.com/gofleet/gofleet/agent/internal/change"
	"github.com/gofleet/gofleet/agent/internal/hostfile"
	"github.com/gofleet/gofleet/agent/internal/record"
	"github.com/gofleet/gofleet/agent/spec"
	"github.com/gofleet/gofleet/agent/wire"
)

// directories plans the directories, parents before what is in them, and then
// takes away those that an earlier run made and nothing names any more.
func directories(ctx context.Context, p *planner) error {
	if len(p.want.Directories)+len(p.rec.Directories) == 0 {
		return nil
	}
	if os.Geteuid() != 0 {
		return wire.NewError(wire.KindNeedsRoot, errors.New("directories with owners need root"), "run with -b, or drop gofleet_directories")
	}
	sorted := slices.Clone(p.want.Directories)
	sort.SliceStable(sorted, func(i, j int) bool { return sorted[i].Path < sorted[j].Path })
	wanted := map[string]bool{}
	for _, d := range sorted {
		wanted[d.Path] = true
	}
	made := map[string]bool{}
	caches := p.want.Cache.Dirs()
	for _, d := range sorted {
		if slices.Contains(caches, d.Path) {
			p.variable = "cache"
		} else {
			p.variable = "directories"
		}
		if err := p.directory(ctx, d, wanted, made); err != nil {
			return fmt.Errorf("%s: %w", d.Path, err)
		}
	}
	p.variable = "directories"
	going := map[string]bool{}
	paths := slices.Sorted(maps.Keys(p.rec.Directories))
	slices.Reverse(paths) // what is in a directory before it
	for _, path := range paths {
		if wanted[path] {
			continue
		}
		if err := p.removeDirectory(path, wanted, going); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return nil
}

// owners is who a directory is to belong to. Pending, one of the two is made
// in the same run.
type owners struct {
	uid, gid uint32
	pending  bool
}

// ownersOf looks the owner and group of a directory up.
func (p *planner) ownersOf(ctx context.Context, d spec.Directory) (o owners, err error) {
	made := func(name string) bool {
		for _, u := range p.want.Accounts() {
			if u.Name == name {
				return true
			}
		}
		return false
	}
	o.uid, o.gid, err = account.Numbers(ctx, d.Owner)
	switch {
	case errors.Is(err, account.ErrNotFound) && made(d.Owner):
		o.pending = true
	case errors.Is(err, account.ErrNotFound):
		return o, refused(fmt.Errorf("owner %s is not on this host", d.Owner), "name an account that is there, or add it to gofleet_users")
	case err != nil:
		return o, err
	}
	if d.Group == "" {
		return o, nil
	}
	o.gid, err = account.GroupNumber(ctx, d.Group)
	switch {
	case errors.Is(err, account.ErrNotFound) && made(d.Group):
		o.pending = true
	case errors.Is(err, account.ErrNotFound):
		return o, refused(fmt.Errorf("group %s is not on this host", d.Group), fmt.Sprintf("make it (groupadd %s), or name another", d.Group))
	case err != nil:
		return o, err
	}
	return o, nil
}

// directory plans one directory. made gets the parents that steps have made
// without anything naming them.
func (p *planner) directory(ctx context.Context, d spec.Directory, wanted, made map[string]bool) error {
	o, err := p.ownersOf(ctx, d)
	if err != nil {
		return err
	}
	at, err := lookAt(d, o)
	if err != nil {
		return err
	}
	defer at.Close()
	noted := p.rec.Directories[d.Path]
	right := at.st != nil && !o.pending && at.st.Uid == o.uid && at.st.Gid == o.gid && at.st.Mode&0o7777 == d.Mode
	if right {
		p.rec.Directories[d.Path] = given(noted, d, o)
		return nil
	}
	step := change.Step{
		Name: "make directory " + d.Path, Path: d.Path,
		Diff:  fmt.Sprintf("directory %s, owner %s, mode %04o\n", d.Path, ownerText(d), d.Mode),
		Drift: noted != nil && noted.Set,
	}
	if at.st != nil {
		if err := at.mayTake(d, noted); err != nil {
			return err
		}
		step.Name = "set owner and mode of " + d.Path
		step.Diff = fmt.Sprintf("owner %d:%d mode %04o becomes %s %04o\n", at.st.Uid, at.st.Gid, at.st.Mode&0o7777, ownerText(d), d.Mode)
		step.Drift = step.Drift && (at.st.Uid != noted.UID || at.st.Gid != noted.GID || at.st.Mode&0o7777 != noted.Mode)
	} else {
		// Noted before it is made: a run that is cut is to know it for ours.
		p.rec.Directories[d.Path] = &record.Directory{Made: true, Above: upTo(at.above(), wanted)}
	}
	m := &making{p: p, want: d, noted: noted, above: made}
	step.Do, step.Undo = m.do, m.undo
	p.steps = append(p.steps, step)
	return nil
}

func ownerText(d spec.Directory) string {
	if d.Group == "" {
		return d.Owner
	}
	return d.Owner + ":" + d.Group
}

// given is what is noted of a directory that is as it should be.
func given(noted *record.Directory, d spec.Directory, o owners) *record.Directory {
	n := &record.Directory{Set: true, UID: o.uid, GID: o.gid, Mode: d.Mode}
	if noted != nil {
		n.Made, n.Above = noted.Made, noted.Above
	}
	return n
}

// found is a directory, or the place where it would be.
type found struct {
	*hostfile.Place // its parent, or what there is of it
	name            string
	st              *unix.Stat_t // nil: it isn't there
}

// lookAt goes to a directory's parent and looks what stands there, refusing
// what its owner, or anybody else but root, could have put in the way.
func lookAt(d spec.Directory, o owners) (*found, error) {
	place, err := hostfile.ReachOf(filepath.Dir(d.Path), o.uid)
	var untrusted *hostfile.UntrustedError
	if errors.As(err, &untrusted) {
		return nil, refused(err, "every directory above must be root's, or the owner's own, and writable by nobody else: put that right, or choose another path")
	}
	if err != nil {
		return nil, err
	}
	at := &found{Place: place, name: filepath.Base(d.Path)}
	if len(at.Missing) > 0 {
		return at, nil
	}
	var st unix.Stat_t
	err = unix.Fstatat(at.FD, at.name, &st, unix.AT_SYMLINK_NOFOLLOW)
	if errors.Is(err, fs.ErrNotExist) {
		return at, nil
	}
	if err == nil {
		at.st = &st
		err = at.refuse(o)
	}
	if err != nil {
		at.Close()
		return nil, err
	}
	return at, nil
}

func (at *found) refuse(o owners) error {
	switch kind := at.st.Mode & unix.S_IFMT; {
	case kind == unix.S_IFLNK:
		return refused(errors.New("is a link"), "name the directory that it leads to")
	case kind != unix.S_IFDIR:
		return refused(errors.New("is not a directory"), "move it away and apply again")
	case at.Theirs && at.st.Uid != o.uid, at.Sticky && at.st.Uid != o.uid && at.st.Uid != 0:
		return refused(fmt.Errorf("belongs to uid %d, who made it in a directory that others than root can write", at.st.Uid), "look what it is, and chown or remove it")
	}
	return nil
}

// mayTake refuses to change a directory of the system's that gofleet did not make.
func (at *found) mayTake(d spec.Directory, noted *record.Directory) error {
	top, _, _ := strings.Cut(d.Path[1:], "/")
	local := strings.HasPrefix(d.Path, "/usr/local/")
	if noted == nil && !local && (top == "etc" || top == "usr") {
		return refused(fmt.Errorf("is there already, with owner %d:%d and mode %04o", at.st.Uid, at.st.Gid, at.st.Mode&0o7777),
			"directories in /"+top+" that gofleet did not make may be the system's: change it by hand, or choose another path")
	}
	return nil
}

// above are the parents that are missing, the deepest first.
func (at *found) above() []string {
	var all []string
	path := at.Path
	for _, name := range at.Missing {
		path = filepath.Join(path, name)
		all = append([]string{path}, all...)
	}
	return all
}

// upTo is the part of paths before the first that is wanted for itself.
func upTo(paths []string, wanted map[string]bool) []string {
	if i := slices.IndexFunc(paths, func(path string) bool { return wanted[path] }); i >= 0 {
		return paths[:i]
	}
	return paths
}

// making is the step of one directory.
type making struct {
	p     *planner
	want  spec.Directory
	noted *record.Directory // before the run
	above map[string]bool   // parents that steps of this run have made

	before *unix.Stat_t // what was changed; nil: nothing was there
	made   []string     // the deepest first
}

func (m *making) do(ctx context.Context) error {
	o, err := m.p.ownersOf(ctx, m.want)
	if err == nil && o.pending {
		err = fmt.Errorf("owner %s or group %s was to be made in this run and is not on this host", m.want.Owner, m.want.Group)
	}
	if err != nil {
		return err
	}
	if err := m.parents(o); err != nil {
		return err
	}
	at, err := lookAt(m.want, o)
	if err != nil {
		return err
	}
	defer at.Close()
	if at.st == nil {
		if err := at.make(o); err != nil {
			return fmt.Errorf("make %s: %w", m.want.Path, err)
		}
		m.made = append([]string{m.want.Path}, m.made...)
	} else {
		m.before = at.st
	}
	if err := at.set(o, m.want.Mode); err != nil {
		return err
	}
	n := given(m.p.rec.Directories[m.want.Path], m.want, o)
	if m.before == nil {
		n.Above = slices.DeleteFunc(slices.Clone(n.Above), func(path string) bool { return !m.above[path] })
	}
	m.p.rec.Directories[m.want.Path] = n
	return hostfile.Relabel(ctx, m.made...)
}

// parents makes what is missing above: root's, 0755.
func (m *making) parents(o owners) error {
	at, err := lookAt(m.want, o)
	if err != nil {
		return err
	}
	defer at.Close()
	above := at.above()
	slices.Reverse(above)
	for _, path := range above {
		d, root := spec.Directory{Path: path, Mode: 0o755}, owners{}
		if at.Theirs {
			root = o
		}
		up, err := lookAt(d, root)
		if err != nil {
			return err
		}
		if up.st == nil {
			if err = up.make(root); err == nil {
				m.made, m.above[path] = append([]string{path}, m.made...), true
				err = up.set(root, d.Mode)
			}
		}
		up.Close()
		if err != nil {
			return fmt.Errorf("make %s: %w", path, err)
		}
	}
	return nil
}

func (m *making) undo() error {
	if m.noted == nil {
		delete(m.p.rec.Directories, m.want.Path)
	} else {
		m.p.rec.Directories[m.want.Path] = m.noted
	}
	if st := m.before; st != nil {
		at, err := lookAt(m.want, owners{uid: ownerNow(m.want.Path)})
		if err != nil {
			return err
		}
		defer at.Close()
		if at.st == nil {
			return nil
		}
		return at.set(owners{uid: st.Uid, gid: st.Gid}, st.Mode&0o7777)
	}
	return hostfile.RemoveDirs(m.made)
}

// ownerNow is the uid of what stands at path.
func ownerNow(path string) uint32 {
	var st unix.Stat_t
	if unix.Lstat(path, &st) != nil {
		return 0
	}
	return st.Uid
}
