package inventory

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"slices"
	"strings"

	"github.com/gofleet/gofleet/controller/internal/inventory/jinja"
)

// errNoLiteral is for an expression that Python would have to compute.
var errNoLiteral = errors.New("no literal")

// literalEval makes values of Python expressions, in the order in which
// Python does it: which error comes first decides what the text means.
type literalEval struct {
	doc  *document
	line int
}

func (e literalEval) scalar(data any, raw string) *value {
	return &value{doc: e.doc, line: e.line, data: data, raw: raw, size: 1}
}

// eval gives the value of a node, and what Python compares it by as a key of
// a dictionary: nil for what can be none.
func (e literalEval) eval(n *pyNode) (v *value, key any, err error) {
	switch n.kind {
	case pyConst:
		return e.constant(n.data, n.raw)
	case pySigned, pySum:
		num, err := e.number(n)
		if err != nil {
			return nil, nil, err
		}
		return e.constant(num, signedRaw(n))
	case pyTuple, pyList:
		return e.list(n)
	case pySet:
		return e.set(n)
	case pyDict:
		return e.dict(n)
	}
	return nil, nil, errNoLiteral
}

// signedRaw is how a number with a sign is written.
func signedRaw(n *pyNode) string {
	if n.kind != pySigned {
		return ""
	}
	if n.minus {
		return "-" + n.items[0].raw
	}
	return "+" + n.items[0].raw
}

// noneKey stands for None among the keys, as nil says that there is no key.
type noneKey struct{}

// constant turns what no variable can be into text.
func (e literalEval) constant(data any, raw string) (*value, any, error) {
	switch x := data.(type) {
	case pyBytes:
		v := e.scalar(strings.ToValidUTF8(string(x), "\ufffd"), raw)
		v.unsafe = true // Ansible trusts no bytes to be a template
		return v, x, nil
	case pyEllipsis:
		return e.scalar("...", "..."), x, nil
	case complex128:
		return e.scalar(pythonComplex(x), raw), x, nil
	}
	return e.scalar(data, raw), hashKey(data), nil
}

// hashKey is equal for what Python holds for the same key: 1, 1.0 and True.
func hashKey(data any) any {
	switch x := data.(type) {
	case nil:
		return noneKey{}
	case bool:
		if x {
			return int64(1)
		}
		return int64(0)
	case float64:
		if x == math.Trunc(x) && math.Abs(x) < 1<<53 {
			return int64(x)
		}
	case *big.Int:
		return "int " + x.String()
	case string:
		return "str " + x
	}
	return data
}

// number is a number with at most one sign, or the sum of a real and an
// imaginary one.
func (e literalEval) number(n *pyNode) (any, error) {
	switch n.kind {
	case pySigned:
		num, err := e.unsigned(n.items[0])
		if err != nil || !n.minus {
			return num, err
		}
		return negative(num), nil
	case pySum:
		if n.items[0].kind == pySum {
			return nil, errNoLiteral
		}
		left, err := e.number(n.items[0])
		if err != nil {
			return nil, err
		}
		right, err := e.unsigned(n.items[1])
		if err != nil {
			return nil, err
		}
		return sum(left, right, n.minus)
	}
	return e.unsigned(n)
}

func (e literalEval) unsigned(n *pyNode) (any, error) {
	if n.kind == pyConst {
		switch n.data.(type) {
		case int64, *big.Int, float64, complex128:
			return n.data, nil
		}
	}
	return nil, errNoLiteral
}

func negative(num any) any {
	switch x := num.(type) {
	case int64:
		return -x
	case float64:
		return -x
	case complex128:
		return complex(-real(x), -imag(x))
	case *big.Int:
		neg := new(big.Int).Neg(x)
		if neg.IsInt64() {
			return neg.Int64()
		}
		return neg
	}
	return num
}

func sum(left, right any, minus bool) (any, error) {
	im, ok := right.(complex128)
	if !ok {
		return nil, errNoLiteral
	}
	var re float64
	switch x := left.(type) {
	case int64:
		re = float64(x)
	case float64:
		re = x
	case *big.Int:
		re, _ = new(big.Float).SetInt(x).Float64()
	default:
		return nil, errNoLiteral
	}
	if minus {
		return complex(re-real(im), 0-imag(im)), nil // -1-0j is -1+0j
	}
	return complex(re+real(im), imag(im)), nil
}

// pythonComplex is Python's str of a complex number.
func pythonComplex(c complex128) string {
	part := func(f float64) string { return strings.TrimSuffix(jinja.FloatText(f), ".0") }
	if real(c) == 0 && !math.Signbit(real(c)) {
		return part(imag(c)) + "j"
	}
	im := part(imag(c))
	if !strings.HasPrefix(im, "-") {
		im = "+" + im
	}
	return "(" + part(real(c)) + im + "j)"
}

// list makes a list; Ansible makes one of a tuple as well, but only a tuple
// can be a key.
func (e literalEval) list(n *pyNode) (*value, any, error) {
	v := &value{kind: listKind, doc: e.doc, line: e.line, size: 1}
	var keys strings.Builder
	hashable := n.kind == pyTuple
	for _, item := range n.items {
		one, key, err := e.eval(item)
		if err != nil {
			return nil, nil, err
		}
		hashable = hashable && key != nil
		fmt.Fprintf(&keys, "%T %v, ", key, key)
		v.items = append(v.items, one)
		v.size += one.size
	}
	if !hashable {
		return v, nil, nil
	}
	return v, "tuple " + keys.String(), nil
}

// set makes a list of a set, each element once; numbers in their order, the
// rest as written, where Python's order changes from run to run.
func (e literalEval) set(n *pyNode) (*value, any, error) {
	v := &value{kind: listKind, doc: e.doc, line: e.line, size: 1}
	seen := map[any]bool{}
	numbers := true
	for _, item := range n.items {
		one, key, err := e.eval(item)
		if err != nil {
			return nil, nil, err
		}
		if key == nil {
			return nil, nil, fmt.Errorf("%s can't be an element of a set", one.typeName())
		}
		if seen[key] {
			continue
		}
		seen[key] = true
		_, isInt := one.data.(int64)
		numbers = numbers && isInt
		v.items = append(v.items, one)
		v.size += one.size
	}
	if numbers {
		slices.SortFunc(v.items, func(a, b *value) int { return int(a.data.(int64)) - int(b.data.(int64)) })
	}
	return v, nil, nil
}

// dict makes a dictionary: a key keeps its first place and its last value.
func (e literalEval) dict(n *pyNode) (*value, any, error) {
	v := &value{kind: mapKind, doc: e.doc, line: e.line, size: 1}
	at := map[any]int{}
	for i := range n.items {
		k, key, err := e.eval(n.items[i])
		if err != nil {
			return nil, nil, err
		}
		val, _, err := e.eval(n.vals[i])
		if err != nil {
			return nil, nil, err
		}
		data := k.data
		if x, ok := data.(*big.Int); ok {
			data = x.String()
		}
		if _, odd := key.(pyBytes); key == nil || k.kind != scalarKind || odd {
			return nil, nil, errors.New("only text, numbers, True, False and None can be keys of a dictionary")
		}
		v.size += 1 + val.size
		if j, ok := at[key]; ok {
			v.pairs[j].val = val
			continue
		}
		at[key] = len(v.pairs)
		v.pairs = append(v.pairs, pair{key: data, name: keyName(data), line: e.line, val: val})
	}
	return v, nil, nil
}
