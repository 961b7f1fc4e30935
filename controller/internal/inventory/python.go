package inventory

import (
	"fmt"
	"math/big"
	"strings"
	"unicode"
)

// pythonStr is Python's str of a value: strings as they are, everything else
// as its repr.
func pythonStr(v *value) string {
	switch x := v.data.(type) {
	case string:
		return x
	case timestamp:
		return x.text()
	}
	var b strings.Builder
	writeRepr(&b, v)
	return b.String()
}

func writeRepr(b *strings.Builder, v *value) {
	switch v.kind {
	case listKind:
		open, end := "[", "]"
		if v.tuple {
			open, end = "(", ")"
		}
		b.WriteString(open)
		for i, item := range v.items {
			separate(b, i)
			writeRepr(b, item)
		}
		b.WriteString(end)
	case mapKind:
		b.WriteByte('{')
		for i, p := range v.pairs {
			separate(b, i)
			writeScalar(b, p.key)
			b.WriteString(": ")
			writeRepr(b, p.val)
		}
		b.WriteByte('}')
	default:
		writeScalar(b, v.data)
	}
}

func separate(b *strings.Builder, i int) {
	if i > 0 {
		b.WriteString(", ")
	}
}

func writeScalar(b *strings.Builder, data any) {
	switch x := data.(type) {
	case nil:
		b.WriteString("None")
	case bool:
		if x {
			b.WriteString("True")
		} else {
			b.WriteString("False")
		}
	case int64, *big.Int, Vault:
		fmt.Fprint(b, x)
	case float64:
		b.WriteString(pythonFloat(x))
	case timestamp:
		b.WriteString(x.repr())
	case string:
		writeQuoted(b, x)
	}
}

// writeQuoted is Python's repr of a string: single quotes unless only those
// occur in it.
func writeQuoted(b *strings.Builder, s string) {
	quote := '\''
	if strings.Contains(s, "'") && !strings.Contains(s, `"`) {
		quote = '"'
	}
	b.WriteRune(quote)
	for _, r := range s {
		switch {
		case r == quote || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case unicode.IsPrint(r):
			b.WriteRune(r)
		case r < 0x100:
			fmt.Fprintf(b, `\x%02x`, r)
		case r < 0x10000:
			fmt.Fprintf(b, `\u%04x`, r)
		default:
			fmt.Fprintf(b, `\U%08x`, r)
		}
	}
	b.WriteRune(quote)
}
