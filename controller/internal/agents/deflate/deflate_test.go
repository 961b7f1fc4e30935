package deflate

import (
	"bytes"
	"compress/gzip"
	"io"
	"math/rand/v2"
	"os"
	"testing"
)

func TestGzipIsReadBack(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	random := make([]byte, 50_000)
	for i := range random {
		random[i] = byte(rnd.Uint32())
	}
	few := make([]byte, 50_000)
	for i := range few {
		few[i] = byte(rnd.ExpFloat64() * 3)
	}
	for _, data := range [][]byte{
		nil, {7}, {7, 7}, []byte("ab"), []byte("aaaa"), make([]byte, 200_000), random, few, program(t),
		bytes.Repeat(random[:window], 3), bytes.Repeat(random[:window+1], 3), bytes.Repeat([]byte("abc"), 5000),
	} {
		r, err := gzip.NewReader(bytes.NewReader(Gzip(data)))
		if err != nil {
			t.Fatal(err)
		}
		if back, err := io.ReadAll(r); err != nil || !bytes.Equal(back, data) {
			t.Errorf("%d bytes come back as %d: %v", len(data), len(back), err)
		}
	}
}

func TestGzipIsSmaller(t *testing.T) {
	data := program(t)
	var fast bytes.Buffer
	w, err := gzip.NewWriterLevel(&fast, gzip.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	w.Write(data)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if small := Gzip(data); len(small) > fast.Len()*97/100 {
		t.Errorf("%d bytes; compress/gzip makes %d", len(small), fast.Len())
	}
}

// program is a piece of this test's program.
func program(t *testing.T) []byte {
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data[:min(len(data), 300<<10)]
}
