// Package change is the one place through which the agent changes a host.
// The other packages look at the host and plan Steps; a Recorder runs them,
// or in check mode only describes them, and can take them back.
package change

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/gofleet/gofleet/agent/wire"
)

// Step is one change that a host needs. A plan that needs nothing has no steps.
type Step struct {
	Name  string                          // what it does, in the imperative: "write /etc/profile.d/gofleet.sh"
	Path  string                          // the file it is about, if it is about one
	Drift bool                            // gofleet had set this and somebody changed it
	Diff  string                          // unified diff or a short description; never a secret
	Do    func(ctx context.Context) error // makes the change; safe to run again after a crash
	Undo  func() error                    // takes Do back exactly; nil where nothing is to be taken back
}

// Recorder runs steps and remembers them.
type Recorder struct {
	// Fault, if set, is called after each step: "step 1", "step 2", … Tests
	// end the process there.
	Fault func(point string)

	check, diff bool
	results     []wire.ActionResult
	drift       []wire.Drift
	undo        []Step
}

// NewRecorder makes a Recorder. With check, steps are described and not run;
// without diff, descriptions carry no Diff.
func NewRecorder(check, diff bool) *Recorder { return &Recorder{check: check, diff: diff} }

// Checking reports whether steps are only described.
func (r *Recorder) Checking() bool { return r.check }

// Run makes each step in order, or describes it. It stops at the first error,
// which names the step.
func (r *Recorder) Run(ctx context.Context, steps ...Step) error {
	for _, s := range steps {
		if s.Drift && s.Path != "" {
			r.drift = append(r.drift, wire.Drift{Path: s.Path, How: how(s.Path)})
		}
		if !r.check {
			if err := ctx.Err(); err != nil {
				return err
			}
			// Registered before Do, so that a step which failed halfway is taken
			// back too; Undo must bear a Do that did nothing.
			r.undo = append(r.undo, s)
			if err := s.Do(ctx); err != nil {
				return fmt.Errorf("%s: %w", s.Name, err)
			}
			if r.Fault != nil {
				r.Fault(fmt.Sprintf("step %d", len(r.undo)))
			}
		}
		res := wire.ActionResult{Name: s.Name, Changed: true}
		if r.diff {
			res.Diff = s.Diff
		}
		r.results = append(r.results, res)
	}
	return nil
}

// Undo takes back every step that was run, the last first, and forgets the
// results. It goes on after an error and returns all of them.
func (r *Recorder) Undo() error {
	var errs []error
	for i := len(r.undo) - 1; i >= 0; i-- {
		if s := r.undo[i]; s.Undo != nil {
			if err := s.Undo(); err != nil {
				errs = append(errs, fmt.Errorf("take back %q: %w", s.Name, err))
			}
		}
	}
	r.undo, r.results = nil, nil
	return errors.Join(errs...)
}

// Results are the changes so far, in order.
func (r *Recorder) Results() []wire.ActionResult { return r.results }

// Drift is what the steps repaired or would repair of it.
func (r *Recorder) Drift() []wire.Drift { return r.drift }

// how is the way in which a file drifted whose step doesn't say.
func how(path string) string {
	st, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "missing"
	case err == nil && st.Mode()&fs.ModeSymlink != 0:
		if to, err := os.Readlink(path); err == nil {
			return fmt.Sprintf("leads to %q", to)
		}
	}
	return "content, mode or owner"
}
