package fleet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"testing/synctest"
	"time"
)

// link is a made-up controller and its link, looked at once a second.
type link struct {
	each, all float64 // bytes a second: of one upload, of all together
	busyFrom  int     // uploads that take all of the controller's two CPUs; 0: no number does
	waiting   int
	now       load
}

func (l *link) look(c *climber) int {
	size := c.size
	l.now.at = l.now.at.Add(time.Second)
	l.now.bytes += int64(min(float64(size)*l.each, l.all))
	if l.busyFrom > 0 && size >= l.busyFrom {
		l.now.cpu += 2 * time.Second
	}
	l.now.waiting = l.waiting
	return c.look(l.now)
}

// looks gives the sizes after each of n looks.
func (l *link) looks(c *climber, n int) []int {
	sizes := make([]int, n)
	for i := range sizes {
		sizes[i] = l.look(c)
	}
	return sizes
}

const mega = 1e6

func TestClimberFindsWhatTheLinkIsGoodFor(t *testing.T) {
	for _, tt := range []struct {
		name             string
		link             link
		forks            int
		least, most, top int // settled between least and most, and never above top
	}{
		{"hosts are slow: as many as may be", link{each: mega, all: 1000 * mega}, 50, 50, 50, 50},
		{"the link takes ten", link{each: 10 * mega, all: 100 * mega}, 50, 10, 15, 32},
		{"one fills the link", link{each: 10 * mega, all: 10 * mega}, 50, 1, 1, 4},
		{"fewer forks than that", link{each: 10 * mega, all: 100 * mega}, 3, 3, 3, 3},
		{"one fork", link{each: 10 * mega, all: 100 * mega}, 1, 1, 1, 1},
		{"the controller is busy", link{each: 10 * mega, all: 1000 * mega, busyFrom: 8}, 50, 8, 8, 8},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.link.waiting = 1000
			c := newClimber(tt.forks, 2)
			for n, size := range tt.link.looks(c, 200) {
				if size < 1 || size > tt.top {
					t.Fatalf("%d uploads after %d looks, which is above %d", size, n+1, tt.top)
				}
			}
			if s := c.settled(); s.Uploads < tt.least || s.Uploads > tt.most || s.Rate == 0 {
				t.Errorf("settled on %s; want %d to %d", s, tt.least, tt.most)
			}
		})
	}
}

func TestClimberIsThereSoonAndThenRests(t *testing.T) {
	l := link{each: mega, all: 32 * mega, waiting: 1000}
	c := newClimber(50, 2)
	if sizes := l.looks(c, 10); c.settled().Uploads < 32 {
		t.Errorf("the first ten looks gave %v, not 32", sizes)
	}
	l.looks(c, 200)
	changes, before := 0, c.size
	for _, size := range l.looks(c, 100) {
		if size != before {
			changes++
		}
		before = size
	}
	if changes > 8 {
		t.Errorf("%d changes in 100 looks at a link that stays as it is", changes)
	}
}

func TestClimberFollowsALinkThatChanges(t *testing.T) {
	l := link{each: mega, all: 4 * mega, waiting: 1000}
	c := newClimber(50, 2)
	l.looks(c, 200)
	if s := c.settled(); s.Uploads > 6 {
		t.Errorf("settled on %s, of a link for 4", s)
	}
	l.all = 40 * mega
	l.looks(c, 200)
	if s := c.settled(); s.Uploads < 36 {
		t.Errorf("settled on %s, once the link takes 40", s)
	}
}

// TestClimberWithWhatWasMeasured has the rates of go1.26.8 as gzip to 8 lab hosts
// on 2 CPUs, by how many uploads went on at once: over the lab's own link, where
// hosts are what is slow, and over one of 100 Mbit/s (tc's tbf), which one fills nearly.
func TestClimberWithWhatWasMeasured(t *testing.T) {
	for _, tt := range []struct {
		name        string
		rates       [9]float64 // MB a second; where nothing was measured, as between its neighbours
		least, most int
	}{
		{"the lab's link", [9]float64{0, 19.4, 20.1, 25.0, 30.0, 31.2, 32.4, 33.7, 34.9}, 8, 8},
		{"100 Mbit/s", [9]float64{0, 11.1, 11.2, 11.2, 11.2, 11.2, 11.2, 11.2, 11.2}, 1, 4},
	} {
		c := newClimber(8, 2)
		now := load{waiting: 8}
		for range 60 {
			now.at = now.at.Add(time.Second)
			now.bytes += int64(tt.rates[c.size] * mega)
			now.cpu += 80 * time.Millisecond // 1.4 s in 18 s
			c.look(now)
		}
		if s := c.settled(); s.Uploads < tt.least || s.Uploads > tt.most {
			t.Errorf("%s: settled on %s, want %d to %d", tt.name, s, tt.least, tt.most)
		}
	}
}

// Fewer uploads go on when the controller's processors are taken, by this run or
// others, and more again once they are not.
func TestClimberGivesWayToABusyController(t *testing.T) {
	l := link{each: 10 * mega, all: 1000 * mega, waiting: 1000}
	c := newClimber(50, 2)
	l.looks(c, 100)
	if s := c.settled(); s.Uploads < 48 {
		t.Fatalf("settled on %s, with room for all", s)
	}
	l.busyFrom, l.all = 1, 40*mega // what is left of the processors sends no more than four did
	l.looks(c, 300)
	if s := c.settled(); s.Uploads > 5 {
		t.Errorf("settled on %s, with the controller busy", s)
	}
	l.busyFrom, l.all = 0, 1000*mega
	l.looks(c, 300)
	if s := c.settled(); s.Uploads < 48 {
		t.Errorf("settled on %s, once it is not busy any more", s)
	}
}

// Where no host waits, the number of uploads is not what bounds the rate.
func TestClimberLearnsNothingWhereNobodyWaits(t *testing.T) {
	l := link{each: mega, all: 100 * mega}
	c := newClimber(50, 2)
	l.looks(c, 50)
	if s := c.settled(); s.Uploads != firstUploads || s.Rate != 0 {
		t.Errorf("settled on %s", s)
	}
}

func TestRunFollowsItsMeter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newArchive(t)
		going := make(chan struct{}) // each send lets one upload go on by a byte
		var hosts []*Host
		for i := range 4 {
			hosts = append(hosts, withUpload(fakeHost(fmt.Sprint(i), receiver(0, nil)), a,
				func(ctx context.Context, _ io.ReaderAt, _, size int64, contiguous func(int64)) error {
					<-going
					contiguous(1)
					<-going
					contiguous(size)
					return nil
				}))
		}
		tick := make(chan time.Time)
		o := options()
		o.Forks, o.Uploads, o.Meter = 4, 8, &Meter{Tick: tick, CPUs: 2}
		ended := make(chan *Outcome)
		go func() { ended <- Run(t.Context(), hosts, o) }()
		look := func() {
			synctest.Wait()
			time.Sleep(time.Second) // of the bubble's clock
			tick <- time.Now()
			synctest.Wait()
		}
		next := func() bool {
			select {
			case going <- struct{}{}:
				return true
			default:
				return false
			}
		}
		look() // two are under way, two wait
		for range 2 {
			if !next() {
				t.Fatal("not even two uploads are under way")
			}
		}
		look() // a rate; so four may
		for n := range 4 {
			synctest.Wait()
			if !next() {
				t.Fatalf("%d uploads are under way after hosts were seen to wait, want 4", n)
			}
		}
		synctest.Wait()
		for range 2 {
			<-time.After(time.Second)
			for next() {
				synctest.Wait()
			}
		}
		out := <-ended
		if out.Count("changed") != 4 || out.Settled == nil || out.Settled.Rate == 0 {
			t.Errorf("settled: %+v; %+v", out.Settled, out.Results[0].Report)
		}
	})
}

func TestLimiterChangesWhileSomeWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(1)
		got := make(chan int, 4)
		for i := range 4 {
			go func() {
				if l.Acquire(t.Context()) == nil {
					got <- i
				}
			}()
			synctest.Wait()
		}
		if len(got) != 1 || l.Waiting() != 3 {
			t.Fatalf("%d have a turn and %d wait", len(got), l.Waiting())
		}
		ctx, cancel := context.WithCancel(t.Context())
		refused := make(chan error, 1)
		go func() { refused <- l.Acquire(ctx) }()
		synctest.Wait()
		cancel()
		if err := <-refused; !errors.Is(err, context.Canceled) || l.Waiting() != 3 {
			t.Fatalf("%v; %d wait", err, l.Waiting())
		}
		l.Resize(2)
		synctest.Wait()
		l.Resize(3)
		synctest.Wait()
		if len(got) != 3 {
			t.Fatalf("%d have a turn, want 3", len(got))
		}
		l.Resize(1) // those who have a turn keep it
		l.Release()
		l.Release()
		synctest.Wait()
		if len(got) != 3 {
			t.Fatal("a smaller limiter let one more in")
		}
		l.Release()
		synctest.Wait()
		for want := range 4 {
			if i := <-got; i != want {
				t.Errorf("turn %d went to %d", want, i)
			}
		}
	})
}
