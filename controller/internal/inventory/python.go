package inventory

import (
	"fmt"
	"math/big"
	"strings"

	"github.com/gofleet/gofleet/controller/internal/inventory/jinja"
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
		b.WriteString(jinja.FloatText(x))
	case timestamp:
		b.WriteString(x.repr())
	case string:
		b.WriteString(jinja.Quote(x))
	}
}
