package release

import (
	"archive/tar"
	"archive/zip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/gofleet/gofleet/agent/tree"
	"github.com/gofleet/gofleet/agent/wire"
)

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
	Module  moduleSum `json:"module"`

	text   []byte // of the tree manifest
	broken error  // why the content cannot be read; then only the sums are there
}

// moduleSum is what moduleHash says of the content under a name: kept, since a
// manifest takes its time to parse and hash.
type moduleSum struct {
	Name string `json:"name"` // "" if there is none
	H1   string `json:"h1,omitempty"`
	Err  string `json:"error,omitempty"`
}

func newModuleSum(m tree.Manifest, n Name) moduleSum {
	h1, err := moduleHash(m, n)
	if err != nil {
		return moduleSum{Name: n.String(), Err: err.Error()}
	}
	return moduleSum{Name: n.String(), H1: h1}
}

// moduleHash is the h1 of the toolchain module with that content.
func (in *inspection) moduleHash(n Name) (string, error) {
	sum := in.Module
	if sum.Name != n.String() {
		m, err := tree.Parse(in.text)
		if err != nil {
			return "", err
		}
		sum = newModuleSum(m, n)
	}
	if sum.Err != "" {
		return "", errors.New(sum.Err)
	}
	return sum.H1, nil
}

// inspect reads the file once: sums of the whole and of the chunks, and behind
// them, decompressed in between, the strict reader and the sums of all files,
// each in a goroutine of its own. The uncompressed tar stream also goes to
// tarCopy. What is wrong with the content is told in the
// inspection, so that a wrong sum can be told first; the error is about
// reading the file or writing tarCopy.
func inspect(ctx context.Context, f Blob, size int64, name Name, tarCopy io.Writer, progress func(done, total int64)) (*inspection, error) {
	if size > maxArchive {
		return nil, &RefusedError{File: f.Name(), Reason: fmt.Sprintf("it has %d bytes; no Go archive is so large", size), Hint: wrongContentHint}
	}
	sums := newSums()
	file := &watchedReader{ctx, io.TeeReader(io.NewSectionReader(f, 0, size), sums), func() {
		if progress != nil {
			progress(sums.size, size)
		}
	}}
	ahead := readAhead(file)
	in := &inspection{}
	out := &copyTo{w: tarCopy}
	var manifest tree.Manifest
	if name.Zip {
		manifest, in.broken = readZip(f, size, in.Content.visit)
	} else {
		manifest, in.broken = inspectTar(ahead, out, &in.Content)
	}
	ahead.Close()
	if out.err != nil {
		return nil, out.err
	}
	// What the content's reader left, when it gave up early.
	if _, err := io.Copy(io.Discard, file); err != nil {
		return nil, fmt.Errorf("read %s: %w", f.Name(), err)
	}
	in.SHA256, in.Chunks, in.Size = sums.end()
	if in.Size != size {
		return nil, fmt.Errorf("read %s: it changed from %d to %d bytes meanwhile", f.Name(), size, in.Size)
	}
	if in.broken == nil {
		in.text = manifest.Encode()
		sum := sha256.Sum256(in.text)
		in.Tree.SHA256 = hex.EncodeToString(sum[:])
		in.Tree.Files, in.Tree.Dirs, in.Tree.Bytes = manifest.Count()
		if hasModule(name.Version) {
			in.Module = newModuleSum(manifest, name)
		}
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

// readZip brings a zip before the same strict reader, as a tar stream.
func readZip(f io.ReaderAt, size int64, visit func(tree.Entry, io.Reader) error) (tree.Manifest, error) {
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
	return tree.Read(r, tree.DefaultLimits(), visit)
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

// copyTo goes on after an error of its writer, and keeps it: what is wrong with
// the copy is no fault of the archive.
type copyTo struct {
	w   io.Writer
	err error
}

func (c *copyTo) Write(p []byte) (int, error) {
	if c.err == nil {
		_, c.err = c.w.Write(p)
	}
	return len(p), nil
}

// watchedReader reads until its context ends, and says when it has read.
type watchedReader struct {
	ctx  context.Context
	r    io.Reader
	read func()
}

func (w *watchedReader) Read(p []byte) (int, error) {
	if err := w.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := w.r.Read(p)
	w.read()
	return n, err
}
