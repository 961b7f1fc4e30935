package fleet

import (
	"context"
	"sync"
	"time"

	"github.com/gofleet/gofleet/agent/spec"
	"github.com/gofleet/gofleet/agent/wire"
	"github.com/gofleet/gofleet/controller/internal/journal"
)

const (
	// keptMost is how many hosts at most stay connected between two passes.
	keptMost = 256

	// keptFor is how long after the audit beforehand a batch may begin with its
	// connections. What an old login may do says little of what a new one may.
	keptFor = time.Minute

	// answersWithin is how long an agent that stayed may take to say that it is
	// there. One that doesn't had no task yet: a new one gets it.
	answersWithin = 10 * time.Second
)

// keeps reports whether a pass over n hosts leaves its connections to the next
// one: all of them count as hosts at work.
func (r *run) keeps(n int) bool { return n <= min(r.Forks, keptMost) }

// stays reports whether a host's agent waits for another task. Where a batch
// may change how one logs in, its gate does so afresh.
func (j job) stays(s *spec.Spec) bool {
	settled := j.stage == journal.StageAudit || len(s.Users) == 0 && len(s.Packages) == 0 && s.Services == nil && s.Firewall == nil
	return j.stay && settled
}

// line is a connection to a host, with an agent that takes tasks.
type line struct {
	conn  Conn
	agent *Agent
	out   *wire.Writer
}

// lines are those between two passes, by the index of their host.
type lines struct {
	mu   sync.Mutex
	idle map[int]*idleLine
}

type idleLine struct {
	line
	taken chan struct{} // closed when it is no longer idle
}

// put keeps a line for a later pass. Its agent hears from us meanwhile.
func (ls *lines) put(host int, l line) {
	kept := &idleLine{line: l, taken: make(chan struct{})}
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if ls.idle == nil {
		ls.idle = map[int]*idleLine{}
	}
	ls.idle[host] = kept
	go kept.ping()
}

// ping ends when the line is taken, or was closed by whichever end.
func (l *idleLine) ping() {
	tick := time.NewTicker(pingEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if l.out.Write(wire.Command{Ping: true}) != nil {
				return
			}
		case <-l.taken:
			return
		}
	}
}

// take gives the line to a host, or nil. Who takes it closes it.
func (ls *lines) take(host int) *line {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	kept := ls.idle[host]
	if kept == nil {
		return nil
	}
	delete(ls.idle, host)
	close(kept.taken)
	return &kept.line
}

// close ends all that nobody has taken.
func (ls *lines) close() {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	for host, kept := range ls.idle {
		delete(ls.idle, host)
		close(kept.taken)
		kept.conn.Close()
	}
}

// answers reports whether the agent is there. Without an answer the connection
// may be closed already.
func (l *line) answers(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, answersWithin)
	defer cancel()
	// Neither writing nor reading has a context: closing the connection ends them.
	release := context.AfterFunc(ctx, func() { l.conn.Close() })
	var e wire.Event
	there := l.out.Write(wire.Command{Ready: true}) == nil && l.agent.Out.Read(&e) == nil && e.Ready
	return release() && there
}
