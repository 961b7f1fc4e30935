package fleet

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gofleet/gofleet/agent/wire"
)

// Where one upload holds all others up, no more hosts are contacted to wait
// behind it.
func TestHostsAreNotContactedOnlyToWait(t *testing.T) {
	const all = 2 * atTheDoor
	a := newArchive(t)
	var before, most atomic.Int32
	var closed atomic.Bool
	crowded := make(chan struct{})
	var hosts []*Host
	for i := range all {
		h := withUpload(fakeHost(fmt.Sprint(i), receiver(0, nil)), a,
			func(ctx context.Context, src io.ReaderAt, offset, size int64, contiguous func(int64)) error {
				before.Add(-1)
				select {
				case <-crowded:
				case <-ctx.Done():
					return ctx.Err()
				}
				return write(new(bytes.Buffer))(ctx, src, offset, size, contiguous)
			})
		connect := h.Connect
		h.Connect = func(ctx context.Context) (Conn, error) {
			n := before.Add(1)
			for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
			}
			if n == atTheDoor && !closed.Swap(true) {
				close(crowded)
			}
			return connect(ctx)
		}
		hosts = append(hosts, h)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	o := options()
	o.Forks, o.Uploads = all, 1
	out := Run(ctx, hosts, o)
	if got := out.Count(wire.Changed); got != all {
		t.Errorf("%d hosts changed: %+v", got, out.Results[0].Report)
	}
	// One more may be between its turn and its upload.
	if got := most.Load(); got > atTheDoor+1 {
		t.Errorf("%d hosts were contacted before their upload, want at most %d", got, atTheDoor+1)
	}
}

// Hosts that need no upload make room for as many at once as there are forks.
func TestHostsWithoutUploadsMakeRoom(t *testing.T) {
	const all, together = 3 * atTheDoor, atTheDoor + 50
	var late atomic.Int32
	enough := make(chan struct{})
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var hosts []*Host
	for i := range all {
		hosts = append(hosts, fakeHost(fmt.Sprint(i), func(a *fakeAgent) {
			if i >= atTheDoor {
				if late.Add(1) == together {
					close(enough)
				}
				select {
				case <-enough:
				case <-ctx.Done():
				}
			}
			a.report(wire.Report{Status: wire.OK})
		}))
	}
	o := options()
	o.Forks = all
	if got := Run(ctx, hosts, o).Count(wire.OK); got != all {
		t.Errorf("%d hosts of %d are ok: never %d were at work at once", got, all, together)
	}
}
