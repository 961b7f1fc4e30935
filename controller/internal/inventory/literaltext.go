package inventory

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// strings reads string literals that stand side by side.
func (p *literalParser) strings(prefix string) *pyNode {
	var text strings.Builder
	isBytes := strings.Contains(prefix, "b")
	for {
		switch prefix {
		case "", "u", "r", "b", "br", "rb":
		default:
			return nil // f-strings and mistakes
		}
		if strings.Contains(prefix, "b") != isBytes {
			return nil
		}
		if !p.oneString(&text, strings.Contains(prefix, "r"), isBytes) {
			return nil
		}
		end := p.i
		c := p.peek()
		prefix = ""
		if c != '"' && c != '\'' {
			n := spanOf(p.s[p.i:], "rRbBuU")
			if q := p.s[p.i+n:]; n == 0 || n > 2 || q == "" || q[0] != '"' && q[0] != '\'' {
				p.i = end
				break
			}
			prefix = strings.ToLower(p.s[p.i : p.i+n])
			p.i += n
		}
	}
	node := &pyNode{data: text.String(), raw: text.String()}
	if isBytes {
		node.data = pyBytes(text.String())
	}
	return node
}

// oneString reads the string that begins with the quote at hand.
func (p *literalParser) oneString(out *strings.Builder, raw, isBytes bool) bool {
	quote := p.s[p.i : p.i+1]
	if triple := strings.Repeat(quote, 3); strings.HasPrefix(p.s[p.i:], triple) {
		quote = triple
	}
	p.i += len(quote)
	for p.i < len(p.s) {
		switch c := p.s[p.i]; {
		case strings.HasPrefix(p.s[p.i:], quote):
			p.i += len(quote)
			return true
		case c >= utf8.RuneSelf && isBytes:
			return false
		case c != '\\':
			out.WriteByte(c)
			p.i++
		case p.i+1 == len(p.s):
			return false
		case raw:
			_, size := utf8.DecodeRuneInString(p.s[p.i+1:])
			out.WriteString(p.s[p.i : p.i+1+size])
			p.i += 1 + size
		default:
			p.i++
			if !p.escape(out, isBytes) {
				return false
			}
		}
	}
	return false
}

// escape reads what stands behind a backslash.
func (p *literalParser) escape(out *strings.Builder, isBytes bool) bool {
	c := p.s[p.i]
	const from, to = `\'"abfnrtv`, "\\'\"\a\b\f\n\r\t\v"
	if i := strings.IndexByte(from, c); i >= 0 {
		out.WriteByte(to[i])
		p.i++
		return true
	}
	if n := min(spanOf(p.s[p.i:], "01234567"), 3); n > 0 {
		code, _ := strconv.ParseUint(p.s[p.i:p.i+n], 8, 16)
		p.i += n
		out.WriteString(charOf(code, isBytes))
		return true
	}
	digits := map[byte]int{'x': 2, 'u': 4, 'U': 8}[c]
	if c != 'x' && isBytes {
		digits = 0
	}
	if c == 'N' && !isBytes {
		if name := p.s[p.i+1:]; strings.HasPrefix(name, "{") && strings.Contains(name, "}") {
			p.unsupported = `the escape \N{…}`
		}
		return false
	}
	if digits == 0 {
		out.WriteByte('\\')
		return true
	}
	p.i++
	if len(p.s)-p.i < digits {
		return false
	}
	code, err := strconv.ParseUint(p.s[p.i:p.i+digits], 16, 32)
	if err != nil || code > unicode.MaxRune {
		return false
	}
	p.i += digits
	out.WriteString(charOf(code, isBytes))
	return true
}

// charOf is the character of an escape; half a surrogate pair is none.
func charOf(code uint64, isBytes bool) string {
	if isBytes {
		return string([]byte{byte(code)})
	}
	return string(rune(code))
}
