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

	by int // the process of the run that is at it, from 1; 0: none is
}

// Statuses of hosts that a run which has not ended has not come to, is at, or
// was at when its process ended.
const (
	Pending wire.Status = "pending"
	Running wire.Status = "running"
	Unknown wire.Status = "unknown"
)

// Done reports whether the host is what the run wanted it to be.
func (h *Host) Done() bool {
	return !h.Unknown && !h.TakenBack && (h.Status == wire.OK || h.Status == wire.Changed)
}

// hosts are those of a run's scope, in its order.
type hosts struct {
	list    []Host
	byName  map[string]int
	process int // that writes, from 1
}

func newHosts(run *Run) *hosts {
	h := &hosts{list: make([]Host, len(run.Scope)), byName: make(map[string]int, len(run.Scope)), process: 1}
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
	if e.Kind == KindResume {
		hs.process++
	}
	i, ours := hs.byName[e.Host]
	if !ours || e.Kind != KindBegin && e.Kind != KindResult {
		return
	}
	h := &hs.list[i]
	if e.Stage == StageMain || e.Stage == StageRollback {
		h.by = 0
		if e.Kind == KindBegin {
			h.by = hs.process
		}
	}
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

// standing is how a host stands: the status that it ended with or, where it
// has none yet, Pending, Running or Unknown. Hosts that a run has not come to
// when it ends are skipped.
func (hs *hosts) standing(h *Host, ended, alive bool) wire.Status {
	switch {
	case h.by > 0 && h.by == hs.process && alive:
		return Running
	case h.by > 0:
		return Unknown
	case h.Begun.IsZero() && h.Ended.IsZero() && !ended:
		return Pending
	}
	return h.Status
}

// summary counts how all hosts of the run stand.
func (hs *hosts) summary(ended, alive bool) map[wire.Status]int {
	out := map[wire.Status]int{}
	for i := range hs.list {
		out[hs.standing(&hs.list[i], ended, alive)]++
	}
	return out
}
