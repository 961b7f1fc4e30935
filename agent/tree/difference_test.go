package tree_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"

	"github.com/gofleet/gofleet/agent/tree"
	"github.com/gofleet/gofleet/agent/wire"
)

// manifestOf lists files a0, a1, …, each behind a directory of its own when
// its number is odd.
func manifestOf(contents ...string) tree.Manifest {
	var m tree.Manifest
	for i, c := range contents {
		name := fmt.Sprintf("a%d", i)
		if i%2 == 1 {
			m = append(m, tree.Entry{Path: name, Dir: true, Mode: 0o755})
			name += "/f"
		}
		m = append(m, tree.Entry{Path: name, Mode: 0o644, Size: int64(len(c)), SHA256: sha256.Sum256([]byte(c))})
	}
	return m
}

func filesOf(m tree.Manifest) []int {
	var files []int
	for i := range m {
		if !m[i].Dir {
			files = append(files, i)
		}
	}
	return files
}

func TestRangesAndSelectAreInverse(t *testing.T) {
	m := manifestOf("0", "1", "2", "3", "4", "5", "6")
	all := filesOf(m)
	for bits := 1; bits < 1<<len(all); bits++ {
		var files []int
		for i, f := range all {
			if bits>>i&1 == 1 {
				files = append(files, f)
			}
		}
		back, err := m.Select(m.Ranges(files))
		if err != nil || !slices.Equal(back, files) {
			t.Fatalf("%v became %v, then %v, %v", files, m.Ranges(files), back, err)
		}
	}
	if whole := m.Ranges(all); len(whole) != 1 {
		t.Errorf("all files are %v", whole)
	}
}

func TestReadDifference(t *testing.T) {
	contents := []string{"zero", "", "two and more", "three"}
	m := manifestOf(contents...)
	files := filesOf(m)
	stream := "zerotwo and morethree"
	read := func(stream string, visit func(tree.Entry, io.Reader) error) error {
		return tree.ReadDifference(bytes.NewReader([]byte(stream)), m, files, visit)
	}
	var got []string
	err := read(stream, func(_ tree.Entry, content io.Reader) error {
		b, err := io.ReadAll(content)
		got = append(got, string(b))
		return err
	})
	if err != nil || !slices.Equal(got, contents) {
		t.Fatalf("got %q, %v", got, err)
	}
	nothing := func(tree.Entry, io.Reader) error { return nil } // what is left unread is passed over
	for name, bad := range map[string]string{
		"short": stream[:len(stream)-1], "empty": "", "long": stream + "x",
	} {
		if err := read(bad, nothing); kindOf(err) != wire.KindArchiveCorrupt {
			t.Errorf("%s: %v", name, err)
		}
	}
	full := errors.New("disk full")
	if err := read(stream, func(tree.Entry, io.Reader) error { return full }); !errors.Is(err, full) {
		t.Errorf("%v", err)
	}
	broken := errors.New("connection reset")
	r := io.MultiReader(bytes.NewReader([]byte("zer")), brokenReader{broken})
	if err := tree.ReadDifference(r, m, files, nothing); !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
}

type brokenReader struct{ err error }

func (b brokenReader) Read([]byte) (int, error) { return 0, b.err }

// FuzzReadDifference: whatever comes, every visited file has at most its size,
// and no error means that nothing was left.
func FuzzReadDifference(f *testing.F) {
	f.Add([]byte("zerotwo and morethree"), []byte("[[0,9]]"))
	f.Add([]byte("zero"), []byte("[[0,1]]"))
	f.Add([]byte(""), []byte("[[1,2],[4,1]]"))
	f.Add([]byte("x"), []byte("[[-1,1],[0,9223372036854775807]]"))
	contents := []string{"zero", "", "two and more", "three"}
	m := manifestOf(contents...)
	f.Fuzz(func(t *testing.T, stream, ranges []byte) {
		var lacks [][2]int
		if json.Unmarshal(ranges, &lacks) != nil {
			return
		}
		files, err := m.Select(lacks)
		if err != nil {
			return
		}
		if !slices.IsSorted(files) || len(slices.Compact(slices.Clone(files))) != len(files) {
			t.Fatalf("%v selects %v", lacks, files)
		}
		var all []byte
		err = tree.ReadDifference(bytes.NewReader(stream), m, files, func(e tree.Entry, content io.Reader) error {
			b, err := io.ReadAll(content)
			if int64(len(b)) > e.Size {
				t.Fatalf("%s has %d bytes", e.Path, len(b))
			}
			all = append(all, b...)
			return err
		})
		if err == nil && !bytes.Equal(all, stream) {
			t.Fatalf("%q was read as %q", stream, all)
		}
		if err != nil && kindOf(err) != wire.KindArchiveCorrupt {
			t.Fatal(err)
		}
	})
}
