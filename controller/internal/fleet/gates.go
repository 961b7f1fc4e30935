package fleet

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/gofleet/gofleet/agent/spec"
	"github.com/gofleet/gofleet/agent/wire"
	"github.com/gofleet/gofleet/controller/internal/journal"
)

// lookAhead has every host say what the command would do, and reports whether
// the run may start. It sets the failures that it predicts against the budget;
// they are not spent yet.
func (r *run) lookAhead(ctx context.Context) bool {
	if !r.Rollout.LookAhead || r.Check {
		return true
	}
	r.Observer.Stage(Stage{Name: journal.StageAudit, Hosts: len(r.all)})
	predicted := account{budget: r.Rollout.Budget, scope: r.Rollout.Scope}
	var mu sync.Mutex // guards predicted and bad
	bad := map[int]Result{}
	j := r.job(journal.StageAudit)
	j.check, j.changes, j.stay = true, false, r.keeps(len(r.all))
	r.pass(ctx, r.halt, indices(len(r.all)), j, func(_ context.Context, i int, res Result) {
		r.Observer.Phase(res.Host, "")
		r.record(journal.StageAudit, &res)
		mu.Lock()
		defer mu.Unlock()
		predicted.enter(res.Status)
		if res.Status == wire.Failed || res.Status == wire.Unmet || res.Status == wire.Unreachable {
			bad[i] = res
		}
	})
	r.audited = r.Now()
	if r.interrupted(ctx) {
		return false
	}
	broken := r.Rollout.Budget.broken(predicted.spent, r.Rollout.Scope)
	switch {
	case broken == "":
		return true
	case r.Rollout.Force:
		r.Journal.Say(journal.Event{Kind: journal.KindForce, Stage: journal.StageAudit, Message: broken})
		r.Observer.Warn("", "started all the same (--force-start): in the audit beforehand, "+broken)
		return true
	}
	r.stop("no host was changed: in the audit beforehand, " + broken)
	for _, i := range slices.Sorted(maps.Keys(bad)) {
		res := bad[i]
		r.results[i], r.ended[i] = res, true
		r.spend(res.Status)
		r.Observer.Done(res)
	}
	return false
}

func indices(n int) []int {
	list := make([]int, n)
	for i := range list {
		list[i] = i
	}
	return list
}

// pause waits before the batch with index i, and reports whether it may begin.
func (r *run) pause(ctx context.Context, i int) bool {
	if r.Rollout.Pause == nil {
		return true
	}
	r.idle.close() // nobody knows for how long
	before := Batch{Run: r.Run, Number: r.Rollout.First + i, Of: r.Rollout.First + len(r.Rollout.Batches)}
	stage := Stage{Name: StagePause, Batch: before.Number, Of: before.Of}
	r.Observer.Stage(stage)
	ctx, cancel := r.untilStop(ctx)
	defer cancel()
	err := r.Rollout.Pause(ctx, before, func(t time.Time) {
		stage.Until = t
		r.Observer.Stage(stage)
	})
	if err != nil && ctx.Err() == nil {
		r.stop(fmt.Sprintf("after batch %d of %d: %v", before.Number, before.Of, err))
	}
	return err == nil
}

// untilStop is a context that Options.Stop ends too.
func (r *run) untilStop(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		select {
		case <-r.Stop:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

// gates has a batch's hosts looked at again, then asks the gates on the
// controller, and reports whether there were any and all let the run go on.
func (r *run) gates(ctx context.Context, b Batch, list []int) bool {
	if r.Check || !r.Rollout.Verify && len(r.Rollout.Gates) == 0 || r.over(ctx) {
		return false
	}
	if r.Rollout.Verify {
		r.verify(ctx, b, list)
	}
	ctx, cancel := r.untilStop(ctx)
	defer cancel()
	for _, g := range r.Rollout.Gates {
		if r.over(ctx) {
			break
		}
		r.Observer.Stage(Stage{Name: StageProbe, Batch: b.Number, Of: b.Of, Hosts: len(b.Hosts), Gate: g.Name})
		err := g.Check(ctx, b)
		if err != nil && ctx.Err() != nil {
			break
		}
		e := journal.Event{Kind: journal.KindGate, Batch: b.Number, Gate: g.Name, Status: wire.OK}
		if err != nil {
			e.Status, e.Message = wire.Failed, err.Error()
		}
		r.Journal.Say(e)
		if err != nil {
			r.stop(fmt.Sprintf("the gate after batch %d of %d: %v", b.Number, b.Of, err))
		}
	}
	return !r.over(ctx)
}

// verify looks at the hosts of a batch that came through: preconditions again,
// and the commands of gofleet_verify. A host that fails counts as failed from
// then on; where no budget says how many may, the first one stops the run.
func (r *run) verify(ctx context.Context, b Batch, list []int) {
	through := slices.DeleteFunc(slices.Clone(list), func(i int) bool {
		return !r.ended[i] || r.results[i].Status != wire.OK && r.results[i].Status != wire.Changed
	})
	r.Observer.Stage(Stage{Name: journal.StageGate, Batch: b.Number, Of: b.Of, Hosts: len(through)})
	j := job{stage: journal.StageGate, action: wire.Audit, check: true, verify: true, version: func(int) string { return "" }}
	r.pass(ctx, r.halt, through, j, func(ctx context.Context, i int, looked Result) {
		r.Observer.Phase(looked.Host, "")
		if looked.Error == nil || r.interrupted(ctx) {
			r.record(journal.StageGate, &looked)
			return
		}
		res := &r.results[i]
		res.Status, res.Checks, res.Phase = wire.Failed, looked.Checks, "gate"
		if looked.Status == wire.Unreachable {
			res.Status = wire.Unreachable
		}
		e := *looked.Error
		e.Message = fmt.Sprintf("gate after batch %d of %d: %s", b.Number, b.Of, e.Message)
		if e.Kind == wire.KindVerify {
			e.Hint = "the host has its new Go; with --rollback-on-stop a run that is stopped takes it back"
		}
		res.Error = &e
		noted := *res
		noted.Seconds, noted.Sent = looked.Seconds, 0
		r.record(journal.StageGate, &noted)
		r.Observer.Revise(*res)
		broken := r.spend(res.Status)
		if !r.Rollout.Budget.Given() {
			broken = fmt.Sprintf("%s failed the gate after batch %d of %d", res.Host, b.Number, b.Of)
		}
		if broken != "" {
			r.stop(broken)
		}
	})
}

// specFor is what the agent is told a host should be. What is on a host when
// it is rolled back or loses an old toolchain has met its preconditions once.
func (j job) specFor(s *spec.Spec, command wire.Action) spec.Spec {
	out := *s
	if j.verify && command != wire.Apply {
		out.Preconditions = spec.Preconditions{}
	}
	return out
}

// rounded is seconds in milliseconds, as they are kept.
func rounded(in map[string]float64) map[string]float64 {
	out := make(map[string]float64, len(in))
	for phase, s := range in {
		if !math.IsNaN(s) && !math.IsInf(s, 0) {
			out[phase] = math.Round(s*1000) / 1000
		}
	}
	return out
}
