package toolchain

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/gofleet/gofleet/agent/wire"
)

func TestSurveyArchive(t *testing.T) {
	a := pack(t, "1.26.8", smallTree("1.26.8"))
	survey := func(content []byte) *Survey {
		t.Helper()
		path := filepath.Join(t.TempDir(), "archive")
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := SurveyArchive(t.Context(), path, a.transfer.ChunkSize)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	got := survey(a.raw)
	if got.SHA256 != a.transfer.SHA256 || got.Size != a.transfer.Size || !reflect.DeepEqual(got.Chunks, a.transfer.Chunks) {
		t.Errorf("sums are %+v, want %+v", got, a.transfer)
	}
	if got.Tree != a.release.Tree || sum(got.Manifest) != a.release.Tree.SHA256 {
		t.Errorf("tree is %+v, want %+v", got.Tree, a.release.Tree)
	}
	// Whatever is in it, its sums are told.
	for name, bad := range map[string][]byte{"cut": a.raw[:len(a.raw)/2], "no archive": []byte("hello"), "empty": nil} {
		got := survey(bad)
		if want := transferOf(bad, wire.Gzip, int(a.transfer.ChunkSize)); got.SHA256 != want.SHA256 || !reflect.DeepEqual(got.Chunks, want.Chunks) {
			t.Errorf("%s: sums are %+v, want %+v", name, got, want)
		}
		if got.Tree != (wire.Tree{}) || got.Manifest != nil {
			t.Errorf("%s: a tree was found: %+v", name, got.Tree)
		}
	}
}

// TestWholeUploadIsProvedOnce: an upload that is said to be whole is not
// hashed before it is extracted, and still nothing wrong gets through.
func TestWholeUploadIsProvedOnce(t *testing.T) {
	asRoot(t)
	s := newStore(t)
	a := pack(t, "1.26.8", smallTree("1.26.8"))
	a.transfer.Whole = true
	put := func(content []byte) (*Staged, error) {
		t.Helper()
		dir := filepath.Join(s.Staging(), a.transfer.SHA256)
		if err := s.Make(); err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(dir, 0o711); err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join(dir, uploadName), string(content))
		u, err := s.Receive(t.Context(), a.release, a.transfer, nil, os.Getuid())
		if err != nil {
			t.Fatal(err)
		}
		defer u.Close()
		if need := u.Need(); need.Offset != a.transfer.Size {
			t.Fatalf("asks for bytes from %d on", need.Offset)
		}
		return u.Extract(t.Context(), nil)
	}
	bad := append([]byte{}, a.raw...)
	bad[len(bad)/2] ^= 1
	if _, err := put(bad); kindOf(err) != wire.KindArchiveCorrupt {
		t.Errorf("a wrong byte gives %v", err)
	}
	if staged, err := put(a.raw); err != nil || staged == nil {
		t.Errorf("the right archive gives %v", err)
	}
}
