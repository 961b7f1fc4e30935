package report

import (
	"fmt"
	"strings"

	"github.com/gofleet/gofleet/agent/wire"
	"github.com/gofleet/gofleet/controller/internal/fleet"
)

// Phase notes that a host has come to a phase. What follows a colon is a note
// on it: "wait: pid 4711 holds the lock".
func (r *Reporter) Phase(host, phase string) {
	phase, note, _ := strings.Cut(oneLine(shorten(phase, 200)), ": ")
	r.mu.Lock()
	h := r.model.host(host)
	h.phase, h.note, h.since = phase, note, r.Now()
	r.mu.Unlock()
	if !r.Look.Live && (r.Verbose > 0 || note != "") {
		if note != "" {
			phase += ": " + note
		}
		r.say(fmt.Sprintf("%s: %s", oneLine(host), phase))
	}
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
	if !r.Look.Live {
		line := fmt.Sprintf("%s: %s", oneLine(res.Host), label(res.Status, r.would()))
		if why := reason(&res); why != "" {
			line += ": " + why
		}
		r.say(fmt.Sprintf("%s (%s) [%d/%d]", line, seconds(res.Seconds["total"]), finished, all))
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
			failed = append(failed, fmt.Sprintf("%s %s, wanted %s", c.Name, c.Actual, c.Wanted))
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
	return oneLine(versions(res.Go))
}
