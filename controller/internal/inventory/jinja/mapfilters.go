package jinja

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// attributeOf follows a dotted path, of names and indices; nil is the item.
func (r *Run) attributeOf(item, path any) (any, error) {
	if path == nil {
		return r.Force(item)
	}
	if n, ok := path.(int64); ok {
		v, err := r.need(item)
		if err != nil {
			return nil, err
		}
		return r.item(v, n)
	}
	text, ok := path.(string)
	if !ok {
		return nil, fmt.Errorf("an attribute is named by text, not %s", typeName(path))
	}
	for part := range strings.SplitSeq(text, ".") {
		v, err := r.Force(item)
		if err != nil {
			return nil, err
		}
		if u, ok := v.(*Undefined); ok {
			return u, nil
		}
		var key any = part
		if n, err := strconv.ParseInt(part, 10, 64); err == nil {
			key = n
		}
		if item, err = r.item(v, key); err != nil {
			return nil, err
		}
	}
	return item, nil
}

func mapFilter(r *Run, v any, a *args) (any, error) {
	items, err := r.iterate(v)
	if err != nil {
		return nil, err
	}
	out := make([]any, len(items))
	path, byAttribute := a.named["attribute"]
	if !byAttribute && len(a.pos) == 0 {
		return nil, errors.New("map needs a filter, or attribute=")
	}
	for i, item := range items {
		if err := r.spend(1); err != nil {
			return nil, err
		}
		if byAttribute {
			if out[i], err = r.attributeOf(item, path); err != nil {
				return nil, err
			}
			if _, absent := out[i].(*Undefined); absent {
				if d, ok := a.named["default"]; ok {
					out[i] = d
				}
			}
			continue
		}
		word, ok := a.pos[0].(string)
		if !ok {
			return nil, fmt.Errorf("a filter is named by text, not %s", typeName(a.pos[0]))
		}
		if item, err = r.Force(item); err != nil {
			return nil, err
		}
		if out[i], err = r.apply(filterPlugin, bareName(word), item, &args{a.pos[1:], a.named}); err != nil {
			return nil, err
		}
	}
	return newList(out), nil
}

func bareName(word string) string {
	return strings.TrimPrefix(strings.TrimPrefix(word, "ansible.builtin."), "ansible.legacy.")
}

// pickFilter is select, reject, selectattr and rejectattr.
func pickFilter(attr, keep bool) pluginFunc {
	return func(r *Run, v any, a *args) (any, error) {
		items, err := r.iterate(v)
		if err != nil {
			return nil, err
		}
		pos := a.pos
		var path any
		if attr {
			if len(pos) == 0 {
				return nil, errors.New("the name of the attribute is missing")
			}
			path, pos = pos[0], pos[1:]
		}
		var out []any
		for _, item := range items {
			x, err := r.attributeOf(item, path)
			if err != nil {
				return nil, err
			}
			yes, err := r.passes(x, pos, a.named)
			if err != nil {
				return nil, err
			}
			if yes == keep {
				out = append(out, item)
			}
		}
		return newList(out), nil
	}
}

// passes applies the test that the first of pos names, or truth.
func (r *Run) passes(x any, pos []any, named map[string]any) (bool, error) {
	if len(pos) == 0 {
		return r.truth(x)
	}
	word, ok := pos[0].(string)
	if !ok {
		return false, fmt.Errorf("a test is named by text, not %s", typeName(pos[0]))
	}
	v, err := r.apply(testPlugin, bareName(word), x, &args{pos[1:], named})
	if err != nil {
		return false, err
	}
	return r.truth(v)
}

func extractFilter(r *Run, v any, a *args) (any, error) {
	in, err := a.take("extract", "container!", "morekeys")
	if err != nil {
		return nil, err
	}
	out, err := r.item(in[0], v)
	if err != nil || in[1] == nil {
		return out, err
	}
	keys := []any{in[1]}
	if l, ok := in[1].(*List); ok {
		keys = l.Items
	}
	for _, k := range keys {
		if k, err = r.need(k); err != nil {
			return nil, err
		}
		if out, err = r.need(out); err != nil {
			return nil, err
		}
		if out, err = r.item(out, k); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func groupbyFilter(r *Run, v any, a *args) (any, error) {
	in, err := a.take("groupby", "attribute!", "default", "case_sensitive")
	if err != nil {
		return nil, err
	}
	items, err := r.iterate(v)
	if err != nil {
		return nil, err
	}
	sorted, err := r.sorted(items, []any{in[0]}, false, false)
	if err != nil {
		return nil, err
	}
	var out []any
	var last any
	for _, item := range sorted.(*List).Items {
		key, err := r.attributeOf(item, in[0])
		if err != nil {
			return nil, err
		}
		if len(out) > 0 {
			same, err := r.equal(key, last)
			if err != nil {
				return nil, err
			}
			if same {
				group := out[len(out)-1].(*List).Items[1].(*List)
				group.Items = append(group.Items, item)
				continue
			}
		}
		last = key
		out = append(out, newTuple(key, newList([]any{item})))
	}
	return newList(out), nil
}
