package toolchain

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gofleet/gofleet/agent/tree"
	"github.com/gofleet/gofleet/agent/wire"
)

// BenchmarkExtract receives a whole Go release that is there already, so it
// measures hashing, decompression and writing without a transport. The
// archives, all of one version, are named by GOFLEET_BENCH_ARCHIVES, separated
// by colons, and the version by GOFLEET_BENCH_VERSION; TMPDIR chooses the
// filesystem.
func BenchmarkExtract(b *testing.B) {
	for _, path := range filepath.SplitList(os.Getenv("GOFLEET_BENCH_ARCHIVES")) {
		b.Run(filepath.Base(path), func(b *testing.B) { benchmarkExtract(b, path) })
	}
}

func benchmarkExtract(b *testing.B, path string) {
	s, a := benchStore(b, path)
	b.SetBytes(a.release.Tree.Bytes)
	var cpu time.Duration
	for b.Loop() {
		b.StopTimer()
		u, err := s.Receive(context.Background(), a.release, a.transfer, nil, os.Getuid())
		if err != nil {
			b.Fatal(err)
		}
		if err := u.Append(bytes.NewReader(a.raw), int64(len(a.raw))); err != nil {
			b.Fatal(err)
		}
		before := cpuTime(b)
		b.StartTimer()
		st, err := u.Extract(context.Background(), nil)
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		cpu += cpuTime(b) - before
		u.Close()
		if err := st.Discard(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
	b.ReportMetric(float64(cpu.Milliseconds())/float64(b.N), "cpu-ms/op")
}

// BenchmarkInspect is what a run costs that has nothing to do: quick, and
// with every file hashed.
func BenchmarkInspect(b *testing.B) {
	paths := filepath.SplitList(os.Getenv("GOFLEET_BENCH_ARCHIVES"))
	if len(paths) == 0 {
		b.Skip("GOFLEET_BENCH_ARCHIVES is not set")
	}
	s, a := benchStore(b, paths[0])
	if err := install(context.Background(), s, a, Hooks{}); err != nil {
		b.Fatal(err)
	}
	for name, deep := range map[string]bool{"quick": false, "deep": true} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				st, err := s.Inspect(context.Background(), a.release.Version, deep)
				if err != nil || !st.Ready() {
					b.Fatal(st.Drift, err)
				}
			}
		})
	}
}

// BenchmarkGather copies a whole release that is on the host.
func BenchmarkGather(b *testing.B) {
	paths := filepath.SplitList(os.Getenv("GOFLEET_BENCH_ARCHIVES"))
	if len(paths) == 0 {
		b.Skip("GOFLEET_BENCH_ARCHIVES is not set")
	}
	s, a := benchStore(b, paths[0])
	if err := install(context.Background(), s, a, Hooks{}); err != nil {
		b.Fatal(err)
	}
	st, err := s.Inspect(context.Background(), a.release.Version, false)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(a.release.Tree.Bytes)
	var cpu time.Duration
	for b.Loop() {
		before := cpuTime(b)
		bases := s.Bases(st)
		g, err := s.Gather(context.Background(), bases, bases.Known(a.release), nil)
		if err != nil || len(g.Lacks()) > 0 {
			b.Fatal(g, err)
		}
		b.StopTimer()
		cpu += cpuTime(b) - before
		if err := g.Discard(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
	b.ReportMetric(float64(cpu.Milliseconds())/float64(b.N), "cpu-ms/op")
}

// benchStore is an empty store, and a release read from a file.
func benchStore(b *testing.B, path string) (*Store, archive) {
	raw, err := os.ReadFile(path)
	if err != nil {
		b.Fatal(err)
	}
	encoding := wire.Gzip
	if filepath.Ext(path) == ".zst" {
		encoding = wire.Zstd
	}
	a := describe(b, os.Getenv("GOFLEET_BENCH_VERSION"), raw, encoding)
	a.transfer = transferOf(raw, encoding, 1<<20)
	a.transfer.Manifest = packedManifest(b, raw, encoding)
	return newStore(b), a
}

func packedManifest(b *testing.B, raw []byte, encoding string) []byte {
	d, err := tree.Decompress(bytes.NewReader(raw), encoding)
	if err != nil {
		b.Fatal(err)
	}
	defer d.Close()
	m, err := tree.Read(d, tree.DefaultLimits(), nil)
	if err != nil {
		b.Fatal(err)
	}
	packed, err := tree.Pack(m.Encode())
	if err != nil {
		b.Fatal(err)
	}
	return packed
}

// cpuTime is what this process has used: the figure that counts where eight
// hosts share two cores.
func cpuTime(b *testing.B) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
