package release

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// LogError says which file of a copied log is wrong.
type LogError struct {
	File   string // below sumdb/<name>/
	Reason string
	Head   bool // it is about the tree head: the history, not a file
	Older  bool // and it is only that the head is older than one seen before
}

func (e *LogError) Error() string { return e.File + ": " + e.Reason }

// Log is a copied log that was proved, record by record.
type Log struct {
	Size  int64             // records in the whole log
	Lines map[string]string // "path version" and "path version/go.mod" to hash
	Notes string            // what could not be compared with what was seen before; "" most often
}

// OpenLog proves a copied log with no network: fsys is sumdb/<name>, key the
// verifier key. Every tile must belong to the tree of the one signed head,
// every record must be in that tree. The head must go with those that this
// user has seen before, which cacheDir keeps. What is wrong is a *LogError;
// a head that is older is one only unless older are accepted.
func OpenLog(fsys fs.FS, key, cacheDir string, acceptOlder bool) (*Log, error) {
	if key == "" {
		key = GoSumDB
	}
	verifier, err := note.NewVerifier(key)
	if err != nil {
		return nil, fmt.Errorf("checksum database key: %w", err)
	}
	head, err := fs.ReadFile(fsys, "latest")
	if err != nil {
		return nil, &LogError{File: "latest", Reason: err.Error(), Head: true}
	}
	if err := checkHead(key, string(head)); err != nil {
		return nil, &LogError{File: "latest", Reason: err.Error(), Head: true}
	}
	tree, err := openHead(note.VerifierList(verifier), head)
	if err != nil {
		return nil, &LogError{File: "latest", Reason: err.Error(), Head: true}
	}
	l := &logReader{fsys: fsys, head: head, tree: tree, hashes: tlog.TileHashReader(tree, &tileFiles{fsys})}
	if err := l.checkTiles(); err != nil {
		return nil, err
	}
	log := &Log{Size: tree.N, Lines: map[string]string{}}
	if err := l.readRecords(log.Lines); err != nil {
		return nil, err
	}
	c, err := newCache(cacheDir)
	if err != nil {
		return nil, err
	}
	log.Notes, err = l.compare(c, verifier, acceptOlder)
	return log, err
}

// logReader reads a copied log.
type logReader struct {
	fsys   fs.FS
	head   []byte
	tree   tlog.Tree
	hashes tlog.HashReader
}

// tileFiles are the tiles of a copied log.
type tileFiles struct{ fsys fs.FS }

func (t *tileFiles) Height() int { return 8 }

func (t *tileFiles) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	data := make([][]byte, len(tiles))
	for i, tile := range tiles {
		var err error
		data[i], err = fs.ReadFile(t.fsys, tile.Path())
		if full := (tlog.Tile{H: tile.H, L: tile.L, N: tile.N, W: 1 << tile.H}); err != nil && full != tile {
			if data[i], err = fs.ReadFile(t.fsys, full.Path()); err == nil {
				data[i] = data[i][:min(len(data[i]), tile.W*tlog.HashSize)]
			}
		}
		if err != nil {
			return nil, err
		}
	}
	return data, nil
}

func (t *tileFiles) SaveTiles([]tlog.Tile, [][]byte) {}

// checkTiles proves every tile against the head, upper ones first.
func (l *logReader) checkTiles() error {
	var tiles []tlog.Tile
	err := fs.WalkDir(l.fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasPrefix(name, "tile/") {
			return err
		}
		tile, err := tlog.ParseTilePath(name)
		if err != nil || tile.H != 8 || tile.L < 0 {
			return &LogError{File: name, Reason: "it is no tile of the log"}
		}
		tiles = append(tiles, tile)
		return nil
	})
	if err != nil {
		return err
	}
	slices.SortStableFunc(tiles, func(a, b tlog.Tile) int { return b.L - a.L })
	for _, tile := range tiles {
		if err := l.checkTile(tile); err != nil {
			return &LogError{File: tile.Path(), Reason: err.Error()}
		}
	}
	return nil
}

func (l *logReader) checkTile(tile tlog.Tile) error {
	data, err := fs.ReadFile(l.fsys, tile.Path())
	if err != nil {
		return err
	}
	if len(data) != tile.W*tlog.HashSize {
		return fmt.Errorf("it has %d bytes, not %d", len(data), tile.W*tlog.HashSize)
	}
	indexes := make([]int64, tile.W)
	for i := range indexes {
		indexes[i] = tlog.StoredHashIndex(tile.L*tile.H, tile.N<<tile.H+int64(i))
	}
	hashes, err := l.hashes.ReadHashes(indexes)
	if err != nil {
		return err
	}
	for i, h := range hashes {
		if !bytes.Equal(h[:], data[i*tlog.HashSize:(i+1)*tlog.HashSize]) {
			return errors.New("it does not belong to the tree of the signed head")
		}
	}
	return nil
}

// readRecords proves every record and takes its lines.
func (l *logReader) readRecords(lines map[string]string) error {
	return fs.WalkDir(l.fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasPrefix(name, "lookup/") {
			return err
		}
		bad := func(reason string) error { return &LogError{File: name, Reason: reason} }
		data, err := fs.ReadFile(l.fsys, name)
		if err != nil {
			return bad(err.Error())
		}
		id, text, head, err := tlog.ParseRecord(data)
		if err != nil {
			return bad(err.Error())
		}
		if !bytes.Equal(head, l.head) {
			return &LogError{File: name, Reason: "its tree head is not that of the other records", Head: true}
		}
		hashes, err := l.hashes.ReadHashes([]int64{tlog.StoredHashIndex(0, id)})
		if err != nil {
			return bad(err.Error())
		}
		if id >= l.tree.N || hashes[0] != tlog.RecordHash(text) {
			return bad("the log does not hold this record")
		}
		return recordLines(name, text, lines)
	})
}

// recordLines takes the hashes of a record, which must be about the module
// that the file is named for.
func recordLines(name string, text []byte, lines map[string]string) error {
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) != 3 {
			return &LogError{File: name, Reason: "its record is not one of module hashes"}
		}
		want, err := logPath(module.Version{Path: f[0], Version: strings.TrimSuffix(f[1], "/go.mod")})
		if err != nil || want != "/"+name {
			return &LogError{File: name, Reason: fmt.Sprintf("its record is about %s %s", f[0], f[1])}
		}
		lines[f[0]+" "+f[1]] = f[2]
	}
	return nil
}

// compare holds the head against those seen before, and remembers it.
func (l *logReader) compare(c cache, verifier note.Verifier, acceptOlder bool) (notes string, err error) {
	db := &database{ctx: context.Background(), name: verifier.Name(), verifiers: note.VerifierList(verifier)}
	mem := &remembering{online: online{db: db}, cache: c}
	latest := path.Join(db.name, "latest")
	seen, err := mem.ReadConfig(latest)
	if err != nil {
		return "", err
	}
	fork := func(then tlog.Tree) error {
		return &LogError{File: "latest", Head: true, Reason: fmt.Sprintf(
			"the log is forked: its history of %d records contradicts the one of %d records that was seen here before", l.tree.N, then.N)}
	}
	if len(seen) > 0 {
		then, err := openHead(db.verifiers, seen)
		if err != nil {
			return "", err
		}
		switch {
		case then.N == l.tree.N && then.Hash != l.tree.Hash:
			return "", fork(then)
		case then.N < l.tree.N && then.N > 0:
			got, err := tlog.TreeHash(then.N, l.hashes)
			if err != nil {
				notes = fmt.Sprintf("the bundle has no proof that its log has grown from the one of %d records seen here before", then.N)
			} else if got != then.Hash {
				return "", fork(then)
			}
		case then.N > l.tree.N && !acceptOlder && !c.sawHead(db.name, l.tree):
			return "", &LogError{File: "latest", Head: true, Older: true, Reason: fmt.Sprintf(
				"the log is rolled back: it has %d records, one of %d was seen here before", l.tree.N, then.N)}
		}
		if then.N >= l.tree.N {
			return notes, c.rememberHead(db.name, l.tree)
		}
	}
	if err := mem.WriteConfig(latest, seen, l.head); err != nil {
		return "", err
	}
	return notes, c.rememberHead(db.name, l.tree)
}
