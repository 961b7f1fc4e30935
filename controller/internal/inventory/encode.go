package inventory

import (
	"cmp"
	"maps"
	"math"
	"math/big"
	"slices"
	"strconv"

	"github.com/gofleet/gofleet/controller/internal/inventory/jinja"
)

// object is a JSON object whose values are what encoder.any knows.
type object map[string]any

// encoder writes JSON as Python's json.dumps(indent=4, sort_keys=True,
// ensure_ascii=False) does.
type encoder struct {
	buf     []byte
	dialect Dialect
	unsafe  bool // !unsafe strings are written as {"__ansible_unsafe": …}
}

func (e *encoder) newline(depth int) {
	e.buf = append(e.buf, '\n')
	for range depth {
		e.buf = append(e.buf, "    "...)
	}
}

// members writes the members of an object or array.
func (e *encoder) members(open, end byte, n, depth int, member func(i int)) {
	e.buf = append(e.buf, open)
	for i := range n {
		if i > 0 {
			e.buf = append(e.buf, ',')
		}
		e.newline(depth + 1)
		member(i)
	}
	if n > 0 {
		e.newline(depth)
	}
	e.buf = append(e.buf, end)
}

func (e *encoder) key(name string) {
	e.string(name)
	e.buf = append(e.buf, ':', ' ')
}

func (e *encoder) any(x any, depth int) {
	switch x := x.(type) {
	case object:
		names := slices.Sorted(maps.Keys(x))
		e.members('{', '}', len(names), depth, func(i int) {
			e.key(names[i])
			e.any(x[names[i]], depth+1)
		})
	case map[string]variable:
		names := slices.Sorted(maps.Keys(x))
		e.members('{', '}', len(names), depth, func(i int) {
			e.key(names[i])
			e.value(x[names[i]].val, depth+1)
		})
	case []string:
		e.members('[', ']', len(x), depth, func(i int) { e.string(x[i]) })
	case string:
		e.string(x)
	}
}

func (e *encoder) value(v *value, depth int) {
	switch v.kind {
	case listKind:
		e.members('[', ']', len(v.items), depth, func(i int) { e.value(v.items[i], depth+1) })
		return
	case mapKind:
		pairs := e.sorted(v.pairs)
		e.members('{', '}', len(pairs), depth, func(i int) {
			e.key(pairs[i].name)
			e.value(pairs[i].val, depth+1)
		})
		return
	}
	switch x := v.data.(type) {
	case nil:
		e.buf = append(e.buf, "null"...)
	case bool:
		e.buf = strconv.AppendBool(e.buf, x)
	case int64:
		e.buf = strconv.AppendInt(e.buf, x, 10)
	case *big.Int:
		e.buf = x.Append(e.buf, 10)
	case float64:
		e.buf = append(e.buf, jsonFloat(x)...)
	case timestamp:
		e.string(x.iso())
	case Vault:
		e.wrapped("__ansible_vault", x.ciphertext, depth)
	case string:
		if v.unsafe && e.unsafe && (e.dialect == Core214 || depth > 2) {
			e.wrapped("__ansible_unsafe", x, depth)
		} else {
			e.string(x)
		}
	}
}

func (e *encoder) wrapped(name, text string, depth int) {
	e.members('{', '}', 1, depth, func(int) {
		e.key(name)
		e.string(text)
	})
}

// sorted puts entries in the order in which Python sorts the keys: older
// releases sort numbers as numbers, newer ones sort what they are written as.
func (e *encoder) sorted(pairs []pair) []pair {
	out := slices.Clone(pairs)
	slices.SortStableFunc(out, func(a, b pair) int {
		if e.dialect == Core214 {
			x, xok := a.key.(int64)
			y, yok := b.key.(int64)
			if xok && yok {
				return cmp.Compare(x, y)
			}
		}
		return cmp.Compare(a.name, b.name)
	})
	return out
}

var jsonEscapes = map[byte]string{'"': `\"`, '\\': `\\`, '\n': `\n`, '\r': `\r`, '\t': `\t`, '\f': `\f`, '\b': `\b`}

// string writes a string with the escapes that Python uses and no others.
func (e *encoder) string(s string) {
	const hex = "0123456789abcdef"
	e.buf = append(e.buf, '"')
	start := 0
	for i := range len(s) {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		e.buf = append(e.buf, s[start:i]...)
		start = i + 1
		if esc, ok := jsonEscapes[c]; ok {
			e.buf = append(e.buf, esc...)
		} else {
			e.buf = append(e.buf, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
	}
	e.buf = append(e.buf, s[start:]...)
	e.buf = append(e.buf, '"')
}

// jsonFloat is a float as Python's json writes it.
func jsonFloat(f float64) string {
	switch {
	case math.IsNaN(f):
		return "NaN"
	case math.IsInf(f, 1):
		return "Infinity"
	case math.IsInf(f, -1):
		return "-Infinity"
	}
	return jinja.FloatText(f)
}
