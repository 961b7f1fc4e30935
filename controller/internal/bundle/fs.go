package bundle

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"
)

func sumOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// Open opens a file or directory of the bundle's tree. Files are io.ReaderAt
// and io.Seeker too. What is read is not compared with the manifest, except
// by ReadFile and Check.
func (b *Bundle) Open(name string) (fs.File, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrInvalid}
	}
	if entries, ok := b.dirs[name]; ok {
		return &openDirectory{info: dirInfo(name), rest: entries}, nil
	}
	i, ok := b.index[name]
	if !ok {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	s, err := b.reader(i)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	f := b.manifest.Files[i]
	return &openedFile{SectionReader: io.NewSectionReader(s, 0, f.Size), info: info{path.Base(name), f.Size, f.Mode}, close: s.Close}, nil
}

// Stat describes a file or directory without opening it.
func (b *Bundle) Stat(name string) (fs.FileInfo, error) {
	if _, ok := b.dirs[name]; ok {
		return dirInfo(name), nil
	}
	f, ok := b.Lookup(name)
	if !ok {
		return nil, &fs.PathError{Op: "stat", Path: name, Err: fs.ErrNotExist}
	}
	return info{path.Base(name), f.Size, f.Mode}, nil
}

// ReadDir lists a directory, sorted.
func (b *Bundle) ReadDir(name string) ([]fs.DirEntry, error) {
	entries, ok := b.dirs[name]
	if !ok {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: fs.ErrNotExist}
	}
	return slices.Clone(entries), nil
}

// listDirs makes the directories that the files lie in.
func listDirs(files []File) map[string][]fs.DirEntry {
	dirs := map[string][]fs.DirEntry{".": nil}
	var add func(dir string)
	add = func(dir string) {
		if _, ok := dirs[dir]; ok {
			return
		}
		dirs[dir] = nil
		parent := path.Dir(dir)
		add(parent)
		dirs[parent] = append(dirs[parent], fs.FileInfoToDirEntry(dirInfo(dir)))
	}
	for _, f := range files {
		dir := path.Dir(f.Path)
		add(dir)
		dirs[dir] = append(dirs[dir], fs.FileInfoToDirEntry(info{path.Base(f.Path), f.Size, f.Mode}))
	}
	for _, entries := range dirs {
		slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	}
	return dirs
}

// info describes a file or directory. Nothing in a bundle has a time.
type info struct {
	name string
	size int64
	mode fs.FileMode
}

func dirInfo(name string) info { return info{path.Base(name), 0, fs.ModeDir | 0o755} }

func (i info) Name() string       { return i.name }
func (i info) Size() int64        { return i.size }
func (i info) Mode() fs.FileMode  { return i.mode }
func (i info) ModTime() time.Time { return time.Time{} }
func (i info) IsDir() bool        { return i.mode.IsDir() }
func (i info) Sys() any           { return nil }

type openedFile struct {
	*io.SectionReader
	info  info
	close func() error
}

func (f *openedFile) Stat() (fs.FileInfo, error) { return f.info, nil }
func (f *openedFile) Close() error               { return f.close() }

type openDirectory struct {
	info info
	rest []fs.DirEntry
}

func (d *openDirectory) Stat() (fs.FileInfo, error) { return d.info, nil }
func (d *openDirectory) Close() error               { return nil }
func (d *openDirectory) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: d.info.name, Err: errors.New("is a directory")}
}

// ReadDir gives the next n entries, or all that are left.
func (d *openDirectory) ReadDir(n int) ([]fs.DirEntry, error) {
	if n <= 0 {
		rest := d.rest
		d.rest = nil
		return rest, nil
	}
	if len(d.rest) == 0 {
		return nil, io.EOF
	}
	n = min(n, len(d.rest))
	next := d.rest[:n:n]
	d.rest = d.rest[n:]
	return next, nil
}
