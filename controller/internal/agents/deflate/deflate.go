// Package deflate compresses as small as the format allows within a few
// seconds, where compress/flate is made to be fast: it looks for the cheapest
// of all ways to write the data, with the prices that the result itself sets,
// again and again. It is for what is compressed once and travels often, and
// wants about 30 bytes of memory for each byte of input.
package deflate

import (
	"encoding/binary"
	"hash/crc32"
)

const (
	minMatch = 3
	maxMatch = 258
	window   = 32 << 10
	endBlock = 256
	litCodes = 286
	dstCodes = 30
)

// rounds is how often the blocks are chosen anew, and passes how often each
// block is parsed with the prices of the time before. More of both make a
// program a thousandth smaller, and take twice the time.
const (
	rounds = 2
	passes = 3
)

// Gzip gives p as a gzip file without a name or time: equal input, equal bytes.
func Gzip(p []byte) []byte {
	w := &bitWriter{out: []byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 255}}
	deflate(w, p)
	w.flush()
	b := binary.LittleEndian.AppendUint32(w.out, crc32.ChecksumIEEE(p))
	return binary.LittleEndian.AppendUint32(b, uint32(len(p)))
}

// symbol is a literal byte, where dist is 0, or a match.
type symbol struct{ value, dist uint16 }

// size is how many bytes of data the symbol stands for.
func (s symbol) size() int {
	if s.dist == 0 {
		return 1
	}
	return int(s.value)
}

func deflate(w *bitWriter, data []byte) {
	p := newParser(data)
	price := firstPrice()
	symbols := p.parse(nil, 0, len(data), price)
	symbols = p.parse(nil, 0, len(data), count(symbols).price())
	var blocks [][]symbol
	for range rounds {
		blocks = split(symbols)
		symbols = nil
		at := 0
		for i, b := range blocks {
			end := at
			for _, s := range b {
				end += s.size()
			}
			blocks[i] = p.refine(b, at, end)
			symbols = append(symbols, blocks[i]...)
			at = end
		}
	}
	for i, b := range blocks {
		count(b).code().write(w, b, i == len(blocks)-1)
	}
}

// refine parses a block again with the prices that its last parse makes, and
// gives the smallest it has seen.
func (p *parser) refine(best []symbol, from, to int) []symbol {
	h := count(best)
	size := h.code().size(h)
	for range passes {
		next := p.parse(nil, from, to, h.price())
		h = count(next)
		if n := h.code().size(h); n < size {
			best, size = next, n
		}
	}
	return best
}

// bitWriter writes bits, the lowest first.
type bitWriter struct {
	out []byte
	acc uint64
	n   uint
}

func (w *bitWriter) put(v uint32, n uint8) {
	w.acc |= uint64(v) << w.n
	for w.n += uint(n); w.n >= 8; w.n -= 8 {
		w.out = append(w.out, byte(w.acc))
		w.acc >>= 8
	}
}

func (w *bitWriter) flush() {
	if w.n > 0 {
		w.out = append(w.out, byte(w.acc))
		w.acc, w.n = 0, 0
	}
}
