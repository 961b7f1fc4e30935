package deflate

// chunk is how many symbols the smallest block has.
const chunk = 2048

// split cuts the symbols into blocks: small ones that are joined as long as
// the saved description of a code is worth more than a code of their own.
func split(symbols []symbol) [][]symbol {
	type block struct {
		symbols []symbol
		h       *histogram
		size    int
		gain    int // of joining it with the next
	}
	measure := func(symbols []symbol, h *histogram) *block {
		return &block{symbols: symbols, h: h, size: h.code().size(h)}
	}
	var blocks []*block
	for at := 0; at == 0 || at < len(symbols); at += chunk {
		b := symbols[at:min(at+chunk, len(symbols))]
		blocks = append(blocks, measure(b, count(b)))
	}
	join := func(i int) *block {
		a, b := blocks[i], blocks[i+1]
		return measure(a.symbols[:len(a.symbols)+len(b.symbols)], a.h.add(b.h))
	}
	weigh := func(i int) {
		if i >= 0 && i+1 < len(blocks) {
			blocks[i].gain = blocks[i].size + blocks[i+1].size - join(i).size
		}
	}
	for i := range blocks {
		weigh(i)
	}
	for {
		best := -1
		for i, b := range blocks[:len(blocks)-1] {
			if b.gain > 0 && (best < 0 || b.gain > blocks[best].gain) {
				best = i
			}
		}
		if best < 0 {
			break
		}
		blocks[best] = join(best)
		blocks = append(blocks[:best+1], blocks[best+2:]...)
		weigh(best - 1)
		weigh(best)
	}
	out := make([][]symbol, len(blocks))
	for i, b := range blocks {
		out[i] = b.symbols
	}
	return out
}
