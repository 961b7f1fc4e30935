package deflate

import (
	"math/bits"
	"slices"
)

// span is what a length or distance code stands for.
type span struct {
	first int
	extra uint8
}

var (
	lengths = spans(29, minMatch, 2)
	dists   = spans(dstCodes, 1, 1)
)

// spans are n codes from first on, with one extra bit more after every 1<<group.
func spans(n, first, group int) []span {
	out := make([]span, n)
	for i := range out {
		extra := max(0, i>>group-1)
		out[i] = span{first, uint8(extra)}
		first += 1 << extra
	}
	if group == 2 {
		out[n-1] = span{maxMatch, 0} // has a code of its own
	}
	return out
}

func lengthCode(length int) int {
	if length == maxMatch {
		return len(lengths) - 1
	}
	return group(length-minMatch, 2)
}

func distCode(dist uint16) int { return group(int(dist)-1, 1) }

// group is the inverse of spans.
func group(v, low int) int {
	n := bits.Len(uint(v)) - 1 - low
	if n < 0 {
		return v
	}
	return n<<low + v>>n
}

// histogram says how often each code comes in a block.
type histogram struct {
	lit [litCodes]int
	dst [dstCodes]int
}

func count(symbols []symbol) *histogram {
	h := &histogram{}
	for _, s := range symbols {
		if s.dist == 0 {
			h.lit[s.value]++
			continue
		}
		h.lit[endBlock+1+lengthCode(int(s.value))]++
		h.dst[distCode(s.dist)]++
	}
	h.lit[endBlock] = 1
	return h
}

func (h *histogram) add(o *histogram) *histogram {
	sum := *h
	for i, n := range o.lit {
		sum.lit[i] += n
	}
	for i, n := range o.dst {
		sum.dst[i] += n
	}
	sum.lit[endBlock] = 1
	return &sum
}

// code is a block's two Huffman codes, and how they are told.
type code struct {
	lit, dst []uint8 // lengths in bits
	told     []told
	meta     []uint8
	nMeta    int
}

// told is one of the codes in which the lengths are told.
type told struct{ code, extra, bits uint8 }

// metaOrder is the order in which the lengths of the lengths' code are told.
var metaOrder = [19]int{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}

func (h *histogram) code() *code {
	c := &code{lit: huffman(h.lit[:], 15), dst: huffman(h.dst[:], 15)}
	for len(c.lit) > 257 && c.lit[len(c.lit)-1] == 0 {
		c.lit = c.lit[:len(c.lit)-1]
	}
	for len(c.dst) > 1 && c.dst[len(c.dst)-1] == 0 {
		c.dst = c.dst[:len(c.dst)-1]
	}
	c.told = tell(slices.Concat(c.lit, c.dst))
	counts := make([]int, len(metaOrder))
	for _, t := range c.told {
		counts[t.code]++
	}
	c.meta = huffman(counts, 7)
	c.nMeta = len(metaOrder)
	for c.nMeta > 4 && c.meta[metaOrder[c.nMeta-1]] == 0 {
		c.nMeta--
	}
	return c
}

// tell writes runs of lengths shortly.
func tell(lens []uint8) (out []told) {
	for i := 0; i < len(lens); {
		run := 1
		for i+run < len(lens) && lens[i+run] == lens[i] {
			run++
		}
		v := lens[i]
		i += run
		if v != 0 {
			out = append(out, told{code: v})
			run--
		}
		for run >= 3 {
			n := min(run, 6)
			t := told{16, uint8(n - 3), 2}
			switch {
			case v == 0 && run > 10:
				n = min(run, 138)
				t = told{18, uint8(n - 11), 7}
			case v == 0:
				n = run
				t = told{17, uint8(n - 3), 3}
			}
			out = append(out, t)
			run -= n
		}
		for range run {
			out = append(out, told{code: v})
		}
	}
	return out
}

// size is the block's, in bits.
func (c *code) size(h *histogram) int {
	n := 3 + 14 + 3*c.nMeta
	for _, t := range c.told {
		n += int(c.meta[t.code]) + int(t.bits)
	}
	for i, bits := range c.lit {
		n += h.lit[i] * int(bits)
		if i > endBlock {
			n += h.lit[i] * int(lengths[i-endBlock-1].extra)
		}
	}
	for i, bits := range c.dst {
		n += h.dst[i] * int(bits+dists[i].extra)
	}
	return n
}

// write writes the block.
func (c *code) write(w *bitWriter, symbols []symbol, last bool) {
	final := uint32(0)
	if last {
		final = 1
	}
	w.put(final|2<<1, 3)
	w.put(uint32(len(c.lit)-257), 5)
	w.put(uint32(len(c.dst)-1), 5)
	w.put(uint32(c.nMeta-4), 4)
	for _, i := range metaOrder[:c.nMeta] {
		w.put(uint32(c.meta[i]), 3)
	}
	meta, lit, dst := words(c.meta), words(c.lit), words(c.dst)
	for _, t := range c.told {
		w.put(meta[t.code], c.meta[t.code])
		w.put(uint32(t.extra), t.bits)
	}
	for _, s := range symbols {
		if s.dist == 0 {
			w.put(lit[s.value], c.lit[s.value])
			continue
		}
		l := lengthCode(int(s.value))
		w.put(lit[endBlock+1+l], c.lit[endBlock+1+l])
		w.put(uint32(int(s.value)-lengths[l].first), lengths[l].extra)
		d := distCode(s.dist)
		w.put(dst[d], c.dst[d])
		w.put(uint32(int(s.dist)-dists[d].first), dists[d].extra)
	}
	w.put(lit[endBlock], c.lit[endBlock])
}

// words are the canonical code words of the lengths, the first bit lowest.
func words(lens []uint8) []uint32 {
	var next [17]uint32
	for _, n := range lens {
		if n > 0 {
			next[n+1]++
		}
	}
	for n := 1; n < len(next); n++ {
		next[n] += next[n-1]
		next[n] <<= 1
	}
	out := make([]uint32, len(lens))
	for i, n := range lens {
		if n > 0 {
			out[i] = bits.Reverse32(next[n]) >> (32 - n)
			next[n]++
		}
	}
	return out
}

// huffman gives the lengths of the best code in which none is above limit, by
// package-merge. At least two symbols get a word, since some decoders want it.
func huffman(counts []int, limit int) []uint8 {
	type node struct {
		weight int
		symbol int   // -1 for a package
		parts  int32 // of a package, the index of two nodes in pairs
	}
	var leaves, pairs, row []node
	for i, n := range counts {
		if n > 0 {
			leaves = append(leaves, node{weight: n, symbol: i})
		}
	}
	for i := 0; len(leaves) < 2; i++ {
		if counts[i] == 0 {
			leaves = append(leaves, node{weight: 1, symbol: i})
		}
	}
	slices.SortStableFunc(leaves, func(a, b node) int { return a.weight - b.weight })
	row = leaves
	for range limit - 1 {
		next := make([]node, 0, 2*len(leaves))
		rest := leaves
		for j := 0; j+1 < len(row); j += 2 {
			p := node{row[j].weight + row[j+1].weight, -1, int32(len(pairs))}
			pairs = append(pairs, row[j], row[j+1])
			for len(rest) > 0 && rest[0].weight <= p.weight {
				next = append(next, rest[0])
				rest = rest[1:]
			}
			next = append(next, p)
		}
		row = append(next, rest...)
	}
	out := make([]uint8, len(counts))
	var take func(node)
	take = func(n node) {
		if n.symbol >= 0 {
			out[n.symbol]++
			return
		}
		take(pairs[n.parts])
		take(pairs[n.parts+1])
	}
	for _, n := range row[:2*len(leaves)-2] {
		take(n)
	}
	return out
}
