package serve

import (
	"context"
	"errors"
	"fmt"

	"github.com/gofleet/gofleet/agent/internal/account"
	"github.com/gofleet/gofleet/agent/internal/baseline"
	"github.com/gofleet/gofleet/agent/internal/change"
	"github.com/gofleet/gofleet/agent/internal/environ"
	"github.com/gofleet/gofleet/agent/internal/netrc"
	"github.com/gofleet/gofleet/agent/internal/toolchain"
	"github.com/gofleet/gofleet/agent/wire"
)

// apply brings the host to what the Spec says, or describes how. First
// everything is planned, so that whatever is refused is refused before
// anything has changed; then the archive comes into staging, where nobody sees
// it; then the changes are made, the switch near the end.
func (j *job) apply(ctx context.Context) error {
	s := &j.task.Spec
	if s.GoVersion == "" { // an audit of whatever is there
		return j.applyToCurrent(ctx)
	}
	dir := j.store.Dir(s.GoVersion)
	p, err := j.planApply(ctx, dir)
	if err != nil {
		return err
	}
	j.report.Go.After = s.GoVersion
	j.noteDrift(ctx)
	if j.changes.Checking() {
		return j.describe(ctx, p)
	}

	if err := j.keepAgent(ctx); err != nil {
		return err
	}
	j.options.fault("agent kept")
	if err := j.receiveFiles(ctx); err != nil {
		return err
	}
	var staged *toolchain.Staged
	if !j.state.Ready() {
		if staged, err = j.receive(ctx); err != nil {
			return err
		}
	}
	if err := j.makeBeforeGo(ctx, p); err != nil {
		return errors.Join(err, staged.Discard())
	}
	if err := j.make(ctx, "install", j.installSteps(staged)); err != nil {
		return err
	}
	if staged == nil && len(p.link) > 0 {
		// It was verified when it was installed; since then it lay there unused.
		if err := j.verify(ctx, dir, s.GoVersion); err != nil {
			return err
		}
	}
	if err := j.make(ctx, "switch", p.link); err != nil {
		return err
	}
	// Planned again: a new toolchain brought a go.env of its own.
	if p.environ, err = j.planEnviron(ctx, dir); err != nil {
		return err
	}
	if err := j.make(ctx, "environment", p.environ); err != nil {
		return err
	}
	if err := j.requireProxy(ctx, dir); err != nil {
		return err
	}
	if err := j.make(ctx, "modules", j.removeModuleSteps()); err != nil {
		return err
	}
	if err := j.make(ctx, "services", p.after); err != nil {
		return err
	}
	return j.prune(ctx)
}

// applyPlan is what an apply is going to do, beside what comes with the
// archive.
type applyPlan struct {
	before                        []phase // before Go comes
	sources, link, environ, after []change.Step
}

// planApply plans everything that may be refused.
func (j *job) planApply(ctx context.Context, dir string) (p applyPlan, err error) {
	if p.before, err = j.planHost(ctx); err != nil {
		return p, err
	}
	if p.link, err = j.store.PlanSwitch(j.state, j.task.Spec.GoVersion, j.record); err != nil {
		return p, err
	}
	if p.environ, err = j.planEnviron(ctx, dir); err != nil {
		return p, err
	}
	if p.after, err = j.planBaseline(ctx, baseline.AfterGo); err != nil {
		return p, err
	}
	if err = j.missing(); err != nil {
		return p, err
	}
	if err = j.planFiles(ctx); err != nil {
		return p, err
	}
	p.sources, err = j.sourceSteps(ctx)
	return p, err
}

// describe says what would be done, in the order in which it would be.
func (j *job) describe(ctx context.Context, p applyPlan) (err error) {
	for _, b := range p.before {
		err = errors.Join(err, j.changes.Run(ctx, b.steps...))
		j.judgeSSHD(ctx, b)
	}
	for _, steps := range [][]change.Step{
		j.moduleSteps(), p.sources, j.installSteps(nil), p.link, p.environ, j.removeModuleSteps(), p.after,
	} {
		err = errors.Join(err, j.changes.Run(ctx, steps...))
	}
	err = errors.Join(err, j.prune(ctx))
	if j.task.Action == wire.Apply {
		err = errors.Join(err, j.judgeProxy(ctx, j.state.Link.Dir), unmet(j.report.Checks))
	}
	return err
}

// makeBeforeGo makes what the new toolchain is to find when it is verified.
func (j *job) makeBeforeGo(ctx context.Context, p applyPlan) error {
	for _, b := range p.before {
		if err := j.make(ctx, b.name, b.steps); err != nil {
			return err
		}
		j.judgeSSHD(ctx, b)
	}
	if err := j.judgePackages(ctx); err != nil {
		return err
	}
	if err := j.make(ctx, "modules", j.moduleSteps()); err != nil {
		return err
	}
	return j.make(ctx, "gopath", p.sources)
}

// applyToCurrent is apply where no version is asked for: an audit.
func (j *job) applyToCurrent(ctx context.Context) error {
	j.noteDrift(ctx)
	before, err := j.planHost(ctx)
	if err != nil {
		return err
	}
	for _, p := range before {
		if err := j.changes.Run(ctx, p.steps...); err != nil {
			return err
		}
		j.judgeSSHD(ctx, p)
	}
	if err := j.planFiles(ctx); err != nil {
		return err
	}
	if err := j.changes.Run(ctx, append(j.moduleSteps(), j.removeModuleSteps()...)...); err != nil {
		return err
	}
	steps, err := j.sourceSteps(ctx)
	if err != nil {
		return err
	}
	if err := j.changes.Run(ctx, steps...); err != nil {
		return err
	}
	if j.state.Link.Dir != "" {
		if steps, err = j.planEnviron(ctx, j.state.Link.Dir); err != nil {
			return err
		}
		if err := j.changes.Run(ctx, steps...); err != nil {
			return err
		}
	}
	if steps, err = j.planBaseline(ctx, baseline.AfterGo); err != nil {
		return err
	}
	return j.changes.Run(ctx, steps...)
}

// make runs steps as a phase, and keeps what they note in the host's record:
// what they are about to give, lest a run that is cut forget it, and then what
// they gave.
func (j *job) make(ctx context.Context, phase string, steps []change.Step) error {
	if len(steps) == 0 {
		return nil
	}
	j.phaseBegins(phase)
	if err := j.saveRecord(); err != nil {
		return err
	}
	j.options.fault("announced " + phase)
	if err := j.changes.Run(ctx, steps...); err != nil {
		return err
	}
	if err := j.saveRecord(); err != nil {
		return err
	}
	j.options.fault("recorded " + phase)
	return nil
}

// noteDrift notes what of the wanted toolchain is no longer as installed, or,
// where another one is wanted, of the current one.
func (j *job) noteDrift(ctx context.Context) {
	drift := j.state.Drift
	if j.state.Wanted == nil && j.state.Current != nil && j.wanted() != "" {
		if current, err := j.store.Inspect(ctx, "", j.task.Deep); err == nil {
			drift = current.Drift
		}
	}
	j.report.Drift = append(j.report.Drift, drift...)
}

func (j *job) planAccount(ctx context.Context) ([]change.Step, error) {
	steps, warnings, err := account.Plan(ctx, &j.task.Spec, j.record)
	j.warn(warnings...)
	return steps, err
}

// judgeSSHD adds what sshd says of the accounts' keys to the report, behind the
// phase that makes accounts: in every audit but a gate's, of which nobody sees
// it, and otherwise only where something of an account changes. A host that is
// as it should be starts no sshd.
func (j *job) judgeSSHD(ctx context.Context, p phase) {
	if p.name == accountPhase && (j.task.Action == wire.Audit && !j.task.Verify || len(p.steps) > 0) {
		j.report.Checks = append(j.report.Checks, account.JudgeSSHD(ctx, &j.task.Spec)...)
	}
}

// accountPhase is the phase that makes accounts.
const accountPhase = "account"

// phase is a part of a run whose steps are made, and recorded, together.
type phase struct {
	name  string
	steps []change.Step
}

// planHost plans what the host is to have before Go comes: packages and the
// clock, accounts, and what those need to reach modules. It is there before a
// new toolchain is proved, whose commands may want it.
func (j *job) planHost(ctx context.Context) ([]phase, error) {
	install, err := j.planPackages(ctx)
	if err != nil {
		return nil, err
	}
	system, err := j.planBaseline(ctx, baseline.BeforeAccounts)
	if err != nil {
		return nil, err
	}
	accounts, err := j.planAccount(ctx)
	if err != nil {
		return nil, err
	}
	settings, err := j.planBaseline(ctx, baseline.BeforeGo)
	if err != nil {
		return nil, err
	}
	credentials, warnings, err := netrc.Plan(ctx, &j.task.Spec, j.record)
	j.warn(warnings...)
	if err != nil {
		return nil, err
	}
	return []phase{{"packages", install}, {"system", system}, {accountPhase, accounts}, {"settings", append(settings, credentials...)}}, nil
}

func (j *job) planBaseline(ctx context.Context, stage baseline.Stage) ([]change.Step, error) {
	steps, warnings, err := j.baselineRun().Plan(ctx, stage, &j.task.Spec, j.record)
	j.warn(warnings...)
	return steps, err
}

func (j *job) planEnviron(ctx context.Context, dir string) ([]change.Step, error) {
	steps, warnings, err := environ.Plan(ctx, &j.task.Spec, dir, j.record)
	j.warn(warnings...)
	return steps, err
}

// installSteps gives the step that installs what is staged, or none if the
// wanted toolchain is there and unaltered.
func (j *job) installSteps(staged *toolchain.Staged) []change.Step {
	if j.state.Ready() {
		return nil
	}
	version, repair := j.task.Spec.GoVersion, j.state.Wanted != nil
	step := change.Step{
		Name: "install go" + version,
		Diff: fmt.Sprintf("+++ %s\n", j.store.Dir(version)),
		Do: func(ctx context.Context) error {
			return j.store.Commit(ctx, staged, toolchain.Hooks{
				Prepare: func(dir string) error { return environ.WriteGoEnv(dir, &j.task.Spec) },
				Verify:  func(ctx context.Context, dir string) error { return j.verify(ctx, dir, version) },
			})
		},
	}
	if repair {
		step.Name = "repair go" + version
		return []change.Step{step}
	}
	step.Undo = func() error { return j.uninstall(version) }
	return []change.Step{step}
}

// uninstall removes a toolchain that this job installed and does not keep.
func (j *job) uninstall(version string) error {
	ctx := context.Background() // taking back is not to be interrupted
	state, err := j.store.Inspect(ctx, version, false)
	if err != nil || state.Wanted == nil {
		return err
	}
	steps, err := j.store.PlanRemove(state, version)
	if err != nil {
		return err
	}
	for _, s := range steps {
		if err := s.Do(ctx); err != nil {
			return err
		}
	}
	return nil
}

// prune removes toolchains beyond gofleet_keep.
func (j *job) prune(ctx context.Context) error {
	steps, warnings := j.store.PlanPrune(j.state, j.task.Spec.GoVersion, j.task.Spec.Keep)
	j.warn(warnings...)
	return j.changes.Run(ctx, steps...)
}

// missing is the error of a host that needs an archive which the controller
// does not have, or has for other hosts. An audit needs none, and who only
// checks may offer none.
func (j *job) missing() error {
	if r := j.task.Release; r != nil && r.Platform != j.platform {
		return wire.NewError(wire.KindProtocol, fmt.Errorf("an archive for %s was offered; this host is %s", r.Platform, j.platform), "")
	}
	needed := j.task.Action == wire.Apply && !j.state.Ready() && j.task.Release == nil
	if !needed || j.changes.Checking() && j.task.Missing == "" {
		return nil
	}
	return &wire.Error{Kind: wire.KindArchiveMissing, Message: j.task.Missing,
		Hint: "put the archive for this platform where gofleet_archives says (gofleet fetch gets it)"}
}
