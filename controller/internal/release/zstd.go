package release

import (
	"errors"
	"io"
	"os"
	"path/filepath"

	"github.com/klauspost/compress/zstd"

	"github.com/gofleet/gofleet/agent/wire"
)

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

// zstdForm is kept beside the zstd form of an archive.
type zstdForm struct {
	Transfer wire.Transfer `json:"transfer"`
	Stamp    stamp         `json:"stamp"`
}

// openZstd takes the zstd form of an archive from the cache. One that was
// touched since it was made is read and compared first.
func openZstd(c cache, archive string) (*Transfer, error) {
	dir := c.entry(archive)
	var form zstdForm
	if err := readSealed(filepath.Join(dir, "zstd.json"), &form); err != nil {
		return nil, err
	}
	f, err := os.Open(filepath.Join(dir, "zstd"))
	if err != nil {
		return nil, err
	}
	if now, err := stampOf(f); err != nil || now != form.Stamp {
		sum, size, err := sumFile(f)
		if err != nil || sum != form.Transfer.SHA256 || size != form.Transfer.Size {
			f.Close()
			return nil, errors.New("the zstd form is damaged")
		}
		form.Stamp = now
		_ = writeSealed(filepath.Join(dir, "zstd.json"), form) // only spares work
	}
	return &Transfer{form.Transfer, f, f}, nil
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
