package toolchain

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/gofleet/gofleet/agent/spec"
	"github.com/gofleet/gofleet/agent/tree"
	"github.com/gofleet/gofleet/agent/wire"
)

// BenchmarkExtract receives a whole Go release that is there already, so it
// measures hashing, decompression and writing without a transport. The
// archives are named by GOFLEET_BENCH_ARCHIVES, separated by colons; a file
// system is chosen by TMPDIR.
func BenchmarkExtract(b *testing.B) {
	for _, path := range filepath.SplitList(os.Getenv("GOFLEET_BENCH_ARCHIVES")) {
		b.Run(filepath.Base(path), func(b *testing.B) { benchmarkExtract(b, path) })
	}
}

func benchmarkExtract(b *testing.B, path string) {
	raw, err := os.ReadFile(path)
	if err != nil {
		b.Fatal(err)
	}
	encoding := wire.Gzip
	if filepath.Ext(path) == ".zst" {
		encoding = wire.Zstd
	}
	d, err := tree.Decompress(bytes.NewReader(raw), encoding)
	if err != nil {
		b.Fatal(err)
	}
	version := ""
	m, err := tree.Read(d, tree.DefaultLimits(), nil)
	if err != nil {
		b.Fatal(err)
	}
	version = os.Getenv("GOFLEET_BENCH_VERSION")
	files, dirs, size := m.Count()
	rel := wire.Release{
		Version: version, Platform: spec.Platform{OS: "linux", Arch: "amd64"}, Name: filepath.Base(path),
		Tree: wire.Tree{SHA256: m.Sum(), Files: files, Dirs: dirs, Bytes: size},
	}
	root := filepath.Join(b.TempDir(), "root")
	layout, err := NewLayout(root, filepath.Join(root, "go"), os.Getuid())
	if err != nil {
		b.Fatal(err)
	}
	s := &Store{Layout: layout}
	transfer := transferOf(raw, encoding, 1<<20)
	b.SetBytes(size)
	for b.Loop() {
		b.StopTimer()
		u, err := s.Receive(context.Background(), rel, transfer, os.Getuid())
		if err != nil {
			b.Fatal(err)
		}
		if err := u.Append(bytes.NewReader(raw), int64(len(raw))); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		st, err := u.Extract(context.Background(), nil)
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		u.Close()
		if err := st.Discard(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}
