package toolchain

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sort"

	"github.com/gofleet/gofleet/agent/tree"
	"github.com/gofleet/gofleet/agent/wire"
)

// Gathered is a tree in staging that was put together from what the host had,
// every file proved by its sum, and what it still lacks.
type Gathered struct {
	store *Store
	top   string // of its own in staging; "" once the tree was moved on
	tree  tree.Manifest
	// proved is a tree whose sum was compared with the release's.
	proved bool
	lacks  []int // files of tree
}

// Lacks are the files that the host has nowhere; none where all was found.
func (g *Gathered) Lacks() [][2]int { return g.tree.Ranges(g.lacks) }

// Staged is the whole tree. There may be nothing that it lacks.
func (g *Gathered) Staged(release wire.Release) (*Staged, error) {
	if len(g.lacks) > 0 {
		return nil, fmt.Errorf("%d files are lacking", len(g.lacks))
	}
	st := &Staged{Dir: filepath.Join(g.top, treeName), Release: release, tree: g.tree, store: g.store, top: g.top}
	g.top = ""
	return st, nil
}

// Discard removes what was gathered, unless it has become another's. There may
// be none.
func (g *Gathered) Discard() error {
	if g == nil || g.top == "" {
		return nil
	}
	err := g.store.discard(g.top)
	g.top = ""
	return hostError(err)
}

// moveTo gives the tree to an upload.
func (g *Gathered) moveTo(dir string) error {
	if err := os.Rename(filepath.Join(g.top, treeName), filepath.Join(dir, treeName)); err != nil {
		return fmt.Errorf("move what was gathered: %w", err)
	}
	err := os.Remove(g.top)
	g.top = ""
	return err
}

// Bases are toolchains on the host of which a release may have many files.
type Bases []base

// base is a toolchain whose files may be used, proved each by its sum. What its
// manifest says is where to look.
type base struct {
	dir   string
	sum   string        // of tree, as its manifest says
	tree  tree.Manifest // nil: a file may be where it should be
	bySum map[[sha256.Size]byte]string
}

// minShare is the part of a release's bytes, one in so many, that must be on
// the host for gathering to be worth its time.
const minShare = 8

// Bases gives the toolchains that a release may share files with, the altered
// one of its own version first.
func (s *Store) Bases(st *State) Bases {
	var bases Bases
	for i := range st.Toolchains {
		t := &st.Toolchains[i]
		if t.newer() {
			continue
		}
		var entries tree.Manifest
		sum := ""
		if m, err := s.readManifest(t.Version); err == nil {
			entries, _ = m.Entries()
			sum = m.Tree.SHA256
		}
		b := newBase(t.Dir, entries)
		b.sum = sum
		if t == st.Wanted {
			bases = append(Bases{b}, bases...)
		} else {
			bases = append(bases, b)
		}
	}
	if st.Link.Kind == LinkUnmanaged || st.Link.Kind == LinkKept {
		bases = append(bases, newBase(st.Link.Dir, nil))
	}
	return bases
}

// newBase indexes a tree, which may be nil.
func newBase(dir string, m tree.Manifest) base {
	b := base{dir: dir, tree: m, bySum: make(map[[sha256.Size]byte]string, len(m))}
	for i := range m {
		if e := &m[i]; !e.Dir {
			b.bySum[e.SHA256] = e.Path
		}
	}
	return b
}

// Known gives the tree of a release if the host has its manifest already.
func (b Bases) Known(release wire.Release) tree.Manifest {
	for i := range b {
		if b[i].tree != nil && b[i].sum == release.Tree.SHA256 && b[i].tree.Sum() == b[i].sum {
			return b[i].tree
		}
	}
	return nil
}

// find gives where in the base the entry's content should be; "" for nowhere.
func (b *base) find(e *tree.Entry) string {
	if b.tree == nil {
		return e.Path
	}
	if same := b.tree.Find(e.Path); same != nil && same.SHA256 == e.SHA256 {
		return e.Path
	}
	return b.bySum[e.SHA256]
}

// promises tells whether the entry's content should be there. A manifest is
// taken at its word: what is not as it says is found out in the copying.
func (b *base) promises(e *tree.Entry) bool {
	if b.tree != nil {
		return b.find(e) != ""
	}
	st, err := os.Lstat(filepath.Join(b.dir, e.Path))
	return err == nil && st.Mode().IsRegular() && st.Size() == e.Size
}

// promise tells whether enough of the tree should be there.
func (b Bases) promise(m tree.Manifest) bool {
	var all, there int64
	for i := range m {
		e := &m[i]
		if e.Dir {
			continue
		}
		all += e.Size
		for j := range b {
			if b[j].promises(e) {
				there += e.Size
				break
			}
		}
	}
	return there > 0 && there >= all/minShare
}

// Gather copies what bases have of the tree m, whose sum the caller has
// compared, into staging. It believes no
// size, time or manifest: every byte is hashed as it is copied, and what has
// another sum is lacking. It gives nil where bases have too little. restore
// gives a go.env as it was shipped.
func (s *Store) Gather(ctx context.Context, bases Bases, m tree.Manifest, restore func([]byte) []byte) (*Gathered, error) {
	if !bases.promise(m) {
		return nil, nil
	}
	g := &Gathered{store: s, tree: m, proved: true}
	err := g.gather(ctx, &gatherer{bases: bases, restore: restore})
	if err != nil {
		return nil, errors.Join(hostError(fmt.Errorf("gather what the host has: %w", err)), g.Discard())
	}
	return g, nil
}

// gather makes the tree in staging and has c fill it.
func (g *Gathered) gather(ctx context.Context, c *gatherer) (err error) {
	if err := makeDir(g.store.Staging(), 0o711); err != nil {
		return err
	}
	if g.top, err = os.MkdirTemp(g.store.Staging(), "gathered-"); err != nil {
		return err
	}
	if err := os.Chmod(g.top, 0o711); err != nil {
		return err
	}
	to, err := makeTree(filepath.Join(g.top, treeName))
	if err != nil {
		return err
	}
	defer to.close()
	g.store.fault("gather.made")
	c.to = to
	defer c.close()
	if err := c.open(); err != nil {
		return err
	}
	c.run(ctx, g.tree, func() { g.store.fault("gather.half") })
	if err := context.Cause(ctx); err != nil {
		return stopped(err)
	}
	sort.Ints(c.lacks)
	g.lacks = c.lacks
	g.store.fault("gather.done")
	return c.err
}
