package bundle

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"os"
	"path/filepath"
)

// output writes to its target in a goroutine of its own, so that hashing and
// writing go on at once.
type output struct {
	full, free chan []byte
	ended      chan struct{}
	buf        []byte
	err        error // of the goroutine; read after ended, or when failed is closed
	failed     chan struct{}
}

const outputBuffer = 8 * (blockHeader + blockSize)

func newOutput(write func(p []byte) error) *output {
	o := &output{full: make(chan []byte, 3), free: make(chan []byte, 4), ended: make(chan struct{}), failed: make(chan struct{})}
	for range cap(o.free) {
		o.free <- make([]byte, 0, outputBuffer)
	}
	o.buf = <-o.free
	go func() {
		defer close(o.ended)
		for p := range o.full {
			if o.err == nil {
				if o.err = write(p); o.err != nil {
					close(o.failed)
				}
			}
			o.free <- p[:0]
		}
	}()
	return o
}

// space gives at least n bytes to write into; used says how many were. n is at
// most outputBuffer.
func (o *output) space(n int) []byte {
	if cap(o.buf)-len(o.buf) < n {
		o.full <- o.buf
		o.buf = <-o.free
	}
	return o.buf[len(o.buf) : len(o.buf)+n]
}

func (o *output) used(n int) { o.buf = o.buf[:len(o.buf)+n] }

// Write copies p into what will be written. It is an error once writing failed.
func (o *output) Write(p []byte) (int, error) {
	done := len(p)
	for len(p) > 0 {
		select {
		case <-o.failed:
			return 0, o.err
		default:
		}
		n := copy(o.space(min(len(p), blockSize)), p)
		o.used(n)
		p = p[n:]
	}
	return done, nil
}

// Close writes what is left and ends the goroutine.
func (o *output) Close() error {
	o.full <- o.buf
	close(o.full)
	<-o.ended
	return o.err
}

// container is the file, or the parts, that a bundle is written into, in a
// workplace until they are whole.
type container struct {
	work  *workplace
	split int64 // bytes a part; 0: one file
	files []*os.File
	sums  []string
	hash  hash.Hash
	size  int64
}

func newContainer(path string, split int64) (*container, error) {
	work, err := newWorkplace(path)
	if err != nil {
		return nil, err
	}
	c := &container{work: work, split: split, hash: sha256.New()}
	if err := c.next(); err != nil {
		c.abandon()
		return nil, err
	}
	return c, nil
}

// final is the name that file n, from 0, will have.
func (c *container) final(n int) string {
	if c.split == 0 {
		return c.work.final
	}
	return partName(c.work.final, n+1)
}

// next begins the next file.
func (c *container) next() error {
	c.endPart()
	if len(c.files) == maxParts {
		return fmt.Errorf("more than %d parts: make them larger", maxParts)
	}
	f, err := os.Create(c.work.at(filepath.Base(c.final(len(c.files)))))
	if err != nil {
		return err
	}
	c.files = append(c.files, f)
	return nil
}

func (c *container) endPart() {
	if len(c.files) > 0 && c.split > 0 {
		c.sums = append(c.sums, hex.EncodeToString(c.hash.Sum(nil)))
		c.hash.Reset()
	}
}

func (c *container) write(p []byte) error {
	for len(p) > 0 {
		n := int64(len(p))
		if c.split > 0 {
			if c.size > 0 && c.size%c.split == 0 {
				if err := c.next(); err != nil {
					return err
				}
			}
			n = min(n, c.split-c.size%c.split)
			c.hash.Write(p[:n])
		}
		if _, err := c.files[len(c.files)-1].Write(p[:n]); err != nil {
			return err
		}
		c.size += n
		p = p[n:]
	}
	return nil
}

// publish gives the files their names, and the parts their list. What an
// earlier bundle of that name left goes.
func (c *container) publish(sign func(text []byte) []byte) error {
	c.endPart()
	for _, f := range c.files {
		if err := errors.Join(f.Sync(), f.Close()); err != nil {
			return err
		}
	}
	if err := c.clear(); err != nil {
		return err
	}
	for i, f := range c.files {
		if err := os.Rename(f.Name(), c.final(i)); err != nil {
			return err
		}
	}
	if c.split > 0 {
		if err := c.publishList(sign); err != nil {
			return err
		}
	}
	return c.work.Close()
}

// publishList writes the list of parts, with which they are a bundle.
func (c *container) publishList(sign func(text []byte) []byte) error {
	p := &partList{path: c.work.final, total: c.size, each: c.split, sums: c.sums}
	text := p.encode()
	if signature := sign(text); signature != nil {
		if err := os.WriteFile(p.path+partsSuffix+".minisig", signature, 0o644); err != nil {
			return err
		}
	}
	return os.WriteFile(p.path+partsSuffix, text, 0o644)
}

// clear removes an earlier bundle of the same name in other parts.
func (c *container) clear() error {
	var errs []error
	path := c.work.final
	remove := func(path string) {
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	remove(path + partsSuffix)
	remove(path + partsSuffix + ".minisig")
	parts, _ := filepath.Glob(globQuote(path) + ".part[0-9][0-9][0-9]")
	for _, part := range parts {
		remove(part)
	}
	if c.split > 0 {
		remove(path)
	}
	return errors.Join(errs...)
}

// abandon removes what was written.
func (c *container) abandon() {
	for _, f := range c.files {
		f.Close()
	}
	c.work.Close()
}
