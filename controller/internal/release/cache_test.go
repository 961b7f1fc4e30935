package release

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gofleet/gofleet/agent/tree"
	"github.com/gofleet/gofleet/agent/wire"
)

// heard is a Progress that counts what was begun.
type heard struct {
	mu     sync.Mutex
	labels []string
	ended  int
}

func (h *heard) begin(label string) Work {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.labels = append(h.labels, label)
	return heardWork{h}
}

type heardWork struct{ h *heard }

func (heardWork) Set(int64, int64) {}
func (w heardWork) End(error)      { w.h.mu.Lock(); w.h.ended++; w.h.mu.Unlock() }

// known is an archive in a directory with a cache of its own.
type known struct {
	t     testing.TB
	file  string
	cache string
	heard *heard
}

func newKnown(t testing.TB) *known {
	dir := t.TempDir()
	return &known{t: t, file: newFake("1.26.8", amd64).official(t, dir), cache: filepath.Join(t.TempDir(), "cache"), heard: &heard{}}
}

func (k *known) open(zstd bool) (*Archive, error) {
	o := Options{
		Location: filepath.Dir(k.file), CacheDir: k.cache, Zstd: zstd, Progress: k.heard.begin,
		Table: Table{filepath.Base(k.file): "*"},
	}
	data, err := os.ReadFile(k.file)
	must(k.t, err)
	sum := sha256.Sum256(data)
	o.Table[filepath.Base(k.file)] = hex.EncodeToString(sum[:])
	store, err := NewStore(o)
	must(k.t, err)
	k.t.Cleanup(func() { store.Close() })
	// As if the file had been there for a while: see Stamp.Settled.
	store.cache.now = func() time.Time { return time.Now().Add(time.Minute) }
	return store.Open(k.t.Context(), "1.26.8", amd64)
}

// read says how many archives were read so far.
func (k *known) read() int {
	if k.heard.ended != len(k.heard.labels) {
		k.t.Errorf("%d pieces of work begun, %d ended", len(k.heard.labels), k.heard.ended)
	}
	return len(k.heard.labels)
}

func TestAKnownArchiveIsNotReadAgain(t *testing.T) {
	k := newKnown(t)
	first, err := k.open(false)
	must(t, err)
	second, err := k.open(false)
	must(t, err)
	if k.read() != 1 {
		t.Errorf("read %d times", k.read())
	}
	if first.Tree() != second.Tree() || !bytes.Equal(first.Manifest(), second.Manifest()) || first.SHA256() != second.SHA256() {
		t.Error("the archive differs the second time")
	}
	f := newFake("1.26.8", amd64)
	f.files["src/more.go"] = "package more\n"
	f.official(t, filepath.Dir(k.file))
	third, err := k.open(false)
	must(t, err)
	if k.read() != 2 || third.SHA256() == first.SHA256() {
		t.Error("a changed file is taken for the old one")
	}
}

// A copy of a known archive is hashed, not read through again.
func TestACopyIsRecognised(t *testing.T) {
	k := newKnown(t)
	a, err := k.open(false)
	must(t, err)
	copied := filepath.Join(t.TempDir(), filepath.Base(k.file))
	copyFile(t, k.file, copied)
	k.file = copied
	b, err := k.open(false)
	must(t, err)
	if k.read() != 1 || b.Tree() != a.Tree() || b.Path() != copied {
		t.Errorf("%s was read as if it were new", b.Path())
	}
	data, err := os.ReadFile(copied)
	must(t, err)
	must(t, os.WriteFile(copied, flip(data, len(data)-3), 0o644))
	if _, err := k.open(false); err == nil || k.read() != 2 {
		t.Error("another file of the same length is taken for it")
	}
}

// A file that was changed just now may be changed again within one tick of the
// clock, so it is read again in the next run.
func TestAFreshFileIsNotTakenForKnown(t *testing.T) {
	k := newKnown(t)
	o := Options{Location: filepath.Dir(k.file), CacheDir: k.cache, Progress: k.heard.begin, Table: Table{filepath.Base(k.file): sumOf(t, k.file)}}
	for range 2 {
		store, err := NewStore(o)
		must(t, err)
		defer store.Close()
		store.cache.now = func() time.Time { return time.Unix(0, 0) }
		_, err = store.Open(t.Context(), "1.26.8", amd64)
		must(t, err)
	}
	if index, _ := filepath.Glob(filepath.Join(k.cache, "index", "*")); len(index) > 0 {
		t.Error("the fresh file was noted as known")
	}
}

// A change that leaves size and modification time alone is seen too.
func TestAChangedFileIsNoticed(t *testing.T) {
	k := newKnown(t)
	_, err := k.open(false)
	must(t, err)
	st, err := os.Stat(k.file)
	must(t, err)
	data, err := os.ReadFile(k.file)
	must(t, err)
	must(t, os.WriteFile(k.file, flip(data, len(data)/2), 0o644))
	must(t, os.Chtimes(k.file, st.ModTime(), st.ModTime()))
	if _, err := k.open(false); err == nil {
		t.Error("a changed archive was opened")
	}
	if k.read() != 2 {
		t.Error("the changed file was not read")
	}
}

func TestADamagedCacheHeals(t *testing.T) {
	k := newKnown(t)
	a, err := k.open(true)
	must(t, err)
	entry := filepath.Join(k.cache, "archives", a.SHA256())
	index, err := filepath.Glob(filepath.Join(k.cache, "index", "*"))
	must(t, err)
	reads := 1
	for _, file := range append(index, filepath.Join(entry, "inspection"), filepath.Join(entry, "manifest")) {
		data, err := os.ReadFile(file)
		must(t, err)
		for what, damage := range map[string][]byte{"flipped": flip(data, len(data)/2), "cut": data[:len(data)-1], "empty": nil} {
			must(t, os.WriteFile(file, damage, 0o600))
			b, err := k.open(false)
			must(t, err)
			if filepath.Dir(file) == entry { // a sum mends the index, only the archive the rest
				reads++
			}
			if k.read() != reads || b.Tree() != a.Tree() {
				t.Errorf("%s %s: read %d times, want %d", what, file, k.read(), reads)
			}
			if after, err := os.ReadFile(file); err != nil || !bytes.Equal(after, data) {
				t.Errorf("%s %s is not mended", what, file)
			}
		}
	}
}

func TestACacheOfOthersIsRefused(t *testing.T) {
	k := newKnown(t)
	must(t, os.MkdirAll(k.cache, 0o700))
	must(t, os.Chmod(k.cache, 0o770))
	_, err := NewStore(Options{Location: filepath.Dir(k.file), CacheDir: k.cache})
	wantError(t, err, "can be written by others")
}

// content reads a transfer as a host would, and checks its sums.
func contentOf(t testing.TB, x *Transfer) []byte {
	t.Helper()
	data, err := io.ReadAll(io.NewSectionReader(x, 0, x.Size+1))
	must(t, err)
	s := newSums()
	s.Write(data)
	whole, chunks, size := s.end()
	if whole != x.SHA256 || size != x.Size || strings.Join(chunks, " ") != strings.Join(x.Chunks, " ") || x.ChunkSize != chunkSize {
		t.Errorf("%s transfer is not what its sums say", x.Encoding)
	}
	r, err := tree.Decompress(bytes.NewReader(data), x.Encoding)
	must(t, err)
	defer r.Close()
	tar, err := io.ReadAll(r)
	must(t, err)
	return tar
}

func TestTransfer(t *testing.T) {
	for _, inOnePass := range []bool{true, false} {
		k := newKnown(t)
		a, err := k.open(inOnePass)
		must(t, err)
		if a.HasTransfer(wire.Zstd) != inOnePass || !a.HasTransfer(wire.Gzip) || a.HasTransfer("lz4") {
			t.Error("HasTransfer is wrong")
		}
		plain, err := a.Transfer(t.Context(), wire.Gzip, nil)
		must(t, err)
		if plain.SHA256 != a.SHA256() {
			t.Error("the gzip transfer is not the file")
		}
		zstd, err := a.Transfer(t.Context(), wire.Zstd, nil)
		must(t, err)
		if !bytes.Equal(contentOf(t, plain), contentOf(t, zstd)) {
			t.Error("the two encodings hold different streams")
		}
		if _, err := a.Transfer(t.Context(), "lz4", nil); err == nil {
			t.Error("an unknown encoding is accepted")
		}
		next, err := k.open(false)
		must(t, err)
		if !next.HasTransfer(wire.Zstd) {
			t.Error("the zstd form was not kept")
		}
	}
}

func TestADamagedZstdFormIsMadeAnew(t *testing.T) {
	k := newKnown(t)
	a, err := k.open(true)
	must(t, err)
	path := filepath.Join(k.cache, "archives", a.SHA256(), "zstd")
	data, err := os.ReadFile(path)
	must(t, err)
	for _, damage := range [][]byte{flip(data, 100), data[:100], nil} {
		must(t, os.WriteFile(path, damage, 0o600))
		b, err := k.open(false)
		must(t, err)
		if b.HasTransfer(wire.Zstd) {
			t.Error("the damaged form is offered")
		}
		x, err := b.Transfer(t.Context(), wire.Zstd, nil)
		must(t, err)
		contentOf(t, x)
	}
	// Only touched: read once, and then known again.
	now := time.Now()
	must(t, os.Chtimes(path, now, now))
	b, err := k.open(false)
	must(t, err)
	if !b.HasTransfer(wire.Zstd) {
		t.Error("the form is made anew although it is whole")
	}
}

// An older gofleet compressed otherwise: its form would travel to every host
// for as long as the cache lives.
func TestAZstdFormOfOtherSettingsIsMadeAnew(t *testing.T) {
	k := newKnown(t)
	a, err := k.open(true)
	must(t, err)
	path := filepath.Join(k.cache, "archives", a.SHA256(), "zstd.json")
	var form zstdForm
	must(t, readSealed(path, &form))
	for _, maker := range []string{"", "default, 1 MiB"} {
		form.Maker = maker
		must(t, writeSealed(path, form))
		b, err := k.open(false)
		must(t, err)
		if b.HasTransfer(wire.Zstd) {
			t.Errorf("a form made as %q is offered", maker)
		}
		x, err := b.Transfer(t.Context(), wire.Zstd, nil)
		must(t, err)
		contentOf(t, x)
	}
	b, err := k.open(false)
	must(t, err)
	if !b.HasTransfer(wire.Zstd) {
		t.Error("the form that was made anew was not kept")
	}
}

func TestAChangedArchiveIsNotRecompressed(t *testing.T) {
	k := newKnown(t)
	a, err := k.open(false)
	must(t, err)
	data, err := os.ReadFile(k.file)
	must(t, err)
	f, err := os.OpenFile(k.file, os.O_WRONLY, 0)
	must(t, err)
	_, err = f.WriteAt([]byte{data[200] ^ 1}, 200)
	must(t, err)
	must(t, f.Close())
	_, err = a.Transfer(t.Context(), wire.Zstd, nil)
	wantError(t, err, "was changed while gofleet ran")
	if left, _ := filepath.Glob(filepath.Join(k.cache, "new", "*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// One caller that gives up does not take the form from the others.
func TestTransferOutlivesItsFirstCaller(t *testing.T) {
	k := newKnown(t)
	a, err := k.open(false)
	must(t, err)
	gone, cancel := context.WithCancel(t.Context())
	begun, goOn := make(chan struct{}), make(chan struct{})
	var once sync.Once
	first := make(chan error)
	go func() {
		_, err := a.Transfer(gone, wire.Zstd, func(int64, int64) {
			once.Do(func() { close(begun); <-goOn })
		})
		first <- err
	}()
	<-begun
	cancel()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Errorf("the caller that gave up got %v", err)
	}
	if a.HasTransfer(wire.Zstd) {
		t.Error("the form is there before it is made")
	}
	close(goOn)
	x, err := a.Transfer(t.Context(), wire.Zstd, nil)
	must(t, err)
	contentOf(t, x)
}

func TestUnusedEntriesAreSwept(t *testing.T) {
	k := newKnown(t)
	a, err := k.open(true)
	must(t, err)
	c := cache{k.cache, func() time.Time { return time.Now().Add(unused / 2) }}
	if c.load(a.SHA256()) == nil {
		t.Fatal("the entry is not there")
	}
	c.now = func() time.Time { return time.Now().Add(unused + time.Hour) }
	c.sweep()
	if c.load(a.SHA256()) == nil {
		t.Error("an entry that was used in between is gone")
	}
	c.now = func() time.Time { return time.Now().Add(3 * unused) }
	half := filepath.Join(k.cache, "new", "zstd-1")
	must(t, os.WriteFile(half, nil, 0o600))
	c.sweep()
	if _, err := os.Stat(half); err == nil || c.load(a.SHA256()) != nil {
		t.Error("old things were kept")
	}
}

// Stores that share a cache, as two controllers do, do not disturb each other.
func TestSharedCache(t *testing.T) {
	k := newKnown(t)
	var all sync.WaitGroup
	for range 6 {
		all.Go(func() {
			a, err := k.open(true)
			if err != nil {
				t.Error(err)
				return
			}
			x, err := a.Transfer(t.Context(), wire.Zstd, nil)
			if err != nil {
				t.Error(err)
				return
			}
			contentOf(t, x)
		})
	}
	all.Wait()
}
