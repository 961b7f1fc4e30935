package release

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/mod/sumdb"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// maxTile bounds one answer of the checksum database.
const maxTile = 64 << 10

// prove asks the checksum database about an archive's module, checks the
// answer, and gives all that it takes to check it again with no network.
//
// It asks twice. A client without memory records a proof that stands by
// itself: it is against the tree head that came with it. A second client that
// remembers the newest head this user has seen makes sure that the log has
// only grown since; a log that shows different histories is caught there.
func (f *fetcher) prove(ctx context.Context, n Name) (*Proof, error) {
	db, err := f.newDatabase(ctx)
	if err != nil {
		return nil, err
	}
	rec := &recorder{online: online{db: db}, kept: map[string][]byte{}}
	h1, err := lookup(rec, n)
	if err != nil {
		return nil, db.explain(err)
	}
	proof, err := rec.proof(n, h1)
	if err != nil {
		return nil, err
	}
	if _, err := proof.Verify(f.SumDB, n); err != nil {
		return nil, fmt.Errorf("the recorded proof: %w", err)
	}
	again, err := lookup(&remembering{online: online{db: db}, cache: f.store.cache}, n)
	if err != nil {
		return nil, db.explain(err)
	}
	if again != h1 {
		return nil, fmt.Errorf("the checksum database says %s and %s of the same module", h1, again)
	}
	return proof, nil
}

// database reads a checksum database over the network, each path once.
type database struct {
	f    *fetcher
	ctx  context.Context // of one Fetch: sumdb's interface has none
	key  string
	name string
	base []string // URLs under which it answers, in order

	mu   sync.Mutex
	got  map[string][]byte
	fork string // what the client said when it saw the log misbehave
	lost error  // the last error of the network
}

// newDatabase finds where the database answers: through the first proxy that
// says it can, as the go command does, else by itself.
func (f *fetcher) newDatabase(ctx context.Context) (*database, error) {
	v, err := note.NewVerifier(f.SumDB)
	if err != nil {
		return nil, fmt.Errorf("checksum database key: %w", err)
	}
	db := &database{f: f, ctx: ctx, key: f.SumDB, name: v.Name(), got: map[string][]byte{}}
	for _, proxy := range f.proxies {
		base := proxy + "/sumdb/" + db.name
		resp, err := request(ctx, f.Client, base+"/supported", 0, "")
		if err == nil {
			resp.Body.Close()
			db.base = append(db.base, base)
		}
	}
	direct := f.SumDBURL
	if direct == "" {
		direct = "https://" + db.name
	}
	db.base = append(db.base, strings.TrimSuffix(direct, "/"))
	return db, nil
}

func (d *database) read(path string) ([]byte, error) {
	d.mu.Lock()
	data, ok := d.got[path]
	d.mu.Unlock()
	if ok {
		return data, nil
	}
	var errs []error
	for _, base := range d.base {
		data, err := d.get(base + path)
		if err == nil {
			d.mu.Lock()
			d.got[path] = data
			d.mu.Unlock()
			return data, nil
		}
		errs = append(errs, err)
		if errors.Is(err, errNotThere) || d.ctx.Err() != nil {
			break
		}
	}
	err := errors.Join(errs...)
	d.mu.Lock()
	d.lost = err
	d.mu.Unlock()
	return nil, err
}

func (d *database) get(url string) ([]byte, error) {
	resp, err := request(d.ctx, d.f.Client, url, 0, "")
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", safeURL(url), err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxTile+1))
	if err == nil && len(data) > maxTile {
		err = errors.New("answer is too long")
	}
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", safeURL(url), err)
	}
	return data, nil
}

// explain gives what lies behind an error of sumdb's client, which keeps only
// texts.
func (d *database) explain(err error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.fork != "":
		return &RefusedError{File: "checksum database " + d.name, cause: err,
			Reason: "it shows a history that contradicts what it showed before:\n" + d.fork,
			Hint:   "keep this text and tell the Go project; do not use what was fetched"}
	case d.lost != nil && strings.Contains(err.Error(), d.lost.Error()):
		return fmt.Errorf("checksum database: %w", d.lost)
	}
	return fmt.Errorf("checksum database: %w", err)
}

// online are the operations that both clients of a lookup share.
type online struct{ db *database }

func (o *online) ReadRemote(path string) ([]byte, error) { return o.db.read(path) }
func (o *online) Log(string)                             {}
func (o *online) SecurityError(msg string) {
	o.db.mu.Lock()
	defer o.db.mu.Unlock()
	o.db.fork = msg
}

// recorder is a client without memory that keeps what it has checked.
type recorder struct {
	online
	mu   sync.Mutex
	kept map[string][]byte
}

func (r *recorder) ReadConfig(file string) ([]byte, error) {
	if file == "key" {
		return []byte(r.db.key), nil
	}
	return nil, nil
}

func (r *recorder) WriteConfig(string, []byte, []byte) error { return nil }
func (r *recorder) ReadCache(string) ([]byte, error)         { return nil, fs.ErrNotExist }

// WriteCache is called with what was found authentic.
func (r *recorder) WriteCache(file string, data []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.kept[strings.TrimPrefix(file, r.db.name+"/")] = data
}

// proof is what was recorded in one lookup.
func (r *recorder) proof(n Name, h1 string) (*Proof, error) {
	p := &Proof{File: n.String(), H1: h1, Tiles: map[string][]byte{}}
	for path, data := range r.kept {
		if strings.HasPrefix(path, "tile/") {
			p.Tiles[path] = data
		}
	}
	id, text, head, err := tlog.ParseRecord(r.kept[strings.TrimPrefix(lookupPath(n), "/")])
	if err != nil {
		return nil, fmt.Errorf("checksum database: %w", err)
	}
	p.ID, p.Record, p.Head = id, string(text), string(head)
	return p, nil
}

// remembering is a client that keeps the newest tree head, and tiles, in the
// cache from run to run.
type remembering struct {
	online
	cache cache
}

func (r *remembering) file(name string) string {
	return filepath.Join(r.cache.dir, "sumdb", filepath.FromSlash(name))
}

func (r *remembering) ReadConfig(file string) ([]byte, error) {
	if file == "key" {
		return []byte(r.db.key), nil
	}
	data, err := os.ReadFile(r.file(file))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return data, err
}

func (r *remembering) WriteConfig(file string, old, new []byte) error {
	if err := os.MkdirAll(filepath.Dir(r.file(file)), 0o700); err != nil {
		return err
	}
	unlock, err := lock(r.db.ctx, r.file(file)+".lock")
	if err != nil {
		return err
	}
	defer unlock()
	now, err := r.ReadConfig(file)
	if err != nil {
		return err
	}
	if string(now) != string(old) {
		return sumdb.ErrWriteConflict
	}
	return writeFile(r.file(file), new)
}

func (r *remembering) ReadCache(file string) ([]byte, error) { return os.ReadFile(r.file(file)) }

func (r *remembering) WriteCache(file string, data []byte) {
	path := r.file(file)
	if os.MkdirAll(filepath.Dir(path), 0o700) == nil {
		_ = writeFile(path, data) // only spares work
	}
}
