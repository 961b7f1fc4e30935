package remote

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"
)

const (
	// leastFlight is how many bytes an upload begins to have in flight. Near
	// hosts need no more, and what is more piles up in their sshd, which then
	// spends twice the CPU time on growing and clearing its buffers.
	leastFlight = 512 << 10
	// mostFlight bounds the bytes in flight, and so the memory of one upload.
	// It is what OpenSSH's channel window allows.
	mostFlight = 2 << 20
)

// run writes with several packets in flight. rtt is about how long the server
// takes to answer a request without data.
func (u *upload) run(ctx context.Context, writeAt func([]byte, int64) (int, error), packet int, rtt time.Duration) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if u.offset == u.size {
		u.contiguous(u.size)
		return nil
	}
	f := &flight{
		src: u.src, writeAt: writeAt, report: u.contiguous, fail: cancel,
		next: u.offset, prefix: u.offset, size: u.size, packet: int64(packet),
		pace:    newPace(packet, rtt),
		stalled: time.AfterFunc(writeTimeout, func() { cancel(fmt.Errorf("no progress for %s", writeTimeout)) }),
		landed:  make(chan struct{}),
	}
	defer f.stalled.Stop()
	f.mu.Lock()
	f.launch(ctx)
	f.mu.Unlock()
	select {
	case <-f.landed:
	case <-ctx.Done():
		// The workers end when the caller closes the channel.
	}
	f.stop()
	return context.Cause(ctx)
}

// flight hands out the pieces of an upload to its workers, one piece in
// flight each, and knows how far it is.
type flight struct {
	src     io.ReaderAt
	writeAt func([]byte, int64) (int, error)
	report  func(int64)
	fail    context.CancelCauseFunc
	size    int64
	packet  int64
	stalled *time.Timer
	landed  chan struct{} // closed when the last worker ends

	mu      sync.Mutex
	pace    pace
	workers int
	next    int64           // where the next piece begins
	prefix  int64           // everything before it is acknowledged
	ahead   map[int64]int64 // acknowledged pieces behind a hole: begin to end
	stopped bool
}

// launch starts workers until there are as many as may be. f.mu is held.
func (f *flight) launch(ctx context.Context) {
	for f.workers < f.pace.packets {
		f.workers++
		go func() {
			if err := f.work(ctx); err != nil {
				f.fail(err)
			}
		}()
	}
}

// leave is the last act of a worker. f.mu is held.
func (f *flight) leave() {
	if f.workers--; f.workers == 0 {
		close(f.landed)
	}
}

func (f *flight) work(ctx context.Context) error {
	buf := make([]byte, f.packet)
	for {
		off, n, ok := f.take()
		if !ok {
			return nil
		}
		if got, err := f.src.ReadAt(buf[:n], off); int64(got) < n {
			return fmt.Errorf("read the archive at %d: %w", off, err)
		}
		sent := time.Now()
		if _, err := f.writeAt(buf[:n], off); err != nil {
			return err
		}
		f.acknowledge(ctx, off, n, time.Since(sent))
	}
}

// take gives a worker its next piece; without one, the worker has left.
func (f *flight) take() (off, n int64, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stopped || f.next == f.size || f.workers > f.pace.packets {
		f.leave()
		return 0, 0, false
	}
	off = f.next
	n = min(f.packet, f.size-off)
	f.next += n
	return off, n, true
}

// acknowledge notes a written piece, reports a longer prefix, and launches
// more workers where that pays.
func (f *flight) acknowledge(ctx context.Context, off, n int64, took time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stopped {
		return
	}
	f.stalled.Reset(writeTimeout)
	put(&f.ahead, off, off+n)
	before := f.prefix
	for end, ok := f.ahead[f.prefix]; ok; end, ok = f.ahead[f.prefix] {
		delete(f.ahead, f.prefix)
		f.prefix = end
	}
	if f.prefix > before {
		f.report(f.prefix)
	}
	f.pace.acknowledged(time.Now(), took)
	if f.next < f.size {
		f.launch(ctx)
	}
}

// stop makes sure that report is not called any more.
func (f *flight) stop() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stopped = true
}

// pace decides how many packets are in flight. More than a few are tried where
// hosts seem far, because less than twice of what the link carries in a round
// trip is in flight, and are kept if bytes then arrive faster: a busy host
// answers late as well.
type pace struct {
	packets, most int
	rtt           time.Duration // of a request; the shortest that was seen
	since         time.Time     // when acked began to be counted
	acked         int
	before        float64 // packets a second with half as many in flight, in a trial
	settled       bool
}

const (
	paceMeasure = 100 * time.Millisecond // the shortest time that tells a rate
	paceGain    = 1.3                    // what twice as many in flight must bring
)

func newPace(packet int, rtt time.Duration) pace {
	return pace{packets: max(leastFlight/packet, 1), most: max(mostFlight/packet, 1), rtt: rtt, since: time.Now()}
}

// acknowledged notes an answer, which came at now and had taken took.
func (p *pace) acknowledged(now time.Time, took time.Duration) {
	p.rtt = min(p.rtt, took)
	p.acked++
	elapsed := now.Sub(p.since)
	if p.settled || p.acked < 2*p.packets || elapsed < paceMeasure {
		return
	}
	rate := float64(p.acked) / elapsed.Seconds()
	carried := rate * p.rtt.Seconds() // in one round trip
	switch {
	case p.before > 0 && rate < paceGain*p.before:
		p.packets, p.settled = p.packets/2, true
	case p.packets >= p.most:
		p.settled = true
	case float64(p.packets) < 2*carried:
		p.packets, p.before = min(2*p.packets, p.most), rate
	default:
		p.before = 0
	}
	p.since, p.acked = now, 0
}
