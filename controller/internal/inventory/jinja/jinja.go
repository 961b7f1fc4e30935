// Package jinja evaluates Jinja2 templates as ansible-core 2.19 and later do:
// a template that is one expression keeps the type of its value, variables
// are evaluated when they are used, and what is undefined spreads until
// default or a test catches it. It has no files, processes or network of its
// own; what a lookup may do is for its user to decide.
//
// Templates are not trusted to end: an evaluation is bounded in its steps,
// its depth and the size of what it makes.
package jinja

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
)

// The bounds of one evaluation, lookups of other variables included.
const (
	maxSteps = 500_000  // nodes evaluated, and items of lists and dictionaries made
	maxBytes = 32 << 20 // text made
	maxDepth = 150      // templates within templates, and brackets within brackets
)

// Template is a parsed template. It may be evaluated by several goroutines.
type Template struct {
	body     []stmt
	trailing int // newlines at the end, which Jinja2 drops and Ansible puts back
}

// SyntaxError says what can't be read in a template. Unsupported is set for
// what Jinja2 knows and this package does not.
type SyntaxError struct {
	Line        int // within the template, from 1
	Msg         string
	Unsupported bool
}

func (e *SyntaxError) Error() string { return e.Msg }

// UndefinedError is the use of a value that is not defined.
type UndefinedError struct{ *Undefined }

func (e *UndefinedError) Error() string { return e.Msg }

// ErrTooMuch is wrapped by the error of an evaluation that went over a bound.
var ErrTooMuch = errors.New("the template takes too much")

// IsTemplate says whether text holds anything that a template would change.
func IsTemplate(text string) bool {
	i := strings.IndexByte(text, '{')
	for ; i >= 0 && i+1 < len(text); i++ {
		if text[i] == '{' && (text[i+1] == '{' || text[i+1] == '%' || text[i+1] == '#') {
			return true
		}
	}
	return false
}

// Scope resolves the names that a template uses.
type Scope interface {
	// Lookup gives a variable; false if there is none. The value may be Lazy.
	Lookup(name string) (any, bool)
	// Absent explains a name that is no variable, for the error.
	Absent(name string) *Undefined
}

// Hooks are what templates may reach beyond their variables. Nil ones are
// reported as unknown.
type Hooks struct {
	// Lookup answers lookup(name, terms...) with a list. It returns
	// *UnknownError for a plugin that it does not have.
	Lookup func(r *Run, name string, terms []any, options map[string]any) ([]any, error)
	// LoadJSON and LoadYAML read a document.
	LoadJSON, LoadYAML func(text string) (any, error)
}

// Engine is the filters, tests and hooks that evaluations share.
type Engine struct {
	hooks   Hooks
	plugins map[pluginKind]map[string]pluginFunc

	mu      sync.Mutex
	regexps map[string]*regexp.Regexp // compiled so far
}

// maxRegexps bounds the regular expressions that are kept.
const maxRegexps = 256

// compile compiles a regular expression, once for all hosts.
func (e *Engine) compile(s string) (*regexp.Regexp, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if re, ok := e.regexps[s]; ok {
		return re, nil
	}
	re, err := regexp.Compile(s)
	if err == nil {
		if e.regexps == nil || len(e.regexps) >= maxRegexps {
			e.regexps = map[string]*regexp.Regexp{}
		}
		e.regexps[s] = re
	}
	return re, err
}

// New makes an engine.
func New(h Hooks) *Engine {
	return &Engine{hooks: h, plugins: map[pluginKind]map[string]pluginFunc{
		filterPlugin: allFilters(),
		testPlugin:   allTests(),
	}}
}

// Run begins an evaluation.
func (e *Engine) Run(s Scope) *Run { return &Run{engine: e, Scope: s} }

// Run is one evaluation and what it has used up.
type Run struct {
	Scope  Scope
	engine *Engine

	steps, bytes, depth int
}

// In evaluates with the names of another scope, counting on.
func (r *Run) In(s Scope, f func() (any, error)) (any, error) {
	was := r.Scope
	r.Scope = s
	defer func() { r.Scope = was }()
	return f()
}

// spend counts steps.
func (r *Run) spend(n int) error {
	if r.steps += n; r.steps > maxSteps || n < 0 {
		return fmt.Errorf("%w: more than %d steps", ErrTooMuch, maxSteps)
	}
	return nil
}

// text counts text before it is made.
func (r *Run) text(n int) error {
	if r.bytes += n; r.bytes > maxBytes || n < 0 {
		return fmt.Errorf("%w: more than %d MiB of text", ErrTooMuch, maxBytes>>20)
	}
	return nil
}

// enter goes one deeper; the caller leaves again.
func (r *Run) enter() error {
	if r.depth++; r.depth > maxDepth {
		return fmt.Errorf("%w: nested more than %d deep", ErrTooMuch, maxDepth)
	}
	return r.spend(1)
}

func (r *Run) leave() { r.depth-- }

// Eval evaluates the template. What is undefined comes back as *Undefined,
// and only what is used in a wrong way is an error.
func (t *Template) Eval(r *Run) (any, error) {
	if err := r.enter(); err != nil {
		r.leave()
		return nil, err
	}
	defer r.leave()
	out := output{run: r}
	err := execAll(t.body, &frame{run: r}, &out)
	if err == nil {
		v, err2 := out.result(t.trailing)
		if err2 == nil {
			return v, nil
		}
		err = err2
	}
	var u *UndefinedError
	if errors.As(err, &u) {
		return u.Undefined, nil
	}
	return nil, err
}

// output collects what a template prints, which none is not. A single value
// keeps its type.
type output struct {
	run   *Run
	first any
	n     int
	b     strings.Builder
}

func (o *output) add(v any) error {
	v, err := o.run.Force(v)
	if v == nil || err != nil {
		return err
	}
	if o.n == 0 {
		o.first, o.n = v, 1
		return nil
	}
	if o.n == 1 {
		if err := o.write(o.first); err != nil {
			return err
		}
	}
	o.n++
	return o.write(v)
}

func (o *output) write(v any) error {
	s, err := o.run.Str(v)
	if err == nil {
		err = o.run.text(len(s))
	}
	o.b.WriteString(s)
	return err
}

func (o *output) result(trailing int) (any, error) {
	newlines := strings.Repeat("\n", trailing)
	switch o.n {
	case 0: // statements and comments alone
		if newlines != "" {
			return newlines, nil
		}
		return nil, nil
	case 1:
		v, err := o.run.Force(o.first)
		if s, ok := v.(string); ok {
			return s + newlines, err
		}
		return v, err
	}
	return o.b.String() + newlines, nil
}
