package jinja

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
)

type stringFunc = func(r *Run, s string, a *args) (any, error)

// plain makes a method without arguments.
func plain(f func(s string) any) stringFunc {
	return func(r *Run, s string, a *args) (any, error) {
		if len(a.pos)+len(a.named) > 0 {
			return nil, errors.New("the method takes no arguments")
		}
		return f(s), r.text(len(s))
	}
}

func stringMethod(name string) (stringFunc, bool) {
	switch name {
	case "upper":
		return plain(func(s string) any { return upper(s) }), true
	case "lower", "casefold":
		return plain(func(s string) any { return strings.ToLower(s) }), true
	case "capitalize":
		return plain(func(s string) any { return capitalize(s) }), true
	case "title":
		return plain(func(s string) any { return titleMethod(s) }), true
	case "swapcase":
		return plain(func(s string) any { return strings.Map(swapCase, s) }), true
	case "isdigit", "isnumeric", "isdecimal":
		return plain(func(s string) any { return every(s, unicode.IsDigit) }), true
	case "isalpha":
		return plain(func(s string) any { return every(s, unicode.IsLetter) }), true
	case "isalnum":
		return plain(func(s string) any {
			return every(s, func(c rune) bool { return unicode.IsLetter(c) || unicode.IsDigit(c) })
		}), true
	case "isspace":
		return plain(func(s string) any { return every(s, unicode.IsSpace) }), true
	case "isupper":
		return plain(func(s string) any { return isUpper(s) }), true
	case "islower":
		return plain(func(s string) any { return isLower(s) }), true
	case "strip":
		return stripMethod(strings.TrimFunc), true
	case "lstrip":
		return stripMethod(strings.TrimLeftFunc), true
	case "rstrip":
		return stripMethod(strings.TrimRightFunc), true
	case "split":
		return func(r *Run, s string, a *args) (any, error) { return splitMethod(r, s, a, false) }, true
	case "rsplit":
		return func(r *Run, s string, a *args) (any, error) { return splitMethod(r, s, a, true) }, true
	case "splitlines":
		return splitLines, true
	case "startswith":
		return affix(strings.HasPrefix), true
	case "endswith":
		return affix(strings.HasSuffix), true
	case "removeprefix":
		return remove(strings.TrimPrefix), true
	case "removesuffix":
		return remove(strings.TrimSuffix), true
	case "replace":
		return replaceMethod, true
	case "join":
		return func(r *Run, s string, a *args) (any, error) {
			in, err := a.take("join", "iterable!")
			if err != nil {
				return nil, err
			}
			return joinFilter(r, in[0], &args{pos: []any{s}})
		}, true
	case "format":
		return formatMethod, true
	case "find", "index", "rfind", "rindex", "count":
		return searchMethod(name), true
	case "zfill", "ljust", "rjust", "center":
		return padMethod(name), true
	case "partition", "rpartition":
		return partition(name == "rpartition"), true
	}
	return nil, false
}

func every(s string, f func(rune) bool) bool {
	return s != "" && strings.IndexFunc(s, func(c rune) bool { return !f(c) }) < 0
}

func isUpper(s string) bool {
	return upper(s) == s && strings.IndexFunc(s, unicode.IsUpper) >= 0
}

func isLower(s string) bool {
	return strings.ToLower(s) == s && strings.IndexFunc(s, unicode.IsLower) >= 0
}

func swapCase(c rune) rune {
	if unicode.IsUpper(c) {
		return unicode.ToLower(c)
	}
	return unicode.ToUpper(c)
}

func titleMethod(s string) string {
	inWord := false
	return strings.Map(func(c rune) rune {
		was := inWord
		if inWord = unicode.IsLetter(c); was {
			return unicode.ToLower(c)
		}
		return unicode.ToTitle(c)
	}, s)
}

func stripMethod(trim func(string, func(rune) bool) string) stringFunc {
	return func(_ *Run, s string, a *args) (any, error) {
		in, err := a.take("strip", "chars")
		if err != nil {
			return nil, err
		}
		if chars, ok := in[0].(string); ok {
			return trim(s, func(c rune) bool { return strings.ContainsRune(chars, c) }), nil
		}
		return trim(s, unicode.IsSpace), nil
	}
}

func splitMethod(r *Run, s string, a *args, right bool) (any, error) {
	in, err := a.take("split", "sep", "maxsplit")
	if err != nil {
		return nil, err
	}
	limit := -1
	if n, ok := in[1].(int64); ok && n >= 0 {
		limit = int(min(n, maxSteps))
	}
	var parts []string
	switch sep := in[0].(type) {
	case nil:
		parts = splitSpace(s, limit, right)
	case string:
		if sep == "" {
			return nil, errors.New("the separator is empty")
		}
		parts = strings.Split(s, sep)
		if over := len(parts) - 1 - limit; limit >= 0 && over > 0 {
			if right {
				parts = append([]string{strings.Join(parts[:over+1], sep)}, parts[over+1:]...)
			} else {
				parts = append(parts[:limit:limit], strings.Join(parts[limit:], sep))
			}
		}
	default:
		return nil, fmt.Errorf("a separator is text, and this is %s", typeName(sep))
	}
	items := make([]any, len(parts))
	for i, p := range parts {
		items[i] = p
	}
	return newList(items), r.spend(len(items))
}

// splitSpace splits at white space, at most limit times if that is not -1.
func splitSpace(s string, limit int, right bool) []string {
	if limit < 0 {
		return strings.Fields(s)
	}
	var parts []string
	s = strings.TrimSpace(s)
	for s != "" {
		i := strings.IndexFunc(s, unicode.IsSpace)
		if right {
			i = strings.LastIndexFunc(s, unicode.IsSpace)
		}
		if len(parts) == limit || i < 0 {
			parts = append(parts, s)
			break
		}
		if right {
			parts = append(parts, strings.TrimLeftFunc(s[i:], unicode.IsSpace))
			s = strings.TrimRightFunc(s[:i], unicode.IsSpace)
		} else {
			parts = append(parts, s[:i])
			s = strings.TrimLeftFunc(s[i:], unicode.IsSpace)
		}
	}
	if right {
		slices.Reverse(parts)
	}
	return parts
}

func splitLines(r *Run, s string, _ *args) (any, error) {
	var items []any
	for line := range strings.Lines(strings.ReplaceAll(s, "\r\n", "\n")) {
		items = append(items, strings.TrimSuffix(line, "\n"))
	}
	return newList(items), r.spend(len(items))
}

func affix(has func(s, x string) bool) stringFunc {
	return func(r *Run, s string, a *args) (any, error) {
		in, err := a.take("the method", "prefix!")
		if err != nil {
			return nil, err
		}
		options := []any{in[0]}
		if l, ok := in[0].(*List); ok {
			options = l.Items
		}
		for _, o := range options {
			x, err := r.need(o)
			if err != nil {
				return nil, err
			}
			text, ok := x.(string)
			if !ok {
				return nil, fmt.Errorf("text can't begin or end with %s", typeName(x))
			}
			if has(s, text) {
				return true, nil
			}
		}
		return false, nil
	}
}

func remove(trim func(s, x string) string) stringFunc {
	return func(_ *Run, s string, a *args) (any, error) {
		in, err := a.take("the method", "affix!")
		if err != nil {
			return nil, err
		}
		x, ok := in[0].(string)
		if !ok {
			return nil, fmt.Errorf("text can't begin or end with %s", typeName(in[0]))
		}
		return trim(s, x), nil
	}
}

func replaceMethod(r *Run, s string, a *args) (any, error) {
	in, err := a.take("replace", "old!", "new!", "count")
	if err != nil {
		return nil, err
	}
	old, ok := in[0].(string)
	with, ok2 := in[1].(string)
	if !ok || !ok2 {
		return nil, errors.New("text can only be replaced by text")
	}
	n := -1
	if c, ok := in[2].(int64); ok {
		n = int(c)
	}
	return r.replaceText(s, old, with, n)
}

func searchMethod(name string) stringFunc {
	return func(_ *Run, s string, a *args) (any, error) {
		in, err := a.take(name, "sub!")
		if err != nil {
			return nil, err
		}
		sub, ok := in[0].(string)
		if !ok {
			return nil, fmt.Errorf("text can't contain %s", typeName(in[0]))
		}
		if name == "count" {
			return int64(strings.Count(s, sub)), nil
		}
		i := strings.Index(s, sub)
		if name[0] == 'r' {
			i = strings.LastIndex(s, sub)
		}
		switch {
		case i >= 0:
			return int64(len([]rune(s[:i]))), nil
		case strings.HasSuffix(name, "index"):
			return nil, errors.New("the text is not in it")
		}
		return int64(-1), nil
	}
}

func padMethod(name string) stringFunc {
	return func(r *Run, s string, a *args) (any, error) {
		in, err := a.take(name, "width!", "fillchar")
		if err != nil {
			return nil, err
		}
		width, ok := in[0].(int64)
		if !ok {
			return nil, errors.New("a width is an integer")
		}
		fill := " "
		if f, ok := in[1].(string); ok {
			fill = f
		}
		n := width - int64(len([]rune(s)))
		if n <= 0 {
			return s, nil
		}
		if n > maxBytes {
			return nil, r.text(maxBytes + 1)
		}
		if err := r.text(len(s) + int(n)*len(fill)); err != nil {
			return nil, err
		}
		left := 0
		switch name {
		case "zfill":
			sign := ""
			if s != "" && (s[0] == '-' || s[0] == '+') {
				sign, s = s[:1], s[1:]
			}
			return sign + strings.Repeat("0", int(n)) + s, nil
		case "rjust":
			left = int(n)
		case "center":
			left = int(n/2 + n&width&1)
		}
		return strings.Repeat(fill, left) + s + strings.Repeat(fill, int(n)-left), nil
	}
}

func partition(right bool) stringFunc {
	return func(_ *Run, s string, a *args) (any, error) {
		in, err := a.take("partition", "sep!")
		if err != nil {
			return nil, err
		}
		sep, ok := in[0].(string)
		if !ok || sep == "" {
			return nil, errors.New("a separator is text that is not empty")
		}
		i := strings.Index(s, sep)
		if right {
			i = strings.LastIndex(s, sep)
		}
		switch {
		case i >= 0:
			return newTuple(s[:i], sep, s[i+len(sep):]), nil
		case right:
			return newTuple("", "", s), nil
		}
		return newTuple(s, "", ""), nil
	}
}
