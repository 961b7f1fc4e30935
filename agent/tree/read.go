package tree

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"strconv"
	"strings"

	"github.com/gofleet/gofleet/agent/wire"
)

// Limits bound what an archive may hold. An archive that holds more is
// refused before the entry in question is visited.
type Limits struct {
	Files int
	Dirs  int   // without the root
	Bytes int64 // content of all files
}

// DefaultLimits are for archives whose manifest is not known yet: several
// times what any Go release has held.
func DefaultLimits() Limits { return Limits{Files: 60_000, Dirs: 10_000, Bytes: 2 << 30} }

// LimitsOf are the limits that the tree of a verified archive allows.
func LimitsOf(t wire.Tree) Limits { return Limits{Files: t.Files, Dirs: t.Dirs, Bytes: t.Bytes} }

// maxTrailer is how many zero bytes may follow the end of a tar stream.
const maxTrailer = 1 << 20

// Read reads a Go archive, an uncompressed tar stream, to its end and gives
// its manifest. It calls visit for every entry: directories before what is in
// them, each once, also those that the archive only implies. The Entry of a
// file has no SHA256 yet: content is hashed while visit reads it, and what
// visit leaves unread is hashed after it. content is valid until visit
// returns. visit may be nil. An error of visit is returned as it is.
//
// Only what official archives hold is accepted: regular files with mode 0755
// or 0644 and directories with mode 0755, all under go/, with clean paths, no
// path twice. Anything else is a *wire.Error of kind archive_unsafe that names
// the entry. A stream that ends early or is no tar at all is one of kind
// archive_corrupt. Errors of r that are not about the archive are returned as
// they are.
func Read(r io.Reader, limits Limits, visit func(e Entry, content io.Reader) error) (Manifest, error) {
	src := newSource(r)
	t := &reader{
		tar:    tarReader{content: content{src: src}},
		limits: limits,
		visit:  visit,
		seen:   make(map[string]kind, limits.Files/2+limits.Dirs/2),
		m:      make(Manifest, 0, min(limits.Files+limits.Dirs, 20_000)),
		hash:   hashReader{h: sha256.New()},
	}
	if err := t.readAll(); err != nil {
		return nil, err
	}
	if len(t.m) == 0 {
		return nil, corrupt(errors.New("archive is empty"))
	}
	t.m.Sort()
	return t.m, nil
}

// ReadKnown is Read for an archive whose manifest is known already, and whose
// bytes some sum outside proves: it holds every entry against the manifest by
// path, kind, mode and size, and hashes no content, which would cost most of
// the time. It gives nothing that the manifest does not say.
func ReadKnown(r io.Reader, known Manifest, visit func(e Entry, content io.Reader) error) error {
	files, dirs, size := known.Count()
	src := newSource(r)
	t := &reader{
		tar:    tarReader{content: content{src: src}},
		limits: Limits{Files: files, Dirs: dirs, Bytes: size},
		visit:  visit,
		seen:   make(map[string]kind, len(known)),
		known:  known,
	}
	if err := t.readAll(); err != nil {
		return err
	}
	// Nothing came twice and nothing that is not in the manifest, so equal
	// numbers are equal sets.
	if t.files != files || t.dirs != dirs {
		return corrupt(fmt.Errorf("archive has %d files and %d directories, not %d and %d", t.files, t.dirs, files, dirs))
	}
	return nil
}

// kind is what a path was seen as.
type kind byte

const (
	file    kind = 1 + iota
	implied      // a directory that only was part of another path
	listed       // a directory with an entry of its own
)

type reader struct {
	tar    tarReader
	limits Limits
	visit  func(Entry, io.Reader) error
	seen   map[string]kind
	m      Manifest
	files  int
	dirs   int
	bytes  int64
	root   bool   // the entry go/ was there
	last   string // directory of the last entry, known to exist
	hash   hashReader
	known  Manifest // what every entry must be in, instead of being hashed
}

// readAll reads every entry and what is behind the last.
func (t *reader) readAll() error {
	src := t.tar.src
	for {
		h, err := t.tar.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = t.entry(&h)
		}
		if err != nil {
			return src.explain(err)
		}
	}
	if err := src.drain(); err != nil {
		return src.explain(err)
	}
	return nil
}

func (t *reader) entry(h *header) error {
	path, isDir, err := check(h)
	if err != nil {
		return err
	}
	if path == "" {
		if t.root {
			return unsafe(h.name, "is there twice")
		}
		t.root = true
		return nil
	}
	if err := t.parents(h.name, parent(path)); err != nil {
		return err
	}
	if isDir {
		return t.dir(h.name, path, listed)
	}
	return t.file(h, path)
}

// check refuses a header that no Go archive has. path is "" for go/ itself.
func check(h *header) (path string, isDir bool, err error) {
	name := h.name
	if h.sparse {
		return "", false, unsafe(name, "is a sparse file")
	}
	switch h.kind {
	case tarRegular:
	case tarDir:
		isDir = true
	case tarSymlink, tarLink:
		return "", false, unsafe(name, "is a link")
	default:
		return "", false, unsafe(name, "is neither a regular file nor a directory")
	}
	if isDir {
		name = strings.TrimSuffix(name, "/")
	}
	if name == "go" && isDir {
		return "", true, checkMode(h, isDir)
	}
	path, ok := strings.CutPrefix(name, "go/")
	if !ok {
		if name != "" && name[0] == '/' {
			return "", false, unsafe(h.name, "is absolute")
		}
		return "", false, unsafe(h.name, "does not lie under go/")
	}
	if why := badPath(path); why != "" {
		return "", false, unsafe(h.name, why)
	}
	return path, isDir, checkMode(h, isDir)
}

func checkMode(h *header, isDir bool) error {
	switch {
	case h.mode == 0o755, h.mode == 0o644 && !isDir:
		return nil
	case h.mode&0o7000 != 0:
		return unsafe(h.name, fmt.Sprintf("has mode %04o, with setuid, setgid or sticky bits", h.mode))
	}
	return unsafe(h.name, fmt.Sprintf("has mode %04o; a Go archive has 0755 and 0644 only", h.mode))
}

// parents makes sure that dir and those above it are directories of the tree.
func (t *reader) parents(name, dir string) error {
	if dir == t.last || dir == "" {
		return nil
	}
	switch t.seen[dir] {
	case file:
		return unsafe(name, "lies in something that is a file")
	case 0:
		if err := t.parents(name, parent(dir)); err != nil {
			return err
		}
		if err := t.dir(name, dir, implied); err != nil {
			return err
		}
	}
	t.last = dir
	return nil
}

func (t *reader) dir(name, path string, as kind) error {
	switch t.seen[path] {
	case implied:
		t.seen[path] = listed
		return nil
	case file, listed:
		return unsafe(name, "is there twice")
	}
	if t.dirs++; t.dirs > t.limits.Dirs {
		return unsafe(name, fmt.Sprintf("is one directory more than the %d promised", t.limits.Dirs))
	}
	t.seen[path] = as
	e := Entry{Path: path, Dir: true, Mode: 0o755}
	if err := t.note(name, &e); err != nil {
		return err
	}
	if t.visit == nil {
		return nil
	}
	return t.visit(e, nil)
}

func (t *reader) file(h *header, path string) error {
	if t.seen[path] != 0 {
		return unsafe(h.name, "is there twice")
	}
	if t.files++; t.files > t.limits.Files {
		return unsafe(h.name, fmt.Sprintf("is one file more than the %d promised", t.limits.Files))
	}
	if h.size > t.limits.Bytes-t.bytes {
		return unsafe(h.name, fmt.Sprintf("brings the tree over the %d bytes promised", t.limits.Bytes))
	}
	t.bytes += h.size
	t.seen[path] = file
	e := Entry{Path: path, Mode: fs.FileMode(h.mode), Size: h.size}
	if t.known != nil {
		return t.knownFile(h.name, &e)
	}
	t.hash.start(&t.tar.content)
	if t.visit != nil {
		if err := t.visit(e, &t.hash); err != nil {
			return err
		}
	}
	if err := t.hash.finish(&e.SHA256); err != nil {
		return err
	}
	t.m = append(t.m, e)
	return nil
}

// note takes a directory into the manifest, or finds it in the known one.
func (t *reader) note(name string, e *Entry) error {
	if t.known == nil {
		t.m = append(t.m, *e)
		return nil
	}
	known := t.known.Find(e.Path)
	if known == nil || known.Dir != e.Dir || known.Mode != e.Mode || known.Size != e.Size {
		return unsafe(name, "is not what the tree manifest says")
	}
	*e = *known
	return nil
}

// knownFile gives a file to visit, whose content is not hashed.
func (t *reader) knownFile(name string, e *Entry) error {
	if err := t.note(name, e); err != nil || t.visit == nil {
		return err
	}
	return t.visit(*e, t.tar.reader())
}

// hashReader hashes what is read through it.
type hashReader struct {
	r   io.Reader
	h   hash.Hash
	buf []byte
}

func (h *hashReader) start(r io.Reader) {
	h.r = r
	h.h.Reset()
}

func (h *hashReader) Read(p []byte) (int, error) {
	n, err := h.r.Read(p)
	h.h.Write(p[:n])
	return n, err
}

// finish reads what is left and stores the sum.
func (h *hashReader) finish(sum *[sha256.Size]byte) error {
	if h.buf == nil {
		h.buf = make([]byte, 64<<10)
	}
	for {
		_, err := h.Read(h.buf)
		if errors.Is(err, io.EOF) {
			h.h.Sum(sum[:0])
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func unsafe(name, why string) error {
	if name == "" {
		return wire.NewError(wire.KindArchiveUnsafe, fmt.Errorf("archive %s", why), unsafeHint)
	}
	return wire.NewError(wire.KindArchiveUnsafe, fmt.Errorf("archive entry %s %s", quote(name), why), unsafeHint)
}

// quote is a name as an error has it.
func quote(name string) string {
	if len(name) > 200 {
		name = name[:200] + "…"
	}
	return strconv.Quote(name)
}

const unsafeHint = "no official Go archive is made like this; fetch it again from its source"

func corrupt(err error) error {
	return wire.NewError(wire.KindArchiveCorrupt, err, "fetch the archive again")
}
