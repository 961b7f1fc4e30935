package release

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"sync"

	"github.com/klauspost/compress/zstd"

	"github.com/gofleet/gofleet/agent/tree"
	"github.com/gofleet/gofleet/agent/wire"
)

// maxTreeList bounds the list of a file tree as it travels, so that it
// fits a message: some 50,000 files.
const maxTreeList = wire.MaxLine * 5 / 8

// FileTree is a tree of files, such as a module cache, that can travel to hosts. What it holds is what a
// list says whose origin the caller has proved; a file that is not is found out
// while it is read.
type FileTree struct {
	name, evidence string
	sum            wire.Tree
	tree           tree.Manifest
	packed         []byte
	files          fs.FS
	dir            string // of files that the tree's paths are below
	cache          cache

	mu   sync.Mutex
	made map[string]*treeForm // by differenceName
}

// treeForm is a difference that several hosts may wait for. One that gives
// up while it makes it leaves that to the next.
type treeForm struct {
	mu       sync.Mutex
	transfer *Transfer
}

// TreeFile is one file of a FileTree.
type TreeFile struct {
	Path   string // below the directory, clean
	Size   int64
	SHA256 string // hex
	Exec   bool   // it may be executed
}

// NewFileTree makes a FileTree of the files below dir in files, of which list has
// all. Name and evidence are kept on hosts. cacheDir is where what travels is
// made, "" being the default. Close must be called.
func NewFileTree(files fs.FS, dir string, list []TreeFile, name, evidence, cacheDir string) (*FileTree, error) {
	c, err := newCache(cacheDir)
	if err != nil {
		return nil, err
	}
	m := &FileTree{name: name, evidence: evidence, files: files, dir: dir, cache: c, made: map[string]*treeForm{}}
	dirs := map[string]bool{".": true}
	for _, f := range list {
		if !fs.ValidPath(f.Path) {
			return nil, fmt.Errorf("list the files of %s: %q is no path below it", name, f.Path)
		}
		e := tree.Entry{Path: f.Path, Mode: 0o644, Size: f.Size}
		if f.Exec {
			e.Mode = 0o755
		}
		if n, err := hex.Decode(e.SHA256[:], []byte(f.SHA256)); err != nil || n != len(e.SHA256) {
			return nil, fmt.Errorf("list the files of %s: %s has no sha256", name, f.Path)
		}
		m.tree = append(m.tree, e)
		for d := path.Dir(f.Path); !dirs[d]; d = path.Dir(d) {
			dirs[d] = true
			m.tree = append(m.tree, tree.Entry{Path: d, Dir: true, Mode: 0o755})
		}
	}
	m.tree.Sort()
	text := m.tree.Encode()
	if _, err := tree.Parse(text); err != nil {
		return nil, fmt.Errorf("list the files of %s: %w", name, err)
	}
	if m.packed, err = tree.Pack(text); err != nil {
		return nil, err
	}
	if len(m.packed) > maxTreeList {
		return nil, fmt.Errorf("%s has %d files, more than can be listed to a host", name, len(list))
	}
	m.sum.SHA256 = m.tree.Sum()
	m.sum.Files, m.sum.Dirs, m.sum.Bytes = m.tree.Count()
	return m, nil
}

// Name is where they are from, for people.
func (m *FileTree) Name() string { return m.name }

// Evidence says why they are believed.
func (m *FileTree) Evidence() string { return m.evidence }

// Tree describes what is in them.
func (m *FileTree) Tree() wire.Tree { return m.sum }

// PackedManifest is the list of what is in them, as it travels.
func (m *FileTree) PackedManifest() ([]byte, error) { return m.packed, nil }

// PackedFile is one small file, as it travels.
func (m *FileTree) PackedFile(name string) ([]byte, error) {
	e := m.tree.Find(name)
	if e == nil || e.Dir || e.Size > maxTreeList {
		return nil, wire.NewError(wire.KindProtocol, fmt.Errorf("the agent asks for %q, which %s does not have", name, m.name), "")
	}
	var text bytes.Buffer
	if err := m.copy(&text, e); err != nil {
		return nil, err
	}
	return tree.Pack(text.Bytes())
}

// Difference gives the contents of some files, as Archive.Difference does. It
// is made once for all hosts that lack the same, in a file without a name that
// goes with this process, and is the same bytes in the next run, so that a
// broken upload can be resumed.
func (m *FileTree) Difference(ctx context.Context, lacks [][2]int) (*Transfer, error) {
	files, err := m.tree.Select(lacks)
	if err != nil {
		return nil, wire.NewError(wire.KindProtocol, fmt.Errorf("the agent asks for files that %s does not have: %w", m.name, err), "")
	}
	name := differenceName(m.tree, files)
	m.mu.Lock()
	form := m.made[name]
	if form == nil {
		form = &treeForm{}
		m.made[name] = form
	}
	m.mu.Unlock()
	form.mu.Lock()
	defer form.mu.Unlock()
	if form.transfer == nil {
		if form.transfer, err = m.make(ctx, files); err != nil {
			return nil, fmt.Errorf("take %d files out of %s: %w", len(files), m.name, err)
		}
	}
	return &Transfer{form.transfer.Transfer, form.transfer.ReaderAt, nothing{}}, nil
}

// nothing is closed where what is shared stays open.
type nothing struct{}

func (nothing) Close() error { return nil }

func (m *FileTree) make(ctx context.Context, files []int) (*Transfer, error) {
	// Most bytes are in zip files, which do not shrink.
	out, err := newZstdFile(m.cache, zstd.SpeedDefault)
	if err != nil {
		return nil, err
	}
	defer out.discard()
	for _, i := range files {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := m.copy(out.enc, &m.tree[i]); err != nil {
			return nil, err
		}
	}
	return out.nameless(wire.Transfer{Encoding: wire.Zstd, Difference: true})
}

// copy writes a file, and compares it with the list.
func (m *FileTree) copy(w io.Writer, e *tree.Entry) error {
	f, err := m.files.Open(path.Join(m.dir, e.Path))
	if err != nil {
		return err
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(io.MultiWriter(w, h), io.LimitReader(f, e.Size+1))
	if err != nil {
		return err
	}
	if n != e.Size || [sha256.Size]byte(h.Sum(nil)) != e.SHA256 {
		return fmt.Errorf("%s: %w", e.Path, errAltered)
	}
	return nil
}

// Close gives back what travelled.
func (m *FileTree) Close() error {
	var errs []error
	for _, form := range m.made {
		if form.transfer != nil {
			errs = append(errs, form.transfer.Close())
		}
	}
	return errors.Join(errs...)
}

// nameless ends the file and gives it as what travels; it is gone from the
// cache, and from the disk when it is closed.
func (z *zstdFile) nameless(t wire.Transfer) (*Transfer, error) {
	if err := z.enc.Close(); err != nil {
		return nil, err
	}
	if err := os.Remove(z.file.Name()); err != nil {
		return nil, err
	}
	t.ChunkSize = chunkSize
	t.SHA256, t.Chunks, t.Size = z.sums.end()
	z.kept = true
	return &Transfer{t, z.file, z.file}, nil
}
