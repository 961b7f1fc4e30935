package inventory

import (
	"encoding/json"
	"math/big"
	"strconv"
)

// Vault is a value encrypted with Ansible Vault. It is opaque: formatting it
// shows neither plain text nor ciphertext.
type Vault struct{ ciphertext string }

// String keeps the value out of logs and errors.
func (Vault) String() string { return "(vault)" }

// GoString keeps the value out of %#v too.
func (Vault) GoString() string { return "(vault)" }

// MarshalJSON keeps the value out of JSON that is not made by this package.
func (v Vault) MarshalJSON() ([]byte, error) { return json.Marshal(v.String()) }

// document is one file, -e option or other text that values came from.
type document struct {
	name   string
	secret bool // decrypted with a vault password
}

func (d *document) at(line int) Position { return Position{d.name, line} }

type kind uint8

const (
	scalarKind kind = iota
	listKind
	mapKind
)

// value is a node of a loaded document: what it means, how it was written and
// where. Values are shared between hosts and between aliases, and never
// changed once loaded.
type value struct {
	kind   kind
	unsafe bool // written !unsafe: never a template
	tuple  bool // a pair of !!omap or !!pairs, which Python has as a tuple
	line   int
	doc    *document
	data   any // scalars: nil, bool, int64, *big.Int, float64, string, Vault or timestamp
	raw    string
	items  []*value
	pairs  []pair
	size   int // nodes when every alias is written out

	native any // cache of goValue; guarded by Inventory.mu
	cached bool
	lifted any      // cache of what templates see; guarded by Inventory.mu
	kept   *dynamic // of a template or vault value; guarded by Inventory.mu
	alive  int8     // cache of isDynamic: 0 unknown, 1 no, 2 yes; guarded by Inventory.mu
}

// pair is one entry of a mapping, in the order Python's dict keeps.
type pair struct {
	key  any    // typed as scalars are; a *big.Int is kept as its text
	name string // the key as JSON spells it
	line int
	val  *value
}

func (v *value) pos() Position { return v.doc.at(v.line) }

// get finds the entry of a mapping by its name.
func (v *value) get(name string) (pair, bool) {
	if v.kind == mapKind {
		for _, p := range v.pairs {
			if p.name == name {
				return p, true
			}
		}
	}
	return pair{}, false
}

// isNull says whether a value is YAML's null.
func (v *value) isNull() bool { return v.kind == scalarKind && v.data == nil }

// truthy is Python's truth of the value.
func (v *value) truthy() bool {
	switch v.kind {
	case listKind:
		return len(v.items) > 0
	case mapKind:
		return len(v.pairs) > 0
	}
	switch x := v.data.(type) {
	case nil:
		return false
	case bool:
		return x
	case int64:
		return x != 0
	case float64:
		return x != 0
	case string:
		return x != ""
	}
	return true
}

// typeName says what a value is, in the words of YAML and with its article.
func (v *value) typeName() string {
	switch v.kind {
	case listKind:
		return "a list"
	case mapKind:
		return "a dictionary"
	}
	switch v.data.(type) {
	case nil:
		return "null"
	case bool:
		return "a boolean"
	case int64, *big.Int:
		return "an integer"
	case float64:
		return "a number"
	case Vault:
		return "a vault value"
	case timestamp:
		return "a date"
	}
	return "a string"
}

// descend follows a path of keys and list indices as far as it leads. It
// returns the last value reached, the line it is written at, and whether the
// whole path was there.
func (v *value) descend(line int, path []string) (*value, int, bool) {
	for _, step := range path {
		switch v.kind {
		case mapKind:
			p, ok := v.get(step)
			if !ok {
				return v, line, false
			}
			v, line = p.val, p.line
		case listKind:
			i, err := strconv.Atoi(step)
			if err != nil || i < 0 || i >= len(v.items) {
				return v, line, false
			}
			v = v.items[i]
			line = v.line
		default:
			return v, line, false
		}
	}
	return v, line, true
}

// goValue is the value as Go code reads it: nil, bool, int64, *big.Int,
// float64, string, Vault, []any or map[string]any. Dates are their ISO text.
// The result is cached and shared; the caller holds Inventory.mu.
func (v *value) goValue() any {
	if v.cached {
		return v.native
	}
	switch v.kind {
	case listKind:
		out := make([]any, len(v.items))
		for i, item := range v.items {
			out[i] = item.goValue()
		}
		v.native = out
	case mapKind:
		out := make(map[string]any, len(v.pairs))
		for _, p := range v.pairs {
			out[p.name] = p.val.goValue()
		}
		v.native = out
	default:
		v.native = v.data
		if t, ok := v.data.(timestamp); ok {
			v.native = t.iso()
		}
	}
	v.cached = true
	return v.native
}

// stringValue makes a string that no file holds: a word of -e, a magic value.
func stringValue(doc *document, s string) *value {
	return &value{doc: doc, data: s, raw: s, size: 1}
}
