package toolchain

import (
	"bytes"
	"testing"

	"github.com/gofleet/gofleet/agent/spec"
	"github.com/gofleet/gofleet/agent/tree"
	"github.com/gofleet/gofleet/agent/wire"
)

func header(previous string) Header {
	return Header{Format: Format, Version: "1.26.8", Platform: spec.Platform{OS: "linux", Arch: "amd64"}, Previous: previous}
}

func TestManifestRoundTrip(t *testing.T) {
	text := tree.Manifest{{Path: "VERSION", Mode: 0o644, Size: 9}, {Path: "bin", Dir: true, Mode: 0o755}}.Encode()
	m := &Manifest{text: text, Header: header("go1.26.7")}
	b, err := m.encode()
	if err != nil {
		t.Fatal(err)
	}
	back, err := parseManifest("x", b)
	if err != nil || back.Previous != "go1.26.7" || !bytes.Equal(back.text, text) {
		t.Fatalf("%+v, %v", back, err)
	}
	for i := range b {
		bad := bytes.Clone(b)
		bad[i] ^= 1
		if _, err := parseManifest("x", bad); !isMissing(err) && kindOf(err) != wire.KindFormat {
			t.Fatalf("byte %d altered: %v", i, err)
		}
		if _, err := parseManifest("x", b[:i]); !isMissing(err) {
			t.Fatalf("cut at %d: %v", i, err)
		}
	}
}

// FuzzManifest checks that nothing crashes, and that what is accepted has a
// version that names a directory.
func FuzzManifest(f *testing.F) {
	b, err := (&Manifest{Header: header("")}).encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		if m, err := parseManifest("x", b); err == nil && !validVersion(m.Version) {
			t.Fatalf("accepted version %q", m.Version)
		}
	})
}
