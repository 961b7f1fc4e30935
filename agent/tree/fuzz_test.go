package tree_test

import (
	"archive/tar"
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/gofleet/gofleet/agent/tree"
	"github.com/gofleet/gofleet/agent/wire"
)

// FuzzRead checks that whatever is accepted is a valid tree inside the limits,
// and that its manifest is what a second, independent reading finds.
func FuzzRead(f *testing.F) {
	f.Add(small(f))
	f.Add(pack(f, member{name: "go/" + strings.Repeat("d/", 90) + "x", mode: 0o644, body: "y"}))
	f.Add(pack(f, member{name: "go/é", mode: 0o644, body: "y", pax: map[string]string{"VENDOR.k": "v"}}))
	limits := tree.Limits{Files: 8, Dirs: 100, Bytes: 1 << 12}
	f.Fuzz(func(t *testing.T, raw []byte) {
		held := map[string]string{}
		m, err := tree.Read(bytes.NewReader(raw), limits, func(e tree.Entry, content io.Reader) error {
			if !e.Dir {
				b, err := io.ReadAll(content)
				held[e.Path] = string(b)
				return err
			}
			return nil
		})
		if err != nil {
			if k := kindOf(err); k != wire.KindArchiveUnsafe && k != wire.KindArchiveCorrupt {
				t.Fatalf("error without a kind: %v", err)
			}
			return
		}
		if back, err := tree.Parse(m.Encode()); err != nil || back.Sum() != m.Sum() {
			t.Fatalf("manifest does not parse: %v\n%s", err, m.Encode())
		}
		if files, dirs, size := m.Count(); files > limits.Files || dirs > limits.Dirs || size > limits.Bytes {
			t.Fatalf("over the limits: %d %d %d", files, dirs, size)
		}
		n := 0
		for r := tar.NewReader(bytes.NewReader(raw)); ; {
			h, err := r.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatalf("archive/tar refuses what Read accepted: %v", err)
			}
			if h.Typeflag != tar.TypeReg {
				continue
			}
			n++
			b, err := io.ReadAll(r)
			path := strings.TrimPrefix(h.Name, "go/")
			if err != nil || held[path] != string(b) {
				t.Fatalf("%s: archive/tar reads %q, %v; Read gave %q", h.Name, b, err, held[path])
			}
			if e := m.Find(path); e == nil || e.Size != int64(len(b)) || int64(e.Mode) != h.Mode {
				t.Fatalf("%s: manifest says %+v", h.Name, e)
			}
		}
		if n != len(held) {
			t.Fatalf("archive/tar finds %d files, Read gave %d", n, len(held))
		}
	})
}

// FuzzDecompress checks that nothing crashes and every error has its kind.
func FuzzDecompress(f *testing.F) {
	for encoding, z := range compressed(f, small(f)) {
		f.Add(z, encoding == wire.Zstd)
	}
	f.Fuzz(func(t *testing.T, z []byte, isZstd bool) {
		encoding := wire.Gzip
		if isZstd {
			encoding = wire.Zstd
		}
		if _, err := readCompressed(bytes.NewReader(z), encoding); err != nil && kindOf(err) == "" {
			t.Fatalf("error without a kind: %v", err)
		}
	})
}

// FuzzParse checks that Parse accepts exactly what Encode writes.
func FuzzParse(f *testing.F) {
	f.Add(smallText())
	f.Fuzz(func(t *testing.T, text string) {
		m, err := tree.Parse([]byte(text))
		if err == nil && string(m.Encode()) != text {
			t.Fatalf("accepted %q, writes %q", text, m.Encode())
		}
	})
}
