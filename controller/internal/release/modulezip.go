package release

import (
	"archive/zip"
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/klauspost/compress/flate"

	"github.com/gofleet/gofleet/agent/tree"
	"github.com/gofleet/gofleet/agent/wire"
)

// moduleZipName is the module zip's in the cache.
const moduleZipName = "module.zip"

// moduleZipLevel is the deflate level of module zips.
const moduleZipLevel = 6

// ModuleZip is the content of a toolchain module as a GOPROXY serves it.
type ModuleZip struct {
	io.ReaderAt
	H1     string // what the checksum database records for the module
	SHA256 string // of the zip, lower-case hex
	Size   int64  // of the zip, bytes
	Made   bool   // by this very call

	file io.Closer
}

// Close closes the zip's file.
func (z *ModuleZip) Close() error { return z.file.Close() }

// ModuleZip gives the toolchain module that holds the same release. The zip is
// a function of the archive's content, and its hash is the one that the
// checksum database has for the module: go verifies it like any other. It is
// made once, from content that is verified again on the way, and kept in the
// cache; other callers, in other processes too, wait for it. It is ErrNoModule
// for releases that are no module. The caller closes it.
func (a *Archive) ModuleZip(ctx context.Context) (*ModuleZip, error) {
	if !hasModule(a.name.Version) {
		return nil, ErrNoModule
	}
	h1, err := a.in.moduleHash(a.name)
	if err != nil {
		return nil, fmt.Errorf("make the module of %s: %w", a.Name(), err)
	}
	made := false
	t, err := a.form(ctx, moduleZipName, func() (*Transfer, error) {
		if err := a.makeModuleZip(ctx); err != nil {
			return nil, fmt.Errorf("make the module of %s: %w", a.Name(), err)
		}
		made = true
		return openForm(a.cache, a.in.SHA256, moduleZipName)
	})
	if err != nil {
		return nil, err
	}
	return &ModuleZip{ReaderAt: t.ReaderAt, H1: h1, SHA256: t.SHA256, Size: t.Size, Made: made, file: t.file}, nil
}

// makeModuleZip leaves the zip in the cache, and its description beside it.
func (a *Archive) makeModuleZip(ctx context.Context) error {
	dir, err := a.cache.sub("new")
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, "module-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // gone by then, if all went well
	defer f.Close()
	sum := sha256.New()
	out := bufio.NewWriterSize(io.MultiWriter(f, sum), 1<<16)
	if err := a.writeModule(ctx, out); err != nil {
		return err
	}
	if err := out.Flush(); err != nil {
		return err
	}
	size, err := f.Seek(0, io.SeekCurrent)
	if err != nil {
		return err
	}
	path := filepath.Join(a.cache.entry(a.in.SHA256), moduleZipName)
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	stamp, err := StampOf(f) // renaming has changed its ctime
	if err != nil {
		return err
	}
	stamp.Path = path
	form := zstdForm{Transfer: wire.Transfer{SHA256: hex.EncodeToString(sum.Sum(nil)), Size: size}, Stamp: stamp}
	return writeSealed(path+".json", form)
}

// writeModule writes the zip: the files that the module has, in the order of
// the archive, with nothing but names and contents.
func (a *Archive) writeModule(ctx context.Context, w io.Writer) error {
	z := zip.NewWriter(w)
	deflate, err := flate.NewWriter(nil, moduleZipLevel)
	if err != nil {
		return err
	}
	// One for all files, which come one after the other: each is a megabyte.
	z.RegisterCompressor(zip.Deflate, func(w io.Writer) (io.WriteCloser, error) {
		deflate.Reset(w)
		return deflate, nil
	})
	prefix := modulePath + "@" + a.name.moduleVersion() + "/"
	m, err := a.read(ctx, func(e tree.Entry, content io.Reader) error {
		if e.Dir || !inModule(e.Path) {
			return nil
		}
		f, err := z.CreateHeader(&zip.FileHeader{Name: prefix + moduleFile(e.Path), Method: zip.Deflate})
		if err != nil {
			return err
		}
		_, err = io.Copy(f, content)
		return err
	})
	if err != nil {
		return err
	}
	if sum := sha256.Sum256(m.Encode()); hex.EncodeToString(sum[:]) != a.in.Tree.SHA256 {
		return a.altered(errAltered)
	}
	return z.Close()
}

// read brings the archive before the strict reader once more.
func (a *Archive) read(ctx context.Context, visit func(tree.Entry, io.Reader) error) (tree.Manifest, error) {
	var m tree.Manifest
	var err error
	if a.name.Zip {
		m, err = readZip(a.file, a.in.Size, func(e tree.Entry, r io.Reader) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			return visit(e, r)
		})
	} else {
		m, err = readTar(&watchedReader{ctx, io.NewSectionReader(a.file, 0, a.in.Size), func() {}}, visit)
	}
	var bad *wire.Error
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case errors.As(err, &bad):
		return nil, a.altered(err)
	}
	return m, err
}

func readTar(r io.Reader, visit func(tree.Entry, io.Reader) error) (tree.Manifest, error) {
	tarStream, err := tree.Decompress(r, wire.Gzip)
	if err != nil {
		return nil, err
	}
	defer tarStream.Close()
	ahead := readAhead(tarStream)
	defer ahead.Close()
	return tree.Read(ahead, tree.DefaultLimits(), visit)
}

// altered says that the archive is no more the one that was verified.
func (a *Archive) altered(cause error) error {
	return &RefusedError{File: a.Path(), Reason: "the file was changed while gofleet ran", Hint: "run the same command again", cause: cause}
}
