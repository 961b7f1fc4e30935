package toolchain

import (
	"context"
	"crypto/sha256"
	"errors"
	"hash"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/gofleet/gofleet/agent/tree"
)

// gatherer fills a tree from bases, with as many workers as there are cores.
type gatherer struct {
	to      *treeDir
	bases   Bases
	from    []int // file descriptors of the bases' directories; -1 for one that cannot be entered
	restore func([]byte) []byte
	noClone atomic.Bool // the filesystem shares no extents
	link    bool        // give a file that is right another name, rather than copy it

	mu    sync.Mutex
	lacks []int
	err   error
}

// open opens the bases: with a path below each, files cost less to reach. It
// must be called before run, and close after.
func (c *gatherer) open() error {
	for i := range c.bases {
		fd, err := unix.Open(c.bases[i].dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if errors.Is(err, unix.EMFILE) {
			return &os.PathError{Op: "open", Path: c.bases[i].dir, Err: err}
		}
		if err != nil {
			fd = -1 // it has nothing, then
		}
		c.from = append(c.from, fd)
	}
	return nil
}

func (c *gatherer) close() {
	for _, fd := range c.from {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}

func (c *gatherer) run(ctx context.Context, m tree.Manifest, half func()) {
	var wg sync.WaitGroup
	next := make(chan int, 64)
	for range min(runtime.GOMAXPROCS(0), 4) {
		wg.Go(func() {
			w := copier{gatherer: c, buf: make([]byte, 128<<10), hash: sha256.New()}
			for i := range next {
				there, err := w.file(&m[i])
				c.note(i, there, err)
			}
		})
	}
	for i := range m {
		if ctx.Err() != nil || c.failed() {
			break
		}
		if i == len(m)/2 {
			half()
		}
		if !m[i].Dir {
			next <- i
		} else if err := c.to.mkdir(m[i].Path); err != nil { // before what is in it
			c.note(i, true, err)
		}
	}
	close(next)
	wg.Wait()
}

func (c *gatherer) note(i int, there bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !there {
		c.lacks = append(c.lacks, i)
	}
	if c.err == nil {
		c.err = err
	}
}

func (c *gatherer) failed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err != nil
}

// copier is one worker.
type copier struct {
	*gatherer
	buf  []byte
	hash hash.Hash
}

// file finds the entry's content in one of the bases and copies it. The error
// is about writing: what cannot be read is not there.
func (c *copier) file(e *tree.Entry) (bool, error) {
	for i := range c.bases {
		path := c.bases[i].find(e)
		if path == "" || c.from[i] < 0 {
			continue
		}
		there, err := c.copy(i, path, e)
		if there || err != nil {
			return there, err
		}
	}
	return false, nil
}

// copy copies the file at a path of a base. It does not ask what kind of file
// that is, since only content counts: what is none cannot be read.
func (c *copier) copy(base int, path string, e *tree.Entry) (bool, error) {
	from, err := unix.Openat(c.from[base], path, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return false, nil
	}
	defer unix.Close(from)
	if c.link {
		if there, err := c.linked(filepath.Join(c.bases[base].dir, path), from, e); there || err != nil {
			return there, err
		}
	}
	if e.Path == goEnv && c.restore != nil {
		return c.restored(from, e)
	}
	if e.Size > int64(len(c.buf)) {
		return c.large(from, e)
	}
	n, err := readAt(from, c.buf[:e.Size], 0)
	if err != nil || int64(n) < e.Size {
		return false, nil
	}
	return c.small(c.buf[:n], e)
}

// readAt reads from at on until the file ends or p is full.
func readAt(fd int, p []byte, at int64) (n int, err error) {
	for n < len(p) {
		got, err := unix.Pread(fd, p[n:], at+int64(n))
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if got <= 0 || err != nil {
			return n, err
		}
		n += got
	}
	return n, nil
}

// linked gives the file at path, which is open, its name in the tree, if it is
// all that e says. Where that cannot be done, it is copied.
func (c *copier) linked(path string, from int, e *tree.Entry) (bool, error) {
	if how, err := differs(path, e); err != nil || how != "" {
		return false, nil
	}
	if there, _ := c.read(from, e, nil); !there {
		return false, nil
	}
	return unix.Linkat(unix.AT_FDCWD, path, c.to.root, e.Path, 0) == nil, nil
}

// restored copies a go.env without what gofleet wrote into it.
func (c *copier) restored(from int, e *tree.Entry) (bool, error) {
	n, err := readAt(from, c.buf, 0)
	if err != nil {
		return false, nil
	}
	if there, err := c.small(c.buf[:n], e); there || err != nil {
		return there, err
	}
	return c.small(c.restore(c.buf[:n]), e)
}

// small writes a file whose content is in memory.
func (c *copier) small(content []byte, e *tree.Entry) (bool, error) {
	if sha256.Sum256(content) != e.SHA256 {
		return false, nil
	}
	fd, err := c.to.create(e.Path, uint32(e.Mode))
	if err != nil {
		return false, err
	}
	err = writeFull(fd, content)
	if err := errors.Join(err, unix.Close(fd)); err != nil {
		return false, &os.PathError{Op: "write", Path: e.Path, Err: err}
	}
	return true, nil
}

// large writes a file as it is read and hashed, and takes it away again if it
// was another one.
func (c *copier) large(from int, e *tree.Entry) (bool, error) {
	to, err := c.to.create(e.Path, uint32(e.Mode))
	if err != nil {
		return false, err
	}
	there, err := c.fill(to, from, e)
	if err := errors.Join(err, unix.Close(to)); err != nil {
		return false, &os.PathError{Op: "write", Path: e.Path, Err: err}
	}
	if !there {
		return false, c.to.remove(e.Path)
	}
	return true, nil
}

// fill makes to the same as from. Where the filesystem can, they share their
// blocks until one of them is written to; then to, which nobody else can write
// to, is what is hashed.
func (c *copier) fill(to, from int, e *tree.Entry) (bool, error) {
	if c.clone(to, from) {
		return c.read(to, e, nil)
	}
	return c.read(from, e, func(p []byte) error { return writeFull(to, p) })
}

// read tells whether a file has e's content, no more and no less, and gives it
// to write, which may be nil, piece by piece. The error is that of write: what
// cannot be read is not there.
func (c *copier) read(from int, e *tree.Entry, write func([]byte) error) (bool, error) {
	c.hash.Reset()
	for n := int64(0); ; {
		got, err := readAt(from, c.buf, n)
		if n += int64(got); err != nil || n > e.Size {
			return false, nil
		}
		c.hash.Write(c.buf[:got])
		if write != nil {
			if err := write(c.buf[:got]); err != nil {
				return false, err
			}
		}
		if got < len(c.buf) {
			return n == e.Size && [sha256.Size]byte(c.hash.Sum(nil)) == e.SHA256, nil
		}
	}
}

// clone reports whether to shares from's blocks.
func (c *copier) clone(to, from int) bool {
	if c.noClone.Load() {
		return false
	}
	if unix.IoctlFileClone(to, from) != nil {
		c.noClone.Store(true)
		return false
	}
	return true
}
