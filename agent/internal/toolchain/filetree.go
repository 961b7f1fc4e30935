package toolchain

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gofleet/gofleet/agent/internal/durable"
	"github.com/gofleet/gofleet/agent/tree"
	"github.com/gofleet/gofleet/agent/wire"
)

// A file tree, such as a module cache, lies in a directory of its own in the
// root, modules-<part of its sum>, with its manifest beside its files; the link
// modules leads to it. So what GOPROXY names is always one whole cache, and
// another one takes its place in one rename. Files that both have are one file
// with two names. The sources of a GOPATH lie there in the same way.
const (
	FilesName     = "cache" // of the directory of files in that of a tree
	filesManifest = "manifest"
)

// hasVersion tells a toolchain from a file tree.
func hasVersion(r wire.Release) bool { return r.Version != "" }

// FileTree is one of a host's file trees as it is.
type FileTree struct {
	Part   wire.Part
	Dir    string        // that the link leads to; "" for none
	Header *Header       // nil: there is none that can be believed
	Tree   tree.Manifest // of Dir
	Drift  []wire.Drift  // absolute paths
	target string        // of the link
	others []string      // further directories, of runs that were cut
}

// FilesLink is the link to a file tree, the one that GOPROXY leads through for
// modules.
func (l *Layout) FilesLink(part wire.Part) string { return filepath.Join(l.Root, string(part)) }

// fileTrees are the directories of a part.
func (l *Layout) fileTrees(part wire.Part) ([]string, error) {
	return filepath.Glob(filepath.Join(l.Root, string(part)+"-*"))
}

// InspectFiles looks and changes nothing. Drift is looked for by size, mode
// and owner of every file; with deep by content too, and for what is extra.
// Something that is not gofleet's where the link should be is an error of kind
// link_refused; a newer format is one of kind manifest_newer.
func (s *Store) InspectFiles(ctx context.Context, part wire.Part, deep bool) (*FileTree, error) {
	m := &FileTree{Part: part}
	target, err := os.Readlink(s.FilesLink(part))
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil || !strings.HasPrefix(target, string(part)+"-") || strings.Contains(target, "/"):
		return nil, wire.NewError(wire.KindLink, fmt.Errorf("%s is there, and not gofleet's", s.FilesLink(part)),
			"move it away: gofleet_"+string(part)+" has its place there")
	default:
		m.target, m.Dir = target, filepath.Join(s.Root, target)
	}
	if m.others, err = s.fileTrees(part); err != nil {
		return nil, err
	}
	for i, dir := range m.others {
		if dir == m.Dir {
			m.others = append(m.others[:i], m.others[i+1:]...)
			break
		}
	}
	if m.Dir != "" {
		err = m.load(ctx, deep)
	}
	return m, hostError(err)
}

// load reads the manifest and looks for drift.
func (m *FileTree) load(ctx context.Context, deep bool) error {
	path := filepath.Join(m.Dir, filesManifest)
	manifest, err := readFiles(m.Dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		m.Drift = []wire.Drift{{Path: path, How: howMissing}}
		return nil
	case isMissing(err):
		m.Drift = []wire.Drift{{Path: path, How: howContent}}
		return nil
	case err != nil:
		return err
	}
	if m.Tree, err = manifest.Entries(); err != nil {
		return err
	}
	m.Header = &manifest.Header
	m.Drift, err = filesDrift(ctx, filepath.Join(m.Dir, FilesName), manifest, m.Tree, deep)
	return err
}

func readFiles(dir string) (*Manifest, error) {
	path := filepath.Join(dir, filesManifest)
	b, err := readUpTo(path, maxManifest)
	if err != nil {
		return nil, err
	}
	return parseManifest(path, b)
}

// filesDrift looks at every file: an altered one is refused by the go command
// when a build needs it, which is late.
func filesDrift(ctx context.Context, dir string, m *Manifest, want tree.Manifest, deep bool) ([]wire.Drift, error) {
	if deep {
		return drift(ctx, dir, m, true)
	}
	var found []wire.Drift
	for i := range want {
		path := filepath.Join(dir, want[i].Path)
		how, err := differs(path, &want[i])
		if err != nil {
			return nil, fmt.Errorf("look for drift in %s: %w", dir, err)
		}
		if how != "" {
			found = append(found, wire.Drift{Path: path, How: how})
		}
	}
	return found, nil
}

// Has reports whether the cache is this one, unaltered.
func (m *FileTree) Has(want wire.Release) bool {
	return m.Header != nil && m.Header.Tree == want.Tree && len(m.Drift) == 0
}

// Known is the manifest of what is wanted if the host has it: what is to be
// repaired.
func (m *FileTree) Known(want wire.Release) tree.Manifest {
	if m.Header != nil && m.Header.Tree == want.Tree {
		return m.Tree
	}
	return nil
}

// Lacking are the files of want that the cache does not have, by what its
// manifest says and by its drift, and how many bytes they have.
func (m *FileTree) Lacking(want tree.Manifest) (files int, size int64) {
	have := map[string]bool{}
	for i := range m.Tree {
		have[string(m.Tree[i].SHA256[:])] = true
	}
	for _, d := range m.Drift {
		path := strings.TrimPrefix(d.Path, filepath.Join(m.Dir, FilesName)+"/")
		if e := m.Tree.Find(path); e != nil && !e.Dir {
			delete(have, string(e.SHA256[:]))
		}
	}
	for i := range want {
		if !want[i].Dir && !have[string(want[i].SHA256[:])] {
			files++
			size += want[i].Size
		}
	}
	return files, size
}

// GatherFiles puts the files of the tree want together in staging, those
// that the host has already under another name. Every byte is hashed.
func (s *Store) GatherFiles(ctx context.Context, m *FileTree, want tree.Manifest) (*Gathered, error) {
	var bases Bases
	for _, dir := range append([]string{m.Dir}, m.others...) {
		manifest, err := readFiles(dir)
		if dir == "" || err != nil {
			continue
		}
		entries, err := manifest.Entries()
		if err != nil {
			continue
		}
		bases = append(bases, newBase(filepath.Join(dir, FilesName), entries))
	}
	g := &Gathered{store: s, tree: want}
	if err := g.gather(ctx, &gatherer{bases: bases, link: true}); err != nil {
		return nil, errors.Join(hostError(fmt.Errorf("gather the files that the host has: %w", err)), g.Discard())
	}
	return g, nil
}

// Spare gives a directory that has the wanted cache already and is in no use:
// a run was cut before its switch. "" is none.
func (s *Store) Spare(ctx context.Context, m *FileTree, want wire.Release) (string, error) {
	for _, dir := range m.others {
		spare := &FileTree{Part: m.Part, Dir: dir}
		if err := spare.load(ctx, false); err != nil {
			return "", hostError(err)
		}
		if spare.Has(want) {
			return dir, nil
		}
	}
	return "", nil
}

// Committed are the lists of the trees that nothing leads to: a run was cut
// before its switch.
func (s *Store) Committed(m *FileTree) ([]tree.Manifest, error) {
	var all []tree.Manifest
	for _, dir := range m.others {
		manifest, err := readFiles(dir)
		if isMissing(err) {
			continue
		}
		var entries tree.Manifest
		if err == nil {
			entries, err = manifest.Entries()
		}
		if err != nil {
			return nil, hostError(err)
		}
		all = append(all, entries)
	}
	return all, nil
}

// CommitFiles gives what is staged a directory in the root, which nothing
// leads to yet, and its path. Staging is gone afterwards.
func (s *Store) CommitFiles(m *FileTree, st *Staged) (dir string, err error) {
	defer func() { err = hostError(errors.Join(err, st.Discard())) }()
	dir = s.FilesLink(m.Part) + "-" + st.Release.Tree.SHA256[:16]
	if dir == m.Dir {
		dir += "-2" // the one in use is to be repaired
	}
	if err := errors.Join(os.RemoveAll(dir), makeDir(dir, 0o755), os.Chmod(st.Dir, 0o755)); err != nil {
		return "", err
	}
	if err := os.Rename(st.Dir, filepath.Join(dir, FilesName)); err != nil {
		return "", fmt.Errorf("move the staged files: %w", err)
	}
	if err := syncAll(s.Root); err != nil {
		return "", err
	}
	r := st.Release
	manifest := &Manifest{text: st.tree.Encode(), Header: Header{
		Format: Format, Archive: r.Name, Evidence: r.Evidence, Tree: r.Tree, DiskBytes: diskBytes(st.tree),
		Installed: time.Now().UTC().Truncate(time.Second), Gofleet: s.Gofleet,
	}}
	b, err := manifest.encode()
	if err == nil {
		err = durable.WriteFile(filepath.Join(dir, filesManifest), b, 0o644)
	}
	return dir, err
}

// SwitchFiles makes the link lead to dir in one rename; "" takes it away.
func (s *Store) SwitchFiles(part wire.Part, dir string) error {
	if dir == "" {
		return hostError(durable.Remove(s.FilesLink(part)))
	}
	return hostError(durable.Symlink(filepath.Base(dir), s.FilesLink(part)))
}

// SweepFiles removes every tree that the link does not lead to.
func (s *Store) SweepFiles(ctx context.Context, part wire.Part) error {
	dirs, err := s.fileTrees(part)
	if err != nil {
		return err
	}
	target, err := os.Readlink(s.FilesLink(part))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return hostError(err)
	}
	for _, dir := range dirs {
		if filepath.Base(dir) == target {
			continue
		}
		if err := ctx.Err(); err != nil {
			return stopped(context.Cause(ctx))
		}
		if err := os.RemoveAll(dir); err != nil {
			return hostError(fmt.Errorf("remove %s: %w", dir, err))
		}
	}
	return nil
}
