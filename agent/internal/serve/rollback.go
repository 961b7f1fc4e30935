package serve

import (
	"context"

	"github.com/gofleet/gofleet/agent/internal/account"
	"github.com/gofleet/gofleet/agent/internal/change"
	"github.com/gofleet/gofleet/agent/internal/environ"
	"github.com/gofleet/gofleet/agent/internal/netrc"
	"github.com/gofleet/gofleet/agent/wire"
)

// rollback goes back to the recorded previous toolchain, or to the one that
// the task names, and rewrites the environment from the inventory.
func (j *job) rollback(ctx context.Context) error {
	plan, err := j.store.PlanRollback(j.state, j.task.Version, j.record)
	if err != nil {
		return err
	}
	j.report.Go.After = plan.Version
	if plan.Dir == "" {
		return nil
	}
	environSteps, err := j.planEnviron(ctx, plan.Dir)
	if err != nil {
		return err
	}
	if len(plan.Steps) > 0 && !j.changes.Checking() {
		if err := j.verify(ctx, plan.Dir, plan.Version); err != nil {
			return err
		}
	}
	if err := j.make(ctx, "switch", plan.Steps); err != nil {
		return err
	}
	return j.make(ctx, "environment", environSteps)
}

// remove takes one version away, or with none named all that is ours.
func (j *job) remove(ctx context.Context) error {
	if j.task.Version != "" {
		steps, err := j.store.PlanRemove(j.state, j.task.Version)
		if err != nil && wire.AsError(err, "").Kind == wire.KindNotInstalled {
			return nil // a second remove has nothing to do
		}
		if err != nil {
			return err
		}
		return j.make(ctx, "remove", steps)
	}
	accountSteps, warnings, err := account.PlanRemove(ctx, j.record)
	if err != nil {
		return err
	}
	j.warn(warnings...)
	environSteps, warnings, err := environ.PlanRemove(ctx, j.record)
	if err != nil {
		return err
	}
	j.warn(warnings...)
	netrcSteps, err := netrc.PlanRemove(ctx, j.record)
	if err != nil {
		return err
	}
	baselineSteps, warnings, err := j.baselineRun().PlanRemove(ctx, j.record)
	if err != nil {
		return err
	}
	j.warn(warnings...)
	if err := j.planFiles(ctx); err != nil {
		return err
	}
	sourceSteps, err := j.sourceSteps(ctx)
	if err != nil {
		return err
	}
	toolchainSteps, warnings, err := j.store.PlanRemoveAll(j.state, j.record)
	if err != nil {
		return err
	}
	j.warn(warnings...)
	j.report.Go.After = ""
	j.forget = true
	for _, steps := range [][]change.Step{environSteps, netrcSteps, sourceSteps, accountSteps, baselineSteps, j.removeModuleSteps()} {
		if err := j.make(ctx, "remove", steps); err != nil {
			return err
		}
	}
	if !j.changes.Checking() {
		j.sweepFiles(ctx) // the root goes when it is empty
		// It lies in the default root, which goes when it is empty.
		cache, err := agentCache()
		if err != nil {
			return err
		}
		if err := cache.Remove(); err != nil {
			return err
		}
	}
	return j.make(ctx, "remove", toolchainSteps)
}
