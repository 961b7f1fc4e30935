package release

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gofleet/gofleet/agent/tree"
	"github.com/gofleet/gofleet/agent/wire"
)

// keepDifferences is how many of an archive's differences stay in the cache.
const keepDifferences = 8

// tree is the archive's parsed manifest.
func (a *Archive) tree() (tree.Manifest, error) {
	a.parse.Do(func() { a.parsed, a.parseErr = tree.Parse(a.in.text) })
	return a.parsed, a.parseErr
}

// WorthDifference tells whether what lacks names is so much less than the whole
// archive that it should travel alone. It is an estimate: how well either
// compresses is not known before.
func (a *Archive) WorthDifference(lacks [][2]int) (bool, error) {
	m, err := a.tree()
	if err != nil {
		return false, err
	}
	files, err := m.Select(lacks)
	if err != nil {
		return false, err
	}
	var size int64
	for _, i := range files {
		size += m[i].Size
	}
	return size < a.in.Tree.Bytes*8/10, nil
}

// Difference gives the contents of some files of the archive, ranges of its
// manifest's entries as in wire.Event.Lacks, one after the other in a zstd
// stream. It is made once, from content that is verified again on the way, and
// kept in the cache. The caller closes it.
func (a *Archive) Difference(ctx context.Context, lacks [][2]int) (*Transfer, error) {
	m, err := a.tree()
	if err != nil {
		return nil, err
	}
	files, err := m.Select(lacks)
	if err != nil {
		return nil, err
	}
	name := differenceName(m, files)
	return a.form(ctx, name, func() (*Transfer, error) {
		t, err := a.makeDifference(ctx, m, files, name)
		if err != nil {
			return nil, fmt.Errorf("take %d files out of %s: %w", len(files), a.Name(), err)
		}
		a.cache.pruneDifferences(a.in.SHA256)
		return t, nil
	})
}

const differencePrefix = "difference-"

// differenceName names a difference by its content.
func differenceName(m tree.Manifest, files []int) string {
	h := sha256.New()
	for _, i := range files {
		h.Write(m[i].SHA256[:])
	}
	return differencePrefix + hex.EncodeToString(h.Sum(nil)[:16])
}

// makeDifference reads the archive up to the last file that is lacking. An
// archive's order is not the manifest's, so contents wait in a file.
func (a *Archive) makeDifference(ctx context.Context, m tree.Manifest, files []int, name string) (*Transfer, error) {
	p, err := newPick(a.cache, m, files)
	if err != nil {
		return nil, err
	}
	defer p.close()
	if err := a.pick(ctx, p); err != nil {
		return nil, err
	}
	out, err := newZstdFile(a.cache, zstdLevel)
	if err != nil {
		return nil, err
	}
	defer out.discard()
	for _, i := range files {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		content := io.NewSectionReader(p.file, p.at[m[i].Path], m[i].Size)
		if _, err := io.Copy(out.enc, content); err != nil {
			return nil, err
		}
	}
	return out.publishAs(a.cache, a.in.SHA256, name, wire.Transfer{Encoding: wire.Zstd, Difference: true})
}

// pick reads the archive, in the form that decodes fastest, until p has all.
func (a *Archive) pick(ctx context.Context, p *pick) error {
	encoding := wire.Gzip
	var r io.Reader = io.NewSectionReader(a.file, 0, a.in.Size)
	a.mu.Lock()
	if a.hasZstd() {
		encoding, r = wire.Zstd, io.NewSectionReader(a.zstd, 0, a.zstd.Size)
	}
	a.mu.Unlock()
	tarStream, err := tree.Decompress(&watchedReader{ctx, r, func() {}}, encoding)
	if err != nil {
		return err
	}
	defer tarStream.Close()
	ahead := readAhead(tarStream)
	defer ahead.Close()
	err = tree.ReadKnown(ahead, p.tree, p.visit)
	var bad *wire.Error
	switch {
	case errors.Is(err, errPicked):
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case !errors.Is(err, errAltered) && !errors.As(err, &bad):
		return err
	}
	return a.altered(err)
}

// errPicked ends the reading of an archive of which nothing more is needed.
var errPicked = errors.New("all was found")

// errAltered is a file that is not what it was when the archive was verified.
var errAltered = errors.New("it is not what it was")

// pick takes some files out of an archive.
type pick struct {
	tree tree.Manifest
	want map[string]bool
	file *os.File
	at   map[string]int64 // where a content begins
	size int64
}

func newPick(c cache, m tree.Manifest, files []int) (*pick, error) {
	dir, err := c.sub("new")
	if err != nil {
		return nil, err
	}
	p := &pick{tree: m, want: make(map[string]bool, len(files)), at: make(map[string]int64, len(files))}
	for _, i := range files {
		p.want[m[i].Path] = true
	}
	p.file, err = os.CreateTemp(dir, "picked-*")
	if err != nil {
		return nil, err
	}
	os.Remove(p.file.Name()) // it goes with this process
	return p, nil
}

func (p *pick) close() { p.file.Close() }

// visit is called by tree.ReadKnown for every entry.
func (p *pick) visit(e tree.Entry, content io.Reader) error {
	if e.Dir || !p.want[e.Path] {
		return nil
	}
	h := sha256.New()
	n, err := io.Copy(io.MultiWriter(p.file, h), content)
	if err != nil {
		return err
	}
	if n != e.Size || [sha256.Size]byte(h.Sum(nil)) != e.SHA256 {
		return fmt.Errorf("%s: %w", e.Path, errAltered)
	}
	p.at[e.Path] = p.size
	p.size += n
	if delete(p.want, e.Path); len(p.want) == 0 {
		return errPicked
	}
	return nil
}

// pruneDifferences keeps the newest differences of an archive. Open ones stay
// readable.
func (c cache) pruneDifferences(archive string) {
	type form struct {
		path string
		made int64
	}
	var forms []form
	paths, _ := filepath.Glob(filepath.Join(c.entry(archive), differencePrefix+"*.json"))
	for _, path := range paths {
		if st, err := os.Stat(path); err == nil {
			forms = append(forms, form{path, st.ModTime().UnixNano()})
		}
	}
	slices.SortFunc(forms, func(a, b form) int { return int(min(max(b.made-a.made, -1), 1)) })
	for i := keepDifferences; i < len(forms); i++ {
		os.Remove(forms[i].path)
		os.Remove(strings.TrimSuffix(forms[i].path, ".json"))
	}
}
