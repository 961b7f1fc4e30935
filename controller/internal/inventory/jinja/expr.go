package jinja

import (
	"fmt"
	"strings"
)

// expr is a part of an expression.
type expr interface {
	eval(f *frame) (any, error)
}

// evalForced is the value of e, made.
func (f *frame) evalForced(e expr) (any, error) {
	v, err := e.eval(f)
	if err != nil {
		return nil, err
	}
	return f.run.Force(v)
}

// evalDefined is the value of e, which must be defined.
func (f *frame) evalDefined(e expr) (any, error) {
	v, err := e.eval(f)
	if err != nil {
		return nil, err
	}
	return f.run.need(v)
}

type constant struct{ v any }

func (c constant) eval(*frame) (any, error) { return c.v, nil }

type name struct{ s string }

func (n *name) eval(f *frame) (any, error) {
	if err := f.run.spend(1); err != nil {
		return nil, err
	}
	if v, ok := f.lookup(n.s); ok {
		return v, nil
	}
	if v, ok := f.run.Scope.Lookup(n.s); ok {
		return f.run.Force(v)
	}
	if v, ok := globals(n.s); ok {
		return v, nil
	}
	return f.run.Scope.Absent(n.s), nil
}

type condition struct{ test, yes, no expr }

func (c *condition) eval(f *frame) (any, error) {
	v, err := c.test.eval(f)
	if err != nil {
		return nil, err
	}
	yes, err := f.run.truth(v)
	switch {
	case err != nil:
		return nil, err
	case yes:
		return c.yes.eval(f)
	case c.no == nil:
		return undefined("the inline if is false and has no else"), nil
	}
	return c.no.eval(f)
}

type logic struct {
	or          bool
	left, right expr
}

func (l *logic) eval(f *frame) (any, error) {
	v, err := f.evalDefined(l.left)
	if err != nil {
		return nil, err
	}
	yes, err := f.run.truth(v)
	if err != nil || yes == l.or {
		return v, err
	}
	return l.right.eval(f)
}

type not struct{ e expr }

func (n *not) eval(f *frame) (any, error) {
	v, err := n.e.eval(f)
	if err != nil {
		return nil, err
	}
	yes, err := f.run.truth(v)
	return !yes, err
}

type comparison struct {
	first expr
	ops   []string
	rest  []expr
}

func (c *comparison) eval(f *frame) (any, error) {
	left, err := f.evalDefined(c.first)
	if err != nil {
		return nil, err
	}
	for i, op := range c.ops {
		right, err := f.evalDefined(c.rest[i])
		if err != nil {
			return nil, err
		}
		ok, err := f.run.compare(op, left, right)
		if err != nil || !ok {
			return false, err
		}
		left = right
	}
	return true, nil
}

type arithmetic struct {
	op          string
	left, right expr
}

func (a *arithmetic) eval(f *frame) (any, error) {
	left, err := f.evalDefined(a.left)
	if err != nil {
		return nil, err
	}
	right, err := f.evalDefined(a.right)
	if err != nil {
		return nil, err
	}
	return f.run.arithmetic(a.op, left, right)
}

type sign struct {
	minus   bool
	operand expr
}

func (s *sign) eval(f *frame) (any, error) {
	v, err := f.evalDefined(s.operand)
	if err != nil {
		return nil, err
	}
	if _, ok := floatOf(v); !ok {
		return nil, fmt.Errorf("%s has no sign", typeName(v))
	}
	if s.minus {
		return f.run.arithmetic("-", int64(0), v)
	}
	return f.run.arithmetic("+", int64(0), v)
}

type concatenation struct{ parts []expr }

func (c *concatenation) eval(f *frame) (any, error) {
	var b strings.Builder
	for _, p := range c.parts {
		v, err := p.eval(f)
		if err != nil {
			return nil, err
		}
		s, err := f.run.Str(v)
		if err == nil {
			err = f.run.text(len(s))
		}
		if err != nil {
			return nil, err
		}
		b.WriteString(s)
	}
	return b.String(), nil
}

type sequence struct {
	items []expr
	tuple bool
}

func (s *sequence) eval(f *frame) (any, error) {
	if err := f.run.spend(len(s.items)); err != nil {
		return nil, err
	}
	items := make([]any, len(s.items))
	for i, e := range s.items {
		var err error
		if items[i], err = e.eval(f); err != nil {
			return nil, err
		}
	}
	return &List{Items: items, Tuple: s.tuple}, nil
}

type dictionary struct{ keys, vals []expr }

func (d *dictionary) eval(f *frame) (any, error) {
	out := NewDict(len(d.keys))
	for i := range d.keys {
		k, err := f.evalDefined(d.keys[i])
		if err != nil {
			return nil, err
		}
		v, err := d.vals[i].eval(f)
		if err == nil {
			err = out.Set(k, v)
		}
		if err != nil {
			return nil, err
		}
	}
	return out, f.run.spend(len(d.keys))
}

type attribute struct {
	of   expr
	name string
}

func (a *attribute) eval(f *frame) (any, error) {
	v, err := f.evalForced(a.of)
	if err != nil {
		return nil, err
	}
	if _, ok := v.(*Undefined); ok {
		return v, nil
	}
	if m, ok := methodOf(v, a.name); ok {
		return m, nil
	}
	return f.run.item(v, a.name)
}

type subscript struct{ of, key expr }

func (s *subscript) eval(f *frame) (any, error) {
	v, err := f.evalForced(s.of)
	if err != nil {
		return nil, err
	}
	if _, ok := v.(*Undefined); ok {
		return v, nil
	}
	k, err := f.evalForced(s.key)
	if err != nil {
		return nil, err
	}
	if u, ok := k.(*Undefined); ok {
		return u, nil
	}
	x, err := f.run.item(v, k)
	if u, ok := x.(*Undefined); ok && err == nil {
		if word, ok := k.(string); ok {
			if m, ok := methodOf(v, word); ok {
				return m, nil
			}
		}
		return u, nil
	}
	return x, err
}

// item is an entry of a dictionary, list or text; undefined if there is none.
func (r *Run) item(v, key any) (any, error) {
	switch v := v.(type) {
	case *Dict:
		if x, ok := v.Get(key); ok {
			return r.Force(x)
		}
	case Object:
		if word, ok := key.(string); ok {
			if x, ok := v.Get(word); ok {
				return r.Force(x)
			}
		}
	case *List:
		if i, ok := indexOf(key, len(v.Items)); ok {
			return r.Force(v.Items[i])
		}
	case string:
		if n, ok := key.(int64); ok {
			rs := []rune(v)
			if i, ok := indexOf(n, len(rs)); ok {
				return string(rs[i]), nil
			}
		}
	}
	shown, err := r.Str(key)
	if err != nil {
		return nil, err
	}
	return undefined("%s has no %q", typeName(v), shown), nil
}

// indexOf is Python's index, which counts from the end below zero.
func indexOf(key any, n int) (int, bool) {
	i, ok := key.(int64)
	if !ok {
		return 0, false
	}
	if i < 0 {
		i += int64(n)
	}
	return int(i), i >= 0 && i < int64(n)
}

type slice struct {
	of     expr
	bounds [3]expr
}

func (s *slice) eval(f *frame) (any, error) {
	v, err := f.evalForced(s.of)
	if err != nil {
		return nil, err
	}
	if _, ok := v.(*Undefined); ok {
		return v, nil
	}
	var bounds [3]*int64
	for i, e := range s.bounds {
		if e == nil {
			continue
		}
		b, err := f.evalDefined(e)
		if err != nil {
			return nil, err
		}
		switch b := b.(type) {
		case nil:
		case int64:
			bounds[i] = &b
		default:
			return nil, fmt.Errorf("a slice goes from integer to integer, and this is %s", typeName(b))
		}
	}
	switch v := v.(type) {
	case *List:
		idx, err := sliceOf(bounds, len(v.Items))
		if err != nil {
			return nil, err
		}
		out := make([]any, len(idx))
		for i, j := range idx {
			out[i] = v.Items[j]
		}
		return &List{Items: out, Tuple: v.Tuple}, f.run.spend(len(out))
	case string:
		rs := []rune(v)
		idx, err := sliceOf(bounds, len(rs))
		if err != nil {
			return nil, err
		}
		out := make([]rune, len(idx))
		for i, j := range idx {
			out[i] = rs[j]
		}
		return string(out), f.run.text(len(v))
	}
	return nil, fmt.Errorf("%s can't be sliced", typeName(v))
}

// sliceOf are the places that Python's slice has in a sequence of n.
func sliceOf(bounds [3]*int64, n int) ([]int, error) {
	step := int64(1)
	if bounds[2] != nil {
		step = *bounds[2]
	}
	if step == 0 {
		return nil, fmt.Errorf("the step of a slice is not 0")
	}
	low, high := int64(0), int64(n)
	if step < 0 {
		low, high = -1, int64(n)-1
	}
	clamp := func(p *int64, def int64) int64 {
		if p == nil {
			return def
		}
		i := *p
		if i < 0 {
			i += int64(n)
		}
		return min(max(i, low), high)
	}
	from, to := clamp(bounds[0], low), clamp(bounds[1], high)
	if step < 0 {
		from, to = clamp(bounds[0], high), clamp(bounds[1], low)
	}
	var idx []int
	for i := from; step > 0 && i < to || step < 0 && i > to; i += step {
		idx = append(idx, int(i))
		if step > int64(n) || step < -int64(n) {
			break
		}
	}
	return idx, nil
}
