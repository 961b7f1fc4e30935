package inventory

import (
	"errors"
	"strings"
)

// shlexSplit splits a line into words as Python's shlex.split(line,
// comments=True) does: quotes group, a backslash escapes outside quotes and,
// before " and itself, inside double quotes, and # begins a comment even in
// the middle of a word.
func shlexSplit(s string) ([]string, error) {
	var words []string
	var word strings.Builder
	begun := false // there is a word, if only an empty one in quotes
	end := func() {
		if begun {
			words = append(words, word.String())
		}
		word.Reset()
		begun = false
	}
	for i := 0; i < len(s); i++ {
		switch c := s[i]; c {
		case ' ', '\t', '\r', '\n':
			end()
		case '#':
			end()
			next := strings.IndexByte(s[i:], '\n')
			if next < 0 {
				return words, nil
			}
			i += next
		case '\\':
			if i++; i == len(s) {
				return nil, errors.New("nothing follows the backslash at the end")
			}
			word.WriteByte(s[i])
			begun = true
		case '"', '\'':
			n, ok := shlexQuoted(&word, s[i+1:], c)
			if !ok {
				return nil, errors.New("a quote is not closed")
			}
			i += n
			begun = true
		default:
			word.WriteByte(c)
			begun = true
		}
	}
	end()
	return words, nil
}

// shlexQuoted copies what stands before the closing quote and counts the
// bytes, the quote included.
func shlexQuoted(word *strings.Builder, s string, quote byte) (int, bool) {
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == quote:
			return i + 1, true
		case s[i] == '\\' && quote == '"' && i+1 < len(s):
			if i++; s[i] != '"' && s[i] != '\\' {
				word.WriteByte('\\')
			}
			word.WriteByte(s[i])
		default:
			word.WriteByte(s[i])
		}
	}
	return 0, false
}
