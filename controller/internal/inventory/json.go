package inventory

import (
	"math"
	"math/big"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// parseJSON reads a document as Python's json does, where NaN and Infinity
// are numbers and the last of two equal keys wins. What is not JSON is left
// to the YAML parser and its errors, so only success is told.
func parseJSON(doc *document, text []byte) (*value, bool) {
	p := &jsonParser{doc: doc, s: string(text), line: 1}
	p.space()
	v, ok := p.value(0)
	p.space()
	if !ok || p.i != len(p.s) {
		return nil, false
	}
	return v, true
}

type jsonParser struct {
	doc  *document
	s    string
	i    int
	line int
}

func (p *jsonParser) space() {
	for p.i < len(p.s) {
		switch p.s[p.i] {
		case '\n':
			p.line++
		case ' ', '\t', '\r':
		default:
			return
		}
		p.i++
	}
}

// take consumes a literal.
func (p *jsonParser) take(lit string) bool {
	if strings.HasPrefix(p.s[p.i:], lit) {
		p.i += len(lit)
		return true
	}
	return false
}

var jsonWords = []struct {
	word string
	data any
}{
	{"null", nil}, {"true", true}, {"false", false},
	{"NaN", math.NaN()}, {"Infinity", math.Inf(1)}, {"-Infinity", math.Inf(-1)},
}

func (p *jsonParser) value(depth int) (*value, bool) {
	if depth > maxDepth || p.i >= len(p.s) {
		return nil, false
	}
	v := &value{doc: p.doc, line: p.line, size: 1}
	start := p.i
	switch p.s[p.i] {
	case '{':
		return v, p.object(v, depth)
	case '[':
		return v, p.array(v, depth)
	case '"':
		s, ok := p.str()
		v.data, v.raw = s, s
		return v, ok
	}
	for _, w := range jsonWords {
		if p.take(w.word) {
			v.data, v.raw = w.data, w.word
			return v, true
		}
	}
	ok := p.number(v)
	v.raw = p.s[start:p.i]
	return v, ok
}

// number matches JSON's grammar, which is stricter than Go's parsers.
func (p *jsonParser) number(v *value) bool {
	start := p.i
	p.take("-")
	n := spanOf(p.s[p.i:], digits)
	if n == 0 || n > 1 && p.s[p.i] == '0' {
		return false
	}
	p.i += n
	isInt := true
	if f := p.s[p.i:]; strings.HasPrefix(f, ".") {
		if n := spanOf(f[1:], digits); n > 0 {
			p.i += 1 + n
			isInt = false
		}
	}
	if e := p.s[p.i:]; e != "" && (e[0] == 'e' || e[0] == 'E') {
		rest := cutSign(e[1:])
		if n := spanOf(rest, digits); n > 0 {
			p.i += len(e) - len(rest) + n
			isInt = false
		}
	}
	lit := p.s[start:p.i]
	if !isInt {
		f, _ := strconv.ParseFloat(lit, 64) // out of range is infinite, as in Python
		v.data = f
		return true
	}
	if i, err := strconv.ParseInt(lit, 10, 64); err == nil {
		v.data = i
		return true
	}
	b, ok := new(big.Int).SetString(lit, 10)
	v.data = b
	return ok
}

func (p *jsonParser) array(v *value, depth int) bool {
	v.kind = listKind
	p.i++
	p.space()
	if p.take("]") {
		return true
	}
	for {
		p.space()
		item, ok := p.value(depth + 1)
		if !ok {
			return false
		}
		v.items = append(v.items, item)
		v.size += item.size
		p.space()
		if p.take("]") {
			return true
		}
		if !p.take(",") {
			return false
		}
	}
}

func (p *jsonParser) object(v *value, depth int) bool {
	v.kind = mapKind
	p.i++
	p.space()
	if p.take("}") {
		return true
	}
	b := pairBuilder{at: map[any]int{}}
	for {
		p.space()
		line := p.line
		if p.i >= len(p.s) || p.s[p.i] != '"' {
			return false
		}
		key, ok := p.str()
		p.space()
		if !ok || !p.take(":") {
			return false
		}
		p.space()
		item, ok := p.value(depth + 1)
		if !ok {
			return false
		}
		b.set(pair{key: key, name: key, line: line, val: item})
		v.size += 1 + item.size
		p.space()
		if p.take("}") {
			v.pairs = b.pairs
			v.marker()
			return true
		}
		if !p.take(",") {
			return false
		}
	}
}

// marker turns the objects that ansible-inventory itself writes for vault and
// unsafe values back into those.
func (v *value) marker() {
	if p, ok := v.get("__ansible_unsafe"); ok {
		if s, ok := p.val.data.(string); ok {
			*v = value{doc: v.doc, line: v.line, size: 1, data: s, raw: s, unsafe: true}
			return
		}
	}
	if p, ok := v.get("__ansible_vault"); ok {
		if s, ok := p.val.data.(string); ok {
			*v = value{doc: v.doc, line: v.line, size: 1, data: Vault{s}}
		}
	}
}

func (p *jsonParser) str() (string, bool) {
	p.i++
	end := strings.IndexAny(p.s[p.i:], "\"\\")
	if end >= 0 && p.s[p.i+end] == '"' { // the usual case: nothing escaped
		s := p.s[p.i : p.i+end]
		p.i += end + 1
		return s, !hasControl(s)
	}
	var b strings.Builder
	for p.i < len(p.s) {
		c := p.s[p.i]
		switch {
		case c == '"':
			p.i++
			return b.String(), true
		case c < ' ':
			return "", false
		case c != '\\':
			b.WriteByte(c)
			p.i++
		default:
			if !p.escape(&b) {
				return "", false
			}
		}
	}
	return "", false
}

func hasControl(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' {
			return true
		}
	}
	return false
}

// escape reads one backslash escape.
func (p *jsonParser) escape(b *strings.Builder) bool {
	if p.i+1 >= len(p.s) {
		return false
	}
	c := p.s[p.i+1]
	p.i += 2
	const from, to = `"\/bfnrt`, "\"\\/\b\f\n\r\t"
	if i := strings.IndexByte(from, c); i >= 0 {
		b.WriteByte(to[i])
		return true
	}
	if c != 'u' {
		return false
	}
	r, ok := p.hex4()
	if !ok {
		return false
	}
	if utf16.IsSurrogate(r) {
		save := p.i
		r2, ok := rune(0), false
		if p.take(`\u`) {
			r2, ok = p.hex4()
		}
		if pair := utf16.DecodeRune(r, r2); ok && pair != utf8.RuneError {
			r = pair
		} else { // a lone half is no character
			p.i, r = save, utf8.RuneError
		}
	}
	b.WriteRune(r)
	return true
}

func (p *jsonParser) hex4() (rune, bool) {
	if len(p.s)-p.i < 4 {
		return 0, false
	}
	n, err := strconv.ParseUint(p.s[p.i:p.i+4], 16, 16)
	p.i += 4
	return rune(n), err == nil
}
