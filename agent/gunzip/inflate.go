package gunzip

import (
	"encoding/binary"
	"io"
)

const (
	window   = 32 << 10 // how far back a match may reach
	maxMatch = 258
	// slack is what a copy in words may write beyond the end of its match.
	slack = 8

	inputSize  = 128 << 10
	outputSize = window + 128<<10
	// kept bytes of input stay before what a refill brings, so that bits read
	// ahead can be given back.
	kept = 8
)

// inflater decodes DEFLATE (RFC 1951) from src into out.
//
// The bits that are next are the low n of b. Bits above them may be set, and
// are then those that follow in the input: refilling sets them again to what
// they are.
type inflater struct {
	src    io.Reader
	srcErr error
	in     []byte
	i, end int // in[i:end] is yet to be put into b
	b      uint64
	n      int

	out   []byte
	w     int // out[:w] is decoded
	floor int // no match may reach before it: where the member began

	block  blockKind
	last   bool // the block is the member's last
	stored int  // bytes left of a stored block

	literals, distances table
	lengths             [maxLiterals + maxDistances]uint8
}

type blockKind uint8

const (
	noBlock blockKind = iota // between two blocks
	storedBlock
	huffmanBlock
)

func (f *inflater) init(src io.Reader) {
	f.src = src
	f.in = make([]byte, kept+inputSize)
	f.i, f.end = kept, kept
	f.out = make([]byte, outputSize+maxMatch+slack)
}

// begin is called where a member's compressed data begins.
func (f *inflater) begin() { f.block, f.last, f.floor = noBlock, false, f.w }

// slide makes room in out by forgetting what no match can reach, and returns
// by how much everything moved.
func (f *inflater) slide() int {
	if f.w < outputSize {
		return 0
	}
	by := f.w - window
	copy(f.out, f.out[by:f.w])
	f.w -= by
	f.floor = max(f.floor-by, 0)
	return by
}

// inflate decodes until out is full or the member's data ends, which done says.
func (f *inflater) inflate() (done bool, err error) {
	for f.w < outputSize {
		switch f.block {
		case noBlock:
			if f.last {
				return true, nil
			}
			err = f.nextBlock()
		case storedBlock:
			err = f.copyStored()
		case huffmanBlock:
			err = f.decode()
		}
		if err != nil {
			return false, err
		}
	}
	return false, nil
}

// refill brings n to 48 or more unless the input ends before.
func (f *inflater) refill() error {
	for f.n < 48 {
		if f.i == f.end {
			if err := f.fill(); err == io.EOF {
				return nil
			} else if err != nil {
				return err
			}
		}
		f.b |= uint64(f.in[f.i]) << (f.n & 63)
		f.i++
		f.n += 8
	}
	return nil
}

// fill reads more input behind the last kept bytes of what was.
func (f *inflater) fill() error {
	if f.srcErr != nil {
		return f.srcErr
	}
	copy(f.in, f.in[f.end-kept:f.end])
	f.i, f.end = kept, kept
	for tries := 0; f.end == kept; tries++ {
		n, err := f.src.Read(f.in[kept:])
		f.end += n
		f.srcErr = err
		if n == 0 && err == nil && tries == 100 {
			f.srcErr = io.ErrNoProgress
		}
		if n == 0 && f.srcErr != nil {
			return f.srcErr
		}
	}
	return nil
}

// bits takes n bits, at most 16.
func (f *inflater) bits(n int) (int, error) {
	if f.n < n {
		if err := f.refill(); err != nil {
			return 0, err
		}
		if f.n < n {
			return 0, io.ErrUnexpectedEOF
		}
	}
	v := int(f.b & (1<<n - 1))
	f.b >>= n
	f.n -= n
	return v, nil
}

// align drops the rest of a byte and gives back the whole ones read ahead.
func (f *inflater) align() {
	f.i -= f.n >> 3
	f.b, f.n = 0, 0
}

// bytes reads len(p) bytes from the next byte boundary on.
func (f *inflater) bytes(p []byte) error {
	f.align()
	for len(p) > 0 {
		if f.i == f.end {
			if err := f.fill(); err == io.EOF {
				return io.ErrUnexpectedEOF
			} else if err != nil {
				return err
			}
		}
		n := copy(p, f.in[f.i:f.end])
		f.i += n
		p = p[n:]
	}
	return nil
}

// nextBlock reads a block's header.
func (f *inflater) nextBlock() error {
	head, err := f.bits(3)
	if err != nil {
		return err
	}
	f.last = head&1 != 0
	switch head >> 1 {
	case 0:
		var size [4]byte
		if err := f.bytes(size[:]); err != nil {
			return err
		}
		n := binary.LittleEndian.Uint16(size[:2])
		if n != ^binary.LittleEndian.Uint16(size[2:]) {
			return ErrCorrupt
		}
		f.block, f.stored = storedBlock, int(n)
		return nil
	case 1:
		f.block = huffmanBlock
		return f.fixedTables()
	case 2:
		f.block = huffmanBlock
		return f.dynamicTables()
	}
	return ErrCorrupt
}

func (f *inflater) copyStored() error {
	n := min(f.stored, outputSize-f.w)
	if err := f.bytes(f.out[f.w : f.w+n]); err != nil {
		return err
	}
	f.w += n
	if f.stored -= n; f.stored == 0 {
		f.block = noBlock
	}
	return nil
}

// decode decodes symbols until the block ends or out is full. It keeps what
// changes with every symbol in variables of its own, which the compiler keeps
// in registers.
func (f *inflater) decode() error {
	in, out := f.in, f.out
	i, b, n, w := f.i, f.b, f.n, f.w
	lits, dists := &f.literals.root, &f.distances.root
	var err error
	for w < outputSize {
		// 48 bits are enough for the longest length and distance: 15+5+15+13.
		if f.end-i >= 8 {
			b |= binary.LittleEndian.Uint64(in[i:]) << (n & 63)
			i += (63 - n) >> 3
			n |= 56
		} else {
			f.i, f.b, f.n = i, b, n
			if err = f.refill(); err != nil {
				break
			}
			i, b, n = f.i, f.b, f.n
		}
		e := lits[b&(1<<rootBits-1)]
		if e&isLiteral != 0 && n >= 48 {
			// Most symbols are literals with short codes: two more fit.
			out[w] = byte(e >> valueShift)
			w++
			b, n = b>>(e&63), n-int(e&63)
			e = lits[b&(1<<rootBits-1)]
			if e&isLiteral != 0 {
				out[w] = byte(e >> valueShift)
				w++
				b, n = b>>(e&63), n-int(e&63)
				e = lits[b&(1<<rootBits-1)]
				if e&isLiteral != 0 {
					out[w] = byte(e >> valueShift)
					w++
					b, n = b>>(e&63), n-int(e&63)
				}
			}
			continue
		}
		if e&isLink != 0 {
			e = f.literals.linked(e, b)
		}
		if e&(isLiteral|isEnd|isInvalid) != 0 {
			if e&isInvalid != 0 {
				err = invalid(n)
			}
			b, n = b>>(e&63), n-int(e&63)
			if err != nil || n < 0 {
				break
			}
			if e&isEnd != 0 {
				f.block = noBlock
				break
			}
			out[w] = byte(e >> valueShift)
			w++
			continue
		}
		length := e.value(b)
		b, n = b>>(e&63), n-int(e&63)
		e = dists[b&(1<<rootBits-1)]
		if e&isLink != 0 {
			e = f.distances.linked(e, b)
		}
		if e&isInvalid != 0 {
			err = invalid(n)
			break
		}
		distance := e.value(b)
		b, n = b>>(e&63), n-int(e&63)
		if n < 0 {
			break
		}
		if distance > w-f.floor {
			err = ErrCorrupt
			break
		}
		repeat(out, w, distance, length)
		w += length
	}
	f.i, f.b, f.n, f.w = i, b, n, w
	if n < 0 {
		return io.ErrUnexpectedEOF
	}
	return err
}

// invalid is the error for bits that are no code. Fewer than the longest code
// has are left only at the end of the input, where they may be part of one.
func invalid(n int) error {
	if n < maxCode {
		return io.ErrUnexpectedEOF
	}
	return ErrCorrupt
}

// repeat copies length bytes that begin distance before w to w; the two may
// overlap, which repeats them. It may write up to slack bytes more.
func repeat(out []byte, w, distance, length int) {
	switch {
	case distance >= 16 && length > 32 && distance >= length:
		copy(out[w:w+length], out[w-distance:])
	case distance >= 8:
		to, from := out[w:w+length+slack], out[w-distance:w+length+slack]
		for k := 0; k < length; k += 8 {
			binary.LittleEndian.PutUint64(to[k:], binary.LittleEndian.Uint64(from[k:]))
		}
	default:
		to, from := out[w:w+length], out[w-distance:w+length]
		for k := range to {
			to[k] = from[k]
		}
	}
}
