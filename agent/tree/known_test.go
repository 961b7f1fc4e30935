package tree

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"io"
	"slices"
	"testing"

	"github.com/gofleet/gofleet/agent/wire"
)

func TestReadKnownHoldsEntriesAgainstTheManifest(t *testing.T) {
	archive := knownArchive(t, 0o755, "a program")
	m, err := Read(bytes.NewReader(archive), DefaultLimits(), nil)
	if err != nil {
		t.Fatal(err)
	}
	var seen []Entry
	err = ReadKnown(bytes.NewReader(archive), m, func(e Entry, content io.Reader) error {
		seen = append(seen, e)
		if content != nil {
			io.Copy(io.Discard, content)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	got := Manifest(seen)
	got.Sort()
	if got.Sum() != m.Sum() {
		t.Errorf("visited\n%s\nwant\n%s", got.Encode(), m.Encode())
	}

	for name, bad := range map[string]Manifest{
		"another size":   change(m, func(e *Entry) { e.Size++ }),
		"another mode":   change(m, func(e *Entry) { e.Mode = 0o644 }),
		"another kind":   change(m, func(e *Entry) { e.Dir = true }),
		"another path":   change(m, func(e *Entry) { e.Path += "x" }),
		"a missing file": slices.DeleteFunc(slices.Clone(m), func(e Entry) bool { return e.Path == "bin/go" }),
		"a further file": append(slices.Clone(m), Entry{Path: "zzz", Mode: 0o644}),
	} {
		kind := wire.AsError(ReadKnown(bytes.NewReader(archive), bad, nil), "").Kind
		if kind != wire.KindArchiveUnsafe && kind != wire.KindArchiveCorrupt {
			t.Errorf("%s: got kind %q, want a refusal", name, kind)
		}
	}
}

func TestUnpackRefusesWhatPackDidNotMake(t *testing.T) {
	m, err := Read(bytes.NewReader(knownArchive(t, 0o755, "x")), DefaultLimits(), nil)
	if err != nil {
		t.Fatal(err)
	}
	packed, err := Pack(m.Encode())
	if err != nil {
		t.Fatal(err)
	}
	back, err := Unpack(packed)
	if err != nil || back.Sum() != m.Sum() {
		t.Fatalf("Unpack(Pack(m)) has sum %s, error %v; want %s", back.Sum(), err, m.Sum())
	}
	if back, err = Unpack(gzipped(t, m.Encode())); err != nil || back.Sum() != m.Sum() {
		t.Fatalf("Unpack of gzip has sum %s, error %v; want %s", back.Sum(), err, m.Sum())
	}
	bomb, err := Pack(make([]byte, maxText+1))
	if err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string][]byte{
		"nothing": nil, "cut": packed[:len(packed)-3], "no zstd": []byte("d 0755 bin\n"), "a bomb": bomb,
		"a bomb in gzip": gzipped(t, make([]byte, maxText+1)), "cut gzip": gzipped(t, m.Encode())[:20],
	} {
		if m, err := Unpack(bad); err == nil && len(m) > 0 {
			t.Errorf("%s was unpacked", name)
		}
	}
}

func gzipped(t *testing.T, text []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write(text); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// change gives m with the entry of bin/go altered.
func change(m Manifest, alter func(*Entry)) Manifest {
	m = slices.Clone(m)
	alter(m.Find("bin/go"))
	return m
}

func knownArchive(t *testing.T, mode int64, content string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range []*tar.Header{
		{Typeflag: tar.TypeDir, Name: "go/", Mode: 0o755},
		{Typeflag: tar.TypeReg, Name: "go/VERSION", Mode: 0o644, Size: 3},
		{Typeflag: tar.TypeReg, Name: "go/bin/go", Mode: mode, Size: int64(len(content))},
	} {
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg {
			io.WriteString(w, (content + "   ")[:h.Size])
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
