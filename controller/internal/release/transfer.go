package release

import (
	"context"
	"fmt"
	"io"
	"path/filepath"

	"github.com/gofleet/gofleet/agent/wire"
)

// Transfer is what travels to hosts and where to read it: one open file for
// all of them, so that each block is read from the disk once.
type Transfer struct {
	wire.Transfer
	io.ReaderAt
	file io.Closer
}

// Close closes a Transfer that Difference gave. Those of Archive.Transfer are
// the archive's own.
func (t *Transfer) Close() error { return t.file.Close() }

// HasTransfer tells whether Transfer gives that encoding without first making
// it.
func (a *Archive) HasTransfer(encoding string) bool {
	switch {
	case a.name.Zip:
		return false
	case encoding != wire.Zstd:
		return encoding == wire.Gzip
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.hasZstd()
}

// TransferPath is the file that has what Transfer gave, for programs that read
// it by themselves. The archive as it is may lie inside a bundle: then there is
// no file of that name.
func (a *Archive) TransferPath(encoding string) string {
	if encoding == wire.Zstd {
		return filepath.Join(a.cache.entry(a.in.SHA256), zstdName)
	}
	return a.Path()
}

// hasZstd takes the zstd form from the cache if need be. a.mu is held.
func (a *Archive) hasZstd() bool {
	if a.zstd == nil {
		a.zstd, _ = openZstd(a.cache, a.in.SHA256)
	}
	return a.zstd != nil
}

// Transfer gives the archive in the encoding, wire.Gzip or wire.Zstd. Gzip is
// the file as it is. Zstd is made once, from the verified content, and kept in
// the cache. It is made for all callers at once: one that gives up does not
// disturb the others. progress, which may be nil, hears how much of the archive
// has been converted, if this call is the one that begins it.
func (a *Archive) Transfer(ctx context.Context, encoding string, progress func(done, total int64)) (*Transfer, error) {
	switch {
	case a.name.Zip:
		return nil, fmt.Errorf("transfer %s: zip archives are not for hosts", a.Name())
	case encoding == wire.Gzip:
		return &Transfer{
			Transfer: wire.Transfer{
				Encoding: wire.Gzip, SHA256: a.in.SHA256, Size: a.in.Size,
				ChunkSize: chunkSize, Chunks: a.in.Chunks,
			},
			ReaderAt: a.file, file: a.file,
		}, nil
	case encoding != wire.Zstd:
		return nil, fmt.Errorf("transfer %s: unknown encoding %q", a.Name(), encoding)
	}
	a.mu.Lock()
	if a.hasZstd() {
		defer a.mu.Unlock()
		return a.zstd, nil
	}
	m := a.making
	if m == nil {
		m = a.begin(ctx, progress)
	}
	a.mu.Unlock()
	select {
	case <-m.done:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if m.err != nil {
		return nil, fmt.Errorf("make the zstd form of %s: %w", a.Name(), m.err)
	}
	return m.made, nil
}

// making is a zstd form in the making, which several callers wait for.
type making struct {
	cancel context.CancelFunc
	done   chan struct{}
	made   *Transfer
	err    error
}

// begin starts making the zstd form. a.mu is held.
func (a *Archive) begin(ctx context.Context, progress func(done, total int64)) *making {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	m := &making{cancel: cancel, done: make(chan struct{})}
	a.making = m
	go func() {
		defer close(m.done)
		defer cancel()
		m.made, m.err = a.makeZstd(ctx, progress)
		a.mu.Lock()
		defer a.mu.Unlock()
		a.zstd, a.making = m.made, nil
	}()
	return m
}

// makeZstd converts the archive and proves on the way that it is still the
// one that was verified.
func (a *Archive) makeZstd(ctx context.Context, progress func(done, total int64)) (*Transfer, error) {
	return a.form(ctx, zstdName, func() (*Transfer, error) {
		out, err := newZstdFile(a.cache, zstdLevel)
		if err != nil {
			return nil, err
		}
		defer out.discard()
		in, err := inspect(ctx, a.file, a.in.Size, a.name, out.enc, progress)
		if err != nil {
			return nil, err
		}
		if in.SHA256 != a.in.SHA256 || in.broken != nil {
			return nil, &RefusedError{File: a.Path(), SHA256: in.SHA256, Reason: "the file was changed while gofleet ran", Hint: "run the same command again"}
		}
		return out.publish(a.cache, a.in.SHA256)
	})
}
