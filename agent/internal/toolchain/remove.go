package toolchain

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"

	"github.com/gofleet/gofleet/agent/internal/change"
	"github.com/gofleet/gofleet/agent/internal/durable"
	"github.com/gofleet/gofleet/agent/internal/record"
	"github.com/gofleet/gofleet/agent/spec"
	"github.com/gofleet/gofleet/agent/wire"
)

// Rollback is where a rollback goes.
type Rollback struct {
	Dir     string        // the GOROOT
	Version string        // without "go"; "" if its VERSION cannot be read
	Managed bool          // false: a toolchain that gofleet did not install
	Steps   []change.Step // none: nothing is to be done
}

// PlanRollback gives the way back to the recorded previous toolchain, or to
// the version to. Without a previous one there is nothing to do, and the
// result is about the current one; a version that is not on the host is an
// error of kind not_installed. The previous toolchain is forgotten, so that a
// second rollback does nothing.
func (s *Store) PlanRollback(st *State, to string, rec *record.Record) (*Rollback, error) {
	if err := s.refuseLink(st.Link); err != nil {
		return nil, err
	}
	previous := st.Previous
	if to != "" {
		if t := st.find(to); t == nil || t.Header == nil {
			return nil, wire.NewError(wire.KindNotInstalled, fmt.Errorf("go%s is not on this host", to), st.hint())
		}
		previous = "go" + to
	}
	dir := s.place(previous)
	if previous == "" || dir == st.Link.Dir {
		return &Rollback{Dir: st.Link.Dir, Version: st.Before, Managed: st.Current != nil}, nil
	}
	rb := &Rollback{Dir: dir, Version: versionIn(dir)}
	if v, ok := versionOf(filepath.Base(dir)); ok && filepath.Dir(dir) == s.Root {
		rb.Managed, rb.Version = true, v
	}
	noted, ours := rec.Files[s.Link]
	forgot := ""
	rb.Steps = []change.Step{{
		Name:  fmt.Sprintf("roll %s back to %s", s.Link, filepath.Base(dir)),
		Path:  s.Link,
		Drift: ours && noted != linkPrefix+st.Link.Target,
		Diff:  s.linkDiff(st.Link, target(s.Link, dir)),
		Do: func(ctx context.Context) error {
			var err error
			if forgot, err = s.forgetPrevious(rb); err != nil {
				return hostError(err)
			}
			if st.Link.Kind == LinkUnmanaged {
				return hostError(s.replaceDirectory(rb.Version, st.Link, rec))
			}
			return hostError(s.pointTo(dir, rec))
		},
		Undo: func() error {
			err := s.switchBack(st.Link, rec, noted)
			if forgot != "" {
				err = errors.Join(err, s.setPrevious(rb.Version, forgot))
			}
			return err
		},
	}}
	return rb, nil
}

// forgetPrevious clears the record of the toolchain that is rolled back to,
// and gives what it was.
func (s *Store) forgetPrevious(rb *Rollback) (string, error) {
	if !rb.Managed {
		return "", nil
	}
	m, err := s.readManifest(rb.Version)
	if err != nil {
		return "", err
	}
	if err := s.setPrevious(rb.Version, ""); err != nil {
		return "", err
	}
	s.fault("rollback.forgotten")
	return m.Previous, nil
}

// hint names what is on the host.
func (st *State) hint() string {
	var names []string
	for i := range st.Toolchains {
		names = append(names, st.Toolchains[i].Version)
	}
	if len(names) == 0 {
		return "no toolchain of gofleet's is on this host"
	}
	// Not by when they were installed, in which hosts differ.
	sort.SliceStable(names, func(i, j int) bool { return spec.CompareVersions(names[i], names[j]) > 0 })
	return "on this host: " + strings.Join(names, ", ")
}

// PlanRemove gives the step that removes one version. The current one, and one
// that a process uses, is refused with in_use; one that is not there is
// not_installed.
func (s *Store) PlanRemove(st *State, version string) ([]change.Step, error) {
	t := st.find(version)
	switch {
	case t == nil:
		return nil, wire.NewError(wire.KindNotInstalled, fmt.Errorf("go%s is not on this host", version), st.hint())
	case t.Dir == st.Link.Dir:
		return nil, wire.NewError(wire.KindInUse, fmt.Errorf("go%s is the current toolchain", version),
			"apply or roll back to another version first")
	case t.newer():
		return nil, s.refuseNewer(t)
	}
	if err := refuseRunning(t.Dir); err != nil {
		return nil, err
	}
	return []change.Step{s.removeStep(version)}, nil
}

func (t *Toolchain) newer() bool { return t.Header != nil && t.Header.Format > Format }

func (s *Store) refuseNewer(t *Toolchain) error {
	return wire.NewError(wire.KindFormat, fmt.Errorf("%s was written by a newer gofleet", s.Manifest(t.Version)),
		"use the newer gofleet that wrote it")
}

func refuseRunning(dir string) error {
	if users := usersOf(dir); len(users) > 0 {
		return wire.NewError(wire.KindInUse, fmt.Errorf("%s is in use by %s", dir, processes(users)),
			"end what runs from it or has a file of it open, and try again")
	}
	return nil
}

func (s *Store) removeStep(version string) change.Step {
	return change.Step{
		Name: "remove " + s.Dir(version),
		Path: s.Dir(version),
		Do:   func(context.Context) error { return hostError(s.remove(version)) },
	}
}

// PlanRemoveAll gives the steps that remove everything of gofleet's from root
// and link: the link, or what it replaced put back, every toolchain, manifests
// and host record. Call it after those who need the record. warnings name what
// stays because it is not gofleet's.
func (s *Store) PlanRemoveAll(st *State, rec *record.Record) (steps []change.Step, warnings []string, err error) {
	for i := range st.Toolchains {
		t := &st.Toolchains[i]
		if t.newer() {
			return nil, nil, s.refuseNewer(t)
		}
		if err := refuseRunning(t.Dir); err != nil {
			return nil, nil, err
		}
	}
	kept, hasKept := rec.Kept[s.Link]
	switch st.Link.Kind {
	case LinkManaged, LinkKept:
		steps = append(steps, s.removeLinkStep(st, rec))
	case LinkForeign, LinkUnmanaged, LinkMount, LinkFile:
		warnings = append(warnings, fmt.Sprintf("%s is not gofleet's and stays", s.Link))
		hasKept = false
	}
	for i := range st.Toolchains {
		steps = append(steps, s.removeStep(st.Toolchains[i].Version))
	}
	for _, name := range st.Unmanaged {
		if path := filepath.Join(s.Root, name); !hasKept || kept != path {
			warnings = append(warnings, fmt.Sprintf("%s was here before gofleet and stays", path))
		}
	}
	if ours, err := s.ownsRoot(); err != nil || !ours {
		return steps, warnings, hostError(err)
	}
	return append(steps, change.Step{
		Name: "remove " + s.Root,
		Path: s.Root,
		Do:   func(context.Context) error { return hostError(s.removeRoot()) },
	}), warnings, nil
}

// removeLinkStep removes the link, or puts back what it replaced.
func (s *Store) removeLinkStep(st *State, rec *record.Record) change.Step {
	step := change.Step{Name: "remove " + s.Link, Path: s.Link}
	kept, ok := rec.Kept[s.Link]
	old, wasLink := strings.CutPrefix(kept, linkPrefix)
	if dir, err := os.Lstat(kept); ok && (wasLink || err == nil && dir.IsDir()) {
		step.Name = "put back what was at " + s.Link
	} else {
		ok = false
	}
	step.Do = func(context.Context) error {
		var err error
		switch {
		case ok && wasLink:
			err = durable.Symlink(old, s.Link)
		case ok:
			err = s.putBack(kept)
		default:
			err = durable.Remove(s.Link)
		}
		if err != nil {
			return hostError(err)
		}
		s.fault("remove.unlinked")
		delete(rec.Kept, s.Link)
		delete(rec.Files, s.Link)
		return nil
	}
	return step
}

// removeRoot removes what is gofleet's in the root, and the root if nothing
// else is in it.
func (s *Store) removeRoot() error {
	for _, path := range s.ownInRoot() {
		if err := os.RemoveAll(path); err != nil {
			return err
		}
	}
	if s.User {
		os.Remove(filepath.Join(s.Root, linksDir)) // if nothing else is in it
	}
	entries, err := os.ReadDir(s.Root)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(entries, s.foreign) {
		return nil // the agent's cache among it, which all roots share
	}
	// Lock knows that a file which is no longer at its path is no lock.
	if err := os.Remove(filepath.Join(s.Root, lockName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return durable.Remove(s.Root)
}

// Nothing tells that an ordinary user has nothing that could be locked: the
// lock would lie in the root, and making that would be a change.
func (s *Store) Nothing() bool {
	_, err := os.Lstat(s.Root)
	return s.User && errors.Is(err, fs.ErrNotExist)
}

// linksDir is where an ordinary user's links to the commands are, in the root.
const linksDir = "bin"

// ownInRoot are the paths in the root that are gofleet's, toolchains apart.
func (s *Store) ownInRoot() []string { return []string{s.Staging(), s.Manifests(), s.intent()} }

// foreign tells what in the root is neither gofleet's nor to be removed with
// it. The links are removed before.
func (s *Store) foreign(e os.DirEntry) bool {
	switch e.Name() {
	case lockName:
		return false
	case linksDir:
		inside, err := os.ReadDir(filepath.Join(s.Root, linksDir))
		return !s.User || err != nil || slices.ContainsFunc(inside, func(e os.DirEntry) bool { return e.Name() != "go" && e.Name() != "gofmt" })
	}
	return true
}

// ownsRoot tells whether something in the root is gofleet's, or the root
// itself, with nothing in it.
func (s *Store) ownsRoot() (bool, error) {
	entries, err := os.ReadDir(s.Root)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	for _, path := range s.ownInRoot() {
		if _, statErr := os.Lstat(path); statErr == nil {
			return true, err
		}
	}
	return !slices.ContainsFunc(entries, s.foreign), err
}

// PlanPrune gives the steps that remove older toolchains, so that keep stay
// beside current, the version that the link leads to when they run. The one
// that a rollback would go to counts among them and always stays; so does what
// a process uses, of which a warning tells, and what is not gofleet's.
func (s *Store) PlanPrune(st *State, current string, keep int) (steps []change.Step, warnings []string) {
	previous := st.Previous
	if st.Current == nil || st.Current.Version != current {
		previous = s.leadsTo(st.Link)
	}
	var others []*Toolchain
	for i := range st.Toolchains {
		t := &st.Toolchains[i]
		switch {
		case t.Version == current, t.newer():
		case "go"+t.Version == previous:
			keep--
		default:
			others = append(others, t)
		}
	}
	for i, t := range others { // newest installed first
		if i < keep {
			continue
		}
		if users := usersOf(t.Dir); len(users) > 0 {
			warnings = append(warnings, fmt.Sprintf("%s stays until a later run: it is in use by %s", t.Dir, processes(users)))
			continue
		}
		steps = append(steps, s.removeStep(t.Version))
	}
	return steps, warnings
}
