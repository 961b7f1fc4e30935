// Package journal keeps what runs did: one directory a run under the user's
// state directory, with run.json, written once, and events.jsonl, which is only
// ever appended to and synced. So a run that the controller did not survive
// tells afterwards which hosts were changed, which were not, and of which that
// is not known. It knows nothing of connections, and keeps no secrets.
package journal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"github.com/gofleet/gofleet/agent/wire"
)

// Schema is what run.json says of its form.
const Schema = "gofleet.journal/v1"

const (
	runFile    = "run.json"
	eventsFile = "events.jsonl"
)

// How long runs are kept when nothing else is asked for: whichever ends first.
const (
	KeepRuns = 1000
	KeepAge  = 90 * 24 * time.Hour
)

// ErrRunning is wrapped by errors about a run whose process is alive.
var ErrRunning = errors.New("the run is going on")

// Run is run.json: what the run was asked for. Nothing in it changes while the
// run goes on.
type Run struct {
	Schema     string      `json:"schema"`
	ID         string      `json:"run"`
	Command    wire.Action `json:"command"`
	Check      bool        `json:"check"`
	Gofleet    string      `json:"gofleet"`    // its version
	Controller string      `json:"controller"` // user@machine
	Started    time.Time   `json:"started"`
	Directory  string      `json:"directory"` // that relative paths start from
	Arguments  []Argument  `json:"arguments"`
	Order      string      `json:"order"`
	Seed       uint64      `json:"seed"`    // of a random order
	Batches    []int       `json:"batches"` // how many hosts each has
	Scope      []Member    `json:"scope"`   // in the order of the run
}

// Argument is one option of the command line. The value of one that may be a
// secret is not kept.
type Argument struct {
	Flag     string `json:"flag"`
	Value    string `json:"value"`
	Withheld bool   `json:"withheld,omitempty"`
}

// Member is a host of the run, with the sum of what it should have become.
type Member struct {
	Host string `json:"host"`
	Spec string `json:"spec"`
}

// Kind is what an event tells of.
type Kind string

// The kinds of events.
const (
	KindBatch   Kind = "batch"   // a batch begins
	KindBegin   Kind = "begin"   // a host is contacted; from here on it may be changed
	KindResult  Kind = "result"  // how that ended
	KindGate    Kind = "gate"    // a gate on the controller let the run go on, or did not
	KindForce   Kind = "force"   // --force-start: what would have kept the run from starting
	KindStop    Kind = "stop"    // no further host begins, and why
	KindSeed    Kind = "seed"    // what a seed got and gave to its site
	KindUploads Kind = "uploads" // --uploads auto: how many at once it has come to
	KindResume  Kind = "resume"  // another process goes on with the run
	KindEnd     Kind = "end"     // the process ended in order
)

// The stages of a run. The empty one is the command itself.
const (
	StageMain     = ""
	StageAudit    = "audit"    // of the whole scope, before the first host is changed
	StageGate     = "gate"     // of a batch, after it
	StageRollback = "rollback" // of what the run has changed, after it was stopped
)

// Event is one line of events.jsonl.
type Event struct {
	Time    time.Time           `json:"time"`
	Kind    Kind                `json:"event"`
	Stage   string              `json:"stage,omitempty"`
	Batch   int                 `json:"batch,omitempty"` // from 1
	Hosts   int                 `json:"hosts,omitempty"` // of a batch
	Host    string              `json:"host,omitempty"`
	Status  wire.Status         `json:"status,omitempty"`
	Changed bool                `json:"changed,omitempty"`
	Unknown bool                `json:"unknown,omitempty"` // the host had its task, and no report came back
	Go      *wire.GoChange      `json:"go,omitempty"`
	Error   *Error              `json:"error,omitempty"`
	Phase   string              `json:"phase,omitempty"`  // the last one that the host came to, unless all went well
	Bytes   int64               `json:"bytes,omitempty"`  // of the archive, sent to the host
	Seeded  int64               `json:"seeded,omitempty"` // bytes of it that came from a seed; of a seed: that it gave
	Seconds map[string]float64  `json:"seconds,omitempty"`
	Gate    string              `json:"gate,omitempty"`
	Message string              `json:"message,omitempty"`
	Exit    *int                `json:"exit,omitempty"`
	Ended   string              `json:"ended,omitempty"` // of an end: done, stopped or interrupted
	Summary map[wire.Status]int `json:"summary,omitempty"`
}

// Error is why a host did not end well.
type Error struct {
	Kind    wire.Kind `json:"kind"`
	Message string    `json:"message"`
}

// maxMessage bounds what is kept of one error's text.
const maxMessage = 1000

// NewError is the part of a host's error that is kept; nil of nil.
func NewError(e *wire.Error) *Error {
	if e == nil {
		return nil
	}
	message := e.Message
	if len(message) > maxMessage {
		message = message[:maxMessage] + "…"
	}
	return &Error{Kind: e.Kind, Message: message}
}

// Store is the directory of all runs.
type Store struct {
	Dir string
}

// Default is the store of this user: $XDG_STATE_HOME/gofleet/runs, or
// ~/.local/state/gofleet/runs.
func Default(getenv func(string) string) (Store, error) {
	state := getenv("XDG_STATE_HOME")
	if !filepath.IsAbs(state) { // the specification wants relative ones passed over
		home, err := os.UserHomeDir()
		if err != nil || !filepath.IsAbs(home) {
			return Store{}, errors.New("find the journal's directory: neither XDG_STATE_HOME nor HOME is set to a path")
		}
		state = filepath.Join(home, ".local", "state")
	}
	return Store{Dir: filepath.Join(state, "gofleet", "runs")}, nil
}

func (s Store) path(id string, name ...string) string {
	return filepath.Join(append([]string{s.Dir, id}, name...)...)
}

// idForm is what a run's id looks like: when it began, and four random bytes.
var idForm = regexp.MustCompile(`^\d{8}T\d{6}Z-[0-9a-f]{8}$`)

// startOf is when a run began, as its id says.
func startOf(id string) (time.Time, error) {
	if !idForm.MatchString(id) {
		return time.Time{}, fmt.Errorf("%q is not the id of a run", id)
	}
	return time.Parse("20060102T150405Z", id[:16])
}
