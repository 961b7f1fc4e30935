package spec

import (
	"fmt"
	"strconv"
	"strings"
)

// firstThreePart is the Go 1 release whose first version has three parts.
const firstThreePart = 21

// ParseGoVersion reads the name of one Go release, with or without "go" before
// it, and returns it without: 1.26.8, 1.20, 1.27rc1. The error's hint says what
// name is probably meant.
func ParseGoVersion(s string) (version, hint string, err error) {
	const example = `write the whole version, like "1.26.8"`
	v := strings.TrimPrefix(strings.TrimSpace(s), "go")
	bad := func(hint string) (string, string, error) {
		return "", hint, fmt.Errorf("%s is not the name of a Go release", quote(s))
	}
	rest, ok := strings.CutPrefix(v, "1.")
	if !ok {
		return bad(example)
	}
	minor, rest, ok := leadingNumber(rest)
	if !ok {
		return bad(example)
	}
	switch {
	case rest == "" && minor >= firstThreePart:
		return bad(fmt.Sprintf(`its first release is "1.%d.0"; "gofleet fetch 1.%d" gets the newest one and tells its name`, minor, minor))
	case rest == "":
		return v, "", nil
	}
	for _, pre := range []string{"rc", "beta"} {
		if n, ok := strings.CutPrefix(rest, pre); ok {
			if i, end, ok := leadingNumber(n); ok && end == "" && i > 0 {
				return v, "", nil
			}
			return bad(example)
		}
	}
	patch, ok := strings.CutPrefix(rest, ".")
	if !ok {
		return bad(example)
	}
	n, end, ok := leadingNumber(patch)
	switch {
	case !ok || end != "":
		return bad(example)
	case n == 0 && minor < firstThreePart:
		return bad(fmt.Sprintf(`before 1.21 the first release has two parts: "1.%d"`, minor))
	}
	return v, "", nil
}

// leadingNumber cuts a number of at most four digits, without leading zeros,
// off s.
func leadingNumber(s string) (n int, rest string, ok bool) {
	end := 0
	for end < len(s) && s[end] >= '0' && s[end] <= '9' {
		end++
	}
	if end == 0 || end > 4 || end > 1 && s[0] == '0' {
		return 0, s, false
	}
	n, _ = strconv.Atoi(s[:end])
	return n, s[end:], true
}

// goVersion reads gofleet_go_version.
func (n *node) goVersion() (string, bool) {
	s, ok := n.v.(string)
	if !ok {
		before := len(n.p.errs)
		n.numberForVersion(`"1.26.8"`)
		if _, hint, err := ParseGoVersion(n.raw()); err != nil && n.raw() != "" {
			n.p.errs[before].Hint += "; and " + hint // quoting alone would not do
		}
		return "", false
	}
	v, hint, err := ParseGoVersion(s)
	if err != nil {
		n.fail(hint, "%s", err)
		return "", false
	}
	return v, true
}

// numberForVersion reports a version that was written without quotes.
func (n *node) numberForVersion(example string) {
	f, ok := n.float()
	if !ok {
		if i, whole := n.whole(); whole {
			f, ok = strconv.FormatInt(i, 10), true
		}
	}
	raw := n.raw()
	switch {
	case !ok:
		n.fail("write it like "+example, "must be a version in quotes, not %s", kind(n.v))
	case raw != "" && raw != f:
		n.fail(`quote it: "`+clip(raw)+`"`, "%s was read as the number %s", clip(raw), f)
	case raw != "":
		n.fail(`quote it: "`+clip(raw)+`"`, "is a number; versions are text, since 1.20 would become 1.2")
	default:
		n.fail("quote it, like "+example, "was read as the number %s; versions are text, since 1.20 would become 1.2", f)
	}
}

// dotted reads a version of anything but Go: numbers between dots.
func (n *node) dotted(example string) (string, bool) {
	s, isText := n.v.(string)
	if !isText {
		if i, ok := n.whole(); ok && i >= 0 {
			return strconv.FormatInt(i, 10), true // 5 can only have been 5
		}
		n.numberForVersion(example)
		return "", false
	}
	s = strings.TrimSpace(s)
	if !isDotted(s) {
		n.fail("write it like "+example, "%s is not a version", quote(s))
		return "", false
	}
	return s, true
}

// isDotted reports whether s is one to six numbers between dots.
func isDotted(s string) bool {
	parts := strings.Split(s, ".")
	if len(parts) > 6 {
		return false
	}
	for _, p := range parts {
		if p == "" || len(p) > 9 || strings.Trim(p, "0123456789") != "" {
			return false
		}
	}
	return true
}

// CompareVersions compares dotted versions number by number and gives -1, 0
// or 1. Missing parts are zero; whatever follows the numbers ("-generic",
// "+deb12u1") is ignored.
func CompareVersions(a, b string) int {
	return compareParts(numbers(a), numbers(b), 16)
}

// numbers are the leading dotted numbers of s.
func numbers(s string) []int64 {
	var out []int64
	for {
		end := 0
		for end < len(s) && s[end] >= '0' && s[end] <= '9' {
			end++
		}
		if end == 0 {
			return out
		}
		n, err := strconv.ParseInt(s[:end], 10, 64)
		if err != nil {
			n = 1<<63 - 1
		}
		out = append(out, n)
		if end == len(s) || s[end] != '.' || len(out) == 16 {
			return out
		}
		s = s[end+1:]
	}
}

// compareParts compares at most the first n parts.
func compareParts(a, b []int64, n int) int {
	for i := range min(max(len(a), len(b)), n) {
		var x, y int64
		if i < len(a) {
			x = a[i]
		}
		if i < len(b) {
			y = b[i]
		}
		if x != y {
			if x < y {
				return -1
			}
			return 1
		}
	}
	return 0
}
