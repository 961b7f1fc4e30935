package jinja

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
)

func intFilter(r *Run, v any, a *args) (any, error) {
	in, err := a.take("int", "default", "base")
	if err != nil {
		return nil, err
	}
	fallback := in[0]
	if fallback == nil {
		fallback = int64(0)
	}
	base := int64(10)
	if b, ok := in[1].(int64); ok {
		base = b
	}
	switch v := v.(type) {
	case bool, int64, *big.Int:
		b, _ := bigOf(v)
		return small(b), nil
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return fallback, nil
		}
		n, _ := big.NewFloat(v).Int(nil)
		return small(n), nil
	case string:
		if n, ok := pythonInt(v, int(base)); ok {
			return n, nil
		}
		if f, ok := pythonFloatOf(v); ok && !math.IsNaN(f) && !math.IsInf(f, 0) {
			n, _ := big.NewFloat(f).Int(nil)
			return small(n), nil
		}
	}
	return fallback, nil
}

// pythonInt is int(text, base).
func pythonInt(s string, base int) (any, bool) {
	s = strings.TrimSpace(s)
	bare := strings.TrimLeft(s, "+-")
	if len(s)-len(bare) > 1 || strings.HasPrefix(bare, "_") || strings.HasSuffix(bare, "_") || strings.Contains(bare, "__") || len(s) > 4000 {
		return nil, false
	}
	for p, b := range map[string]int{"0x": 16, "0o": 8, "0b": 2} {
		if b == base && len(bare) > 2 && strings.EqualFold(bare[:2], p) {
			s = strings.TrimSuffix(s, bare) + bare[2:]
		}
	}
	if base < 2 || base > 36 {
		return nil, false
	}
	n, ok := new(big.Int).SetString(strings.ReplaceAll(s, "_", ""), base)
	if !ok {
		return nil, false
	}
	return small(n), true
}

// pythonFloatOf is float(text).
func pythonFloatOf(s string) (float64, bool) {
	s = strings.TrimSpace(s)
	if strings.ContainsAny(s, "xXpP") || strings.HasPrefix(s, "_") || strings.HasSuffix(s, "_") {
		return 0, false
	}
	f, err := strconv.ParseFloat(strings.ReplaceAll(s, "_", ""), 64)
	if errors.Is(err, strconv.ErrRange) {
		err = nil
	}
	return f, err == nil
}

func floatFilter(_ *Run, v any, a *args) (any, error) {
	in, err := a.take("float", "default")
	if err != nil {
		return nil, err
	}
	if f, ok := floatOf(v); ok {
		return f, nil
	}
	if s, ok := v.(string); ok {
		if f, ok := pythonFloatOf(s); ok {
			return f, nil
		}
	}
	if in[0] != nil {
		return in[0], nil
	}
	return 0.0, nil
}

func absFilter(r *Run, v any, _ *args) (any, error) {
	switch v := v.(type) {
	case float64:
		return math.Abs(v), nil
	case int64, *big.Int, bool:
		b, _ := bigOf(v)
		return small(new(big.Int).Abs(b)), nil
	}
	return nil, fmt.Errorf("%s has no absolute value", typeName(v))
}

func roundFilter(_ *Run, v any, a *args) (any, error) {
	in, err := a.take("round", "precision", "method")
	if err != nil {
		return nil, err
	}
	f, ok := floatOf(v)
	if !ok {
		return nil, fmt.Errorf("%s can't be rounded", typeName(v))
	}
	digits, _ := in[0].(int64)
	if digits < -300 || digits > 300 {
		return nil, errors.New("more than 300 digits")
	}
	scale := math.Pow(10, float64(digits))
	switch in[1] {
	case nil, "common":
		if _, isInt := bigOf(v); isInt && digits >= 0 {
			return v, nil
		}
		if digits >= 0 { // Python rounds the exact decimal value
			f, _ = strconv.ParseFloat(strconv.FormatFloat(f, 'f', int(digits), 64), 64)
			return f, nil
		}
		return math.RoundToEven(f*scale) / scale, nil
	case "ceil":
		return math.Ceil(f*scale) / scale, nil
	case "floor":
		return math.Floor(f*scale) / scale, nil
	}
	return nil, fmt.Errorf("the method %v is not known", in[1])
}
