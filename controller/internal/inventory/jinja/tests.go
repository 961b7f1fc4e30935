package jinja

import (
	"errors"
	"fmt"
	"math/big"
	"strconv"
	"strings"
)

// typeTest makes a test of a value's type.
func typeTest(f func(v any) bool) pluginFunc {
	return func(_ *Run, v any, _ *args) (any, error) { return f(v), nil }
}

// comparing makes a test of an operator.
func comparing(op string) pluginFunc {
	return func(r *Run, v any, a *args) (any, error) {
		in, err := a.take("the test", "other!")
		if err != nil {
			return nil, err
		}
		v, err = r.need(v)
		if err != nil {
			return nil, err
		}
		return r.compare(op, v, in[0])
	}
}

func isMapping(v any) bool {
	switch v.(type) {
	case *Dict, Object:
		return true
	}
	return false
}

// allTests are those of Jinja2 and ansible.builtin that gofleet has.
func allTests() map[string]pluginFunc {
	t := map[string]pluginFunc{
		"defined":   typeTest(func(v any) bool { _, no := v.(*Undefined); return !no }),
		"undefined": typeTest(func(v any) bool { _, yes := v.(*Undefined); return yes }),
		"none":      typeTest(func(v any) bool { return v == nil }),
		"boolean":   typeTest(func(v any) bool { _, ok := v.(bool); return ok }),
		"true":      typeTest(func(v any) bool { return v == true }),
		"false":     typeTest(func(v any) bool { return v == false }),
		"string":    typeTest(func(v any) bool { _, ok := v.(string); return ok }),
		"integer": typeTest(func(v any) bool {
			_, is64 := v.(int64)
			_, isBig := v.(*big.Int)
			return is64 || isBig
		}),
		"float":   typeTest(func(v any) bool { _, ok := v.(float64); return ok }),
		"number":  typeTest(func(v any) bool { _, ok := floatOf(v); return ok }),
		"mapping": typeTest(isMapping),
		"sequence": typeTest(func(v any) bool {
			_, isText := v.(string)
			_, isList := v.(*List)
			return isText || isList || isMapping(v)
		}),
		"iterable": typeTest(func(v any) bool {
			_, isText := v.(string)
			_, isList := v.(*List)
			return isText || isList || isMapping(v)
		}),
		"callable": typeTest(func(v any) bool { _, ok := v.(*function); return ok }),
		"upper":    typeTest(func(v any) bool { s, ok := v.(string); return ok && isUpper(s) }),
		"lower":    typeTest(func(v any) bool { s, ok := v.(string); return ok && isLower(s) }),
		"even":     divisible(2, 0), "odd": divisible(2, 1), "divisibleby": divisibleBy,
		"in": func(r *Run, v any, a *args) (any, error) {
			in, err := a.take("in", "seq!")
			if err != nil {
				return nil, err
			}
			return r.contains(in[0], v)
		},
		"contains": func(r *Run, v any, a *args) (any, error) {
			in, err := a.take("contains", "value!")
			if err != nil {
				return nil, err
			}
			return r.contains(v, in[0])
		},
		"match": matching(`^(?:`), "search": matching(`(?:`), "regex": regexTest, "version": versionTest,
		"truthy": func(r *Run, v any, _ *args) (any, error) { return r.truth(v) },
		"falsy": func(r *Run, v any, _ *args) (any, error) {
			yes, err := r.truth(v)
			return !yes, err
		},
		"subset": subset(false), "superset": subset(true),
		"any": quantified(false), "all": quantified(true),
		"abs": typeTest(func(v any) bool { s, ok := v.(string); return ok && strings.HasPrefix(s, "/") }),
	}
	for op, names := range map[string]string{"==": "== eq equalto", "!=": "!= ne", "<": "< lt lessthan", "<=": "<= le", ">": "> gt greaterthan", ">=": ">= ge"} {
		for n := range strings.FieldsSeq(names) {
			t[n] = comparing(op)
		}
	}
	t["version_compare"], t["issubset"], t["issuperset"] = t["version"], t["subset"], t["superset"]
	return t
}

func divisible(by, rest int64) pluginFunc {
	return func(r *Run, v any, _ *args) (any, error) {
		m, err := r.arithmetic("%", v, by)
		if err != nil {
			return nil, err
		}
		return r.equal(m, rest)
	}
}

func divisibleBy(r *Run, v any, a *args) (any, error) {
	in, err := a.take("divisibleby", "num!")
	if err != nil {
		return nil, err
	}
	m, err := r.arithmetic("%", v, in[0])
	if err != nil {
		return nil, err
	}
	return r.equal(m, int64(0))
}

// matching is the tests match and search.
func matching(begin string) pluginFunc {
	return func(r *Run, v any, a *args) (any, error) {
		in, err := a.take("the test", "pattern!", "ignorecase", "multiline")
		if err != nil {
			return nil, err
		}
		return r.matches(v, begin, in[0], in[1], in[2])
	}
}

func (r *Run) matches(v any, begin string, pattern, ignoreCase, multiline any) (any, error) {
	s, err := r.Str(v)
	if err != nil {
		return nil, err
	}
	p, err := r.Str(pattern)
	if err != nil {
		return nil, err
	}
	if _, err := r.compile(p, nil, nil); err != nil {
		return nil, err // with the expression as it is written
	}
	if begin == `^(?:` {
		begin = `\A(?:`
	}
	re, err := r.compile(begin+p+")", ignoreCase, multiline)
	if err != nil {
		return nil, err
	}
	return re.MatchString(s), r.spend(1 + len(s))
}

func regexTest(r *Run, v any, a *args) (any, error) {
	in, err := a.take("regex", "pattern!", "ignorecase", "multiline", "match_type")
	if err != nil {
		return nil, err
	}
	begin, end := `(?:`, ""
	switch in[3] {
	case nil, "search":
	case "match":
		begin = `^(?:`
	case "fullmatch":
		begin, end = `^(?:`, `\z`
	default:
		return nil, errors.New("match_type is search, match or fullmatch")
	}
	p, err := r.Str(in[0])
	if err != nil {
		return nil, err
	}
	if end != "" {
		p = "(?:" + p + ")" + end
	}
	return r.matches(v, begin, p, in[1], in[2])
}

func subset(super bool) pluginFunc {
	return func(r *Run, v any, a *args) (any, error) {
		in, err := a.take("subset and superset", "b!")
		if err != nil {
			return nil, err
		}
		small, large := v, in[0]
		if super {
			small, large = large, small
		}
		s, err := r.setOf(small)
		if err != nil {
			return nil, err
		}
		l, err := r.setOf(large)
		if err != nil {
			return nil, err
		}
		for _, item := range s.items {
			if ok, err := l.has(item); err != nil || !ok {
				return false, err
			}
		}
		return true, nil
	}
}

func quantified(all bool) pluginFunc {
	return func(r *Run, v any, _ *args) (any, error) {
		items, err := r.iterate(v)
		if err != nil {
			return nil, err
		}
		for _, item := range items {
			yes, err := r.truth(item)
			if err != nil {
				return nil, err
			}
			if yes != all {
				return !all, nil
			}
		}
		return all, nil
	}
}

// versionTest compares versions loosely: numbers as numbers, the rest as text.
func versionTest(r *Run, v any, a *args) (any, error) {
	in, err := a.take("version", "version!", "operator", "strict", "version_type")
	if err != nil {
		return nil, err
	}
	var text [2]string
	for i, x := range []any{v, in[0]} {
		if text[i], err = r.Str(x); err != nil {
			return nil, err
		}
		if text[i] == "" {
			return nil, errors.New("a version is empty")
		}
	}
	if in[3] != nil && in[3] != "loose" && in[3] != "strict" && in[3] != "semver" && in[3] != "semantic" && in[3] != "pep440" {
		return nil, fmt.Errorf("the type of version %v is not known", in[3])
	}
	c, err := r.order(looseVersion(text[0]), looseVersion(text[1]))
	if err != nil {
		return nil, err
	}
	op := "eq"
	if s, ok := in[1].(string); ok {
		op = s
	}
	switch op {
	case "==", "=", "eq":
		return c == 0, nil
	case "!=", "<>", "ne":
		return c != 0, nil
	case "<", "lt":
		return c < 0, nil
	case "<=", "le":
		return c <= 0, nil
	case ">", "gt":
		return c > 0, nil
	case ">=", "ge":
		return c >= 0, nil
	}
	return nil, fmt.Errorf("the operator %s is not known", strconv.Quote(op))
}

// looseVersion splits a version at dots and where digits and letters meet.
func looseVersion(s string) *List {
	var parts []any
	for s != "" {
		n := digitsIn(s, "0123456789")
		if n > 0 {
			x, _ := new(big.Int).SetString(s[:n], 10)
			parts, s = append(parts, small(x)), s[n:]
			continue
		}
		n = digitsIn(s, "abcdefghijklmnopqrstuvwxyz")
		if n == 0 {
			n = strings.IndexAny(s, "0123456789abcdefghijklmnopqrstuvwxyz.")
			switch {
			case n < 0:
				n = len(s)
			case n == 0: // a dot
				s = s[1:]
				continue
			}
		}
		parts, s = append(parts, s[:n]), s[n:]
	}
	return newList(parts)
}
