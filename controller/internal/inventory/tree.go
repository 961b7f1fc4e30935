package inventory

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// variable is a value together with the line of the key it is assigned to.
type variable struct {
	val  *value
	line int
	file bool // of group_vars or host_vars
}

func (v variable) pos() Position { return v.val.doc.at(v.line) }

// group is a named set of hosts and of other groups.
type group struct {
	id       int
	name     string
	depth    int // longest way down from all
	priority int // ansible_group_priority
	vars     map[string]variable
	hosts    []*Host
	has      map[*Host]bool
	children []*group
	parents  []*group
}

// tree is the groups and hosts of an inventory while its sources are read.
// Whatever format a source has, it is read into the same tree by the same few
// methods, so that they all follow the same rules.
type tree struct {
	groups     map[string]*group
	groupOrder []*group
	hosts      map[string]*Host
	hostOrder  []*Host
	safeNames  bool // groups get names that variables could have
	warn       func(p Position, format string, args ...any)
}

func newTree(warn func(Position, string, ...any)) *tree {
	t := &tree{groups: map[string]*group{}, hosts: map[string]*Host{}, warn: warn}
	t.newGroup("all")
	t.newGroup("ungrouped")
	t.link(t.groups["all"], t.groups["ungrouped"])
	return t
}

func (t *tree) newGroup(name string) *group {
	g := &group{id: len(t.groupOrder), name: name, priority: 1, vars: map[string]variable{}, has: map[*Host]bool{}}
	t.groups[name] = g
	t.groupOrder = append(t.groupOrder, g)
	return g
}

// addGroup finds a group or makes it.
func (t *tree) addGroup(name string, p Position) *group {
	if g, ok := t.groups[name]; ok {
		return g
	}
	if safe := t.safeName(name); safe != name {
		t.warn(p, "the group %q is called %s: force_valid_group_names is set", name, safe)
		return t.addGroup(safe, p)
	}
	if !isIdentifier(name) {
		t.warn(p, "the group name %q has characters that variable names can't have", name)
	}
	return t.newGroup(name)
}

// isIdentifier says whether Ansible takes a name for a group without a
// warning: letters, digits and underscores, not beginning with a digit.
func isIdentifier(s string) bool {
	for i, r := range s {
		word := r == '_' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r > 127
		if !word && (i == 0 || r < '0' || r > '9') {
			return false
		}
	}
	return s != ""
}

// addChild puts child into parent, unless that would make a loop.
func (t *tree) addChild(parent, child *group, p Position) error {
	if parent == child {
		return at(p, "the group %s is its own child", child.name)
	}
	if slices.Contains(parent.children, child) {
		return nil
	}
	if len(child.children) > 0 && parent.isBelow(child) {
		return at(p, "the group %s can't be a child of %s, which is below it", child.name, parent.name).
			hint("groups may not contain each other: remove one of the two")
	}
	t.link(parent, child)
	return nil
}

func (t *tree) link(parent, child *group) {
	parent.children = append(parent.children, child)
	child.parents = append(child.parents, parent)
}

// isBelow says whether g is reached from top by going down.
func (g *group) isBelow(top *group) bool {
	seen := map[*group]bool{}
	var up func(*group) bool
	up = func(g *group) bool {
		for _, p := range g.parents {
			if p == top {
				return true
			}
			if !seen[p] {
				seen[p] = true
				if up(p) {
					return true
				}
			}
		}
		return false
	}
	return up(g)
}

// addHost finds a host or makes it, and puts it into the group. The port
// counts only where the host is new, as in Ansible; 0 is none.
func (t *tree) addHost(name string, g *group, port string, src *source, line int) *Host {
	h, ok := t.hosts[name]
	if !ok {
		h = &Host{Name: name, dir: src.dir, at: src.doc.at(line)}
		t.hosts[name] = h
		t.hostOrder = append(t.hostOrder, h)
		if port != "" {
			h.set("ansible_port", variable{val: &value{doc: src.doc, line: line, data: parseBig(port, 10), raw: port, size: 1}, line: line})
		}
	}
	t.addMember(g, h)
	return h
}

func (t *tree) addMember(g *group, h *Host) {
	if !g.has[h] {
		g.has[h] = true
		g.hosts = append(g.hosts, h)
		h.direct = append(h.direct, g)
	}
}

// setVar sets a variable of the group of that name, or else of the host: a
// host that shares its name with a group gives the group its variables.
func (t *tree) setVar(entity, name string, v variable) {
	if g, ok := t.groups[entity]; ok {
		t.setGroupVar(g, name, v)
	} else if h, ok := t.hosts[entity]; ok {
		h.set(name, v)
	}
}

func (t *tree) setGroupVar(g *group, name string, v variable) {
	if name != "ansible_group_priority" {
		g.vars[name] = v
		return
	}
	p, ok := priorityOf(v.val.data)
	if !ok {
		t.warn(v.pos(), "ansible_group_priority of %s is not a number; it stays %d", g.name, g.priority)
		return
	}
	g.priority = p
}

// priorityOf is Python's int of a value.
func priorityOf(data any) (int, bool) {
	switch x := data.(type) {
	case int64:
		return int(x), true
	case bool:
		if x {
			return 1, true
		}
		return 0, true
	case float64:
		return int(x), !math.IsNaN(x) && math.Abs(x) < 1<<53
	case string:
		n, err := strconv.Atoi(strings.ReplaceAll(strings.TrimSpace(x), "_", ""))
		return n, err == nil
	}
	return 0, false
}

// reconcile applies the rules that hold once every source is read: all
// groups are below all, and hosts in no other group are in ungrouped.
func (t *tree) reconcile() error {
	all, ungrouped := t.groups["all"], t.groups["ungrouped"]
	if len(all.parents) > 0 {
		p := all.parents[0]
		return &Error{Msg: fmt.Sprintf("the group all can't be a child of %s", p.name), Hint: "every group is below all by itself"}
	}
	for _, g := range t.groupOrder {
		if g != all && len(g.parents) == 0 {
			t.link(all, g)
		}
	}
	lines := newLineages()
	misplaced := map[*Host]bool{}
	for _, h := range t.hostOrder {
		grouped := slices.ContainsFunc(lines.of(h.direct).groups, func(g *group) bool { return g != all && g != ungrouped })
		switch {
		case grouped && ungrouped.has[h]:
			misplaced[h] = true
			h.direct = slices.DeleteFunc(h.direct, func(g *group) bool { return g == ungrouped })
		case !grouped && !ungrouped.has[h]:
			if err := t.addUngrouped(ungrouped, h); err != nil {
				return err
			}
		}
		if t.groups[h.Name] != nil {
			t.warn(h.at, "there are both a group and a host with the name %s", h.Name)
		}
	}
	ungrouped.hosts = slices.DeleteFunc(ungrouped.hosts, func(h *Host) bool { return misplaced[h] })
	depths := map[*group]bool{}
	for _, g := range t.groupOrder {
		g.sink(depths)
	}
	lines = newLineages()
	for _, h := range t.hostOrder {
		h.lineage = lines.of(h.direct)
		h.Groups = h.lineage.names
	}
	return nil
}

// addUngrouped puts a host that is in no group into ungrouped; where a group
// has the same name Ansible puts that group there.
func (t *tree) addUngrouped(ungrouped *group, h *Host) error {
	if g, ok := t.groups[h.Name]; ok {
		return t.addChild(ungrouped, g, h.at)
	}
	t.addMember(ungrouped, h)
	return nil
}

// sink gives a group its depth, the longest way from all.
func (g *group) sink(done map[*group]bool) {
	if done[g] {
		return
	}
	done[g] = true
	for _, p := range g.parents {
		p.sink(done)
		g.depth = max(g.depth, p.depth+1)
	}
}

// members are the hosts of the group and of all groups below it, level by
// level, each host once.
func (g *group) members() []*Host {
	var hosts []*Host
	seenHost := map[*Host]bool{}
	seen := map[*group]bool{g: true}
	for level := []*group{g}; len(level) > 0; {
		var next []*group
		for _, g := range level {
			for _, h := range g.hosts {
				if !seenHost[h] {
					seenHost[h] = true
					hosts = append(hosts, h)
				}
			}
			for _, c := range g.children {
				if !seen[c] {
					seen[c] = true
					next = append(next, c)
				}
			}
		}
		level = next
	}
	return hosts
}

// lineage is the groups that hosts with the same direct groups belong to, and
// what those groups give their hosts. It is shared by all these hosts.
type lineage struct {
	groups []*group // all included, by depth, priority, name: later wins
	names  []string // sorted, without all
	base   *baseVars
}

// lineages finds the lineage of a set of groups, making each only once.
type lineages struct {
	byKey map[string]*lineage
	up    map[*group][]*group
}

func newLineages() *lineages {
	return &lineages{byKey: map[string]*lineage{}, up: map[*group][]*group{}}
}

func (l *lineages) of(direct []*group) *lineage {
	ids := make([]int, len(direct))
	for i, g := range direct {
		ids[i] = g.id
	}
	slices.Sort(ids)
	key := make([]byte, 0, 64)
	for _, id := range ids {
		key = append(strconv.AppendInt(key, int64(id), 36), ' ')
	}
	if line, ok := l.byKey[string(key)]; ok {
		return line
	}
	line := &lineage{}
	set := map[*group]bool{}
	for _, g := range direct {
		for _, a := range l.ancestors(g) {
			set[a] = true
		}
	}
	for g := range set {
		line.groups = append(line.groups, g)
		if g.name != "all" {
			line.names = append(line.names, g.name)
		}
	}
	slices.SortFunc(line.groups, func(a, b *group) int {
		return cmp.Or(cmp.Compare(a.depth, b.depth), cmp.Compare(a.priority, b.priority), cmp.Compare(a.name, b.name))
	})
	slices.Sort(line.names)
	l.byKey[string(key)] = line
	return line
}

// ancestors are g and all groups above it.
func (l *lineages) ancestors(g *group) []*group {
	if a, ok := l.up[g]; ok {
		return a
	}
	out := []*group{g}
	for _, p := range g.parents {
		for _, a := range l.ancestors(p) {
			if !slices.Contains(out, a) {
				out = append(out, a)
			}
		}
	}
	l.up[g] = out
	return out
}
