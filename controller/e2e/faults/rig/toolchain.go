//go:build linux

package rig

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// Toolchain is an archive that can be installed.
type Toolchain struct {
	Version string
	Dir     string // where the archive lies
	SHA256  string // of the archive; its pin, "" if other evidence speaks for it
	Size    int64  // of the archive, compressed

	files map[string][sha256.Size]byte // by path in the tree, without go.env, which is written anew
}

// old tells whether it reads no go.env, as releases before 1.21.
func (t *Toolchain) old() bool { return strings.HasPrefix(t.Version, "1.20.") }

// Shape says how large a toolchain is that Make makes.
type Shape struct {
	Files int // small files
	Noise int // bytes that don't compress, in one file
}

// Make makes the archive of a toolchain that is none: its go command answers
// what gofleet asks. All of its content depends on version; one of 1.20 has no
// go.env, so that its settings go to the deploy user's home.
func (p *Programs) Make(version string, s Shape) (*Toolchain, error) {
	head := bytes.Clone(p.GoCommand[:64])
	head[56], head[57] = 0, 0 // a program without segments
	tool := "pkg/tool/linux_" + runtime.GOARCH + "/"
	type entry struct {
		path string
		mode int64
		body []byte
	}
	entries := []entry{
		{"VERSION", 0o644, []byte("go" + version + "\ntime 2026-01-01T00:00:00Z\n")},
		{"go.env", 0o644, []byte("# shipped\nGOPROXY=https://proxy.invalid,direct\nGOTOOLCHAIN=auto\n")},
		{"bin/go", 0o755, p.GoCommand},
		{"bin/gofmt", 0o755, head},
		{tool + "asm", 0o755, head},
		{tool + "compile", 0o755, head},
		{tool + "link", 0o755, head},
		{"src/cmd/main.go", 0o644, []byte("package main // of go" + version + "\n")},
		{"src/runtime/proc.go", 0o644, []byte("package runtime // of go" + version + "\n")},
	}
	if t := (&Toolchain{Version: version}); t.old() {
		entries = slices.DeleteFunc(entries, func(e entry) bool { return e.path == "go.env" })
	}
	seed := fnv.New64a()
	fmt.Fprint(seed, version)
	noise := rand.NewChaCha8(sha256.Sum256(seed.Sum(nil)))
	if s.Noise > 0 {
		body := make([]byte, s.Noise)
		noise.Read(body)
		entries = append(entries, entry{"src/noise.bin", 0o644, body})
	}
	for i := range s.Files {
		entries = append(entries, entry{fmt.Sprintf("src/many/f%04d.go", i), 0o644, fmt.Appendf(nil, "package many // file %d of go%s\n", i, version)})
	}
	t := &Toolchain{Version: version, Dir: filepath.Join(p.Dir, "archives"), files: map[string][sha256.Size]byte{}}
	var out bytes.Buffer
	gz, err := gzip.NewWriterLevel(&out, gzip.BestSpeed)
	if err != nil {
		return nil, err
	}
	w := tar.NewWriter(gz)
	dirs := map[string]bool{}
	for _, e := range entries {
		for i, c := range e.path + "/" {
			if dir := "go/" + e.path[:min(i, len(e.path))]; c == '/' && i < len(e.path) && !dirs[dir] {
				dirs[dir] = true
				if err := w.WriteHeader(&tar.Header{Name: dir + "/", Typeflag: tar.TypeDir, Mode: 0o755, ModTime: time.Unix(1767225600, 0)}); err != nil {
					return nil, err
				}
			}
		}
		if err := w.WriteHeader(&tar.Header{Name: "go/" + e.path, Mode: e.mode, Size: int64(len(e.body)), ModTime: time.Unix(1767225600, 0)}); err != nil {
			return nil, err
		}
		if _, err := w.Write(e.body); err != nil {
			return nil, err
		}
		t.files[e.path] = sha256.Sum256(e.body)
	}
	delete(t.files, "go.env")
	if err := w.Close(); err != nil {
		return nil, err
	}
	if err := gz.Close(); err != nil {
		return nil, err
	}
	sum := sha256.Sum256(out.Bytes())
	t.SHA256, t.Size = hex.EncodeToString(sum[:]), int64(out.Len())
	if err := os.MkdirAll(t.Dir, 0o755); err != nil {
		return nil, err
	}
	return t, os.WriteFile(filepath.Join(t.Dir, fmt.Sprintf("go%s.linux-%s.tar.gz", version, runtime.GOARCH)), out.Bytes(), 0o644)
}

// wrong tells what in root is not as in the archive; "" if nothing.
func (t *Toolchain) wrong(root string) string {
	have := 0
	var first string
	walk(root, func(path string, info os.FileInfo) {
		rel := strings.TrimPrefix(path, root+"/")
		if info.IsDir() || rel == "go.env" {
			return
		}
		b, err := os.ReadFile(path)
		want, known := t.files[rel]
		switch {
		case first != "":
		case err != nil:
			first = err.Error()
		case !known:
			first = rel + " does not belong there"
		case sha256.Sum256(b) != want:
			first = fmt.Sprintf("%s has %d bytes that are not its own", rel, len(b))
		}
		have++
	})
	if first == "" && have != len(t.files) {
		first = fmt.Sprintf("%d files are there, %d should be", have, len(t.files))
	}
	return first
}

// walk calls f for everything below root; what goes meanwhile is left out.
func walk(root string, f func(path string, info os.FileInfo)) {
	entries, err := os.ReadDir(root)
	if err != nil {
		return
	}
	for _, e := range entries {
		path := filepath.Join(root, e.Name())
		info, err := e.Info()
		if err != nil {
			continue
		}
		f(path, info)
		if e.IsDir() {
			walk(path, f)
		}
	}
}

// Real finds the real releases of this machine's platform in a directory.
func Real(dir string) ([]*Toolchain, error) {
	suffix := ".linux-" + runtime.GOARCH
	files, err := filepath.Glob(filepath.Join(dir, "go1.*"+suffix+".*tar.gz"))
	if err != nil {
		return nil, err
	}
	var all []*Toolchain
	for _, f := range files {
		version, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(f), "go"), suffix)
		t := &Toolchain{Version: version, Dir: dir}
		if err := t.read(f); err != nil {
			return nil, fmt.Errorf("read %s: %w", f, err)
		}
		all = append(all, t)
	}
	if len(all) < 2 {
		return nil, fmt.Errorf("%s has %d releases for this machine, two are needed", dir, len(all))
	}
	return all, nil
}

// read takes size and files from an archive.
func (t *Toolchain) read(archive string) error {
	f, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	t.Size, t.files = st.Size(), map[string][sha256.Size]byte{}
	gz, err := gzip.NewReader(f)
	if err != nil {
		return err
	}
	for r := tar.NewReader(gz); ; {
		e, err := r.Next()
		if err == io.EOF {
			delete(t.files, "go.env")
			return nil
		}
		if err != nil {
			return err
		}
		if e.Typeflag != tar.TypeReg {
			continue
		}
		sum := sha256.New()
		if _, err := io.Copy(sum, r); err != nil {
			return err
		}
		t.files[strings.TrimPrefix(e.Name, "go/")] = [sha256.Size]byte(sum.Sum(nil))
	}
}
