package jinja

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// maxRegex bounds the length of an expression.
const maxRegex = 4096

// compile makes Go's expression of Python's. What Go doesn't have is an error.
func (r *Run) compile(v any, ignoreCase, multiline any) (*regexp.Regexp, error) {
	s, err := r.Str(v)
	if err != nil {
		return nil, err
	}
	if len(s) > maxRegex {
		return nil, fmt.Errorf("%w: a regular expression of more than %d bytes", ErrTooMuch, maxRegex)
	}
	if err := r.spend(10 + len(s)*10); err != nil {
		return nil, err
	}
	flags := ""
	for i, f := range []any{ignoreCase, multiline} {
		if f == nil {
			continue
		}
		on, err := r.truth(f)
		if err != nil {
			return nil, err
		}
		if on {
			flags += string("im"[i])
		}
	}
	if flags != "" {
		flags = "(?" + flags + ")"
	}
	re, err := r.engine.compile(flags + strings.ReplaceAll(s, `\Z`, `\z`))
	if err != nil {
		return nil, fmt.Errorf("the regular expression %s: %v; look-around and back references are not supported", strconv.Quote(s), strings.TrimPrefix(err.Error(), "error parsing regexp: "))
	}
	return re, nil
}

var escapeRE = regexp.MustCompile(`[^A-Za-z0-9_!"%',/:;<=>@` + "`" + `\x80-\x{10ffff}]`)

// regexEscape is Python's re.escape.
func regexEscape(s string) string { return escapeRE.ReplaceAllString(s, `\$0`) }

func regexReplace(r *Run, v any, a *args) (any, error) {
	in, err := a.take("regex_replace", "pattern", "replacement", "ignorecase", "multiline", "count", "mandatory_count")
	if err != nil {
		return nil, err
	}
	s, err := r.Str(v)
	if err != nil {
		return nil, err
	}
	for i := range 2 {
		if in[i] == nil {
			in[i] = ""
		}
	}
	re, err := r.compile(in[0], in[2], in[3])
	if err != nil {
		return nil, err
	}
	with, err := r.Str(in[1])
	if err != nil {
		return nil, err
	}
	n := -1
	if c, ok := in[4].(int64); ok && c > 0 {
		n = int(c)
	}
	parts, err := replacement(with, re)
	if err != nil {
		return nil, err
	}
	if err := r.spend(1 + len(s)); err != nil {
		return nil, err
	}
	var b strings.Builder
	last := 0
	for _, m := range re.FindAllStringSubmatchIndex(s, n) {
		b.WriteString(s[last:m[0]])
		for _, p := range parts {
			if p.group < 0 {
				b.WriteString(p.text)
			} else if at := m[2*p.group]; at >= 0 {
				b.WriteString(s[at:m[2*p.group+1]])
			}
		}
		last = m[1]
		if b.Len() > maxBytes {
			return nil, r.text(maxBytes + 1)
		}
	}
	b.WriteString(s[last:])
	return b.String(), r.text(b.Len())
}

// part of a replacement: text, or a group.
type part struct {
	text  string
	group int // -1 for text
}

// replacement reads Python's template of a replacement: \1, \g<name>, \n.
func replacement(s string, re *regexp.Regexp) ([]part, error) {
	var parts []part
	text := func(t string) {
		parts = append(parts, part{t, -1})
	}
	for s != "" {
		i := strings.IndexByte(s, '\\')
		if i < 0 || i+1 == len(s) {
			text(s)
			break
		}
		text(s[:i])
		c := s[i+1]
		s = s[i+2:]
		group := -1
		switch {
		case c == 'g' && strings.HasPrefix(s, "<") && strings.Contains(s, ">"):
			word, rest, _ := strings.Cut(s[1:], ">")
			s = rest
			n, err := strconv.Atoi(word)
			if group = n; err != nil {
				group = re.SubexpIndex(word)
			}
			if group < 0 {
				return nil, fmt.Errorf("the regular expression has no group %s", strconv.Quote(word))
			}
		case c >= '1' && c <= '9':
			n := 0
			if s != "" && s[0] >= '0' && s[0] <= '9' {
				n = 1
			}
			group, _ = strconv.Atoi(string(c) + s[:n])
			s = s[n:]
		case strings.IndexByte("nrtfva", c) >= 0:
			text(string("\n\r\t\f\v\a"[strings.IndexByte("nrtfva", c)]))
		case c == '\\':
			text(`\`)
		default:
			text(`\` + string(c))
		}
		if group > re.NumSubexp() {
			return nil, fmt.Errorf("the regular expression has no group %d", group)
		}
		if group >= 0 {
			parts = append(parts, part{group: group})
		}
	}
	return parts, nil
}

func regexSearch(r *Run, v any, a *args) (any, error) {
	s, err := r.Str(v)
	if err != nil {
		return nil, err
	}
	if len(a.pos) == 0 {
		return nil, fmt.Errorf("regex_search needs an expression")
	}
	re, err := r.compile(a.pos[0], a.named["ignorecase"], a.named["multiline"])
	if err != nil {
		return nil, err
	}
	if err := r.spend(1 + len(s)); err != nil {
		return nil, err
	}
	m := re.FindStringSubmatchIndex(s)
	if m == nil {
		return nil, nil
	}
	groupText := func(n int) any {
		if m[2*n] < 0 {
			return nil
		}
		return s[m[2*n]:m[2*n+1]]
	}
	if len(a.pos) == 1 {
		return groupText(0), nil
	}
	var out []any
	for _, g := range a.pos[1:] {
		word, err := r.Str(g)
		if err != nil {
			return nil, err
		}
		parts, err := replacement(word, re)
		if err != nil {
			return nil, err
		}
		for _, p := range parts {
			if p.group >= 0 {
				out = append(out, groupText(p.group))
			}
		}
	}
	return newList(out), nil
}

func regexFindall(r *Run, v any, a *args) (any, error) {
	in, err := a.take("regex_findall", "regex!", "multiline", "ignorecase")
	if err != nil {
		return nil, err
	}
	s, err := r.Str(v)
	if err != nil {
		return nil, err
	}
	re, err := r.compile(in[0], in[2], in[1])
	if err != nil {
		return nil, err
	}
	if err := r.spend(1 + len(s)); err != nil {
		return nil, err
	}
	var out []any
	for _, m := range re.FindAllStringSubmatch(s, -1) {
		switch len(m) {
		case 1, 2:
			out = append(out, m[len(m)-1])
		default:
			row := make([]any, len(m)-1)
			for i, g := range m[1:] {
				row[i] = g
			}
			out = append(out, newTuple(row...))
		}
	}
	return newList(out), r.spend(len(out))
}
