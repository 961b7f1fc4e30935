package report

import (
	"slices"
	"time"
)

// sayEvery is how often progress is told where there is no live view.
const sayEvery = 10 * time.Second

// Progress shows how far one long piece of work is that is not a host's:
// a download, a recompression.
type Progress struct {
	r           *Reporter
	label       string
	begun, said time.Time
	done, total int64
	resumed     int64
	meter       meter
	ended       bool
}

// Progress begins to show a piece of work. End must follow. It is seen between
// Start and Stop; several may be shown at once.
func (r *Reporter) Progress(label string) *Progress {
	now := r.Now()
	p := &Progress{r: r, label: oneLine(label), begun: now, said: now, resumed: -1}
	r.mu.Lock()
	r.model.bars = append(r.model.bars, p)
	r.mu.Unlock()
	return p
}

// Set notes that done of total bytes are done; a total of 0 is not known. The
// first call may begin anywhere: what was there before counts for no speed.
func (p *Progress) Set(done, total int64) {
	p.r.mu.Lock()
	now := p.r.Now()
	if p.resumed < 0 {
		p.resumed = done
	}
	p.done, p.total = done, total
	p.meter.add(now, done)
	line := ""
	if !p.r.Look.Live && !p.ended && now.Sub(p.said) >= sayEvery {
		p.said = now
		line = p.label + ": " + gauge(done, total, p.meter.rate(now), p.meter.left(now, total-done), 0)
	}
	p.r.mu.Unlock()
	if line != "" {
		p.r.say(line)
	}
}

// worthSaying is how many seconds a piece of work takes at least to leave a
// line.
const worthSaying = 1

// End takes the bar away. Work that took a second or more leaves a line that
// says what was done. An err is not shown, it only keeps that line away. Further calls do nothing.
func (p *Progress) End(err error) {
	p.r.mu.Lock()
	if p.ended {
		p.r.mu.Unlock()
		return
	}
	p.ended = true
	p.r.model.bars = slices.DeleteFunc(p.r.model.bars, func(q *Progress) bool { return q == p })
	took := p.r.Now().Sub(p.begun).Seconds()
	moved := p.done - max(p.resumed, 0)
	line := p.label + ": " + seconds(took)
	if p.done > 0 {
		line = join(", ", p.label+": "+size(p.done)+" in "+seconds(took), rate(float64(moved)/max(took, 0.001)))
	}
	p.r.mu.Unlock()
	if err == nil && took >= worthSaying {
		p.r.say(line)
	}
}

// row is the bar in the live view. p.r.mu is held.
func (p *Progress) row(now time.Time, cols int) row {
	return row{{p.label + "  ", bold},
		{gauge(p.done, p.total, p.meter.rate(now), p.meter.left(now, p.total-p.done), cols-columns(p.label)), plain}}
}
