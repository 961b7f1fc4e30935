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

// upload sends what one host lacks, each step in a goroutine of its own.
type upload struct {
	*conversation
	steps   sync.WaitGroup
	working atomic.Int32 // steps under way
	done    chan error   // has the first failure; has room for one

	mu       sync.Mutex
	transfer *release.Transfer   // what was offered last
	offered  []*release.Transfer // this upload's own: differences
	sending  chan struct{}       // full while one is sent

	turn atomic.Pointer[turn] // at the seed that the last one comes from; nil: it comes from here
}

// maxOffers is how many transfers a host may ask for: packages, modules, sources and an archive.
const maxOffers = 4

// close ends it once all steps have ended.
func (u *upload) close() {
	for _, t := range u.offered {
		t.Close()
	}
	if turn := u.turn.Load(); turn != nil {
		turn.end()
	}
}

// maxSteps is how many steps may be under way at once: an agent asks for one
// thing of each part, and waits.
const maxSteps = 16

// begin starts a step. The first that fails is seen in done.
func (u *upload) begin(step func() error) {
	fail := func(err error) {
		select {
		case u.done <- err:
		default: // another one failed before
		}
	}
	if u.working.Add(1) > maxSteps {
		u.working.Add(-1)
		fail(wire.NewError(wire.KindProtocol, errors.New("the agent asks for more before it has what it asked for"), ""))
		return
	}
	u.steps.Go(func() {
		defer u.working.Add(-1)
		if err := step(); err != nil {
			fail(err)
		}
	})
}

// unmade is why what should travel could not be made or read on this machine.
func unmade(err error) error {
	var own *wire.Error
	if errors.As(err, &own) {
		return err
	}
	return wire.NewError(wire.KindTransfer, err, "look at the disk and at the cache directory of the machine that runs gofleet; the host still has the Go that it had")
}

// describe answers Event.Compare.
func (u *upload) describe(part wire.Part) {
	u.answer(func() ([]byte, error) {
		list, err := u.list(part)
		if err != nil {
			return nil, err
		}
		return list.PackedManifest()
	})
}

// index answers Event.Index.
func (u *upload) index(name string, part wire.Part) {
	u.answer(func() ([]byte, error) {
		files, err := u.files(part)
		if err != nil {
			return nil, err
		}
		return files.PackedFile(name)
	})
}

// answer sends what pack makes.
func (u *upload) answer(pack func() ([]byte, error)) {
	u.begin(func() error {
		packed, err := pack()
		if err != nil {
			return unmade(err)
		}
		return u.out.Write(wire.Command{Manifest: packed})
	})
}

// list is what a host may want a part of.
func (u *upload) list(part wire.Part) (interface{ PackedManifest() ([]byte, error) }, error) {
	if part != "" {
		return u.files(part)
	}
	return u.archive()
}

// offerDifference answers Event.Lacks with what is lacking, or the whole
// archive where that is hardly more.
func (u *upload) offerDifference(ctx context.Context, lacks [][2]int, part wire.Part) {
	u.begin(func() error {
		t, whole, err := u.difference(ctx, lacks, part)
		if err != nil {
			return unmade(err)
		}
		if whole != nil {
			return u.offerWhole(ctx, whole)
		}
		u.mu.Lock()
		u.offered = append(u.offered, t)
		u.transfer = t
		many := len(u.offered) > maxOffers
		u.mu.Unlock()
		if many {
			return wire.NewError(wire.KindProtocol, errors.New("the agent asks for one transfer too many"), "")
		}
		send := t.Transfer
		err = u.fromSeed(ctx, t, &send, func(ctx context.Context) (*release.Transfer, func() error, error) {
			own, _, err := u.difference(ctx, lacks, part)
			if err != nil {
				return nil, nil, err
			}
			return own, own.Close, nil
		})
		if err != nil {
			return err
		}
		return u.out.Write(wire.Command{Send: &send})
	})
}

// difference makes what is lacking, or gives the archive that should travel
// whole.
func (u *upload) difference(ctx context.Context, lacks [][2]int, part wire.Part) (*release.Transfer, *release.Archive, error) {
	if part != "" {
		m, err := u.files(part)
		if err != nil {
			return nil, nil, err
		}
		t, err := m.Difference(ctx, lacks)
		return t, nil, err
	}
	a, err := u.archive()
	if err != nil {
		return nil, nil, err
	}
	worth, err := a.WorthDifference(lacks)
	if err != nil {
		return nil, nil, wire.NewError(wire.KindProtocol, fmt.Errorf("the agent asks for files that %s does not have: %w", a.Name(), err), "")
	}
	if !worth {
		return nil, a, nil
	}
	t, err := a.Difference(ctx, lacks)
	return t, nil, err
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
		return unmade(fmt.Errorf("prepare %s: %w", a.Name(), err))
	}
	u.mu.Lock()
	u.transfer = t
	u.mu.Unlock()
	send := t.Transfer
	if send.Manifest, err = a.PackedManifest(); err != nil {
		return unmade(err)
	}
	err = u.fromSeed(ctx, t, &send, func(context.Context) (*release.Transfer, func() error, error) {
		return t, func() error { return nil }, nil
	})
	if err != nil {
		return err
	}
	return u.out.Write(wire.Command{Send: &send})
}

// fromSeed has the transfer come from the site's seed, if the host has one that
// is of use. The error is the host's: that of a seed is noted.
func (u *upload) fromSeed(ctx context.Context, t *release.Transfer, send *wire.Transfer, open opener) error {
	s := u.sites[u.host.Seed]
	if s == nil {
		return nil
	}
	u.phase("seed: " + s.seed.Name)
	from, turn, err := s.turn(ctx, u.host.Name, t.SHA256, open)
	switch {
	case err == nil:
		send.From, turn.transfer = from, t
	case ctx.Err() != nil:
		return context.Cause(ctx)
	default:
		u.noteSeed(s, err.Error())
	}
	if before := u.turn.Swap(turn); before != nil {
		before.end()
	}
	return nil
}

// fetched notes that the host has what is under way up to n, from the seed.
func (u *upload) fetched(n int64) {
	turn := u.turn.Load()
	if turn == nil || n <= turn.at || n > turn.transfer.Size {
		return
	}
	u.phase("upload")
	got := n - turn.at
	if turn.at == 0 { // its first chunk; of what the host had before, nothing travelled
		got = n - (n-1)/turn.transfer.ChunkSize*turn.transfer.ChunkSize
	}
	turn.at = n
	u.seeded.Add(got)
	turn.site.brought(u.host.Name, got)
	u.Observer.Bytes(u.host.Name, n, turn.transfer.Size)
	if n == turn.transfer.Size {
		turn.end()
		u.phase("extract")
	}
}

// seedLost notes that the rest has to come from the controller.
func (u *upload) seedLost(why string) {
	if turn := u.turn.Load(); turn != nil {
		turn.end()
		u.noteSeed(turn.site, why)
		turn.site.missedBy(why)
	}
}

func (c *conversation) noteSeed(s *site, why string) {
	note := fmt.Sprintf("the controller sent what seed %s did not: %s", s.seed.Name, why)
	c.noSeed.CompareAndSwap(nil, &note)
}

// notes are the controller's own warnings about the host.
func (c *conversation) notes() []string {
	if note := c.noSeed.Load(); note != nil {
		return []string{*note}
	}
	return nil
}

// send brings the bytes from need.Offset on to the host, over SFTP or else
// through the agent's stdin.
func (u *upload) send(ctx context.Context, need wire.Need) {
	// What was offered last when the agent asked: it may ask for the next part
	// while this step has yet to begin.
	u.mu.Lock()
	src := u.transfer
	u.mu.Unlock()
	u.begin(func() error {
		if src == nil {
			return errNotOffered
		}
		if err := u.start(ctx); err != nil {
			return err
		}
		defer u.end()
		if need.Offset < 0 || need.Offset > src.Size {
			return errNotOffered
		}
		if need.Offset == src.Size {
			// All of it came with an earlier run. The agent goes on at once, and its
			// file may be gone before anybody could open it.
			u.phase("extract")
			return nil
		}
		if err := u.uploads.Acquire(ctx); err != nil {
			return err
		}
		defer u.uploads.Release()
		u.entered.Do(func() { u.entry.leave(true) })
		begun := u.Now()
		defer func() { u.seconds["upload"] += u.Now().Sub(begun).Seconds() }()

		u.phase("upload")
		var have atomic.Int64
		have.Store(need.Offset)
		told := need.Offset
		tell := func(n int64) {
			u.acknowledge(n - have.Swap(n))
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
			sent := n
			err = sendData(ctx, u.out, src, n, func(k int64) {
				sent += k
				u.acknowledge(k)
				u.Observer.Bytes(u.host.Name, sent, src.Size)
			})
		}
		if err == nil {
			u.phase("extract")
		}
		return err
	})
}

// acknowledge counts bytes that the host has.
func (u *upload) acknowledge(n int64) {
	u.sent.Add(n)
	u.acknowledged.Add(n)
}

// start returns once nothing else is on its way: an agent that has all its
// bytes may ask for others before SFTP has closed the file.
func (u *upload) start(ctx context.Context) error {
	select {
	case u.sending <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (u *upload) end() { <-u.sending }

var errNotOffered = wire.NewError(wire.KindProtocol, errors.New("the agent asks for bytes that were not offered"), "")

// sendData appends the rest of the transfer through an agent's stdin. sent hears
// of each piece.
func sendData(ctx context.Context, out *wire.Writer, src *release.Transfer, from int64, sent func(n int64)) error {
	rest := io.NewSectionReader(src, from, src.Size-from)
	buf := make([]byte, wire.MaxData)
	for at := from; at < src.Size; {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := io.ReadFull(rest, buf[:min(int64(len(buf)), src.Size-at)])
		if err != nil {
			return unmade(fmt.Errorf("read the archive: %w", err))
		}
		if err := out.WriteData(buf[:n]); err != nil {
			return err
		}
		at += int64(n)
		sent(int64(n))
	}
	return nil
}
