package spec

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// parser collects the errors of one Parse.
type parser struct {
	o    Options
	errs Errors
}

// node is a value and the way to it. The readers below report what is wrong
// and return false; the caller then leaves the default in place and goes on,
// so that every error is found at once.
type node struct {
	p    *parser
	path []string
	v    any
}

func (n *node) child(key string, v any) *node {
	return &node{p: n.p, path: append(slices.Clip(n.path), key), v: v}
}

// null reports whether n is null or was not given.
func (n *node) null() bool { return n == nil || n.v == nil }

// fail reports an error at n. The value itself is quoted by callers, and only
// where it cannot be a secret.
func (n *node) fail(hint, format string, args ...any) {
	n.p.errs = append(n.p.errs, &Error{Path: n.path, Message: fmt.Sprintf(format, args...), Hint: hint})
}

// raw is the scalar as the inventory wrote it, or "".
func (n *node) raw() string {
	if n.p.o.Raw == nil {
		return ""
	}
	return n.p.o.Raw(n.path...)
}

// kind names the type of a value as people who write YAML call it.
func kind(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case bool:
		return "a boolean (" + strconv.FormatBool(v) + ")"
	case string:
		return "text"
	case int, int64, uint64, json.Number:
		return fmt.Sprintf("a number (%v)", v)
	case float64:
		return "a number (" + strconv.FormatFloat(v, 'g', -1, 64) + ")"
	case []any:
		return "a list"
	case map[string]any:
		return "a dictionary"
	case fmt.Stringer: // big integers and dates
		return "a number or date (" + clip(v.String()) + ")"
	}
	return fmt.Sprintf("a %T", v)
}

// bareKind is kind without the value, for what may be a secret.
func bareKind(v any) string {
	name, _, _ := strings.Cut(kind(v), " (")
	return name
}

// clip keeps a quoted value short.
func clip(s string) string {
	if len(s) <= 60 {
		return s
	}
	cut := 57
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "..."
}

// quote is a value as it may stand in an error: short, and with nothing that
// could steer a terminal.
func quote(s string) string { return strconv.Quote(clip(s)) }

// dict reads a dictionary whose keys are all in known. The result has only
// the keys that are there; null values are kept, since null has a meaning.
func (n *node) dict(known []string, example string) (map[string]*node, bool) {
	m, ok := n.v.(map[string]any)
	if !ok {
		n.fail(example, "must be a dictionary, not %s", kind(n.v))
		return nil, false
	}
	out := make(map[string]*node, len(m))
	for k, v := range m {
		c := n.child(k, v)
		if slices.Contains(known, k) {
			out[k] = c
			continue
		}
		hint := "known here: " + strings.Join(known, ", ")
		if near := Nearest(strings.ToLower(k), known); near != "" {
			hint = "did you mean " + near + "?"
		}
		c.fail(hint, "unknown key %s", quote(k))
	}
	return out, true
}

// list reads a list. Leniently, text is a list with its parts between commas.
func (n *node) list(example string) ([]*node, bool) {
	if s, ok := n.v.(string); ok && n.p.o.Lenient {
		var out []*node
		for i, part := range strings.Split(s, ",") {
			if part = strings.TrimSpace(part); part != "" {
				out = append(out, n.child(strconv.Itoa(i), part))
			}
		}
		return out, true
	}
	l, ok := n.v.([]any)
	if !ok {
		n.fail(example, "must be a list, not %s", kind(n.v))
		return nil, false
	}
	out := make([]*node, len(l))
	for i, v := range l {
		out[i] = n.child(strconv.Itoa(i), v)
	}
	return out, true
}

// text reads a string that has a line's worth of printable text.
func (n *node) text(example string) (string, bool) {
	s, ok := n.v.(string)
	if !ok {
		n.fail(example, "must be text, not %s", kind(n.v))
		return "", false
	}
	return s, n.printable(s)
}

// printable reports an error and false for text with control characters, or
// that is not UTF-8 and so could not travel as JSON.
func (n *node) printable(s string) bool {
	if !utf8.ValidString(s) {
		n.fail("", "is not UTF-8")
		return false
	}
	if i := strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }); i >= 0 {
		n.fail("it must be one line", "has a control character (0x%02x)", s[i])
		return false
	}
	return true
}

// integer reads a whole number within low and high.
func (n *node) integer(low, high int64) (int64, bool) {
	i, ok := n.whole()
	if !ok {
		n.fail("", "must be a whole number, not %s", n.shown())
		return 0, false
	}
	if i < low || i > high {
		n.fail("", "is %d; it must be from %d to %d", i, low, high)
		return 0, false
	}
	return i, true
}

// shown is the kind of n, with the text itself if it is text.
func (n *node) shown() string {
	if s, ok := n.v.(string); ok {
		return quote(s)
	}
	return kind(n.v)
}

// whole converts the number types that inventories and JSON give. Leniently,
// digits in text and floats without a fraction are whole numbers too.
func (n *node) whole() (int64, bool) {
	switch v := n.v.(type) {
	case int:
		return int64(v), true
	case int64:
		return v, true
	case uint64:
		return int64(v), v <= math.MaxInt64
	case json.Number:
		i, err := v.Int64()
		return i, err == nil
	case float64:
		whole := n.p.o.Lenient && v == math.Trunc(v) && math.Abs(v) < 1<<53
		if !whole {
			return 0, false
		}
		return int64(v), true
	case string:
		if !n.p.o.Lenient {
			return 0, false
		}
		i, err := strconv.ParseInt(strings.TrimSpace(v), 10, 64)
		return i, err == nil
	}
	return 0, false
}

// float is the text of a value that YAML or JSON took for a float.
func (n *node) float() (string, bool) {
	switch v := n.v.(type) {
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64), true
	case json.Number:
		return v.String(), true
	}
	return "", false
}

// choice reads one of a few words.
func (n *node) choice(words ...string) (string, bool) {
	s, ok := n.v.(string)
	if ok && slices.Contains(words, strings.ToLower(strings.TrimSpace(s))) {
		return strings.ToLower(strings.TrimSpace(s)), true
	}
	hint := "write one of: " + strings.Join(words, ", ")
	if near := Nearest(strings.ToLower(s), words); near != "" {
		hint = "did you mean " + near + "?"
	}
	n.fail(hint, "must be one of %s, not %s", strings.Join(words, ", "), n.shown())
	return "", false
}

// templated reports the scalars below n that still hold a template. They are
// not shown: a secret may stand beside one.
func (n *node) templated() bool {
	found := false
	switch v := n.v.(type) {
	case string:
		if strings.Contains(v, "{{") || strings.Contains(v, "{%") {
			n.fail("write the value itself", "still holds a template ({{ or {%%), which was not evaluated")
			return true
		}
	case []any:
		for i, e := range v {
			found = n.child(strconv.Itoa(i), e).templated() || found
		}
	case map[string]any:
		for k, e := range v {
			found = n.child(k, e).templated() || found
		}
	}
	return found
}
