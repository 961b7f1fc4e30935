package inventory

import (
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// yamlDecoder turns the nodes of one document into values.
type yamlDecoder struct {
	*loader
	doc      *document
	anchored map[*yaml.Node]*value
	active   map[*yaml.Node]bool // anchors being decoded, to find those inside themselves
	merged   int                 // entries copied by merge keys
	unsafe   int                 // depth of !unsafe around the node
}

func (d *yamlDecoder) errorf(n *yaml.Node, format string, args ...any) *Error {
	return at(d.doc.at(n.Line), format, args...)
}

// decode makes the value of a node.
func (d *yamlDecoder) decode(n *yaml.Node, depth int) (*value, error) {
	if depth > maxDepth {
		return nil, d.errorf(n, "nested more than %d deep", maxDepth)
	}
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n.Anchor == "" {
		return d.construct(n, depth)
	}
	if v, ok := d.anchored[n]; ok && d.unsafe == 0 {
		return v, nil
	}
	if d.active[n] {
		return nil, d.errorf(n, "anchor &%s contains itself", n.Anchor)
	}
	d.active[n] = true
	v, err := d.construct(n, depth)
	delete(d.active, n)
	if err != nil {
		return nil, err
	}
	if d.unsafe == 0 {
		d.anchored[n] = v
	}
	return v, nil
}

// yamlTags are the tags that mean the kind of value that they are put before.
var yamlTags = map[string]yaml.Kind{
	"":                 0,
	"!!map":            yaml.MappingNode,
	"!!python/dict":    yaml.MappingNode,
	"!!seq":            yaml.SequenceNode,
	"!!str":            yaml.ScalarNode,
	"!!python/unicode": yaml.ScalarNode,
	"!!null":           yaml.ScalarNode,
	"!!bool":           yaml.ScalarNode,
	"!!int":            yaml.ScalarNode,
	"!!float":          yaml.ScalarNode,
	"!!timestamp":      yaml.ScalarNode,
	"!!set":            yaml.MappingNode,
	"!!omap":           yaml.SequenceNode,
	"!!pairs":          yaml.SequenceNode,
	"!vault":           yaml.ScalarNode,
	"!vault-encrypted": yaml.ScalarNode,
}

// construct decides by kind and tag.
func (d *yamlDecoder) construct(n *yaml.Node, depth int) (*value, error) {
	tag := ""
	if n.Style&yaml.TaggedStyle != 0 {
		tag = n.Tag
	}
	if tag == "!unsafe" {
		bare := *n
		bare.Style &^= yaml.TaggedStyle
		d.unsafe++
		defer func() { d.unsafe-- }()
		n, tag = &bare, ""
	}
	want, known := yamlTags[tag]
	if !known {
		return nil, d.errorf(n, "the tag %s means nothing to Ansible", tag).
			hint("quote the value if it begins with an exclamation mark")
	}
	if want != 0 && want != n.Kind {
		return nil, d.errorf(n, "%s is put before the wrong kind of value", tag)
	}
	v := &value{doc: d.doc, line: n.Line, size: 1}
	var err error
	switch n.Kind {
	case yaml.MappingNode:
		err = d.mapping(v, n, depth)
		if tag == "!!set" {
			v.setOfKeys()
		}
	case yaml.SequenceNode:
		err = d.sequence(v, n, depth)
		if err == nil && (tag == "!!omap" || tag == "!!pairs") {
			err = d.pairsOf(v, n)
		}
	case yaml.ScalarNode:
		err = d.scalar(v, n, tag)
	default:
		err = d.errorf(n, "not a value")
	}
	if err != nil {
		return nil, err
	}
	if v.size > maxExpanded {
		return nil, d.errorf(n, "aliases and merge keys grow to more than %d values", maxExpanded)
	}
	return v, nil
}

func (d *yamlDecoder) scalar(v *value, n *yaml.Node, tag string) error {
	v.raw, v.unsafe = n.Value, d.unsafe > 0
	var err error
	switch tag {
	case "":
		if n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) != 0 {
			v.data = n.Value
			return nil
		}
		v.data, err = resolvePlain(n.Value)
	case "!!null":
	case "!!bool":
		if b, ok := resolveBool(n.Value); ok {
			v.data = b
		} else {
			err = fmt.Errorf("%q is not a boolean", n.Value)
		}
	case "!!int":
		v.data, err = parseInt(n.Value)
	case "!!float":
		v.data, err = parseFloat(n.Value)
	case "!!timestamp":
		f, ok := timestampFields(n.Value)
		if !ok {
			return d.errorf(n, "%q is not a date", n.Value)
		}
		v.data, err = parseTimestamp(f)
	case "!vault", "!vault-encrypted":
		v.data, v.raw = Vault{n.Value}, ""
	default:
		v.data = n.Value
	}
	if err != nil {
		return d.errorf(n, "%v", err).hint("quote it if it is meant as text")
	}
	return nil
}

// resolveBool reads what !!bool may be put before.
func resolveBool(s string) (v, ok bool) {
	switch strings.ToLower(s) {
	case "yes", "true", "on":
		return true, true
	case "no", "false", "off":
		return false, true
	}
	return false, false
}

func (d *yamlDecoder) sequence(v *value, n *yaml.Node, depth int) error {
	v.kind = listKind
	v.items = make([]*value, 0, len(n.Content))
	for _, c := range n.Content {
		item, err := d.decode(c, depth+1)
		if err != nil {
			return err
		}
		if c.Kind == yaml.AliasNode && item.line != c.Line {
			item = item.movedTo(c.Line)
		}
		v.items = append(v.items, item)
		v.size += item.size
	}
	return nil
}

// movedTo is the same value written, as an alias, at another line.
func (v *value) movedTo(line int) *value {
	w := *v
	w.line = line
	return &w
}

// mapping collects the entries: those of merge keys first, as PyYAML does,
// then the mapping's own, which win.
func (d *yamlDecoder) mapping(v *value, n *yaml.Node, depth int) error {
	v.kind = mapKind
	b := pairBuilder{at: map[any]int{}}
	b.pairs = make([]pair, 0, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		if isMerge(n.Content[i]) {
			if err := d.merge(&b, n.Content[i+1], depth); err != nil {
				return err
			}
		}
	}
	own := map[any]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if isMerge(n.Content[i]) {
			continue
		}
		p, err := d.entry(n.Content[i], n.Content[i+1], depth)
		if err != nil {
			return err
		}
		if own[hashKey(p.key)] {
			d.warn(d.doc.at(p.line), "found the key %q twice in one mapping; the last one is used", p.name)
		}
		own[hashKey(p.key)] = true
		b.set(p)
	}
	v.pairs = b.pairs
	for _, p := range v.pairs {
		v.size += 1 + p.val.size
	}
	return nil
}

// entry makes one key and its value.
func (d *yamlDecoder) entry(k, val *yaml.Node, depth int) (pair, error) {
	key, err := d.key(k, depth)
	if err != nil {
		return pair{}, err
	}
	v, err := d.decode(val, depth+1)
	if err != nil {
		return pair{}, err
	}
	return pair{key: key, name: keyName(key), line: k.Line, val: v}, nil
}

// key makes the value of a key, which must be a scalar.
func (d *yamlDecoder) key(k *yaml.Node, depth int) (any, error) {
	target := k
	if k.Kind == yaml.AliasNode {
		target = k.Alias
	}
	if target.Kind != yaml.ScalarNode {
		return nil, d.errorf(k, "a %s is used as a key", kindName(target.Kind)).
			hint(`quote a template: "{{ name }}"`)
	}
	if target.Value == "=" && target.Style == 0 {
		return "=", nil
	}
	v, err := d.decode(k, depth+1)
	if err != nil {
		return nil, err
	}
	switch x := v.data.(type) {
	case *big.Int:
		return x.String(), nil
	case timestamp:
		return x.iso(), nil
	case Vault:
		return nil, d.errorf(k, "a vault value is used as a key")
	}
	return v.data, nil
}

func kindName(k yaml.Kind) string {
	if k == yaml.SequenceNode {
		return "list"
	}
	return "dictionary"
}

func isMerge(k *yaml.Node) bool {
	return k.Kind == yaml.ScalarNode && k.Value == "<<" && k.Style == 0
}

// merge adds the entries of the mapping, or of the list of mappings, that a
// merge key names. In a list the first mapping wins.
func (d *yamlDecoder) merge(b *pairBuilder, n *yaml.Node, depth int) error {
	target := n
	if n.Kind == yaml.AliasNode {
		target = n.Alias
	}
	from := []*yaml.Node{n}
	if target.Kind == yaml.SequenceNode {
		from = slices.Clone(target.Content)
		slices.Reverse(from)
	}
	for _, m := range from {
		v, err := d.decode(m, depth+1)
		if err != nil {
			return err
		}
		if v.kind != mapKind {
			return d.errorf(m, "<< merges dictionaries, and this is %s", v.typeName())
		}
		if d.merged += len(v.pairs); d.merged > maxExpanded {
			return d.errorf(m, "aliases and merge keys grow to more than %d values", maxExpanded)
		}
		for _, p := range v.pairs {
			b.set(p)
		}
	}
	return nil
}

// pairBuilder builds a mapping as Python builds a dict: a key keeps its first
// place and its last value.
type pairBuilder struct {
	pairs []pair
	at    map[any]int
}

func (b *pairBuilder) set(p pair) {
	key := hashKey(p.key)
	if i, ok := b.at[key]; ok {
		b.pairs[i].val, b.pairs[i].line = p.val, p.line
		return
	}
	b.at[key] = len(b.pairs)
	b.pairs = append(b.pairs, p)
}

// setOfKeys turns the mapping of a !!set into the list of its keys.
func (v *value) setOfKeys() {
	items := make([]*value, len(v.pairs))
	for i, p := range v.pairs {
		items[i] = &value{doc: v.doc, line: p.line, data: p.key, raw: p.name, size: 1}
	}
	v.kind, v.items, v.pairs = listKind, items, nil
}

// pairsOf turns the list of an !!omap or !!pairs into a list of pairs.
func (d *yamlDecoder) pairsOf(v *value, n *yaml.Node) error {
	for i, item := range v.items {
		if item.kind != mapKind || len(item.pairs) != 1 {
			return d.errorf(n, "%s needs a list of single entries", n.Tag)
		}
		p := item.pairs[0]
		key := &value{doc: v.doc, line: p.line, data: p.key, raw: p.name, size: 1}
		v.items[i] = &value{kind: listKind, tuple: true, doc: v.doc, line: p.line, items: []*value{key, p.val}, size: item.size}
	}
	return nil
}

// keyName spells a key as Python's json does.
func keyName(key any) string {
	switch k := key.(type) {
	case string:
		return k
	case nil:
		return "null"
	case bool:
		return strconv.FormatBool(k)
	case int64:
		return strconv.FormatInt(k, 10)
	case float64:
		return jsonFloat(k)
	}
	return fmt.Sprint(key)
}
