package fleet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"github.com/gofleet/gofleet/agent/wire"
	"github.com/gofleet/gofleet/controller/internal/release"
)

// haveEvery is how many bytes go by between two words about how far the
// upload is: often enough that extraction follows closely.
const haveEvery = 512 << 10

// upload sends one archive to one host, each step in a goroutine of its own
// that puts its end into done.
type upload struct {
	*conversation
	transfer   atomic.Pointer[release.Transfer]
	difference *release.Transfer // this upload's own; nil if the archive travels
	steps      sync.WaitGroup
	done       chan error
}

// close ends it once all steps have ended.
func (u *upload) close() {
	if u.difference != nil {
		u.difference.Close()
	}
}

// begin starts a step. Its end is seen in done, and by wait.
func (u *upload) begin(step func() error) {
	u.steps.Go(func() {
		if err := step(); err != nil {
			u.done <- err
		}
	})
}

// describe answers Event.Compare.
func (u *upload) describe() {
	u.begin(func() error {
		a, err := u.archive()
		if err != nil {
			return err
		}
		packed, err := a.PackedManifest()
		if err != nil {
			return err
		}
		return u.out.Write(wire.Command{Manifest: packed})
	})
}

// offerDifference answers Event.Lacks with what is lacking, or the whole
// archive where that is hardly more.
func (u *upload) offerDifference(ctx context.Context, lacks [][2]int) {
	u.begin(func() error {
		a, err := u.archive()
		if err != nil {
			return err
		}
		worth, err := a.WorthDifference(lacks)
		if err != nil {
			return wire.NewError(wire.KindProtocol, fmt.Errorf("the agent asks for files that %s does not have: %w", a.Name(), err), "")
		}
		if !worth {
			return u.offerWhole(ctx, a)
		}
		t, err := a.Difference(ctx, lacks)
		if err != nil {
			return err
		}
		if !u.transfer.CompareAndSwap(nil, t) {
			return errors.Join(wire.NewError(wire.KindProtocol, errors.New("the agent asks for a second transfer"), ""), t.Close())
		}
		u.difference = t
		return u.out.Write(wire.Command{Send: &t.Transfer})
	})
}

// offer answers Event.Want with what will travel.
func (u *upload) offer(ctx context.Context) {
	u.begin(func() error {
		a, err := u.archive()
		if err != nil {
			return err
		}
		return u.offerWhole(ctx, a)
	})
}

func (u *upload) offerWhole(ctx context.Context, a *release.Archive) error {
	encoding := u.Encoding
	if encoding == "" {
		encoding = wire.Gzip
		if len(u.all) >= ZstdFrom || a.HasTransfer(wire.Zstd) {
			encoding = wire.Zstd
		}
	}
	t, err := a.Transfer(ctx, encoding, nil)
	if err != nil {
		return fmt.Errorf("prepare %s: %w", a.Name(), err)
	}
	u.transfer.Store(t)
	send := t.Transfer
	if send.Manifest, err = a.PackedManifest(); err != nil {
		return err
	}
	return u.out.Write(wire.Command{Send: &send})
}

// send brings the bytes from need.Offset on to the host, over SFTP or else
// through the agent's stdin.
func (u *upload) send(ctx context.Context, need wire.Need) {
	u.begin(func() error {
		src := u.transfer.Load()
		if src == nil || need.Offset < 0 || need.Offset > src.Size {
			return wire.NewError(wire.KindProtocol, errors.New("the agent asks for bytes that were not offered"), "")
		}
		if need.Offset == src.Size {
			// All of it came with an earlier run. The agent goes on at once, and its
			// file may be gone before anybody could open it.
			u.phase("extract")
			return nil
		}
		if err := u.uploads.Acquire(ctx, 1); err != nil {
			return err
		}
		defer u.uploads.Release(1)
		begun := u.Now()
		defer func() { u.seconds["upload"] = u.Now().Sub(begun).Seconds() }()

		u.phase("upload")
		var have atomic.Int64
		have.Store(need.Offset)
		told := need.Offset
		tell := func(n int64) {
			u.sent.Add(n - have.Swap(n))
			u.Observer.Bytes(u.host.Name, n, src.Size)
			if n-told >= haveEvery || n == src.Size {
				told = n
				// A broken agent shows itself to the reader of its events.
				u.out.Write(wire.Command{Have: &n})
			}
		}
		err := u.conn.Upload(ctx, src, need.Offset, src.Size, need.Path, tell)
		if errors.Is(err, ErrNoUpload) {
			u.phase("upload: through the agent")
			// What is appended goes behind what the agent knows of.
			n := have.Load()
			if err := u.out.Write(wire.Command{Have: &n}); err != nil {
				return err
			}
			err = u.stream(ctx, src, n)
		}
		if err == nil {
			u.phase("extract")
		}
		return err
	})
}

// stream appends the rest of the transfer through the agent's stdin.
func (u *upload) stream(ctx context.Context, src *release.Transfer, from int64) error {
	rest := io.NewSectionReader(src, from, src.Size-from)
	buf := make([]byte, wire.MaxData)
	for sent := from; sent < src.Size; {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := io.ReadFull(rest, buf[:min(int64(len(buf)), src.Size-sent)])
		if err != nil {
			return fmt.Errorf("read the archive: %w", err)
		}
		if err := u.out.WriteData(buf[:n]); err != nil {
			return err
		}
		sent += int64(n)
		u.sent.Add(int64(n))
		u.Observer.Bytes(u.host.Name, sent, src.Size)
	}
	return nil
}
