package release

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"github.com/klauspost/compress/zstd"

	"github.com/gofleet/gofleet/agent/spec"
	"github.com/gofleet/gofleet/agent/wire"
)

// Archive is a release's file whose content has been verified. Only a Store
// makes one. It may be used from several goroutines.
type Archive struct {
	name     Name
	file     *os.File
	in       *inspection
	evidence Evidence
	cache    cache

	mu   sync.Mutex // held while the zstd form is made
	zstd *Transfer
}

// Name is the file's name, without directories.
func (a *Archive) Name() string { return a.name.String() }

// Version is the Go version, without "go".
func (a *Archive) Version() string { return a.name.Version }

// Platform is the one that the archive is for.
func (a *Archive) Platform() spec.Platform { return a.name.Platform }

// SHA256 is that of the file, lower-case hex.
func (a *Archive) SHA256() string { return a.in.SHA256 }

// Size is the file's, in bytes.
func (a *Archive) Size() int64 { return a.in.Size }

// Path is where the file lies.
func (a *Archive) Path() string { return a.file.Name() }

// Evidence is why the archive is believed.
func (a *Archive) Evidence() Evidence { return a.evidence }

// Tree describes what the archive holds.
func (a *Archive) Tree() wire.Tree { return a.in.Tree }

// Manifest is the text of the tree manifest; it must not be changed.
func (a *Archive) Manifest() []byte { return a.in.text }

// Close closes the file. Transfers must have ended.
func (a *Archive) Close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	var err error
	if a.zstd != nil {
		err = a.zstd.file.Close()
	}
	return errors.Join(err, a.file.Close())
}

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
	zstdWindow = 4 << 20
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
	Stamp    stamp         `json:"stamp"` // zero when the file was too fresh to tell
}

// openZstd takes the zstd form from the cache. A file that was touched since,
// or that nobody has read since it was made, is read and compared first.
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
	if err := a.checkZstd(f, &form, dir); err != nil {
		f.Close()
		return err
	}
	a.zstd = &Transfer{Transfer: form.Transfer, ReaderAt: f, file: f}
	return nil
}

func (a *Archive) checkZstd(f *os.File, form *zstdForm, dir string) error {
	now, err := stampOf(f)
	if err != nil {
		return err
	}
	if now == form.Stamp {
		return nil
	}
	sum, _, size, err := sumFile(f)
	if err != nil {
		return err
	}
	if sum != form.Transfer.SHA256 || size != form.Transfer.Size {
		return errors.New("the zstd form is damaged")
	}
	if fresh, err := settledStamp(f); err == nil {
		form.Stamp = fresh
		_ = writeSealed(filepath.Join(dir, "zstd.json"), form) // only spares work
	}
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
	out, err := newZstdFile(dir)
	if err != nil {
		return err
	}
	defer out.discard()
	in, err := inspect(ctx, a.file, a.in.Size, false, out.enc, progress)
	if err != nil {
		return err
	}
	if in.SHA256 != a.in.SHA256 || in.broken != nil {
		return &RefusedError{File: a.Path(), SHA256: in.SHA256, Reason: "the file was changed while gofleet ran", Hint: "run the same command again"}
	}
	if err := out.publish(); err != nil {
		return err
	}
	return a.openZstd()
}

// zstdFile is a zstd form in the making.
type zstdFile struct {
	dir  string
	file *os.File
	enc  *zstd.Encoder
}

func newZstdFile(dir string) (*zstdFile, error) {
	f, err := os.CreateTemp(dir, ".new-*")
	if err != nil {
		return nil, err
	}
	enc, err := newEncoder(f)
	if err != nil {
		f.Close()
		os.Remove(f.Name())
		return nil, err
	}
	return &zstdFile{dir, f, enc}, nil
}

// publish ends the file and gives it its name, and then its description.
func (z *zstdFile) publish() error {
	if err := z.enc.Close(); err != nil {
		return err
	}
	sum, chunks, size, err := sumFile(z.file)
	if err != nil {
		return err
	}
	if err := os.Rename(z.file.Name(), filepath.Join(z.dir, "zstd")); err != nil {
		return err
	}
	form := zstdForm{Transfer: wire.Transfer{
		Encoding: wire.Zstd, SHA256: sum, Size: size, ChunkSize: chunkSize, Chunks: chunks,
	}}
	return writeSealed(filepath.Join(z.dir, "zstd.json"), form)
}

// discard ends what publish did not, and may always be called.
func (z *zstdFile) discard() {
	z.enc.Close()
	z.file.Close()
	os.Remove(z.file.Name())
}

// sumFile reads a file from its start.
func sumFile(f *os.File) (sum string, chunks []string, size int64, err error) {
	s := newSumReader(context.Background(), io.NewSectionReader(f, 0, maxArchive), func(int64) {})
	if _, err := io.Copy(io.Discard, s); err != nil {
		return "", nil, 0, err
	}
	sum, chunks, size = s.finish()
	return sum, chunks, size, nil
}
