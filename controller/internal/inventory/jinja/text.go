package jinja

import (
	"fmt"
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
)

// Str is Python's str of a value.
func (r *Run) Str(v any) (string, error) {
	v, err := r.need(v)
	if err != nil {
		return "", err
	}
	if s, ok := v.(string); ok {
		return s, nil
	}
	w := writer{run: r}
	err = w.repr(v)
	return w.b.String(), err
}

// writer writes values as Python's repr or json.dumps.
type writer struct {
	run    *Run
	b      strings.Builder
	indent int // JSON: spaces a level; 0 for one line
	sort   bool
	ascii  bool
	level  int
}

func (w *writer) enter() error {
	if err := w.run.enter(); err != nil {
		return err
	}
	if w.b.Len() > maxBytes {
		return fmt.Errorf("%w: more than %d MiB of text", ErrTooMuch, maxBytes>>20)
	}
	return nil
}

func (w *writer) repr(v any) error {
	defer w.run.leave()
	if err := w.enter(); err != nil {
		return err
	}
	v, err := w.run.need(v)
	if err != nil {
		return err
	}
	switch v := v.(type) {
	case nil:
		w.b.WriteString("None")
	case bool:
		if v {
			w.b.WriteString("True")
		} else {
			w.b.WriteString("False")
		}
	case int64, *big.Int:
		fmt.Fprint(&w.b, v)
	case float64:
		w.b.WriteString(FloatText(v))
	case string:
		w.b.WriteString(Quote(v))
	case *List:
		return w.reprList(v)
	case *function:
		fmt.Fprintf(&w.b, "<function %s>", v.name)
	default:
		d, ok, err := w.run.Dict(v)
		if err != nil || !ok {
			return err
		}
		return w.reprDict(d)
	}
	return nil
}

func (w *writer) reprList(l *List) error {
	open, end := "[", "]"
	if l.Tuple {
		open, end = "(", ")"
		if len(l.Items) == 1 {
			end = ",)"
		}
	}
	w.b.WriteString(open)
	for i, item := range l.Items {
		if i > 0 {
			w.b.WriteString(", ")
		}
		if err := w.repr(item); err != nil {
			return err
		}
	}
	w.b.WriteString(end)
	return nil
}

func (w *writer) reprDict(d *Dict) error {
	w.b.WriteByte('{')
	for i, k := range d.keys {
		if i > 0 {
			w.b.WriteString(", ")
		}
		if err := w.repr(k); err != nil {
			return err
		}
		w.b.WriteString(": ")
		if err := w.repr(d.vals[i]); err != nil {
			return err
		}
	}
	w.b.WriteByte('}')
	return nil
}

// FloatText is Python's repr of a float: the shortest digits that read back
// the same, with an exponent below 1e-4 and from 1e16 on.
func FloatText(f float64) string {
	switch {
	case math.IsNaN(f):
		return "nan"
	case math.IsInf(f, 1):
		return "inf"
	case math.IsInf(f, -1):
		return "-inf"
	}
	if a := math.Abs(f); a != 0 && (a < 1e-4 || a >= 1e16) {
		return strconv.FormatFloat(f, 'e', -1, 64)
	}
	s := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}

// Quote is Python's repr of a string: single quotes unless only those occur in
// it.
func Quote(s string) string {
	var b strings.Builder
	q := '\''
	if strings.Contains(s, "'") && !strings.Contains(s, `"`) {
		q = '"'
	}
	b.WriteRune(q)
	for _, c := range s {
		switch {
		case c == q || c == '\\':
			b.WriteByte('\\')
			b.WriteRune(c)
		case c == '\n':
			b.WriteString(`\n`)
		case c == '\r':
			b.WriteString(`\r`)
		case c == '\t':
			b.WriteString(`\t`)
		case unicode.IsPrint(c):
			b.WriteRune(c)
		case c < 0x100:
			fmt.Fprintf(&b, `\x%02x`, c)
		case c < 0x10000:
			fmt.Fprintf(&b, `\u%04x`, c)
		default:
			fmt.Fprintf(&b, `\U%08x`, c)
		}
	}
	b.WriteRune(q)
	return b.String()
}

func (w *writer) newline() {
	if w.indent > 0 {
		w.b.WriteByte('\n')
		w.b.WriteString(strings.Repeat(" ", w.indent*w.level))
	}
}

func (w *writer) comma(i int) {
	switch {
	case i == 0:
	case w.indent > 0:
		w.b.WriteByte(',')
	default:
		w.b.WriteString(", ")
	}
	w.newline()
}

// json is json.dumps.
func (w *writer) json(v any) error {
	defer w.run.leave()
	if err := w.enter(); err != nil {
		return err
	}
	v, err := w.run.need(v)
	if err != nil {
		return err
	}
	switch v := v.(type) {
	case nil:
		w.b.WriteString("null")
	case bool:
		w.b.WriteString(strconv.FormatBool(v))
	case float64:
		w.b.WriteString(strings.NewReplacer("nan", "NaN", "inf", "Infinity").Replace(FloatText(v)))
	case string:
		w.jsonText(v)
	case *List:
		w.b.WriteByte('[')
		w.level++
		for i, item := range v.Items {
			w.comma(i)
			if err := w.json(item); err != nil {
				return err
			}
		}
		w.level--
		if len(v.Items) > 0 {
			w.newline()
		}
		w.b.WriteByte(']')
	case int64, *big.Int:
		fmt.Fprint(&w.b, v)
	default:
		d, ok, err := w.run.Dict(v)
		if err != nil {
			return err
		}
		if !ok {
			return fmt.Errorf("%s has no JSON", typeName(v))
		}
		return w.jsonDict(d)
	}
	return nil
}

func (w *writer) jsonDict(d *Dict) error {
	order := make([]int, len(d.keys))
	for i := range order {
		order[i] = i
	}
	names := make([]string, len(d.keys))
	for i, k := range d.keys {
		names[i] = jsonKey(k)
	}
	if w.sort {
		slices.SortStableFunc(order, func(a, b int) int { return strings.Compare(names[a], names[b]) })
	}
	w.b.WriteByte('{')
	w.level++
	for n, i := range order {
		w.comma(n)
		w.jsonText(names[i])
		w.b.WriteString(": ")
		if err := w.json(d.vals[i]); err != nil {
			return err
		}
	}
	w.level--
	if len(order) > 0 {
		w.newline()
	}
	w.b.WriteByte('}')
	return nil
}

// jsonKey spells a key as json.dumps does.
func jsonKey(k any) string {
	switch k := k.(type) {
	case nil:
		return "null"
	case bool:
		return strconv.FormatBool(k)
	case float64:
		return FloatText(k)
	}
	return fmt.Sprint(k)
}

var jsonEscapes = map[rune]string{'"': `\"`, '\\': `\\`, '\n': `\n`, '\r': `\r`, '\t': `\t`, '\f': `\f`, '\b': `\b`}

func (w *writer) jsonText(s string) {
	w.b.WriteByte('"')
	for _, c := range s {
		esc, ok := jsonEscapes[c]
		switch {
		case ok:
			w.b.WriteString(esc)
		case c < ' ' || w.ascii && c > 126 && c < 0x10000:
			fmt.Fprintf(&w.b, `\u%04x`, c)
		case w.ascii && c >= 0x10000:
			hi, lo := utf16.EncodeRune(c)
			fmt.Fprintf(&w.b, `\u%04x\u%04x`, hi, lo)
		default:
			w.b.WriteRune(c)
		}
	}
	w.b.WriteByte('"')
}
