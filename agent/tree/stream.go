package tree

import (
	"errors"
	"io"
)

// lender hands out its own memory: at most n of the next bytes, at least one,
// good until the next call. n is positive.
type lender interface {
	Next(n int) ([]byte, error)
}

// source remembers how its reader ended, so that a failed transfer is not
// taken for a bad archive.
type source struct {
	r     io.Reader
	lends lender // r, if it is one
	err   error  // why r failed
}

func newSource(r io.Reader) *source {
	lends, _ := r.(lender)
	return &source{r: r, lends: lends}
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	return n, s.note(n, err)
}

// note keeps the error of a reading that gave n bytes.
func (s *source) note(n int, err error) error {
	switch {
	case err == nil:
	case !errors.Is(err, io.EOF):
		s.err = err
	case n > 0:
		return nil // the end is told by the next reading, as nothing
	}
	return err
}

// drain reads the padding behind the tar's end; whatever checks sums below
// then has seen the last byte.
func (s *source) drain() error {
	buf := make([]byte, 4<<10)
	for total := 0; ; {
		n, err := s.Read(buf)
		for _, c := range buf[:n] {
			if c != 0 {
				return unsafe("", "has data behind its end")
			}
		}
		if total += n; total > maxTrailer {
			return unsafe("", "has data behind its end")
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// explain gives err the kind that the caller of Read decides by.
func (s *source) explain(err error) error {
	if s.err != nil {
		return s.err
	}
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return corrupt(errors.New("archive ends early"))
	}
	return err
}

// content is what is left of one file in a stream. Where the stream ends first
// the error is io.ErrUnexpectedEOF.
type content struct {
	src  *source
	left int64
}

func (c *content) Read(p []byte) (int, error) {
	if c.left == 0 {
		return 0, io.EOF
	}
	n, err := c.src.Read(p[:min(int64(len(p)), c.left)])
	return n, c.took(n, err)
}

// took counts what a reading gave.
func (c *content) took(n int, err error) error {
	c.left -= int64(n)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// skip reads what is left.
func (c *content) skip() error {
	if c.left == 0 {
		return nil
	}
	_, err := io.Copy(io.Discard, c.reader())
	return err
}

// reader is what visit gets.
func (c *content) reader() io.Reader {
	if c.src.lends != nil {
		return lent{c}
	}
	return c
}

// lent is content that is written without being copied before.
type lent struct{ *content }

func (c lent) WriteTo(w io.Writer) (written int64, err error) {
	for c.left > 0 {
		p, err := c.src.lends.Next(int(min(c.left, 1<<30)))
		err = c.took(len(p), c.src.note(len(p), err))
		if err != nil {
			return written, err
		}
		n, err := w.Write(p)
		written += int64(n)
		if err != nil {
			return written, err
		}
	}
	return written, nil
}
