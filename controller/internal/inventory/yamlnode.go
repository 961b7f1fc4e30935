package inventory

import (
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"

	"github.com/gofleet/gofleet/controller/internal/inventory/jinja"
)

// yamlNode is what is written as YAML: a mapping, a sequence or a scalar.
type yamlNode struct {
	kind  kind
	keys  []*yamlNode
	items []*yamlNode // of a sequence, or behind the keys of a mapping
	text  string      // of a scalar
	plain bool        // a scalar that may stand without quotes if its text allows it
	vault bool
	same  any // nodes that are one object in Python are equal here; nil is nobody else's
}

// textNode is a string: plain if YAML 1.1 would read it as one.
func textNode(s string) *yamlNode {
	v, err := resolvePlain(s)
	text, ok := v.(string)
	return &yamlNode{text: s, plain: err == nil && ok && text == s}
}

// nodeOf makes a node of a value. same gives nodes that are one object.
func nodeOf(v *value, same func(*value) any) *yamlNode {
	n := &yamlNode{kind: v.kind, plain: true}
	switch v.kind {
	case listKind:
		n.same = same(v)
		for _, item := range v.items {
			n.items = append(n.items, nodeOf(item, same))
		}
		return n
	case mapKind:
		n.same = same(v)
		for _, p := range sortedForYAML(v.pairs) {
			n.keys = append(n.keys, nodeOf(&value{data: p.key}, same))
			n.items = append(n.items, nodeOf(p.val, same))
		}
		return n
	}
	switch x := v.data.(type) {
	case nil:
		n.text = "null"
	case bool:
		n.text = strconv.FormatBool(x)
	case int64:
		n.text = strconv.FormatInt(x, 10)
	case *big.Int:
		n.text = x.String()
	case float64:
		n.text = yamlFloat(x)
	case timestamp:
		n.text, n.same = x.text(), same(v)
	case Vault:
		n.text, n.vault, n.same = x.ciphertext, true, same(v)
	case string:
		return textNode(x)
	}
	return n
}

// yamlFloat is a float as PyYAML writes it.
func yamlFloat(f float64) string {
	switch {
	case math.IsNaN(f):
		return ".nan"
	case math.IsInf(f, 1):
		return ".inf"
	case math.IsInf(f, -1):
		return "-.inf"
	}
	s := jinja.FloatText(f)
	if !strings.Contains(s, ".") {
		s = strings.Replace(s, "e", ".0e", 1)
	}
	return s
}

// sortedForYAML puts entries in the order of their keys, if Python can order
// them; else they stay as they are.
func sortedForYAML(pairs []pair) []pair {
	number := func(k any) (float64, bool) {
		switch x := k.(type) {
		case int64:
			return float64(x), true
		case float64:
			return x, true
		case bool:
			n, _ := hashKey(x).(int64)
			return float64(n), true
		}
		return 0, false
	}
	texts, numbers := 0, 0
	for _, p := range pairs {
		if _, ok := p.key.(string); ok {
			texts++
		} else if _, ok := number(p.key); ok {
			numbers++
		}
	}
	out := slices.Clone(pairs)
	switch len(pairs) {
	case texts:
		slices.SortStableFunc(out, func(a, b pair) int { return strings.Compare(a.name, b.name) })
	case numbers:
		slices.SortStableFunc(out, func(a, b pair) int {
			x, _ := number(a.key)
			y, _ := number(b.key)
			return int(math.Copysign(1, x-y))
		})
	}
	return out
}
