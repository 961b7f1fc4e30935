package toolchain

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/gofleet/gofleet/agent/tree"
	"github.com/gofleet/gofleet/agent/wire"
)

// Sizes of the pipeline: an upload is decompressed in one goroutine, its tar
// read and hashed in a second, small files written by a few more. What is
// under way takes at most aheadBuffers*aheadSize + smallBuffers*smallFile
// bytes.
const (
	aheadSize    = 256 << 10
	aheadBuffers = 6
	smallFile    = 64 << 10
	smallBuffers = 32
	writers      = 2
)

// Staged is a whole tree in staging that has everything the controller
// promised. Nobody but this process's user can look into it yet.
type Staged struct {
	Dir     string // the future GOROOT
	Release wire.Release
	tree    tree.Manifest
	store   *Store
	top     string // what is to be removed with it
}

// Discard removes the staged tree. There may be none.
func (st *Staged) Discard() error {
	if st == nil {
		return nil
	}
	return hostError(st.store.discard(st.top))
}

// Extract hashes and extracts the upload behind its growth and returns when
// all of it was right: the transfer's sha256, the tree manifest's, the counts,
// and VERSION. What is not as promised is an error of kind archive_corrupt or
// archive_unsafe, and everything staged is removed; after other errors the
// upload stays, to be resumed, unless the disk was full. received, which may
// be nil, is told now and then how many bytes are done.
func (u *Upload) Extract(ctx context.Context, received func(int64)) (*Staged, error) {
	stop := context.AfterFunc(ctx, func() { u.Fail(stopped(context.Cause(ctx))) })
	defer stop()
	st, err := u.extract(received)
	if err == nil {
		return st, nil
	}
	err = hostError(fmt.Errorf("receive %s: %w", u.release.Name, u.orFull(err)))
	clean := func() error { return os.RemoveAll(filepath.Join(u.dir, treeName)) }
	switch wire.AsError(err, "").Kind {
	case wire.KindArchiveCorrupt, wire.KindArchiveUnsafe, wire.KindNoSpace:
		clean = u.discard
	}
	if cerr := clean(); cerr != nil {
		err = errors.Join(err, fmt.Errorf("remove what was staged: %w", cerr))
	}
	return nil, wire.AsError(err, wire.KindHost)
}

// orFull finds the cause of an upload that the controller gave up because the
// disk was full, which only its own write has been told.
func (u *Upload) orFull(err error) error {
	const little = 64 << 10
	var st unix.Statfs_t
	if k := wire.AsError(err, "").Kind; k != wire.KindStopped && k != wire.KindTransfer {
		return err
	}
	if unix.Statfs(u.dir, &st) != nil || st.Bavail*uint64(st.Bsize) > little {
		return err
	}
	return &os.PathError{Op: "write", Path: u.file.Name(), Err: unix.ENOSPC}
}

func (u *Upload) extract(received func(int64)) (*Staged, error) {
	dir := filepath.Join(u.dir, treeName)
	t, err := u.treeDir(dir)
	if err != nil {
		return nil, err
	}
	x := newExtractor(t)
	defer x.close()
	u.store.fault("extract.made")

	source := &follower{u: u, hash: sha256.New()}
	stream := readAhead(func() (io.ReadCloser, error) { return tree.Decompress(source, u.transfer.Encoding) })
	defer stream.Close()
	x.progress = func(entries int) {
		if received != nil && entries%256 == 0 {
			received(source.done.Load())
		}
		if entries == u.entries()/2+1 {
			u.store.fault("extract.half")
		}
	}
	m, proved, err := u.read(stream, x.visit)
	if werr := x.wait(); werr != nil {
		err = werr // visit failed because a writer had
	}
	if err != nil {
		u.Fail(err) // wakes the goroutine that may still wait for bytes
		return nil, err
	}
	stream.Close() // that goroutine has ended
	if err := u.check(source, m, proved, dir); err != nil {
		return nil, err
	}
	if received != nil {
		received(u.transfer.Size)
	}
	// The tree is all that is needed from here on: less for syncfs to write.
	if err := os.Remove(u.file.Name()); err != nil {
		return nil, fmt.Errorf("remove the upload: %w", err)
	}
	u.store.fault("extract.done")
	return &Staged{Dir: dir, Release: u.release, tree: m, store: u.store, top: u.dir}, nil
}

// treeDir is where the archive is extracted to: a new directory, or the tree
// of which a difference is the rest.
func (u *Upload) treeDir(dir string) (*treeDir, error) {
	if u.transfer.Difference {
		return openTree(dir)
	}
	return makeTree(dir)
}

// entries is how many are expected.
func (u *Upload) entries() int {
	if u.transfer.Difference {
		return len(u.gathered.lacks)
	}
	return u.release.Tree.Files + u.release.Tree.Dirs
}

// read extracts what comes through visit and gives the tree's manifest, and
// whether that is proved to be the one that was promised. The transfer's sha256
// proves all of its bytes and the compression's own checksum that they were
// decoded right; so where the manifest is known, no file is hashed again: that
// would take longer than all the rest.
func (u *Upload) read(stream io.Reader, visit func(tree.Entry, io.Reader) error) (m tree.Manifest, proved bool, err error) {
	if g := u.gathered; u.transfer.Difference {
		return g.tree, g.proved, tree.ReadDifference(stream, g.tree, g.lacks, visit)
	}
	if len(u.transfer.Manifest) == 0 || u.release.Tree == (wire.Tree{}) {
		limits := tree.LimitsOf(u.release.Tree)
		if u.release.Tree == (wire.Tree{}) {
			limits = tree.DefaultLimits()
		}
		m, err = tree.Read(stream, limits, visit)
		return m, false, err
	}
	if m, err = UnpackManifest(u.transfer.Manifest, u.release.Tree); err != nil {
		return nil, false, err
	}
	return m, true, tree.ReadKnown(stream, m, visit)
}

// UnpackManifest reads a tree manifest that came along, and proves that it is
// the one that was promised.
func UnpackManifest(packed []byte, want wire.Tree) (tree.Manifest, error) {
	m, err := tree.Unpack(packed)
	if err != nil {
		return nil, err
	}
	if sum := m.Sum(); sum != want.SHA256 {
		return nil, wire.NewError(wire.KindArchiveCorrupt,
			fmt.Errorf("tree manifest has sha256 %s, not %s", sum, want.SHA256), "")
	}
	return m, nil
}

// check compares what came with what was promised. source has been read to
// the end of the compressed stream; there may be nothing behind it. proved is a
// manifest whose sum was compared already.
func (u *Upload) check(source *follower, m tree.Manifest, proved bool, dir string) error {
	if _, err := io.Copy(io.Discard, source); err != nil {
		return err
	}
	var err error
	files, dirs, size := m.Count()
	if u.release.Tree == (wire.Tree{}) {
		// What arrived is the archive itself: its sha256, checked below, says all.
		u.release.Tree = wire.Tree{SHA256: m.Sum(), Files: files, Dirs: dirs, Bytes: size}
	}
	want := u.release.Tree
	switch sum := hex.EncodeToString(source.hash.Sum(nil)); {
	case sum != u.transfer.SHA256:
		err = fmt.Errorf("sha256 of what arrived is %s, not %s", sum, u.transfer.SHA256)
	case !proved && m.Sum() != want.SHA256:
		err = fmt.Errorf("tree manifest has sha256 %s, not %s", m.Sum(), want.SHA256)
	case files != want.Files || dirs != want.Dirs || size != want.Bytes:
		err = fmt.Errorf("tree has %d files, %d directories, %d bytes, not %d, %d, %d",
			files, dirs, size, want.Files, want.Dirs, want.Bytes)
	case hasVersion(u.release):
		if got := versionIn(dir); got != u.release.Version {
			err = fmt.Errorf("VERSION says %q, not %q", got, u.release.Version)
		}
	}
	if err != nil {
		return wire.NewError(wire.KindArchiveCorrupt, err, "run the same command again; if it stays, check the archive with gofleet verify")
	}
	return nil
}

// extractor writes files into a tree, small ones in goroutines of their own.
type extractor struct {
	*treeDir
	jobs     chan job
	free     chan []byte
	wg       sync.WaitGroup
	progress func(entries int)
	entries  int

	mu  sync.Mutex
	err error
}

type job struct {
	path string
	mode uint32
	buf  []byte // from free
	n    int
}

// newExtractor takes t over.
func newExtractor(t *treeDir) *extractor {
	x := &extractor{treeDir: t, jobs: make(chan job, smallBuffers), free: make(chan []byte, smallBuffers)}
	for range smallBuffers {
		x.free <- make([]byte, smallFile)
	}
	for range writers {
		x.wg.Go(x.write)
	}
	return x
}

// visit is called by tree.Read for every entry.
func (x *extractor) visit(e tree.Entry, content io.Reader) error {
	x.entries++
	x.progress(x.entries)
	if err := x.failure(); err != nil {
		return err
	}
	if e.Dir {
		return x.mkdir(e.Path)
	}
	buf := <-x.free
	if e.Size > int64(len(buf)) {
		defer func() { x.free <- buf }()
		return x.large(e, content, buf)
	}
	n, err := io.ReadFull(content, buf[:e.Size])
	if err != nil {
		x.free <- buf
		return err
	}
	x.jobs <- job{path: e.Path, mode: uint32(e.Mode), buf: buf, n: n}
	return nil
}

// large writes a file as it is read, from where the bytes lie if it can be.
func (x *extractor) large(e tree.Entry, content io.Reader, buf []byte) error {
	fd, err := x.create(e.Path, uint32(e.Mode))
	if err != nil {
		return err
	}
	if _, err := io.CopyBuffer(&fileWriter{fd, e.Path}, content, buf); err != nil {
		unix.Close(fd)
		return err
	}
	if err := unix.Close(fd); err != nil {
		return &os.PathError{Op: "close", Path: e.Path, Err: err}
	}
	return nil
}

// fileWriter writes to a file that is open without an os.File.
type fileWriter struct {
	fd   int
	path string
}

func (w *fileWriter) Write(p []byte) (int, error) {
	if err := writeFull(w.fd, p); err != nil {
		return 0, &os.PathError{Op: "write", Path: w.path, Err: err}
	}
	return len(p), nil
}

// write is the goroutine that writes small files. After a failure it only
// gives buffers back, so that the reader comes to see it.
func (x *extractor) write() {
	for j := range x.jobs {
		if x.failure() == nil {
			if err := x.writeSmall(j); err != nil {
				x.fail(err)
			}
		}
		x.free <- j.buf
	}
}

func (x *extractor) writeSmall(j job) error {
	fd, err := x.create(j.path, j.mode)
	if err != nil {
		return err
	}
	if err := writeFull(fd, j.buf[:j.n]); err != nil {
		unix.Close(fd)
		return &os.PathError{Op: "write", Path: j.path, Err: err}
	}
	if err := unix.Close(fd); err != nil {
		return &os.PathError{Op: "close", Path: j.path, Err: err}
	}
	return nil
}

func (x *extractor) fail(err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.err == nil {
		x.err = err
	}
}

func (x *extractor) failure() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.err
}

// wait ends the writers and gives the first error of one. No visit may follow.
func (x *extractor) wait() error {
	if x.jobs != nil {
		close(x.jobs)
		x.wg.Wait()
		x.jobs = nil
	}
	return x.failure()
}

func (x *extractor) close() {
	x.wait()
	x.treeDir.close()
}
