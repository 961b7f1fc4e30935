package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/gofleet/gofleet/agent/spec"
	"github.com/gofleet/gofleet/agent/wire"
	"github.com/gofleet/gofleet/controller/internal/inventory"
	"github.com/gofleet/gofleet/controller/internal/report"
)

// prefix is what gofleet's variables begin with in an inventory.
const prefix = "gofleet_"

// isOurs says whether a variable is one that a Spec is read from.
func isOurs(name string) bool { return strings.HasPrefix(name, prefix) }

// unevaluated are the problems of a host whose templates can't be evaluated.
func unevaluated(h *inventory.Host, err error) problems {
	var found problems
	for _, e := range inventory.Errors(err) {
		found = append(found, report.Problem{
			Where: inventory.Position{File: e.File, Line: e.Line}.String(), Message: e.Msg, Hint: e.Hint, Hosts: []string{h.Name},
		})
	}
	return found
}

// unquoted is a message about a variable without its value where that comes
// from a vault.
func unquoted(h *inventory.Host, name, message string) string {
	if !h.Secret(name) {
		return message
	}
	return name + ": its value comes from a vault and can't be used; it is not shown"
}

// parseSpecs reads the variables of every host. All errors of all hosts come
// at once; the report shows one that hosts share, as from group_vars, once.
func parseSpecs(hosts []*inventory.Host, o order) ([]*spec.Spec, error) {
	specs := make([]*spec.Spec, len(hosts))
	var found problems
	for i, h := range hosts {
		vars, err := h.Evaluate(isOurs)
		unknown := map[string]bool{} // said already
		for _, e := range inventory.Errors(err) {
			unknown[e.Variable] = true
		}
		found = append(found, unevaluated(h, err)...)
		s, err := spec.Parse(vars, spec.Options{
			Prefix: prefix, Required: o.action == wire.Apply, Raw: h.Written, Evaluated: true,
		})
		var errs spec.Errors
		switch {
		case err == nil:
			specs[i] = s
		case errors.As(err, &errs):
			for _, e := range errs {
				if unknown[e.Path[0]] {
					continue
				}
				found = append(found, report.Problem{
					Where: h.Origin(e.Path...).String(), Message: unquoted(h, e.Path[0], e.Error()), Hint: e.Hint, Hosts: []string{h.Name},
				})
			}
		default:
			return nil, fmt.Errorf("%s: %w", h.Name, err)
		}
	}
	return specs, found.errOrNil()
}
