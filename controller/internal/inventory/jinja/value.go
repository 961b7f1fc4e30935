package jinja

import (
	"fmt"
	"math"
	"math/big"
)

// Values are nil, bool, int64, *big.Int, float64, string, *List, *Dict,
// Object, *Undefined, Omit, functions, and Lazy ones that become any of these.

// Lazy is a value that is made when it is used. Force caches.
type Lazy interface{ Force(*Run) (any, error) }

// Undefined is what a name or key that isn't there gives. It spreads through
// attributes and filters.
type Undefined struct {
	Msg, Hint string
	Where     any // for the user of this package
}

func undefined(format string, args ...any) *Undefined {
	return &Undefined{Msg: fmt.Sprintf(format, args...)}
}

// Omit is the value of the name omit: the variable or entry is left out.
type Omit struct{}

// Object is a mapping whose entries are made when they are asked for.
type Object interface {
	Get(name string) (any, bool)
	Names() []string
}

// List is a list or tuple. Lists that belong to variables are frozen.
type List struct {
	Items  []any
	Tuple  bool
	frozen bool
}

// Frozen makes the list of a variable, which templates can't change.
func Frozen(items []any, tuple bool) *List { return &List{Items: items, Tuple: tuple, frozen: true} }

func newList(items []any) *List   { return &List{Items: items} }
func newTuple(items ...any) *List { return &List{Items: items, Tuple: true} }

// Dict is a dictionary in the order of Python's.
type Dict struct {
	keys, vals []any
	index      map[any]int
	frozen     bool
}

// NewDict makes a dictionary for n entries.
func NewDict(n int) *Dict {
	return &Dict{keys: make([]any, 0, n), vals: make([]any, 0, n), index: make(map[any]int, n)}
}

// Freeze keeps templates from changing the dictionary.
func (d *Dict) Freeze() *Dict {
	d.frozen = true
	return d
}

type bigKey string
type tupleKey string

// keyOf makes what Python takes for the same key equal in Go: 1, 1.0 and True.
func keyOf(k any) (any, error) {
	switch k := k.(type) {
	case nil, int64, string:
		return k, nil
	case bool:
		if k {
			return int64(1), nil
		}
		return int64(0), nil
	case float64:
		if k == math.Trunc(k) && math.Abs(k) < 1<<62 {
			return int64(k), nil
		}
		return k, nil
	case *big.Int:
		return bigKey(k.String()), nil
	case *List:
		if k.Tuple {
			return tupleKey(fmt.Sprintf("%#v", k.Items)), nil
		}
	}
	return nil, fmt.Errorf("%s can't be a key of a dictionary", typeName(k))
}

// Set adds or replaces an entry; keys that Python can't hash are errors.
func (d *Dict) Set(k, v any) error {
	h, err := keyOf(k)
	if err != nil {
		return err
	}
	if i, ok := d.index[h]; ok {
		d.vals[i] = v
		return nil
	}
	d.index[h] = len(d.keys)
	d.keys, d.vals = append(d.keys, k), append(d.vals, v)
	return nil
}

// Get finds an entry.
func (d *Dict) Get(k any) (any, bool) {
	h, err := keyOf(k)
	if err != nil {
		return nil, false
	}
	i, ok := d.index[h]
	if !ok {
		return nil, false
	}
	return d.vals[i], true
}

// Len is the number of entries.
func (d *Dict) Len() int { return len(d.keys) }

// Entry is the entry at a place.
func (d *Dict) Entry(i int) (key, value any) { return d.keys[i], d.vals[i] }

// Force makes the value of what is lazy.
func (r *Run) Force(v any) (any, error) {
	for range maxDepth {
		l, ok := v.(Lazy)
		if !ok {
			return v, nil
		}
		if err := r.enter(); err != nil {
			r.leave()
			return nil, err
		}
		var err error
		v, err = l.Force(r)
		r.leave()
		if err != nil {
			return nil, err
		}
	}
	return nil, ErrTooMuch
}

// need is a forced value that is not undefined.
func (r *Run) need(v any) (any, error) {
	v, err := r.Force(v)
	if u, ok := v.(*Undefined); ok && err == nil {
		return nil, &UndefinedError{u}
	}
	return v, err
}

// Dict is a mapping as a dictionary; false for what is none.
func (r *Run) Dict(v any) (*Dict, bool, error) {
	switch v := v.(type) {
	case *Dict:
		return v, true, nil
	case Object:
		names := v.Names()
		d := NewDict(len(names))
		for _, n := range names {
			x, ok := v.Get(n)
			if !ok {
				continue
			}
			if err := d.Set(n, x); err != nil {
				return nil, true, err
			}
		}
		return d, true, r.spend(len(names))
	}
	return nil, false, nil
}

// iterate gives the items of what Python can iterate over.
func (r *Run) iterate(v any) ([]any, error) {
	v, err := r.need(v)
	if err != nil {
		return nil, err
	}
	switch v := v.(type) {
	case *List:
		return v.Items, r.spend(len(v.Items))
	case string:
		items := make([]any, 0, len(v))
		for _, c := range v {
			items = append(items, string(c))
		}
		return items, r.spend(len(items))
	}
	d, ok, err := r.Dict(v)
	if ok {
		return d.keys, err
	}
	return nil, fmt.Errorf("%s can't be iterated over", typeName(v))
}

// truth is Python's.
func (r *Run) truth(v any) (bool, error) {
	v, err := r.need(v)
	if err != nil {
		return false, err
	}
	switch v := v.(type) {
	case nil:
		return false, nil
	case bool:
		return v, nil
	case int64:
		return v != 0, nil
	case *big.Int:
		return v.Sign() != 0, nil
	case float64:
		return v != 0, nil
	case string:
		return v != "", nil
	case *List:
		return len(v.Items) > 0, nil
	case *Dict:
		return len(v.keys) > 0, nil
	case Object:
		return len(v.Names()) > 0, nil
	}
	return true, nil
}

// typeName is the type in words for errors.
func typeName(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case bool:
		return "a boolean"
	case int64, *big.Int:
		return "an integer"
	case float64:
		return "a number"
	case string:
		return "text"
	case *List:
		if v.Tuple {
			return "a tuple"
		}
		return "a list"
	case *Dict, Object:
		return "a dictionary"
	case *function:
		return "a function"
	case Omit:
		return "omit"
	}
	return "an undefined value"
}

// big gives an integer of any size; false for what is none.
func bigOf(v any) (*big.Int, bool) {
	switch v := v.(type) {
	case int64:
		return big.NewInt(v), true
	case bool:
		if v {
			return big.NewInt(1), true
		}
		return new(big.Int), true
	case *big.Int:
		return v, true
	}
	return nil, false
}

// small turns a big integer that fits into an int64.
func small(b *big.Int) any {
	if b.IsInt64() {
		return b.Int64()
	}
	return b
}

// floatOf is a number as a float; false for what is none.
func floatOf(v any) (float64, bool) {
	switch v := v.(type) {
	case int64:
		return float64(v), true
	case bool:
		if v {
			return 1, true
		}
		return 0, true
	case float64:
		return v, true
	case *big.Int:
		f, _ := new(big.Float).SetInt(v).Float64()
		return f, true
	}
	return 0, false
}

// IsScalar says whether a value is nil, a boolean, a number or text.
func IsScalar(v any) bool {
	switch v.(type) {
	case nil, bool, int64, *big.Int, float64, string:
		return true
	}
	return false
}
