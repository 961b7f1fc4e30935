// Package fleet is a run: one controller command over many hosts. It takes
// each host through its phases, bounds what goes on at once, and collects a
// Result for every host. It knows neither SSH nor terminals.
package fleet

import (
	"context"
	"io"
	"time"

	"github.com/gofleet/gofleet/agent/spec"
	"github.com/gofleet/gofleet/agent/wire"
	"github.com/gofleet/gofleet/controller/internal/journal"
	"github.com/gofleet/gofleet/controller/internal/release"
)

// Host is one host of a run, with everything decided before it is dialled.
type Host struct {
	Name    string
	Groups  []string // of the inventory, but all; for gofleet_uniform
	Spec    *spec.Spec
	Offers  map[spec.Platform]Offer // what the controller holds for the wanted version
	Modules *release.FileTree       // the module cache that it is to have; nil is none, or not known
	Gopath  *release.FileTree       // likewise the sources
	// Packages are those of the bundle; without any, NoPackages says why.
	Packages   *release.FileTree
	NoPackages string
	Connect    func(ctx context.Context) (Conn, error)
	Mask       *Mask // what no output may show; nil is nothing
	Seed       *Seed // from which it gets what travels; nil: from the controller. Hosts of a site share one
}

// Offer is a verified archive, or why there is none.
type Offer struct {
	Archive *release.Archive
	Missing error
}

// Conn is what a run needs from a connected host.
type Conn interface {
	// StartAgent runs the agent under become and returns after its Hello.
	StartAgent(ctx context.Context, s *spec.Spec) (*Agent, error)
	// Upload writes src from offset to size into dst, which exists. It calls
	// contiguous, in order, with how far dst is written without holes.
	// Where there is no SFTP, the error wraps ErrNoUpload.
	Upload(ctx context.Context, src io.ReaderAt, offset, size int64, dst string, contiguous func(int64)) error
	Close() error
}

// Agent is an agent that has said Hello.
type Agent struct {
	Hello wire.Hello
	In    io.Writer    // wire.Commands
	Out   *wire.Reader // wire.Events
	Close func() error // ends it; what its stderr said is in the error when it failed
	// Explain makes the best error of one that reading or writing gave.
	Explain func(error) error
}

// ProbedError is an agent that could not start on a host of which the shell
// told something.
type ProbedError struct {
	Err    error
	Facts  *wire.Facts
	Checks []wire.Check // of what the shell told
	Unmet  bool         // one of them failed
}

// Error is the reason why the agent could not start.
func (e *ProbedError) Error() string { return e.Err.Error() }

// Unwrap gives the reason.
func (e *ProbedError) Unwrap() error { return e.Err }

// Observer is told what goes on during a run. Its methods are called from
// many goroutines and must return quickly.
type Observer interface {
	Stage(Stage)                          // what the run is at
	Budget(left string)                   // how much of it is left, at the beginning and when some was spent
	Phase(host, phase string)             // dial, agent, check, wait, receive, verify, switch, ...; "": at rest
	Bytes(host string, done, total int64) // of the upload
	Warn(host, message string)
	Done(Result)
	Revise(Result) // a host that was done ended otherwise: its gate, or taking back
}

// Options are those of a run.
type Options struct {
	Run         string // the run's id
	Command     wire.Action
	Check       bool
	Diff        bool
	Deep        bool
	Version     string // rollback --to, remove --version
	Gofleet     string
	Controller  string          // user@machine
	Forks       int             // hosts at once
	Uploads     int             // uploads at once
	Meter       *Meter          // has the run find Uploads itself; nil: it stays as it is
	Encoding    string          // wire.Gzip or wire.Zstd; "" chooses by the number of hosts
	Whole       bool            // send whole archives, never only what a host lacks
	HostTimeout time.Duration   // for one host, all in all; 0 is none
	Stop        <-chan struct{} // closed: begin no host, ask running agents to end
	Observer    Observer
	Now         func() time.Time
	Rollout     Rollout
	Journal     *journal.Writer // nil: none is kept
}

// Result is how one host ended.
type Result struct {
	Host     string
	Platform string // linux/amd64; empty when the host was not reached
	wire.Report
	// Unknown: the host had its task, and no report came back. It may have been
	// changed.
	Unknown bool
	Sent    int64  // bytes of the archive, from the controller
	Seeded  int64  // bytes of it from the site's seed
	Phase   string // the last one that the host came to
}

// Outcome is a whole run.
type Outcome struct {
	Run         string
	Command     wire.Action
	Check       bool
	Results     []Result      // in the order of the hosts
	Batches     []BatchResult // that were begun
	Planned     int           // batches
	Seeds       []SeedResult  // that a host wanted something of
	Settled     *Settled      // what a Meter has shown; nil: there was none
	Interrupted bool
	Stopped     *Stopped // nil: nothing stopped it
	Spent       Spent
	Before      int  // hosts that were done before the run was resumed
	Kept        bool // there is a journal
	Seconds     float64
}

// BatchResult is how a batch went.
type BatchResult struct {
	Number  int // from 1, counted on when a run is resumed
	Hosts   int
	Gated   bool // every gate let the run go on
	Seconds float64
}

// Stopped is why a run let no further host begin.
type Stopped struct {
	Batch   int    // after which it was; 0: before the first host was changed
	Message string // one line
	Detail  string // what a gate said
}

// Count gives the number of hosts with a status.
func (o *Outcome) Count(s wire.Status) int {
	n := 0
	for i := range o.Results {
		if o.Results[i].Status == s {
			n++
		}
	}
	return n
}

// Exit codes of a run, as in design.md.
const (
	ExitFailed      = 2
	ExitUnreachable = 4
	ExitStopped     = 8
	ExitInterrupted = 130
)

// ExitCode is what the process ends with.
func (o *Outcome) ExitCode() int {
	if o.Interrupted {
		return ExitInterrupted
	}
	code := 0
	if o.Count(wire.Failed)+o.Count(wire.Unmet)+o.Count(wire.Drifted) > 0 {
		code |= ExitFailed
	}
	if o.Count(wire.Unreachable) > 0 {
		code |= ExitUnreachable
	}
	if o.Stopped != nil {
		code |= ExitStopped
	}
	return code
}
