package jinja

import (
	"fmt"
	"slices"
)

// stmt is a piece of a template: text, {{ }} or {% %}.
type stmt interface {
	exec(f *frame, out *output) error
}

// frame holds the names that {% set %} and {% for %} make.
type frame struct {
	run    *Run
	vars   map[string]any
	parent *frame
}

func (f *frame) lookup(name string) (any, bool) {
	for ; f != nil; f = f.parent {
		if v, ok := f.vars[name]; ok {
			return v, true
		}
	}
	return nil, false
}

func (f *frame) set(name string, v any) {
	if f.vars == nil {
		f.vars = map[string]any{}
	}
	f.vars[name] = v
}

func (f *frame) inner() *frame { return &frame{run: f.run, parent: f} }

func execAll(body []stmt, f *frame, out *output) error {
	for _, s := range body {
		if err := f.run.spend(1); err != nil {
			return err
		}
		if err := s.exec(f, out); err != nil {
			return err
		}
	}
	return nil
}

type textStmt string

func (s textStmt) exec(_ *frame, out *output) error {
	if s == "" { // all of it was white space that a tag took
		return nil
	}
	return out.add(string(s))
}

type printStmt struct{ e expr }

func (s printStmt) exec(f *frame, out *output) error {
	v, err := s.e.eval(f)
	if err != nil {
		return err
	}
	if v, err = f.run.need(v); err != nil {
		return err
	}
	return out.add(v)
}

type ifStmt struct {
	tests  []expr
	bodies [][]stmt // one more than tests where there is an else
}

func (s *ifStmt) exec(f *frame, out *output) error {
	for i, t := range s.tests {
		v, err := t.eval(f)
		if err != nil {
			return err
		}
		yes, err := f.run.truth(v)
		if err != nil {
			return err
		}
		if yes {
			return execAll(s.bodies[i], f, out)
		}
	}
	if len(s.bodies) > len(s.tests) {
		return execAll(s.bodies[len(s.tests)], f, out)
	}
	return nil
}

type setStmt struct {
	names []string
	attr  string // of a namespace
	e     expr
	body  []stmt // {% set x %}…{% endset %}
}

func (s *setStmt) exec(f *frame, _ *output) error {
	var v any
	var err error
	if s.e != nil {
		v, err = s.e.eval(f)
	} else {
		inner := output{run: f.run}
		if err = execAll(s.body, f.inner(), &inner); err == nil {
			if v, err = inner.result(0); err == nil && inner.n > 0 {
				v, err = f.run.Str(v)
			} else if err == nil {
				v = ""
			}
		}
	}
	if err != nil {
		return err
	}
	if s.attr != "" {
		ns, ok := f.lookup(s.names[0])
		n, isSpace := ns.(*namespace)
		if !ok || !isSpace {
			return fmt.Errorf("%s is no namespace", s.names[0])
		}
		n.vars[s.attr] = v
		return nil
	}
	return f.unpack(s.names, v)
}

// unpack assigns a value, or its items, to names.
func (f *frame) unpack(names []string, v any) error {
	if len(names) == 1 {
		f.set(names[0], v)
		return nil
	}
	items, err := f.run.iterate(v)
	if err != nil {
		return err
	}
	if len(items) != len(names) {
		return fmt.Errorf("%d values for %d names", len(items), len(names))
	}
	for i, n := range names {
		f.set(n, items[i])
	}
	return nil
}

type forStmt struct {
	names  []string
	over   expr
	filter expr
	body   []stmt
	other  []stmt
}

func (s *forStmt) exec(f *frame, out *output) error {
	v, err := s.over.eval(f)
	if err != nil {
		return err
	}
	items, err := f.run.iterate(v)
	if err != nil {
		return err
	}
	if s.filter != nil {
		if items, err = s.keep(f, items); err != nil {
			return err
		}
	}
	if len(items) == 0 {
		return execAll(s.other, f.inner(), out)
	}
	for i := range items {
		inner := f.inner()
		inner.set("loop", &loop{items: items, i: i})
		if err := inner.unpack(s.names, items[i]); err != nil {
			return err
		}
		if err := execAll(s.body, inner, out); err != nil {
			return err
		}
	}
	return nil
}

// keep applies the if of a for.
func (s *forStmt) keep(f *frame, items []any) ([]any, error) {
	var kept []any
	for _, item := range items {
		inner := f.inner()
		if err := inner.unpack(s.names, item); err != nil {
			return nil, err
		}
		v, err := s.filter.eval(inner)
		if err != nil {
			return nil, err
		}
		yes, err := f.run.truth(v)
		if err != nil {
			return nil, err
		}
		if yes {
			kept = append(kept, item)
		}
	}
	return kept, nil
}

// loop is the variable of that name inside {% for %}.
type loop struct {
	items []any
	i     int
}

// Names are the attributes.
func (l *loop) Names() []string {
	return []string{"index", "index0", "revindex", "revindex0", "first", "last", "length", "previtem", "nextitem", "depth", "depth0"}
}

// Get gives an attribute.
func (l *loop) Get(name string) (any, bool) {
	n := len(l.items)
	switch name {
	case "index":
		return int64(l.i + 1), true
	case "index0":
		return int64(l.i), true
	case "revindex":
		return int64(n - l.i), true
	case "revindex0":
		return int64(n - l.i - 1), true
	case "first":
		return l.i == 0, true
	case "last":
		return l.i == n-1, true
	case "length":
		return int64(n), true
	case "depth":
		return int64(1), true
	case "depth0":
		return int64(0), true
	case "previtem":
		if l.i > 0 {
			return l.items[l.i-1], true
		}
	case "nextitem":
		if l.i+1 < n {
			return l.items[l.i+1], true
		}
	}
	return nil, false
}

// namespace is what namespace() makes, for {% set ns.x %}.
type namespace struct{ vars map[string]any }

// Names are the names set.
func (n *namespace) Names() []string {
	var names []string
	for k := range n.vars {
		names = append(names, k)
	}
	slices.Sort(names)
	return names
}

// Get gives a name's value.
func (n *namespace) Get(name string) (any, bool) {
	v, ok := n.vars[name]
	return v, ok
}
