package toolchain

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/gofleet/gofleet/agent/internal/durable"
	"github.com/gofleet/gofleet/agent/internal/record"
)

// Sweep completes and removes what a crash left: a link that was being made,
// versioned directories without a manifest, everything in staging, temporary
// files. With keepUploads, uploads that may still be resumed stay; Receive
// removes those it doesn't want. Every changing run begins with it, under the
// lock; what it does is no change to report. It updates rec in memory.
func (s *Store) Sweep(keepUploads bool, rec *record.Record) error {
	if _, err := os.Lstat(s.Root); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err := s.completeIntent(rec); err != nil {
		return hostError(err)
	}
	s.fault("sweep.completed")
	if err := s.sweep(keepUploads); err != nil {
		return hostError(fmt.Errorf("sweep what an earlier run left: %w", err))
	}
	return nil
}

func (s *Store) sweep(keepUploads bool) error {
	if err := s.sweepStaging(keepUploads); err != nil {
		return err
	}
	st := &State{}
	var err error
	if st.Link, err = s.inspectLink(); err != nil {
		return err
	}
	if err := s.list(st); err != nil {
		return err
	}
	for _, path := range st.Leftovers {
		switch version, ok := versionOf(filepath.Base(path)); {
		case path == s.Staging():
		case ok:
			err = s.remove(version)
		default:
			err = os.RemoveAll(path)
		}
		if err != nil {
			return err
		}
	}
	places := []string{s.Manifests(), filepath.Dir(s.Link)}
	entries, err := os.ReadDir(s.Root)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if _, ok := versionOf(e.Name()); ok && e.IsDir() {
			places = append(places, filepath.Join(s.Root, e.Name())) // where go.env is written
		}
	}
	for _, dir := range places {
		if err := durable.Sweep(dir); err != nil {
			return err
		}
	}
	return s.sweepManifests()
}

// sweepStaging removes what is staged, resumable uploads apart if keepUploads
// is set, and apart from the directories whose names are spared.
func (s *Store) sweepStaging(keepUploads bool, spared ...string) error {
	entries, err := os.ReadDir(s.Staging())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		dir := filepath.Join(s.Staging(), e.Name())
		switch {
		case slices.Contains(spared, e.Name()):
			continue
		case keepUploads && keepable(filepath.Join(dir, uploadName)):
			err = os.RemoveAll(filepath.Join(dir, treeName))
		default:
			err = os.RemoveAll(dir)
		}
		if err != nil {
			return err
		}
	}
	os.Remove(s.Staging()) // if it is empty
	return nil
}

// sweepManifests removes manifests whose toolchain somebody removed by hand.
func (s *Store) sweepManifests() error {
	entries, err := os.ReadDir(s.Manifests())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		version, ok := versionOf(e.Name())
		if !ok {
			continue
		}
		if _, err := os.Lstat(s.Dir(version)); !errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if _, err := s.readManifest(version); isNewer(err) {
			continue
		}
		if err := durable.Remove(s.Manifest(version)); err != nil {
			return err
		}
	}
	return nil
}
