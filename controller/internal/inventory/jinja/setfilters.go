package jinja

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
