package release

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"debug/elf"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/dirhash"

	"github.com/gofleet/gofleet/agent/spec"
)

var (
	amd64 = spec.Platform{OS: "linux", Arch: "amd64"}
	arm64 = spec.Platform{OS: "linux", Arch: "arm64"}
)

// fakeRelease is a Go release in miniature: its files by path, without go/.
type fakeRelease struct {
	name  Name
	files map[string]string
}

// newFake makes what an official archive of Go 1.21 or later holds.
func newFake(v string, p spec.Platform) fakeRelease {
	tool := "pkg/tool/" + p.OS + "_" + p.GOARCH() + "/"
	program := elfHeader(p)
	return fakeRelease{OfficialName(v, p), map[string]string{
		"VERSION":                  "go" + v + "\ntime 2026-08-04T20:03:33Z\n",
		"go.env":                   "GOPROXY=direct\n",
		"bin/go":                   program + "go",
		"bin/gofmt":                program + "gofmt",
		tool + "asm":               program + "asm",
		tool + "compile":           program + "compile",
		tool + "link":              program + "link",
		"src/all.bash":             "#!/bin/bash\n",
		"src/go.mod":               "module std\n",
		"src/cmd/go.mod":           "module cmd\n",
		"src/cmd/go/main.go":       "package main\n",
		"src/runtime/rt0.go":       "package runtime\n",
		"src/runtime/big.go":       strings.Repeat("// a long file\n", 40_000),
		"lib/wasm/go_js_wasm_exec": "#!/usr/bin/env bash\n",
		"api/go1.txt":              "pkg fmt\n",
		"doc/go_spec.html":         "<html>\n",
		"misc/go.mod":              "module misc\n",
		"test/run.go":              "package main\n",
	}}
}

// elfHeader is the start of a program for a platform.
func elfHeader(p spec.Platform) string {
	machines := map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64, "riscv64": elf.EM_RISCV}
	var b bytes.Buffer
	h := elf.Header64{Type: 2, Machine: uint16(machines[p.Arch]), Version: 1}
	copy(h.Ident[:], elf.ELFMAG)
	h.Ident[elf.EI_CLASS], h.Ident[elf.EI_DATA], h.Ident[elf.EI_VERSION] = byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), 1
	binary.Write(&b, binary.LittleEndian, h)
	return b.String()
}

// official writes the release as the Go project would publish it.
func (f fakeRelease) official(t testing.TB, dir string) string {
	t.Helper()
	file := filepath.Join(dir, f.name.String())
	writeTarGz(t, file, func(w *tar.Writer) {
		must(t, w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: "go/", Mode: 0o755}))
		dirs := map[string]bool{".": true}
		for _, p := range slices.Sorted(maps.Keys(f.files)) {
			for _, d := range parents(p) {
				if !dirs[d] {
					dirs[d] = true
					must(t, w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: "go/" + d + "/", Mode: 0o755}))
				}
			}
			addFile(t, w, "go/"+p, int64(treeMode(p)), f.files[p])
		}
	})
	return file
}

func parents(p string) []string {
	var dirs []string
	for d := path.Dir(p); d != "."; d = path.Dir(d) {
		dirs = append(dirs, d)
	}
	slices.Reverse(dirs)
	return dirs
}

func addFile(t testing.TB, w *tar.Writer, name string, mode int64, content string) {
	t.Helper()
	must(t, w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: int64(len(content))}))
	_, err := io.WriteString(w, content)
	must(t, err)
}

func writeTarGz(t testing.TB, file string, fill func(*tar.Writer)) {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	fill(w)
	must(t, w.Close())
	must(t, z.Close())
	must(t, os.WriteFile(file, b.Bytes(), 0o644))
}

// moduleZip writes the release as its toolchain module.
func (f fakeRelease) moduleZip(t testing.TB) []byte {
	t.Helper()
	prefix := modulePath + "@" + f.name.moduleVersion() + "/"
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, p := range slices.Sorted(maps.Keys(f.files)) {
		if !inModule(p) {
			continue
		}
		w, err := z.Create(prefix + moduleFile(p))
		must(t, err)
		_, err = io.WriteString(w, f.files[p])
		must(t, err)
	}
	must(t, z.Close())
	return b.Bytes()
}

// h1 is the hash that the go command would compute of the module.
func (f fakeRelease) h1(t testing.TB) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "module.zip")
	must(t, os.WriteFile(file, f.moduleZip(t), 0o644))
	h1, err := dirhash.HashZip(file, dirhash.Hash1)
	must(t, err)
	return h1
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func sumOf(t testing.TB, file string) string {
	t.Helper()
	data, err := os.ReadFile(file)
	must(t, err)
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// openIn opens the release for amd64 from a directory.
func openIn(t testing.TB, o Options, v string) (*Archive, error) {
	t.Helper()
	if o.CacheDir == "" {
		o.CacheDir = filepath.Join(t.TempDir(), "cache")
	}
	s, err := NewStore(o)
	must(t, err)
	t.Cleanup(func() { s.Close() })
	return s.Open(t.Context(), v, amd64)
}

// wantRefused checks that err refuses, for the reason, with the hint.
func wantRefused(t testing.TB, err error, reason, hint string) {
	t.Helper()
	var refused *RefusedError
	if !errors.As(err, &refused) {
		t.Fatalf("got error %v, want a refusal for %q", err, reason)
	}
	if !strings.Contains(refused.Reason, reason) {
		t.Errorf("refused because %q, want %q", refused.Reason, reason)
	}
	if !strings.Contains(refused.Hint, hint) {
		t.Errorf("hint is %q, want %q", refused.Hint, hint)
	}
}
