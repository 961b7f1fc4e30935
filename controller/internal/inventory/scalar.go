package inventory

import (
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
)

// resolvePlain gives a plain scalar the meaning that PyYAML 6 gives it: YAML
// 1.1, where yes is true, 0644 is 420, 1:30 is 90 and 1e3 is a string.
func resolvePlain(s string) (any, error) {
	if s == "" {
		return nil, nil
	}
	switch c := s[0]; {
	case c >= '0' && c <= '9', c == '-', c == '+', c == '.':
		return resolveNumber(s)
	}
	switch s {
	case "~", "null", "Null", "NULL":
		return nil, nil
	case "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON":
		return true, nil
	case "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF":
		return false, nil
	case "=", "<<":
		return nil, fmt.Errorf("a bare %s means something else in YAML 1.1", s)
	}
	return s, nil
}

// resolveNumber is resolvePlain for what begins like a number.
func resolveNumber(s string) (any, error) {
	switch {
	case isFloat(s):
		return parseFloat(s)
	case isInt(s):
		return parseInt(s)
	}
	if f, ok := timestampFields(s); ok {
		return parseTimestamp(f)
	}
	return s, nil
}

// cutSign removes one sign.
func cutSign(s string) string {
	if s != "" && (s[0] == '-' || s[0] == '+') {
		return s[1:]
	}
	return s
}

// spanOf counts the leading bytes of s that are in set.
func spanOf(s, set string) int {
	for i := range len(s) {
		if strings.IndexByte(set, s[i]) < 0 {
			return i
		}
	}
	return len(s)
}

const (
	digits      = "0123456789"
	digitsUnder = "0123456789_"
)

// isInt is PyYAML's rule for integers: binary, octal, decimal, hexadecimal
// and sexagesimal, with underscores.
func isInt(s string) bool {
	s = cutSign(s)
	switch {
	case s == "0":
		return true
	case strings.HasPrefix(s, "0b"):
		return len(s) > 2 && spanOf(s[2:], "01_") == len(s)-2
	case strings.HasPrefix(s, "0x"):
		return len(s) > 2 && spanOf(s[2:], "0123456789abcdefABCDEF_") == len(s)-2
	case s == "" || s[0] < '0' || s[0] > '9':
		return false
	case s[0] == '0':
		return spanOf(s, "01234567_") == len(s)
	}
	n := spanOf(s, digitsUnder)
	return n == len(s) || isSixties(s[n:])
}

// isSixties matches (:[0-5]?[0-9])+.
func isSixties(s string) bool {
	if s == "" {
		return false
	}
	for s != "" {
		if s[0] != ':' {
			return false
		}
		s = s[1:]
		n := min(spanOf(s, digits), 3)
		if n == 0 || n > 2 || n == 2 && s[0] > '5' {
			return false
		}
		s = s[n:]
	}
	return true
}

// isFloat is PyYAML's rule for floats: a point is needed, and an exponent
// needs its sign.
func isFloat(s string) bool {
	switch s {
	case ".nan", ".NaN", ".NAN":
		return true
	}
	t := cutSign(s)
	switch t {
	case ".inf", ".Inf", ".INF":
		return true
	case "":
		return false
	}
	if t[0] == '.' { // \.[0-9][0-9_]*exponent, without a sign
		n := spanOf(t[1:], digitsUnder)
		return t == s && n > 0 && t[1] != '_' && isExponent(t[1+n:])
	}
	if t[0] < '0' || t[0] > '9' {
		return false
	}
	whole, rest, ok := strings.Cut(t, ".")
	if !ok {
		return false
	}
	n := spanOf(whole, digitsUnder)
	frac := spanOf(rest, digitsUnder)
	if n < len(whole) {
		return isSixties(whole[n:]) && frac == len(rest)
	}
	return isExponent(rest[frac:])
}

// isExponent matches ([eE][-+][0-9]+)?.
func isExponent(s string) bool {
	if s == "" {
		return true
	}
	if len(s) < 3 || s[0] != 'e' && s[0] != 'E' || s[1] != '-' && s[1] != '+' {
		return false
	}
	return spanOf(s[2:], digits) == len(s)-2
}

// parseInt reads what isInt accepts, and what !!int is put before. The result
// is an int64, or a *big.Int where that is too small.
func parseInt(s string) (any, error) {
	t := strings.ReplaceAll(s, "_", "")
	negative := strings.HasPrefix(t, "-")
	t = cutSign(t)
	n, ok := new(big.Int), true
	switch {
	case t == "0":
	case strings.HasPrefix(t, "0b"):
		n, ok = n.SetString(t[2:], 2)
	case strings.HasPrefix(t, "0x"):
		n, ok = n.SetString(t[2:], 16)
	case strings.HasPrefix(t, "0"):
		n, ok = n.SetString(t, 8)
	case strings.Contains(t, ":"):
		n, ok = parseSixties(t)
	default:
		if i, err := strconv.ParseInt(t, 10, 64); err == nil {
			if negative {
				i = -i
			}
			return i, nil
		}
		n, ok = n.SetString(t, 10)
	}
	if !ok || t == "" || strings.ContainsAny(t, "+-") {
		return nil, fmt.Errorf("%q is not an integer", s)
	}
	if negative {
		n.Neg(n)
	}
	if n.IsInt64() {
		return n.Int64(), nil
	}
	return n, nil
}

// parseSixties reads 190:20:30 in base 60.
func parseSixties(s string) (*big.Int, bool) {
	total := new(big.Int)
	for part := range strings.SplitSeq(s, ":") {
		n, ok := new(big.Int).SetString(part, 10)
		if !ok {
			return nil, false
		}
		total.Add(total.Mul(total, big.NewInt(60)), n)
	}
	return total, true
}

// parseFloat reads what isFloat accepts, and what !!float is put before.
func parseFloat(s string) (any, error) {
	t := strings.ToLower(strings.ReplaceAll(s, "_", ""))
	sign := 1.0
	if strings.HasPrefix(t, "-") {
		sign = -1
	}
	t = cutSign(t)
	switch t {
	case ".inf":
		return sign * math.Inf(1), nil
	case ".nan":
		return math.NaN(), nil
	}
	// PyYAML multiplies from the lowest digit up, which decides the rounding.
	parts := strings.Split(t, ":")
	total, base := 0.0, 1.0
	for i := len(parts) - 1; i >= 0; i-- {
		f, err := strconv.ParseFloat(parts[i], 64)
		if err != nil && !math.IsInf(f, 0) || spanOf(parts[i], "0123456789.e+-infaty") != len(parts[i]) {
			return nil, fmt.Errorf("%q is not a number", s)
		}
		total += f * base
		base *= 60
	}
	return sign * total, nil
}
