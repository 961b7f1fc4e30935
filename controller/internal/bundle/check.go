package bundle

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gofleet/gofleet/controller/internal/release"
)

// CheckOptions say how Check works. The zero value of a field means its
// default.
type CheckOptions struct {
	CacheDir string // where good bundles are remembered; nowhere
	Workers  int    // files read at once; one a CPU, at most four
	Progress release.Progress
}

// Check reads every byte of the bundle and compares it with the manifest, and
// gives everything that is wrong, joined: each an *Error that names the file,
// and the part, where there are parts. A bundle that was found good and whose
// files were not touched since is not read again.
func (b *Bundle) Check(ctx context.Context, o CheckOptions) error {
	before, settled, err := b.stamps()
	if err != nil {
		return err
	}
	if !settled {
		o.CacheDir = "" // another change might not show
	}
	if b.remembered(o.CacheDir, before) {
		return nil
	}
	errs := b.store.check(b.manifest)
	errs = append(errs, b.checkFiles(ctx, o)...)
	if err := ctx.Err(); err != nil {
		return err
	}
	if len(errs) > 0 {
		if blamed := b.store.blame(); blamed != nil {
			errs = append([]error{blamed}, slices.DeleteFunc(errs, isFraming)...)
		}
		return errors.Join(errs...)
	}
	if after, _, err := b.stamps(); err != nil || after != before {
		return fmt.Errorf("check %s: it was changed meanwhile", b.path)
	}
	return b.remember(o.CacheDir, before)
}

// isFraming tells errors that say nothing where a part is known to be wrong.
func isFraming(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Layer == Framing
}

// checkFiles checks all files, several at once.
func (b *Bundle) checkFiles(ctx context.Context, o CheckOptions) []error {
	files := b.manifest.Files
	var total int64
	for i := range files {
		total += files[i].storedSize()
	}
	work := beginWork(o.Progress, "check "+filepath.Base(b.path))
	var next, done atomic.Int64
	found := make([]error, len(files))
	workers := o.Workers
	if workers == 0 {
		workers = min(4, runtime.GOMAXPROCS(0))
	}
	workers = min(workers, len(files))
	var group sync.WaitGroup
	for range workers {
		group.Go(func() {
			c := newChecker(func(n int) { work.Set(done.Add(int64(n)), total) })
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= len(files) {
					return
				}
				found[i] = c.check(ctx, b, i)
			}
		})
	}
	group.Wait()
	var errs []error
	for _, err := range found {
		if err != nil {
			errs = append(errs, err)
		}
	}
	work.End(errors.Join(errs...))
	return errs
}

func (f *File) storedSize() int64 {
	if f.Packed != nil {
		return f.Packed.Size
	}
	return f.Size
}

// checker reads files with one buffer and one hash.
type checker struct {
	buf  []byte
	hash hash.Hash
	read func(n int)
}

func newChecker(read func(n int)) *checker {
	return &checker{make([]byte, 8*(blockHeader+blockSize)), sha256.New(), read}
}

func (c *checker) check(ctx context.Context, b *Bundle, i int) error {
	if s, ok := b.store.(*fileStore); ok {
		return c.checkStored(ctx, b, s, i)
	}
	s, err := b.store.open(i)
	if err != nil {
		return err
	}
	defer s.Close()
	size := b.manifest.Files[i].storedSize()
	if err := c.sum(ctx, s, 0, size); err != nil {
		return b.unreadable(ctx, i, err)
	}
	if n, err := s.ReadAt(c.buf[:1], size); n != 0 || err != io.EOF {
		return b.errorAt(i, fmt.Sprintf("it is longer than %d bytes", size), nil)
	}
	return c.compare(b, i)
}

func (b *Bundle) unreadable(ctx context.Context, i int, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return b.errorAt(i, "cannot be read: "+err.Error(), err)
}

// sum takes the sum of a stretch.
func (c *checker) sum(ctx context.Context, r io.ReaderAt, off, size int64) error {
	c.hash.Reset()
	for size > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		p := c.buf[:min(size, 1<<20)]
		if err := readFull(r, p, off); err != nil {
			return err
		}
		c.hash.Write(p)
		c.read(len(p))
		off += int64(len(p))
		size -= int64(len(p))
	}
	return nil
}

// compare compares the sum with the manifest.
func (c *checker) compare(b *Bundle, i int) error {
	if got, want := hex.EncodeToString(c.hash.Sum(nil)), b.manifest.Files[i].SHA256; got != want {
		return b.errorAt(i, sumsDiffer(got, want), nil)
	}
	return nil
}

// checkStored checks a file of a bundle that is one file, together with the
// bytes around it, which follow from the manifest.
func (c *checker) checkStored(ctx context.Context, b *Bundle, s *fileStore, i int) error {
	f, p := &b.manifest.Files[i], s.places[i]
	head := appendRaw(nil, tarHeader(f.Path, uint32(f.Mode), f.Size))
	if err := s.expect(p.head, head, f.Path); err != nil {
		return err
	}
	if p.pad < p.end {
		if err := s.expect(p.pad, appendRaw(nil, tarPadding(f.Size)), f.Path); err != nil {
			return err
		}
	}
	if f.Packed != nil {
		_, err := b.ReadFile(f.Path)
		c.read(int(f.Packed.Size))
		return err
	}
	err := c.sumRaw(ctx, s, p, f)
	var e *Error
	switch {
	case errors.As(err, &e):
		return err
	case err != nil:
		return b.unreadable(ctx, i, err)
	}
	return c.compare(b, i)
}

// expect wants just these bytes at that place.
func (s *fileStore) expect(at int64, want []byte, file string) error {
	got := make([]byte, len(want))
	if err := readFull(s.r, got, at); err != nil {
		return s.framing(at, err.Error())
	}
	if !bytes.Equal(got, want) {
		return s.framing(at+int64(differAt(got, want)), "not the byte that belongs there, around "+file)
	}
	return nil
}

// sumRaw takes the sum of the content of a frame of raw blocks, and compares
// what is between the blocks.
func (c *checker) sumRaw(ctx context.Context, s *fileStore, p place, f *File) error {
	c.hash.Reset()
	if err := s.expect(p.data, frameHead, f.Path); err != nil {
		return err
	}
	at := p.data + int64(len(frameHead))
	var head [blockHeader]byte
	for left := f.Size; ; {
		if err := ctx.Err(); err != nil {
			return err
		}
		stretch := min(int64(len(c.buf)), left+blockHeader*blocks(left))
		buf := c.buf[:stretch]
		if err := readFull(s.r, buf, at); err != nil {
			return err
		}
		for n := 0; n < len(buf); {
			size := min(left, blockSize)
			want := appendBlockHead(head[:0], int(size), size == left)
			if !bytes.Equal(buf[n:n+blockHeader], want) {
				return s.framing(at+int64(n), "not the byte that belongs there, inside "+f.Path)
			}
			n += blockHeader
			c.hash.Write(buf[n : n+int(size)])
			n += int(size)
			left -= size
		}
		c.read(len(buf))
		at += stretch
		if left == 0 {
			return nil
		}
	}
}

// stamps is one sum over the stamps of all files, and over the manifest, and
// whether each was last changed long enough ago for another change to show.
func (b *Bundle) stamps() (sum string, settled bool, err error) {
	h := sha256.New()
	h.Write(b.text)
	h.Write(b.signature)
	now, settled := time.Now(), true
	for i := range b.manifest.Files {
		s, err := b.store.stamp(i)
		if err != nil {
			return "", false, err
		}
		settled = settled && s.Settled(now)
		fmt.Fprintf(h, "%+v\n", s)
	}
	return hex.EncodeToString(h.Sum(nil)), settled, nil
}

func (b *Bundle) memoryFile(cacheDir string) string {
	abs, err := filepath.Abs(b.path)
	if err != nil {
		abs = b.path
	}
	return filepath.Join(cacheDir, "bundles", sumOf([]byte(abs))[:32])
}

func (b *Bundle) remembered(cacheDir, stamps string) bool {
	if cacheDir == "" {
		return false
	}
	text, err := os.ReadFile(b.memoryFile(cacheDir))
	return err == nil && string(text) == stamps
}

func (b *Bundle) remember(cacheDir, stamps string) error {
	if cacheDir == "" {
		return nil
	}
	file := b.memoryFile(cacheDir)
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return fmt.Errorf("remember %s: %w", b.path, err)
	}
	if err := os.WriteFile(file, []byte(stamps), 0o600); err != nil {
		return fmt.Errorf("remember %s: %w", b.path, err)
	}
	return nil
}

// beginWork is release.Progress for which nobody need be listening.
func beginWork(p release.Progress, label string) release.Work {
	if p == nil {
		return silent{}
	}
	return p(label)
}

type silent struct{}

func (silent) Set(int64, int64) {}
func (silent) End(error)        {}
