package jinja

import (
	"errors"
	"slices"
)

// methodOf is a method of Python's str, list or dict.
func methodOf(v any, name string) (any, bool) {
	var fn func(r *Run, a *args) (any, error)
	switch v := v.(type) {
	case string:
		if m, ok := stringMethod(name); ok {
			fn = func(r *Run, a *args) (any, error) { return m(r, v, a) }
		}
	case *List:
		if m, ok := listMethod(name); ok {
			fn = func(r *Run, a *args) (any, error) { return m(r, v, a) }
		}
	case *Dict:
		fn = dictMethod(v, name)
	case *loop, *namespace:
	case Object:
		switch name {
		case "items", "keys", "values", "get":
			fn = func(r *Run, a *args) (any, error) {
				d, _, err := r.Dict(v)
				if err != nil {
					return nil, err
				}
				return dictMethod(d, name)(r, a)
			}
		}
	}
	if fn == nil {
		return nil, false
	}
	return &function{name, fn}, true
}

type listFunc = func(r *Run, l *List, a *args) (any, error)

func listMethod(name string) (listFunc, bool) {
	switch name {
	case "index", "count":
		return func(r *Run, l *List, a *args) (any, error) {
			in, err := a.take(name, "value!")
			if err != nil {
				return nil, err
			}
			n := int64(0)
			for i, item := range l.Items {
				eq, err := r.equal(item, in[0])
				switch {
				case err != nil:
					return nil, err
				case eq && name == "index":
					return int64(i), nil
				case eq:
					n++
				}
			}
			if name == "index" {
				return nil, errors.New("the value is not in the list")
			}
			return n, nil
		}, true
	case "append", "extend":
		return func(r *Run, l *List, a *args) (any, error) {
			in, err := a.take(name, "value!")
			if err != nil {
				return nil, err
			}
			if l.frozen || l.Tuple {
				return nil, errors.New("a template can't change a variable; add lists with +")
			}
			more := in[:1]
			if name == "extend" {
				if more, err = r.iterate(in[0]); err != nil {
					return nil, err
				}
			}
			if in[0] == any(l) {
				return nil, errors.New("a list can't hold itself")
			}
			l.Items = append(slices.Clip(l.Items), more...)
			return nil, r.spend(len(l.Items))
		}, true
	}
	return nil, false
}

func dictMethod(d *Dict, name string) func(r *Run, a *args) (any, error) {
	switch name {
	case "items":
		return func(r *Run, _ *args) (any, error) { return newList(d.pairs()), r.spend(d.Len()) }
	case "keys":
		return func(r *Run, _ *args) (any, error) { return newList(slices.Clone(d.keys)), r.spend(d.Len()) }
	case "values":
		return func(r *Run, _ *args) (any, error) { return newList(slices.Clone(d.vals)), r.spend(d.Len()) }
	case "copy":
		return func(r *Run, _ *args) (any, error) { return (&combiner{run: r, lists: "replace"}).merge(d, NewDict(0)) }
	case "get":
		return func(r *Run, a *args) (any, error) {
			in, err := a.take("get", "key!", "default")
			if err != nil {
				return nil, err
			}
			if v, ok := d.Get(in[0]); ok {
				return r.Force(v)
			}
			return in[1], nil
		}
	case "update":
		return func(r *Run, a *args) (any, error) {
			if d.frozen {
				return nil, errors.New("a template can't change a variable; merge dictionaries with combine")
			}
			v, err := dictOf(r, a)
			if err != nil {
				return nil, err
			}
			from := v.(*Dict)
			for i, k := range from.keys {
				_ = d.Set(k, from.vals[i]) // is a key already
			}
			return nil, r.spend(from.Len())
		}
	}
	return nil
}
