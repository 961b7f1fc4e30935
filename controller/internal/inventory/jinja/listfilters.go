package jinja

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// listFilters are those that take or give lists.
func listFilters() map[string]pluginFunc {
	return map[string]pluginFunc{
		"length": lengthFilter, "list": listFilter, "first": firstFilter, "last": lastFilter,
		"min": extreme(-1), "max": extreme(1), "sum": sumFilter, "sort": sortFilter, "reverse": reverseFilter,
		"unique": uniqueFilter, "union": setFilter(func(a, b bool) bool { return true }),
		"intersect":            setFilter(func(a, b bool) bool { return a && b }),
		"difference":           setFilter(func(a, b bool) bool { return a && !b }),
		"symmetric_difference": setFilter(func(a, b bool) bool { return a != b }),
		"flatten":              flattenFilter, "map": mapFilter,
		"select": pickFilter(false, true), "reject": pickFilter(false, false),
		"selectattr": pickFilter(true, true), "rejectattr": pickFilter(true, false),
		"zip": zipFilter, "batch": batchFilter, "extract": extractFilter, "groupby": groupbyFilter,
	}
}

func lengthFilter(r *Run, v any, _ *args) (any, error) {
	switch v := v.(type) {
	case string:
		return int64(len([]rune(v))), nil
	case *List:
		return int64(len(v.Items)), nil
	}
	d, ok, err := r.Dict(v)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, fmt.Errorf("%s has no length", typeName(v))
	}
	return int64(d.Len()), nil
}

func listFilter(r *Run, v any, _ *args) (any, error) {
	items, err := r.iterate(v)
	return newList(slices.Clone(items)), err
}

func firstFilter(r *Run, v any, _ *args) (any, error) {
	items, err := r.iterate(v)
	if err != nil {
		return nil, err
	}
	if len(items) == 0 {
		return undefined("the first of nothing"), nil
	}
	return r.Force(items[0])
}

func lastFilter(r *Run, v any, _ *args) (any, error) {
	items, err := r.iterate(v)
	if err != nil {
		return nil, err
	}
	if len(items) == 0 {
		return undefined("the last of nothing"), nil
	}
	return r.Force(items[len(items)-1])
}

// folded makes text lower case unless case counts.
func (r *Run) folded(v any, caseCounts bool) (any, error) {
	v, err := r.need(v)
	if s, ok := v.(string); ok && !caseCounts {
		return strings.ToLower(s), err
	}
	return v, err
}

func extreme(sign int) pluginFunc {
	return func(r *Run, v any, a *args) (any, error) {
		in, err := a.take("min and max", "case_sensitive", "attribute")
		if err != nil {
			return nil, err
		}
		items, err := r.iterate(v)
		if err != nil {
			return nil, err
		}
		if len(items) == 0 {
			return undefined("the least or greatest of nothing"), nil
		}
		counts := true // Ansible's own min and max are Python's
		if in[0] != nil {
			if counts, err = r.truth(in[0]); err != nil {
				return nil, err
			}
		}
		best := items[0]
		var bestKey any
		for i, item := range items {
			key, err := r.attributeOf(item, in[1])
			if err == nil {
				key, err = r.folded(key, counts)
			}
			if err != nil {
				return nil, err
			}
			if i == 0 {
				bestKey = key
				continue
			}
			c, err := r.order(key, bestKey)
			if err != nil {
				return nil, err
			}
			if c == sign {
				best, bestKey = item, key
			}
		}
		return r.Force(best)
	}
}

func sumFilter(r *Run, v any, a *args) (any, error) {
	in, err := a.take("sum", "attribute", "start")
	if err != nil {
		return nil, err
	}
	items, err := r.iterate(v)
	if err != nil {
		return nil, err
	}
	var total any = int64(0)
	if in[1] != nil {
		total = in[1]
	}
	for _, item := range items {
		x, err := r.attributeOf(item, in[0])
		if err == nil {
			x, err = r.need(x)
		}
		if err == nil {
			total, err = r.arithmetic("+", total, x)
		}
		if err != nil {
			return nil, err
		}
	}
	return total, nil
}

func sortFilter(r *Run, v any, a *args) (any, error) {
	in, err := a.take("sort", "reverse", "case_sensitive", "attribute")
	if err != nil {
		return nil, err
	}
	var flags [2]bool
	for i := range flags {
		if in[i] != nil {
			if flags[i], err = r.truth(in[i]); err != nil {
				return nil, err
			}
		}
	}
	items, err := r.iterate(v)
	if err != nil {
		return nil, err
	}
	attributes := []any{in[2]}
	if s, ok := in[2].(string); ok {
		attributes = attributes[:0]
		for one := range strings.SplitSeq(s, ",") {
			attributes = append(attributes, one)
		}
	}
	return r.sorted(items, attributes, flags[0], flags[1])
}

// sorted sorts items by their attributes, keeping the order of equal ones.
func (r *Run) sorted(items, attributes []any, reverse, caseCounts bool) (any, error) {
	type keyed struct{ keys, item any }
	list := make([]keyed, len(items))
	for i, item := range items {
		var keys []any
		for _, attribute := range attributes {
			k, err := r.attributeOf(item, attribute)
			if err == nil {
				k, err = r.folded(k, caseCounts)
			}
			if err != nil {
				return nil, err
			}
			keys = append(keys, k)
		}
		list[i] = keyed{newList(keys), item}
	}
	var failed error
	slices.SortStableFunc(list, func(x, y keyed) int {
		c, err := r.order(x.keys, y.keys)
		if err != nil {
			failed = err
		}
		if reverse {
			return -c
		}
		return c
	})
	out := make([]any, len(list))
	for i, k := range list {
		out[i] = k.item
	}
	return newList(out), failed
}

func reverseFilter(r *Run, v any, _ *args) (any, error) {
	if s, ok := v.(string); ok {
		rs := []rune(s)
		slices.Reverse(rs)
		return string(rs), nil
	}
	items, err := r.iterate(v)
	items = slices.Clone(items)
	slices.Reverse(items)
	return newList(items), err
}

func flattenFilter(r *Run, v any, a *args) (any, error) {
	in, err := a.take("flatten", "levels", "skip_nulls")
	if err != nil {
		return nil, err
	}
	levels := int64(maxDepth)
	if n, ok := in[0].(int64); ok {
		levels = n
	}
	skip := true
	if in[1] != nil {
		if skip, err = r.truth(in[1]); err != nil {
			return nil, err
		}
	}
	var out []any
	var walk func(v any, levels int64) error
	walk = func(v any, levels int64) error {
		defer r.leave()
		if err := r.enter(); err != nil {
			return err
		}
		items, err := r.iterate(v)
		if err != nil {
			return err
		}
		for _, item := range items {
			if item, err = r.need(item); err != nil {
				return err
			}
			if l, ok := item.(*List); ok && levels > 0 {
				if err := walk(l, levels-1); err != nil {
					return err
				}
			} else if !skip || item != nil && item != "None" && item != "null" {
				out = append(out, item)
			}
		}
		return nil
	}
	err = walk(v, levels)
	return newList(out), err
}

func zipFilter(r *Run, v any, a *args) (any, error) {
	lists := make([][]any, 1+len(a.pos))
	n := 0
	for i, l := range append([]any{v}, a.pos...) {
		items, err := r.iterate(l)
		if err != nil {
			return nil, err
		}
		if lists[i] = items; i == 0 || len(items) < n {
			n = len(items)
		}
	}
	out := make([]any, n)
	for i := range out {
		row := make([]any, len(lists))
		for j := range lists {
			row[j] = lists[j][i]
		}
		out[i] = newList(row)
	}
	return newList(out), r.spend(n * len(lists))
}

func batchFilter(r *Run, v any, a *args) (any, error) {
	in, err := a.take("batch", "linecount!", "fill_with")
	if err != nil {
		return nil, err
	}
	n, ok := in[0].(int64)
	if !ok || n < 1 || n > maxSteps {
		return nil, errors.New("the size of a batch is a number from 1 on")
	}
	items, err := r.iterate(v)
	if err != nil {
		return nil, err
	}
	var out []any
	for part := range slices.Chunk(items, int(n)) {
		part = slices.Clone(part)
		if in[1] != nil {
			if err := r.spend(int(n)); err != nil {
				return nil, err
			}
			for len(part) < int(n) {
				part = append(part, in[1])
			}
		}
		out = append(out, newList(part))
	}
	return newList(out), nil
}
