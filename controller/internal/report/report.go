// Package report owns the terminal. It shows how a run goes on, as a live view
// or as plain lines on stderr, and prints results on stdout in the format that
// was asked for. It decides nothing about hosts, and it trusts no text that
// came from one.
package report

import (
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/gofleet/gofleet/agent/wire"
	"github.com/gofleet/gofleet/controller/internal/fleet"
)

// Options say where a Reporter writes, and what.
type Options struct {
	Stdout, Stderr io.Writer // results; everything else
	Look           Look

	Format  string // one of Formats; "" is text
	Verbose int    // 1: phases, actions and times; 2: every check too
	Diff    bool   // show what changes, line by line

	// Of a run; empty for other commands.
	Run     string
	Command wire.Action
	Check   bool
	Hosts   []string // in the order of the run

	Now   func() time.Time    // nil: time.Now
	ticks <-chan time.Time    // tests draw frames when they want them
	tty   func() (tty, error) // nil: /dev/tty
}

// Reporter tells of one command. It is a fleet.Observer; its methods may be
// called from many goroutines.
type Reporter struct {
	Options
	screen  *screen
	printer printer
	asking  sync.Mutex

	mu    sync.Mutex // guards model
	model *model
}

var _ fleet.Observer = (*Reporter)(nil)

// New makes a Reporter. An unknown format is an error that names those there
// are.
func New(o Options) (*Reporter, error) {
	if o.Format == "" {
		o.Format = "text"
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Look.Size == nil {
		o.Look.Size = func() (int, int) { return 80, 24 }
	}
	if o.tty == nil {
		o.tty = openTTY
	}
	r := &Reporter{Options: o, model: newModel(o.Hosts)}
	r.screen = &screen{
		out: o.Stderr, size: o.Look.Size, now: o.Now, ticks: o.ticks,
		paint: paint{color: o.Look.Live && o.Look.Color, ascii: o.Look.Live && o.Look.ASCII},
	}
	if o.Look.Live {
		r.screen.view = r.view
	}
	for _, f := range formats {
		if f.name == o.Format {
			r.printer = f.printer(r)
			return r, nil
		}
	}
	return nil, fmt.Errorf("output %q: there is only %s", o.Format, list(Formats()))
}

// printer prints results. done is called as each host ends, all at the end.
type printer interface {
	done(fleet.Result)
	all(*fleet.Outcome)
}

// formats are the formats of results. A new one is a line here.
var formats = [...]struct {
	name    string
	printer func(*Reporter) printer
}{
	{"text", func(r *Reporter) printer { return (*textPrinter)(r) }},
	{"json", func(r *Reporter) printer { return (*jsonPrinter)(r) }},
	{"jsonl", func(r *Reporter) printer { return (*linesPrinter)(r) }},
}

// Formats are the names that Options.Format takes.
func Formats() []string {
	names := make([]string, len(formats))
	for i, f := range formats {
		names[i] = f.name
	}
	return names
}

// Start begins to show what goes on. Stop must follow, also before os.Exit.
func (r *Reporter) Start() {
	r.mu.Lock()
	r.model.started = r.Now()
	r.mu.Unlock()
	r.screen.start()
}

// Stop takes the live view away and writes what is not yet written. Further
// calls do nothing.
func (r *Reporter) Stop() { r.screen.stop() }

// Print stops the view and prints the results of a run. Its error is that of
// writing them.
func (r *Reporter) Print(o *fleet.Outcome) error {
	r.Stop()
	r.printer.all(r.withWarnings(o))
	if err := r.screen.err(r.Stdout); err != nil {
		return fmt.Errorf("write results: %w", err)
	}
	return nil
}

// would reports whether the run only says what it would change.
func (r *Reporter) would() bool { return r.Check || r.Command == wire.Audit }

// withWarnings gives the outcome with the warnings that were told of its
// hosts during the run.
func (r *Reporter) withWarnings(o *fleet.Outcome) *fleet.Outcome {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := *o
	out.Results = slices.Clone(o.Results)
	for i := range out.Results {
		out.Results[i] = r.model.withWarnings(out.Results[i])
	}
	return &out
}

// list is "a, b and c".
func list(words []string) string {
	switch n := len(words); n {
	case 0:
		return "none"
	case 1:
		return words[0]
	default:
		s := words[0]
		for _, w := range words[1 : n-1] {
			s += ", " + w
		}
		return s + " and " + words[n-1]
	}
}
