package fleet

import (
	"context"
	"sync"
)

// atTheDoor is how many hosts may be on their way to an upload, from dialling
// to their turn, before it is known that hosts do without one.
const atTheDoor = 256

// entry keeps hosts from being contacted only to wait for their turn to get the
// archive: each would hold a connection, a dozen goroutines and an agent on the
// host for as long, thousands of them at once. While uploads queue, atTheDoor
// hosts may be before theirs; each host that needs none makes room for one more,
// so that a run in which few hosts lack something soon goes on with all forks.
type entry struct {
	*limiter
	uploads *limiter

	mu   sync.Mutex
	room int
}

func newEntry(uploads *limiter) *entry {
	return &entry{limiter: newLimiter(atTheDoor), uploads: uploads, room: atTheDoor}
}

// wait waits until one more host may begin. The error is ctx's.
func (e *entry) wait(ctx context.Context) error { return e.Acquire(ctx) }

// leave says that a host is past its waiting: it has its turn to upload, or
// has ended without one.
func (e *entry) leave(uploads bool) {
	e.mu.Lock()
	switch {
	case e.uploads.Waiting() > 0:
		e.room = max(atTheDoor, e.uploads.Size())
	case !uploads:
		e.room++
	}
	e.Resize(e.room)
	e.mu.Unlock()
	e.Release()
}
