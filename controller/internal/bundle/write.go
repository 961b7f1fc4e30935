package bundle

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/gofleet/gofleet/controller/internal/minisign"
)

// Source is a file that is to go into a bundle.
type Source struct {
	Path string
	Mode fs.FileMode
	Size int64
	Open func() (io.ReadCloser, error)

	// SHA256 is what the content must have, where that is known.
	SHA256 string
}

// fileSource is a file on this machine.
func fileSource(to, from string, mode fs.FileMode) (Source, error) {
	st, err := os.Stat(from)
	if err == nil && !st.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", from)
	}
	if err != nil {
		return Source{}, err
	}
	return Source{Path: to, Mode: mode, Size: st.Size(), Open: func() (io.ReadCloser, error) { return os.Open(from) }}, nil
}

// BytesSource is a file whose content is at hand.
func BytesSource(to string, mode fs.FileMode, data []byte) Source {
	return Source{Path: to, Mode: mode, Size: int64(len(data)), Open: func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(data)), nil
	}}
}

// Writer writes a bundle, file by file in the order of their paths. Close ends
// it in any case; only after Finish there is a bundle.
type Writer struct {
	manifest Manifest
	last     string
	hash     hash.Hash
	target   target
	read     func(n int64)
}

// target is a bundle in the making.
type target interface {
	// add writes the file's content from r, through hash.
	add(ctx context.Context, f *File, r io.Reader, w *Writer) error

	// finish writes manifest and signature and gives the bundle its name.
	finish(manifest, signature []byte, sign func([]byte) []byte) error

	abandon()
}

// NewFileWriter writes a bundle that is one file, or, where split is not 0,
// parts of that many bytes.
func NewFileWriter(path, madeBy string, split int64) (*Writer, error) {
	c, err := newContainer(path, split)
	if err != nil {
		return nil, fmt.Errorf("write bundle: %w", err)
	}
	t := &fileTarget{container: c, out: newOutput(c.write)}
	return newWriter(t, madeBy), nil
}

// NewDirWriter writes a bundle that is a directory, and makes those above it. One
// that is there is replaced, if it is a bundle or empty.
func NewDirWriter(path, madeBy string) (*Writer, error) {
	if entries, err := os.ReadDir(path); err == nil && len(entries) > 0 {
		if _, err := os.Stat(filepath.Join(path, ManifestName)); err != nil {
			return nil, fmt.Errorf("write bundle: %s holds something else: name an empty directory or one that is not there", path)
		}
	}
	if err := os.MkdirAll(filepath.Dir(filepath.Clean(path)), 0o755); err != nil {
		return nil, fmt.Errorf("write bundle: %w", err)
	}
	work, err := newWorkplace(path)
	if err != nil {
		return nil, fmt.Errorf("write bundle: %w", err)
	}
	if isMount(work.final) {
		work.Close()
		return nil, fmt.Errorf("write bundle: a filesystem is mounted on %s: name a directory in it, like %s", path, filepath.Join(path, "site")+string(filepath.Separator))
	}
	return newWriter(&dirTarget{work}, madeBy), nil
}

func newWriter(t target, madeBy string) *Writer {
	return &Writer{manifest: Manifest{MadeBy: madeBy}, hash: sha256.New(), target: t, read: func(int64) {}}
}

// Add writes a file.
func (w *Writer) Add(ctx context.Context, s Source) (File, error) {
	f := File{Path: s.Path, Mode: s.Mode, Size: s.Size}
	switch {
	case checkPath(s.Path) != nil:
		return f, checkPath(s.Path)
	case s.Path <= w.last:
		return f, fmt.Errorf("write bundle: %s behind %s", s.Path, w.last)
	case s.Size > maxFile:
		return f, fmt.Errorf("write bundle: %s has %d bytes; the format ends at %d", s.Path, s.Size, int64(maxFile))
	}
	r, err := s.Open()
	if err != nil {
		return f, fmt.Errorf("write bundle: %s: %w", s.Path, err)
	}
	defer r.Close()
	w.hash.Reset()
	if err := w.target.add(ctx, &f, r, w); err != nil {
		return f, fmt.Errorf("write bundle: %s: %w", s.Path, err)
	}
	if n, err := r.Read(make([]byte, 1)); n > 0 || err != io.EOF {
		return f, fmt.Errorf("write bundle: %s: it changed meanwhile, and is longer than %d bytes", s.Path, s.Size)
	}
	f.SHA256 = hex.EncodeToString(w.hash.Sum(nil))
	if s.SHA256 != "" && s.SHA256 != f.SHA256 {
		return f, fmt.Errorf("write bundle: %s: it changed meanwhile: it has sha256 %s, not %s", s.Path, f.SHA256, s.SHA256)
	}
	w.last = s.Path
	w.manifest.Files = append(w.manifest.Files, f)
	return f, nil
}

// Files are those that were added.
func (w *Writer) Files() []File { return w.manifest.Files }

// Finish signs the manifest, unless key is nil, and gives the bundle its name.
func (w *Writer) Finish(key *minisign.SecretKey) error {
	sign := func(text []byte) []byte {
		if key == nil {
			return nil
		}
		return key.Sign(text, signedComment).File()
	}
	text := w.manifest.Encode()
	if _, err := ParseManifest(text); err != nil {
		return fmt.Errorf("write bundle: manifest: %w", err) // such as a file that is a directory too
	}
	if err := w.target.finish(text, sign(text), sign); err != nil {
		return fmt.Errorf("write bundle: %w", err)
	}
	return nil
}

// Close removes what was written without Finish.
func (w *Writer) Close() { w.target.abandon() }

// fileTarget is a bundle that is one file, or parts.
type fileTarget struct {
	container *container
	out       *output
	ended     bool
	at        int64
	encoder   *zstd.Encoder
}

func (t *fileTarget) add(ctx context.Context, f *File, r io.Reader, w *Writer) error {
	if _, err := t.out.Write(appendRaw(nil, tarHeader(f.Path, uint32(f.Mode), f.Size))); err != nil {
		return err
	}
	var err error
	if compressible(f) {
		err = t.addPacked(f, r, w)
	} else {
		err = t.addRaw(ctx, f.Size, r, w)
	}
	if err != nil {
		return err
	}
	if pad := tarPadding(f.Size); len(pad) > 0 {
		if _, err := t.out.Write(appendRaw(nil, pad)); err != nil {
			return err
		}
	}
	t.at = f.place(t.at).end
	return nil
}

// compressible tells whether it is worth trying to compress a file.
func compressible(f *File) bool {
	switch path.Ext(f.Path) {
	case ".zip", ".gz", ".bundle":
		return false
	}
	return f.Size >= 4<<10 && f.Size <= maxPacked && !strings.HasPrefix(f.Path, sumdbDir+"/")
}

// addRaw writes content as it is, block for block.
func (t *fileTarget) addRaw(ctx context.Context, left int64, r io.Reader, w *Writer) error {
	if _, err := t.out.Write(frameHead); err != nil {
		return err
	}
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		select {
		case <-t.out.failed:
			return t.out.err
		default:
		}
		n := int(min(left, blockSize))
		space := t.out.space(blockHeader + n)
		appendBlockHead(space[:0], n, int64(n) == left)
		if _, err := io.ReadFull(r, space[blockHeader:]); err != nil {
			return shortened(err)
		}
		w.hash.Write(space[blockHeader:])
		t.out.used(len(space))
		w.read(int64(n))
		if left -= int64(n); left == 0 {
			return nil
		}
	}
}

// shortened explains the error of reading a known number of bytes.
func shortened(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return errors.New("it became shorter meanwhile")
	}
	return err
}

// addPacked writes content compressed, if that saves an eighth.
func (t *fileTarget) addPacked(f *File, r io.Reader, w *Writer) error {
	data := make([]byte, f.Size)
	if _, err := io.ReadFull(r, data); err != nil {
		return shortened(err)
	}
	w.hash.Write(data)
	w.read(f.Size)
	if t.encoder == nil {
		var err error
		t.encoder, err = zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false),
			zstd.WithEncoderLevel(zstd.SpeedDefault))
		if err != nil {
			return err
		}
	}
	packed := t.encoder.EncodeAll(data, nil)
	if int64(len(packed)) > f.Size*7/8 {
		_, err := t.out.Write(appendRaw(nil, data))
		return err
	}
	f.Packed = &Packed{Size: int64(len(packed)), SHA256: sumOf(packed)}
	_, err := t.out.Write(packed)
	return err
}

func (t *fileTarget) finish(manifest, signature []byte, sign func([]byte) []byte) error {
	_, err := t.out.Write(appendTail(nil, t.at, manifest, signature))
	t.ended = true
	if err := errors.Join(err, t.out.Close()); err != nil {
		t.container.abandon()
		return err
	}
	if err := t.container.publish(sign); err != nil {
		t.container.abandon()
		return err
	}
	return nil
}

func (t *fileTarget) abandon() {
	if !t.ended {
		t.ended = true
		t.out.Close()
		t.container.abandon()
	}
}

// dirTarget is a bundle that is a directory.
type dirTarget struct{ work *workplace }

func (t *dirTarget) add(ctx context.Context, f *File, r io.Reader, w *Writer) error {
	to := filepath.Join(t.work.at(newTree), filepath.FromSlash(f.Path))
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, f.Mode)
	if err != nil {
		return err
	}
	err = t.copy(ctx, out, f.Size, r, w)
	return errors.Join(err, out.Close())
}

// copy writes small files at once, and large ones while it hashes.
func (t *dirTarget) copy(ctx context.Context, out *os.File, left int64, r io.Reader, w *Writer) error {
	if left <= blockSize {
		data := make([]byte, left)
		if _, err := io.ReadFull(r, data); err != nil {
			return shortened(err)
		}
		w.hash.Write(data)
		w.read(left)
		_, err := out.Write(data)
		return err
	}
	o := newOutput(func(p []byte) error {
		_, err := out.Write(p)
		return err
	})
	for left > 0 {
		n := int(min(left, blockSize))
		space := o.space(n)
		if _, err := io.ReadFull(r, space); err != nil {
			o.Close()
			return shortened(err)
		}
		w.hash.Write(space)
		o.used(n)
		w.read(int64(n))
		left -= int64(n)
		if err := ctx.Err(); err != nil {
			o.Close()
			return err
		}
	}
	return o.Close()
}

// finish exchanges the directory for the one that may be there.
func (t *dirTarget) finish(manifest, signature []byte, _ func([]byte) []byte) error {
	made := t.work.at(newTree)
	if signature != nil {
		if err := os.WriteFile(filepath.Join(made, SignatureName), signature, 0o644); err != nil {
			return err
		}
	}
	if err := os.WriteFile(filepath.Join(made, ManifestName), manifest, 0o644); err != nil {
		return err
	}
	if err := t.work.exchange(); err != nil {
		return err
	}
	return t.work.Close()
}

func (t *dirTarget) abandon() { t.work.Close() }
