package fleet

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gofleet/gofleet/agent/wire"
	"github.com/gofleet/gofleet/controller/internal/journal"
)

// ErrNoUpload is what a Conn's Upload error wraps where the host offers no
// SFTP, or refuses it; the bytes then travel through the agent's stdin.
var ErrNoUpload = errors.New("no upload channel")

// Run takes every host through the command and returns when all have ended:
// first a look at the whole scope if asked for, then batch after batch, each
// followed by its gates. One host's trouble never cancels another's; a broken
// budget or a gate that says no lets no further host begin. Closing
// Options.Stop does the same and asks the running hosts to end cleanly;
// cancelling ctx cuts every connection at once.
func Run(ctx context.Context, hosts []*Host, o Options) *Outcome {
	r := newRun(hosts, o)
	closeSites := r.openSites(ctx)
	stopFollowing := r.followUplink()
	r.tellBudget()
	if r.lookAhead(ctx) {
		r.batches(ctx)
	}
	r.idle.close()
	stopFollowing()
	closeSites()
	r.skipRest()
	r.takeBack(ctx)
	r.compare()
	return r.outcome(ctx)
}

// run is what the hosts of a run share.
type run struct {
	Options
	all      []*Host
	results  []Result
	ended    []bool // there is a result
	begun    time.Time
	audited  time.Time // when the audit beforehand had ended
	uploads  *limiter
	entry    *entry
	idle     lines // that a later pass goes on with
	settled  *Settled
	sites    map[*Seed]*site
	seeds    []SeedResult
	account  account
	spending sync.Mutex // guards account

	acknowledged atomic.Int64 // bytes of all uploads that hosts have
	done         []BatchResult

	mu      sync.Mutex
	stopped *Stopped
	halt    chan struct{} // closed with stopped
	batch   int           // the current one
}

func newRun(hosts []*Host, o Options) *run {
	r := &run{
		Options: o, all: hosts, begun: o.Now(),
		results: make([]Result, len(hosts)), ended: make([]bool, len(hosts)),
		uploads: newLimiter(o.Uploads),
		halt:    make(chan struct{}),
	}
	r.entry = newEntry(r.uploads)
	if r.Rollout.Scope == 0 {
		r.Rollout.Scope = len(hosts)
	}
	if r.Rollout.Batches == nil {
		r.Rollout.Batches = Batches(nil, len(hosts))
	}
	r.account = account{budget: r.Rollout.Budget, scope: r.Rollout.Scope}
	return r
}

// stop lets no further host begin. The first reason is the one that is told.
func (r *run) stop(message string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stopped != nil {
		return
	}
	first, detail, _ := strings.Cut(message, "\n")
	r.stopped = &Stopped{Batch: r.batch, Message: first, Detail: detail}
	r.Journal.Say(journal.Event{Kind: journal.KindStop, Batch: r.batch, Message: message})
	close(r.halt)
}

// over reports whether no further host is to begin.
func (r *run) over(ctx context.Context) bool {
	select {
	case <-r.halt:
		return true
	default:
		return r.interrupted(ctx)
	}
}

// interrupted reports whether the user ended the run.
func (r *run) interrupted(ctx context.Context) bool {
	select {
	case <-r.Stop:
		return true
	default:
		return ctx.Err() != nil
	}
}

// batches takes the hosts through the command, batch after batch.
func (r *run) batches(ctx context.Context) {
	first := 0
	for i, size := range r.Rollout.Batches {
		if r.over(ctx) || i > 0 && !r.pause(ctx, i) {
			return
		}
		r.oneBatch(ctx, i, first, size)
		first += size
	}
}

// oneBatch takes one batch through the command and its gates. What its hosts
// have become is durable before the gates are asked.
func (r *run) oneBatch(ctx context.Context, i, first, size int) {
	begun := r.Now()
	b := r.describe(i, first, size)
	r.mu.Lock()
	r.batch = b.Number
	r.mu.Unlock()
	if begun.Sub(r.audited) > keptFor {
		r.idle.close()
	}
	r.Journal.Say(journal.Event{Kind: journal.KindBatch, Batch: b.Number, Hosts: size})
	r.Observer.Stage(Stage{Name: journal.StageMain, Batch: b.Number, Of: b.Of, Hosts: size})
	list := make([]int, size)
	for n := range list {
		list[n] = first + n
	}
	j := r.job(journal.StageMain)
	j.stay = r.Rollout.Verify && !r.Check && r.keeps(size)
	r.pass(ctx, r.halt, list, j, r.main)
	if err := r.Journal.Sync(ctx); err != nil {
		r.stop(fmt.Sprintf("what was done could not be written down: %v", err))
	}
	gated := r.gates(ctx, b, list)
	r.done = append(r.done, BatchResult{Number: b.Number, Hosts: size, Gated: gated, Seconds: r.Now().Sub(begun).Seconds()})
}

func (r *run) describe(i, first, size int) Batch {
	b := Batch{Run: r.Run, Number: r.Rollout.First + i + 1, Of: r.Rollout.First + len(r.Rollout.Batches), Hosts: make([]string, size)}
	for n := range b.Hosts {
		b.Hosts[n] = r.all[first+n].Name
	}
	return b
}

// main notes how a host came through the command.
func (r *run) main(ctx context.Context, i int, res Result) {
	r.results[i], r.ended[i] = res, true
	r.record(journal.StageMain, &res)
	r.Observer.Done(res)
	if broken := r.spend(res.Status); broken != "" && !r.Check && !r.interrupted(ctx) {
		r.stop(broken)
	}
}

// spend counts a host's end, tells what is left of the budget where that was
// none of the good ones, and says what is broken after it.
func (r *run) spend(s wire.Status) (broken string) {
	r.spending.Lock() // what is told last is how it stands
	defer r.spending.Unlock()
	before := r.account.spent
	broken = r.account.enter(s)
	if r.account.spent != before {
		r.tellBudget()
	}
	return broken
}

// tellBudget tells what is left. r.spending is held, or no host is at work.
func (r *run) tellBudget() {
	if r.Rollout.Budget.Given() {
		r.Observer.Budget(r.Rollout.Budget.left(r.account.spent, r.account.scope))
	}
}

// job is what one pass asks of its hosts.
type job struct {
	stage   string
	action  wire.Action
	check   bool
	verify  bool
	changes bool // hosts may be changed
	stay    bool // the next pass goes on with the same connections and agents
	version func(i int) string
}

// job is the command itself.
func (r *run) job(stage string) job {
	return job{
		stage: stage, action: r.Command, check: r.Check,
		changes: r.Command != wire.Audit && !r.Check,
		version: func(int) string { return r.Version },
	}
}

// uploads tells whether hosts may come to want the archive.
func (j job) uploads() bool { return j.changes && j.action == wire.Apply }

// pass takes hosts through a job, as many at once as there are forks, and
// tells of each as it ends. It returns when all have that it began. It begins
// no further host once halt is closed or the run is interrupted.
func (r *run) pass(ctx context.Context, halt <-chan struct{}, list []int, j job, end func(ctx context.Context, i int, res Result)) {
	entering, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-halt:
		case <-r.Stop:
		case <-entering.Done():
		}
		cancel()
	}()
	var wg sync.WaitGroup
	next := make(chan int)
	for range min(max(r.Forks, 1), len(list)) {
		wg.Go(func() {
			for i := range next {
				end(ctx, i, r.host(ctx, i, j))
			}
		})
	}
	defer wg.Wait()
	defer close(next)
	for _, i := range list {
		if j.uploads() && r.entry.wait(entering) != nil {
			return
		}
		select { // a host that could begin does not win against an end
		case <-halt:
			return
		case <-r.Stop:
			return
		case <-ctx.Done():
			return
		default:
		}
		select {
		case next <- i:
		case <-halt:
			return
		case <-r.Stop:
			return
		case <-ctx.Done():
			return
		}
	}
}

// skipRest gives every host that was not begun its result.
func (r *run) skipRest() {
	for i, h := range r.all {
		if !r.ended[i] {
			r.results[i], r.ended[i] = r.notBegun(h), true
			r.Observer.Done(r.results[i])
		}
	}
}

// notBegun is the result of a host that the run did not come to.
func (r *run) notBegun(h *Host) Result {
	e := &wire.Error{Kind: wire.KindInterrupted, Message: "not begun: the run was interrupted", Retryable: true}
	if r.stopped != nil {
		e.Kind, e.Message = wire.KindRunStopped, "not begun: "+r.stopped.Message
	}
	return Result{Host: h.Name, Report: wire.Report{Status: wire.Skipped, Error: e}}
}

func (r *run) outcome(ctx context.Context) *Outcome {
	out := &Outcome{
		Run: r.Run, Command: r.Command, Check: r.Check, Results: r.results, Batches: r.done, Seeds: r.seeds, Settled: r.settled, Planned: len(r.Rollout.Batches),
		Stopped: r.stopped, Spent: r.account.spent, Before: r.Rollout.Before, Kept: r.Journal != nil,
		Interrupted: r.interrupted(ctx),
	}
	if broken := r.account.budget.broken(out.Spent, r.account.scope); r.Check && broken != "" {
		out.Stopped = &Stopped{Message: broken} // it would be
	}
	out.Seconds = r.Now().Sub(r.begun).Seconds()
	return out
}

// record keeps how a host ended.
func (r *run) record(stage string, res *Result) {
	e := journal.Event{
		Kind: journal.KindResult, Stage: stage, Batch: r.batch, Host: res.Host, Status: res.Status, Changed: res.Changed,
		Unknown: res.Unknown, Go: &res.Go, Error: journal.NewError(res.Error), Bytes: res.Sent, Seeded: res.Seeded, Seconds: rounded(res.Seconds),
	}
	if res.Error != nil {
		e.Phase = res.Phase
	}
	r.Journal.Say(e)
	if stage == journal.StageMain && res.Changed {
		r.Journal.WantSoon() // nobody waits for it
	}
}

// host takes one host through a job.
func (r *run) host(ctx context.Context, i int, j job) Result {
	h := r.all[i]
	start := r.Now()
	if r.HostTimeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, r.HostTimeout, hostTimeoutError(r.HostTimeout))
		defer cancel()
	}
	res := Result{Host: h.Name}
	c := &conversation{run: r, index: i, host: h, job: j, version: j.version(i), seconds: map[string]float64{}, proved: make(chan wire.Proof, 1)}
	if j.uploads() {
		defer c.entered.Do(func() { r.entry.leave(false) })
	}
	if j.changes {
		c.mark = r.Journal.Say(journal.Event{Kind: journal.KindBegin, Stage: j.stage, Batch: r.batch, Host: h.Name})
		r.Journal.Want(c.mark) // it has until the agent is up
	}
	report, err := c.hold(ctx)
	if report != nil {
		res.Report = *report
	}
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = causeError(cause, err)
		}
		res.fail(err)
		res.Unknown = c.tasked && j.changes
		if res.Error.Kind == wire.KindJournal {
			r.stop(res.Error.Message)
		}
	}
	res.Warnings = append(res.Warnings, c.notes()...)
	h.Mask.Report(&res.Report) // before the journal or anybody sees it
	if c.agent != nil {
		res.Platform = c.agent.Hello.Platform.String()
	}
	if res.Seconds == nil {
		res.Seconds = map[string]float64{}
	}
	for phase, s := range c.seconds {
		res.Seconds[phase] = s
	}
	res.Seconds["total"] = r.Now().Sub(start).Seconds()
	res.Sent, res.Seeded, res.Phase = c.sent.Load(), c.seeded.Load(), c.lastPhase()
	return res
}

// fail turns err into the result's status and error.
func (res *Result) fail(err error) {
	res.Error = wire.AsError(err, wire.KindInternal)
	switch res.Error.Kind {
	case wire.KindUnreachable, wire.KindTimeout, wire.KindAuth,
		wire.KindHostKeyUnknown, wire.KindHostKeyChanged, wire.KindHostKeyRevoked:
		res.Status = wire.Unreachable
	case wire.KindPlatform:
		res.Status = wire.Unmet
	default:
		res.Status = wire.Failed
	}
	var probed *ProbedError
	if errors.As(err, &probed) {
		res.Facts, res.Checks = probed.Facts, probed.Checks
		if probed.Unmet {
			res.Status = wire.Unmet
			res.Error.Kind, res.Error.Retryable = wire.KindUnmet, false
		}
	}
}

func hostTimeoutError(d time.Duration) error {
	return &wire.Error{Kind: wire.KindTimeout, Retryable: true,
		Message: fmt.Sprintf("not done within %s (--host-timeout)", d),
		Hint:    "give --host-timeout more, or look at what the host was doing in this phase"}
}

// causeError prefers why the context ended over the I/O error that followed.
func causeError(cause, err error) error {
	var w *wire.Error
	if errors.As(cause, &w) {
		return cause
	}
	return &wire.Error{Kind: wire.KindInterrupted, Retryable: true,
		Message: fmt.Sprintf("interrupted: %v", err),
		Hint:    "the next run finishes or cleans up what was begun"}
}
