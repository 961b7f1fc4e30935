package journal

import (
	"time"

	"github.com/gofleet/gofleet/agent/wire"
)

// Host is how a host of a run stands, as far as the journal knows.
type Host struct {
	Host   string
	Spec   string // the sum of what it should have become
	Batch  int    // that it was planned in, from 1
	Status wire.Status
	// Unknown: it was begun, or had its task, and no word of how that ended
	// came back. It may have been changed.
	Unknown   bool
	Changed   bool // by this run, and not taken back
	TakenBack bool
	Go        wire.GoChange
	Error     *Error
	Phase     string
	Bytes     int64 // from the controller
	Seeded    int64 // from a seed
	Seconds   map[string]float64
	Begun     time.Time
	Ended     time.Time
}

// Done reports whether the host is what the run wanted it to be.
func (h *Host) Done() bool {
	return !h.Unknown && !h.TakenBack && (h.Status == wire.OK || h.Status == wire.Changed)
}

// hosts are those of a run's scope, in its order.
type hosts struct {
	list   []Host
	byName map[string]int
}

func newHosts(run *Run) *hosts {
	h := &hosts{list: make([]Host, len(run.Scope)), byName: make(map[string]int, len(run.Scope))}
	batch, room := 0, 0
	for i, m := range run.Scope {
		for room == 0 && batch < len(run.Batches) {
			room = run.Batches[batch]
			batch++
		}
		room--
		h.list[i] = Host{Host: m.Host, Spec: m.Spec, Batch: max(batch, 1), Status: wire.Skipped}
		h.byName[m.Host] = i
	}
	return h
}

// apply brings the hosts to what an event tells.
func (hs *hosts) apply(e *Event) {
	i, ours := hs.byName[e.Host]
	if !ours || e.Kind != KindBegin && e.Kind != KindResult {
		return
	}
	h := &hs.list[i]
	switch e.Stage {
	case StageMain:
		if e.Kind == KindBegin {
			h.Unknown, h.TakenBack, h.Begun = true, false, e.Time
			return
		}
		h.Unknown, h.Status, h.Error, h.Phase, h.Ended = e.Unknown, e.Status, e.Error, e.Phase, e.Time
		h.Changed = h.Changed || e.Changed && e.Status == wire.Changed
		h.Seconds, h.Bytes, h.Seeded = e.Seconds, h.Bytes+e.Bytes, h.Seeded+e.Seeded
		if e.Go != nil {
			h.Go = *e.Go
		}
	case StageGate:
		if e.Kind == KindResult && e.Error != nil {
			h.Status, h.Error = e.Status, e.Error
		}
	case StageRollback:
		switch {
		case e.Kind == KindBegin:
			h.Unknown = true
		case e.Status == wire.OK || e.Status == wire.Changed:
			h.Unknown, h.Changed, h.TakenBack = false, false, true
			if h.Status == wire.Changed {
				h.Status = wire.Skipped
			}
			if e.Go != nil {
				h.Go.After = e.Go.After
			}
		default:
			h.Unknown, h.Status, h.Error = e.Unknown, e.Status, e.Error
		}
	}
}

// summary counts the statuses of all hosts of the run.
func (hs *hosts) summary() map[wire.Status]int {
	out := map[wire.Status]int{}
	for i := range hs.list {
		out[hs.list[i].Status]++
	}
	return out
}
