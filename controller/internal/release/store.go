package release

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/gofleet/gofleet/agent/spec"
)

// Options say where archives are and what is believed. The zero value of a
// field means its default.
type Options struct {
	Location string                   // directory, http or https URL; where there is no Bundle
	Bundle   Carrier                  // that has the archives
	CacheDir string                   // os.UserCacheDir()/gofleet; must be this user's alone
	Pins     map[spec.Platform]string // gofleet_sha256, lower-case hex
	Table    Table                    // BuiltinTable()
	Signer   Signer                   // Google()
	SumDB    string                   // verifier key; GoSumDB
	Client   *http.Client             // for a URL; one with time limits
	Zstd     bool                     // the pass over an archive not known yet makes its zstd form too

	Progress Progress // nobody
}

// Progress begins to tell of one long piece of work: a download, an archive
// that is read for the first time. It may be called from several goroutines.
type Progress func(label string) Work

// Work hears how far a piece of work is and, once, that it has ended. A total
// of 0 is not known. Set may be called from another goroutine than End.
type Work interface {
	Set(done, total int64)
	End(err error)
}

type unheard struct{}

func (unheard) Set(int64, int64) {}
func (unheard) End(error)        {}

// begin is f for which nobody need be listening.
func (f Progress) begin(label string) Work {
	if f == nil {
		return unheard{}
	}
	return f(label)
}

func (o *Options) setDefaults() {
	if o.Table == nil {
		o.Table = BuiltinTable()
	}
	if o.Signer.Primary == "" {
		o.Signer = Google()
	}
	if o.SumDB == "" {
		o.SumDB = GoSumDB
	}
	if o.Client == nil {
		o.Client = newClient()
	}
}

// Store gives the archives of one location. It may be used from several
// goroutines, and keeps every Archive open until Close.
type Store struct {
	options Options
	cache   cache
	finder  finder

	mu   sync.Mutex
	open map[Name]*slot
}

// slot is one archive; its lock is held while that one is looked for.
type slot struct {
	mu      sync.Mutex
	archive *Archive
}

// finder looks for the archive of a release in one kind of place and gives a
// open file, or a *MissingError.
type finder interface {
	find(ctx context.Context, v string, p spec.Platform) (Blob, error)

	// refused hears that what find gave is not to be used.
	refused(path string)
}

// NewStore makes a Store. It looks at the location only as far as to tell what
// kind it is.
func NewStore(o Options) (*Store, error) {
	o.setDefaults()
	c, err := newCache(o.CacheDir)
	if err != nil {
		return nil, err
	}
	s := &Store{options: o, cache: c, open: map[Name]*slot{}}
	switch {
	case o.Bundle != nil:
		s.finder = inBundle{o.Bundle}
		s.options.Location = o.Bundle.String()
	case o.Location == "":
		return nil, errors.New("gofleet_archives is not set: it names the directory or URL that has the Go archives")
	case strings.HasPrefix(o.Location, "http://"), strings.HasPrefix(o.Location, "https://"):
		s.finder, err = newMirror(&s.options, c)
	default:
		s.finder, err = newDirectory(o.Location)
	}
	return s, err
}

// Close closes all archives. Their transfers must have ended.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, slot := range s.open {
		if slot.archive != nil {
			errs = append(errs, slot.archive.Close())
		}
	}
	s.open = map[Name]*slot{}
	return errors.Join(errs...)
}

// Open gives the verified archive of a release, the same one for every call.
// It is a *MissingError when the location has none for that platform, and a
// *RefusedError when what is there must not be used.
func (s *Store) Open(ctx context.Context, v string, p spec.Platform) (*Archive, error) {
	if err := CheckVersion(v); err != nil {
		return nil, err
	}
	if err := neverReleased(s.options.Table, v, p); err != nil {
		return nil, &MissingError{Version: v, Platform: p.String(), Location: s.options.Location, Looked: candidates(v, p), Hint: err.Error()}
	}
	s.mu.Lock()
	of := s.open[OfficialName(v, p)]
	if of == nil {
		of = &slot{}
		s.open[OfficialName(v, p)] = of
	}
	s.mu.Unlock()

	of.mu.Lock()
	defer of.mu.Unlock()
	if of.archive == nil {
		a, err := s.find(ctx, v, p)
		if err != nil {
			return nil, err
		}
		of.archive = a
	}
	return of.archive, nil
}

func (s *Store) find(ctx context.Context, v string, p spec.Platform) (*Archive, error) {
	f, err := s.finder.find(ctx, v, p)
	if err != nil {
		return nil, err
	}
	a, err := s.openBlob(ctx, f)
	if isRefused(err) {
		s.finder.refused(f.Name())
	}
	return a, err
}

// openFile makes an Archive of one file, whose name says what it should be.
func (s *Store) openFile(ctx context.Context, path string) (*Archive, error) {
	f, err := openBlob(path)
	if err != nil {
		return nil, err
	}
	return s.openBlob(ctx, f)
}

// openBlob makes an Archive of what was opened, or closes it.
func (s *Store) openBlob(ctx context.Context, f Blob) (*Archive, error) {
	name, err := ParseName(filepath.Base(f.Name()))
	if err != nil {
		f.Close()
		return nil, err
	}
	a, err := s.verify(ctx, f, name)
	if err != nil {
		f.Close()
		return nil, err
	}
	return a, nil
}

// verify makes an Archive of an open file, or says why not: first what the
// evidence decides, then whether the content fits the name.
func (s *Store) verify(ctx context.Context, f Blob, name Name) (*Archive, error) {
	in, form, err := s.inspect(ctx, f, name)
	if err != nil {
		return nil, err
	}
	defer form.discard()
	sub := &subject{name: name, file: f, in: in}
	found := decide(ctx, s.options.judges(s.cache), sub)
	bad := in.broken
	if bad == nil {
		bad = in.Content.check(name)
	}
	switch {
	case found.Status == Bad, found.Status == Absent && bad == nil:
		return nil, refuse(sub, found)
	case bad != nil:
		return nil, &RefusedError{File: f.Name(), SHA256: in.SHA256, Reason: bad.Error(), Hint: wrongContentHint, cause: bad}
	}
	a := &Archive{name: name, file: f, in: in, cache: s.cache, evidence: Evidence{found.Kind, found.Detail}}
	if form != nil {
		if a.zstd, err = form.publish(s.cache, in.SHA256); err != nil {
			return nil, fmt.Errorf("make the zstd form of %s: %w", name, err)
		}
	}
	return a, nil
}

const wrongContentHint = "the file does not hold what its name says: fetch it again"

// inspect reads the file, unless it is one that was read before. Where it is
// asked for, the zstd form is made on the way; it is nil otherwise, and nobody
// else sees it before it is published.
func (s *Store) inspect(ctx context.Context, f Blob, name Name) (*inspection, *zstdFile, error) {
	before, err := f.Stamp()
	if err != nil {
		return nil, nil, err
	}
	if in := s.cache.known(before); in != nil {
		return in, nil, nil
	}
	if in := s.cache.sameContent(f, before.Size); in != nil {
		return in, nil, s.cache.note(before, in)
	}
	var form *zstdFile
	if s.options.Zstd && !name.Zip {
		if form, err = newZstdFile(s.cache, zstdLevel); err != nil {
			return nil, nil, err
		}
	}
	in, err := s.read(ctx, f, name, before, form)
	if err != nil {
		form.discard()
		return nil, nil, err
	}
	return in, form, nil
}

// read inspects a file that is not known, and notes what it is.
func (s *Store) read(ctx context.Context, f Blob, name Name, before Stamp, form *zstdFile) (in *inspection, err error) {
	work := s.options.Progress.begin("verify " + name.String())
	defer func() { work.End(err) }()
	in, err = inspect(ctx, f, before.Size, name, form.writer(), work.Set)
	if err != nil || in.broken != nil {
		return in, err
	}
	if after, err := f.Stamp(); err != nil || after != before {
		return nil, fmt.Errorf("read %s: it changed meanwhile", f.Name())
	}
	return in, s.cache.store(before, in)
}

// candidates are the names under which a release may be there, the one that
// is preferred first.
func candidates(v string, p spec.Platform) []string {
	return []string{OfficialName(v, p).String(), ModuleName(v, p).String()}
}

// directory is a finder on this machine.
type directory struct{ dir string }

func newDirectory(dir string) (directory, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return directory{}, err
	}
	st, err := os.Stat(abs)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return directory{}, fmt.Errorf("gofleet_archives: there is no directory %s", abs)
	case err != nil:
		return directory{}, fmt.Errorf("gofleet_archives: %w", err)
	case !st.IsDir():
		return directory{}, fmt.Errorf("gofleet_archives: %s is not a directory", abs)
	}
	return directory{abs}, nil
}

func (d directory) find(_ context.Context, v string, p spec.Platform) (Blob, error) {
	names := candidates(v, p)
	for _, name := range names {
		path := filepath.Join(d.dir, name)
		switch _, err := os.Stat(path); {
		case err == nil:
			return openBlob(path)
		case !errors.Is(err, os.ErrNotExist):
			return nil, err
		}
	}
	return nil, &MissingError{
		Version: v, Platform: p.String(), Location: d.dir, Looked: names,
		Hint: d.hint(v, p),
	}
}

func (d directory) refused(string) {}

// hint says how to get the archive, and what else is there.
func (d directory) hint(v string, p spec.Platform) string {
	hint := fmt.Sprintf("on a machine that reaches the internet: gofleet fetch %s --platform %s --to %s", v, p, d.dir)
	entries, err := os.ReadDir(d.dir)
	if err != nil {
		return hint
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return hint + others(names, p, "directory")
}

// others says which versions there are for a platform among the names.
func others(names []string, p spec.Platform, where string) string {
	var have []string
	for _, name := range names {
		if n, err := ParseName(name); err == nil && n.Platform == p && !slices.Contains(have, n.Version) {
			have = append(have, n.Version)
		}
	}
	if len(have) == 0 {
		return ""
	}
	return fmt.Sprintf("; for %s the %s has %s", p, where, strings.Join(have[max(0, len(have)-5):], ", "))
}

// inBundle is a finder in a bundle.
type inBundle struct{ bundle Carrier }

func (b inBundle) find(_ context.Context, v string, p spec.Platform) (Blob, error) {
	names := candidates(v, p)
	for _, name := range names {
		if f, err := b.bundle.Archive(name); !errors.Is(err, fs.ErrNotExist) {
			return f, err
		}
	}
	return nil, &MissingError{
		Version: v, Platform: p.String(), Location: b.bundle.String(), Looked: names,
		Hint: fmt.Sprintf("on a machine that reaches the internet, make one that has it: gofleet bundle create --go %s --platform %s -o FILE", v, p) +
			others(b.bundle.Archives(), p, "bundle"),
	}
}

func (b inBundle) refused(string) {}
