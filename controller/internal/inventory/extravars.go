package inventory

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"unicode/utf8"
)

// extraVars reads the -e options; a later one wins.
func (r *reader) extraVars(options []string) (map[string]variable, error) {
	out := map[string]variable{}
	var errs []error
	for i, opt := range options {
		name := "-e"
		if len(options) > 1 {
			name = fmt.Sprintf("-e (number %d)", i+1)
		}
		v, err := r.extraVar(name, opt)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if v == nil {
			continue
		}
		if v.kind != mapKind {
			errs = append(errs, at(v.pos(), "extra variables are a dictionary, and this is %s", v.typeName()).
				hint("write -e name=value, -e '{\"name\": value}' or -e @file"))
			continue
		}
		for _, p := range v.pairs {
			out[p.name] = variable{val: p.val, line: p.line}
		}
	}
	return out, errors.Join(errs...)
}

// extraVar reads one -e option; nil for an empty one.
func (r *reader) extraVar(name, opt string) (*value, error) {
	doc := &document{name: name}
	switch {
	case opt == "":
		return nil, nil
	case opt[0] == '@':
		text, err := os.ReadFile(r.path(opt[1:]))
		if err != nil {
			return nil, readError("-e "+opt, err).hint("-e @FILE reads variables from FILE")
		}
		v, err := r.loader.loadFile(opt[1:], text)
		if v == nil && err == nil {
			return nil, &Error{File: opt[1:], Msg: "no variables in this file", Hint: "write name: value lines"}
		}
		return v, err
	case opt[0] == '/' || opt[0] == '.':
		return nil, at(doc.at(0), "%s looks like a file", opt).hint("write -e @%s", opt)
	case opt[0] == '[' || opt[0] == '{':
		return r.loader.load(name, []byte(opt))
	}
	return parseWords(doc, opt)
}

// parseWords reads name=value words. The values are strings.
func parseWords(doc *document, s string) (*value, error) {
	words, err := splitWords(s)
	if err != nil {
		return nil, at(doc.at(0), "%v", err).hint("quote the whole option, and close each quote in it")
	}
	v := &value{kind: mapKind, doc: doc, size: 1}
	b := pairBuilder{at: map[any]int{}}
	for _, w := range words {
		w = decodeEscapes(w)
		eq := equalsSign(w)
		if eq < 0 {
			return nil, at(doc.at(0), "a word without = among the variables").
				hint("write name=value, with quotes around a value that has spaces")
		}
		name := strings.TrimSpace(w[:eq])
		text := unquote(strings.TrimSpace(w[eq+1:]))
		b.set(pair{key: name, name: name, val: stringValue(doc, text)})
	}
	v.pairs = b.pairs
	return v, nil
}

// equalsSign finds the first = that is neither at the start nor escaped.
func equalsSign(w string) int {
	for i := 1; i < len(w); i++ {
		if w[i] == '=' && w[i-1] != '\\' {
			return i
		}
	}
	return -1
}

// unquote removes one pair of quotes around a value.
func unquote(s string) string {
	n := len(s)
	if n > 1 && s[0] == s[n-1] && (s[0] == '"' || s[0] == '\'') && s[n-2] != '\\' {
		return s[1 : n-1]
	}
	return s
}

// splitWords splits at white space outside quotes and outside Jinja blocks.
// Quotes and blocks stay part of their word.
func splitWords(s string) ([]string, error) {
	var words []string
	start := -1
	quote := byte(0)
	var blocks [3]int // open {{, {% and {#
	for i := 0; i < len(s); i++ {
		c := s[i]
		space := c == ' ' || c == '\n'
		if space && quote == 0 && blocks == [3]int{} {
			if start >= 0 {
				words = append(words, s[start:i])
				start = -1
			}
			continue
		}
		if start < 0 {
			start = i
		}
		switch {
		case (c == '"' || c == '\'') && (i == start || s[i-1] != '\\'):
			if quote == 0 {
				quote = c
			} else if quote == c {
				quote = 0
			}
		case i+1 < len(s):
			for j, kind := range "{%#" {
				switch s[i : i+2] {
				case "{" + string(kind):
					blocks[j]++
					i++
				case closing(kind):
					blocks[j] = max(blocks[j]-1, 0)
					i++
				default:
					continue
				}
				break
			}
		}
	}
	if quote != 0 || blocks != [3]int{} {
		return nil, errors.New("a quote or template block is not closed")
	}
	if start >= 0 {
		words = append(words, s[start:])
	}
	return words, nil
}

// closing ends a Jinja block that { and kind began.
func closing(kind rune) string {
	if kind == '{' {
		return "}}"
	}
	return string(kind) + "}"
}

// decodeEscapes reads Python's escapes \n, \x41, \u00e9, \U0001f600 and the
// like; other backslashes stay.
func decodeEscapes(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	const from, to = `\'"abfnrtv`, "\\'\"\a\b\f\n\r\t\v"
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		if j := strings.IndexByte(from, s[i+1]); j >= 0 {
			b.WriteByte(to[j])
			i++
			continue
		}
		n := map[byte]int{'x': 2, 'u': 4, 'U': 8}[s[i+1]]
		if r, err := strconv.ParseUint(s[i+2:min(i+2+n, len(s))], 16, 32); n > 0 && i+2+n <= len(s) && err == nil && utf8.ValidRune(rune(r)) {
			b.WriteRune(rune(r))
			i += 1 + n
			continue
		}
		b.WriteByte('\\')
	}
	return b.String()
}
