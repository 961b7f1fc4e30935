package inventory

import "bytes"

// readYAML reads a YAML inventory: groups at the top, each with hosts, vars
// and children. What is no dictionary at all may be an INI inventory.
func (r *reader) readYAML(src *source) error {
	if beginsWithSection(src.text) {
		return decline(at(src.doc.at(1), "an inventory is a dictionary of groups, and this is a list"))
	}
	root, err := r.yamlRoot(src)
	if err != nil || root == nil {
		return err
	}
	if p, ok := root.get("plugin"); ok && p.val.truthy() {
		return at(src.doc.at(p.line), "this configures the inventory plugin %v", p.val.data).
			hint("Ansible reads that only from a file whose name ends in .yml or .yaml, and with the plugin auto enabled")
	}
	y := yamlSource{r.tree, src}
	for _, p := range root.pairs {
		if _, err := y.group(p); err != nil {
			return err
		}
	}
	return nil
}

// yamlRoot is the dictionary that a YAML file is, or nil for an empty file.
func (r *reader) yamlRoot(src *source) (*value, error) {
	if !src.parsed {
		src.root, src.rootErr = r.loader.parse(src.doc, src.text)
		src.parsed = true
	}
	switch root := src.root; {
	case src.rootErr != nil:
		return nil, decline(src.rootErr)
	case root == nil || !root.truthy():
		r.warn(src.doc.at(0), "empty inventory file")
		return nil, nil
	case root.kind != mapKind:
		return nil, decline(at(root.pos(), "an inventory is a dictionary of groups, and this is %s", root.typeName()))
	}
	return src.root, nil
}

// beginsWithSection tells an INI inventory by its first line, which saves the
// attempt to read it as YAML.
func beginsWithSection(text []byte) bool {
	for line := range bytes.Lines(text) {
		s := string(bytes.TrimSpace(line))
		if s != "" && s[0] != '#' && s[0] != ';' {
			return iniSectionRE.MatchString(s)
		}
	}
	return false
}

// yamlSource reads one YAML source into the tree.
type yamlSource struct {
	*tree
	src *source
}

func (y yamlSource) at(p pair) Position { return y.src.doc.at(p.line) }

// group reads one group and everything in it. It returns nil for what is no
// group definition.
func (y yamlSource) group(p pair) (*group, error) {
	name, ok := p.key.(string)
	if !ok || name == "" {
		return nil, at(y.at(p), "a group is named by a string, not %q", p.name).hint("put the name in quotes")
	}
	if p.val.kind != mapKind && !p.val.isNull() {
		y.warn(y.at(p), "%s is not a group definition but %s; it is passed over", name, p.val.typeName())
		return y.groups[name], nil
	}
	g := y.addGroup(name, y.at(p))
	if p.val.isNull() {
		return g, nil
	}
	sections, err := y.sections(g, p.val)
	if err != nil {
		return nil, err
	}
	for _, s := range sections {
		if err := y.section(g, s); err != nil {
			return nil, err
		}
	}
	return g, nil
}

// sections checks the sections of a group. A string stands for a dictionary
// with that one key.
func (y yamlSource) sections(g *group, v *value) ([]pair, error) {
	out := make([]pair, 0, len(v.pairs))
	for _, s := range v.pairs {
		switch s.name {
		case "vars", "children", "hosts":
			if str, ok := s.val.data.(string); ok {
				null := &value{doc: s.val.doc, line: s.val.line, size: 1}
				s.val = &value{kind: mapKind, doc: s.val.doc, line: s.val.line, size: 2,
					pairs: []pair{{key: str, name: str, line: s.val.line, val: null}}}
			}
			if s.val.kind != mapKind && !s.val.isNull() {
				return nil, at(y.at(s), "%s of the group %s needs a dictionary, and this is %s", s.name, g.name, s.val.typeName()).
					hint("write each name with a colon behind it and no dash before it")
			}
		}
		out = append(out, s)
	}
	return out, nil
}

func (y yamlSource) section(g *group, s pair) error {
	switch {
	case s.val.kind != mapKind && !s.val.isNull():
		y.warn(y.at(s), "%s in the group %s is %s; only hosts, vars and children belong there%s",
			s.name, g.name, s.val.typeName(), meant(s.name))
	case s.val.isNull():
	case s.name == "vars":
		for _, p := range s.val.pairs {
			y.setGroupVar(g, p.name, variable{val: p.val, line: p.line})
		}
	case s.name == "children":
		for _, p := range s.val.pairs {
			child, err := y.group(p)
			if err != nil {
				return err
			}
			if child == nil {
				return at(y.at(p), "%s, a child of %s, is no group", p.name, g.name).
					hint("write %s: with hosts, vars or children below it, or nothing", p.name)
			}
			if err := y.addChild(g, child, y.at(p)); err != nil {
				return err
			}
		}
	case s.name == "hosts":
		for _, p := range s.val.pairs {
			if err := y.host(g, p); err != nil {
				return err
			}
		}
	default:
		y.warn(y.at(s), "%s in the group %s is passed over: only hosts, vars and children belong there%s", s.name, g.name, meant(s.name))
	}
	return nil
}

// meant guesses which section a wrong name stands for.
func meant(name string) string {
	switch name {
	case "host", "Hosts":
		return "; hosts is meant?"
	case "var", "variables", "Vars":
		return "; vars is meant?"
	case "child", "groups", "Children":
		return "; children is meant?"
	}
	return ""
}

// host reads one key of a hosts section, which may stand for many hosts.
func (y yamlSource) host(g *group, p pair) error {
	pattern, ok := p.key.(string)
	if !ok {
		return at(y.at(p), "a host is named by a string, not %q", p.name).hint("put the name in quotes")
	}
	if pattern == "" {
		return at(y.at(p), "a host of the group %s has an empty name", g.name)
	}
	hosts, port, err := expandHosts(pattern)
	if err != nil {
		return at(y.at(p), "host %s: %v", pattern, err)
	}
	if p.val.truthy() && p.val.kind != mapKind {
		return at(y.at(p), "host %s needs a dictionary of variables or nothing, and this is %s", pattern, p.val.typeName()).
			hint("for an address write %s: {ansible_host: ADDRESS}", pattern)
	}
	for _, name := range hosts {
		y.addHost(name, g, port, y.src, p.line)
		for _, v := range p.val.pairs {
			y.setVar(name, v.name, variable{val: v.val, line: v.line})
		}
	}
	return nil
}
