package report

import "time"

// The rate is that of the last few seconds: steady enough to be read, and
// soon true again after a stall.
const (
	meterWindow = 5 * time.Second
	meterStep   = 200 * time.Millisecond
)

// meter measures how fast a number of bytes grows.
type meter struct {
	samples []reading
}

type reading struct {
	at   time.Time
	done int64
}

// add notes that done bytes are done in all.
func (m *meter) add(now time.Time, done int64) {
	// The last sample moves until it is a step away from the one before.
	if n := len(m.samples); n >= 2 && now.Sub(m.samples[n-2].at) < meterStep {
		m.samples[n-1] = reading{now, done}
	} else {
		m.samples = append(m.samples, reading{now, done})
	}
	// One sample from before the window stays, as its beginning.
	for len(m.samples) > 2 && now.Sub(m.samples[1].at) > meterWindow {
		m.samples = m.samples[1:]
	}
}

// rate is in bytes a second; 0 while nothing can be said.
func (m *meter) rate(now time.Time) float64 {
	if len(m.samples) < 2 {
		return 0
	}
	first, last := m.samples[0], m.samples[len(m.samples)-1]
	took := now.Sub(first.at).Seconds()
	if took < meterStep.Seconds() || now.Sub(last.at) > meterWindow {
		return 0
	}
	return float64(last.done-first.done) / took
}

// left is the time that the rest will take; 0 while nothing can be said.
func (m *meter) left(now time.Time, rest int64) time.Duration {
	r := m.rate(now)
	if r < 1 || rest <= 0 {
		return 0
	}
	return time.Duration(float64(rest) / r * float64(time.Second))
}
