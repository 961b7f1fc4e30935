package jinja

import (
	"errors"
	"fmt"
	"slices"
)

// dictFilters are those that take or give dictionaries.
func dictFilters() map[string]pluginFunc {
	return map[string]pluginFunc{
		"combine": combineFilter, "dict2items": dict2items, "items2dict": items2dict,
		"items": itemsFilter, "dictsort": dictsort,
	}
}

// needDict is a dictionary, or an error.
func (r *Run) needDict(v any) (*Dict, error) {
	v, err := r.need(v)
	if err != nil {
		return nil, err
	}
	d, ok, err := r.Dict(v)
	if err == nil && !ok {
		err = fmt.Errorf("a dictionary is needed, and this is %s", typeName(v))
	}
	return d, err
}

func combineFilter(r *Run, v any, a *args) (any, error) {
	named := map[string]any{}
	for k, x := range a.named {
		named[k] = x
	}
	in, err := (&args{named: named}).take("combine", "recursive", "list_merge")
	if err != nil {
		return nil, err
	}
	c := combiner{run: r, lists: "replace"}
	if in[0] != nil {
		if c.recursive, err = r.truth(in[0]); err != nil {
			return nil, err
		}
	}
	if in[1] != nil {
		s, _ := in[1].(string)
		if !slices.Contains([]string{"replace", "keep", "append", "prepend", "append_rp", "prepend_rp"}, s) {
			return nil, fmt.Errorf("list_merge is replace, keep, append, prepend, append_rp or prepend_rp")
		}
		c.lists = s
	}
	var all []any
	for _, x := range append([]any{v}, a.pos...) {
		if l, ok := x.(*List); ok {
			all = append(all, l.Items...)
		} else {
			all = append(all, x)
		}
	}
	out := NewDict(0)
	for _, x := range all {
		d, err := r.needDict(x)
		if err != nil {
			return nil, err
		}
		if out, err = c.merge(out, d); err != nil {
			return nil, err
		}
	}
	return out, nil
}

type combiner struct {
	run       *Run
	recursive bool
	lists     string
}

// merge lays b over a.
func (c *combiner) merge(a, b *Dict) (*Dict, error) {
	defer c.run.leave()
	if err := c.run.enter(); err != nil {
		return nil, err
	}
	out := NewDict(a.Len() + b.Len())
	for i, k := range a.keys {
		_ = out.Set(k, a.vals[i]) // is a key already
	}
	for i, k := range b.keys {
		v := b.vals[i]
		if old, ok := out.Get(k); ok && (c.recursive || c.lists != "replace") {
			var err error
			if v, err = c.value(old, v); err != nil {
				return nil, err
			}
		}
		_ = out.Set(k, v)
	}
	return out, c.run.spend(out.Len())
}

func (c *combiner) value(old, v any) (any, error) {
	old, err := c.run.Force(old)
	if err != nil {
		return nil, err
	}
	if v, err = c.run.Force(v); err != nil {
		return nil, err
	}
	x, xok, err := c.run.Dict(old)
	if err != nil {
		return nil, err
	}
	y, yok, err := c.run.Dict(v)
	if err != nil {
		return nil, err
	}
	if xok && yok && c.recursive {
		return c.merge(x, y)
	}
	l, lok := old.(*List)
	m, mok := v.(*List)
	if lok && mok {
		return c.list(l.Items, m.Items)
	}
	return v, nil
}

func (c *combiner) list(old, items []any) (any, error) {
	without := func(from, these []any) ([]any, error) {
		var out []any
		for _, x := range from {
			in, err := c.run.contains(newList(these), x)
			if err != nil {
				return nil, err
			}
			if !in {
				out = append(out, x)
			}
		}
		return out, nil
	}
	if err := c.run.spend(len(old) + len(items)); err != nil {
		return nil, err
	}
	var err error
	switch c.lists {
	case "keep":
		return newList(old), nil
	case "append":
		return newList(slices.Concat(old, items)), nil
	case "prepend":
		return newList(slices.Concat(items, old)), nil
	case "append_rp":
		old, err = without(old, items)
		return newList(slices.Concat(old, items)), err
	case "prepend_rp":
		old, err = without(old, items)
		return newList(slices.Concat(items, old)), err
	}
	return newList(items), nil
}

// pairNames reads key_name and value_name.
func pairNames(r *Run, what string, a *args) (key, value string, err error) {
	in, err := a.take(what, "key_name", "value_name")
	if err != nil {
		return "", "", err
	}
	names := []string{"key", "value"}
	for i, v := range in {
		if v != nil {
			if names[i], err = r.Str(v); err != nil {
				return "", "", err
			}
		}
	}
	return names[0], names[1], nil
}

func dict2items(r *Run, v any, a *args) (any, error) {
	key, value, err := pairNames(r, "dict2items", a)
	if err != nil {
		return nil, err
	}
	d, err := r.needDict(v)
	if err != nil {
		return nil, err
	}
	out := make([]any, d.Len())
	for i := range out {
		item := NewDict(2)
		_ = item.Set(key, d.keys[i])
		_ = item.Set(value, d.vals[i])
		out[i] = item
	}
	return newList(out), r.spend(2 * len(out))
}

func items2dict(r *Run, v any, a *args) (any, error) {
	key, value, err := pairNames(r, "items2dict", a)
	if err != nil {
		return nil, err
	}
	if _, ok := v.(*List); !ok {
		return nil, fmt.Errorf("a list is needed, and this is %s", typeName(v))
	}
	items, err := r.iterate(v)
	if err != nil {
		return nil, err
	}
	out := NewDict(len(items))
	for _, item := range items {
		d, err := r.needDict(item)
		if err != nil {
			return nil, err
		}
		k, ok := d.Get(key)
		x, ok2 := d.Get(value)
		if !ok || !ok2 {
			return nil, fmt.Errorf("each item needs %s and %s", key, value)
		}
		if k, err = r.need(k); err != nil {
			return nil, err
		}
		if err := out.Set(k, x); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func itemsFilter(r *Run, v any, _ *args) (any, error) {
	d, err := r.needDict(v)
	if err != nil {
		return nil, err
	}
	return newList(d.pairs()), r.spend(d.Len())
}

func (d *Dict) pairs() []any {
	out := make([]any, d.Len())
	for i := range out {
		out[i] = newTuple(d.keys[i], d.vals[i])
	}
	return out
}

func dictsort(r *Run, v any, a *args) (any, error) {
	in, err := a.take("dictsort", "case_sensitive", "by", "reverse")
	if err != nil {
		return nil, err
	}
	d, err := r.needDict(v)
	if err != nil {
		return nil, err
	}
	var flags [2]bool
	for i, x := range []any{in[0], in[2]} {
		if x != nil {
			if flags[i], err = r.truth(x); err != nil {
				return nil, err
			}
		}
	}
	by := int64(0)
	switch in[1] {
	case nil, "key":
	case "value":
		by = 1
	default:
		return nil, errors.New("dictsort sorts by key or by value")
	}
	return r.sorted(d.pairs(), []any{by}, flags[1], flags[0])
}
