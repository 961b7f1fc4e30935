package inventory

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gofleet/gofleet/controller/internal/inventory/jinja"
)

// templates is what the templates of an inventory share.
type templates struct {
	inv    *Inventory
	env    []string
	engine *jinja.Engine
	groups map[string]*jinja.List // the hosts of groups, by name

	// secret says that the evaluation under way used what came from a vault.
	secret bool
	// texts are those that it used as they came out of the vault.
	texts []string
}

func newTemplates(inv *Inventory, env []string) *templates {
	t := &templates{inv: inv, env: env, groups: map[string]*jinja.List{}}
	t.engine = jinja.New(jinja.Hooks{Lookup: t.lookup, LoadJSON: t.loadJSON, LoadYAML: t.loadYAML})
	return t
}

// dynamic is what is kept of a template or vault value, for all its hosts.
type dynamic struct {
	template *jinja.Template
	err      error
	plain    string
	opened   bool
}

// isDynamic says whether a value holds a template or vault value.
func (v *value) isDynamic() bool {
	if v.alive != 0 {
		return v.alive == 2
	}
	yes := false
	switch v.kind {
	case listKind:
		for _, item := range v.items {
			yes = item.isDynamic() || yes
		}
	case mapKind:
		for _, p := range v.pairs {
			yes = p.val.isDynamic() || yes
		}
	default:
		switch x := v.data.(type) {
		case string:
			yes = !v.unsafe && jinja.IsTemplate(x)
		case Vault:
			yes = true
		}
	}
	v.alive = 1
	if yes {
		v.alive = 2
	}
	return yes
}

// scope is what the templates of one host see.
type scope struct {
	t    *templates
	host *Host
	vars map[string]any // those looked up so far
}

func (t *templates) scopeOf(h *Host) *scope {
	if h.scope == nil {
		h.scope = &scope{t: t, host: h, vars: map[string]any{}}
	}
	return h.scope
}

// Lookup finds a variable of the host, or one that Ansible sets itself.
func (s *scope) Lookup(name string) (any, bool) {
	if v, ok := s.magic(name); ok {
		return v, true
	}
	v, ok := s.host.variable(name)
	if !ok {
		return nil, false
	}
	if v.val.doc.isSecret() {
		s.t.secret = true
		for _, one := range secretLeaves(nil, v.val) {
			s.t.add(one.Text)
		}
	}
	if x, ok := s.vars[name]; ok {
		return x, true
	}
	x := s.lift(v.val, name)
	s.vars[name] = x
	return x, true
}

func (s *scope) magic(name string) (any, bool) {
	h := s.host
	switch name {
	case "inventory_hostname":
		return h.Name, true
	case "inventory_hostname_short":
		short, _, _ := strings.Cut(h.Name, ".")
		return short, true
	case "inventory_dir", "inventory_file":
		if h.dir == "" {
			return nil, true
		}
		if name == "inventory_dir" {
			return h.dir, true
		}
		return filepath.Join(h.dir, filepath.Base(h.at.File)), true
	case "group_names":
		return textList(h.Groups), true
	case "groups":
		return groupsObject{s.t}, true
	case "hostvars":
		return hostvarsObject{s.t}, true
	case "vars":
		return hostObject{s}, true
	}
	return nil, false
}

func textList(names []string) *jinja.List {
	items := make([]any, len(names))
	for i, n := range names {
		items[i] = n
	}
	return jinja.Frozen(items, false)
}

// Absent explains a name that is no variable.
func (s *scope) Absent(name string) *jinja.Undefined {
	u := &jinja.Undefined{Msg: fmt.Sprintf("%q is undefined", name), Hint: "set " + name + " in the inventory, or write " + name + " | default(…)"}
	switch {
	case strings.HasPrefix(name, "ansible_") && !magic[name], name == "ansible_facts":
		u.Hint = name + " is known only once a host was asked, and gofleet evaluates before: set it in the inventory, or write a default(…)"
	case magic[name]:
		u.Hint = name + " exists only while a playbook runs: set what you need under a name of your own"
	default:
		if near := nearest(name, s.names()); near != "" {
			u.Hint = "is " + near + " meant?"
		}
	}
	return u
}

func (s *scope) names() []string {
	var names []string
	for _, level := range []map[string]variable{s.host.extra, s.host.own, s.host.base()} {
		for n := range level {
			if !magic[n] {
				names = append(names, n)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// lift is a value as templates see it: what holds no template is shared by all
// hosts, the rest is evaluated when it is used.
func (s *scope) lift(v *value, name string) any {
	if !v.isDynamic() {
		return v.lift()
	}
	switch v.kind {
	case listKind:
		items := make([]any, len(v.items))
		for i, item := range v.items {
			items[i] = s.lift(item, name)
		}
		return jinja.Frozen(items, v.tuple)
	case mapKind:
		d := jinja.NewDict(len(v.pairs))
		for _, p := range v.pairs {
			_ = d.Set(p.key, s.lift(p.val, name)) // scalars are keys
		}
		return d.Freeze()
	}
	return &lazy{scope: s, from: v, name: name}
}

// lift is a value without templates, as templates see it.
func (v *value) lift() any {
	switch v.kind {
	case listKind:
		if v.lifted == nil {
			items := make([]any, len(v.items))
			for i, item := range v.items {
				items[i] = item.lift()
			}
			v.lifted = jinja.Frozen(items, v.tuple)
		}
		return v.lifted
	case mapKind:
		if v.lifted == nil {
			d := jinja.NewDict(len(v.pairs))
			for _, p := range v.pairs {
				_ = d.Set(p.key, p.val.lift()) // scalars are keys
			}
			v.lifted = d.Freeze()
		}
		return v.lifted
	}
	if t, ok := v.data.(timestamp); ok {
		return t.text()
	}
	return v.data
}

// lazy is a template or vault value of a host.
type lazy struct {
	scope  *scope
	from   *value
	name   string // of the variable
	done   bool
	active bool
	secret bool
	texts  []string // see templates
	val    any
}

// Force evaluates, once.
func (l *lazy) Force(r *jinja.Run) (any, error) {
	t := l.scope.t
	if l.done {
		t.secret = t.secret || l.secret
		t.add(l.texts...)
		return l.val, nil
	}
	if l.active {
		return nil, at(l.from.pos(), "%s is needed to evaluate itself", l.name).
			hint("its template leads back to it: give one of the variables on the way a value of its own")
	}
	outer, texts := t.secret, t.texts
	t.secret, t.texts, l.active = false, nil, true
	val, err := l.eval(r)
	l.active, l.secret, l.texts = false, t.secret, t.texts
	t.secret, t.texts = t.secret || outer, texts
	t.add(l.texts...)
	if err != nil {
		return nil, t.blame(l, err)
	}
	if u, ok := val.(*jinja.Undefined); ok {
		// Not kept: where it is used, it is told with the place of its template.
		return &jinja.Undefined{Msg: u.Msg, Hint: u.Hint, Where: l.where(u)}, nil
	}
	l.done, l.val = true, val
	return val, nil
}

// where is the place of the template in which a name is undefined.
func (l *lazy) where(u *jinja.Undefined) any {
	if u.Where != nil {
		return u.Where
	}
	return l.from.pos()
}

func (l *lazy) eval(r *jinja.Run) (any, error) {
	v := l.from
	if v.kept == nil {
		v.kept = &dynamic{}
		if text, ok := v.data.(string); ok {
			v.kept.template, v.kept.err = jinja.Parse(text)
		}
	}
	if sealed, ok := v.data.(Vault); ok {
		l.scope.t.secret = true
		plain, err := v.open(l.scope.t.inv, sealed, l.name)
		l.scope.t.add(plain)
		return plain, err
	}
	if v.doc.isSecret() {
		l.scope.t.secret = true
	}
	if v.kept.err != nil {
		return nil, v.kept.err
	}
	return r.In(l.scope, func() (any, error) { return v.kept.template.Eval(r) })
}

// open decrypts a vault value of a variable, once for all hosts.
func (v *value) open(inv *Inventory, sealed Vault, name string) (string, error) {
	if v.kept == nil {
		v.kept = &dynamic{}
	}
	d := v.kept
	if !d.opened {
		plain, err := inv.files.loader.vault().Open([]byte(sealed.ciphertext))
		d.opened, d.plain = true, string(plain)
		if err != nil {
			e := vaultError(v.pos(), err)
			e.Msg = name + ": " + e.Msg
			d.err = e
		}
	}
	return d.plain, d.err
}

// blame puts file and line to what went wrong in a template. What a secret
// was used in is told without its text.
func (t *templates) blame(l *lazy, err error) error {
	var known *Error
	if errors.As(err, &known) {
		return known
	}
	var (
		syntax  *jinja.SyntaxError
		unknown *jinja.UnknownError
	)
	e := at(l.from.pos(), "%s: %v", l.name, err)
	e.err = err
	switch {
	case errors.As(err, &syntax) && !syntax.Unsupported:
		e.Msg = fmt.Sprintf("%s: bad template: %v", l.name, err)
		return e.hint("quote text inside {{ }}, and close every bracket")
	case errors.As(err, &syntax), errors.As(err, &unknown):
		return e.hint("write the value itself, or what gofleet evaluates: docs/inventory.md lists it")
	case errors.Is(err, jinja.ErrTooMuch):
		return e.hint("write the value itself")
	case l.secret:
		e.Msg = fmt.Sprintf("%s: its template fails with a value from a vault, which is not shown", l.name)
	}
	return e.hint("evaluate it with Ansible to compare: ansible -i … HOST -m debug -a var=%s", l.name)
}

// groupsObject is the variable groups.
type groupsObject struct{ t *templates }

// Names are the groups.
func (g groupsObject) Names() []string {
	names := make([]string, len(g.t.inv.tree.groupOrder))
	for i, one := range g.t.inv.tree.groupOrder {
		names[i] = one.name
	}
	return names
}

// Get gives the names of a group's hosts.
func (g groupsObject) Get(name string) (any, bool) {
	if l, ok := g.t.groups[name]; ok {
		return l, true
	}
	one, ok := g.t.inv.tree.groups[name]
	if !ok {
		return nil, false
	}
	var names []string
	for _, h := range one.members() {
		names = append(names, h.Name)
	}
	l := textList(names)
	g.t.groups[name] = l
	return l, true
}

// hostvarsObject is the variable hostvars.
type hostvarsObject struct{ t *templates }

// Names are the hosts.
func (o hostvarsObject) Names() []string {
	names := make([]string, len(o.t.inv.tree.hostOrder))
	for i, h := range o.t.inv.tree.hostOrder {
		names[i] = h.Name
	}
	return names
}

// Get gives a host's variables.
func (o hostvarsObject) Get(name string) (any, bool) {
	h := o.t.inv.find(name)
	if h == nil {
		return nil, false
	}
	if o.t.inv.prepare(h); h.err != nil {
		return failed{h.err}, true
	}
	return hostObject{o.t.scopeOf(h)}, true
}

// failed is a value whose making fails.
type failed struct{ err error }

// Force gives the error.
func (f failed) Force(*jinja.Run) (any, error) { return nil, f.err }

// hostObject is the variables of a host.
type hostObject struct{ s *scope }

// Names are the variables.
func (o hostObject) Names() []string {
	return append(o.s.names(), "inventory_hostname", "inventory_hostname_short", "group_names", "inventory_dir", "inventory_file")
}

// Get gives a variable.
func (o hostObject) Get(name string) (any, bool) {
	if name == "hostvars" || name == "vars" {
		return nil, false // would hold itself
	}
	return o.s.Lookup(name)
}
