package inventory

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Dialect is whose output is written. They differ in small things only.
type Dialect int

const (
	Current Dialect = iota // ansible-core 2.19 and later
	Core214                // ansible-core up to 2.18
)

// ListOptions shape ListJSON.
type ListOptions struct {
	Limit   string // leaves out hosts; the groups stay
	Export  bool   // variables at the groups and hosts that set them
	Dialect Dialect
}

// listed are the hosts of a list, prepared.
func (inv *Inventory) listed(o ListOptions) ([]*Host, error) {
	hosts, err := inv.match("all", o.Limit)
	if err == nil {
		err = inv.prepareAll(hosts)
	}
	return hosts, err
}

// ListJSON is what ansible-inventory --list prints, byte for byte.
func (inv *Inventory) ListJSON(o ListOptions) ([]byte, error) {
	inv.mu.Lock()
	defer inv.mu.Unlock()
	hosts, err := inv.listed(o)
	if err != nil {
		return nil, err
	}
	shown := setOf(hosts)
	hostvars := object{}
	for _, h := range hosts {
		vars := h.all()
		if o.Export {
			if vars, err = inv.exported(h); err != nil {
				return nil, err
			}
		}
		if len(vars) > 0 {
			hostvars[h.Name] = vars
		}
	}
	meta := object{"hostvars": hostvars}
	if o.Dialect == Current {
		meta["profile"] = "inventory_legacy"
	}
	out := object{"_meta": meta}
	for _, g := range inv.tree.groupOrder {
		entry, err := inv.groupEntry(g, shown, o)
		if err != nil {
			return nil, err
		}
		if len(entry) > 0 {
			out[g.name] = entry
		}
	}
	e := encoder{dialect: o.Dialect, unsafe: true}
	e.any(out, 0)
	return append(e.buf, '\n'), nil
}

func (inv *Inventory) groupEntry(g *group, shown map[*Host]bool, o ListOptions) (object, error) {
	entry := object{}
	if names := shownNames(g, shown); len(names) > 0 {
		entry["hosts"] = names
	}
	if len(g.children) > 0 {
		names := make([]string, len(g.children))
		for i, c := range g.children {
			names[i] = c.name
		}
		entry["children"] = names
	}
	if o.Export {
		vars, err := inv.groupVars(g)
		if err != nil {
			return nil, err
		}
		if len(vars) > 0 {
			entry["vars"] = vars
		}
	}
	return entry, nil
}

// shownNames are the hosts directly in a group; those of all are listed in
// ungrouped.
func shownNames(g *group, shown map[*Host]bool) []string {
	if g.name == "all" {
		return nil
	}
	var names []string
	for _, h := range g.hosts {
		if shown[h] {
			names = append(names, h.Name)
		}
	}
	return names
}

// exported is what is set at the host itself: inline and in host_vars beside
// the sources.
func (inv *Inventory) exported(h *Host) (map[string]variable, error) {
	vars := map[string]variable{}
	merge(vars, h.inline)
	for _, d := range inv.beside {
		if err := inv.mergeFiles(vars, d, "host_vars", h.Name); err != nil {
			return nil, err
		}
	}
	return vars, nil
}

// groupVars is what is set at a group: inline and in group_vars beside the
// sources, and its priority.
func (inv *Inventory) groupVars(g *group) (map[string]variable, error) {
	vars := map[string]variable{}
	merge(vars, g.vars)
	for _, d := range inv.beside {
		if err := inv.mergeFiles(vars, d, "group_vars", g.name); err != nil {
			return nil, err
		}
	}
	if g.priority != 1 {
		vars["ansible_group_priority"] = variable{val: &value{data: int64(g.priority)}}
	}
	return vars, nil
}

// HostJSON is what ansible-inventory --host prints.
func (inv *Inventory) HostJSON(name string, d Dialect) ([]byte, error) {
	h, err := inv.Host(name)
	if err != nil {
		return nil, err
	}
	e := encoder{dialect: d, unsafe: d == Core214}
	e.any(h.all(), 0)
	return append(e.buf, '\n'), nil
}

// GraphText is what ansible-inventory --graph prints, from the named group
// down ("" is all), with the variables if vars is set.
func (inv *Inventory) GraphText(name string, vars bool) (string, error) {
	inv.mu.Lock()
	defer inv.mu.Unlock()
	if name == "" {
		name = "all"
	}
	g, ok := inv.tree.groups[name]
	if !ok {
		e := &Error{Msg: fmt.Sprintf("no group %q in the inventory", name)}
		if near := nearest(name, slices.Collect(maps.Keys(inv.tree.groups))); near != "" {
			return "", e.hint("is %s meant?", near)
		}
		return "", e.hint("gofleet inventory --graph shows all groups")
	}
	w := graphWriter{inv: inv, vars: vars}
	if err := w.group(g, 0); err != nil {
		return "", err
	}
	return w.b.String(), nil
}

type graphWriter struct {
	inv  *Inventory
	vars bool
	b    strings.Builder
}

func (w *graphWriter) line(depth int, text string) {
	if depth > 0 {
		w.b.WriteString(strings.Repeat("  |", depth) + "--")
	}
	w.b.WriteString(text)
	w.b.WriteByte('\n')
}

func (w *graphWriter) group(g *group, depth int) error {
	w.line(depth, "@"+g.name+":")
	depth++
	for _, c := range g.children {
		if err := w.group(c, depth); err != nil {
			return err
		}
	}
	if g.name != "all" {
		for _, h := range g.hosts {
			w.line(depth, h.Name)
			if !w.vars {
				continue
			}
			if w.inv.prepare(h); h.err != nil {
				return h.err
			}
			if err := w.variables(h.all(), depth+1); err != nil {
				return err
			}
		}
	}
	if !w.vars {
		return nil
	}
	vars, err := w.inv.groupVars(g)
	if err != nil {
		return err
	}
	return w.variables(vars, depth)
}

// variables writes variables with vault values decrypted, as Ansible does here
// and nowhere else.
func (w *graphWriter) variables(vars map[string]variable, depth int) error {
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		v, err := vars[name].val.unsealed(w.inv, name)
		if err != nil {
			return err
		}
		w.line(depth, fmt.Sprintf("{%s = %s}", name, pythonStr(v)))
	}
	return nil
}

// HostsText is what ansible PATTERN --list-hosts prints. Nothing matched is
// no error there, without a limit.
func (inv *Inventory) HostsText(pattern, limit string) (string, error) {
	inv.mu.Lock()
	defer inv.mu.Unlock()
	hosts, err := inv.match(pattern, limit)
	if err != nil && (limit != "" || !errors.Is(err, ErrNoHosts)) {
		return "", err
	}
	if len(hosts) == 0 && limit != "" {
		return "", inv.noHosts(pattern, limit)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "  hosts (%d):\n", len(hosts))
	for _, h := range hosts {
		fmt.Fprintf(&b, "    %s\n", h.Name)
	}
	return b.String(), nil
}

// nearest is the name that differs from s in at most a third of its letters,
// or "".
func nearest(s string, names []string) string {
	slices.Sort(names)
	best, at := len(s)/3+1, ""
	for _, n := range names {
		if d := distance(s, n); d < best {
			best, at = d, n
		}
	}
	return at
}

// distance is Levenshtein's.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			next := min(row[j+1]+1, row[j]+1, diagonal+cost)
			diagonal, row[j+1] = row[j+1], next
		}
	}
	return row[len(b)]
}
