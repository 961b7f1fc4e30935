package jinja

import (
	"errors"
	"fmt"
	"path"
	"strings"
	"unicode"
)

// textFilter makes a filter of a function of text without arguments.
func textFilter(f func(string) string) pluginFunc {
	return func(r *Run, v any, a *args) (any, error) {
		if _, err := a.take("the filter"); err != nil {
			return nil, err
		}
		s, err := r.Str(v)
		if err != nil {
			return nil, err
		}
		s = f(s)
		return s, r.text(len(s))
	}
}

// upper is Python's, for which the capital of ß is SS.
func upper(s string) string { return strings.ToUpper(strings.ReplaceAll(s, "ß", "SS")) }

func capitalize(s string) string {
	rs := []rune(strings.ToLower(s))
	if len(rs) > 0 {
		rs[0] = unicode.ToTitle(rs[0])
	}
	return string(rs)
}

// titleFilter is Jinja2's title: a new word after space, -, ( and the like.
func titleFilter(s string) string {
	start := true
	return strings.Map(func(c rune) rune {
		was := start
		start = unicode.IsSpace(c) || strings.ContainsRune("-({[<", c)
		if was {
			return unicode.ToTitle(c)
		}
		return unicode.ToLower(c)
	}, s)
}

// dirname is Python's os.path.dirname.
func dirname(s string) string {
	head := s[:strings.LastIndexByte(s, '/')+1]
	if strings.Trim(head, "/") != "" {
		head = strings.TrimRight(head, "/")
	}
	return head
}

func trimFilter(r *Run, v any, a *args) (any, error) {
	in, err := a.take("trim", "chars")
	if err != nil {
		return nil, err
	}
	s, err := r.Str(v)
	if err != nil {
		return nil, err
	}
	if chars, ok := in[0].(string); ok {
		return strings.Trim(s, chars), nil
	}
	return strings.TrimSpace(s), nil
}

func replaceFilter(r *Run, v any, a *args) (any, error) {
	in, err := a.take("replace", "old!", "new!", "count")
	if err != nil {
		return nil, err
	}
	var text [3]string
	for i, x := range []any{v, in[0], in[1]} {
		if text[i], err = r.Str(x); err != nil {
			return nil, err
		}
	}
	n := -1
	if c, ok := in[2].(int64); ok {
		n = int(c)
	}
	return r.replaceText(text[0], text[1], text[2], n)
}

func (r *Run) replaceText(s, old, with string, n int) (any, error) {
	count := strings.Count(s, old)
	if n >= 0 {
		count = min(count, n)
	}
	if err := r.text(len(s) + count*len(with)); err != nil {
		return nil, err
	}
	return strings.Replace(s, old, with, n), nil
}

func splitFilter(r *Run, v any, a *args) (any, error) {
	s, ok := v.(string)
	if !ok {
		return nil, fmt.Errorf("%s can't be split", typeName(v))
	}
	return splitMethod(r, s, a, false)
}

func joinFilter(r *Run, v any, a *args) (any, error) {
	in, err := a.take("join", "d", "attribute")
	if err != nil {
		return nil, err
	}
	sep := ""
	if in[0] != nil {
		if sep, err = r.Str(in[0]); err != nil {
			return nil, err
		}
	}
	items, err := r.iterate(v)
	if err != nil {
		return nil, err
	}
	texts := make([]string, len(items))
	n := 0
	for i, item := range items {
		if item, err = r.attributeOf(item, in[1]); err != nil {
			return nil, err
		}
		if texts[i], err = r.Str(item); err != nil {
			return nil, err
		}
		n += len(texts[i]) + len(sep)
	}
	if err := r.text(n); err != nil {
		return nil, err
	}
	return strings.Join(texts, sep), nil
}

func formatFilter(r *Run, v any, a *args) (any, error) {
	s, ok := v.(string)
	if !ok {
		return nil, fmt.Errorf("%s is no format", typeName(v))
	}
	if len(a.named) > 0 {
		d, err := dictOf(r, &args{named: a.named})
		if err != nil {
			return nil, err
		}
		return r.percent(s, d)
	}
	return r.percent(s, newTuple(a.pos...))
}

func splitext(r *Run, v any, _ *args) (any, error) {
	s, err := r.Str(v)
	if err != nil {
		return nil, err
	}
	name := s[strings.LastIndexByte(s, '/')+1:]
	dot := strings.LastIndexByte(strings.TrimLeft(name, "."), '.')
	if dot < 0 {
		return newTuple(s, ""), nil
	}
	cut := len(s) - len(strings.TrimLeft(name, ".")) + dot
	return newTuple(s[:cut], s[cut:]), nil
}

func pathJoin(r *Run, v any, _ *args) (any, error) {
	items := []any{v}
	if _, ok := v.(string); !ok {
		var err error
		if items, err = r.iterate(v); err != nil {
			return nil, err
		}
	}
	out := ""
	for _, item := range items {
		s, err := r.Str(item)
		if err != nil {
			return nil, err
		}
		switch {
		case path.IsAbs(s), out == "":
			out = s
		case strings.HasSuffix(out, "/"):
			out += s
		default:
			out += "/" + s
		}
	}
	return out, r.text(len(out))
}

func indentFilter(r *Run, v any, a *args) (any, error) {
	in, err := a.take("indent", "width", "first", "blank")
	if err != nil {
		return nil, err
	}
	s, err := r.Str(v)
	if err != nil {
		return nil, err
	}
	pad := "    "
	switch w := in[0].(type) {
	case int64:
		if w < 0 || w > 1000 {
			return nil, errors.New("an indent is at most 1000 wide")
		}
		pad = strings.Repeat(" ", int(w))
	case string:
		pad = w
	}
	var flags [2]bool
	for i, f := range in[1:] {
		if f != nil {
			if flags[i], err = r.truth(f); err != nil {
				return nil, err
			}
		}
	}
	lines := strings.Split(s, "\n")
	if err := r.text(len(s) + len(lines)*len(pad)); err != nil {
		return nil, err
	}
	for i, line := range lines {
		if (i > 0 || flags[0]) && (line != "" || flags[1]) {
			lines[i] = pad + line
		}
	}
	return strings.Join(lines, "\n"), nil
}
