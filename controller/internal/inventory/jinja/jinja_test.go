package jinja

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// vars is a Scope of plain values.
type vars map[string]any

func (v vars) Lookup(name string) (any, bool) { x, ok := v[name]; return x, ok }
func (v vars) Absent(name string) *Undefined {
	return &Undefined{Msg: fmt.Sprintf("%q is undefined", name)}
}

// evaluate gives a template's value in a few variables.
func evaluate(text string) (any, error) {
	t, err := Parse(text)
	if err != nil {
		return nil, err
	}
	r := New(Hooks{}).Run(vars{"s": "text", "n": int64(7), "l": Frozen([]any{int64(3), int64(1), int64(2)}, false)})
	x, err := t.Eval(r)
	if err != nil {
		return nil, err
	}
	if x, err = r.Force(x); err != nil {
		return nil, err
	}
	if u, ok := x.(*Undefined); ok {
		return nil, &UndefinedError{u}
	}
	return x, nil
}

// TestEval: the corpus of the inventory package compares with real Ansible;
// here stands what can be told without it.
func TestEval(t *testing.T) {
	for text, want := range map[string]any{
		"plain":                       "plain",
		"{{ n }}":                     int64(7),
		"{{ n }}!":                    "7!",
		"{{ none }}":                  nil,
		"{{ -7 // 2 }}":               int64(-4),
		"{{ -7 % 3 }}":                int64(2),
		"{{ 7 / 2 }}":                 3.5,
		"{{ 2 ** 10 }}":               int64(1024),
		"{{ not n > 7 and s }}":       "text",
		"{{ 1 < n <= 7 }}":            true,
		"{{ 'ex' in s }}":             true,
		"{{ s[-1] ~ s[1:3] }}":        "tex",
		"{{ l | sort | join('-') }}":  "1-2-3",
		"{{ l[0] if l else 'none' }}": int64(3),
		"{{ nope | default('d') }}":   "d",
		"{{ nope is defined }}":       false,
		"{% for x in l if x > 1 %}{{ x }},{% endfor %}": "3,2,",
		"{% set a = 1 %}{{ a + n }}":                    int64(8),
		"{% if n == 7 %}yes{% else %}no{% endif %}":     "yes",
		"{% raw %}{{ n }}{% endraw %}{# nothing #}":     "{{ n }}",
		"a {{- n -}} b":                                     "a7b",
		"{{ '%s-%02d' % ('a', 3) }}":                        "a-03",
		"{{ ' a '.strip().upper() }}":                       "A",
		"{{ {'a': {'b': 1}}.a.b }}":                         int64(1),
		"{{ 'k=v' | regex_replace('(.)=(.)', '\\2=\\1') }}": "v=k",
	} {
		got, err := evaluate(text)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s gives %#v, %v; want %#v", text, got, err, want)
		}
	}
}

// TestErrors: each kind of trouble has its type, by which the inventory
// chooses the hint.
func TestErrors(t *testing.T) {
	kinds := map[string]func(error) bool{
		"syntax":      func(err error) bool { var e *SyntaxError; return errors.As(err, &e) && !e.Unsupported && e.Line > 0 },
		"unsupported": func(err error) bool { var e *SyntaxError; return errors.As(err, &e) && e.Unsupported },
		"unknown":     func(err error) bool { var e *UnknownError; return errors.As(err, &e) },
		"undefined":   func(err error) bool { var e *UndefinedError; return errors.As(err, &e) },
		"too much":    func(err error) bool { return errors.Is(err, ErrTooMuch) },
	}
	for text, kind := range map[string]string{
		"{{ 1 + }}":                     "syntax",
		"{{ (1 }}":                      "syntax",
		"{{ 'open }}":                   "syntax",
		"{% if n %}":                    "syntax",
		"{{ n":                          "syntax",
		"{% include 'x' %}":             "unsupported",
		"{% macro m() %}{% endmacro %}": "unsupported",
		"{{ n | nofilter }}":            "unknown",
		"{{ n is notest }}":             "unknown",
		"{{ nope }}":                    "undefined",
		"{{ nope.deeper }}":             "undefined",
		"{{ 'a' * 99999999999 }}":       "too much",
		"{{ range(9999999) | list }}":   "too much",
		"{{ 2 ** 9999999 }}":            "too much",
		"{{ '%999999999d' % 1 }}":       "too much",
		"{{ ('a' * 9999999) | replace('a', 'b' * 99) }}":                                         "too much",
		strings.Repeat("{% for a in range(100) %}", 4) + "x" + strings.Repeat("{% endfor %}", 4): "too much",
	} {
		x, err := evaluate(text)
		if err == nil || !kinds[kind](err) {
			t.Errorf("%s gives %v, %T %v; want an error of the kind %s", text, x, err, err, kind)
		}
	}
}

func TestIsTemplate(t *testing.T) {
	for text, want := range map[string]bool{"": false, "a": false, "{": false, "{ {": false, "}}": false, "{{": true, "a{%": true, "{{{": true, "{#": true} {
		if IsTemplate(text) != want {
			t.Errorf("%q: %v", text, !want)
		}
	}
}
