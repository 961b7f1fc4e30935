package jinja

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
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

// set collects values, each once, in order.
type set struct {
	run   *Run
	items []any
	known map[any]bool
	rest  []any // what Python can't hash
}

func (s *set) has(v any) (bool, error) {
	if k, err := keyOf(v); err == nil {
		return s.known[k], s.run.spend(1)
	}
	return s.run.contains(newList(s.rest), v)
}

func (s *set) add(v any) error {
	had, err := s.has(v)
	if err != nil || had {
		return err
	}
	if k, err := keyOf(v); err == nil {
		if s.known == nil {
			s.known = map[any]bool{}
		}
		s.known[k] = true
	} else {
		s.rest = append(s.rest, v)
	}
	s.items = append(s.items, v)
	return nil
}

func (r *Run) setOf(v any) (*set, error) {
	items, err := r.iterate(v)
	if err != nil {
		return nil, err
	}
	s := &set{run: r}
	for _, item := range items {
		item, err := r.need(item)
		if err == nil {
			err = s.add(item)
		}
		if err != nil {
			return nil, err
		}
	}
	return s, nil
}

func uniqueFilter(r *Run, v any, a *args) (any, error) {
	in, err := a.take("unique", "case_sensitive", "attribute")
	if err != nil {
		return nil, err
	}
	counts := false
	if in[0] != nil {
		if counts, err = r.truth(in[0]); err != nil {
			return nil, err
		}
	}
	items, err := r.iterate(v)
	if err != nil {
		return nil, err
	}
	seen := &set{run: r}
	var out []any
	for _, item := range items {
		k, err := r.attributeOf(item, in[1])
		if err == nil {
			k, err = r.folded(k, counts)
		}
		if err != nil {
			return nil, err
		}
		had, err := seen.has(k)
		if err == nil && !had {
			out = append(out, item)
			err = seen.add(k)
		}
		if err != nil {
			return nil, err
		}
	}
	return newList(out), nil
}

// setFilter keeps what keep says of being in the first and in the second, in
// the order of the first and then of the second.
func setFilter(keep func(a, b bool) bool) pluginFunc {
	return func(r *Run, v any, a *args) (any, error) {
		in, err := a.take("the filter", "b!")
		if err != nil {
			return nil, err
		}
		x, err := r.setOf(v)
		if err != nil {
			return nil, err
		}
		y, err := r.setOf(in[0])
		if err != nil {
			return nil, err
		}
		out := &set{run: r}
		for i, side := range []*set{x, y} {
			other := []*set{y, x}[i]
			for _, item := range side.items {
				there, err := other.has(item)
				if err != nil {
					return nil, err
				}
				inX, inY := i == 0 || there, i == 1 || there
				if keep(inX, inY) {
					if err := out.add(item); err != nil {
						return nil, err
					}
				}
			}
		}
		return newList(out.items), nil
	}
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
