package inventory

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/gofleet/gofleet/controller/internal/inventory/jinja"
)

// Evaluate gives the host's variables as Vars does, with the templates of
// those that need names evaluated and their vault values decrypted; the
// others stay as they are. The result is not to be changed. The error is one
// *Error for each variable that can't be evaluated, joined; the result lacks
// these, and is good otherwise.
func (h *Host) Evaluate(need func(name string) bool) (map[string]any, error) {
	if h.inv == nil {
		return h.Vars, nil
	}
	h.inv.mu.Lock()
	defer h.inv.mu.Unlock()
	h.noteSealed(need)
	names := h.alive(need)
	if len(names) == 0 {
		return h.Vars, nil
	}
	out := maps.Clone(h.Vars)
	var errs []error
	for _, name := range names {
		v, keep, err := h.evaluate(name)
		switch {
		case err != nil:
			errs = append(errs, err)
			delete(out, name)
		case keep:
			out[name] = v
		default:
			delete(out, name)
		}
	}
	return out, errors.Join(errs...)
}

// alive are the needed variables that hold templates or vault values, sorted.
func (h *Host) alive(need func(string) bool) []string {
	var names []string
	add := func(name string) {
		if need(name) && !magic[name] {
			if v, ok := h.variable(name); ok && v.val.isDynamic() {
				names = append(names, name)
			}
		}
	}
	if h.lineage != nil && h.lineage.base != nil {
		for _, name := range h.lineage.base.alive {
			add(name)
		}
	}
	for _, level := range []map[string]variable{h.own, h.extra} {
		for name, v := range level {
			if v.val.isDynamic() {
				add(name)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// evaluate gives one variable; keep is false for one that is omitted.
func (h *Host) evaluate(name string) (v any, keep bool, err error) {
	t := h.inv.templates
	s := t.scopeOf(h)
	r := t.engine.Run(s)
	t.secret, t.texts = false, nil
	x, _ := s.Lookup(name)
	var found []Secret
	v, keep, err = t.native(r, x, []string{name}, &found)
	if t.secret {
		for _, text := range t.texts {
			found = append(found, Secret{Text: text})
		}
		h.noteSecrets(name, found)
	}
	if err == nil {
		return v, keep, nil
	}
	written, _ := h.variable(name)
	var known *Error
	var undefined *jinja.UndefinedError
	switch {
	case errors.As(err, &known):
		e := *known
		if !strings.HasPrefix(e.Msg, name+":") && !strings.HasPrefix(e.Msg, name+" ") {
			e.Msg = fmt.Sprintf("%s (needed by %s)", e.Msg, name)
		}
		e.Variable = name
		return nil, false, &e
	case errors.As(err, &undefined):
		p, ok := undefined.Where.(Position)
		if !ok {
			p = written.pos()
		}
		e := at(p, "%s: %s", name, undefined.Msg).hint("%s", undefined.Hint)
		e.Variable = name
		return nil, false, e
	}
	e := at(written.pos(), "%s: %v", name, err)
	e.Variable = name
	return nil, false, e
}

// native is a value of a template as Vars has it. What came from a vault on
// the way to it is added to found.
func (t *templates) native(r *jinja.Run, x any, path []string, found *[]Secret) (v any, keep bool, err error) {
	x, err = r.Force(x)
	if err != nil {
		return nil, false, err
	}
	// What is secret in one part says nothing of the next, but the whole is
	// secret with it.
	whole, part := t.secret, false
	defer func() { t.secret = whole || part }()
	inside := func(key string, item any) (v any, keep bool, err error) {
		v, keep, err = t.native(r, item, append(path, key), found)
		part, t.secret = part || t.secret, whole
		return v, keep, err
	}
	switch x := x.(type) {
	case jinja.Omit:
		return nil, false, nil
	case *jinja.Undefined:
		return nil, false, &jinja.UndefinedError{Undefined: x}
	case *jinja.List:
		out := make([]any, 0, len(x.Items))
		for i, item := range x.Items {
			v, keep, err := inside(strconv.Itoa(i), item)
			if err != nil {
				return nil, false, err
			}
			if keep {
				out = append(out, v)
			}
		}
		return out, true, nil
	}
	d, isDict, err := r.Dict(x)
	if err != nil {
		return nil, false, err
	}
	if !isDict {
		if !jinja.IsScalar(x) {
			return nil, false, errors.New("the template gives no value but a function")
		}
		if t.secret {
			*found = append(*found, secretScalar(path, x)...)
		}
		return x, true, nil
	}
	out := make(map[string]any, d.Len())
	for i := range d.Len() {
		key, item := d.Entry(i)
		v, keep, err := inside(keyName(key), item)
		if err != nil {
			return nil, false, err
		}
		if keep {
			out[keyName(key)] = v
		}
	}
	return out, true, nil
}

// Secret says whether the value of a variable comes from a vault, as far as
// Evaluate has found out: an error must not quote it then.
func (h *Host) Secret(name string) bool {
	if _, ok := h.secrets[name]; ok {
		return true
	}
	v, ok := h.variable(name)
	if !ok {
		return false
	}
	_, sealed := v.val.data.(Vault)
	return sealed || v.val.doc.isSecret()
}

// Written is Raw for what has no template on the way to it: the text of a
// value that was evaluated says nothing about the value.
func (h *Host) Written(path ...string) string {
	last, _, ok := h.find(path)
	if !ok || last.kind == scalarKind && jinja.IsTemplate(last.raw) && !last.unsafe {
		return ""
	}
	return last.raw
}
