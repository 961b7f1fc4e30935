// Package gunzip decompresses gzip. It exists because gunzip is half of what
// an install from the official file costs a host, in time as in the agent's
// size; docs/decisions/own-gunzip.md has the figures and the alternatives.
//
// It trades generality for speed: it reads ahead of the end of the stream, and
// it has no dictionary, no header fields and no reset.
package gunzip

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
)

// ErrCorrupt says that the input is no gzip stream, or a damaged one. A stream
// that ends too early is io.ErrUnexpectedEOF instead.
var ErrCorrupt = errors.New("invalid gzip data")

// Reader decompresses one gzip file: one member, or several that follow one
// another. It is not safe for concurrent use.
type Reader struct {
	inflater
	crc    uint32 // of the member so far
	length uint32 // of the member so far, modulo 2^32
	taken  int    // what Read has handed out of inflater.out
	err    error  // what Read returns once all is handed out
}

// NewReader begins to read gzip from src. It reads more of src than the
// compressed data where src has more.
func NewReader(src io.Reader) *Reader {
	z := &Reader{}
	z.init(src)
	z.err = z.header()
	if z.err == io.EOF {
		z.err = io.ErrUnexpectedEOF
	}
	return z
}

// Read implements io.Reader. Errors are ErrCorrupt, io.ErrUnexpectedEOF or
// those of the source; io.EOF comes only after length and checksum of every
// member proved right.
func (z *Reader) Read(p []byte) (int, error) {
	for z.taken == z.w {
		if z.err != nil {
			return 0, z.err
		}
		if len(p) == 0 {
			return 0, nil
		}
		z.err = z.more()
	}
	n := copy(p, z.out[z.taken:z.w])
	z.taken += n
	return n, nil
}

// more decodes as much as there is room for, and crosses into the next member
// at the end of one.
func (z *Reader) more() error {
	z.taken -= z.slide()
	from := z.w
	done, err := z.inflate()
	z.crc = crc32.Update(z.crc, crc32.IEEETable, z.out[from:z.w])
	z.length += uint32(z.w - from)
	if err != nil || !done {
		return err
	}
	var trailer [8]byte
	if err := z.bytes(trailer[:]); err != nil {
		return err
	}
	if binary.LittleEndian.Uint32(trailer[:4]) != z.crc || binary.LittleEndian.Uint32(trailer[4:]) != z.length {
		return ErrCorrupt
	}
	z.crc, z.length = 0, 0
	return z.header()
}

// Flags of a member's header, RFC 1952 section 2.3.1. The others say nothing
// that matters here, or are reserved; compress/gzip overlooks those too.
const (
	flagHeaderCRC = 1 << 1
	flagExtra     = 1 << 2
	flagName      = 1 << 3
	flagComment   = 1 << 4
)

// header reads a member's header; io.EOF means that none begins here.
func (z *Reader) header() error {
	h := headerReader{from: &z.inflater}
	fixed := h.next(10)
	if h.err == io.ErrUnexpectedEOF && len(h.read) == 0 {
		return io.EOF
	}
	if h.err == nil && (fixed[0] != 0x1f || fixed[1] != 0x8b || fixed[2] != 8) {
		return ErrCorrupt
	}
	if h.err != nil {
		return h.err
	}
	flags := fixed[3]
	if flags&flagExtra != 0 {
		h.skip(int(binary.LittleEndian.Uint16(h.next(2))))
	}
	if flags&flagName != 0 {
		h.text()
	}
	if flags&flagComment != 0 {
		h.text()
	}
	if flags&flagHeaderCRC != 0 {
		sum := uint16(h.sum)
		if stored := h.next(2); h.err == nil && binary.LittleEndian.Uint16(stored) != sum {
			return ErrCorrupt
		}
	}
	if h.err == nil {
		z.begin()
	}
	return h.err
}

// headerReader reads a header's fields and keeps their checksum. After an
// error its fields are zeros.
type headerReader struct {
	from *inflater
	buf  [10]byte
	read []byte // what the last next got, also if it was cut short
	sum  uint32
	err  error
}

func (h *headerReader) next(n int) []byte {
	clear(h.buf[:n])
	for i := range n {
		if h.err != nil {
			break
		}
		if h.err = h.from.bytes(h.buf[i : i+1]); h.err == nil {
			h.read = h.buf[:i+1]
		}
	}
	h.sum = crc32.Update(h.sum, crc32.IEEETable, h.buf[:n])
	return h.buf[:n]
}

func (h *headerReader) skip(n int) {
	for range n {
		if h.next(1); h.err != nil {
			return
		}
	}
}

// text skips a text that ends with NUL.
func (h *headerReader) text() {
	for h.next(1)[0] != 0 && h.err == nil {
	}
}
