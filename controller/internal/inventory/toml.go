package inventory

import (
	"errors"
	"math"
	"sort"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// readTOML reads a TOML inventory: a table for each group, with hosts, vars
// and children.
func (r *reader) readTOML(src *source) error {
	root, err := parseTOML(src.doc, src.text)
	if err != nil {
		return err
	}
	if len(root.pairs) == 0 {
		r.warn(src.doc.at(0), "empty inventory file")
		return nil
	}
	if p, ok := root.get("plugin"); ok && p.val.truthy() {
		return at(src.doc.at(p.line), "this configures the inventory plugin %v, and Ansible reads that only from YAML", p.val.data)
	}
	t := tomlSource{r.tree, src}
	for _, p := range root.pairs {
		if err := t.group(p); err != nil {
			return err
		}
	}
	return nil
}

// tomlSource reads one TOML source into the tree.
type tomlSource struct {
	*tree
	src *source
}

func (t tomlSource) at(p pair) Position { return t.src.doc.at(p.line) }

func (t tomlSource) group(p pair) error {
	if p.val.kind != mapKind {
		t.warn(t.at(p), "%s is not a group definition but %s; it is passed over", p.name, p.val.typeName())
		return nil
	}
	if p.name == "" {
		return at(t.at(p), "a group has an empty name")
	}
	g := t.addGroup(p.name, t.at(p))
	for _, s := range p.val.pairs {
		want := mapKind
		switch s.name {
		case "children":
			want = listKind
		case "hosts", "vars":
		default:
			t.warn(t.at(s), "%s in the group %s is passed over: only hosts, vars and children belong there%s", s.name, g.name, meant(s.name))
			continue
		}
		if s.val.kind != want {
			return at(t.at(s), "%s of the group %s has to be %s, and this is %s", s.name, g.name,
				(&value{kind: want}).typeName(), s.val.typeName())
		}
		if err := t.section(g, s); err != nil {
			return err
		}
	}
	return nil
}

func (t tomlSource) section(g *group, s pair) error {
	for _, item := range s.val.items {
		name, ok := item.data.(string)
		if !ok || name == "" {
			return at(item.pos(), "a child of the group %s has to have a name, and this is %s", g.name, emptyOr(item))
		}
		if err := t.addChild(g, t.addGroup(name, item.pos()), item.pos()); err != nil {
			return err
		}
	}
	for _, p := range s.val.pairs {
		if s.name == "vars" {
			t.setVar(g.name, p.name, variable{val: p.val, line: p.line})
			continue
		}
		if p.val.kind != mapKind {
			return at(t.at(p), "host %s needs a table of variables, and this is %s", p.name, p.val.typeName()).
				hint("write %s = {} for a host without variables", p.name)
		}
		hosts, port, err := expandHosts(p.name)
		if err != nil {
			return at(t.at(p), "host %s: %v", p.name, err)
		}
		for _, name := range hosts {
			if name == "" {
				return at(t.at(p), "a host of the group %s has an empty name", g.name)
			}
			t.addHost(name, g, port, t.src, p.line)
			for _, v := range p.val.pairs {
				t.setVar(name, v.name, variable{val: v.val, line: v.line})
			}
		}
	}
	return nil
}

// parseTOML reads a document. The library's decoder judges it; its parser
// then gives the order and the lines, which a decoded map has lost.
func parseTOML(doc *document, text []byte) (*value, error) {
	var judged map[string]any
	if err := toml.Unmarshal(text, &judged); err != nil {
		var de *toml.DecodeError
		if errors.As(err, &de) {
			row, _ := de.Position()
			return nil, at(doc.at(row), "bad TOML: %s", strings.TrimPrefix(de.Error(), "toml: "))
		}
		return nil, at(doc.at(0), "bad TOML: %s", strings.TrimPrefix(err.Error(), "toml: "))
	}
	b := &tomlBuilder{doc: doc, at: map[*value]map[string]int{}}
	for i, c := range text {
		if c == '\n' {
			b.lines = append(b.lines, i)
		}
	}
	b.parser.Reset(text)
	root := b.table(1)
	here := root
	for b.parser.NextExpression() {
		e := b.parser.Expression()
		keys, lines := b.key(e.Key())
		var err error
		switch e.Kind {
		case unstable.Table:
			here = b.descend(root, keys, lines)
		case unstable.ArrayTable:
			here = b.element(root, keys, lines)
		case unstable.KeyValue:
			err = b.assign(here, e)
		}
		if err != nil {
			return nil, err
		}
	}
	if err := b.parser.Error(); err != nil {
		return nil, at(doc.at(0), "bad TOML: %v", err)
	}
	return root, nil
}

// tomlBuilder builds a value of a document, its tables in their order.
type tomlBuilder struct {
	doc    *document
	parser unstable.Parser
	lines  []int                     // where lines end
	at     map[*value]map[string]int // places in a table
}

func (b *tomlBuilder) line(r unstable.Range) int {
	return 1 + sort.SearchInts(b.lines, int(r.Offset))
}

func (b *tomlBuilder) table(line int) *value {
	v := &value{kind: mapKind, doc: b.doc, line: line, size: 1}
	b.at[v] = map[string]int{}
	return v
}

// set puts a value into a table.
func (b *tomlBuilder) set(table *value, key string, line int, v *value) {
	if i, ok := b.at[table][key]; ok {
		table.pairs[i].val = v
		return
	}
	b.at[table][key] = len(table.pairs)
	table.pairs = append(table.pairs, pair{key: key, name: key, line: line, val: v})
}

// key reads a dotted key, with the line of each part.
func (b *tomlBuilder) key(it unstable.Iterator) (keys []string, lines []int) {
	for it.Next() {
		keys = append(keys, string(it.Node().Data))
		lines = append(lines, b.line(it.Node().Raw))
	}
	return keys, lines
}

// descend finds the table that a key leads to, and makes those that are not
// there. Through an array of tables it goes to the last.
func (b *tomlBuilder) descend(table *value, keys []string, lines []int) *value {
	for i, k := range keys {
		at, ok := b.at[table][k]
		if !ok {
			next := b.table(lines[i])
			b.set(table, k, lines[i], next)
			table = next
			continue
		}
		next := table.pairs[at].val
		if next.kind == listKind && len(next.items) > 0 {
			next = next.items[len(next.items)-1]
		}
		table = next
	}
	return table
}

// element appends a table to the array that a key leads to.
func (b *tomlBuilder) element(root *value, keys []string, lines []int) *value {
	last := len(keys) - 1
	parent := b.descend(root, keys[:last], lines)
	v := b.table(lines[last])
	if at, ok := b.at[parent][keys[last]]; ok {
		list := parent.pairs[at].val
		list.items = append(list.items, v)
		return v
	}
	b.set(parent, keys[last], lines[last], &value{kind: listKind, doc: b.doc, line: lines[last], size: 1, items: []*value{v}})
	return v
}

// assign reads key = value.
func (b *tomlBuilder) assign(table *value, e *unstable.Node) error {
	keys, lines := b.key(e.Key())
	last := len(keys) - 1
	table = b.descend(table, keys[:last], lines)
	v, err := b.value(e.Value(), lines[last])
	if err != nil {
		return err
	}
	b.set(table, keys[last], lines[last], v)
	return nil
}

// value makes a value of a node; line is that of its key, for nodes that do
// not know where they are.
func (b *tomlBuilder) value(n *unstable.Node, line int) (*value, error) {
	if n.Raw.Length > 0 {
		line = b.line(n.Raw)
	}
	text := string(n.Data)
	v := &value{doc: b.doc, line: line, raw: text, size: 1}
	switch n.Kind {
	case unstable.String:
		v.data = text
	case unstable.Bool:
		v.data = text == "true"
	case unstable.Integer:
		v.data = tomlInt(text)
	case unstable.Float:
		v.data = tomlFloat(text)
	case unstable.LocalTime:
		return nil, at(b.doc.at(line), "a time of day without a date is no value of Ansible's").hint(`put it in quotes: "%s"`, text)
	case unstable.LocalDate, unstable.LocalDateTime, unstable.DateTime:
		f, ok := timestampFields(strings.ToUpper(text))
		if !ok {
			return nil, at(b.doc.at(line), "%s is no date that Ansible knows", text).hint(`put it in quotes: "%s"`, text)
		}
		t, err := parseTimestamp(f)
		if err != nil {
			return nil, at(b.doc.at(line), "%v", err)
		}
		v.data = t
	case unstable.Array:
		v.kind, v.raw, v.data = listKind, "", nil
		for it := n.Children(); it.Next(); {
			item, err := b.value(it.Node(), line)
			if err != nil {
				return nil, err
			}
			v.items = append(v.items, item)
		}
	case unstable.InlineTable:
		v = b.table(line)
		for it := n.Children(); it.Next(); {
			if err := b.assign(v, it.Node()); err != nil {
				return nil, err
			}
		}
	default:
		return nil, at(b.doc.at(line), "%s is no value of Ansible's", n.Kind)
	}
	return v, nil
}

// tomlInt reads an integer that the decoder has accepted.
func tomlInt(s string) any {
	plain := strings.ReplaceAll(s, "_", "")
	if len(plain) > 2 && plain[0] == '0' {
		if base := map[byte]int{'x': 16, 'o': 8, 'b': 2}[plain[1]]; base != 0 {
			return parseBig(plain[2:], base)
		}
	}
	return parseBig(strings.TrimPrefix(plain, "+"), 10)
}

// tomlFloat reads a float that the decoder has accepted.
func tomlFloat(s string) float64 {
	plain := strings.ReplaceAll(s, "_", "")
	switch strings.TrimLeft(plain, "+-") {
	case "inf":
		if plain[0] == '-' {
			return math.Inf(-1)
		}
		return math.Inf(1)
	case "nan":
		return math.NaN()
	}
	f, _ := strconv.ParseFloat(plain, 64) // out of range is infinite, as in Python
	return f
}
