package release

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/klauspost/compress/zstd"

	"github.com/gofleet/gofleet/agent/wire"
)

// Transfer is what travels to hosts and where to read it: one open file for
// all of them, so that each block is read from the disk once.
type Transfer struct {
	wire.Transfer
	io.ReaderAt
	file *os.File
}

// The zstd encoder. Measured on go1.26.8 linux/amd64, 224 MB; see
// docs/archives.md for the table behind the choice.
const (
	zstdLevel  = zstd.SpeedDefault
	zstdWindow = 1 << 20 // of the agent's memory
)

func newEncoder(w io.Writer) (*zstd.Encoder, error) {
	return zstd.NewWriter(w,
		zstd.WithEncoderLevel(zstdLevel),
		zstd.WithWindowSize(zstdWindow),
		zstd.WithEncoderConcurrency(2))
}

// HasTransfer tells whether Transfer gives that encoding without first making
// it.
func (a *Archive) HasTransfer(encoding string) bool {
	if encoding != wire.Zstd {
		return encoding == wire.Gzip
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.zstd != nil || a.openZstd() == nil
}

// Transfer gives the archive in the encoding, wire.Gzip or wire.Zstd. Gzip is
// the file as it is. Zstd is made once, from the verified content, and kept in
// the cache; progress, which may be nil, then hears how much of the archive
// has been converted. Several callers at once wait for the one that works.
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
	defer a.mu.Unlock()
	if a.zstd != nil || a.openZstd() == nil {
		return a.zstd, nil
	}
	if err := a.makeZstd(ctx, progress); err != nil {
		return nil, fmt.Errorf("make the zstd form of %s: %w", a.Name(), err)
	}
	return a.zstd, nil
}

// zstdForm is kept beside the zstd form of an archive.
type zstdForm struct {
	Transfer wire.Transfer `json:"transfer"`
	Stamp    stamp         `json:"stamp"`
}

// openZstd takes the zstd form from the cache. One that was touched since it
// was made is read and compared first.
func (a *Archive) openZstd() error {
	dir := a.cache.entry(a.in.SHA256)
	var form zstdForm
	if err := readSealed(filepath.Join(dir, "zstd.json"), &form); err != nil {
		return err
	}
	f, err := os.Open(filepath.Join(dir, "zstd"))
	if err != nil {
		return err
	}
	if now, err := stampOf(f); err != nil || now != form.Stamp {
		sum, size, err := sumFile(f)
		if err != nil || sum != form.Transfer.SHA256 || size != form.Transfer.Size {
			f.Close()
			return errors.New("the zstd form is damaged")
		}
		form.Stamp = now
		_ = writeSealed(filepath.Join(dir, "zstd.json"), form) // only spares work
	}
	a.zstd = &Transfer{form.Transfer, f, f}
	return nil
}

// makeZstd converts the archive and proves on the way that it is still the
// one that was verified.
func (a *Archive) makeZstd(ctx context.Context, progress func(done, total int64)) error {
	dir, err := a.cache.sub("archives", a.in.SHA256)
	if err != nil {
		return err
	}
	unlock, err := lock(ctx, filepath.Join(dir, "lock"))
	if err != nil {
		return err
	}
	defer unlock()
	if a.openZstd() == nil { // another controller made it meanwhile
		return nil
	}
	out, err := newZstdFile(a.cache)
	if err != nil {
		return err
	}
	defer out.discard()
	in, err := inspect(ctx, a.file, a.in.Size, a.name, out.enc, progress)
	if err != nil {
		return err
	}
	if in.SHA256 != a.in.SHA256 || in.broken != nil {
		return &RefusedError{File: a.Path(), SHA256: in.SHA256, Reason: "the file was changed while gofleet ran", Hint: "run the same command again"}
	}
	a.zstd, err = out.publish(a.cache, a.in.SHA256)
	return err
}

// zstdFile is a zstd form in the making. A nil one is none.
type zstdFile struct {
	file *os.File
	sums *sums
	enc  *zstd.Encoder
	kept bool
}

func newZstdFile(c cache) (*zstdFile, error) {
	dir, err := c.sub("new")
	if err != nil {
		return nil, err
	}
	f, err := os.CreateTemp(dir, "zstd-*")
	if err != nil {
		return nil, err
	}
	z := &zstdFile{file: f, sums: newSums()}
	if z.enc, err = newEncoder(io.MultiWriter(f, z.sums)); err != nil {
		f.Close()
		os.Remove(f.Name())
		return nil, err
	}
	return z, nil
}

// writer takes the tar stream.
func (z *zstdFile) writer() io.Writer {
	if z == nil {
		return io.Discard
	}
	return z.enc
}

// publish ends the file and makes it, and then its description, those of the
// verified archive with that sum.
func (z *zstdFile) publish(c cache, archive string) (*Transfer, error) {
	if err := z.enc.Close(); err != nil {
		return nil, err
	}
	dir, err := c.sub("archives", archive)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, "zstd")
	if err := os.Rename(z.file.Name(), path); err != nil {
		return nil, err
	}
	form := zstdForm{Transfer: wire.Transfer{Encoding: wire.Zstd, ChunkSize: chunkSize}}
	form.Transfer.SHA256, form.Transfer.Chunks, form.Transfer.Size = z.sums.end()
	if form.Stamp, err = stampOf(z.file); err != nil { // renaming has changed its ctime
		return nil, err
	}
	form.Stamp.Path = path
	if err := writeSealed(filepath.Join(dir, "zstd.json"), form); err != nil {
		return nil, err
	}
	z.kept = true
	return &Transfer{form.Transfer, z.file, z.file}, nil
}

// discard ends what publish did not, and may always be called.
func (z *zstdFile) discard() {
	if z != nil && !z.kept {
		z.enc.Close()
		z.file.Close()
		os.Remove(z.file.Name())
	}
}
