// Package bundle makes, proves and reads what crosses an air gap as one thing:
// Go archives with their evidence, gofleet itself, module caches, and a signed
// manifest that lists every byte of it. It contacts nobody except while it
// makes one, and knows nothing of hosts.
//
// # Layout
//
//	archives/go1.26.8.linux-amd64.tar.gz             and ….evidence, ….asc beside it
//	gofleet/gofleet-linux-amd64                      agents are inside
//	agents/gofleet-agent-linux-amd64                 the same agents by themselves
//	collection/gofleet-golang-0.1.0.tar.gz           the Ansible collection
//	modules/cache/download/<module>/@v/…             a GOPROXY as it stands: list, .info, .mod, .zip
//	modules/cache/download/sumdb/sum.golang.org/…    supported, latest, lookup/…, tile/…
//	packages/debian-12/amd64/…                       packages, their index Packages, evidence
//	sbom.cdx.json                                    CycloneDX
//	manifest, manifest.minisig
//
// A bundle is a directory with that tree, one file (see docs/bundle-format.md),
// or that file split into parts. For readers there is no difference.
//
// # Reading
//
// Open checks the signature and that everything is where it should be; Check
// reads every byte. A Bundle is an fs.FS of the tree above, whose files are
// also io.ReaderAt and io.Seeker, read in place:
//
//	b, err := bundle.Open("site.bundle", bundle.Options{Trust: trust})
//	err = b.Check(ctx, bundle.CheckOptions{CacheDir: dir}) // once; then known by ctime
//	proxy, err := fs.Sub(b, bundle.ModulesDir)             // serves as a GOPROXY
//	files := b.Files()                                     // path, size, sha256 of each, sorted
//	modules := b.List().Modules                            // path, version, whether public
//
// Only what changed has to travel to hosts: Files tells the sha256 of each file
// without reading it. For the archives, a Bundle is a release.Carrier.
package bundle

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/gofleet/gofleet/controller/internal/minisign"
	"github.com/gofleet/gofleet/controller/internal/release"
)

// Directories of a bundle.
const (
	ArchivesDir   = "archives"
	ProgramsDir   = "gofleet"
	AgentsDir     = "agents"
	CollectionDir = "collection"
	ModulesDir    = "modules/cache/download" // a file:// GOPROXY
	SBOMName      = "sbom.cdx.json"
	PackagesDir   = "packages" // of distributions

	sumdbDir = ModulesDir + "/sumdb"
)

// Options say whom to believe. The zero value of a field means its default.
type Options struct {
	Trust Trust         // nobody
	Table release.Table // release.BuiltinTable()
}

// Bundle is one that is open: its signature is good, or was not asked for, and
// its files are all there with the right sizes. It may be used from several
// goroutines.
type Bundle struct {
	path      string
	manifest  *Manifest
	text      []byte // of the manifest
	signature []byte
	signer    string
	index     map[string]int
	dirs      map[string][]fs.DirEntry
	store     store
}

// store is where the bytes of a bundle lie.
type store interface {
	io.Closer

	// signed gives manifest and signature; the latter is nil if there is none.
	signed() (manifest, signature []byte, err error)

	// settle says where the manifest's files must lie, and why they cannot.
	settle(m *Manifest) error

	// open gives the bytes of a file as they are kept: packed if it is.
	open(i int) (stored, error)

	// stamp changes when the stored bytes of the file do.
	stamp(i int) (release.Stamp, error)

	// check reads the bytes that are not a file's.
	check(m *Manifest) []error

	// blame finds out which part is wrong, where the bytes are in parts; nil
	// if it cannot say.
	blame() error
}

type stored interface {
	io.ReaderAt
	io.Closer
}

// Is tells whether the path can only be that of a bundle: a directory with a
// manifest, or a file.
func Is(location string) bool {
	if strings.Contains(location, "://") {
		return false
	}
	st, err := os.Stat(location)
	switch {
	case err != nil:
		_, err = os.Stat(location + partsSuffix)
		return err == nil
	case st.IsDir():
		_, err = os.Stat(filepath.Join(location, ManifestName))
		return err == nil
	}
	return true
}

// Open opens a bundle: its file, its directory, or any one of its parts. What
// is wrong is an *Error. The content is not read; see Check.
func Open(location string, o Options) (*Bundle, error) {
	if o.Table == nil {
		o.Table = release.BuiltinTable()
	}
	s, name, err := openStore(location, o.Trust)
	if err != nil {
		return nil, err
	}
	b := &Bundle{path: name, store: s}
	if err := b.load(o); err != nil {
		if blamed := s.blame(); blamed != nil {
			err = blamed
		}
		s.Close()
		return nil, err
	}
	return b, nil
}

func openStore(location string, t Trust) (store, string, error) {
	name := partsOf(location)
	st, err := os.Stat(location)
	switch {
	case err == nil && st.IsDir():
		s, err := openDir(location)
		return s, location, err
	case name != "":
		s, err := openParts(name, t)
		return s, name, err
	case err != nil:
		return nil, "", fmt.Errorf("open bundle: %w", err)
	}
	s, err := openFile(location)
	return s, location, err
}

// load reads manifest and signature.
func (b *Bundle) load(o Options) error {
	var err error
	if b.text, b.signature, err = b.store.signed(); err != nil {
		return err
	}
	if b.signer, err = o.Trust.judge(b.path, ManifestName, b.text, b.signature); err != nil {
		return err
	}
	if b.manifest, err = ParseManifest(b.text); err != nil {
		return &Error{Bundle: b.path, Layer: Listing, Reason: err.Error(), cause: err,
			Hint: "a newer gofleet may know this format"}
	}
	b.index = make(map[string]int, len(b.manifest.Files))
	for i, f := range b.manifest.Files {
		b.index[f.Path] = i
		want, known := o.Table[path.Base(f.Path)]
		if known && path.Dir(f.Path) == ArchivesDir && want != f.SHA256 {
			return &Error{Bundle: b.path, Layer: Listing, What: f.Path, Hint: wrongHint,
				Reason: fmt.Sprintf("it lists sha256 %s, the official one is %s", f.SHA256, want)}
		}
	}
	b.dirs = listDirs(b.manifest.Files)
	return b.store.settle(b.manifest)
}

// Close closes the bundle's files. What was opened from it must not be used
// any more.
func (b *Bundle) Close() error { return b.store.Close() }

// String is the bundle's path.
func (b *Bundle) String() string { return b.path }

// MadeBy is the version of the gofleet that made it.
func (b *Bundle) MadeBy() string { return b.manifest.MadeBy }

// Signer says who signed it: "" if the signature was not asked for.
func (b *Bundle) Signer() string { return b.signer }

// SignedBy is the key that the signature names, and whether there is one. It
// proves nothing.
func (b *Bundle) SignedBy() (minisign.KeyID, bool) {
	s, err := minisign.ParseSignature(b.signature)
	if err != nil {
		return minisign.KeyID{}, false
	}
	return s.ID(), true
}

// Manifest is the text that is signed; it must not be changed.
func (b *Bundle) Manifest() []byte { return b.text }

// Files are all files, sorted by path.
func (b *Bundle) Files() []File { return slices.Clone(b.manifest.Files) }

// Lookup finds a file by its path.
func (b *Bundle) Lookup(name string) (File, bool) {
	i, ok := b.index[name]
	if !ok {
		return File{}, false
	}
	return b.manifest.Files[i], true
}

// Stamp changes when somebody writes to the bytes of a file where they lie, or
// puts others in their place: what has the stamp that it had before Check is
// what Check found good.
func (b *Bundle) Stamp(name string) (release.Stamp, error) {
	i, ok := b.index[name]
	if !ok {
		return release.Stamp{}, &fs.PathError{Op: "stamp", Path: name, Err: fs.ErrNotExist}
	}
	return b.store.stamp(i)
}

// Archives are the names of the Go archives in it.
func (b *Bundle) Archives() []string {
	var names []string
	for _, f := range b.manifest.Files {
		if dir, name := path.Split(f.Path); dir == ArchivesDir+"/" {
			if _, err := release.ParseName(name); err == nil {
				names = append(names, name)
			}
		}
	}
	return names
}

// Promise is what the signed manifest says of an archive.
func (b *Bundle) Promise(name string) (sha256, signer string) {
	f, ok := b.Lookup(ArchivesDir + "/" + name)
	if !ok || b.signer == "" {
		return "", ""
	}
	return f.SHA256, b.signer
}

// Archive gives an archive where it lies. Its bytes are compared with the
// manifest by who makes a release.Archive of it.
func (b *Bundle) Archive(name string) (release.Blob, error) {
	i, ok := b.index[ArchivesDir+"/"+name]
	if !ok {
		return nil, fmt.Errorf("%s: %s: %w", b.path, name, fs.ErrNotExist)
	}
	if b.manifest.Files[i].Packed != nil {
		return nil, b.errorAt(i, "it is compressed once more; gofleet keeps archives as they are", nil)
	}
	s, err := b.store.open(i)
	if err != nil {
		return nil, err
	}
	return &blob{s, b, i}, nil
}

// blob is an archive inside a bundle.
type blob struct {
	stored
	b *Bundle
	i int
}

func (a *blob) Name() string { return filepath.Join(a.b.path, a.b.manifest.Files[a.i].Path) }

func (a *blob) Stamp() (release.Stamp, error) {
	s, err := a.b.store.stamp(a.i)
	s.Path, s.Size = a.Name(), a.b.manifest.Files[a.i].Size
	return s, err
}

func (a *blob) Beside(suffix string, limit int64) ([]byte, error) {
	f, ok := a.b.Lookup(a.b.manifest.Files[a.i].Path + suffix)
	if !ok {
		return nil, nil
	}
	if f.Size > limit {
		return nil, fmt.Errorf("%s is longer than %d bytes", path.Base(f.Path), limit)
	}
	data, err := a.b.ReadFile(f.Path)
	if err == nil && len(data) == 0 {
		err = fmt.Errorf("%s is empty", path.Base(f.Path))
	}
	return data, err
}

// errorAt is an Error about a file.
func (b *Bundle) errorAt(i int, reason string, cause error) error {
	p := b.manifest.Files[i].Path
	return &Error{Bundle: b.path, Layer: layerOf(p), What: p, Reason: reason, Hint: carryHint, cause: cause}
}

// ReadFile reads a whole file and compares it with the manifest.
func (b *Bundle) ReadFile(name string) ([]byte, error) {
	i, ok := b.index[name]
	if !ok {
		return nil, &fs.PathError{Op: "read", Path: name, Err: fs.ErrNotExist}
	}
	f := b.manifest.Files[i]
	if f.Size > maxManifest {
		return nil, &fs.PathError{Op: "read", Path: name, Err: errors.New("it is too large to be held in memory")}
	}
	s, err := b.store.open(i)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	size, sum := f.Size, f.SHA256
	if f.Packed != nil {
		size, sum = f.Packed.Size, f.Packed.SHA256
	}
	data := make([]byte, size)
	if n, err := s.ReadAt(data, 0); err != nil && !(err == io.EOF && n == len(data)) {
		return nil, b.errorAt(i, "cannot be read: "+err.Error(), err)
	}
	if got := sumOf(data); got != sum {
		return nil, b.errorAt(i, sumsDiffer(got, sum), nil)
	}
	if f.Packed == nil {
		return data, nil
	}
	return b.unpack(i, data)
}

// unpack decompresses a file whose compressed form was found good.
func (b *Bundle) unpack(i int, packed []byte) ([]byte, error) {
	f := b.manifest.Files[i]
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxPacked+1))
	if err != nil {
		return nil, err
	}
	defer d.Close()
	data, err := d.DecodeAll(packed, make([]byte, 0, f.Size))
	if err != nil {
		return nil, b.errorAt(i, "cannot be decompressed: "+err.Error(), err)
	}
	if got := sumOf(data); int64(len(data)) != f.Size || got != f.SHA256 {
		return nil, b.errorAt(i, sumsDiffer(got, f.SHA256), nil)
	}
	return data, nil
}

func sumsDiffer(got, want string) string {
	return fmt.Sprintf("it has sha256 %s, the manifest says %s", got, want)
}

// reader gives a file's content, packed or not.
func (b *Bundle) reader(i int) (stored, error) {
	if b.manifest.Files[i].Packed == nil {
		return b.store.open(i)
	}
	data, err := b.ReadFile(b.manifest.Files[i].Path)
	if err != nil {
		return nil, err
	}
	return memory{bytes.NewReader(data)}, nil
}

type memory struct{ *bytes.Reader }

func (memory) Close() error { return nil }
