package jinja

import (
	"errors"
	"fmt"
	"math/big"
	"strconv"
	"strings"
)

// percent is Python's % on text.
func (r *Run) percent(s string, v any) (any, error) {
	operands := []any{v}
	if l, ok := v.(*List); ok && l.Tuple {
		operands = l.Items
	}
	var b strings.Builder
	next := 0
	for s != "" {
		i := strings.IndexByte(s, '%')
		if i < 0 {
			b.WriteString(s)
			break
		}
		b.WriteString(s[:i])
		s = s[i+1:]
		if strings.HasPrefix(s, "%") {
			b.WriteByte('%')
			s = s[1:]
			continue
		}
		d, rest, err := parseDirective(s)
		if err != nil {
			return nil, err
		}
		s = rest
		var operand any
		switch {
		case d.key != "":
			m, err := r.needDict(v)
			if err != nil {
				return nil, err
			}
			x, ok := m.Get(d.key)
			if !ok {
				return nil, fmt.Errorf("the format needs %s", strconv.Quote(d.key))
			}
			operand, next = x, len(operands)
		case next < len(operands):
			operand = operands[next]
			next++
		default:
			return nil, errors.New("not enough values for the format")
		}
		if operand, err = r.need(operand); err != nil {
			return nil, err
		}
		text, err := r.directive(d, operand)
		if err == nil {
			err = r.text(len(text))
		}
		if err != nil {
			return nil, err
		}
		b.WriteString(text)
	}
	if _, isDict := v.(*Dict); next < len(operands) && !isDict {
		return nil, errors.New("too many values for the format")
	}
	return b.String(), nil
}

// directive is %s and the like.
type directive struct {
	key              string
	flags            string
	width, precision int // precision -1: none
	verb             byte
}

func parseDirective(s string) (directive, string, error) {
	d := directive{precision: -1}
	if strings.HasPrefix(s, "(") {
		key, rest, ok := strings.Cut(s[1:], ")")
		if !ok {
			return d, "", errors.New("a ( in the format is not closed")
		}
		d.key, s = key, rest
	}
	n := digitsIn(s, "#0- +")
	d.flags, s = s[:n], s[n:]
	number := func() (int, error) {
		n := digitsIn(s, "0123456789")
		x, err := strconv.Atoi("0" + s[:min(n, 9)])
		s = s[n:]
		if n > 6 {
			return 0, fmt.Errorf("%w: a width of %d digits", ErrTooMuch, n)
		}
		return x, err
	}
	var err error
	if d.width, err = number(); err == nil && strings.HasPrefix(s, ".") {
		s = s[1:]
		d.precision, err = number()
	}
	if err != nil {
		return d, "", err
	}
	s = strings.TrimLeft(s, "hlL")
	if s == "" {
		return d, "", errors.New("the format ends within a %")
	}
	d.verb = s[0]
	return d, s[1:], nil
}

func (r *Run) directive(d directive, v any) (string, error) {
	switch d.verb {
	case 's', 'r', 'a':
		s, err := r.Str(v)
		if d.verb != 's' {
			w := writer{run: r}
			err = w.repr(v)
			s = w.b.String()
		}
		if rs := []rune(s); d.precision >= 0 && d.precision < len(rs) {
			s = string(rs[:d.precision])
		}
		return pad(s, d.width, strings.Contains(d.flags, "-"), ' '), err
	case 'd', 'i', 'u', 'x', 'X', 'o':
		if f, ok := v.(float64); ok && (d.verb == 'd' || d.verb == 'i' || d.verb == 'u') {
			v, _ = intFilter(r, f, &args{})
		}
		n, ok := bigOf(v)
		if !ok {
			return "", fmt.Errorf("%%%c needs an integer, and this is %s", d.verb, typeName(v))
		}
		base := map[byte]int{'x': 16, 'X': 16, 'o': 8}[d.verb]
		if base == 0 {
			base = 10
		}
		digits := new(big.Int).Abs(n).Text(base)
		if strings.Contains(d.flags, "#") && base != 10 {
			digits = map[int]string{16: "0x", 8: "0o"}[base] + digits
		}
		if d.verb == 'X' {
			digits = strings.ToUpper(digits)
		}
		digits = strings.Repeat("0", max(0, d.precision-len(digits))) + digits
		return signed(d, n.Sign() < 0, digits), nil
	case 'f', 'F', 'e', 'E', 'g', 'G':
		f, ok := floatOf(v)
		if !ok {
			return "", fmt.Errorf("%%%c needs a number, and this is %s", d.verb, typeName(v))
		}
		p := d.precision
		if p < 0 {
			p = 6
		}
		s := fmt.Sprintf("%."+strconv.Itoa(p)+string(d.verb), f)
		s, negative := strings.CutPrefix(s, "-")
		return signed(d, negative, s), nil
	case 'c':
		if n, ok := v.(int64); ok && n >= 0 && n < 0x110000 {
			v = string(rune(n))
		}
		s, ok := v.(string)
		if !ok || len([]rune(s)) != 1 {
			return "", errors.New("%c needs one character")
		}
		return pad(s, d.width, strings.Contains(d.flags, "-"), ' '), nil
	}
	return "", fmt.Errorf("%%%c is no format", d.verb)
}

// signed puts sign and padding before digits.
func signed(d directive, negative bool, digits string) string {
	sign := ""
	switch {
	case negative:
		sign = "-"
	case strings.Contains(d.flags, "+"):
		sign = "+"
	case strings.Contains(d.flags, " "):
		sign = " "
	}
	if strings.Contains(d.flags, "0") && !strings.Contains(d.flags, "-") {
		return sign + strings.Repeat("0", max(0, d.width-len(sign)-len(digits))) + digits
	}
	return pad(sign+digits, d.width, strings.Contains(d.flags, "-"), ' ')
}

func pad(s string, width int, left bool, with rune) string {
	fill := strings.Repeat(string(with), max(0, width-len([]rune(s))))
	if left {
		return s + fill
	}
	return fill + s
}

// formatMethod is str.format, for {} {0} {name} and :format of width,
// alignment and type.
func formatMethod(r *Run, s string, a *args) (any, error) {
	var b strings.Builder
	next := 0
	for s != "" {
		i := strings.IndexAny(s, "{}")
		if i < 0 {
			b.WriteString(s)
			break
		}
		b.WriteString(s[:i])
		if i+1 < len(s) && s[i+1] == s[i] {
			b.WriteByte(s[i])
			s = s[i+2:]
			continue
		}
		field, rest, ok := strings.Cut(s[i+1:], "}")
		if s[i] == '}' || !ok || strings.Contains(field, "{") {
			return nil, errors.New("a brace in the format stands alone")
		}
		s = rest
		name, spec, _ := strings.Cut(field, ":")
		v, err := r.formatField(name, &next, a)
		if err != nil {
			return nil, err
		}
		text, err := r.formatSpec(v, spec)
		if err == nil {
			err = r.text(len(text))
		}
		if err != nil {
			return nil, err
		}
		b.WriteString(text)
	}
	return b.String(), nil
}

func (r *Run) formatField(name string, next *int, a *args) (any, error) {
	i, err := strconv.Atoi(name)
	switch {
	case name == "":
		i = *next
		*next++
	case err != nil:
		v, ok := a.named[name]
		if !ok {
			return nil, fmt.Errorf("the format needs %s", strconv.Quote(name))
		}
		return r.need(v)
	}
	if i < 0 || i >= len(a.pos) {
		return nil, errors.New("not enough values for the format")
	}
	return r.need(a.pos[i])
}

// formatSpec is [align][0][width][.precision][type] of str.format.
func (r *Run) formatSpec(v any, spec string) (string, error) {
	if spec == "" {
		return r.Str(v)
	}
	align := byte(0)
	fill := ' '
	if strings.IndexByte("<>^", spec[0]) >= 0 {
		align, spec = spec[0], spec[1:]
	} else if rs := []rune(spec); len(rs) > 1 && strings.ContainsRune("<>^", rs[1]) {
		fill, align, spec = rs[0], byte(rs[1]), string(rs[2:])
	}
	if spec == "" || strings.IndexByte("0123456789.", spec[len(spec)-1]) >= 0 {
		verb := "s"
		if _, ok := bigOf(v); ok {
			verb = "d"
		} else if _, ok := v.(float64); ok {
			return "", errors.New("a format of a number needs its type, as in {:.2f}")
		}
		spec += verb
	}
	d, rest, err := parseDirective(spec)
	if err != nil || rest != "" || d.key != "" {
		return "", fmt.Errorf("the format %s is not supported", strconv.Quote(spec))
	}
	width := d.width
	if align != 0 {
		d.width = 0
	} else if _, ok := v.(string); ok {
		d.flags += "-"
	}
	s, err := r.directive(d, v)
	n := max(0, width-len([]rune(s)))
	switch align {
	case '<':
		s += strings.Repeat(string(fill), n)
	case '>':
		s = strings.Repeat(string(fill), n) + s
	case '^':
		s = strings.Repeat(string(fill), n/2) + s + strings.Repeat(string(fill), n-n/2)
	}
	return s, err
}
