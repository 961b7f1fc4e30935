package report

import (
	"fmt"
	"strings"

	"github.com/gofleet/gofleet/agent/wire"
	"github.com/gofleet/gofleet/controller/internal/fleet"
	"github.com/gofleet/gofleet/controller/internal/journal"
)

// Phase notes that a host has come to a phase. What follows a colon is a note
// on it: "wait: pid 4711 holds the lock".
func (r *Reporter) Phase(host, phase string) {
	phase, note, _ := strings.Cut(oneLine(shorten(phase, 200)), ": ")
	r.mu.Lock()
	h := r.model.host(host)
	h.phase, h.note, h.since = phase, note, r.Now()
	if phase == "" {
		r.model.staged++
	}
	r.mu.Unlock()
	if phase != "" && !r.Look.Live && (r.Verbose > 0 || note != "") {
		if note != "" {
			phase += ": " + note
		}
		r.say(fmt.Sprintf("%s: %s", oneLine(host), phase))
	}
}

// Stage notes what the run is at.
func (r *Reporter) Stage(s fleet.Stage) {
	r.mu.Lock()
	if same := s.Name == r.model.stage.Name && s.Batch == r.model.stage.Batch; !same {
		r.model.staged = 0
	}
	r.model.stage = s
	r.mu.Unlock()
	if line := stageLine(s); line != "" && !r.Look.Live {
		r.say(line)
	}
}

// Budget notes how much is left of the run's budget.
func (r *Reporter) Budget(left string) {
	r.mu.Lock()
	r.model.budget = left
	r.mu.Unlock()
	if !r.Look.Live {
		r.say("budget: " + left)
	}
}

// stageLine tells of a stage in words; a run in one batch needs none.
func stageLine(s fleet.Stage) string {
	batch := fmt.Sprintf("batch %d of %d: ", s.Batch, s.Of)
	switch s.Name {
	case journal.StageMain:
		if s.Of <= 1 {
			return ""
		}
		return batch + count(s.Hosts, "host")
	case journal.StageAudit:
		return "looking at " + count(s.Hosts, "host") + " beforehand"
	case journal.StageGate:
		return batch + "looking at " + count(s.Hosts, "host") + " again"
	case fleet.StageProbe:
		return batch + "gate " + oneLine(shorten(s.Gate, 200))
	case fleet.StagePause:
		if s.Until.IsZero() {
			return ""
		}
		return batch + "pause until " + s.Until.Format("15:04:05")
	case journal.StageRollback:
		return batch + "taking back " + count(s.Hosts, "host")
	}
	return ""
}

// Bytes notes how far the upload to a host is.
func (r *Reporter) Bytes(host string, done, total int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.model.bytes(r.Now(), r.model.host(host), done, total)
}

// Warn notes a warning. Those about a host are shown with its result; those
// about none, with host "", at once.
func (r *Reporter) Warn(host, message string) {
	if host == "" {
		r.say("gofleet: " + r.screen.paint.in(yellow, "warning:") + " " + oneLine(message))
		return
	}
	r.mu.Lock()
	h := r.model.host(host)
	h.warnings = append(h.warnings, message)
	r.mu.Unlock()
	if !r.Look.Live {
		r.say(fmt.Sprintf("%s: warning: %s", oneLine(host), oneLine(message)))
	}
}

// Done notes how a host ended.
func (r *Reporter) Done(res fleet.Result) {
	r.mu.Lock()
	r.model.end(res)
	finished, all := r.model.finished, len(r.model.order)
	res = r.model.withWarnings(res)
	r.mu.Unlock()
	r.ended(res, fmt.Sprintf(" (%s) [%d/%d]", seconds(res.Seconds["total"]), finished, all))
}

// Revise notes that a host which was done has ended otherwise.
func (r *Reporter) Revise(res fleet.Result) {
	r.mu.Lock()
	r.model.revise(res)
	res = r.model.withWarnings(res)
	r.mu.Unlock()
	r.ended(res, "")
}

// ended tells how a host has ended.
func (r *Reporter) ended(res fleet.Result, behind string) {
	if !r.Look.Live {
		line := fmt.Sprintf("%s: %s", oneLine(res.Host), label(res.Status, r.would()))
		if why := reason(&res); why != "" {
			line += ": " + why
		}
		r.say(line + behind)
	}
	r.printer.done(res)
}

// say writes a line to stderr, above the view if there is one.
func (r *Reporter) say(line string) { r.screen.print(r.Stderr, line+"\n") }

// reason says in one line how a host came to its status.
func reason(res *fleet.Result) string {
	if res.Error != nil && res.Error.Kind != wire.KindUnmet {
		return oneLine(shorten(res.Error.Message, 500))
	}
	var failed []string
	for _, c := range res.Checks {
		if c.Status == wire.Fail {
			what := c.Name + " " + strings.TrimPrefix(c.Actual, c.Name+" ")
			failed = append(failed, what+", wanted "+c.Wanted)
		}
	}
	switch {
	case len(failed) > 0:
		return oneLine(shorten(strings.Join(failed, "; "), 500))
	case res.Error != nil:
		return oneLine(shorten(res.Error.Message, 500))
	case len(res.Drift) > 0:
		return count(len(res.Drift), "path") + " drifted"
	}
	for _, c := range res.Checks {
		if c.Status == wire.Warn && strings.HasPrefix(c.Name, "uniform ") {
			return oneLine(shorten(fmt.Sprintf("%s: %s, wanted %s", c.Name, c.Actual, c.Wanted), 500))
		}
	}
	return oneLine(versions(res.Go))
}
