package fleet

import (
	"context"
	"fmt"
	"slices"

	"github.com/gofleet/gofleet/agent/wire"
	"github.com/gofleet/gofleet/controller/internal/journal"
)

// takeBack rolls back what a stopped run has changed, if it is to: each host to
// the toolchain that it had, in the batches that it was changed in, the last
// one first. A host that cannot be taken back is left as it is, and says why.
func (r *run) takeBack(ctx context.Context) {
	if !r.Rollout.TakeBack || r.stopped == nil || r.Check || r.interrupted(ctx) {
		return
	}
	end := len(r.all)
	for n, size := range slices.Backward(r.Rollout.Batches) {
		first := end - size
		end = first
		var list []int
		for i := first; i < first+size; i++ {
			if r.takesBack(i) {
				list = append(list, i)
			}
		}
		if len(list) == 0 {
			continue
		}
		number := r.Rollout.First + n + 1
		r.batch = number
		r.Observer.Stage(Stage{Name: journal.StageRollback, Batch: number, Of: r.Rollout.First + len(r.Rollout.Batches), Hosts: len(list)})
		j := job{stage: journal.StageRollback, action: wire.Rollback, changes: true,
			version: func(i int) string { return r.results[i].Go.Before }}
		r.pass(ctx, nil, list, j, r.tookBack)
	}
}

// takesBack reports whether there is a toolchain to go back to on a host that
// this run has changed.
func (r *run) takesBack(i int) bool {
	res := &r.results[i]
	why := ""
	switch {
	case res.Unknown:
		why = "not taken back: what was done on it is not known"
	case !r.ended[i] || !res.Changed || res.Status != wire.Changed && res.Phase != "gate":
		return false
	case res.Go.Before == "":
		why = "not taken back: it had no Go before"
	case res.Go.Before == res.Go.After:
		why = "not taken back: its Go is the one that it had, and nothing else is rolled back"
	}
	if why != "" {
		res.Warnings = append(slices.Clone(res.Warnings), why)
		r.Observer.Revise(*res)
		return false
	}
	return true
}

// tookBack notes how taking back a host ended.
func (r *run) tookBack(_ context.Context, i int, back Result) {
	res := &r.results[i]
	failed := res.Status == wire.Failed || res.Status == wire.Unreachable // its gate
	switch {
	case back.Error != nil:
		e := *back.Error
		e.Message = fmt.Sprintf("taking back to go%s: %s", res.Go.Before, e.Message)
		res.Status, res.Error, res.Unknown = wire.Failed, &e, back.Unknown
	case failed:
		res.Warnings = append(slices.Clone(res.Warnings), "taken back to go"+back.Go.After)
		res.Go.After = back.Go.After
	default:
		res.Status, res.Go.After = wire.Skipped, back.Go.After
		res.Error = &wire.Error{Kind: wire.KindRunStopped, Retryable: true,
			Message: fmt.Sprintf("taken back to go%s: %s", back.Go.After, r.stopped.Message)}
	}
	r.record(journal.StageRollback, &back)
	r.Observer.Revise(*res)
}
