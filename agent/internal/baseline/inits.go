package baseline

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gofleet/gofleet/agent/internal/hostcmd"
	"github.com/gofleet/gofleet/agent/spec"
)

// manager finds the init that runs the host's services.
func (p *planner) manager() (manager, error) {
	if tool := hostcmd.Find("systemctl"); tool != "" && isDir(p.path("/run/systemd/system")) {
		return systemd{tool}, nil
	}
	if update, service := hostcmd.Find("rc-update"), hostcmd.Find("rc-service"); update != "" && service != "" && isDir(p.path("/run/openrc")) {
		return openrc{p.path("/"), update, service}, nil
	}
	return nil, refused(errors.New("this host runs neither systemd nor OpenRC"), "drop gofleet_services for it")
}

// systemd is a manager by its one tool.
type systemd struct{ systemctl string }

func (s systemd) run(ctx context.Context, args ...string) (string, error) {
	out, err := hostcmd.Run(ctx, "", s.systemctl, args...)
	return string(out), err
}

// around are a service, and its socket, path and timer of the same name.
func (systemd) around(name string) []string {
	if bare := spec.BareUnit(name); bare != name {
		return []string{name}
	}
	return []string{name + ".service", name + ".socket", name + ".path", name + ".timer"}
}

func (systemd) can(string) error { return nil }

func (s systemd) look(ctx context.Context, names []string) (map[string]*unit, error) {
	units := map[string]*unit{}
	if len(names) == 0 {
		return units, nil
	}
	args := []string{"show", "--no-pager", "--property=Id,Names,LoadState,ActiveState,UnitFileState,Type,TriggeredBy,RequiredBy,RequisiteOf,BoundBy", "--"}
	out, err := s.run(ctx, append(args, names...)...)
	if err != nil {
		return nil, err
	}
	return systemdUnits(out, names)
}

// systemdUnits reads what "systemctl show" says of names, in their order and
// with an empty line between two.
func systemdUnits(out string, names []string) (map[string]*unit, error) {
	blocks := strings.Split(strings.TrimSpace(out), "\n\n")
	if len(blocks) != len(names) {
		return nil, fmt.Errorf("systemctl tells of %d units, asked for %d", len(blocks), len(names))
	}
	units := make(map[string]*unit, len(names))
	for i, block := range blocks {
		u := &unit{name: names[i]}
		for _, line := range strings.SplitAfter(block, "\n") {
			key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
			switch key {
			case "Id":
				if value != "" {
					u.names = append(u.names, value)
				}
			case "Names":
				u.names = append(u.names, strings.Fields(value)...)
			case "LoadState":
				u.there = value != "not-found" && value != ""
			case "ActiveState":
				u.active = value == "active" || value == "activating" || value == "reloading"
			case "UnitFileState":
				u.file = value
			case "Type":
				u.oneshot = value == "oneshot"
			case "TriggeredBy":
				u.triggers = strings.Fields(value)
			case "RequiredBy", "RequisiteOf", "BoundBy":
				u.needed = append(u.needed, strings.Fields(value)...)
			}
		}
		units[u.name] = u
	}
	return units, nil
}

// startsWithHost are the states of unit files that systemctl enable makes.
var startsWithHost = []string{"enabled", "enabled-runtime", "linked", "linked-runtime", "generated"}

func (systemd) is(u *unit, want string) bool {
	starts := slices.Contains(startsWithHost, u.file)
	switch want {
	case enabled:
		// What cannot be enabled, something else starts.
		return (starts || u.file == "static" || u.file == "indirect" || u.file == "alias") && (u.active || u.oneshot)
	case masked:
		return strings.HasPrefix(u.file, "masked") && !u.active
	}
	return !starts && !u.active
}

func (s systemd) make(ctx context.Context, want string, units []string) error {
	if want == enabled {
		if _, err := s.run(ctx, append([]string{"unmask", "--"}, units...)...); err != nil {
			return err
		}
	}
	if want == disabled {
		// Stopped first: what starts the others is among them.
		if _, err := s.run(ctx, append([]string{"stop", "--"}, units...)...); err != nil {
			return err
		}
	}
	_, err := s.run(ctx, append([]string{verbs[want], "--now", "--"}, units...)...)
	return err
}

func (s systemd) back(ctx context.Context, name, file string, active bool) error {
	var errs []error
	do := func(args ...string) {
		_, err := s.run(ctx, append(args, "--", name)...)
		errs = append(errs, err)
	}
	if strings.HasPrefix(file, masked) {
		do("mask", "--now")
		return errors.Join(errs...)
	}
	do("unmask")
	switch {
	case slices.Contains(startsWithHost, file):
		do("enable")
	case file == disabled:
		do("disable")
	}
	if active {
		do("start")
	} else {
		do("stop")
	}
	return errors.Join(errs...)
}

// openrc is a manager by files and two tools.
type openrc struct{ root, update, service string }

func (openrc) around(name string) []string { return []string{strings.TrimSuffix(name, ".service")} }

func (openrc) can(want string) error {
	if want == masked {
		return refused(errors.New("OpenRC has nothing like masked"), "write it under disabled")
	}
	return nil
}

func (o openrc) look(_ context.Context, names []string) (map[string]*unit, error) {
	units := map[string]*unit{}
	for _, name := range names {
		u := &unit{name: name}
		fi, err := os.Stat(filepath.Join(o.root, "etc/init.d", name))
		u.there = err == nil && fi.Mode().IsRegular()
		levels, err := filepath.Glob(filepath.Join(o.root, "etc/runlevels/*"))
		if err != nil {
			return nil, err
		}
		for _, level := range levels {
			if _, err := os.Lstat(filepath.Join(level, name)); err == nil {
				u.file = strings.TrimPrefix(u.file+","+filepath.Base(level), ",")
			}
		}
		_, err = os.Lstat(filepath.Join(o.root, "run/openrc/started", name))
		u.active = err == nil
		units[name] = u
	}
	return units, nil
}

func (openrc) is(u *unit, want string) bool {
	if want == enabled {
		return u.file != "" && u.active
	}
	return u.file == "" && !u.active
}

func (o openrc) make(ctx context.Context, want string, units []string) error {
	level := ""
	if want == enabled {
		level = "default"
	}
	for _, name := range units {
		if err := o.back(ctx, name, level, want == enabled); err != nil {
			return err
		}
	}
	return nil
}

// back gives a service its runlevels. What needs it is OpenRC's to refuse: a
// service that others need stops those too.
func (o openrc) back(ctx context.Context, name, levels string, active bool) error {
	now, err := o.look(ctx, []string{name})
	if err != nil {
		return err
	}
	u := now[name]
	var errs []error
	do := func(program string, args ...string) {
		_, err := hostcmd.Run(ctx, "", program, args...)
		errs = append(errs, err)
	}
	if levels != u.file {
		if u.file != "" {
			do(o.update, "del", name, "-a")
		}
		for _, level := range strings.Split(levels, ",") {
			if level != "" {
				do(o.update, "add", name, level)
			}
		}
	}
	switch {
	case active && !u.active:
		do(o.service, name, "start")
	case !active && u.active:
		do(o.service, name, "stop")
	}
	return errors.Join(errs...)
}
