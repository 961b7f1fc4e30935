package fleet

import (
	"context"
	"time"
)

// Rollout is how a run goes over its hosts when it does not take them all at
// once: in batches with gates between them, and within a budget.
type Rollout struct {
	Batches []int // how many hosts each has, in their order; nil: one batch
	First   int   // batches that were before this process; a resumed run counts on
	Scope   int   // hosts of the whole run, of which shares are parts; 0: those given
	Before  int   // of these, done before this process
	Budget  Budget

	// LookAhead has the whole scope looked at before the first host is changed.
	// Where that predicts a broken budget the run does not start, unless Force.
	LookAhead bool
	Force     bool

	Verify   bool   // after each batch, its hosts are looked at again
	Gates    []Gate // after that
	Pause    Pause  // before each batch but the first; nil: none
	TakeBack bool   // a run that is stopped rolls back what it has changed
}

// Batch is one of a run, as gates are told of it.
type Batch struct {
	Run    string
	Number int // from 1
	Of     int
	Hosts  []string
}

// Gate is asked on the controller whether a run may go on after a batch.
type Gate struct {
	Name  string
	Check func(ctx context.Context, b Batch) error
}

// Pause returns when the run may go on after a batch; an error stops it. It
// tells until when it waits, if it knows.
type Pause func(ctx context.Context, b Batch, until func(time.Time)) error

// Stage is what a run is at.
type Stage struct {
	Name  string    // journal.StageMain, StageAudit, StageGate, StageRollback, or one of those below
	Batch int       // from 1; 0 where the stage is not of one
	Of    int       // batches
	Hosts int       // that the stage is over
	Gate  string    // the gate that is asked
	Until time.Time // a pause's end, where it is known
}

// Stages in which no host is at work.
const (
	StagePause = "pause"
	StageProbe = "probe" // a gate on the controller is asked
)
