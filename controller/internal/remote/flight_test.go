package remote

import (
	"testing"
	"time"
)

func TestFlightReportsThePrefix(t *testing.T) {
	var reported []int64
	f := &flight{workers: 3, pace: pace{packets: 3, settled: true}, packet: 10, size: 45, report: func(n int64) { reported = append(reported, n) }, stalled: time.NewTimer(time.Hour)}
	type piece struct{ off, n int64 }
	var pieces []piece
	for off, n, ok := f.take(); ok; off, n, ok = f.take() {
		pieces = append(pieces, piece{off, n})
	}
	if len(pieces) != 5 || pieces[4] != (piece{40, 5}) {
		t.Fatalf("pieces %v", pieces)
	}
	for _, i := range []int{1, 2, 0, 4, 3} {
		f.acknowledge(t.Context(), pieces[i].off, pieces[i].n, time.Second)
	}
	if want := []int64{30, 45}; len(reported) != 2 || reported[0] != want[0] || reported[1] != want[1] {
		t.Errorf("reported %v, want %v", reported, want)
	}
	f.stop()
	f.acknowledge(t.Context(), 45, 1, time.Second)
	if len(reported) != 2 {
		t.Error("reported after stop")
	}
}

// link answers packets as a link of that rate and delay does, and gives how
// many packets pace puts in flight on it.
func link(rate float64, delay time.Duration) int {
	const packet = largePacket
	now := time.Now()
	p := newPace(packet, delay)
	p.since = now
	var flying []time.Time // when they were sent
	free := now            // when the link has carried all that was sent
	for range p.packets {
		flying = append(flying, now)
	}
	for range 300 {
		free = free.Add(time.Duration(packet / rate * float64(time.Second)))
		if earliest := flying[0].Add(delay); free.Before(earliest) {
			free = earliest
		}
		answered := free
		took := answered.Sub(flying[0])
		flying = flying[1:]
		p.acknowledged(answered, took)
		for len(flying) < p.packets {
			flying = append(flying, answered)
		}
	}
	return p.packets
}

func TestPaceFollowsTheLink(t *testing.T) {
	for _, c := range []struct {
		name  string
		rate  float64 // bytes a second
		delay time.Duration
		want  int
	}{
		{"near host", 60e6, time.Millisecond, leastFlight / largePacket},
		{"near host that is busy and answers late", 30e6, 15 * time.Millisecond, leastFlight / largePacket},
		{"1 Gbit/s, 1 ms", 125e6, time.Millisecond, leastFlight / largePacket},
		{"1 Gbit/s, 50 ms", 125e6, 50 * time.Millisecond, mostFlight / largePacket},
		{"10 Mbit/s, 50 ms", 1.25e6, 50 * time.Millisecond, leastFlight / largePacket},
		{"100 Mbit/s, 300 ms", 12.5e6, 300 * time.Millisecond, mostFlight / largePacket},
	} {
		if got := link(c.rate, c.delay); got != c.want {
			t.Errorf("%s: %d packets in flight, want %d", c.name, got, c.want)
		}
	}
}
