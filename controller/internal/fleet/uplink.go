package fleet

import (
	"fmt"
	"time"

	"github.com/gofleet/gofleet/controller/internal/journal"
)

// Meter has a run look for itself how many uploads at once are worth it.
type Meter struct {
	Tick <-chan time.Time     // when to look: every second or so
	CPU  func() time.Duration // that this process has used; nil: not known
	CPUs int                  // that it may use at once
}

// Settled is what a run with a Meter has come to.
type Settled struct {
	Uploads int   // at once
	Rate    int64 // bytes a second that they brought; 0: no host ever waited for others, so nothing was to be found out
}

// How uploads at once are found.
const (
	firstUploads = 2
	worthMore    = 1.10 // more at once are kept if they bring so much more
	worthFewer   = 0.95 // fewer at once are kept if they bring at least this
	busyCPU      = 0.90 // of the controller: more uploads would only share it
	firstRest    = 2    // looks between a try that was not worth it and the next
	longestRest  = 32
)

// load is what one look sees.
type load struct {
	at      time.Time
	bytes   int64         // of payload that hosts have acknowledged since the run began
	cpu     time.Duration // that the process has used
	waiting int           // uploads that have no turn yet
}

// climber finds how many uploads at once are worth it. It tries more of them
// while that raises the rate, otherwise goes back and tries fewer, and rests
// longer after each try that changed nothing. It doubles until its first step
// back, and goes by halves from then on.
type climber struct {
	size, most int
	cpus       int
	last       load
	full       bool // last saw hosts waiting
	fresh      bool // the size was changed by the last look: uploads have yet to get going
	tried      bool // size is a try, judged by the next rate
	before     int  // the size that the try is set against,
	rate       float64
	fine, down bool
	rest, long int // looks left to rest; how many after the next useless try
}

func newClimber(forks, cpus int) *climber {
	most := max(forks, 1)
	return &climber{size: min(firstUploads, most), most: most, cpus: max(cpus, 1), long: firstRest}
}

// look takes what there is to see, and returns how many uploads may go on at
// once from now on.
func (c *climber) look(now load) int {
	took := now.at.Sub(c.last.at)
	rate := float64(now.bytes-c.last.bytes) / took.Seconds()
	busy := float64(now.cpu-c.last.cpu) >= busyCPU*float64(took)*float64(c.cpus)
	// A rate says something of the size only if that kept hosts waiting all the time.
	tells := c.full && now.waiting > 0 && !c.fresh && took > 0
	c.last, c.full, c.fresh = now, now.waiting > 0, false
	switch {
	case !tells:
	case c.tried:
		if c.judge(rate) {
			c.try(rate, busy)
		}
	case c.rest > 0:
		c.rest--
		c.rate = rate
	default:
		c.try(rate, busy)
	}
	return c.size
}

// try changes the size by a step. Where there is none to go, it turns round.
func (c *climber) try(rate float64, busy bool) {
	c.rate = rate
	step := c.size
	if c.fine {
		step = max(c.size/2, 1)
	}
	to := min(c.size+step, c.most)
	if c.down {
		to = max(c.size-max(c.size/3, 1), 1)
	}
	if to == c.size || to > c.size && busy {
		c.useless()
		return
	}
	c.before, c.size, c.tried, c.fresh = c.size, to, true, true
}

// judge keeps a try that was worth it, and takes back one that was not.
func (c *climber) judge(rate float64) bool {
	c.tried = false
	worth := worthMore
	if c.down {
		worth = worthFewer
	}
	if rate >= c.rate*worth {
		c.long = firstRest
		return true
	}
	c.size, c.fresh = c.before, true
	c.useless()
	return false
}

// useless turns round and rests.
func (c *climber) useless() {
	c.down, c.fine = !c.down, true
	c.rest, c.long = c.long, min(2*c.long, longestRest)
}

// settled is the size that was last found to be worth it.
func (c *climber) settled() *Settled {
	s := &Settled{Uploads: c.size, Rate: int64(c.rate)}
	if c.tried {
		s.Uploads = c.before
	}
	return s
}

// followUplink keeps as many uploads going as the meter shows to be worth it.
// What it returns ends that, and writes down what was found.
func (r *run) followUplink() (end func()) {
	if r.Meter == nil {
		return func() {}
	}
	c := newClimber(r.Forks, r.Meter.CPUs)
	r.uploads.Resize(c.size)
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case at := <-r.Meter.Tick:
				r.uploads.Resize(c.look(r.load(at)))
			case <-done:
				return
			}
		}
	}()
	return func() {
		close(done)
		<-ended
		r.settled = c.settled()
		r.Journal.Say(journal.Event{Kind: journal.KindUploads, Message: r.settled.String()})
	}
}

func (r *run) load(at time.Time) load {
	l := load{at: at, bytes: r.acknowledged.Load(), waiting: r.uploads.Waiting()}
	if r.Meter.CPU != nil {
		l.cpu = r.Meter.CPU()
	}
	return l
}

// String says it in words.
func (s *Settled) String() string {
	if s.Rate == 0 {
		return fmt.Sprintf("%d at once: no host waited long enough to try others", s.Uploads)
	}
	return fmt.Sprintf("%d at once, %.1f MB a second", s.Uploads, float64(s.Rate)/1e6)
}
