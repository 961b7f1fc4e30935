package inventory

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// readAuto reads a YAML file that configures a plugin, which it names itself.
func (r *reader) readAuto(src *source) error {
	root, err := r.yamlRoot(src)
	if err != nil {
		return err
	}
	if root == nil {
		return decline(at(src.doc.at(0), "empty inventory file"))
	}
	p, ok := root.get("plugin")
	if !ok || !p.val.truthy() {
		return decline(at(src.doc.at(0), "no plugin is named in this file"))
	}
	name, ok := p.val.data.(string)
	if !ok {
		return at(src.doc.at(p.line), "a plugin is named by a string, and this is %s", p.val.typeName())
	}
	return r.runPlugin(src, name, p.line)
}

// readPlugin reads a file that configures the plugin of this name, which the
// settings have enabled.
func (r *reader) readPlugin(src *source, name string) error {
	root, err := r.yamlRoot(src)
	if err != nil {
		return err
	}
	if root == nil {
		return decline(at(src.doc.at(0), "empty inventory file"))
	}
	p, _ := root.get("plugin")
	if p.val == nil || p.val.data != name {
		return decline(at(src.doc.at(0), "this does not configure the inventory plugin %s", name))
	}
	return r.runPlugin(src, name, p.line)
}

// runPlugin has the real ansible-inventory read a source, behind the sources
// that were read before it, as a plugin may build on what those brought. What
// it says is laid over what is there.
func (r *reader) runPlugin(src *source, name string, line int) error {
	if r.options.AnsibleInventory == "" {
		return at(src.doc.at(line), "this configures the inventory plugin %s, which only Ansible can run, and ansible-inventory is not here", name).
			hint("install ansible-core, or save what it finds elsewhere: ansible-inventory -i %s --list --yaml --output hosts.yaml", src.doc.name)
	}
	args := []string{"--list", "--export"}
	for _, s := range append(slices.Clone(r.read), src.path) {
		args = append(args, "-i", s)
	}
	for _, e := range r.options.ExtraVars {
		args = append(args, "-e", e)
	}
	args = append(args, r.options.Vault.args()...)
	saved := r.options.Env
	defer func() { r.options.Env = saved }()
	r.options.Env = append(slices.Clone(saved), "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED=1", "ANSIBLE_NOCOLOR=1",
		"ANSIBLE_DEPRECATION_WARNINGS=0", "ANSIBLE_INVENTORY_EXPORT=1")
	root, _ := src.root.get("use_vars_plugins")
	if root.val == nil || !root.val.truthy() {
		// group_vars and host_vars are read here, with their lines.
		r.options.Env = append(r.options.Env, "ANSIBLE_VARS_ENABLED=")
	}
	out, err := r.run(src, r.options.AnsibleInventory, args...)
	var start *startError
	if errors.As(err, &start) {
		return at(src.doc.at(line), "this configures the inventory plugin %s, which only Ansible can run: %v", name, start.err).
			hint("is %s ansible-inventory?", r.options.AnsibleInventory)
	}
	var failed *Error
	if errors.As(err, &failed) {
		failed.Line = line
		return failed.hint("ansible-inventory -i %s --list shows the same; the plugin %s is Ansible's to run", src.doc.name, name)
	}
	if err != nil {
		return err
	}
	for text := range strings.Lines(out.stderr) {
		r.warn(src.doc.at(0), "ansible-inventory said: %s", strings.TrimSuffix(text, "\n"))
	}
	doc := &document{name: fmt.Sprintf("%s (%s)", src.doc.name, name)}
	v, ok := parseJSON(doc, out.stdout)
	if !ok || v.kind != mapKind {
		return at(src.doc.at(line), "what ansible-inventory printed is not JSON: %s", visible([]byte(firstBytes(out.stdout, 60)))).said(out.stderr)
	}
	p := pluginResult{tree: r.tree, src: &source{doc: doc, path: src.path, dir: filepath.Dir(mustAbs(src.path))}, root: v}
	return p.lay()
}

// mustAbs is the absolute path where there is one.
func mustAbs(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}

// pluginResult is what ansible-inventory --list --export says of some sources.
type pluginResult struct {
	*tree
	src  *source
	root *value
	seen map[string]bool
}

// lay adds the groups, hosts and variables that are new or different. What is
// there already keeps its file and line.
func (p *pluginResult) lay() error {
	p.seen = map[string]bool{}
	all, _ := p.root.get("all")
	for _, name := range p.list(all.val, "children") {
		p.addGroup(name.data.(string), name.pos())
	}
	if err := p.group("all", p.src.doc.at(1)); err != nil {
		return err
	}
	meta, _ := p.root.get("_meta")
	if meta.val == nil {
		return nil
	}
	hostvars, _ := meta.val.get("hostvars")
	if hostvars.val == nil {
		return nil
	}
	for _, h := range hostvars.val.pairs {
		host, ok := p.hosts[h.name]
		if !ok || h.val.kind != mapKind {
			continue
		}
		for _, v := range h.val.pairs {
			if old, ok := host.inline[v.name]; !ok || !equalValues(old.val, v.val) {
				host.set(v.name, variable{val: v.val, line: v.line})
			}
		}
	}
	return nil
}

// list are the strings of a list in a group.
func (p *pluginResult) list(group *value, key string) []*value {
	if group == nil {
		return nil
	}
	of, ok := group.get(key)
	if !ok {
		return nil
	}
	var out []*value
	for _, item := range of.val.items {
		if s, ok := item.data.(string); ok && s != "" {
			out = append(out, item)
		}
	}
	return out
}

// group adds one group and those below it.
func (p *pluginResult) group(name string, where Position) error {
	g := p.addGroup(name, where)
	if p.seen[name] {
		return nil
	}
	p.seen[name] = true
	of, ok := p.root.get(name)
	if !ok {
		return nil
	}
	if vars, ok := of.val.get("vars"); ok {
		for _, v := range vars.val.pairs {
			if old, ok := g.vars[v.name]; !ok || !equalValues(old.val, v.val) {
				p.setGroupVar(g, v.name, variable{val: v.val, line: v.line})
			}
		}
	}
	for _, h := range p.list(of.val, "hosts") {
		p.addHost(h.data.(string), g, "", p.src, h.line)
	}
	for _, c := range p.list(of.val, "children") {
		if err := p.group(c.data.(string), c.pos()); err != nil {
			return err
		}
		child := p.addGroup(c.data.(string), c.pos())
		if name == "all" { // reconcile puts groups there that are nowhere else
			continue
		}
		if err := p.addChild(g, child, c.pos()); err != nil {
			return err
		}
	}
	return nil
}

// equalValues says whether two values show alike.
func equalValues(a, b *value) bool {
	var x, y encoder
	x.unsafe, y.unsafe = true, true
	x.value(a, 3)
	y.value(b, 3)
	return string(x.buf) == string(y.buf)
}
