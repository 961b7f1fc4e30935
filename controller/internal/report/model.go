package report

import (
	"slices"
	"time"

	"github.com/gofleet/gofleet/agent/wire"
	"github.com/gofleet/gofleet/controller/internal/fleet"
)

// model is what a Reporter knows of the run that goes on.
type model struct {
	started  time.Time
	hosts    map[string]*hostState
	order    []*hostState // of the run
	counts   map[wire.Status]int
	finished int
	stage    fleet.Stage
	budget   string    // how much is left; empty: there is none
	staged   int       // hosts that are through a stage beside the command itself
	trouble  []trouble // hosts that ended badly, in the order of ending
	uploads  meter     // over all hosts
	uploaded int64
	bars     []*Progress
}

// hostState is one host of the run.
type hostState struct {
	name        string
	phase       string    // empty: at rest
	note        string    // what the phase is about: who holds the lock
	since       time.Time // the phase began
	done, total int64     // of the upload
	meter       meter
	ended       bool
	status      wire.Status // once it has ended
	warnings    []string
}

// trouble is why a host ended badly, in one line.
type trouble struct {
	host, why string
	status    wire.Status
}

func newModel(hosts []string) *model {
	m := &model{hosts: map[string]*hostState{}, counts: map[wire.Status]int{}}
	for _, name := range hosts {
		m.host(name)
	}
	return m
}

func (m *model) host(name string) *hostState {
	h := m.hosts[name]
	if h == nil {
		h = &hostState{name: name}
		m.hosts[name] = h
		m.order = append(m.order, h)
	}
	return h
}

// active reports whether a host is at work.
func (h *hostState) active() bool { return h.phase != "" }

// uploading reports whether bytes are on their way.
func (h *hostState) uploading() bool { return h.active() && h.total > 0 && h.done < h.total }

// bytes notes the progress of an upload. The first word of a resumed upload
// counts from where it resumes, which is no speed.
func (m *model) bytes(now time.Time, h *hostState, done, total int64) {
	if h.total > 0 && done > h.done {
		m.uploaded += done - h.done
	}
	h.done, h.total = done, total
	h.meter.add(now, done)
	m.uploads.add(now, m.uploaded)
}

func (m *model) end(res fleet.Result) {
	h := m.host(res.Host)
	if h.ended {
		return
	}
	h.ended, h.phase = true, ""
	m.finished++
	m.count(h, res)
}

// count notes a host's status, and why it is a bad one.
func (m *model) count(h *hostState, res fleet.Result) {
	h.status = res.Status
	m.counts[res.Status]++
	if bad(res.Status) {
		m.trouble = append(m.trouble, trouble{host: res.Host, why: reason(&res), status: res.Status})
	}
}

// revise corrects how a host has ended.
func (m *model) revise(res fleet.Result) {
	h := m.host(res.Host)
	h.phase = ""
	if !h.ended {
		m.end(res)
	} else if h.status != res.Status {
		m.counts[h.status]--
		m.count(h, res)
	}
}

// withWarnings adds what was warned of during the run.
func (m *model) withWarnings(res fleet.Result) fleet.Result {
	h := m.hosts[res.Host]
	if h == nil {
		return res
	}
	warnings := slices.Clone(res.Warnings)
	for _, w := range h.warnings {
		if !slices.Contains(warnings, w) {
			warnings = append(warnings, w)
		}
	}
	res.Warnings = warnings
	return res
}
