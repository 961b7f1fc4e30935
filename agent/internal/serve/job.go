package serve

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/gofleet/gofleet/agent/internal/account"
	"github.com/gofleet/gofleet/agent/internal/baseline"
	"github.com/gofleet/gofleet/agent/internal/change"
	"github.com/gofleet/gofleet/agent/internal/environ"
	"github.com/gofleet/gofleet/agent/internal/precond"
	"github.com/gofleet/gofleet/agent/internal/record"
	"github.com/gofleet/gofleet/agent/internal/toolchain"
	"github.com/gofleet/gofleet/agent/policy"
	"github.com/gofleet/gofleet/agent/spec"
	"github.com/gofleet/gofleet/agent/tree"
	"github.com/gofleet/gofleet/agent/wire"
)

// patience is how long a job waits for another one to free the host.
const patience = 60 * time.Second

// job is one task on this host.
type job struct {
	*session
	task     *wire.Task
	options  Options
	platform spec.Platform
	asks     bool // a task without a release gets one when it asks for it

	store     *toolchain.Store
	tree      tree.Manifest // of the release, once it is known
	state     *toolchain.State
	modules   *files
	sources   *files
	packaging packaging
	record    *record.Record
	begun     []byte // the record when the job began, for taking back
	saved     []byte // the record as it stands on the host
	forget    bool   // it is being removed with all else
	changes   *change.Recorder
	warnings  []string
	report    wire.Report
	clock     stopwatch
}

// run does the task and always gives a report.
func (j *job) run(ctx context.Context) *wire.Report {
	j.clock = stopwatch{seconds: map[string]float64{}, now: time.Now}
	j.changes = change.NewRecorder(j.task.Check || j.task.Action == wire.Audit, j.task.Diff)
	j.changes.Fault = j.options.Fault
	err := j.look(ctx)
	if err == nil {
		err = j.act(ctx)
	}
	j.finish(ctx, err)
	return &j.report
}

// look gathers facts, checks preconditions and reads what is installed. It
// changes nothing.
func (j *job) look(ctx context.Context) (err error) {
	j.phaseBegins("check")
	s := &j.task.Spec
	if os.Getuid() != 0 && s.Root == spec.DefaultRoot {
		return wire.NewError(wire.KindNeedsRoot, fmt.Errorf("an ordinary user cannot install to %s", s.Root),
			"become root with -b or ansible_become, or set gofleet_root to a directory in the user's home")
	}
	layout, err := toolchain.NewLayout(s.Root, s.Link, os.Getuid())
	if err != nil {
		return err
	}
	if err := layout.CheckOwners(); err != nil {
		return err
	}
	// An ordinary user's layout has places of its own; everything after this
	// line uses those.
	s.Root, s.Link = layout.Root, layout.Link
	j.store = &toolchain.Store{Layout: layout, Gofleet: j.task.Gofleet, Fault: j.options.Fault}
	// Who changes the host looks again under the lock: closely only then.
	if err := j.inspect(ctx, j.task.Deep && j.changes.Checking()); err != nil {
		return err
	}
	facts, err := precond.Gather(ctx, s.Root)
	if err != nil {
		return err
	}
	j.report.Facts = facts
	if err := j.lookForCgo(ctx, facts); err != nil {
		return err
	}
	j.report.Checks = precond.Check(ctx, facts, s, j.task.Now,
		precond.Installed{Bytes: j.state.DiskBytes, Inodes: j.state.Inodes})
	return j.lookForPackages(ctx)
}

// inspect reads toolchains and the host's record.
func (j *job) inspect(ctx context.Context, deep bool) (err error) {
	if j.state, err = j.store.Inspect(ctx, j.wanted(), deep); err != nil {
		return err
	}
	j.report.Go = wire.GoChange{Before: j.state.Before, After: j.state.Before}
	return j.loadRecord()
}

func (j *job) loadRecord() (err error) {
	if j.record, err = record.Load(j.store.Root); err != nil {
		return err
	}
	j.begun, err = j.record.Encode()
	j.saved = j.begun
	return err
}

// wanted is the version that the task is about, if it names one.
func (j *job) wanted() string {
	if j.task.Action == wire.Apply || j.task.Action == wire.Audit {
		return j.task.Spec.GoVersion
	}
	return ""
}

// act is the task behind its checks.
func (j *job) act(ctx context.Context) error {
	switch j.task.Action {
	case wire.Audit:
		// Drift and what would change are told of unfit hosts too.
		if err := j.judgeProxy(ctx, j.state.Link.Dir); err != nil {
			return err
		}
		j.report.Checks = append(j.report.Checks, baseline.Checks(ctx, &j.task.Spec, true)...)
		return errors.Join(unmet(j.report.Checks), j.apply(ctx), j.verifyAgain(ctx))
	case wire.Apply:
		if err := unmet(j.report.Checks); err != nil {
			return err
		}
		err := j.lockedUnlessChecking(ctx, j.apply)
		if err == nil {
			j.report.Checks = append(j.report.Checks, baseline.Checks(ctx, &j.task.Spec, false)...)
		}
		return err
	case wire.Rollback:
		j.report.Checks = nil // what is on the host already has met them
		return j.lockedUnlessChecking(ctx, j.rollback)
	case wire.Remove:
		j.report.Checks = nil
		return j.lockedUnlessChecking(ctx, j.remove)
	}
	return wire.NewError(wire.KindProtocol, fmt.Errorf("the task asks for %q", j.task.Action), "")
}

func (j *job) lockedUnlessChecking(ctx context.Context, do func(context.Context) error) error {
	if j.changes.Checking() || j.task.Action != wire.Apply && j.store.Nothing() {
		return do(ctx)
	}
	return j.locked(ctx, do)
}

// locked does what changes the host: alone, on what it looks like then, with
// what a crash left swept away, and with everything taken back if it fails.
func (j *job) locked(ctx context.Context, do func(context.Context) error) (err error) {
	if err := j.refuseEarly(ctx); err != nil {
		return err
	}
	j.phaseBegins("lock")
	me := toolchain.Holder{PID: os.Getpid(), Run: j.task.Run, Controller: j.task.Controller, Since: time.Now()}
	lock, err := j.store.Lock(ctx, me, patience, func(h toolchain.Holder) {
		j.out.Write(wire.Event{Waiting: h.String()})
		j.options.fault("waiting")
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Unlock()) }()
	j.options.fault("locked")
	if err := j.loadRecord(); err != nil {
		return err
	}
	if err := j.store.Sweep(j.task.Release != nil || j.task.Modules != nil || j.task.Gopath != nil || j.task.Packages != nil || j.asks, j.record); err != nil {
		return err
	}
	if err := errors.Join(environ.Sweep(j.store.Root), account.Sweep(), baseline.Sweep()); err != nil {
		return err
	}
	if j.task.Packages == nil {
		if err := j.dropPackages(nil); err != nil { // a run was cut that had brought some
			return err
		}
	}
	if err := j.saveRecord(); err != nil {
		return err
	}
	if err := j.inspect(ctx, j.task.Deep); err != nil {
		return err
	}
	j.options.fault("swept")
	if err = do(ctx); err == nil {
		err = j.saveRecord()
	}
	j.options.fault("done")
	defer func() { err = errors.Join(err, j.dropPackages(err)) }() // taking back may need them
	if err != nil {
		j.takeBack()
	} else if j.task.Action == wire.Apply {
		j.sweepFiles(ctx)
	}
	return err
}

// refuseEarly plans what an ordinary user asked for before the lock is taken:
// that lies in the prefix, which does not exist until something is installed,
// and what needs root has to be refused before anything is there.
func (j *job) refuseEarly(ctx context.Context) error {
	if !j.store.User || j.task.Action != wire.Apply {
		return nil
	}
	if _, err := j.planHost(ctx); err != nil {
		return err
	}
	if _, err := j.planBaseline(ctx, baseline.AfterGo); err != nil {
		return err
	}
	_, err := j.planEnviron(ctx, j.store.Dir(j.task.Spec.GoVersion))
	return err
}

// takeBack undoes what the job has changed, the host's record too.
func (j *job) takeBack() {
	err := j.changes.Undo()
	before, parseErr := record.Parse(j.begun, record.Path(j.store.Root))
	if parseErr == nil {
		j.record = before
		err = errors.Join(err, j.saveRecord())
	}
	if err != nil {
		j.warn(fmt.Sprintf("not everything could be taken back: %v", err))
	}
}

func (j *job) warn(messages ...string) {
	for _, m := range messages {
		if !slices.Contains(j.warnings, m) {
			j.warnings = append(j.warnings, m)
		}
	}
}

// saveRecord writes the host's record if it differs from what is there, and
// if anything may be changed there.
func (j *job) saveRecord() error {
	now, err := j.record.Encode()
	if err != nil || j.forget || j.changes.Checking() || bytes.Equal(now, j.saved) {
		return err
	}
	j.saved = now
	return j.record.Save(j.store.Root)
}

// finish turns how the job ended into the report.
func (j *job) finish(ctx context.Context, err error) {
	r := &j.report
	if r.Actions = j.changes.Results(); !policy.Met(r.Checks) {
		r.Actions = nil // an audit has planned them, but no apply would make them
	}
	r.Drift = append(r.Drift, j.changes.Drift()...)
	if c := j.task.Spec.Cache; c != nil && c.Build != "" && (j.task.Action == wire.Audit || j.task.Action == wire.Apply && len(r.Actions) > 0) {
		j.warn(fmt.Sprintf("who is in group %s can put programs into %s that the others build with and run: users of one build cache trust each other", c.Group, c.Build))
	}
	r.Warnings = append(r.Warnings, j.warnings...)
	r.Changed = len(r.Actions) > 0
	r.Seconds = j.clock.stop()
	if err != nil {
		if cause := context.Cause(ctx); cause != nil && wire.AsError(err, "").Kind != wire.KindNoSpace {
			err = cause
		}
		r.Error = wire.AsError(err, wire.KindHost)
	}
	switch {
	case r.Error != nil && r.Error.Kind == wire.KindUnmet:
		r.Status = wire.Unmet
	case r.Error != nil:
		r.Status = wire.Failed
	case len(r.Drift) > 0 && j.task.Action == wire.Audit:
		r.Status = wire.Drifted
	case r.Changed:
		r.Status = wire.Changed
	default:
		r.Status = wire.OK
	}
}

// unmet is the error of a host that fails required preconditions, or nil.
func unmet(checks []wire.Check) error {
	if policy.Met(checks) {
		return nil
	}
	var names []string
	for _, c := range checks {
		if c.Status == wire.Fail {
			names = append(names, c.Name)
		}
	}
	return &wire.Error{Kind: wire.KindUnmet,
		Message: fmt.Sprintf("preconditions not met: %s", strings.Join(names, ", ")),
		Hint:    "each check says what is there, what is wanted and what to do; nothing was changed"}
}

// phaseBegins tells the controller, and times the phase.
func (j *job) phaseBegins(name string) {
	j.phase(name)
	j.clock.begin(name)
}

// stopwatch times phases, one after the other.
type stopwatch struct {
	now     func() time.Time
	seconds map[string]float64
	phase   string
	begun   time.Time
}

func (w *stopwatch) begin(phase string) {
	w.end()
	w.phase, w.begun = phase, w.now()
}

func (w *stopwatch) end() {
	if w.phase != "" {
		w.seconds[w.phase] += w.now().Sub(w.begun).Seconds()
	}
	w.phase = ""
}

func (w *stopwatch) stop() map[string]float64 {
	w.end()
	return maps.Clone(w.seconds)
}

func encode(v any) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode message: %w", err)
	}
	return b, nil
}
