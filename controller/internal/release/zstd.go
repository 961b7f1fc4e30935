package release

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/klauspost/compress/zstd"

	"github.com/gofleet/gofleet/agent/wire"
)

// The zstd encoder. Much of a release is programs, which have much in common
// with each other: a window of several megabytes finds it. It is the agent's
// memory, too. docs/archives.md has the table behind the choice.
const (
	zstdLevel  = zstd.SpeedBetterCompression
	zstdWindow = 8 << 20
)

// zstdMaker names the settings above. What an earlier gofleet made with others
// is made anew: it may be a sixth larger, and travels to every host.
var zstdMaker = fmt.Sprintf("%v, %d MiB", zstdLevel, zstdWindow>>20)

// zstdName is the zstd form's in the cache.
const zstdName = "zstd"

// zstdForm is kept beside a zstd stream that was made from an archive.
type zstdForm struct {
	Transfer wire.Transfer `json:"transfer"`
	Stamp    Stamp         `json:"stamp"`
	Maker    string        `json:"maker,omitempty"` // zstdMaker of the gofleet that made it
}

// openZstd takes the zstd form of an archive from the cache.
func openZstd(c cache, archive string) (*Transfer, error) { return openForm(c, archive, zstdName) }

// openForm takes what was made from an archive from the cache. One that was
// touched since it was made is read and compared first.
func openForm(c cache, archive, name string) (*Transfer, error) {
	path := filepath.Join(c.entry(archive), name)
	var form zstdForm
	if err := readSealed(path+".json", &form); err != nil {
		return nil, err
	}
	if form.Transfer.Encoding == wire.Zstd && form.Maker != zstdMaker {
		return nil, fmt.Errorf("%s was made by another gofleet", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if now, err := StampOf(f); err != nil || now != form.Stamp {
		sum, size, err := sumFile(f)
		if err != nil || sum != form.Transfer.SHA256 || size != form.Transfer.Size {
			f.Close()
			return nil, fmt.Errorf("%s is damaged", path)
		}
		form.Stamp = now
		_ = writeSealed(path+".json", form) // only spares work
	}
	return &Transfer{form.Transfer, f, f}, nil
}

// form gives what the cache has of that name, made from the archive. If there
// is none, make makes it: one at a time, in this process and others, so that
// what many hosts need is made for the first of them.
func (a *Archive) form(ctx context.Context, name string, make func() (*Transfer, error)) (*Transfer, error) {
	if t, err := openForm(a.cache, a.in.SHA256, name); err == nil {
		return t, nil
	}
	dir, err := a.cache.sub("archives", a.in.SHA256)
	if err != nil {
		return nil, err
	}
	unlock, err := lock(ctx, filepath.Join(dir, "lock"))
	if err != nil {
		return nil, err
	}
	defer unlock()
	if t, err := openForm(a.cache, a.in.SHA256, name); err == nil { // another was faster
		return t, nil
	}
	return make()
}

// zstdFile is a zstd stream in the making. A nil one is none.
type zstdFile struct {
	file *os.File
	sums *sums
	enc  *zstd.Encoder
	kept bool
}

// newZstdFile begins a stream in the cache, at zstdLevel or what suits it better.
func newZstdFile(c cache, level zstd.EncoderLevel) (*zstdFile, error) {
	dir, err := c.sub("new")
	if err != nil {
		return nil, err
	}
	f, err := os.CreateTemp(dir, "zstd-*")
	if err != nil {
		return nil, err
	}
	z := &zstdFile{file: f, sums: newSums()}
	z.enc, err = zstd.NewWriter(io.MultiWriter(f, z.sums),
		zstd.WithEncoderLevel(level), zstd.WithWindowSize(zstdWindow), zstd.WithEncoderConcurrency(2))
	if err != nil {
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

// publish ends the file and makes it, and then its description, the zstd form
// of the verified archive with that sum.
func (z *zstdFile) publish(c cache, archive string) (*Transfer, error) {
	return z.publishAs(c, archive, zstdName, wire.Transfer{Encoding: wire.Zstd})
}

func (z *zstdFile) publishAs(c cache, archive, name string, t wire.Transfer) (*Transfer, error) {
	if err := z.enc.Close(); err != nil {
		return nil, err
	}
	dir, err := c.sub("archives", archive)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, name)
	if err := os.Rename(z.file.Name(), path); err != nil {
		return nil, err
	}
	t.ChunkSize = chunkSize
	form := zstdForm{Transfer: t, Maker: zstdMaker}
	form.Transfer.SHA256, form.Transfer.Chunks, form.Transfer.Size = z.sums.end()
	if form.Stamp, err = StampOf(z.file); err != nil { // renaming has changed its ctime
		return nil, err
	}
	form.Stamp.Path = path
	if err := writeSealed(path+".json", form); err != nil {
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
