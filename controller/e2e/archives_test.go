//go:build linux

package e2e

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// entry is one member of an archive that a test makes up.
type entry struct {
	name string
	mode int64
	body []byte
	typ  byte
	link string
	size int64 // of a body of zeros
}

// fakeTree is the smallest tree that passes for a Go toolchain: a go command
// that answers what it is asked, and the heads of programs.
func fakeTree(version, arch string) ([]entry, error) {
	goarch := arch
	if arch == "armv6l" {
		goarch = "arm"
	}
	program, err := built.fakego(goarch)
	if err != nil {
		return nil, err
	}
	head := stub(program)
	entries := []entry{
		{name: "go/", mode: 0o755},
		{name: "go/VERSION", mode: 0o644, body: []byte("go" + version + "\ntime 2026-01-01T00:00:00Z\n")},
		{name: "go/bin/", mode: 0o755},
		{name: "go/bin/go", mode: 0o755, body: program},
		{name: "go/bin/gofmt", mode: 0o755, body: head},
	}
	if !strings.HasPrefix(version, "1.20") {
		entries = append(entries, entry{name: "go/go.env", mode: 0o644, body: []byte("# shipped\nGOPROXY=https://proxy.invalid,direct\nGOTOOLCHAIN=auto\n")})
	}
	tools := "go/pkg/tool/linux_" + goarch + "/"
	return append(entries,
		entry{name: "go/pkg/", mode: 0o755},
		entry{name: "go/pkg/tool/", mode: 0o755},
		entry{name: tools, mode: 0o755},
		entry{name: tools + "asm", mode: 0o755, body: head},
		entry{name: tools + "compile", mode: 0o755, body: head},
		entry{name: tools + "link", mode: 0o755, body: head},
		entry{name: "go/src/", mode: 0o755},
		entry{name: "go/src/cmd/", mode: 0o755},
		entry{name: "go/src/cmd/main.go", mode: 0o644, body: []byte("package main // of go" + version + "\n")},
		entry{name: "go/src/runtime/", mode: 0o755},
		entry{name: "go/src/runtime/proc.go", mode: 0o644, body: []byte("package runtime\n")},
	), nil
}

// stub is the header of a program, which says for which machine it is.
func stub(program []byte) []byte {
	head := bytes.Clone(program[:64])
	if elf.Class(head[elf.EI_CLASS]) == elf.ELFCLASS64 {
		binary.LittleEndian.PutUint16(head[56:], 0) // no segments
	}
	return head
}

// pack writes a compressed archive.
func pack(w io.Writer, entries []entry) error {
	gz, err := gzip.NewWriterLevel(w, gzip.BestSpeed)
	if err != nil {
		return err
	}
	t := tar.NewWriter(gz)
	for _, e := range entries {
		h := &tar.Header{
			Name: e.name, Mode: e.mode, Typeflag: e.typ, Linkname: e.link, Size: int64(len(e.body)) + e.size,
			ModTime: time.Unix(1767225600, 0), Format: tar.FormatPAX,
		}
		if e.typ == 0 && strings.HasSuffix(e.name, "/") {
			h.Typeflag = tar.TypeDir
		}
		if err := t.WriteHeader(h); err != nil {
			return err
		}
		body := io.MultiReader(bytes.NewReader(e.body), io.LimitReader(zeros{}, e.size))
		if _, err := io.Copy(t, body); err != nil {
			return err
		}
	}
	if err := t.Close(); err != nil {
		return err
	}
	return gz.Close()
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// write puts an archive into dir and gives its sha256.
func writeArchive(dir, version, arch string, entries []entry) (path, sum string, err error) {
	var b bytes.Buffer
	if err := pack(&b, entries); err != nil {
		return "", "", err
	}
	path = filepath.Join(dir, fmt.Sprintf("go%s.linux-%s.tar.gz", version, arch))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", "", err
	}
	return path, fmt.Sprintf("%x", sha256.Sum256(b.Bytes())), os.WriteFile(path, b.Bytes(), 0o644)
}

// cmdToolchain makes an archive of a Go that is none: toolchain DIR VERSION [ARCH]
//
// $PIN then is its sha256, to be written into the inventory: no other evidence
// speaks for it.
func cmdToolchain(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 || len(args) > 3 {
		usage(ts, "toolchain DIR VERSION [ARCH]")
	}
	arch := runtime.GOARCH
	if len(args) == 3 {
		arch = args[2]
	}
	entries, err := fakeTree(args[1], arch)
	ts.Check(err)
	_, sum, err := writeArchive(ts.MkAbs(args[0]), args[1], arch, entries)
	ts.Check(err)
	ts.Setenv("PIN", sum)
}

// faults are what is wrong with archives that have to be refused.
var faults = map[string]func([]entry) []entry{
	"dotdot":    adding(entry{name: "go/src/../../../../etc/evil", mode: 0o644, body: []byte("evil")}),
	"absolute":  adding(entry{name: "/etc/evil", mode: 0o644, body: []byte("evil")}),
	"outside":   adding(entry{name: "evil", mode: 0o644, body: []byte("evil")}),
	"symlink":   adding(entry{name: "go/lib", mode: 0o777, typ: tar.TypeSymlink, link: "/etc"}),
	"hardlink":  adding(entry{name: "go/passwd", mode: 0o644, typ: tar.TypeLink, link: "/etc/passwd"}),
	"device":    adding(entry{name: "go/null", mode: 0o644, typ: tar.TypeChar}),
	"fifo":      adding(entry{name: "go/fifo", mode: 0o644, typ: tar.TypeFifo}),
	"setuid":    adding(entry{name: "go/bin/su", mode: 0o4755, body: []byte("evil")}),
	"duplicate": adding(entry{name: "go/VERSION", mode: 0o644, body: []byte("go9.9.9\n")}),
	"bomb":      adding(entry{name: "go/zeros", mode: 0o644, size: 3 << 30}),
	"version": func(all []entry) []entry {
		i := slices.IndexFunc(all, func(e entry) bool { return e.name == "go/VERSION" })
		all[i].body = []byte("go1.2.3\n")
		return all
	},
	"foreign": func(all []entry) []entry {
		i := slices.IndexFunc(all, func(e entry) bool { return e.name == "go/bin/go" })
		all[i].body = bytes.Clone(all[i].body)
		binary.LittleEndian.PutUint16(all[i].body[18:], uint16(elf.EM_S390))
		return all
	},
	"incomplete": func(all []entry) []entry {
		return slices.DeleteFunc(all, func(e entry) bool { return strings.HasSuffix(e.name, "/compile") })
	},
}

func adding(e entry) func([]entry) []entry {
	return func(all []entry) []entry { return append(all, e) }
}

// cmdArchive makes an archive with a fault: archive FAULT DIR VERSION. $PIN
// is the file's own sha256, so that only the fault can be what is refused.
func cmdArchive(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		usage(ts, "archive FAULT DIR VERSION")
	}
	entries, err := fakeTree(args[2], runtime.GOARCH)
	ts.Check(err)
	if args[0] != "truncated" {
		fault := faults[args[0]]
		if fault == nil {
			ts.Fatalf("no fault is called %s", args[0])
		}
		entries = fault(entries)
	}
	path, sum, err := writeArchive(ts.MkAbs(args[1]), args[2], runtime.GOARCH, entries)
	ts.Check(err)
	if args[0] == "truncated" {
		b, err := os.ReadFile(path)
		ts.Check(err)
		b = b[:len(b)-1000]
		ts.Check(os.WriteFile(path, b, 0o644))
		sum = fmt.Sprintf("%x", sha256.Sum256(b))
	}
	ts.Setenv("PIN", sum)
}

// cmdFakego writes the program fakego: fakego FILE GOARCH
func cmdFakego(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		usage(ts, "fakego FILE GOARCH")
	}
	b, err := built.fakego(args[1])
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), b, 0o755))
}
