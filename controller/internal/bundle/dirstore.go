package bundle

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/gofleet/gofleet/controller/internal/release"
)

// dirStore is a bundle that is a directory. Nothing in it may be a link.
type dirStore struct {
	path  string
	root  *os.Root
	files []File
}

func openDir(path string) (store, error) {
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, fmt.Errorf("open bundle: %w", err)
	}
	return &dirStore{path: path, root: root}, nil
}

func (s *dirStore) Close() error { return s.root.Close() }

func (s *dirStore) signed() (manifest, signature []byte, err error) {
	if manifest, err = s.read(ManifestName, maxManifest); err != nil {
		return nil, nil, err
	}
	signature, err = s.read(SignatureName, 1<<16)
	if errors.Is(err, fs.ErrNotExist) {
		return manifest, nil, nil
	}
	return manifest, signature, err
}

func (s *dirStore) read(name string, limit int64) ([]byte, error) {
	st, err := s.root.Lstat(name)
	if name == ManifestName && errors.Is(err, fs.ErrNotExist) {
		return nil, s.wrong(name, "there is none: the directory is no bundle, or not a whole one", err)
	}
	if err == nil && (!st.Mode().IsRegular() || st.Size() > limit) {
		err = errors.New("it is not a file as gofleet makes it")
	}
	if err != nil {
		return nil, s.wrong(name, err.Error(), err)
	}
	return s.root.ReadFile(name)
}

func (s *dirStore) wrong(name, reason string, cause error) error {
	return &Error{Bundle: s.path, Layer: layerOf(name), What: name, Reason: reason, Hint: carryHint, cause: cause}
}

// settle wants every file to be there, with its size.
func (s *dirStore) settle(m *Manifest) error {
	s.files = m.Files
	var errs []error
	for _, f := range m.Files {
		if f.Packed != nil {
			return s.wrong(f.Path, "it is compressed; in a directory nothing is", nil)
		}
		switch st, err := s.root.Lstat(filepath.FromSlash(f.Path)); {
		case errors.Is(err, fs.ErrNotExist):
			errs = append(errs, s.wrong(f.Path, "it is missing", err))
		case err != nil:
			errs = append(errs, s.wrong(f.Path, err.Error(), err))
		case !st.Mode().IsRegular():
			errs = append(errs, s.wrong(f.Path, "it is not a regular file", nil))
		case st.Size() != f.Size:
			errs = append(errs, s.wrong(f.Path, fmt.Sprintf("it has %d bytes, the manifest says %d", st.Size(), f.Size), nil))
		}
	}
	return errors.Join(errs...)
}

func (s *dirStore) open(i int) (stored, error) {
	f, err := s.root.Open(filepath.FromSlash(s.files[i].Path))
	if err != nil {
		return nil, s.wrong(s.files[i].Path, err.Error(), err)
	}
	return f, nil
}

func (s *dirStore) stamp(i int) (release.Stamp, error) {
	f, err := s.root.Open(filepath.FromSlash(s.files[i].Path))
	if err != nil {
		return release.Stamp{}, err
	}
	defer f.Close()
	return release.StampOf(f)
}

// check finds what is in the directory and not in the manifest.
func (s *dirStore) check(m *Manifest) []error {
	known := map[string]bool{ManifestName: true, SignatureName: true}
	for _, f := range m.Files {
		known[f.Path] = true
	}
	var errs []error
	err := fs.WalkDir(s.root.FS(), ".", func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case !d.IsDir() && !known[p]:
			errs = append(errs, s.wrong(p, "the manifest does not list it", nil))
		}
		return nil
	})
	if err != nil {
		errs = append(errs, fmt.Errorf("check %s: %w", s.path, err))
	}
	return errs
}

func (s *dirStore) blame() error { return nil }
