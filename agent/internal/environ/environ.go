// Package environ plans what sessions on a host need to find Go: the shell
// profile, go.env in GOROOT, the deploy user's go/env for older releases, and
// the links in a directory that every PATH has. It knows nothing of how
// toolchains come to the host. Everything that it would refuse, it refuses
// while planning.
package environ

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/gofleet/gofleet/agent/internal/change"
	"github.com/gofleet/gofleet/agent/internal/durable"
	"github.com/gofleet/gofleet/agent/internal/hostfile"
	"github.com/gofleet/gofleet/agent/internal/record"
	"github.com/gofleet/gofleet/agent/spec"
	"github.com/gofleet/gofleet/agent/wire"
)

const (
	profilePath = "/etc/profile.d/gofleet.sh"
	systemBin   = "/usr/local/bin"
)

// commands are the programs that get a link.
var commands = []string{"go", "gofmt"}

// Plan looks at the host and gives the steps that make its sessions use the
// toolchain at target, a directory that the link s.Link leads or will lead to,
// and warnings. The target need not be there yet. The steps update rec in
// memory, and Plan notes in it what it found right.
//
// As root the profile is /etc/profile.d/gofleet.sh and the links are in
// /usr/local/bin. As an ordinary user the links are in s.Root/bin, there is no
// profile, and s.Environment is refused.
//
// The errors are *wire.Error of the kinds KindNeedsRoot, KindEnvironment and
// KindHost.
func Plan(ctx context.Context, s *spec.Spec, target string, rec *record.Record) ([]change.Step, []string, error) {
	p := &planner{rec: rec}
	if err := p.plan(ctx, s, target); err != nil {
		return nil, nil, wire.AsError(err, wire.KindHost)
	}
	return p.steps, p.warnings, nil
}

// PlanRemove gives the steps that take away all that Plan's steps set, and put
// back what was kept aside. What lies in toolchains goes with them.
func PlanRemove(ctx context.Context, rec *record.Record) ([]change.Step, []string, error) {
	p := &planner{rec: rec}
	if err := p.planRemove(ctx); err != nil {
		return nil, nil, wire.AsError(err, wire.KindHost)
	}
	return p.steps, p.warnings, nil
}

// Sweep removes temporary files that a run which was cut left where Plan's
// steps write. root is gofleet_root.
func Sweep(root string) error {
	if os.Geteuid() != 0 {
		return durable.Sweep(filepath.Join(root, "bin"))
	}
	return errors.Join(durable.Sweep(systemBin), durable.Sweep(filepath.Dir(profilePath)),
		durable.Sweep(filepath.Dir(pamPath)), durable.Sweep(filepath.Dir(systemdPath)))
}

type planner struct {
	rec      *record.Record
	steps    []change.Step
	warnings []string
}

func (p *planner) warn(format string, args ...any) {
	p.warnings = append(p.warnings, fmt.Sprintf(format, args...))
}

func (p *planner) plan(ctx context.Context, s *spec.Spec, target string) error {
	if err := check(s); err != nil {
		return err
	}
	modern, err := readsGoEnv(target)
	if err != nil {
		return err
	}
	p.forgetGone()
	if modern {
		if err := p.goEnv(s, target); err != nil {
			return err
		}
	}
	if err := p.userEnv(ctx, s, !modern); err != nil {
		return err
	}
	bin := systemBin
	if os.Geteuid() == 0 {
		if err := p.profile(s); err != nil {
			return err
		}
		if err := p.places(s); err != nil {
			return err
		}
	} else {
		bin = filepath.Join(s.Root, "bin")
		if s.Link == bin {
			return refused(fmt.Errorf("gofleet_link %s is where the links to go and gofmt go", s.Link), "choose another path, such as "+filepath.Join(s.Root, "current"))
		}
	}
	for _, c := range commands {
		if err := p.link(filepath.Join(bin, c), filepath.Join(s.Link, "bin", c)); err != nil {
			return err
		}
	}
	return nil
}

func (p *planner) planRemove(ctx context.Context) error {
	if err := p.recallUserEnv(ctx); err != nil {
		return err
	}
	if err := p.leaveUserEnv(ctx, ""); err != nil {
		return err
	}
	if err := p.places(&spec.Spec{}); err != nil {
		return err
	}
	for _, path := range slices.Sorted(maps.Keys(p.rec.Files)) {
		switch {
		case path == profilePath:
			steps, err := hostfile.PlanRemove(path, p.rec, wire.KindEnvironment)
			if err != nil {
				return err
			}
			p.steps = append(p.steps, steps...)
		case isLink(path, p.rec.Files[path]):
			if err := p.unlink(path); err != nil {
				return err
			}
		case filepath.Base(path) == goEnvName:
			delete(p.rec.Files, path)
		}
	}
	clear(p.rec.Shipped)
	return nil
}

// check refuses what would break out of the files that are written, although a
// Spec made by spec.Parse has none of it, and what needs root.
func check(s *spec.Spec) error {
	if os.Geteuid() != 0 && len(s.Environment) > 0 {
		return wire.NewError(wire.KindNeedsRoot,
			fmt.Errorf("gofleet_environment needs root: it is written to files of the system, such as %s", profilePath), "run with -b, or drop gofleet_environment")
	}
	if strings.ContainsAny(s.Link, ":\n\x00") {
		return refused(fmt.Errorf("gofleet_link %q cannot stand in PATH", s.Link), "choose a path without colons")
	}
	for option, env := range map[string]map[string]string{"gofleet_env": s.Env, "gofleet_environment": s.Environment} {
		for name, value := range env {
			if !isName(name) || name == "GOROOT" || name == "PATH" {
				return refused(fmt.Errorf("%s cannot set %q", option, name), "drop it")
			}
			if strings.ContainsAny(value, "\n\r\x00") {
				return refused(fmt.Errorf("%s: the value of %s has more than one line", option, name), "write it in one line")
			}
		}
	}
	for _, place := range s.EnvironmentFiles {
		for name, value := range s.Environment {
			if why := spec.Unwritable(place, name, value); why != "" {
				return refused(fmt.Errorf("gofleet_environment: the value of %s %s", name, why), "write another value")
			}
		}
	}
	return nil
}

func isName(s string) bool {
	for i, r := range s {
		letter := r == '_' || 'A' <= r && r <= 'Z' || 'a' <= r && r <= 'z'
		if !letter && (i == 0 || r < '0' || r > '9') {
			return false
		}
	}
	return s != ""
}

// readsGoEnv reports whether the toolchain reads go.env: Go 1.21 and later.
// Its VERSION file says what it is, or the directory's name where the toolchain
// isn't there yet.
func readsGoEnv(target string) (bool, error) {
	version := filepath.Base(target)
	b, err := os.ReadFile(filepath.Join(target, "VERSION"))
	switch {
	case err == nil:
		version, _, _ = strings.Cut(string(b), "\n")
	case !errors.Is(err, fs.ErrNotExist):
		return false, fmt.Errorf("read the toolchain's version: %w", err)
	}
	minor, ok := strings.CutPrefix(version, "go1.")
	if !ok {
		return true, nil // a development version
	}
	if i := strings.IndexFunc(minor, func(r rune) bool { return r < '0' || r > '9' }); i >= 0 {
		minor = minor[:i]
	}
	n, err := strconv.Atoi(minor)
	return err != nil || n >= 21, nil
}

// forgetGone drops the go.env files of toolchains that are no longer there.
func (p *planner) forgetGone() {
	for path := range p.rec.Files {
		if filepath.Base(path) != goEnvName {
			continue
		}
		if _, err := os.Lstat(filepath.Dir(path)); errors.Is(err, fs.ErrNotExist) {
			delete(p.rec.Files, path)
			delete(p.rec.Shipped, path)
		}
	}
}

func refused(err error, hint string) error { return wire.NewError(wire.KindEnvironment, err, hint) }
