// Package tree says what a Go archive may hold. It has the one strict reader
// of such archives, shared by the controller, which verifies, and the agent,
// which extracts, and the tree manifest, the canonical list of everything in
// one. It writes nothing and knows nothing of hosts.
package tree

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"sort"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Entry is one file or directory of an archive.
type Entry struct {
	Path   string      // without the leading "go/"; clean, relative, with slashes
	Dir    bool        // a directory: Size and SHA256 are zero
	Mode   fs.FileMode // 0755 or 0644; directories always 0755
	Size   int64
	SHA256 [sha256.Size]byte
}

// Manifest lists the entries of a tree, sorted by the bytes of their paths.
// The root itself is not an entry; every other directory is, whether or not
// its archive mentions it.
type Manifest []Entry

// Sort brings m into its canonical order. Package sort does it in the agent at
// no cost in size; a sort of slices' is made anew for every type.
func (m Manifest) Sort() { sort.Sort(byPath(m)) }

type byPath Manifest

func (m byPath) Len() int           { return len(m) }
func (m byPath) Less(i, j int) bool { return m[i].Path < m[j].Path }
func (m byPath) Swap(i, j int)      { m[i], m[j] = m[j], m[i] }

// Encode is the manifest's text, one line an entry:
//
//	d 0755 bin
//	f 0755 <size> <sha256> bin/go
func (m Manifest) Encode() []byte {
	size := 0
	for i := range m {
		size += len(m[i].Path) + 96
	}
	b := make([]byte, 0, size)
	for i := range m {
		b = m[i].append(b)
	}
	return b
}

func (e *Entry) append(b []byte) []byte {
	if e.Dir {
		b = append(b, "d "...)
		b = appendMode(b, e.Mode)
	} else {
		b = append(b, "f "...)
		b = appendMode(b, e.Mode)
		b = append(b, ' ')
		b = strconv.AppendInt(b, e.Size, 10)
		b = append(b, ' ')
		b = hex.AppendEncode(b, e.SHA256[:])
	}
	b = append(b, ' ')
	b = append(b, e.Path...)
	return append(b, '\n')
}

func appendMode(b []byte, mode fs.FileMode) []byte {
	p := mode.Perm()
	return append(b, '0', '0'+byte(p>>6&7), '0'+byte(p>>3&7), '0'+byte(p&7))
}

// Sum is the lower-case hex sha256 of the manifest's text.
func (m Manifest) Sum() string {
	h := sha256.New()
	var buf []byte
	for i := range m {
		buf = m[i].append(buf)
		if len(buf) > 32<<10 {
			h.Write(buf)
			buf = buf[:0]
		}
	}
	h.Write(buf)
	return hex.EncodeToString(h.Sum(nil))
}

// Find gives the entry with the path, or nil.
func (m Manifest) Find(path string) *Entry {
	i := sort.Search(len(m), func(i int) bool { return m[i].Path >= path })
	if i == len(m) || m[i].Path != path {
		return nil
	}
	return &m[i]
}

// Count gives the numbers of files and directories and the bytes of all files.
func (m Manifest) Count() (files, dirs int, size int64) {
	for i := range m {
		if m[i].Dir {
			dirs++
		} else {
			files++
			size += m[i].Size
		}
	}
	return files, dirs, size
}

// WriteTo writes the manifest's text.
func (m Manifest) WriteTo(w io.Writer) (int64, error) {
	n, err := w.Write(m.Encode())
	return int64(n), err
}

// Parse reads the text of a manifest. It accepts exactly what Encode writes
// for a valid tree: anything else, also a wrong order, is an error that names
// the line.
func Parse(text []byte) (Manifest, error) {
	m := make(Manifest, 0, bytes.Count(text, []byte{'\n'}))
	for n := 1; len(text) > 0; n++ {
		line, rest, ok := bytes.Cut(text, []byte{'\n'})
		if !ok {
			return nil, fmt.Errorf("tree manifest line %d: no end of line", n)
		}
		e, err := parseEntry(string(line))
		if err != nil {
			return nil, fmt.Errorf("tree manifest line %d: %w", n, err)
		}
		if len(m) > 0 && m[len(m)-1].Path >= e.Path {
			return nil, fmt.Errorf("tree manifest line %d: %q is out of order", n, e.Path)
		}
		m = append(m, e)
		text = rest
	}
	if err := m.checkParents(); err != nil {
		return nil, err
	}
	return m, nil
}

// checkParents makes sure that every entry lies in a listed directory.
func (m Manifest) checkParents() error {
	last := ""
	for i := range m {
		p := parent(m[i].Path)
		if p == last || p == "" {
			continue
		}
		if d := m.Find(p); d == nil || !d.Dir {
			return fmt.Errorf("tree manifest: %q lies in no listed directory", m[i].Path)
		}
		last = p
	}
	return nil
}

func parseEntry(line string) (Entry, error) {
	var e Entry
	kind, rest, _ := strings.Cut(line, " ")
	mode, rest, _ := strings.Cut(rest, " ")
	switch {
	case mode == "0755":
		e.Mode = 0o755
	case mode == "0644" && kind == "f":
		e.Mode = 0o644
	default:
		return e, fmt.Errorf("%q is not the mode of such an entry", mode)
	}
	switch kind {
	case "d":
		e.Dir = true
	case "f":
		var size, sum string
		size, rest, _ = strings.Cut(rest, " ")
		sum, rest, _ = strings.Cut(rest, " ")
		n, err := strconv.ParseInt(size, 10, 64)
		if err != nil || n < 0 || strconv.FormatInt(n, 10) != size {
			return e, fmt.Errorf("%q is not a size", size)
		}
		e.Size = n
		if len(sum) != 2*sha256.Size || strings.ToLower(sum) != sum {
			return e, fmt.Errorf("%q is not a sha256", sum)
		}
		if _, err := hex.Decode(e.SHA256[:], []byte(sum)); err != nil {
			return e, fmt.Errorf("%q is not a sha256", sum)
		}
	default:
		return e, fmt.Errorf("%q is no kind of entry", kind)
	}
	if why := badPath(rest); why != "" {
		return e, fmt.Errorf("path %q %s", rest, why)
	}
	e.Path = rest
	return e, nil
}

// parent is the directory of a clean path; "" for the root.
func parent(path string) string {
	return path[:max(strings.LastIndexByte(path, '/'), 0)]
}

// badPath says why path cannot be that of an entry, or "".
func badPath(path string) string {
	switch {
	case path == "":
		return "is empty"
	case len(path) > 1024:
		return "is too long"
	case !utf8.ValidString(path):
		return "is not UTF-8"
	}
	start := 0
	for i := 0; i <= len(path); i++ {
		if i < len(path) && path[i] != '/' {
			if c := path[i]; c < 0x20 || c == 0x7f || c == '\\' {
				return "has a character that no Go release has"
			}
			continue
		}
		switch part := path[start:i]; {
		case part == "" || part == ".":
			return "is not clean"
		case part == "..":
			return "leads out of the tree"
		case len(part) > 255:
			return "is too long"
		}
		start = i + 1
	}
	return ""
}
