package inventory

// glob is a shell pattern as Python's fnmatch has it: * also matches dots and
// slashes, [!x] is a set's complement, and there is no escape.
type glob []globPart

type globPart struct {
	star   bool
	any    bool // ?
	lit    rune
	set    []runeRange // nil unless it is a set
	negate bool
}

type runeRange struct{ from, to rune }

func parseGlob(s string) glob {
	rs := []rune(s)
	var g glob
	for i := 0; i < len(rs); i++ {
		switch rs[i] {
		case '*':
			if n := len(g); n == 0 || !g[n-1].star {
				g = append(g, globPart{star: true})
			}
		case '?':
			g = append(g, globPart{any: true})
		case '[':
			if part, next, ok := parseSet(rs, i+1); ok {
				g = append(g, part)
				i = next
				continue
			}
			g = append(g, globPart{lit: '['})
		default:
			g = append(g, globPart{lit: rs[i]})
		}
	}
	return g
}

// parseSet reads a set whose [ is just before i, and returns where its ] is.
// Without one, the [ is an ordinary character.
func parseSet(rs []rune, i int) (globPart, int, bool) {
	p := globPart{set: []runeRange{}}
	end := i
	if end < len(rs) && rs[end] == '!' {
		end++
	}
	if end < len(rs) && rs[end] == ']' {
		end++
	}
	for end < len(rs) && rs[end] != ']' {
		end++
	}
	if end >= len(rs) {
		return p, 0, false
	}
	if rs[i] == '!' {
		p.negate = true
		i++
	}
	for ; i < end; i++ {
		if i+2 < end && rs[i+1] == '-' {
			if rs[i] <= rs[i+2] {
				p.set = append(p.set, runeRange{rs[i], rs[i+2]})
			}
			i += 2
			continue
		}
		p.set = append(p.set, runeRange{rs[i], rs[i]})
	}
	return p, end, true
}

func (p globPart) matches(r rune) bool {
	switch {
	case p.any:
		return true
	case p.set == nil:
		return p.lit == r
	}
	for _, in := range p.set {
		if r >= in.from && r <= in.to {
			return !p.negate
		}
	}
	return p.negate
}

// match says whether the whole of s matches, in time proportional to the
// product of the lengths.
func (g glob) match(s string) bool {
	rs := []rune(s)
	i, j := 0, 0
	star, mark := -1, 0
	for j < len(rs) {
		switch {
		case i < len(g) && g[i].star:
			star, mark = i, j
			i++
		case i < len(g) && g[i].matches(rs[j]):
			i++
			j++
		case star >= 0:
			mark++
			i, j = star+1, mark
		default:
			return false
		}
	}
	for i < len(g) && g[i].star {
		i++
	}
	return i == len(g)
}
