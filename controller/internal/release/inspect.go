package release

import (
	"archive/tar"
	"archive/zip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"strings"

	"github.com/gofleet/gofleet/agent/tree"
	"github.com/gofleet/gofleet/agent/wire"
)

// chunkSize is how much of what travels has a sha256 of its own: what a broken
// upload loses at most, and what the host reads again to resume.
const chunkSize = 4 << 20

// maxArchive bounds an archive's file. The largest Go release has 200 MB.
const maxArchive = 1 << 30

// inspection is all that one pass over an archive finds out. It is a function
// of the file's bytes alone, and so it can be kept under their sha256.
type inspection struct {
	SHA256  string    `json:"sha256"`
	Size    int64     `json:"size"`
	Chunks  []string  `json:"chunks"`
	Tree    wire.Tree `json:"tree"`
	Content content   `json:"content"`

	manifest tree.Manifest
	text     []byte // manifest's text
	broken   error  // why the content cannot be read; then only the sums are there
}

// inspect reads the file once: sums of the whole and of the chunks, and behind
// them, decompressed in between, the strict reader and the sums of all files,
// each in a goroutine of its own. The uncompressed tar stream also goes to
// tarCopy, if there is one. What is wrong with the content is told in the
// inspection, so that a wrong sum can be told first; the error is about
// reading the file or writing tarCopy.
func inspect(ctx context.Context, f *os.File, size int64, isZip bool, tarCopy io.Writer, progress func(done, total int64)) (*inspection, error) {
	if size > maxArchive {
		return nil, fmt.Errorf("%s has %d bytes; no Go archive is so large", f.Name(), size)
	}
	sums := newSumReader(ctx, io.NewSectionReader(f, 0, size), func(n int64) {
		if progress != nil {
			progress(n, size)
		}
	})
	ahead := readAhead(sums)
	in := &inspection{}
	out := &copyTo{w: tarCopy}
	if isZip {
		in.manifest, in.broken = inspectZip(f, size, &in.Content)
	} else {
		in.manifest, in.broken = inspectTar(ahead, out, &in.Content)
	}
	ahead.Close()
	if out.err != nil {
		return nil, out.err
	}
	// What the content's reader left, when it gave up early.
	if _, err := io.Copy(io.Discard, sums); err != nil {
		return nil, fmt.Errorf("read %s: %w", f.Name(), err)
	}
	in.SHA256, in.Chunks, in.Size = sums.finish()
	if in.Size != size {
		return nil, fmt.Errorf("read %s: it changed from %d to %d bytes meanwhile", f.Name(), size, in.Size)
	}
	if in.broken == nil {
		in.text = in.manifest.Encode()
		sum := sha256.Sum256(in.text)
		in.Tree.SHA256 = hex.EncodeToString(sum[:])
		in.Tree.Files, in.Tree.Dirs, in.Tree.Bytes = in.manifest.Count()
	}
	return in, nil
}

func inspectTar(r io.Reader, out io.Writer, c *content) (tree.Manifest, error) {
	tarStream, err := tree.Decompress(r, wire.Gzip)
	if err != nil {
		return nil, err
	}
	defer tarStream.Close()
	ahead := readAhead(io.TeeReader(tarStream, out))
	defer ahead.Close()
	m, err := tree.Read(ahead, tree.DefaultLimits(), c.visit)
	if err != nil {
		return nil, err
	}
	// Whatever follows the compressed stream would not be seen by the host.
	if n, err := io.Copy(io.Discard, r); err != nil || n > 0 {
		return nil, wire.NewError(wire.KindArchiveUnsafe, errors.New("archive has data behind its end"), "")
	}
	return m, nil
}

// inspectZip brings a zip before the same strict reader, as a tar stream.
func inspectZip(f *os.File, size int64, c *content) (tree.Manifest, error) {
	z, err := zip.NewReader(f, size)
	if err != nil {
		return nil, wire.NewError(wire.KindArchiveCorrupt, fmt.Errorf("read archive: %w", err), "fetch the archive again")
	}
	r, w := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.CloseWithError(zipAsTar(w, z))
	}()
	defer func() {
		r.Close()
		<-done
	}()
	return tree.Read(r, tree.DefaultLimits(), c.visit)
}

func zipAsTar(w io.Writer, z *zip.Reader) error {
	t := tar.NewWriter(w)
	for _, f := range z.File {
		hdr := &tar.Header{
			Typeflag: tar.TypeReg, Name: f.Name,
			Mode: int64(f.Mode().Perm()), Size: int64(f.UncompressedSize64),
		}
		switch mode := f.Mode(); {
		case mode.IsDir():
			hdr.Typeflag, hdr.Size = tar.TypeDir, 0
		case mode.Type() != 0:
			hdr.Typeflag, hdr.Size, hdr.Linkname = tar.TypeSymlink, 0, "x"
		case strings.HasSuffix(f.Name, "/"):
			hdr.Typeflag, hdr.Size = tar.TypeDir, 0
		}
		if err := t.WriteHeader(hdr); err != nil {
			return err
		}
		if hdr.Typeflag != tar.TypeReg {
			continue
		}
		if err := copyZipFile(t, f); err != nil {
			return fmt.Errorf("%s: %w", f.Name, err)
		}
	}
	return t.Close()
}

func copyZipFile(w io.Writer, f *zip.File) error {
	r, err := f.Open()
	if err != nil {
		return err
	}
	defer r.Close()
	_, err = io.Copy(w, r)
	return err
}

// copyTo writes to w, if there is one, and goes on after an error, which it
// keeps: what is wrong with the copy is no fault of the archive.
type copyTo struct {
	w   io.Writer
	err error
}

func (c *copyTo) Write(p []byte) (int, error) {
	if c.w != nil && c.err == nil {
		_, c.err = c.w.Write(p)
	}
	return len(p), nil
}

// sumReader takes the sums of what is read through it, of the whole and of
// every chunk, until its context ends.
type sumReader struct {
	ctx    context.Context
	r      io.Reader
	whole  hash.Hash
	chunk  hash.Hash
	sums   []string
	size   int64
	report func(n int64)
}

func newSumReader(ctx context.Context, r io.Reader, report func(int64)) *sumReader {
	return &sumReader{ctx: ctx, r: r, whole: sha256.New(), chunk: sha256.New(), report: report}
}

func (s *sumReader) Read(p []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := s.r.Read(p[:min(int64(len(p)), chunkSize-s.size%chunkSize)])
	s.whole.Write(p[:n])
	s.chunk.Write(p[:n])
	s.size += int64(n)
	if n > 0 && s.size%chunkSize == 0 {
		s.endChunk()
	}
	s.report(s.size)
	return n, err
}

func (s *sumReader) endChunk() {
	s.sums = append(s.sums, hex.EncodeToString(s.chunk.Sum(nil)))
	s.chunk.Reset()
}

func (s *sumReader) finish() (sum string, chunks []string, size int64) {
	if s.size%chunkSize != 0 {
		s.endChunk()
	}
	return hex.EncodeToString(s.whole.Sum(nil)), s.sums, s.size
}
