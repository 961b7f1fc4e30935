package tree

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
)

// tarReader reads the headers of a tar stream: those of V7, ustar and GNU,
// with PAX records and GNU's long names. It is made for archives of which any
// but the plainest entry is refused: it tells names, kinds, modes and sizes,
// and nothing else. It accepts less than archive/tar, which the tests hold it
// against, and what both accept they read alike. docs/decisions/own-tar.md says
// why there is one.
type tarReader struct {
	content
	pad  int // bytes behind the content, up to a whole block
	buf  [2 * blockSize]byte
	text []byte // of an extended header, used again for the next
}

// header is what counts of an entry's.
type header struct {
	name   string
	kind   byte // a typeflag; never tarLegacy
	mode   int64
	size   int64
	sparse bool // its content is not the file's, which has holes
}

// Typeflags of POSIX and GNU.
const (
	tarLegacy   = 0
	tarRegular  = '0'
	tarLink     = '1'
	tarSymlink  = '2'
	tarDir      = '5'
	tarSparse   = 'S'
	tarExtended = 'x'
	tarLongName = 'L'
	tarLongLink = 'K'
)

// maxExtended bounds PAX records and GNU's long names, in bytes. No path of a
// tree is longer than 1 KB.
const maxExtended = 64 << 10

// next goes to the next entry, past what was left unread of the last, and
// begins its content. io.EOF is the end that the stream marks; where it just
// stops the error is io.ErrUnexpectedEOF. What no tar has is an error of kind
// archive_corrupt, and forms that are not read are of kind archive_unsafe.
func (t *tarReader) next() (header, error) {
	ext := extended{size: -1}
	for {
		b, err := t.block()
		if err != nil {
			return header{}, err
		}
		h, err := b.header()
		if err != nil {
			return header{}, err
		}
		switch h.kind {
		case tarExtended, tarLongName, tarLongLink:
			t.begin(h.size)
			if err := t.readExtended(h.kind, &ext); err != nil {
				return header{}, err
			}
		default:
			err := h.extend(&ext)
			t.begin(h.size)
			return h, err
		}
	}
}

// begin is after a header: size bytes of content follow.
func (t *tarReader) begin(size int64) {
	t.left, t.pad = size, int(-size&(blockSize-1))
}

// block reads the next header, behind what is left of the last entry.
func (t *tarReader) block() (*block, error) {
	b, err := t.readBlock()
	if err != nil || b[0] != 0 || b.sum() != 0 {
		return b, err
	}
	if b, err = t.readBlock(); err != nil {
		return nil, err
	}
	if b.sum() != 0 {
		return nil, corrupt(errors.New("archive has half of an end in it"))
	}
	return nil, io.EOF
}

func (t *tarReader) readBlock() (*block, error) {
	if err := t.skip(); err != nil {
		return nil, err
	}
	b := t.buf[:t.pad+blockSize]
	t.pad = 0
	if _, err := io.ReadFull(t.src, b); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	return (*block)(b[len(b)-blockSize:]), nil
}

// readExtended reads what stands before the header of an entry and is about it.
func (t *tarReader) readExtended(kind byte, ext *extended) error {
	if t.left > maxExtended {
		return unsafe("", fmt.Sprintf("has an extended header of %d bytes", t.left))
	}
	n := int(t.left)
	if n > len(t.text) {
		t.text = make([]byte, max(n, 2*blockSize))
	}
	text := t.text[:n]
	if _, err := io.ReadFull(&t.content, text); err != nil {
		return err
	}
	switch kind {
	case tarExtended:
		return ext.parse(text)
	case tarLongName:
		ext.longName = cString(text)
	}
	return nil
}

// extend applies what stood before the header.
func (h *header) extend(ext *extended) error {
	switch {
	case ext.longName != "":
		h.name = ext.longName
	case ext.path != "":
		h.name = ext.path
	}
	if ext.size >= 0 {
		h.size = ext.size
	}
	h.sparse = ext.sparse || h.kind == tarSparse
	if h.kind == tarLegacy {
		h.kind = tarRegular
		if strings.HasSuffix(h.name, "/") {
			h.kind = tarDir
		}
	}
	if h.kind == tarDir && h.size != 0 {
		// Whether bytes follow is not the same everywhere.
		return unsafe(h.name, "is a directory with content")
	}
	return nil
}

const blockSize = 512

// block is a header as it stands in the stream.
type block [blockSize]byte

// numbers are the numeric fields, by where they begin and end. V7 has the
// first five, ustar all but the last two, which are GNU's.
var numbers = [...]struct {
	begin, end int
	name       string
}{
	{100, 108, "mode"},
	{124, 136, "size"},
	{108, 116, "owner"},
	{116, 124, "group"},
	{136, 148, "time"},
	{329, 337, "device"},
	{337, 345, "device"},
	{345, 357, "time of access"},
	{357, 369, "time of change"},
}

// header reads the block. Every number has to be one, also those that are of
// no use here: what is garbled is not read as if it were not.
func (b *block) header() (header, error) {
	const sumBegin, sumEnd = 148, 156
	sum := b.sum() + ' '*(sumEnd-sumBegin) // is made as if it were spaces itself
	for _, c := range b[sumBegin:sumEnd] {
		sum -= int64(c)
	}
	if got, ok := number(b[sumBegin:sumEnd]); !ok || got != sum {
		return header{}, corrupt(errors.New("archive has a header with a wrong checksum"))
	}
	h := header{name: cString(b[:100]), kind: b[156]}
	fields := numbers[:5]
	switch {
	case string(b[257:265]) == "ustar  \x00":
		fields = numbers[:]
	case string(b[257:263]) == "ustar\x00" && string(b[508:]) == "tar\x00":
		return h, unsafe(h.name, "is in a form that only star writes")
	case string(b[257:263]) == "ustar\x00":
		fields = numbers[:7]
		if prefix := cString(b[345:500]); prefix != "" {
			h.name = prefix + "/" + h.name
		}
	}
	for i, f := range fields {
		n, ok := number(b[f.begin:f.end])
		if !ok {
			return h, corrupt(fmt.Errorf("archive entry %s has a %s that is no number", quote(h.name), f.name))
		}
		switch i {
		case 0:
			h.mode = n
		case 1:
			h.size = n
		}
	}
	return h, nil
}

// sum adds the block's bytes up, eight at a time. It is 0 for a block of zeros
// only.
func (b *block) sum() int64 {
	const lanes = 0x00ff_00ff_00ff_00ff
	var sum uint64 // four sums of 16 bits, which 128 bytes each don't fill
	for i := 0; i < blockSize; i += 8 {
		c := b[i : i+8 : i+8]
		w := uint64(c[0]) | uint64(c[1])<<8 | uint64(c[2])<<16 | uint64(c[3])<<24 |
			uint64(c[4])<<32 | uint64(c[5])<<40 | uint64(c[6])<<48 | uint64(c[7])<<56
		sum += w&lanes + w>>8&lanes
	}
	return int64(sum&0xffff + sum>>16&0xffff + sum>>32&0xffff + sum>>48)
}

// number reads a numeric field: octal digits with spaces or NULs around, of
// which none are 0, or, for what they can't hold, a number to the base 256
// behind 0x80. None is negative.
func number(b []byte) (n int64, ok bool) {
	if b[0] == 0x80 {
		for _, c := range b[1:] {
			if n > math.MaxInt64>>8 {
				return 0, false
			}
			n = n<<8 | int64(c)
		}
		return n, true
	}
	i := 0
	for i < len(b) && (b[i] == ' ' || b[i] == 0) {
		i++
	}
	for i < len(b) && b[i]&^7 == '0' {
		n = n<<3 | int64(b[i]&7)
		i++
	}
	for i < len(b) && (b[i] == ' ' || b[i] == 0) {
		i++
	}
	return n, i == len(b)
}

// cString is a text that ends with NUL, or where its field does.
func cString(b []byte) string {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return string(b)
}
