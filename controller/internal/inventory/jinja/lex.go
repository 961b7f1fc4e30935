package jinja

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

type tokenKind uint8

const (
	tokEnd      tokenKind = iota
	tokText               // template data
	tokVarOpen            // {{
	tokVarClose           // }}
	tokBlockOpen
	tokBlockClose
	tokName
	tokString
	tokInt
	tokFloat
	tokOp
)

type token struct {
	kind tokenKind
	text string
	line int
}

// is says whether the token is this operator or name.
func (t token) is(kind tokenKind, text string) bool { return t.kind == kind && t.text == text }

// String is the token as an error shows it.
func (t token) String() string {
	switch t.kind {
	case tokEnd:
		return "the end"
	case tokText:
		return "text"
	}
	return fmt.Sprintf("%q", t.text)
}

// lexer cuts a template into tokens.
type lexer struct {
	s      string
	i      int
	line   int
	tokens []token
	strip  bool // white space at the beginning of the next text goes
	trim   bool // one newline there goes
}

func lex(s string) ([]token, error) {
	l := &lexer{s: s, line: 1}
	for l.i < len(l.s) {
		if err := l.data(); err != nil {
			return nil, err
		}
	}
	l.add(tokEnd, "")
	return l.tokens, nil
}

func (l *lexer) add(kind tokenKind, text string) {
	l.tokens = append(l.tokens, token{kind, text, l.line})
}

func (l *lexer) errorf(format string, args ...any) error {
	return &SyntaxError{Line: l.line, Msg: fmt.Sprintf(format, args...)}
}

// advance moves over n bytes and counts their lines.
func (l *lexer) advance(n int) {
	l.line += strings.Count(l.s[l.i:l.i+n], "\n")
	l.i += n
}

// opening finds the next {{, {% or {#.
func opening(s string) int {
	for i := 0; i+1 < len(s); i++ {
		if s[i] == '{' && strings.IndexByte("{%#", s[i+1]) >= 0 {
			return i
		}
	}
	return -1
}

// data reads text up to a tag, and the tag.
func (l *lexer) data() error {
	rest := l.s[l.i:]
	n := opening(rest)
	end := n
	if n < 0 {
		end = len(rest)
	}
	text := rest[:end]
	switch {
	case l.strip:
		text = strings.TrimLeftFunc(text, unicode.IsSpace)
	case l.trim && strings.HasPrefix(text, "\n"):
		text = text[1:]
	}
	l.strip, l.trim = false, false
	mark := byte(0)
	if n >= 0 && n+2 < len(rest) {
		mark = rest[n+2]
	}
	if mark == '-' {
		text = strings.TrimRightFunc(text, unicode.IsSpace)
	}
	if text != "" {
		l.add(tokText, text)
	}
	l.advance(end)
	if n < 0 {
		return nil
	}
	kind := rest[n+1]
	l.advance(2)
	if mark == '-' || mark == '+' && kind != '{' {
		l.advance(1)
	}
	switch kind {
	case '#':
		return l.comment()
	case '{':
		l.add(tokVarOpen, "{{")
		return l.inside("}}", tokVarClose)
	}
	if body, ok := strings.CutPrefix(strings.TrimLeftFunc(l.s[l.i:], unicode.IsSpace), "raw"); ok {
		trimmed := strings.TrimLeftFunc(body, unicode.IsSpace)
		if sign := strings.TrimLeft(trimmed, "-+"); strings.HasPrefix(sign, "%}") && len(trimmed)-len(sign) < 2 {
			return l.raw(len(l.s)-l.i-len(sign)+2, trimmed[0])
		}
	}
	l.add(tokBlockOpen, "{%")
	return l.inside("%}", tokBlockClose)
}

func (l *lexer) comment() error {
	end := strings.Index(l.s[l.i:], "#}")
	if end < 0 {
		return l.errorf("a comment {# is not closed by #}")
	}
	l.closed(end > 0 && l.s[l.i+end-1] == '-', end > 0 && l.s[l.i+end-1] == '+', true)
	l.advance(end + 2)
	return nil
}

// closed notes what the end of a tag does to the text behind it.
func (l *lexer) closed(strip, keep, block bool) {
	l.strip = strip
	l.trim = block && !keep
}

// raw copies everything up to {% endraw %}; head is the rest of the tag.
func (l *lexer) raw(head int, sign byte) error {
	l.advance(head)
	from := l.i
	for at := from; ; {
		n := strings.Index(l.s[at:], "{%")
		if n < 0 {
			return l.errorf("{%% raw %%} is not closed by {%% endraw %%}")
		}
		at += n
		tag := l.s[at+2:]
		stripBefore := strings.HasPrefix(tag, "-")
		tag = strings.TrimLeft(strings.TrimPrefix(tag, "-"), " \t\n\r")
		rest, ok := strings.CutPrefix(tag, "endraw")
		rest = strings.TrimLeft(rest, " \t\n\r")
		bare := strings.TrimLeft(rest, "-+")
		if !ok || !strings.HasPrefix(bare, "%}") || len(rest)-len(bare) > 1 {
			at += 2
			continue
		}
		text := l.s[from:at]
		if sign == '-' {
			text = strings.TrimLeftFunc(text, unicode.IsSpace)
		} else if sign != '+' {
			text = strings.TrimPrefix(text, "\n")
		}
		if stripBefore {
			text = strings.TrimRightFunc(text, unicode.IsSpace)
		}
		if text != "" {
			l.add(tokText, text)
		}
		l.closed(rest[0] == '-', rest[0] == '+', true)
		l.advance(len(l.s) - l.i - len(bare) + 2)
		return nil
	}
}

var operators = []string{"**", "//", "==", "!=", "<=", ">=", "+", "-", "*", "/", "%", "~", "<", ">", "=", ".", ":", "|", ",", "(", ")", "[", "]", "{", "}"}

// inside reads the tokens of a tag up to its end.
func (l *lexer) inside(end string, kind tokenKind) error {
	depth := 0
	for l.i < len(l.s) {
		rest := l.s[l.i:]
		c, size := utf8.DecodeRuneInString(rest)
		if unicode.IsSpace(c) {
			l.advance(size)
			continue
		}
		if depth == 0 {
			sign := byte(0)
			if (rest[0] == '-' || rest[0] == '+' && kind == tokBlockClose) && strings.HasPrefix(rest[1:], end) {
				sign = rest[0]
			}
			if sign != 0 || strings.HasPrefix(rest, end) {
				l.closed(sign == '-', sign == '+', kind == tokBlockClose)
				l.add(kind, end)
				l.advance(len(end))
				if sign != 0 {
					l.advance(1)
				}
				return nil
			}
		}
		switch {
		case c == '"' || c == '\'':
			if err := l.string(rest[0]); err != nil {
				return err
			}
		case c >= '0' && c <= '9':
			l.number(rest)
		case c == '_' || unicode.IsLetter(c):
			l.name(rest)
		default:
			op := ""
			for _, o := range operators {
				if strings.HasPrefix(rest, o) {
					op = o
					break
				}
			}
			switch op {
			case "":
				return l.errorf("%q means nothing in a template", c)
			case "(", "[", "{":
				depth++
			case ")", "]", "}":
				depth--
			}
			l.add(tokOp, op)
			l.advance(len(op))
		}
	}
	return l.errorf("a tag is not closed by %s", end)
}

func (l *lexer) name(rest string) {
	n := strings.IndexFunc(rest, func(c rune) bool { return c != '_' && !unicode.IsLetter(c) && !unicode.IsDigit(c) })
	if n < 0 {
		n = len(rest)
	}
	l.add(tokName, rest[:n])
	l.advance(n)
}

// string reads a quoted string. Backslashes stay as they are, also those of
// \n: Ansible doubles them before Jinja2 sees the template.
func (l *lexer) string(q byte) error {
	rest := l.s[l.i+1:]
	for i := 0; i < len(rest); i++ {
		switch rest[i] {
		case '\\':
			i++
		case q:
			l.add(tokString, rest[:i])
			l.advance(i + 2)
			return nil
		}
	}
	return l.errorf("a string is not closed by %c", q)
}

func digitsIn(s, set string) int {
	for i := range len(s) {
		if strings.IndexByte(set, s[i]) < 0 {
			return i
		}
	}
	return len(s)
}

// number reads an integer in any base, or a float. 1.x is 1 and then .x.
func (l *lexer) number(rest string) {
	const dec = "0123456789_"
	if len(rest) > 2 && rest[0] == '0' {
		set := map[byte]string{'x': "0123456789abcdefABCDEF_", 'o': "01234567_", 'b': "01_"}[rest[1]|0x20]
		if n := digitsIn(rest[2:], set); set != "" && n > 0 {
			l.add(tokInt, rest[:2+n])
			l.advance(2 + n)
			return
		}
	}
	n := digitsIn(rest, dec)
	kind := tokInt
	if n+1 < len(rest) && rest[n] == '.' && rest[n+1] >= '0' && rest[n+1] <= '9' && !l.afterDot() {
		kind = tokFloat
		n += 1 + digitsIn(rest[n+1:], dec)
	}
	if n < len(rest) && rest[n]|0x20 == 'e' {
		e := rest[n+1:]
		sign := 0
		if e != "" && (e[0] == '+' || e[0] == '-') {
			sign = 1
		}
		if d := digitsIn(e[sign:], dec); d > 0 {
			kind = tokFloat
			n += 1 + sign + d
		}
	}
	l.add(kind, rest[:n])
	l.advance(n)
}

// afterDot says whether a number is an index, as the 1 in list.1.2.
func (l *lexer) afterDot() bool {
	return len(l.tokens) > 0 && l.tokens[len(l.tokens)-1].is(tokOp, ".")
}
