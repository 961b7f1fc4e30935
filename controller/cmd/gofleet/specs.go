package main

import (
	"errors"
	"fmt"

	"github.com/gofleet/gofleet/agent/spec"
	"github.com/gofleet/gofleet/agent/wire"
	"github.com/gofleet/gofleet/controller/internal/inventory"
	"github.com/gofleet/gofleet/controller/internal/report"
)

// prefix is what gofleet's variables begin with in an inventory.
const prefix = "gofleet_"

// parseSpecs reads the variables of every host. All errors of all hosts come
// at once; the report shows one that hosts share, as from group_vars, once.
func parseSpecs(hosts []*inventory.Host, o order) ([]*spec.Spec, error) {
	specs := make([]*spec.Spec, len(hosts))
	var found problems
	for i, h := range hosts {
		s, err := spec.Parse(h.Vars, spec.Options{
			Prefix: prefix, Required: o.action == wire.Apply, Raw: h.Raw,
		})
		var errs spec.Errors
		switch {
		case err == nil:
			specs[i] = s
		case errors.As(err, &errs):
			for _, e := range errs {
				found = append(found, report.Problem{
					Where: h.Origin(e.Path...).String(), Message: e.Error(), Hint: e.Hint, Hosts: []string{h.Name},
				})
			}
		default:
			return nil, fmt.Errorf("%s: %w", h.Name, err)
		}
	}
	return specs, found.errOrNil()
}
