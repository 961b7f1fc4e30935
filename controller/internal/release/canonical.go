package release

import (
	"archive/tar"
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"

	"github.com/gofleet/gofleet/agent/tree"
)

// canonicalLevel is the gzip level of archives made of modules. Levels above
// it cost several times as long for a per cent or two.
const canonicalLevel = 6

// writeCanonical turns the zip of a toolchain module into the archive that
// stands for it: the tar stream is a function of the module's content alone.
// Directories come before what is in them, everything in the order of the
// paths, owner 0:0, modes by the rule of treeMode, one mtime, which is the one
// that VERSION gives. The zip is not trusted: names and sizes are checked
// here, the content by the module hash of what was written.
func writeCanonical(ctx context.Context, w io.Writer, z *zip.Reader, n Name, progress func(done, total int64)) error {
	files, total, err := moduleFiles(z, n)
	if err != nil {
		return err
	}
	mtime, err := releaseTime(files)
	if err != nil {
		return err
	}
	gz, err := gzip.NewWriterLevel(w, canonicalLevel)
	if err != nil {
		return err
	}
	c := canonicalWriter{tar: tar.NewWriter(gz), mtime: mtime, dirs: map[string]bool{}}
	if err := c.dir(""); err != nil {
		return err
	}
	var done int64
	for _, f := range files {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := c.file(f); err != nil {
			return err
		}
		done += int64(f.zip.UncompressedSize64)
		progress(done, total)
	}
	return errors.Join(c.tar.Close(), gz.Close())
}

// moduleEntry is a file of a toolchain module with its path in the tree.
type moduleEntry struct {
	path string
	zip  *zip.File
}

// moduleFiles lists what a module zip holds, in the order of the tree's paths.
func moduleFiles(z *zip.Reader, n Name) (files []moduleEntry, total int64, err error) {
	prefix := modulePath + "@" + n.moduleVersion() + "/"
	limits := tree.DefaultLimits()
	for _, f := range z.File {
		file, ok := strings.CutPrefix(f.Name, prefix)
		switch {
		case !ok:
			return nil, 0, fmt.Errorf("module zip: %q does not lie under %s", f.Name, prefix)
		case file == "" || path.Clean("/"+file) != "/"+file || strings.Contains(file, `\`):
			return nil, 0, fmt.Errorf("module zip: %q is not a clean path of a file", f.Name)
		case f.Mode().Type() != 0:
			return nil, 0, fmt.Errorf("module zip: %q is not a regular file", f.Name)
		case f.UncompressedSize64 > uint64(limits.Bytes-total):
			return nil, 0, fmt.Errorf("module zip: %q makes it larger than any Go release", f.Name)
		}
		total += int64(f.UncompressedSize64)
		files = append(files, moduleEntry{treeFile(file), f})
	}
	if len(files) == 0 || len(files) > limits.Files {
		return nil, 0, fmt.Errorf("module zip holds %d files", len(files))
	}
	slices.SortFunc(files, func(a, b moduleEntry) int { return strings.Compare(a.path, b.path) })
	for i := 1; i < len(files); i++ {
		if files[i].path == files[i-1].path {
			return nil, 0, fmt.Errorf("module zip: %q is there twice", files[i].path)
		}
	}
	return files, total, nil
}

// releaseTime reads the time line of VERSION, which Go 1.21 and later have.
func releaseTime(files []moduleEntry) (time.Time, error) {
	i, ok := slices.BinarySearchFunc(files, "VERSION", func(f moduleEntry, p string) int { return strings.Compare(f.path, p) })
	if !ok || files[i].zip.UncompressedSize64 > maxVersionFile {
		return time.Time{}, errors.New("module zip: no VERSION")
	}
	r, err := files[i].zip.Open()
	if err != nil {
		return time.Time{}, fmt.Errorf("module zip: VERSION: %w", err)
	}
	defer r.Close()
	text, err := io.ReadAll(r)
	if err != nil {
		return time.Time{}, fmt.Errorf("module zip: VERSION: %w", err)
	}
	for line := range strings.Lines(string(text)) {
		if s, ok := strings.CutPrefix(strings.TrimSpace(line), "time "); ok {
			t, err := time.Parse(time.RFC3339, s)
			if err != nil {
				return time.Time{}, fmt.Errorf("module zip: VERSION: %w", err)
			}
			return t, nil
		}
	}
	return time.Unix(0, 0).UTC(), nil
}

type canonicalWriter struct {
	tar   *tar.Writer
	mtime time.Time
	dirs  map[string]bool
}

// dir writes the directory and those above it, if they are not there yet.
func (c *canonicalWriter) dir(d string) error {
	if d == "." {
		d = ""
	}
	if c.dirs[d] {
		return nil
	}
	if d != "" {
		if err := c.dir(path.Dir(d)); err != nil {
			return err
		}
	}
	c.dirs[d] = true
	return c.tar.WriteHeader(&tar.Header{
		Typeflag: tar.TypeDir, Name: path.Join("go", d) + "/", Mode: 0o755,
		ModTime: c.mtime,
	})
}

func (c *canonicalWriter) file(f moduleEntry) error {
	if err := c.dir(path.Dir(f.path)); err != nil {
		return err
	}
	err := c.tar.WriteHeader(&tar.Header{
		Typeflag: tar.TypeReg, Name: "go/" + f.path, Mode: int64(treeMode(f.path)),
		Size: int64(f.zip.UncompressedSize64), ModTime: c.mtime,
	})
	if err != nil {
		return fmt.Errorf("module zip: %s: %w", f.path, err)
	}
	r, err := f.zip.Open()
	if err != nil {
		return fmt.Errorf("module zip: %s: %w", f.path, err)
	}
	defer r.Close()
	if _, err := io.Copy(c.tar, r); err != nil {
		return fmt.Errorf("module zip: %s: %w", f.path, err)
	}
	return nil
}
