package jinja

import (
	"fmt"
	"slices"
	"strings"
)

// arguments are those of a call as they are written.
type arguments struct {
	pos   []expr
	star  []int // one more than the places of pos that are written *x
	names []string
	named []expr
	dicts []expr // **x
}

// args are the arguments of a call.
type args struct {
	pos   []any
	named map[string]any
}

func (a *arguments) eval(f *frame) (*args, error) {
	out := &args{named: map[string]any{}}
	for i, e := range a.pos {
		v, err := f.evalForced(e)
		if err != nil {
			return nil, err
		}
		if starred(a.star, i) {
			items, err := f.run.iterate(v)
			if err != nil {
				return nil, err
			}
			out.pos = append(out.pos, items...)
			continue
		}
		out.pos = append(out.pos, v)
	}
	for i, e := range a.named {
		v, err := f.evalForced(e)
		if err != nil {
			return nil, err
		}
		out.named[a.names[i]] = v
	}
	for _, e := range a.dicts {
		v, err := f.evalDefined(e)
		if err != nil {
			return nil, err
		}
		d, ok, err := f.run.Dict(v)
		if err != nil || !ok {
			return nil, fmt.Errorf("** needs a dictionary, and this is %s", typeName(v))
		}
		for i, k := range d.keys {
			out.named[fmt.Sprint(k)] = d.vals[i]
		}
	}
	return out, nil
}

func starred(star []int, i int) bool {
	for _, s := range star {
		if s == i+1 {
			return true
		}
	}
	return false
}

// undefined is the first argument that is not defined.
func (a *args) undefined() (*Undefined, bool) {
	for _, v := range a.pos {
		if u, ok := v.(*Undefined); ok {
			return u, true
		}
	}
	for _, v := range a.named {
		if u, ok := v.(*Undefined); ok {
			return u, true
		}
	}
	return nil, false
}

// take gives the arguments in the order of their names; those not given are
// nil. A name that ends in "!" must be given.
func (a *args) take(what string, names ...string) ([]any, error) {
	if len(a.pos) > len(names) {
		return nil, fmt.Errorf("%s takes at most %d arguments, not %d", what, len(names), len(a.pos))
	}
	out := make([]any, len(names))
	used := 0
	for i, n := range names {
		n, required := strings.CutSuffix(n, "!")
		v, named := a.named[n]
		switch {
		case i < len(a.pos):
			out[i] = a.pos[i]
		case named:
			out[i] = v
			used++
		case required:
			return nil, fmt.Errorf("%s needs its argument %s", what, n)
		}
	}
	if used < len(a.named) {
		for n := range a.named {
			if !strings.Contains(" "+strings.Join(names, " ")+" ", " "+n+" ") && !strings.Contains(" "+strings.Join(names, " ")+" ", " "+n+"! ") {
				return nil, fmt.Errorf("%s has no argument %s", what, n)
			}
		}
	}
	return out, nil
}

// function is what a template can call.
type function struct {
	name string
	fn   func(r *Run, a *args) (any, error)
}

type call struct {
	of   expr
	args arguments
}

func (c *call) eval(f *frame) (any, error) {
	v, err := f.evalDefined(c.of)
	if err != nil {
		return nil, err
	}
	fn, ok := v.(*function)
	if !ok {
		return nil, fmt.Errorf("%s can't be called", typeName(v))
	}
	a, err := c.args.eval(f)
	if err != nil {
		return nil, err
	}
	return fn.fn(f.run, a)
}

// pluginFunc is a filter or a test of v.
type pluginFunc = func(r *Run, v any, a *args) (any, error)

// pluginKind tells filters from tests; errors call them so.
type pluginKind string

const (
	filterPlugin pluginKind = "filter"
	testPlugin   pluginKind = "test"
)

// takeUndefined are the plugins that judge undefined values, too. What any
// other makes of one is undefined.
var takeUndefined = map[pluginKind][]string{
	filterPlugin: {"default", "d", "mandatory", "type_debug"},
	testPlugin:   {"defined", "undefined"},
}

// plugged is a value that goes through a filter or test.
type plugged struct {
	kind pluginKind
	of   expr
	name string
	args arguments
}

func (p *plugged) eval(f *frame) (any, error) {
	v, err := f.evalForced(p.of)
	if err != nil {
		return nil, err
	}
	a, err := p.args.eval(f)
	if err != nil {
		return nil, err
	}
	return f.run.apply(p.kind, p.name, v, a)
}

// apply gives v to the filter or test of that name.
func (r *Run) apply(kind pluginKind, name string, v any, a *args) (any, error) {
	if err := r.spend(1); err != nil {
		return nil, err
	}
	fn, ok := r.engine.plugins[kind][name]
	if !ok {
		return nil, unknown(string(kind), name)
	}
	if !slices.Contains(takeUndefined[kind], name) {
		if u, ok := v.(*Undefined); ok {
			return u, nil
		}
		if u, ok := a.undefined(); ok {
			return u, nil
		}
	}
	out, err := fn(r, v, a)
	if err != nil {
		return nil, wrapped(kind, name, err)
	}
	return out, nil
}

// UnknownError is a filter, test or lookup that this package does not have.
type UnknownError struct{ Kind, Name string }

func (e *UnknownError) Error() string {
	return fmt.Sprintf("gofleet has no %s %s", e.Kind, e.Name)
}

func unknown(kind, name string) error { return &UnknownError{kind, name} }

// wrapped says which filter or test failed, once.
func wrapped(kind pluginKind, name string, err error) error {
	switch err.(type) {
	case *UndefinedError, *UnknownError, *pluginError:
		return err
	}
	return &pluginError{fmt.Sprintf("the %s %s", kind, name), err}
}

type pluginError struct {
	what string
	err  error
}

func (e *pluginError) Error() string { return e.what + ": " + e.err.Error() }
func (e *pluginError) Unwrap() error { return e.err }
