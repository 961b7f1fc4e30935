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
	if _, err := lookup(&remembering{online: online{db: db}, cache: f.store.cache}, n); err != nil {
		return nil, db.contradiction(err)
	}
	return proof, nil
}

// database reads a checksum database over the network, each path once.
type database struct {
	f         *fetcher
	ctx       context.Context // of one Fetch: sumdb's interface has none
	key       string
	name      string
	verifiers note.Verifiers
	base      []string // URLs under which it answers, in order

	mu     sync.Mutex
	got    map[string][]byte
	fork   string // what the client said when it saw the log misbehave
	failed error  // the last error of the network or the cache
}

// newDatabase finds where the database answers: through the first proxy that
// says it can, as the go command does, else by itself.
func (f *fetcher) newDatabase(ctx context.Context) (*database, error) {
	v, err := note.NewVerifier(f.SumDB)
	if err != nil {
		return nil, fmt.Errorf("checksum database key: %w", err)
	}
	db := &database{f: f, ctx: ctx, key: f.SumDB, name: v.Name(), verifiers: note.VerifierList(v), got: map[string][]byte{}}
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
	return nil, d.fail(errors.Join(errs...))
}

// fail notes an error that is not about the log itself.
func (d *database) fail(err error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.failed = err
	return err
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
	if d.failed != nil && strings.Contains(err.Error(), d.failed.Error()) {
		err = d.failed
	}
	return fmt.Errorf("checksum database: %w", err)
}

// contradiction turns an error of the client that remembers into a refusal. The
// same answers have satisfied the client that does not, so what is wrong is
// how they go with what was seen before, unless something failed in between.
func (d *database) contradiction(err error) error {
	if e := d.explain(err); errors.Is(e, d.failed) {
		return e
	}
	detail := err.Error()
	if d.fork != "" {
		detail = d.fork
	}
	return &RefusedError{File: "checksum database " + d.name, cause: err,
		Reason: "it shows a history that contradicts what it showed this user before: " + detail,
		Hint:   "keep this text and tell the Go project; do not use what was fetched"}
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

// remembering is a client that keeps the newest tree head in the cache from
// run to run. It keeps no tiles: an old one that does not fit a new history
// would only be called damaged, where the whole proof names the fork.
type remembering struct {
	online
	cache cache
}

func (r *remembering) file(name string) string {
	return filepath.Join(r.cache.dir, "sumdb", filepath.FromSlash(name))
}

// ReadConfig takes a remembered head only if the database has signed it: a
// damaged file counts as none.
func (r *remembering) ReadConfig(file string) ([]byte, error) {
	if file == "key" {
		return []byte(r.db.key), nil
	}
	data, err := os.ReadFile(r.file(file))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if _, bad := note.Open(data, r.db.verifiers); err == nil && bad != nil {
		return nil, nil
	}
	if err != nil {
		return nil, r.db.fail(err)
	}
	return data, nil
}

func (r *remembering) WriteConfig(file string, old, new []byte) error {
	if err := os.MkdirAll(filepath.Dir(r.file(file)), 0o700); err != nil {
		return r.db.fail(err)
	}
	unlock, err := lock(r.db.ctx, r.file(file)+".lock")
	if err != nil {
		return r.db.fail(err)
	}
	defer unlock()
	now, err := r.ReadConfig(file)
	if err != nil {
		return err
	}
	if string(now) != string(old) {
		return sumdb.ErrWriteConflict
	}
	if err := writeFile(r.file(file), new); err != nil {
		return r.db.fail(err)
	}
	return nil
}

func (r *remembering) ReadCache(string) ([]byte, error) { return nil, fs.ErrNotExist }
func (r *remembering) WriteCache(string, []byte)        {}
