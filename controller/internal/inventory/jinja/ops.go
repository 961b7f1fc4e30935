package jinja

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"strings"
)

// equal is Python's ==. Lists and tuples differ, 1, 1.0 and True do not.
func (r *Run) equal(a, b any) (bool, error) {
	defer r.leave()
	if err := r.enter(); err != nil {
		return false, err
	}
	a, err := r.need(a)
	if err != nil {
		return false, err
	}
	if b, err = r.need(b); err != nil {
		return false, err
	}
	switch x := a.(type) {
	case nil:
		return b == nil, nil
	case string:
		y, ok := b.(string)
		return ok && x == y, nil
	case *List:
		y, ok := b.(*List)
		if !ok || x.Tuple != y.Tuple || len(x.Items) != len(y.Items) {
			return false, nil
		}
		for i := range x.Items {
			if eq, err := r.equal(x.Items[i], y.Items[i]); err != nil || !eq {
				return false, err
			}
		}
		return true, nil
	}
	if c, ok := compareNumbers(a, b); ok {
		return c == 0, nil
	}
	x, xok, err := r.Dict(a)
	if err != nil || !xok {
		return false, err
	}
	y, yok, err := r.Dict(b)
	if err != nil || !yok || len(x.keys) != len(y.keys) {
		return false, err
	}
	for i, k := range x.keys {
		v, ok := y.Get(k)
		if !ok {
			return false, nil
		}
		if eq, err := r.equal(x.vals[i], v); err != nil || !eq {
			return false, err
		}
	}
	return true, nil
}

// compareNumbers is -1, 0 or 1, or 2 where one is no number at all (NaN).
func compareNumbers(a, b any) (int, bool) {
	x, xok := bigOf(a)
	y, yok := bigOf(b)
	if xok && yok {
		return x.Cmp(y), true
	}
	f, fok := floatOf(a)
	g, gok := floatOf(b)
	switch {
	case !fok || !gok:
		return 0, false
	case f < g:
		return -1, true
	case f > g:
		return 1, true
	case f == g:
		return 0, true
	}
	return 2, true
}

// order is -1, 0 or 1 for what Python can put in order.
func (r *Run) order(a, b any) (int, error) {
	defer r.leave()
	if err := r.enter(); err != nil {
		return 0, err
	}
	a, err := r.need(a)
	if err != nil {
		return 0, err
	}
	if b, err = r.need(b); err != nil {
		return 0, err
	}
	if c, ok := compareNumbers(a, b); ok {
		return c, nil
	}
	switch x := a.(type) {
	case string:
		if y, ok := b.(string); ok {
			return strings.Compare(x, y), nil
		}
	case *List:
		y, ok := b.(*List)
		if !ok || x.Tuple != y.Tuple {
			break
		}
		for i := range min(len(x.Items), len(y.Items)) {
			eq, err := r.equal(x.Items[i], y.Items[i])
			if err != nil {
				return 0, err
			}
			if !eq {
				return r.order(x.Items[i], y.Items[i])
			}
		}
		return compareInts(len(x.Items), len(y.Items)), nil
	}
	return 0, fmt.Errorf("%s and %s have no order", typeName(a), typeName(b))
}

func compareInts(a, b int) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func (r *Run) compare(op string, a, b any) (bool, error) {
	switch op {
	case "==", "!=":
		eq, err := r.equal(a, b)
		return eq == (op == "=="), err
	case "in", "not in":
		in, err := r.contains(b, a)
		return in == (op == "in"), err
	}
	c, err := r.order(a, b)
	if err != nil || c == 2 {
		return false, err
	}
	switch op {
	case "<":
		return c < 0, nil
	case "<=":
		return c <= 0, nil
	case ">":
		return c > 0, nil
	}
	return c >= 0, nil
}

// contains is Python's in.
func (r *Run) contains(in, what any) (bool, error) {
	switch in := in.(type) {
	case string:
		s, ok := what.(string)
		if !ok {
			return false, fmt.Errorf("text can't contain %s", typeName(what))
		}
		return strings.Contains(in, s), nil
	case *List:
		for _, item := range in.Items {
			if eq, err := r.equal(item, what); err != nil || eq {
				return eq, err
			}
		}
		return false, nil
	case Object:
		s, ok := what.(string)
		if ok {
			_, ok = in.Get(s)
		}
		return ok, nil
	case *Dict:
		if _, err := keyOf(what); err != nil {
			return false, err
		}
		_, ok := in.Get(what)
		return ok, nil
	}
	return false, fmt.Errorf("%s contains nothing", typeName(in))
}

// maxBits bounds integers.
const maxBits = 1 << 16

// arithmetic is Python's, for numbers, text and lists.
func (r *Run) arithmetic(op string, a, b any) (any, error) {
	if err := r.spend(1); err != nil {
		return nil, err
	}
	switch {
	case op == "+":
		if v, ok, err := r.join(a, b); ok || err != nil {
			return v, err
		}
	case op == "*":
		if v, ok, err := r.repeat(a, b); ok || err != nil {
			return v, err
		}
	case op == "%":
		if s, ok := a.(string); ok {
			return r.percent(s, b)
		}
	}
	x, xok := bigOf(a)
	y, yok := bigOf(b)
	if xok && yok {
		return integers(op, x, y)
	}
	f, fok := floatOf(a)
	g, gok := floatOf(b)
	if !fok || !gok {
		return nil, fmt.Errorf("%s %s %s can't be computed", typeName(a), op, typeName(b))
	}
	return floats(op, f, g)
}

var errZero = errors.New("division by zero")

func integers(op string, x, y *big.Int) (any, error) {
	z := new(big.Int)
	switch op {
	case "+":
		z.Add(x, y)
	case "-":
		z.Sub(x, y)
	case "*":
		z.Mul(x, y)
	case "/":
		f, _ := floatOf(small(x))
		g, _ := floatOf(small(y))
		return floats(op, f, g)
	case "//", "%":
		if y.Sign() == 0 {
			return nil, errZero
		}
		q, m := new(big.Int).QuoRem(x, y, new(big.Int))
		if m.Sign() != 0 && m.Sign() != y.Sign() {
			q.Sub(q, big.NewInt(1))
			m.Add(m, y)
		}
		if z = q; op == "%" {
			z = m
		}
	case "**":
		if y.Sign() < 0 {
			f, _ := floatOf(small(x))
			g, _ := floatOf(small(y))
			return floats(op, f, g)
		}
		if x.BitLen() > 1 && (!y.IsInt64() || int64(x.BitLen())*min(y.Int64(), maxBits+1) > maxBits) {
			return nil, fmt.Errorf("%w: a number of more than %d bits", ErrTooMuch, maxBits)
		}
		if x.BitLen() <= 1 { // 0, 1 and -1
			if y.Sign() > 0 && x.Sign() == 0 {
				return int64(0), nil
			}
			if x.Sign() < 0 && y.Bit(0) == 1 {
				return int64(-1), nil
			}
			return int64(1), nil
		}
		z.Exp(x, y, nil)
	}
	if z.BitLen() > maxBits {
		return nil, fmt.Errorf("%w: a number of more than %d bits", ErrTooMuch, maxBits)
	}
	return small(z), nil
}

func floats(op string, f, g float64) (any, error) {
	switch op {
	case "+":
		return f + g, nil
	case "-":
		return f - g, nil
	case "*":
		return f * g, nil
	case "**":
		v := math.Pow(f, g)
		if math.IsNaN(v) && !math.IsNaN(f) && !math.IsNaN(g) || math.IsInf(v, 0) && !math.IsInf(f, 0) {
			return nil, errors.New("the power is no real number")
		}
		return v, nil
	}
	if g == 0 {
		return nil, errZero
	}
	switch op {
	case "/":
		return f / g, nil
	case "//":
		return math.Floor(f / g), nil
	}
	m := math.Mod(f, g)
	if m != 0 && (m < 0) != (g < 0) {
		m += g
	}
	return m, nil
}

// join adds text to text and lists to lists.
func (r *Run) join(a, b any) (any, bool, error) {
	switch x := a.(type) {
	case string:
		if y, ok := b.(string); ok {
			return x + y, true, r.text(len(x) + len(y))
		}
	case *List:
		if y, ok := b.(*List); ok && x.Tuple == y.Tuple {
			items := make([]any, 0, len(x.Items)+len(y.Items))
			items = append(append(items, x.Items...), y.Items...)
			return &List{Items: items, Tuple: x.Tuple}, true, r.spend(len(items))
		}
	}
	return nil, false, nil
}

// repeat multiplies text or a list by a number.
func (r *Run) repeat(a, b any) (any, bool, error) {
	if _, ok := a.(int64); ok {
		a, b = b, a
	}
	n, ok := b.(int64)
	if !ok {
		return nil, false, nil
	}
	n = max(n, 0)
	switch x := a.(type) {
	case string:
		if len(x) > 0 && n > int64(maxBytes/len(x)) {
			return nil, true, r.text(maxBytes + 1)
		}
		if err := r.text(len(x) * int(n)); err != nil {
			return nil, true, err
		}
		return strings.Repeat(x, int(n)), true, nil
	case *List:
		if len(x.Items) > 0 && n > int64(maxSteps/len(x.Items)) {
			return nil, true, r.spend(maxSteps + 1)
		}
		if err := r.spend(len(x.Items) * int(n)); err != nil {
			return nil, true, err
		}
		items := make([]any, 0, len(x.Items)*int(n))
		for range n {
			items = append(items, x.Items...)
		}
		return &List{Items: items, Tuple: x.Tuple}, true, nil
	}
	return nil, false, nil
}
