package toolchain

import (
	"context"
	"crypto/sha256"
	"errors"
	"hash"
	"io"
	"os"
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
	restore func([]byte) []byte
	noClone atomic.Bool // the filesystem shares no extents
	link    bool        // give a file that is right another name, rather than copy it

	mu    sync.Mutex
	lacks []int
	err   error
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
		if path == "" {
			continue
		}
		there, err := c.copy(path, e)
		if there || err != nil {
			return there, err
		}
	}
	return false, nil
}

func (c *copier) copy(path string, e *tree.Entry) (bool, error) {
	from, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return false, nil
	}
	defer from.Close()
	st, err := from.Stat()
	switch {
	case err != nil || !st.Mode().IsRegular():
		return false, nil
	case e.Path == goEnv && c.restore != nil && st.Size() <= int64(len(c.buf)):
		return c.restored(from, e)
	case st.Size() != e.Size:
		return false, nil
	case c.link:
		if there, err := c.linked(path, from, e); there || err != nil {
			return there, err
		}
	}
	if e.Size <= int64(len(c.buf)) {
		if n, _ := from.ReadAt(c.buf[:e.Size], 0); int64(n) < e.Size {
			return false, nil
		}
		return c.small(c.buf[:e.Size], e)
	}
	return c.large(from, e)
}

// linked gives the file at path, which is open, its name in the tree, if it is
// all that e says. Where that cannot be done, it is copied.
func (c *copier) linked(path string, from *os.File, e *tree.Entry) (bool, error) {
	if how, err := differs(path, e); err != nil || how != "" {
		return false, nil
	}
	c.hash.Reset()
	content := struct{ io.Reader }{io.NewSectionReader(from, 0, e.Size)}
	if _, err := io.CopyBuffer(c.hash, content, c.buf); err != nil || [sha256.Size]byte(c.hash.Sum(nil)) != e.SHA256 {
		return false, nil
	}
	return unix.Linkat(unix.AT_FDCWD, path, c.to.root, e.Path, 0) == nil, nil
}

// restored copies a go.env without what gofleet wrote into it.
func (c *copier) restored(from *os.File, e *tree.Entry) (bool, error) {
	content, err := io.ReadAll(io.LimitReader(from, int64(len(c.buf))))
	if err != nil {
		return false, nil
	}
	if there, err := c.small(content, e); there || err != nil {
		return there, err
	}
	return c.small(c.restore(content), e)
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
func (c *copier) large(from *os.File, e *tree.Entry) (bool, error) {
	fd, err := c.to.create(e.Path, uint32(e.Mode))
	if err != nil {
		return false, err
	}
	to := os.NewFile(uintptr(fd), e.Path)
	there, err := c.fill(to, from, e)
	if err := errors.Join(err, to.Close()); err != nil {
		return false, err
	}
	if !there {
		return false, c.to.remove(e.Path)
	}
	return true, nil
}

// fill makes to the same as from. Where the filesystem can, they share their
// blocks until one of them is written to; then to is what is hashed.
func (c *copier) fill(to, from *os.File, e *tree.Entry) (bool, error) {
	c.hash.Reset()
	cloned := c.clone(to, from)
	if cloned {
		from = to // nobody else can write to it
	}
	var n int64
	for n <= e.Size {
		got, err := from.ReadAt(c.buf, n)
		c.hash.Write(c.buf[:got])
		if !cloned && got > 0 {
			if _, err := to.Write(c.buf[:got]); err != nil {
				return false, err
			}
		}
		n += int64(got)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return false, nil
		}
	}
	return n == e.Size && [sha256.Size]byte(c.hash.Sum(nil)) == e.SHA256, nil
}

// clone reports whether to shares from's blocks.
func (c *copier) clone(to, from *os.File) bool {
	if c.noClone.Load() {
		return false
	}
	if unix.IoctlFileClone(int(to.Fd()), int(from.Fd())) != nil {
		c.noClone.Store(true)
		return false
	}
	return true
}
