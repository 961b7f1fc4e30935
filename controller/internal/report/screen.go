package report

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// frameEvery bounds how often the view is drawn.
const frameEvery = 100 * time.Millisecond

// screen writes everything that a Reporter says. While it runs, one goroutine
// does all writing, so that lines and view never mix. On a terminal it keeps a
// view below the lines; the view is drawn at most every frameEvery and taken
// away before a line is written, a question is asked, or the screen stops.
type screen struct {
	out   io.Writer                           // where the view is, and lines without a writer of their own
	view  func(now time.Time, c, r int) []row // nil: no view
	size  func() (cols, rows int)
	paint paint
	now   func() time.Time
	ticks <-chan time.Time // nil: a ticker of frameEvery

	mu       sync.Mutex // guards what follows
	running  bool
	stopping bool
	queue    []output
	failed   map[io.Writer]error // the first error of each writer

	writing sync.Mutex // held while lines are written

	wake chan struct{}
	hold chan held
	quit chan struct{}
	done chan struct{}

	drawn []string // what the view shows; only the writing goroutine uses it
	wides []int    // the columns of those lines
}

type output struct {
	to   io.Writer
	text string
}

// held asks the writing goroutine to take the view away and to wait.
type held struct {
	gone    chan<- struct{}
	release <-chan struct{}
}

// start begins to draw. A running screen stays as it is.
func (s *screen) start() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running {
		return
	}
	s.running = true
	s.wake = make(chan struct{}, 1)
	s.hold = make(chan held)
	s.quit = make(chan struct{})
	s.done = make(chan struct{})
	go s.write()
}

// stop takes the view away, writes what is left and ends the goroutine.
func (s *screen) stop() {
	s.mu.Lock()
	if !s.running {
		s.mu.Unlock()
		return
	}
	if !s.stopping {
		s.stopping = true
		close(s.quit)
	}
	done := s.done
	s.mu.Unlock()
	<-done
	s.mu.Lock()
	s.running, s.stopping = false, false
	s.mu.Unlock()
	s.flush()
}

// print has text written to w in turn. It returns at once while the screen
// runs; otherwise it writes.
func (s *screen) print(w io.Writer, text string) {
	s.mu.Lock()
	s.queue = append(s.queue, output{w, text})
	running, wake := s.running, s.wake
	s.mu.Unlock()
	if !running {
		s.flush()
		return
	}
	select {
	case wake <- struct{}{}:
	default:
	}
}

// err is the first error of writing to w.
func (s *screen) err(w io.Writer) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failed[w]
}

// suspend takes the view away until resume is called.
func (s *screen) suspend() (resume func()) {
	s.mu.Lock()
	running, hold, done := s.running, s.hold, s.done
	s.mu.Unlock()
	if !running {
		return func() {}
	}
	gone, release := make(chan struct{}), make(chan struct{})
	select {
	case hold <- held{gone, release}:
		<-gone
	case <-done:
	}
	return sync.OnceFunc(func() { close(release) })
}

// write is the writing goroutine.
func (s *screen) write() {
	defer close(s.done)
	ticks := s.ticks
	if ticks == nil {
		ticker := time.NewTicker(frameEvery)
		defer ticker.Stop()
		ticks = ticker.C
	}
	for {
		select {
		case <-s.wake:
			s.lines()
		case <-ticks:
			s.lines()
			s.draw()
		case h := <-s.hold:
			s.erase()
			close(h.gone)
			select {
			case <-h.release:
			case <-s.quit:
			}
		case <-s.quit:
			s.erase()
			s.flush()
			return
		}
	}
}

// lines writes what is queued, above the view.
func (s *screen) lines() {
	s.mu.Lock()
	pending := len(s.queue) > 0
	s.mu.Unlock()
	if !pending {
		return
	}
	shown := len(s.drawn) > 0
	s.erase()
	s.flush()
	if shown {
		s.draw()
	}
}

// flush writes the queue.
func (s *screen) flush() {
	s.writing.Lock()
	defer s.writing.Unlock()
	s.mu.Lock()
	queue := s.queue
	s.queue = nil
	s.mu.Unlock()
	for _, o := range queue {
		if s.err(o.to) != nil {
			continue
		}
		if _, err := io.WriteString(o.to, o.text); err != nil {
			s.mu.Lock()
			if s.failed == nil {
				s.failed = map[io.Writer]error{}
			}
			s.failed[o.to] = err
			s.mu.Unlock()
		}
	}
}

// draw brings the view up to date in one write, unless nothing changed.
func (s *screen) draw() {
	if s.view == nil {
		return
	}
	cols, rows := s.size()
	if cols < 2 || rows < 2 { // nothing is known, or we are in the background
		return
	}
	// The last column stays free, so that no terminal wraps; so does the last
	// row, where the cursor rests.
	list := s.view(s.now(), cols-1, rows-1)
	lines, wides := make([]string, len(list)), make([]int, len(list))
	same := len(list) == len(s.drawn)
	for i, r := range list {
		lines[i] = r.render(s.paint, cols-1)
		wides[i] = min(r.width(), cols-1)
		same = same && lines[i] == s.drawn[i]
	}
	if same {
		return
	}
	var b strings.Builder
	b.WriteString(s.home())
	for _, line := range lines {
		b.WriteString(line)
		b.WriteString("\x1b[K\n")
	}
	b.WriteString("\x1b[J")
	io.WriteString(s.out, b.String()) // a terminal that is gone cannot be told so
	s.drawn, s.wides = lines, wides
}

// erase takes the view away.
func (s *screen) erase() {
	if len(s.drawn) == 0 {
		return
	}
	io.WriteString(s.out, s.home()+"\x1b[J")
	s.drawn, s.wides = nil, nil
}

// home brings the cursor to where the view begins. A terminal that was made
// narrower since has broken the longer lines.
func (s *screen) home() string {
	cols, rows := s.size()
	up := 0
	for _, w := range s.wides {
		up++
		if cols > 0 && w > cols {
			up += (w - 1) / cols
		}
	}
	if rows > 1 {
		up = min(up, rows-1)
	}
	if up == 0 {
		return ""
	}
	return fmt.Sprintf("\x1b[%dA\r", up)
}
