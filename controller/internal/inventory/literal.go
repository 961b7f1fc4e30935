package inventory

import (
	"errors"
	"math/big"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// literalValue gives the text of an INI variable the meaning that Ansible
// gives it: what Python's ast.literal_eval reads is a number, string, list,
// dictionary and so on, and everything else is the text itself. The error is
// for what makes Ansible refuse the whole source.
func literalValue(doc *document, line int, text string) (*value, error) {
	asText := &value{doc: doc, line: line, data: text, raw: text, size: 1}
	p := &literalParser{s: strings.TrimLeft(text, " \t")}
	n := p.document()
	if p.unsupported != "" {
		return nil, at(doc.at(line), "%s can't be read", p.unsupported).hint(`write the character itself, or \u and its number`)
	}
	if n == nil {
		return asText, nil
	}
	e := literalEval{doc: doc, line: line}
	v, _, err := e.eval(n)
	switch {
	case errors.Is(err, errNoLiteral):
		return asText, nil
	case err != nil:
		return nil, at(doc.at(line), "%s: %v", text, err).hint("put quotes inside the quotes to mean text: \"'%s'\"", text)
	}
	return v, nil
}

// pyKind is the kind of a node of a Python expression.
type pyKind uint8

const (
	pyConst pyKind = iota
	pyName         // any other name: never a literal
	pySigned
	pySum
	pyTuple
	pyList
	pySet
	pyDict
)

// pyNode is a parsed Python expression of the kinds that can be literals.
type pyNode struct {
	kind  pyKind
	data  any    // pyConst: nil, bool, int64, *big.Int, float64, string, pyBytes, pyEllipsis or complex128
	raw   string // pyConst: as written
	minus bool   // pySigned and pySum
	items []*pyNode
	vals  []*pyNode // pyDict: behind the keys in items
}

// pyBytes is what b'…' makes; Ansible turns it into text.
type pyBytes string

type pyEllipsis struct{}

// maxBrackets is how deep Python lets brackets nest.
const maxBrackets = 199

// maxDecimals is how long a decimal integer may be in Python.
const maxDecimals = 4300

// literalParser parses one line. Its methods return nil for what they can't
// read, be it wrong or only no literal: both mean plain text.
type literalParser struct {
	s           string
	i           int
	depth       int
	unsupported string
}

// skip passes over blanks and a comment.
func (p *literalParser) skip() {
	for p.i < len(p.s) {
		switch p.s[p.i] {
		case ' ', '\t', '\f':
			p.i++
		case '#':
			p.i = len(p.s)
		default:
			return
		}
	}
}

func (p *literalParser) peek() byte {
	p.skip()
	if p.i < len(p.s) {
		return p.s[p.i]
	}
	return 0
}

func (p *literalParser) take(c byte) bool {
	if p.peek() == c && c != 0 {
		p.i++
		return true
	}
	return false
}

// document reads the whole text; a comma at the top makes a tuple.
func (p *literalParser) document() *pyNode {
	if strings.IndexByte(p.s, 0) >= 0 {
		return nil
	}
	n := p.expr()
	if n != nil && p.peek() == ',' {
		n = p.sequence(pyTuple, n, 0)
	}
	if n == nil || p.peek() != 0 || p.i < len(p.s) {
		return nil
	}
	return n
}

// sequence reads the items behind the first one up to the closing bracket, or
// up to the end of the text.
func (p *literalParser) sequence(kind pyKind, first *pyNode, end byte) *pyNode {
	n := &pyNode{kind: kind, items: []*pyNode{first}}
	for p.take(',') {
		if p.peek() == end {
			break
		}
		item := p.expr()
		if item == nil {
			return nil
		}
		n.items = append(n.items, item)
	}
	if end != 0 && !p.take(end) {
		return nil
	}
	return n
}

// expr reads a sum: only complex numbers are written as one.
func (p *literalParser) expr() *pyNode {
	left := p.unary()
	for left != nil {
		c := p.peek()
		if c != '+' && c != '-' {
			break
		}
		p.i++
		right := p.unary()
		if right == nil {
			return nil
		}
		left = &pyNode{kind: pySum, minus: c == '-', items: []*pyNode{left, right}}
	}
	return left
}

func (p *literalParser) unary() *pyNode {
	c := p.peek()
	if c != '+' && c != '-' {
		return p.primary()
	}
	if p.depth++; p.depth > 1000 {
		return nil
	}
	defer func() { p.depth-- }()
	p.i++
	n := p.unary()
	if n == nil {
		return nil
	}
	return &pyNode{kind: pySigned, minus: c == '-', items: []*pyNode{n}}
}

func (p *literalParser) primary() *pyNode {
	switch c := p.peek(); {
	case c == '(', c == '[', c == '{':
		if p.depth++; p.depth > maxBrackets {
			return nil
		}
		defer func() { p.depth-- }()
		p.i++
		if c == '{' {
			return p.braces()
		}
		return p.brackets(c)
	case c == '"', c == '\'':
		return p.strings("")
	case c >= '0' && c <= '9':
		return p.number()
	case c == '.':
		if strings.HasPrefix(p.s[p.i:], "...") {
			p.i += 3
			return &pyNode{data: pyEllipsis{}}
		}
		return p.number()
	default:
		return p.name()
	}
}

func (p *literalParser) brackets(open byte) *pyNode {
	kind, end := pyTuple, byte(')')
	if open == '[' {
		kind, end = pyList, ']'
	}
	if p.take(end) {
		return &pyNode{kind: kind}
	}
	first := p.expr()
	if first == nil {
		return nil
	}
	if open == '(' && p.take(')') {
		return first
	}
	if open == '(' && p.peek() != ',' {
		return nil
	}
	return p.sequence(kind, first, end)
}

// braces reads a dictionary or a set.
func (p *literalParser) braces() *pyNode {
	if p.take('}') {
		return &pyNode{kind: pyDict}
	}
	first := p.expr()
	if first == nil {
		return nil
	}
	if p.peek() != ':' {
		return p.sequence(pySet, first, '}')
	}
	n := &pyNode{kind: pyDict}
	for key := first; ; {
		if !p.take(':') {
			return nil
		}
		val := p.expr()
		if val == nil {
			return nil
		}
		n.items, n.vals = append(n.items, key), append(n.vals, val)
		comma := p.take(',')
		if p.take('}') {
			return n
		}
		if key = p.expr(); !comma || key == nil {
			return nil
		}
	}
}

// name reads a word: a constant, the beginning of a string, or set().
func (p *literalParser) name() *pyNode {
	n := 0
	for n < len(p.s)-p.i {
		r, size := utf8.DecodeRuneInString(p.s[p.i+n:])
		if r != '_' && !unicode.IsLetter(r) && (n == 0 || !unicode.IsDigit(r)) {
			break
		}
		n += size
	}
	word := p.s[p.i : p.i+n]
	p.i += n
	if p.i < len(p.s) && (p.s[p.i] == '"' || p.s[p.i] == '\'') {
		return p.strings(strings.ToLower(word))
	}
	switch word {
	case "":
		return nil
	case "None":
		return &pyNode{raw: word}
	case "True", "False":
		return &pyNode{data: word == "True", raw: word}
	case "set":
		if p.take('(') {
			if !p.take(')') {
				return nil
			}
			return &pyNode{kind: pySet}
		}
	}
	return &pyNode{kind: pyName}
}

// number reads an integer, a float or an imaginary number.
func (p *literalParser) number() *pyNode {
	rest := p.s[p.i:]
	if len(rest) > 1 && rest[0] == '0' {
		if base := map[byte]int{'x': 16, 'o': 8, 'b': 2}[rest[1]|0x20]; base != 0 {
			return p.based(base)
		}
	}
	n := pyDigits(rest)
	whole := n
	isFloat := false
	if n < len(rest) && rest[n] == '.' {
		frac := pyDigits(rest[n+1:])
		if n == 0 && frac == 0 {
			return nil
		}
		n += 1 + frac
		isFloat = true
	}
	if n < len(rest) && rest[n]|0x20 == 'e' {
		tail := cutSign(rest[n+1:])
		if e := pyDigits(tail); e > 0 {
			n = len(rest) - len(tail) + e
			isFloat = true
		}
	}
	if n == 0 {
		return nil
	}
	text := rest[:n]
	if n < len(rest) && rest[n]|0x20 == 'j' {
		f, _ := strconv.ParseFloat(strings.ReplaceAll(text, "_", ""), 64)
		return p.numeral(n+1, complex(0, f))
	}
	plain := strings.ReplaceAll(text, "_", "")
	if isFloat {
		f, _ := strconv.ParseFloat(plain, 64) // out of range is infinite, as in Python
		return p.numeral(n, f)
	}
	if plain[0] == '0' && strings.Trim(plain, "0") != "" || whole == 0 || len(plain) > maxDecimals {
		return nil // 0644 is no number in Python
	}
	return p.numeral(n, parseBig(plain, 10))
}

// based reads 0x1F, 0o17 and 0b1.
func (p *literalParser) based(base int) *pyNode {
	rest := p.s[p.i+2:]
	n := 0
	for n < len(rest) {
		under := 0
		if rest[n] == '_' && n+1 < len(rest) {
			under = 1
		}
		c := rest[n+under] | 0x20
		digit := strings.IndexByte("0123456789abcdef", c)
		if rest[n+under] == '_' || digit < 0 || digit >= base {
			break
		}
		n += under + 1
	}
	if n == 0 {
		return nil
	}
	return p.numeral(n+2, parseBig(strings.ReplaceAll(rest[:n], "_", ""), base))
}

// numeral ends a number of n bytes, which nothing of a word may follow.
func (p *literalParser) numeral(n int, data any) *pyNode {
	raw := p.s[p.i : p.i+n]
	p.i += n
	r, _ := utf8.DecodeRuneInString(p.s[p.i:])
	if p.i < len(p.s) && (r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r)) {
		return nil
	}
	return &pyNode{data: data, raw: raw}
}

// pyDigits counts digits with single underscores between them.
func pyDigits(s string) int {
	n := 0
	for n < len(s) {
		switch {
		case s[n] >= '0' && s[n] <= '9':
			n++
		case s[n] == '_' && n > 0 && n+1 < len(s) && s[n+1] >= '0' && s[n+1] <= '9':
			n += 2
		default:
			return n
		}
	}
	return n
}

// parseBig makes an int64, or a *big.Int where that is too small.
func parseBig(digits string, base int) any {
	if i, err := strconv.ParseInt(digits, base, 64); err == nil {
		return i
	}
	b, _ := new(big.Int).SetString(digits, base)
	return b
}
