package jinja

import (
	"fmt"
	"strings"
)

// globals are the functions and values that every template has.
func globals(name string) (any, bool) {
	switch name {
	case "omit":
		return Omit{}, true
	case "range":
		return &function{name, rangeOf}, true
	case "dict":
		return &function{name, dictOf}, true
	case "namespace":
		return &function{name, func(_ *Run, a *args) (any, error) { return &namespace{vars: a.named}, nil }}, true
	case "lookup":
		return &function{name, func(r *Run, a *args) (any, error) { return r.lookup(a, false) }}, true
	case "query", "q":
		return &function{name, func(r *Run, a *args) (any, error) { return r.lookup(a, true) }}, true
	case "undef":
		return &function{name, func(r *Run, a *args) (any, error) {
			in, err := a.take("undef", "hint")
			if err != nil || in[0] == nil {
				return undefined("the value is undef()"), err
			}
			s, err := r.Str(in[0])
			return undefined("%s", s), err
		}}, true
	}
	return nil, false
}

func rangeOf(r *Run, a *args) (any, error) {
	var n [3]int64
	if len(a.pos) == 0 || len(a.pos) > 3 || len(a.named) > 0 {
		return nil, fmt.Errorf("range takes one to three integers")
	}
	for i, v := range a.pos {
		x, ok := v.(int64)
		if !ok {
			return nil, fmt.Errorf("range takes integers, and this is %s", typeName(v))
		}
		n[i] = x
	}
	from, to, step := n[0], n[1], n[2]
	switch len(a.pos) {
	case 1:
		from, to, step = 0, n[0], 1
	case 2:
		step = 1
	}
	if step == 0 {
		return nil, fmt.Errorf("the step of range is not 0")
	}
	var items []any
	for i := from; step > 0 && i < to || step < 0 && i > to; i += step {
		if err := r.spend(1); err != nil {
			return nil, err
		}
		items = append(items, i)
		if next := i + step; (next > i) != (step > 0) {
			break
		}
	}
	return newList(items), nil
}

func dictOf(r *Run, a *args) (any, error) {
	d := NewDict(len(a.named))
	if len(a.pos) > 1 {
		return nil, fmt.Errorf("dict takes one dictionary or list of pairs")
	}
	if len(a.pos) == 1 {
		from, ok, err := r.Dict(a.pos[0])
		if err != nil {
			return nil, err
		}
		if ok {
			for i, k := range from.keys {
				_ = d.Set(k, from.vals[i]) // is a key already
			}
		} else if err := r.pairs(d, a.pos[0]); err != nil {
			return nil, err
		}
	}
	for _, k := range sortedNames(a.named) {
		if err := d.Set(k, a.named[k]); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// pairs fills a dictionary from a list of pairs.
func (r *Run) pairs(d *Dict, v any) error {
	items, err := r.iterate(v)
	if err != nil {
		return err
	}
	for _, item := range items {
		pair, err := r.iterate(item)
		if err != nil {
			return err
		}
		if len(pair) != 2 {
			return fmt.Errorf("dict needs pairs, and this has %d items", len(pair))
		}
		k, err := r.need(pair[0])
		if err != nil {
			return err
		}
		if err := d.Set(k, pair[1]); err != nil {
			return err
		}
	}
	return nil
}

// lookup runs a lookup plugin. Without list, its results are one value: the
// only one, or all of them joined by commas.
func (r *Run) lookup(a *args, list bool) (any, error) {
	if u, ok := a.undefined(); ok {
		return u, nil
	}
	if len(a.pos) == 0 {
		return nil, fmt.Errorf("lookup needs the name of a plugin")
	}
	word, ok := a.pos[0].(string)
	if !ok {
		return nil, fmt.Errorf("lookup needs the name of a plugin, and this is %s", typeName(a.pos[0]))
	}
	word = strings.TrimPrefix(strings.TrimPrefix(word, "ansible.builtin."), "ansible.legacy.")
	if r.engine.hooks.Lookup == nil {
		return nil, unknown("lookup", word)
	}
	options := map[string]any{}
	for k, v := range a.named {
		options[k] = v
	}
	if w, ok := options["wantlist"]; ok {
		delete(options, "wantlist")
		want, err := r.truth(w)
		if err != nil {
			return nil, err
		}
		list = list || want
	}
	found, err := r.engine.hooks.Lookup(r, word, a.pos[1:], options)
	switch {
	case err != nil:
		return nil, wrapped("lookup", word, err)
	case list:
		return newList(found), nil
	case len(found) == 1:
		return r.Force(found[0])
	}
	texts := make([]string, len(found))
	for i, v := range found {
		v, err := r.need(v)
		if err != nil {
			return nil, err
		}
		s, ok := v.(string)
		if !ok { // what has other types comes as a list
			return newList(found), nil
		}
		texts[i] = s
	}
	return strings.Join(texts, ","), nil
}
