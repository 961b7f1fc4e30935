package spec

import (
	"strconv"
	"strings"
	"time"
)

// SLO is the error budget of hosts over time. The controller reckons it from
// its journals; agents have no use for it.
type SLO struct {
	Target float64       `json:"target"` // percent of results that are good, above 0 and at most 100
	Window time.Duration `json:"window"` // nanoseconds in JSON
}

// Bounds of a window. Journals are kept for the longer one.
const (
	minWindow = time.Hour
	maxWindow = 90 * 24 * time.Hour
)

// slo reads gofleet_slo.
func (n *node) slo() *SLO {
	const example = `write it like {target: "99%", window: 30d}`
	m, ok := n.dict([]string{"target", "window"}, example)
	if !ok {
		return nil
	}
	before := len(n.p.errs)
	s := &SLO{Window: 30 * 24 * time.Hour}
	if c := m["target"]; c.null() {
		n.fail(example, "has no target")
	} else {
		s.Target = c.percentage()
	}
	if c := m["window"]; !c.null() {
		s.Window = c.window()
	}
	if len(n.p.errs) > before {
		return nil
	}
	return s
}

// percentage reads "99%", "99.5 %" or 99.5.
func (n *node) percentage() float64 {
	text, isText := n.v.(string)
	if f, isFloat := n.float(); isFloat {
		text = f
	} else if i, isWhole := n.whole(); isWhole {
		text = itoa(int(i))
	} else if !isText {
		text = ""
	}
	p, err := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(text), "%")), 64)
	if err != nil || !(p > 0 && p <= 100) {
		n.fail(`write it like "99%" or "99.5%"`, "must be above 0%% and at most 100%%, not %s", n.shown())
		return 0
	}
	return p
}

// window reads a duration that may be in days: "30d".
func (n *node) window() time.Duration {
	text, _ := n.v.(string)
	if days, ok := strings.CutSuffix(strings.TrimSpace(text), "d"); ok {
		if d, err := strconv.Atoi(days); err == nil && d > 0 && d <= int(maxWindow/(24*time.Hour)) {
			return time.Duration(d) * 24 * time.Hour
		}
		n.fail(`write it like "30d"; journals are kept for 90d`, "must be from 1h to 90d, not %s", n.shown())
		return 0
	}
	d, ok := n.duration(maxWindow)
	if ok && d < minWindow {
		n.fail(`write it like "30d"`, "must be from 1h to 90d, not %s", n.shown())
	}
	return d
}
