package baseline

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/gofleet/gofleet/agent/internal/change"
	"github.com/gofleet/gofleet/agent/internal/record"
	"github.com/gofleet/gofleet/agent/spec"
	"github.com/gofleet/gofleet/agent/wire"
)

// What gofleet_services makes of a unit.
const (
	enabled  = "enabled"
	disabled = "disabled"
	masked   = "masked"
)

// unit is a service, or what starts one, as the host's init has it.
type unit struct {
	name     string // with its kind, for systemd
	names    []string
	there    bool
	file     string // what systemd calls the state of its unit file; OpenRC's runlevels
	active   bool
	oneshot  bool     // that it is not active says nothing
	needed   []string // by units that cannot be without it
	triggers []string // units that start it
}

// manager is the host's init.
type manager interface {
	// look gives what there is of units; those that are not there too.
	look(ctx context.Context, names []string) (map[string]*unit, error)
	// around are the units that name may mean, itself first.
	around(name string) []string
	// is tells whether a unit is what a list of gofleet_services wants.
	is(u *unit, want string) bool
	// make makes units what a list wants, and back what a unit was.
	make(ctx context.Context, want string, units []string) error
	back(ctx context.Context, name string, file string, active bool) error
	can(want string) error
}

// services plans gofleet_services.
func services(ctx context.Context, p *planner) error {
	if p.want.Services == nil && len(p.rec.Services) == 0 {
		return nil
	}
	if p.want.Image {
		p.warn("gofleet_services is left out: an image has no services that run")
		return nil
	}
	if os.Geteuid() != 0 {
		return wire.NewError(wire.KindNeedsRoot, errors.New("services of the host need root"), "run with -b, or drop gofleet_services")
	}
	m, err := p.manager()
	if err != nil {
		if p.want.Services == nil {
			p.warn("services that gofleet had changed stay as they are: " + err.Error())
			return nil
		}
		return err
	}
	wants := p.wantedServices()
	names := slices.Sorted(maps.Keys(p.rec.Services))
	for _, w := range wants {
		names = append(names, m.around(w.name)...)
	}
	units, err := m.look(ctx, names)
	if err != nil {
		return err
	}
	kept := map[string]bool{}
	for _, w := range wants {
		if err := p.service(ctx, m, w, units, kept); err != nil {
			return fmt.Errorf("%s: %s: %w", w.list, w.name, err)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(p.rec.Services)) {
		if !kept[name] {
			p.serviceBack(m, units[name], name)
		}
	}
	return nil
}

// wanted is one entry of gofleet_services.
type wanted struct{ list, name string }

func (p *planner) wantedServices() []wanted {
	var all []wanted
	if s := p.want.Services; s != nil {
		for _, name := range s.Enabled {
			all = append(all, wanted{enabled, name})
		}
		for _, name := range s.Disabled {
			all = append(all, wanted{disabled, name})
		}
		for _, name := range s.Masked {
			all = append(all, wanted{masked, name})
		}
	}
	return all
}

// service plans one entry: the unit, and with one that is to stop all that
// would start it again.
func (p *planner) service(ctx context.Context, m manager, w wanted, units map[string]*unit, kept map[string]bool) error {
	if err := m.can(w.list); err != nil {
		return err
	}
	var mine []*unit
	around := m.around(w.name)
	for i, name := range around {
		u := units[name]
		switch {
		case i > 0 && w.list == enabled: // a socket may be off on purpose
		case u.there:
			mine = append(mine, u)
		case i == 0 && w.list == enabled:
			return refused(fmt.Errorf("this host has no service %s", w.name), "install what brings it, or take it out of the list")
		case p.rec.Services[name] != nil: // gone with its package
			kept[name] = true
		}
	}
	if w.list != enabled {
		var err error
		if mine, err = p.withTriggers(ctx, m, mine); err != nil {
			return err
		}
	}
	var todo []*unit
	drift := false
	for _, u := range mine {
		kept[u.name] = true
		for _, name := range append([]string{u.name}, u.names...) {
			if why := spec.ProtectedService(name); why != "" && w.list != enabled {
				return refused(fmt.Errorf("it is %s here, which is not for gofleet to touch: %s", name, why), "take it out of the list")
			}
		}
		note := p.rec.Services[u.name]
		if note == nil {
			note = &record.Service{Before: u.file, Active: u.active}
			p.rec.Services[u.name] = note
		}
		if m.is(u, w.list) {
			note.Want = w.list
			continue
		}
		drift = drift || note.Want == w.list
		todo = append(todo, u)
	}
	if len(todo) == 0 {
		return nil
	}
	if w.list != enabled {
		if err := unneeded(ctx, m, mine); err != nil {
			return err
		}
	}
	p.steps = append(p.steps, p.serviceStep(m, w, todo, drift))
	return nil
}

// withTriggers adds the units that start one of units, be their names what
// they may.
func (p *planner) withTriggers(ctx context.Context, m manager, units []*unit) ([]*unit, error) {
	var more []string
	for _, u := range units {
		for _, t := range u.triggers {
			known := slices.ContainsFunc(units, func(o *unit) bool { return o.name == t || slices.Contains(o.names, t) })
			if !known && !slices.Contains(more, t) {
				more = append(more, t)
			}
		}
	}
	if len(more) == 0 {
		return units, nil
	}
	found, err := m.look(ctx, more)
	if err != nil {
		return nil, err
	}
	for _, name := range more {
		if u := found[name]; u.there {
			units = append(units, u)
		}
	}
	return units, nil
}

// unneeded refuses to stop what a unit needs that runs or starts with the host.
func unneeded(ctx context.Context, m manager, units []*unit) error {
	var names []string
	for _, u := range units {
		for _, n := range u.needed {
			if !slices.ContainsFunc(units, func(o *unit) bool { return o.name == n }) && !slices.Contains(names, n) {
				names = append(names, n)
			}
		}
	}
	if len(names) == 0 {
		return nil
	}
	found, err := m.look(ctx, names)
	if err != nil {
		return err
	}
	for _, n := range names {
		if u := found[n]; u.active || u.there && u.file == enabled {
			return refused(fmt.Errorf("%s requires it", n), "disable that one first, or take this one out of the list")
		}
	}
	return nil
}

// verbs name what a list does.
var verbs = map[string]string{enabled: "enable", disabled: "disable", masked: "mask"}

func (p *planner) serviceStep(m manager, w wanted, units []*unit, drift bool) change.Step {
	names := make([]string, len(units))
	diff := ""
	for i, u := range units {
		names[i] = u.name
		diff += fmt.Sprintf("%s: %s becomes %s\n", u.name, u.state(), w.list)
	}
	before := map[string]record.Service{}
	for _, name := range names {
		before[name] = *p.rec.Services[name]
	}
	return change.Step{
		Name: verbs[w.list] + " " + strings.Join(names, ", "), Path: unitPath(w.list, names[0]), Drift: drift, Diff: diff,
		Do: func(ctx context.Context) error {
			if err := m.make(ctx, w.list, names); err != nil {
				return err
			}
			for _, name := range names {
				p.rec.Services[name].Want = w.list
			}
			return nil
		},
		Undo: func() error {
			var errs []error
			for _, u := range units {
				errs = append(errs, m.back(context.Background(), u.name, u.file, u.active))
				note := before[u.name]
				p.rec.Services[u.name] = &note
			}
			return errors.Join(errs...)
		},
	}
}

// serviceBack plans that a unit which left the inventory is again what it was.
func (p *planner) serviceBack(m manager, now *unit, name string) {
	note := *p.rec.Services[name]
	if !now.there || now.file == note.Before && (now.active == note.Active || now.oneshot) || !m.is(now, note.Want) {
		delete(p.rec.Services, name) // gone, or somebody has decided otherwise
		return
	}
	was := &unit{file: note.Before, active: note.Active}
	p.steps = append(p.steps, change.Step{
		Name: "put " + name + " back", Diff: fmt.Sprintf("%s: %s becomes %s\n", name, now.state(), was.state()),
		Do: func(ctx context.Context) error {
			if err := m.back(ctx, name, note.Before, note.Active); err != nil {
				return err
			}
			delete(p.rec.Services, name)
			return nil
		},
		Undo: func() error {
			p.rec.Services[name] = &note
			return m.back(context.Background(), name, now.file, now.active)
		},
	})
}

func (u *unit) state() string {
	file := u.file
	if file == "" {
		file = "in no runlevel"
	}
	if u.active {
		return file + " and running"
	}
	return file + " and stopped"
}

// unitPath is the file by which a unit drifts.
func unitPath(list, name string) string {
	if list == masked {
		return "/etc/systemd/system/" + name
	}
	target := "multi-user"
	for kind, of := range map[string]string{".socket": "sockets", ".timer": "timers", ".path": "paths"} {
		if strings.HasSuffix(name, kind) {
			target = of
		}
	}
	return "/etc/systemd/system/" + target + ".target.wants/" + name
}
