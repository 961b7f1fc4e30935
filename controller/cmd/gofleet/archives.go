package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/gofleet/gofleet/agent/spec"
	"github.com/gofleet/gofleet/agent/wire"
	"github.com/gofleet/gofleet/controller/internal/agents"
	"github.com/gofleet/gofleet/controller/internal/fleet"
	"github.com/gofleet/gofleet/controller/internal/inventory"
	"github.com/gofleet/gofleet/controller/internal/release"
	"github.com/gofleet/gofleet/controller/internal/report"
)

// openArchives verifies, before anything is dialled, every archive that the
// hosts may want, each once. One that is missing is noted for the hosts of its
// platform; one that is not believed ends the run.
func (a *app) openArchives(ctx context.Context, ui *report.Reporter, set agents.Set, hosts []*inventory.Host, specs []*spec.Spec, o order) ([]map[spec.Platform]fleet.Offer, error) {
	offers := make([]map[spec.Platform]fleet.Offer, len(hosts))
	if o.action != wire.Apply {
		return offers, nil // nothing travels
	}
	known := map[string]map[spec.Platform]fleet.Offer{}
	var errs []error
	for i, h := range hosts {
		s := specs[i]
		location := resolve(s.Archives, h.Dir())
		key := fmt.Sprint(location, "\x00", s.GoVersion, "\x00", s.SHA256, "\x00", s.Preconditions.Arch)
		if known[key] == nil {
			found, err := openVersion(ctx, ui, set, location, s)
			if err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", h.Name, err))
				found = map[spec.Platform]fleet.Offer{}
			}
			known[key] = found
		}
		offers[i] = known[key]
	}
	return offers, errors.Join(errs...)
}

// openVersion opens the archives of one version for each platform that the
// preconditions let through and an agent exists for.
func openVersion(ctx context.Context, ui *report.Reporter, set agents.Set, location string, s *spec.Spec) (map[spec.Platform]fleet.Offer, error) {
	store, err := release.NewStore(release.Options{Location: location, Pins: s.SHA256, Progress: progress(ui)})
	if err != nil {
		return nil, err
	}
	offers := map[spec.Platform]fleet.Offer{}
	var errs []error
	for _, p := range set.Platforms() {
		if !allowed(s.Preconditions.Arch, p) {
			continue
		}
		archive, err := store.Open(ctx, s.GoVersion, p)
		var missing *release.MissingError
		if errors.As(err, &missing) {
			offers[p] = fleet.Offer{Missing: err}
			continue
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		offers[p] = fleet.Offer{Archive: archive}
	}
	return offers, errors.Join(errs...)
}

// allowed reports whether a precondition on machines lets a platform through.
func allowed(machines []string, p spec.Platform) bool {
	if len(machines) == 0 {
		return true
	}
	for _, m := range machines {
		if arch, ok := spec.ArchOfMachine(m); m == p.Arch || ok && arch == p.Arch {
			return true
		}
	}
	return false
}

// resolve makes a relative path of the inventory one of its directory.
func resolve(location, dir string) string {
	if location == "" || strings.Contains(location, "://") || filepath.IsAbs(location) {
		return location
	}
	if rest, ok := strings.CutPrefix(location, "~/"); ok {
		if home, err := os.UserHomeDir(); err == nil {
			return filepath.Join(home, rest)
		}
	}
	return filepath.Join(dir, location)
}
