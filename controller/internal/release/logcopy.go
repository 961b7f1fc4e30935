package release

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"

	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
	"golang.org/x/sync/errgroup"
)

// ToolchainModule is the module that holds the same release as the archive,
// and whether there is one.
func ToolchainModule(n Name) (module.Version, bool) {
	return module.Version{Path: modulePath, Version: n.moduleVersion()}, hasModule(n.Version)
}

// LogCopy is a part of a checksum database as a GOPROXY serves it, complete for
// some modules: by the path below sumdb/<name>/. All records are answered with
// one and the same tree head, so that whoever asks for them in whatever order
// needs no other tiles.
type LogCopy struct {
	Name    string // of the database, like sum.golang.org
	Files   map[string][]byte
	Lines   map[string]string // "path version" and "path version/go.mod" to hash
	Unknown []module.Version  // those that the database does not know
}

// CopyLog asks the checksum database about modules, proves every answer, and
// gives all that it takes to prove them again with no network. It makes sure
// that the log has only grown since this user last saw it. Of the options,
// version, platforms and directory play no part.
func CopyLog(ctx context.Context, o FetchOptions, modules []module.Version) (*LogCopy, error) {
	o.Platforms, o.Source = append(o.Platforms[:0:0], hostPlatform), FromAuto
	f, err := newFetcher(o)
	if err != nil {
		return nil, err
	}
	defer f.store.Close()
	db, err := f.newDatabase(ctx)
	if err != nil {
		return nil, err
	}
	c := &copier{online: online{db: db}, records: map[string]record{}, kept: map[string][]byte{}}
	unknown, err := c.ask(ctx, modules)
	if err != nil {
		return nil, err
	}
	mem := &remembering{online: online{db: db}, cache: f.store.cache}
	if err := c.chooseHead(mem); err != nil {
		return nil, err
	}
	if err := c.proveAll(ctx); err != nil {
		return nil, db.explain(err)
	}
	if err := c.proveGrowth(mem); err != nil {
		return nil, db.contradiction(err)
	}
	if err := c.proveHeads(f.store.cache); err != nil {
		return nil, err
	}
	if err := f.store.cache.rememberHead(db.name, c.tree); err != nil {
		return nil, err
	}
	files := map[string][]byte{"supported": {}, "latest": c.head}
	for name, data := range c.kept {
		files[name] = data
	}
	lines := map[string]string{}
	for name, r := range c.records {
		files[strings.TrimPrefix(name, "/")] = c.answer(r)
		if err := recordLines(strings.TrimPrefix(name, "/"), r.text, lines); err != nil {
			return nil, db.contradiction(err)
		}
	}
	return &LogCopy{Name: db.name, Files: files, Lines: lines, Unknown: unknown}, nil
}

// record is one answer of the database.
type record struct {
	id   int64
	text []byte
}

// copier is a client that answers lookups with one head, and keeps the tiles
// that it has found authentic.
type copier struct {
	online
	mu      sync.Mutex
	kept    map[string][]byte // tiles, by path
	records map[string]record // by path
	tree    tlog.Tree
	head    []byte // newest, a signed note
}

func logPath(m module.Version) (string, error) {
	p, err := module.EscapePath(m.Path)
	if err != nil {
		return "", err
	}
	v, err := module.EscapeVersion(m.Version)
	if err != nil {
		return "", err
	}
	return "/lookup/" + p + "@" + v, nil
}

// ask gets all records, some at once, and the newest of their heads.
func (c *copier) ask(ctx context.Context, modules []module.Version) (unknown []module.Version, err error) {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(8)
	for _, m := range modules {
		name, err := logPath(m)
		if err != nil {
			return nil, err
		}
		g.Go(func() error {
			data, err := c.online.db.read(name)
			if errors.Is(err, errNotThere) {
				c.mu.Lock()
				defer c.mu.Unlock()
				unknown = append(unknown, m)
				return nil
			}
			if err != nil {
				return err
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
			id, text, head, err := tlog.ParseRecord(data)
			if err != nil {
				return fmt.Errorf("checksum database: %s: %w", name, err)
			}
			c.mu.Lock()
			defer c.mu.Unlock()
			c.records[name] = record{id, text}
			return c.consider(head)
		})
	}
	err = g.Wait()
	slices.SortFunc(unknown, func(a, b module.Version) int { return strings.Compare(a.String(), b.String()) })
	return unknown, err
}

// consider takes a head if it is the newest so far.
func (c *copier) consider(head []byte) error {
	tree, err := openHead(c.online.db.verifiers, head)
	if err != nil {
		return fmt.Errorf("checksum database: %w", err)
	}
	if c.head == nil || tree.N > c.tree.N {
		c.tree, c.head = tree, head
	}
	return nil
}

func openHead(v note.Verifiers, head []byte) (tlog.Tree, error) {
	n, err := note.Open(head, v)
	if err != nil {
		return tlog.Tree{}, fmt.Errorf("tree head: %w", err)
	}
	tree, err := tlog.ParseTree([]byte(n.Text))
	if err != nil {
		return tlog.Tree{}, fmt.Errorf("tree head: %w", err)
	}
	return tree, nil
}

// chooseHead takes the head that this user saw last, if that is newer.
func (c *copier) chooseHead(mem *remembering) error {
	seen, err := mem.ReadConfig(c.online.db.name + "/latest")
	if err == nil && len(seen) > 0 {
		err = c.consider(seen)
	}
	if err == nil && c.head == nil {
		err = errors.New("checksum database: it knows none of the modules")
	}
	return err
}

func (c *copier) answer(r record) []byte {
	text, err := tlog.FormatRecord(r.id, r.text)
	if err != nil {
		panic("release: record: " + err.Error()) // it was parsed
	}
	return append(text, c.head...)
}

// proveAll lets a client without memory look up every record.
func (c *copier) proveAll(ctx context.Context) error {
	client := sumdb.NewClient(c)
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(8)
	for name := range c.records {
		g.Go(func() error {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return lookUp(client, name)
		})
	}
	return g.Wait()
}

func lookUp(client *sumdb.Client, name string) error {
	escaped, ver, _ := strings.Cut(strings.TrimPrefix(name, "/lookup/"), "@")
	p, err := module.UnescapePath(escaped)
	if err != nil {
		return err
	}
	v, err := module.UnescapeVersion(ver)
	if err != nil {
		return err
	}
	_, err = client.Lookup(p, v)
	return err
}

// proveGrowth lets a client that remembers look up one record: what it needs to
// see that the log has only grown is kept too.
func (c *copier) proveGrowth(mem *remembering) error {
	for name := range c.records {
		return lookUp(sumdb.NewClient(&growing{copier: c, memory: mem}), name)
	}
	return nil
}

// proveHeads keeps what shows that the log has grown from each of the heads that
// earlier copies had: whoever has seen one of those can go on from there, and
// so can the go command of a host that has.
func (c *copier) proveHeads(kept cache) error {
	hashes := tlog.TileHashReader(c.tree, &remoteTiles{c})
	for _, then := range kept.heads(c.online.db.name) {
		if then.N >= c.tree.N {
			continue
		}
		got, err := tlog.TreeHash(then.N, hashes)
		if err != nil {
			return c.online.db.explain(err)
		}
		if got != then.Hash {
			return c.online.db.contradiction(fmt.Errorf("its history of %d records is not the one of %d records that was seen before", c.tree.N, then.N))
		}
	}
	return nil
}

// remoteTiles reads tiles of the database, and keeps those found authentic.
type remoteTiles struct{ c *copier }

func (t *remoteTiles) Height() int { return 8 }

func (t *remoteTiles) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	data := make([][]byte, len(tiles))
	for i, tile := range tiles {
		var err error
		if data[i], err = t.c.online.db.read("/" + tile.Path()); err != nil {
			return nil, err
		}
	}
	return data, nil
}

func (t *remoteTiles) SaveTiles(tiles []tlog.Tile, data [][]byte) {
	for i, tile := range tiles {
		t.c.WriteCache(tile.Path(), data[i])
	}
}

func (c *copier) ReadRemote(name string) ([]byte, error) {
	if strings.HasPrefix(name, "/lookup/") {
		r, ok := c.records[name]
		if !ok {
			return nil, fmt.Errorf("%s was not asked for", name)
		}
		return c.answer(r), nil
	}
	return c.online.db.read(name)
}

func (c *copier) ReadConfig(file string) ([]byte, error) {
	if file == "key" {
		return []byte(c.online.db.key), nil
	}
	return nil, nil
}

func (c *copier) WriteConfig(string, []byte, []byte) error { return nil }
func (c *copier) ReadCache(string) ([]byte, error)         { return nil, fs.ErrNotExist }
func (c *copier) Log(string)                               {}
func (c *copier) SecurityError(msg string)                 { c.online.SecurityError(msg) }

// WriteCache keeps tiles; records are answered from memory.
func (c *copier) WriteCache(file string, data []byte) {
	name := strings.TrimPrefix(file, c.online.db.name+"/")
	if strings.HasPrefix(name, "tile/") {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.kept[name] = data
	}
}

// growing is a copier with a memory.
type growing struct {
	*copier
	memory *remembering
}

func (g *growing) ReadConfig(file string) ([]byte, error) { return g.memory.ReadConfig(file) }
func (g *growing) WriteConfig(file string, old, new []byte) error {
	return g.memory.WriteConfig(file, old, new)
}
