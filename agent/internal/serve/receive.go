package serve

import (
	"context"

	"github.com/gofleet/gofleet/agent/internal/environ"
	"github.com/gofleet/gofleet/agent/internal/toolchain"
	"github.com/gofleet/gofleet/agent/tree"
	"github.com/gofleet/gofleet/agent/wire"
)

// incoming is what the controller may send: the release, or a part.
type incoming struct {
	release *wire.Release
	part    wire.Part                                          // "" for the release
	gather  func(context.Context) (*toolchain.Gathered, error) // what the host has of it; nil for nothing that counts
}

// receive brings the release into staging: what the host has of it already,
// and the rest, or all of it, from the controller.
func (j *job) receive(ctx context.Context) (*toolchain.Staged, error) {
	return j.bring(ctx, incoming{release: j.task.Release, gather: j.gather})
}

// bring brings what is incoming into staging.
func (j *job) bring(ctx context.Context, in incoming) (*toolchain.Staged, error) {
	if err := j.store.Make(); err != nil {
		return nil, err
	}
	have, err := in.gather(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { have.Discard() }()
	if have != nil && len(have.Lacks()) == 0 {
		return have.Staged(*in.release)
	}
	j.phaseBegins("receive")
	ask := wire.Event{Want: true, Part: in.part}
	if have != nil {
		ask = wire.Event{Lacks: have.Lacks(), Part: in.part}
	}
	if err := j.out.Write(ask); err != nil {
		return nil, err
	}
	var transfer wire.Transfer
	select {
	case transfer = <-j.sends:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	staged, resumed, err := j.receiveOnce(ctx, in, transfer, have)
	if resumed && err != nil && wire.AsError(err, "").Kind == wire.KindArchiveCorrupt && ctx.Err() == nil {
		// The part that was there already is gone now; once more from the start.
		if have, err = in.gather(ctx); err != nil {
			return nil, err
		}
		staged, _, err = j.receiveOnce(ctx, in, transfer, have)
	}
	return staged, err
}

// gather puts together what the host has of the release; nil where that is too
// little, or the controller sends whole archives only.
func (j *job) gather(ctx context.Context) (*toolchain.Gathered, error) {
	release := j.task.Release
	if !j.task.Compare || release.Tree == (wire.Tree{}) {
		return nil, nil
	}
	bases := j.store.Bases(j.state)
	if len(bases) == 0 {
		return nil, nil
	}
	j.phaseBegins("gather")
	if j.tree == nil {
		j.tree = bases.Known(*release)
	}
	if j.tree == nil {
		var err error
		if j.tree, err = j.compare(ctx, wire.Event{Compare: true}, release.Tree); err != nil {
			return nil, err
		}
	}
	return j.store.Gather(ctx, bases, j.tree, environ.ShippedGoEnv)
}

// compare gets what the controller offers, a tree, by asking for it.
func (j *job) compare(ctx context.Context, ask wire.Event, want wire.Tree) (tree.Manifest, error) {
	if err := j.out.Write(ask); err != nil {
		return nil, err
	}
	select {
	case packed := <-j.trees:
		return toolchain.UnpackManifest(packed, want)
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (j *job) receiveOnce(ctx context.Context, in incoming, transfer wire.Transfer, have *toolchain.Gathered) (staged *toolchain.Staged, resumed bool, err error) {
	up, err := j.store.Receive(ctx, *in.release, transfer, have, j.options.LoginUID)
	if err != nil {
		return nil, false, err
	}
	defer func() {
		if closeErr := up.Close(); err == nil {
			err = closeErr
		}
	}()
	j.receiveInto(up)
	defer j.receiveInto(nil)
	need := up.Need()
	if transfer.From != nil && need.Offset < transfer.Size {
		defer j.fetch(ctx, up, transfer, in.part)()
	} else if err := j.out.Write(wire.Event{Need: &need, Part: in.part}); err != nil {
		return nil, false, err
	}
	staged, err = up.Extract(ctx, func(n int64) { j.out.Write(wire.Event{Received: n}) })
	return staged, need.Offset > 0, err
}
