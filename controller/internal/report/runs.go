package report

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gofleet/gofleet/agent/wire"
	"github.com/gofleet/gofleet/controller/internal/journal"
)

// runsDocument is what gofleet runs -o json prints: gofleet.runs/v1.
type runsDocument struct {
	Schema string        `json:"schema"`
	Runs   []runDocument `json:"runs"`
}

// runDocument is the head of a run.
type runDocument struct {
	Run        string         `json:"run"`
	Command    wire.Action    `json:"command"`
	Check      bool           `json:"check"`
	State      string         `json:"state"`
	Started    time.Time      `json:"started"`
	Controller string         `json:"controller"`
	Gofleet    string         `json:"gofleet"`
	Hosts      int            `json:"hosts"`
	Batches    []int          `json:"batches"`
	Order      string         `json:"order"`
	Seed       uint64         `json:"seed"`
	Arguments  []string       `json:"arguments"`
	Summary    map[string]int `json:"summary"`
}

// recordDocument is what gofleet runs show -o json prints: gofleet.runs.show/v1.
type recordDocument struct {
	Schema  string `json:"schema"`
	Damaged int    `json:"damaged"` // lines of the journal that could not be read
	runDocument
	Hosts []recordHost `json:"hosts"`
	Notes []recordNote `json:"notes"`
}

type recordHost struct {
	Host      string             `json:"host"`
	Batch     int                `json:"batch"`
	Status    wire.Status        `json:"status"`
	Unknown   bool               `json:"unknown"`
	Changed   bool               `json:"changed"`
	TakenBack bool               `json:"taken_back"`
	Go        wire.GoChange      `json:"go"`
	Error     *recordError       `json:"error"`
	Phase     string             `json:"phase"`
	Bytes     int64              `json:"bytes"`
	Seeded    int64              `json:"seeded"`
	Begun     *time.Time         `json:"begun"`
	Ended     *time.Time         `json:"ended"`
	Seconds   map[string]float64 `json:"seconds"`
}

type recordError struct {
	Kind    wire.Kind `json:"kind"`
	Message string    `json:"message"`
}

type recordNote struct {
	Time    time.Time    `json:"time"`
	Event   journal.Kind `json:"event"`
	Batch   int          `json:"batch"`
	Message string       `json:"message"`
}

func runDocumentOf(run *journal.Run, state string, summary map[wire.Status]int) runDocument {
	d := runDocument{
		Run: run.ID, Command: run.Command, Check: run.Check, State: state, Started: run.Started,
		Controller: block(run.Controller), Gofleet: block(run.Gofleet), Hosts: len(run.Scope),
		Batches: append([]int{}, run.Batches...), Order: run.Order, Seed: run.Seed,
		Arguments: argumentsOf(run), Summary: map[string]int{},
	}
	for _, s := range standings() {
		d.Summary[string(s)] = summary[s]
	}
	return d
}

// argumentsOf are a run's options as they would be typed.
func argumentsOf(run *journal.Run) []string {
	list := []string{}
	for _, a := range run.Arguments {
		list = append(list, oneLine("--"+a.Flag+"="+a.Value))
	}
	return list
}

// Runs prints a list of runs, in text or JSON.
func (r *Reporter) Runs(list []*journal.Glance) error {
	if r.Format == "json" {
		d := runsDocument{Schema: "gofleet.runs/v1", Runs: []runDocument{}}
		for _, g := range list {
			d.Runs = append(d.Runs, runDocumentOf(&g.Run, g.State, g.Summary))
		}
		return r.result(encode(d, "  "))
	}
	if len(list) == 0 {
		return r.result("no runs\n")
	}
	tab := &table{}
	tab.add("run", "started", "command", "state", "hosts")
	for _, g := range list {
		tab.add(g.Run.ID, g.Run.Started.Local().Format("2006-01-02 15:04"), commandOf(&g.Run), g.State,
			fmt.Sprintf("%d: %s", len(g.Run.Scope), sumLine(g.Summary, &g.Run)))
	}
	return r.result(strings.Join(tab.lines(0), "\n") + "\n")
}

func commandOf(run *journal.Run) string {
	if run.Check {
		return string(run.Command) + " --check"
	}
	return string(run.Command)
}

// standings are the statuses of a run's hosts, those of one that goes on too.
func standings() []wire.Status {
	return append(slices.Clone(statuses[:]), journal.Running, journal.Pending, journal.Unknown)
}

// sumLine is "3 ok, 2 failed".
func sumLine(summary map[wire.Status]int, run *journal.Run) string {
	var parts []string
	for _, s := range standings() {
		if n := summary[s]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, label(s, run.Check || run.Command == wire.Audit)))
		}
	}
	return strings.Join(parts, ", ")
}

// result writes to stdout.
func (r *Reporter) result(text string) error {
	r.screen.print(r.Stdout, text)
	if err := r.screen.err(r.Stdout); err != nil {
		return fmt.Errorf("write results: %w", err)
	}
	return nil
}

// Record prints one run with all its hosts, in text or JSON.
func (r *Reporter) Record(rec *journal.Record) error {
	if r.Format == "json" {
		return r.result(encode(recordDocumentOf(rec), "  "))
	}
	return r.result(recordText(rec))
}

func recordDocumentOf(rec *journal.Record) recordDocument {
	d := recordDocument{
		Schema: "gofleet.runs.show/v1", Damaged: rec.Damaged, runDocument: runDocumentOf(&rec.Run, rec.State(), rec.Summary()),
		Hosts: []recordHost{}, Notes: []recordNote{},
	}
	for i := range rec.Hosts {
		h := &rec.Hosts[i]
		out := recordHost{
			Host: block(h.Host), Batch: h.Batch, Status: rec.Standing(h), Unknown: h.Unknown, Changed: h.Changed, TakenBack: h.TakenBack,
			Go:    wire.GoChange{Before: block(h.Go.Before), After: block(h.Go.After)},
			Phase: block(h.Phase), Bytes: h.Bytes, Seeded: h.Seeded, Seconds: secondsOf(h.Seconds),
		}
		if h.Error != nil {
			out.Error = &recordError{h.Error.Kind, block(h.Error.Message)}
		}
		if !h.Begun.IsZero() {
			out.Begun = &h.Begun
		}
		if !h.Ended.IsZero() {
			out.Ended = &h.Ended
		}
		d.Hosts = append(d.Hosts, out)
	}
	for _, e := range rec.Notes {
		d.Notes = append(d.Notes, recordNote{e.Time, e.Kind, e.Batch, block(noteText(&e))})
	}
	return d
}

// noteText says in words what an event about no single host tells.
func noteText(e *journal.Event) string {
	switch e.Kind {
	case journal.KindBatch:
		return fmt.Sprintf("batch %d begins: %s", e.Batch, count(e.Hosts, "host"))
	case journal.KindGate:
		text := fmt.Sprintf("gate after batch %d: %s: ", e.Batch, e.Gate)
		if e.Status == wire.OK {
			return text + "passed"
		}
		return text + "failed: " + e.Message
	case journal.KindForce:
		return "started all the same (--force-start): " + e.Message
	case journal.KindStop:
		first, _, _ := strings.Cut(e.Message, "\n") // what a gate said stands with the gate
		return "stopped: " + first
	case journal.KindSeed:
		text := fmt.Sprintf("seed %s: %s from here, %s from there to %s", e.Host, size(e.Bytes), size(e.Seeded), count(e.Hosts, "host"))
		if e.Message != "" {
			text += "; given up: " + e.Message
		}
		return text
	case journal.KindUploads:
		return "uploads: " + e.Message
	case journal.KindResume:
		return fmt.Sprintf("resumed %s, %s left", e.Message, count(e.Hosts, "host"))
	case journal.KindEnd:
		exit := 0
		if e.Exit != nil {
			exit = *e.Exit
		}
		return fmt.Sprintf("ended: %s, exit code %d", e.Ended, exit)
	}
	return e.Message
}

// recordText shows a run: what it was asked for, what happened when, and how
// its hosts stand, those of which the same is to be said together.
func recordText(rec *journal.Record) string {
	var b strings.Builder
	line := func(name, text string) {
		first, rest, _ := strings.Cut(strings.TrimSpace(block(shorten(text, textLimit))), "\n")
		fmt.Fprintf(&b, "%s%s\n", pad(name, labelWidth), first)
		for more := range strings.SplitSeq(rest, "\n") {
			if more != "" {
				fmt.Fprintf(&b, "%s%s\n", strings.Repeat(" ", labelWidth), more)
			}
		}
	}
	run := &rec.Run
	line("run", run.ID)
	line("command", strings.TrimSpace(string(run.Command)+" "+strings.Join(argumentsOf(run), " ")))
	line("state", rec.State())
	line("started", run.Started.Local().Format("2006-01-02 15:04:05")+" by "+run.Controller+", gofleet "+run.Gofleet)
	if run.Seed != 0 {
		line("order", fmt.Sprintf("%s, seed %d", run.Order, run.Seed))
	}
	for _, e := range rec.Notes {
		line(e.Time.Local().Format("15:04:05"), noteText(&e))
	}
	if rec.Damaged > 0 {
		line("damaged", count(rec.Damaged, "line")+" of the journal could not be read; what was said there is not known")
	}
	b.WriteByte('\n')
	b.WriteString(recordHosts(rec))
	fmt.Fprintf(&b, "\n%s: %s\n", count(len(rec.Hosts), "host"), sumLine(rec.Summary(), run))
	undone := slices.ContainsFunc(rec.Hosts, func(h journal.Host) bool { return !h.Done() })
	if undone && !rec.Alive && !run.Check && run.Command != wire.Audit {
		fmt.Fprintf(&b, "resume: gofleet %s --resume %s\n", run.Command, run.ID)
	}
	return b.String()
}

// recordHosts has a line for all hosts of which the same is to be said.
func recordHosts(rec *journal.Record) string {
	type say struct{ label, about string }
	names := map[say][]string{}
	var order []say
	for i := range rec.Hosts {
		h := &rec.Hosts[i]
		s := say{label: string(rec.Standing(h)), about: versions(h.Go)}
		switch {
		case s.label == string(journal.Pending):
			s.about = "not begun"
		case s.label == string(journal.Running):
			s.about = "at work"
		case h.Unknown:
			s = say{string(journal.Unknown), "begun, and no word of how it ended; it may have been changed"}
		case h.TakenBack:
			s.about = "taken back to " + goName(h.Go.After)
		case h.Error != nil:
			s.about = string(h.Error.Kind) + ": " + h.Error.Message
		case h.Status == wire.Skipped:
			s.about = "not begun"
		}
		s.about = oneLine(shorten(s.about, 300))
		if names[s] == nil {
			order = append(order, s)
		}
		names[s] = append(names[s], oneLine(h.Host))
	}
	tab := &table{}
	tab.add("", "hosts", "")
	for _, s := range order {
		tab.add(s.label, Fold(names[s]), s.about)
	}
	return strings.Join(tab.lines(0)[1:], "\n") + "\n"
}
