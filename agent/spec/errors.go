package spec

import (
	"sort"
	"strconv"
	"strings"
)

// Error is one thing wrong with a host's variables. Path leads to it: keys,
// and decimal indexes into lists, from the variable's full name on.
type Error struct {
	Path    []string // ["gofleet_preconditions", "memory", "min"]
	Message string   // what is wrong, without the path
	Hint    string   // what to write instead; may be empty
}

// Error is the path and the message; the hint is printed by the command.
func (e *Error) Error() string {
	if len(e.Path) == 0 {
		return e.Message
	}
	return PathString(e.Path) + ": " + e.Message
}

// PathString is the form of a path that people read:
// gofleet_user.authorized_keys[1]. Odd keys are quoted.
func PathString(path []string) string {
	var b strings.Builder
	for i, p := range path {
		_, err := strconv.ParseUint(p, 10, 31)
		if q := strconv.Quote(p); q != `"`+p+`"` || p == "" || len(p) > 100 {
			p = quote(p)
		}
		switch {
		case i == 0:
			b.WriteString(p)
		case err == nil:
			b.WriteString("[" + p + "]")
		default:
			b.WriteString("." + p)
		}
	}
	return b.String()
}

// Errors is every error of one host, in the order of their paths.
type Errors []*Error

// Error is one line for each error, hints in parentheses.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, one := range e {
		lines[i] = one.Error()
		if one.Hint != "" {
			lines[i] += " (" + one.Hint + ")"
		}
	}
	return strings.Join(lines, "\n")
}

// Unwrap lets errors.As reach each *Error.
func (e Errors) Unwrap() []error {
	out := make([]error, len(e))
	for i, one := range e {
		out[i] = one
	}
	return out
}

func (e Errors) sort() {
	sort.SliceStable(e, func(i, j int) bool {
		a, b := e[i].Path, e[j].Path
		for k := 0; k < len(a) && k < len(b); k++ {
			if a[k] != b[k] {
				return lessKey(a[k], b[k])
			}
		}
		return len(a) < len(b)
	})
}

// lessKey orders indexes as numbers and everything else as text.
func lessKey(a, b string) bool {
	x, errX := strconv.Atoi(a)
	y, errY := strconv.Atoi(b)
	if errX == nil && errY == nil && x != y {
		return x < y
	}
	return a < b
}
