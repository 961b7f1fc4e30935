package fleet

import (
	"context"
	"slices"
	"sync"
)

// limiter bounds how much goes on at once, first come, first served. Its size
// may change while some wait.
type limiter struct {
	mu      sync.Mutex
	size    int
	held    int
	waiting []chan struct{} // each closed when its turn has come
}

func newLimiter(size int) *limiter { return &limiter{size: max(size, 1)} }

// Acquire waits for a turn, which Release ends. The error is ctx's.
func (l *limiter) Acquire(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	turn := make(chan struct{})
	l.mu.Lock()
	l.waiting = append(l.waiting, turn)
	l.admit()
	l.mu.Unlock()
	select {
	case <-turn:
		return nil
	case <-ctx.Done():
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if i := slices.Index(l.waiting, turn); i >= 0 {
		l.waiting = slices.Delete(l.waiting, i, i+1)
	} else { // its turn came in the same instant
		l.held--
		l.admit()
	}
	return ctx.Err()
}

// Release ends a turn.
func (l *limiter) Release() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held--
	l.admit()
}

// Resize changes how many have a turn at once. Those beyond a smaller size
// keep theirs.
func (l *limiter) Resize(size int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.size = max(size, 1)
	l.admit()
}

// Size is how many have a turn at once.
func (l *limiter) Size() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.size
}

// Waiting is how many wait for a turn.
func (l *limiter) Waiting() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.waiting)
}

// admit gives turns to those who are first. l.mu is held.
func (l *limiter) admit() {
	for l.held < l.size && len(l.waiting) > 0 {
		close(l.waiting[0])
		l.waiting = l.waiting[1:]
		l.held++
	}
}
