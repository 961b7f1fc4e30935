package journal

import (
	"time"

	"github.com/gofleet/gofleet/agent/wire"
)

// Tally counts results of hosts.
type Tally struct {
	Good int // ok or changed
	Bad  int // failed
}

// Add counts t in.
func (t *Tally) Add(u Tally) {
	t.Good += u.Good
	t.Bad += u.Bad
}

// Share is the part that is good, from 0 to 1; 1 where nothing was counted.
func (t Tally) Share() float64 {
	if t.Good+t.Bad == 0 {
		return 1
	}
	return float64(t.Good) / float64(t.Good+t.Bad)
}

// Tally counts how hosts ended in the runs that began since then and could
// change something (no audits, no --check): for each host that wanted names,
// its last result of each run. Hosts that were unreachable, unmet or not begun
// count on neither side; one of which nothing is known counts as bad.
func (s Store) Tally(since time.Time, wanted func(host string) bool) (map[string]Tally, error) {
	ids, err := s.IDs()
	if err != nil {
		return nil, err
	}
	out := map[string]Tally{}
	for _, id := range ids {
		if begun, err := startOf(id); err != nil || begun.Before(since) {
			break // the newest come first
		}
		var run Run
		if err := s.readRun(id, &run); err != nil || run.Check || run.Command == wire.Audit || s.alive(id) {
			continue // what cannot be read is no result; what goes on is none yet
		}
		r, err := s.load(id)
		if err != nil {
			continue
		}
		for i := range r.Hosts {
			h := &r.Hosts[i]
			if !wanted(h.Host) {
				continue
			}
			t := out[h.Host]
			switch {
			case h.Unknown || h.Status == wire.Failed:
				t.Bad++
			case h.Status == wire.OK || h.Status == wire.Changed:
				t.Good++
			}
			out[h.Host] = t
		}
	}
	return out, nil
}
