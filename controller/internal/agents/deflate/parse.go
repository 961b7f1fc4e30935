package deflate

import "math"

// maxChain bounds how many earlier places are compared with each place.
const maxChain = 256

// match is an earlier place from which length bytes, and all fewer down to
// those of the match before it, can be taken.
type match struct{ length, dist uint16 }

// parser knows every match worth anything, of every place of the data.
type parser struct {
	data    []byte
	first   []int32 // of each place, the index of its first match, and one more
	matches []match
	cost    []float32 // of reaching a place
	step    []symbol  // by which it is reached
}

func newParser(data []byte) *parser {
	p := &parser{
		data:  data,
		first: make([]int32, len(data)+1),
		cost:  make([]float32, len(data)+1),
		step:  make([]symbol, len(data)+1),
	}
	head := make([]int32, 1<<16) // place + 1 of the last with that hash
	prev := make([]int32, len(data))
	for i := range data {
		p.first[i] = int32(len(p.matches))
		if i+minMatch > len(data) {
			continue
		}
		h := (uint32(data[i]) | uint32(data[i+1])<<8 | uint32(data[i+2])<<16) * 0x9e3779b1 >> 16
		p.find(i, head[h], prev)
		prev[i] = head[h]
		head[h] = int32(i + 1)
	}
	p.first[len(data)] = int32(len(p.matches))
	return p
}

// find notes the matches of place i: the nearest of each length.
func (p *parser) find(i int, chain int32, prev []int32) {
	here := p.data[i:min(len(p.data), i+maxMatch)]
	best := minMatch - 1
	for range maxChain {
		j := int(chain) - 1
		if j < 0 || i-j > window || best == len(here) {
			return
		}
		there := p.data[j : j+len(here)]
		if there[best] == here[best] {
			n := 0
			for n < len(here) && there[n] == here[n] {
				n++
			}
			if n > best {
				best = n
				p.matches = append(p.matches, match{uint16(n), uint16(i - j)})
			}
		}
		chain = prev[j]
	}
}

// parse appends the cheapest symbols for data[from:to] to out.
func (p *parser) parse(out []symbol, from, to int, price *price) []symbol {
	cost, step := p.cost, p.step
	for i := from + 1; i <= to; i++ {
		cost[i] = math.MaxFloat32
	}
	cost[from] = 0
	for i := from; i < to; i++ {
		if c := cost[i] + price.literal[p.data[i]]; c < cost[i+1] {
			cost[i+1], step[i+1] = c, symbol{uint16(p.data[i]), 0}
		}
		length := minMatch
		for _, m := range p.matches[p.first[i]:p.first[i+1]] {
			base := cost[i] + price.dist[distCode(m.dist)]
			for ; length <= int(m.length) && i+length <= to; length++ {
				if c := base + price.length[length]; c < cost[i+length] {
					cost[i+length], step[i+length] = c, symbol{uint16(length), m.dist}
				}
			}
		}
	}
	n := len(out)
	for at := to; at > from; at -= step[at].size() {
		out = append(out, step[at])
	}
	for i, j := n, len(out)-1; i < j; i, j = i+1, j-1 {
		out[i], out[j] = out[j], out[i]
	}
	return out
}

// price says what symbols cost, in bits, their extra bits included.
type price struct {
	literal [256]float32
	length  [maxMatch + 1]float32
	dist    [dstCodes]float32
}

// firstPrice is a guess for programs.
func firstPrice() *price {
	p := &price{}
	for i := range p.literal {
		p.literal[i] = 7
	}
	for l := minMatch; l <= maxMatch; l++ {
		p.length[l] = 5 + float32(lengths[lengthCode(l)].extra)
	}
	for d := range p.dist {
		p.dist[d] = 4.5 + float32(dists[d].extra)
	}
	return p
}

// price is what the counts make symbols cost at the best.
func (h *histogram) price() *price {
	p := &price{}
	lit, dst := entropy(h.lit[:]), entropy(h.dst[:])
	copy(p.literal[:], lit)
	for l := minMatch; l <= maxMatch; l++ {
		c := lengthCode(l)
		p.length[l] = lit[endBlock+1+c] + float32(lengths[c].extra)
	}
	for d := range p.dist {
		p.dist[d] = dst[d] + float32(dists[d].extra)
	}
	return p
}

// entropy gives the bits of each symbol; one that is not there costs as if it
// came once.
func entropy(counts []int) []float32 {
	total := 0
	for _, n := range counts {
		total += n
	}
	all := math.Log2(float64(max(total, 1)))
	out := make([]float32, len(counts))
	for i, n := range counts {
		out[i] = float32(all - math.Log2(float64(max(n, 1))))
	}
	return out
}
