package gunzip

import (
	"io"
	"math/bits"
)

// entry is what the next bits mean: how many bits the symbol takes with its
// extra bits (the low 6), how many of these are extra, its value, and what kind
// of symbol it is.
type entry uint32

const (
	extraShift = 6  // 4 bits: extra bits; in a link, how many bits its table takes
	valueShift = 10 // 16 bits: a literal, the base of a length or distance, or where a link leads

	isLiteral entry = 1 << 26
	isEnd     entry = 1 << 27 // end of block
	isLink    entry = 1 << 28 // to a table for codes longer than rootBits
	isInvalid entry = 1 << 29 // no code, or one of a symbol that must not be used
)

// value is the length or distance that begins b.
func (e entry) value(b uint64) int {
	extra := e >> extraShift & 15
	code := e&63 - extra
	return int(e>>valueShift&0xffff) + int(b>>(code&63)&(1<<extra-1))
}

const (
	rootBits = 10
	maxCode  = 15 // bits of the longest code

	maxLiterals  = 288
	maxDistances = 32
	endOfBlock   = 256
)

// table decodes one Huffman code: root by the next rootBits bits, and links,
// which root leads to, by those behind.
type table struct {
	root  [1 << rootBits]entry
	links []entry
}

func (t *table) linked(e entry, b uint64) entry {
	return t.links[int(e>>valueShift&0xffff)+int(b>>rootBits&(1<<(e>>extraShift&15)-1))]
}

// build makes t decode the canonical code whose lengths are given by symbol;
// meaning gives a symbol's entry without its code's length. It reports whether
// the lengths are those of a complete code, of one code of one bit, or none.
func (t *table) build(lengths []uint8, meaning func(symbol int) entry) bool {
	for i := range t.root {
		t.root[i] = isInvalid
	}
	t.links = t.links[:0]
	var count [maxCode + 1]int
	longest := 0
	for _, l := range lengths {
		count[l]++
		longest = max(longest, int(l))
	}
	if longest == 0 {
		return true
	}
	count[0] = 0
	var next [maxCode + 1]int // the code of the next symbol with that length
	code := 0
	for l := 1; l <= longest; l++ {
		code = (code + count[l-1]) << 1
		next[l] = code
	}
	if end := next[longest] + count[longest]; end != 1<<longest && (end != 1 || longest != 1) {
		return false
	}
	for symbol, l := range lengths {
		if l == 0 {
			continue
		}
		length := int(l)
		reversed := int(bits.Reverse16(uint16(next[l])) >> (16 - length))
		next[l]++
		e := meaning(symbol) + entry(length)
		if length <= rootBits {
			for i := reversed; i < len(t.root); i += 1 << length {
				t.root[i] = e
			}
			continue
		}
		t.link(reversed, length, longest, e)
	}
	return true
}

// link enters a code longer than rootBits.
func (t *table) link(reversed, length, longest int, e entry) {
	width := longest - rootBits
	at := &t.root[reversed&(1<<rootBits-1)]
	if *at&isLink == 0 {
		*at = isLink | entry(len(t.links))<<valueShift | entry(width)<<extraShift
		for range 1 << width {
			t.links = append(t.links, isInvalid)
		}
	}
	sub := t.links[*at>>valueShift&0xffff:]
	for i := reversed >> rootBits; i < 1<<width; i += 1 << (length - rootBits) {
		sub[i] = e
	}
}

// RFC 1951 section 3.2.5. Symbols beyond are never used.
var (
	lengthBase    = [...]uint16{3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258}
	lengthExtra   = [...]uint8{0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0}
	distanceBase  = [...]uint16{1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577}
	distanceExtra = [...]uint8{0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13}
)

// based is the entry of a symbol that stands for base and as many more as its
// extra bits say.
func based(base uint16, extra uint8) entry {
	return entry(base)<<valueShift | entry(extra)<<extraShift + entry(extra)
}

func literalOrLength(symbol int) entry {
	switch {
	case symbol < endOfBlock:
		return isLiteral | entry(symbol)<<valueShift
	case symbol == endOfBlock:
		return isEnd
	case symbol-endOfBlock-1 < len(lengthBase):
		i := symbol - endOfBlock - 1
		return based(lengthBase[i], lengthExtra[i])
	}
	return isInvalid
}

func distance(symbol int) entry {
	if symbol < len(distanceBase) {
		return based(distanceBase[symbol], distanceExtra[symbol])
	}
	return isInvalid
}

// fixedTables are those of RFC 1951 section 3.2.6.
func (f *inflater) fixedTables() error {
	lengths := f.lengths[:maxLiterals]
	for i := range lengths {
		switch {
		case i < 144:
			lengths[i] = 8
		case i < 256:
			lengths[i] = 9
		case i < 280:
			lengths[i] = 7
		default:
			lengths[i] = 8
		}
	}
	f.literals.build(lengths, literalOrLength)
	lengths = f.lengths[:maxDistances]
	for i := range lengths {
		lengths[i] = 5
	}
	f.distances.build(lengths, distance)
	return nil
}

// The order in which a dynamic block gives the lengths of the code of lengths.
var lengthOrder = [...]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}

// dynamicTables reads those that stand before a block, RFC 1951 section 3.2.7.
func (f *inflater) dynamicTables() error {
	counts, err := f.bits(14)
	if err != nil {
		return err
	}
	literals, distances, codes := counts&31+257, counts>>5&31+1, counts>>10+4
	if literals > 286 || distances > 30 {
		return ErrCorrupt
	}
	var short [len(lengthOrder)]uint8
	for _, symbol := range lengthOrder[:codes] {
		v, err := f.bits(3)
		if err != nil {
			return err
		}
		short[symbol] = uint8(v)
	}
	// The distances' table is free until their lengths are known.
	lengthCode := &f.distances
	if !lengthCode.build(short[:], func(symbol int) entry { return entry(symbol) << valueShift }) {
		return ErrCorrupt
	}
	lengths := f.lengths[:literals+distances]
	if err := f.readLengths(lengthCode, lengths); err != nil {
		return err
	}
	if !f.literals.build(lengths[:literals], literalOrLength) || !f.distances.build(lengths[literals:], distance) {
		return ErrCorrupt
	}
	return nil
}

// readLengths reads the lengths of a block's codes, which repeat themselves.
func (f *inflater) readLengths(code *table, lengths []uint8) error {
	for i := 0; i < len(lengths); {
		if err := f.refill(); err != nil {
			return err
		}
		e := code.root[f.b&(1<<rootBits-1)]
		if e&isInvalid != 0 {
			return ErrCorrupt
		}
		f.b, f.n = f.b>>(e&63), f.n-int(e&63)
		if f.n < 0 {
			return io.ErrUnexpectedEOF
		}
		symbol := int(e >> valueShift)
		if symbol < 16 {
			lengths[i] = uint8(symbol)
			i++
			continue
		}
		var last uint8
		base, extra := 3, 3
		switch symbol {
		case 16:
			if i == 0 {
				return ErrCorrupt
			}
			last, extra = lengths[i-1], 2
		case 18:
			base, extra = 11, 7
		}
		more, err := f.bits(extra)
		if err != nil {
			return err
		}
		if i+base+more > len(lengths) {
			return ErrCorrupt
		}
		for range base + more {
			lengths[i] = last
			i++
		}
	}
	return nil
}
