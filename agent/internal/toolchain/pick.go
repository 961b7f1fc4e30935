package toolchain

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/gofleet/gofleet/agent/tree"
	"github.com/gofleet/gofleet/agent/wire"
)

// Pick begins a tree in staging of which only some files are to be brought:
// those are all that it lacks.
func (s *Store) Pick(ctx context.Context, m tree.Manifest, wanted func(path string) bool) (*Gathered, error) {
	var picked []int
	for i := range m {
		if !m[i].Dir && wanted(m[i].Path) {
			picked = append(picked, i)
		}
	}
	if len(picked) == 0 {
		return nil, errors.New("none of the files is there")
	}
	g := &Gathered{store: s, tree: m}
	if err := g.gather(ctx, &gatherer{}); err != nil {
		return nil, errors.Join(hostError(fmt.Errorf("make room for %d files: %w", len(picked), err)), g.Discard())
	}
	g.lacks = picked
	return g, nil
}

// aside is where SetAside moves a tree of a part.
func (s *Store) aside(part wire.Part) string { return s.FilesLink(part) + "-new" }

// Aside is the directory that SetAside made in an earlier run, if every wanted
// file is in it as m has it; else "". Every byte is hashed.
func (s *Store) Aside(ctx context.Context, part wire.Part, m tree.Manifest, wanted func(path string) bool) (string, error) {
	dir, buf := s.aside(part), make([]byte, 128<<10)
	for i := range m {
		if m[i].Dir || !wanted(m[i].Path) {
			continue
		}
		path := filepath.Join(dir, m[i].Path)
		there, err := likeEntry(path, &m[i])
		if err == nil && there {
			there, err = sameContent(ctx, path, &m[i], buf)
		}
		if err != nil || !there {
			return "", hostError(err)
		}
	}
	return dir, nil
}

// SetAside moves a tree out of staging, which the next transfer sweeps, to a
// directory of its own that only its owner can enter. SweepFiles removes it.
func (s *Store) SetAside(part wire.Part, st *Staged) (dir string, err error) {
	defer func() { err = hostError(errors.Join(err, st.Discard())) }()
	dir = s.aside(part)
	if err := os.RemoveAll(dir); err != nil {
		return "", err
	}
	if err := os.Chmod(st.Dir, 0o700); err != nil {
		return "", err
	}
	return dir, os.Rename(st.Dir, dir)
}
