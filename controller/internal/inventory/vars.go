package inventory

import (
	"errors"
	"maps"
)

// baseVars is what the groups of a lineage give each of their hosts, -e
// included.
type baseVars struct {
	vars   map[string]variable
	native map[string]any
	alive  []string // names of variables with templates or vault values
	sealed []string // names of others that stand in an encrypted file
	err    error
}

// magic are the variables that Ansible sets itself and ansible-inventory does
// not show, whoever set them.
var magic = map[string]bool{
	"ansible_async_path": true, "ansible_collection_name": true, "ansible_config_file": true,
	"ansible_dependent_role_names": true, "ansible_diff_mode": true, "ansible_facts": true,
	"ansible_forks": true, "ansible_inventory_sources": true, "ansible_limit": true,
	"ansible_play_batch": true, "ansible_play_hosts": true, "ansible_play_hosts_all": true,
	"ansible_play_role_names": true, "ansible_playbook_python": true, "ansible_role_name": true,
	"ansible_role_names": true, "ansible_run_tags": true, "ansible_skip_tags": true,
	"ansible_verbosity": true, "ansible_version": true, "inventory_dir": true,
	"inventory_file": true, "inventory_hostname": true, "inventory_hostname_short": true,
	"groups": true, "group_names": true, "hostvars": true, "playbook_dir": true,
	"play_hosts": true, "role_name": true, "role_names": true, "role_path": true, "role_uuid": true,
}

// merge lays one level of variables over those before it: whole values
// replace each other.
func merge(into, from map[string]variable) {
	for name, v := range from {
		if !magic[name] {
			into[name] = v
		}
	}
}

// mergeFiles lays the files for an entity over what is there.
func (inv *Inventory) mergeFiles(into map[string]variable, d *varsDir, subdir, entity string) error {
	files, err := inv.files.vars(d, subdir, entity)
	for _, f := range files {
		for _, p := range f.pairs {
			if !magic[p.name] {
				into[p.name] = variable{val: p.val, line: p.line, file: true}
			}
		}
	}
	return err
}

// baseOf puts together what a lineage's groups give their hosts. The order
// is Ansible's: all inline, other groups inline, then the files for all, then
// the files for other groups; files go source by source, the working
// directory last, and groups by depth, priority and name.
func (inv *Inventory) baseOf(l *lineage) *baseVars {
	if l.base != nil {
		return l.base
	}
	b := &baseVars{vars: map[string]variable{}}
	l.base = b
	all := []*group{inv.tree.groups["all"]}
	others := make([]*group, 0, len(l.groups))
	for _, g := range l.groups {
		if g != all[0] {
			others = append(others, g)
		}
	}
	merge(b.vars, all[0].vars)
	for _, g := range others {
		merge(b.vars, g.vars)
	}
	var errs []error
	for _, groups := range [][]*group{all, others} {
		for _, d := range inv.varsDirs() {
			for _, g := range groups {
				if err := inv.mergeFiles(b.vars, d, "group_vars", g.name); err != nil {
					errs = append(errs, err)
				}
			}
		}
	}
	b.err = errors.Join(errs...)
	b.native = make(map[string]any, len(b.vars))
	for name, v := range b.vars {
		b.native[name] = v.val.goValue()
		if v.val.isDynamic() {
			b.alive = append(b.alive, name)
		} else if v.val.doc.isSecret() {
			b.sealed = append(b.sealed, name)
		}
	}
	for name, v := range inv.extra {
		b.native[name] = v.val.goValue()
	}
	return b
}

// varsDirs are the directories with group_vars and host_vars, in the order in
// which they apply.
func (inv *Inventory) varsDirs() []*varsDir {
	return append(inv.beside[:len(inv.beside):len(inv.beside)], inv.work)
}

// prepare puts a host's variables together, once. The caller holds mu.
func (inv *Inventory) prepare(h *Host) {
	if h.done {
		return
	}
	h.done, h.inv = true, inv
	base := inv.baseOf(h.lineage)
	h.own = h.inline
	h.extra = inv.extra
	var errs []error
	for _, d := range inv.varsDirs() {
		files := map[string]variable{}
		if err := inv.mergeFiles(files, d, "host_vars", h.Name); err != nil {
			errs = append(errs, err)
		}
		if len(files) > 0 {
			h.own = maps.Clone(h.own)
			if h.own == nil {
				h.own = map[string]variable{}
			}
			merge(h.own, files)
		}
	}
	h.err = errors.Join(append(errs, base.err)...)
	h.Vars = base.native
	if len(h.own) == 0 {
		return
	}
	h.Vars = maps.Clone(base.native)
	for name, v := range h.own {
		if _, over := h.extra[name]; !over && !magic[name] {
			h.Vars[name] = v.val.goValue()
		}
	}
}

// prepareAll prepares hosts and joins what is wrong, each thing once.
func (inv *Inventory) prepareAll(hosts []*Host) error {
	var errs []error
	seen := map[string]bool{}
	for _, h := range hosts {
		inv.prepare(h)
		for _, e := range Errors(h.err) {
			if !seen[e.Error()] {
				seen[e.Error()] = true
				errs = append(errs, e)
			}
		}
	}
	return errors.Join(errs...)
}

// variable finds what a host's variable is set by.
func (h *Host) variable(name string) (variable, bool) {
	if magic[name] {
		return variable{}, false
	}
	for _, level := range []map[string]variable{h.extra, h.own, h.base()} {
		if v, ok := level[name]; ok {
			return v, true
		}
	}
	return variable{}, false
}

func (h *Host) base() map[string]variable {
	if h.lineage == nil || h.lineage.base == nil {
		return nil
	}
	return h.lineage.base.vars
}

// all are the host's variables by name, for the renderers.
func (h *Host) all() map[string]variable {
	out := make(map[string]variable, len(h.base())+len(h.own)+len(h.extra))
	merge(out, h.base())
	merge(out, h.own)
	merge(out, h.extra)
	return out
}

// Origin is the file and line of a variable, or of a key or index inside its
// value: Origin("gofleet_preconditions", "memory", "min"). Where the path
// leads nowhere it is that of the nearest parent, and of the host itself for
// an unknown variable.
func (h *Host) Origin(path ...string) Position {
	last, line, _ := h.find(path)
	if last == nil {
		return h.at
	}
	return last.doc.at(line)
}

// Raw is a scalar as it was written, 1.20 and not 1.2; "" for what is no
// scalar, is a vault value or is not there.
func (h *Host) Raw(path ...string) string {
	last, _, ok := h.find(path)
	if !ok {
		return ""
	}
	return last.raw
}

// Unsafe says whether the value is written !unsafe: its {{ is text and no
// template.
func (h *Host) Unsafe(path ...string) bool {
	last, _, ok := h.find(path)
	return ok && last.unsafe
}

// find follows a path of a variable and of keys and indices inside its value,
// as value.descend does. The value is nil where there is no such variable.
func (h *Host) find(path []string) (last *value, line int, ok bool) {
	if len(path) == 0 {
		return nil, 0, false
	}
	v, ok := h.variable(path[0])
	if !ok {
		return nil, 0, false
	}
	return v.val.descend(v.line, path[1:])
}
