// Package baseline plans what a host is to have beside Go, as certificates of
// inner authorities. Each concern is one file with its facts, its check
// and its change, and one line in the table below. All are opt-in: what the
// inventory does not name is not looked at, unless an earlier run set it.
// Everything that a host cannot do is refused while planning.
package baseline

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/gofleet/gofleet/agent/internal/change"
	"github.com/gofleet/gofleet/agent/internal/record"
	"github.com/gofleet/gofleet/agent/spec"
	"github.com/gofleet/gofleet/agent/wire"
)

// A Stage is when in a run a part of the baseline is made.
type Stage int

const (
	BeforeAccounts Stage = iota // what accounts may need: packages, the clock
	BeforeGo                    // what Go and its verification may need
	AfterGo                     // what may only be once Go is there: services, the firewall
)

// concern is one part of the baseline. Its plan looks at the host and adds the
// steps that make it what p.want says, and those that take away what an earlier
// run set and p.want does not name; of a zero Spec that is everything.
type concern struct {
	variable string
	stage    Stage
	plan     func(ctx context.Context, p *planner) error
}

// concerns are in the order in which hosts are changed.
var concerns = []concern{
	{"time", BeforeAccounts, clock},
	{"directories", BeforeGo, directories},
	{"cache", BeforeGo, cache},
	{"ca_certificates", BeforeGo, trust},
	{"services", AfterGo, services},
	{"firewall", AfterGo, firewall}, // the last of all
}

// Run is what planning takes from a run beside the Spec. The zero Run looks as
// an ordinary audit does, and cannot change a firewall.
type Run struct {
	Deep  bool  // compare with what is in force, too
	Prove Prove // that a host can still be reached
}

// Plan is Run.Plan of the zero Run.
func Plan(ctx context.Context, stage Stage, s *spec.Spec, rec *record.Record) ([]change.Step, []string, error) {
	return Run{}.Plan(ctx, stage, s, rec)
}

// Plan gives the steps that one stage of the baseline of s needs, and warnings.
// The steps update rec in memory, and Plan notes in it what it found right.
//
// The errors are *wire.Error of the kinds KindNeedsRoot, KindBaseline and
// KindHost, and name the variable.
func (r Run) Plan(ctx context.Context, stage Stage, s *spec.Spec, rec *record.Record) ([]change.Step, []string, error) {
	p := &planner{want: s, rec: rec, run: r}
	for _, c := range concerns {
		if c.stage != stage {
			continue
		}
		p.variable = c.variable
		if err := c.plan(ctx, p); err != nil {
			return nil, nil, asWire(fmt.Errorf("gofleet_%s: %w", p.variable, err))
		}
	}
	return p.steps, p.warnings, nil
}

// PlanRemove gives the steps that take away what the steps of every stage set,
// the last stage first.
func (r Run) PlanRemove(ctx context.Context, rec *record.Record) (steps []change.Step, warnings []string, err error) {
	for stage := AfterGo; stage >= BeforeAccounts; stage-- {
		more, said, err := r.Plan(ctx, stage, &spec.Spec{}, rec)
		if err != nil {
			return nil, nil, err
		}
		steps, warnings = append(steps, more...), append(warnings, said...)
	}
	return steps, warnings, nil
}

// Sweep removes temporary files that a run which was cut left where Plan's
// steps write, and ends the change of a firewall that no login has proved. The
// caller holds the host's lock.
func Sweep() error {
	if os.Geteuid() != 0 {
		return nil
	}
	return errors.Join(sweepStores(), sweepTime(), sweepGuards(context.Background()))
}

type planner struct {
	root     string // "" but in tests
	want     *spec.Spec
	rec      *record.Record
	run      Run
	variable string // that is being planned
	steps    []change.Step
	warnings []string
}

func (p *planner) warn(message string) { p.warnings = append(p.warnings, message) }

// path is where a file of the host lies for us.
func (p *planner) path(host string) string { return filepath.Join("/", p.root, host) }

func refused(err error, hint string) error { return wire.NewError(wire.KindBaseline, err, hint) }

func asWire(err error) error {
	var e *wire.Error
	if errors.As(err, &e) {
		return wire.AsError(err, wire.KindHost)
	}
	return wire.NewError(wire.KindHost, err, "")
}
