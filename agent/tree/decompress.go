package tree

import (
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"

	"github.com/gofleet/gofleet/agent/gunzip"
	"github.com/gofleet/gofleet/agent/wire"
)

// MaxWindow is the largest zstd window that Decompress accepts, and so about
// what a decompression costs in memory. The controller's encoder stays below.
const MaxWindow = 16 << 20

// Decompress gives the tar stream of what travels: wire.Gzip or wire.Zstd. It
// decodes in the goroutine that reads, which costs the least CPU. Bad data is
// a *wire.Error of kind archive_corrupt; other errors of r are returned as
// they are.
func Decompress(r io.Reader, encoding string) (io.ReadCloser, error) {
	src := newSource(r)
	switch encoding {
	case wire.Gzip:
		return &decoder{src: src, r: gunzip.NewReader(src), encoding: encoding, close: func() {}}, nil
	case wire.Zstd:
		z, err := zstd.NewReader(src,
			zstd.WithDecoderConcurrency(1),
			zstd.WithDecoderMaxWindow(MaxWindow),
			zstd.WithDecoderMaxMemory(MaxWindow))
		if err != nil {
			return nil, src.bad(encoding, err)
		}
		return &decoder{src: src, r: z, encoding: encoding, close: z.Close}, nil
	}
	return nil, fmt.Errorf("decompress: unknown encoding %q", encoding)
}

type decoder struct {
	src      *source
	r        io.Reader
	encoding string
	close    func()
}

func (d *decoder) Read(p []byte) (int, error) {
	n, err := d.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = d.src.bad(d.encoding, err)
	}
	return n, err
}

func (d *decoder) Close() error {
	d.close()
	return nil
}

// bad makes err one about the archive, unless the source itself failed.
func (s *source) bad(encoding string, err error) error {
	switch {
	case s.err != nil:
		return s.err
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return corrupt(errors.New("archive ends early"))
	}
	return corrupt(fmt.Errorf("decompress %s: %w", encoding, err))
}
