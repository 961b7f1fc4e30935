package packages

import "strings"

// A scheme is how a family of distributions writes and orders versions.
type scheme func(a, b string) int

// atLeast reports whether have is low or newer. A low without an epoch says
// nothing of epochs, which are no part of what programs call their version.
func (compare scheme) atLeast(have, low string) bool {
	if !strings.Contains(low, ":") {
		_, have = epoch(have)
	}
	return compare(have, low) >= 0
}

// epoch takes a version apart: 1:2.30-1 has epoch 1.
func epoch(v string) (number, rest string) {
	if i := strings.IndexByte(v, ':'); i >= 0 {
		return v[:i], v[i+1:]
	}
	return "", v
}

// compareDebian orders versions as dpkg does.
func compareDebian(a, b string) int {
	ea, a := epoch(a)
	eb, b := epoch(b)
	if c := compareDigits(ea, eb); c != 0 {
		return c
	}
	ua, ra := revision(a)
	ub, rb := revision(b)
	if c := compareText(ua, ub); c != 0 {
		return c
	}
	return compareText(ra, rb)
}

// revision takes off what stands behind the last hyphen.
func revision(v string) (upstream, rev string) {
	if i := strings.LastIndexByte(v, '-'); i >= 0 {
		return v[:i], v[i+1:]
	}
	return v, ""
}

// compareText compares runs of other characters and of digits in turn. A tilde
// comes before everything, the end too; letters come before what is no letter.
func compareText(a, b string) int {
	for a != "" || b != "" {
		for a != "" && !digit(a[0]) || b != "" && !digit(b[0]) {
			if c := order(a) - order(b); c != 0 {
				return c
			}
			a, b = a[min(1, len(a)):], b[min(1, len(b)):]
		}
		na, nb := digits(a), digits(b)
		if c := compareDigits(a[:na], b[:nb]); c != 0 {
			return c
		}
		a, b = a[na:], b[nb:]
	}
	return 0
}

// order is the weight of the first character of s.
func order(s string) int {
	switch {
	case s == "" || digit(s[0]):
		return 0
	case s[0] == '~':
		return -1
	case letter(s[0]):
		return int(s[0])
	}
	return int(s[0]) + 256
}

// compareRPM orders versions as rpm does: runs of digits and of letters count,
// and what stands between them does not. A tilde comes before the end, a caret
// behind it.
func compareRPM(a, b string) int {
	ea, a := epoch(a)
	eb, b := epoch(b)
	if c := compareDigits(ea, eb); c != 0 {
		return c
	}
	va, ra := revision(a)
	vb, rb := revision(b)
	c := compareSegments(va, vb)
	if c != 0 || ra == "" || rb == "" {
		return c
	}
	return compareSegments(ra, rb)
}

func compareSegments(a, b string) int {
	for {
		a, b = strings.TrimLeftFunc(a, between), strings.TrimLeftFunc(b, between)
		switch {
		case begins(a, '~') && begins(b, '~'), begins(a, '^') && begins(b, '^'):
			a, b = a[1:], b[1:]
			continue
		case begins(a, '~'):
			return -1
		case begins(b, '~'):
			return 1
		case begins(a, '^'):
			return caret(b)
		case begins(b, '^'):
			return -caret(a)
		case a == "" || b == "":
			return len(a) - len(b)
		}
		same := digits
		if !digit(a[0]) {
			same = letters
		}
		na, nb := same(a), same(b)
		switch c := compareDigits(a[:na], b[:nb]); {
		case nb == 0 && digit(a[0]): // digits are newer than letters
			return 1
		case nb == 0:
			return -1
		case digit(a[0]) && c != 0:
			return c
		case !digit(a[0]) && a[:na] != b[:nb]:
			return strings.Compare(a[:na], b[:nb])
		}
		a, b = a[na:], b[nb:]
	}
}

// caret says how a version with a caret compares to rest.
func caret(rest string) int {
	if rest == "" {
		return 1
	}
	return -1
}

func begins(s string, c byte) bool { return s != "" && s[0] == c }

func between(r rune) bool {
	return r != '~' && r != '^' && (r > 'z' || !digit(byte(r)) && !letter(byte(r)))
}

// compareDigits compares numbers of any length.
func compareDigits(a, b string) int {
	a, b = strings.TrimLeft(a, "0"), strings.TrimLeft(b, "0")
	if len(a) != len(b) {
		return len(a) - len(b)
	}
	return strings.Compare(a, b)
}

func digits(s string) int  { return run(s, digit) }
func letters(s string) int { return run(s, letter) }

// run is the length of what s begins with.
func run(s string, of func(byte) bool) int {
	n := 0
	for n < len(s) && of(s[n]) {
		n++
	}
	return n
}

func digit(c byte) bool  { return c >= '0' && c <= '9' }
func letter(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }
