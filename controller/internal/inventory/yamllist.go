package inventory

import (
	"maps"
	"slices"
)

// ListYAML is what ansible-inventory --list --yaml prints.
func (inv *Inventory) ListYAML(o ListOptions) ([]byte, error) {
	inv.mu.Lock()
	defer inv.mu.Unlock()
	hosts, err := inv.listed(o)
	if err != nil {
		return nil, err
	}
	l := yamlLister{inv: inv, o: o, shown: setOf(hosts), hosts: map[*Host]bool{}, groups: map[*group]bool{}}
	root, err := l.group(inv.tree.groups["all"])
	if err != nil {
		return nil, err
	}
	top := &yamlNode{kind: mapKind}
	if root != nil {
		top.put("all", root)
	}
	return []byte(emitYAML(top)), nil
}

// HostYAML is what ansible-inventory --host --yaml prints.
func (inv *Inventory) HostYAML(name string, d Dialect) ([]byte, error) {
	h, err := inv.Host(name)
	if err != nil {
		return nil, err
	}
	l := yamlLister{inv: inv, o: ListOptions{Dialect: d}}
	return []byte(emitYAML(l.vars(h.all(), h))), nil
}

// put adds an entry to a mapping.
func (n *yamlNode) put(key string, item *yamlNode) {
	n.keys = append(n.keys, textNode(key))
	n.items = append(n.items, item)
}

// yamlLister makes the tree of --list --yaml: each group in full where it
// comes first, and each host's variables where it does.
type yamlLister struct {
	inv    *Inventory
	o      ListOptions
	shown  map[*Host]bool
	hosts  map[*Host]bool  // already with their variables
	groups map[*group]bool // already in full
}

// group makes a group's node, or nil for an empty one.
func (l *yamlLister) group(g *group) (*yamlNode, error) {
	children := map[string]*yamlNode{}
	for _, c := range g.children {
		if l.groups[c] && l.o.Dialect == Current {
			children[c.name] = &yamlNode{kind: mapKind}
			continue
		}
		n, err := l.group(c)
		if err != nil {
			return nil, err
		}
		if n != nil {
			children[c.name] = n
		}
		l.groups[c] = true
	}
	hosts := map[string]*yamlNode{}
	if g.name != "all" {
		for _, h := range g.hosts {
			if !l.shown[h] {
				continue
			}
			n, err := l.host(h)
			if err != nil {
				return nil, err
			}
			hosts[h.Name] = n
		}
	}
	out := &yamlNode{kind: mapKind}
	for _, s := range []struct {
		name string
		of   map[string]*yamlNode
	}{{"children", children}, {"hosts", hosts}} {
		if len(s.of) == 0 {
			continue
		}
		section := &yamlNode{kind: mapKind}
		for _, name := range slices.Sorted(maps.Keys(s.of)) {
			section.put(name, s.of[name])
		}
		out.put(s.name, section)
	}
	if l.o.Export {
		vars, err := l.inv.groupVars(g)
		if err != nil {
			return nil, err
		}
		if len(vars) > 0 {
			out.put("vars", l.vars(vars, nil))
		}
	}
	if len(out.items) == 0 && l.o.Dialect == Current {
		return nil, nil
	}
	return out, nil
}

// host is a host's variables, the first time.
func (l *yamlLister) host(h *Host) (*yamlNode, error) {
	if l.hosts[h] {
		return &yamlNode{kind: mapKind}, nil
	}
	l.hosts[h] = true
	vars := h.all()
	if l.o.Export {
		var err error
		if vars, err = l.inv.exported(h); err != nil {
			return nil, err
		}
	}
	return l.vars(vars, h), nil
}

// varObject is a variable that is one object for all hosts that have it.
type varObject struct {
	val  *value
	name string
}

// vars makes a node of variables. Ansible writes what is one object in its
// memory once, with an anchor: newer releases copy each variable that a source
// sets, so there only what a group gives several hosts, and what stands in
// files of group_vars, is the same.
func (l *yamlLister) vars(vars map[string]variable, h *Host) *yamlNode {
	n := &yamlNode{kind: mapKind}
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		v := vars[name]
		own := false
		if h != nil {
			inline, ok := h.inline[name]
			own = ok && inline.val == v.val
		}
		n.put(name, nodeOf(v.val, func(part *value) any {
			if _, date := part.data.(timestamp); date && l.o.Dialect == Current {
				return nil
			}
			switch {
			case l.o.Dialect == Core214 || v.file:
				return part
			case own || part != v.val:
				return nil
			}
			return varObject{part, name}
		}))
	}
	return n
}
