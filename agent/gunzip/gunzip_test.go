package gunzip

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"testing/iotest"
)

// compressed is content as compress/gzip writes it.
func compressed(t testing.TB, content []byte, level int) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, level)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// contents are texts of every kind: none, short, repeating with every distance
// below a word, random, and such that is longer than the window.
func contents(t testing.TB) map[string][]byte {
	t.Helper()
	random := rand.NewChaCha8([32]byte{1})
	all := map[string][]byte{"empty": nil, "one byte": []byte("x")}
	for d := 1; d <= 17; d++ {
		all[fmt.Sprint("period ", d)] = bytes.Repeat([]byte("abcdefghijklmnopq")[:d], 5000)
	}
	noise := make([]byte, 300_000)
	random.Read(noise)
	all["noise"] = noise
	all["noise that comes again"] = append(bytes.Clone(noise[:window]), noise...)
	text, err := os.ReadFile("inflate.go")
	if err != nil {
		t.Fatal(err)
	}
	var mixed []byte
	for i := range 60 {
		mixed = append(mixed, text[:len(text)*(i+1)/60]...)
		mixed = append(mixed, noise[i*1000:i*1700]...)
	}
	all["mixed"] = mixed
	return all
}

func TestRead(t *testing.T) {
	for name, content := range contents(t) {
		for _, level := range []int{gzip.NoCompression, gzip.BestSpeed, gzip.BestCompression, gzip.HuffmanOnly} {
			t.Run(fmt.Sprintf("%s/%d", name, level), func(t *testing.T) {
				file := compressed(t, content, level)
				for how, src := range map[string]io.Reader{
					"whole":          bytes.NewReader(file),
					"byte by byte":   iotest.OneByteReader(bytes.NewReader(file)),
					"end with data":  iotest.DataErrReader(bytes.NewReader(file)),
					"halves of asks": iotest.HalfReader(bytes.NewReader(file)),
				} {
					if got, err := io.ReadAll(NewReader(src)); err != nil || !bytes.Equal(got, content) {
						t.Errorf("%s: %d bytes, %v; want %d bytes", how, len(got), err, len(content))
					}
				}
			})
		}
	}
}

func TestReadSmallPieces(t *testing.T) {
	content := contents(t)["mixed"]
	if err := iotest.TestReader(NewReader(bytes.NewReader(compressed(t, content, 6))), content); err != nil {
		t.Error(err)
	}
}

func TestMembers(t *testing.T) {
	first, second := []byte(strings.Repeat("first", 20_000)), []byte("second")
	file := append(compressed(t, first, 6), compressed(t, second, 6)...)
	got, err := io.ReadAll(NewReader(bytes.NewReader(file)))
	if want := append(first, second...); err != nil || !bytes.Equal(got, want) {
		t.Errorf("two members: %d bytes, %v; want %d", len(got), err, len(want))
	}
	if _, err := io.ReadAll(NewReader(bytes.NewReader(append(file, "something behind"...)))); !errors.Is(err, ErrCorrupt) {
		t.Errorf("something behind the last member: %v", err)
	}
	// A match must not reach into the member before.
	var raw bytes.Buffer
	w, err := flate.NewWriterDict(&raw, 9, first)
	if err != nil {
		t.Fatal(err)
	}
	w.Write(first)
	w.Close()
	reaching := append(compressed(t, first, 6), member(raw.Bytes(), first)...)
	if _, err := io.ReadAll(NewReader(bytes.NewReader(reaching))); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a match into the member before: %v", err)
	}
}

// member is a gzip member of DEFLATE data.
func member(data, content []byte) []byte {
	file := append([]byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255}, data...)
	file = binary.LittleEndian.AppendUint32(file, crc32.ChecksumIEEE(content))
	return binary.LittleEndian.AppendUint32(file, uint32(len(content)))
}

func TestHeader(t *testing.T) {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Name, w.Comment, w.Extra = "go.tar", "a comment", []byte("extra field")
	io.WriteString(w, "content")
	w.Close()
	if got, err := io.ReadAll(NewReader(&b)); err != nil || string(got) != "content" {
		t.Errorf("all fields: %q, %v", got, err)
	}
	// The checksum of a header: FHCRC is written by hand.
	plain := compressed(t, []byte("content"), 6)
	head := bytes.Clone(plain[:10])
	head[3] |= flagHeaderCRC
	summed := binary.LittleEndian.AppendUint16(head, uint16(crc32.ChecksumIEEE(head)))
	if got, err := io.ReadAll(NewReader(bytes.NewReader(append(summed, plain[10:]...)))); err != nil || string(got) != "content" {
		t.Errorf("header's checksum: %q, %v", got, err)
	}
	summed[10]++
	if _, err := io.ReadAll(NewReader(bytes.NewReader(append(summed, plain[10:]...)))); !errors.Is(err, ErrCorrupt) {
		t.Errorf("header's checksum wrong: %v", err)
	}
}

// Every truncation is io.ErrUnexpectedEOF, and no flipped bit passes.
func TestDamage(t *testing.T) {
	content := []byte(strings.Repeat("to be, or not to be: that is the question. ", 20) + "Whether 'tis nobler in the mind")
	file := compressed(t, content, 9)
	for n := range file {
		if got, err := io.ReadAll(NewReader(bytes.NewReader(file[:n]))); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("first %d of %d bytes: %d bytes, %v", n, len(file), len(got), err)
		}
	}
	for i := range file {
		for bit := range 8 {
			damaged := bytes.Clone(file)
			damaged[i] ^= 1 << bit
			got, err := io.ReadAll(NewReader(bytes.NewReader(damaged)))
			if err == nil && !bytes.Equal(got, content) {
				t.Errorf("bit %d of byte %d flipped: other content passes", bit, i)
			}
		}
	}
}

func TestSourceError(t *testing.T) {
	file := compressed(t, contents(t)["noise"], 6)
	broken := errors.New("cable pulled")
	for _, n := range []int{0, 5, 11, 5000} {
		src := io.MultiReader(bytes.NewReader(file[:n]), iotest.ErrReader(broken))
		if _, err := io.ReadAll(NewReader(src)); !errors.Is(err, broken) {
			t.Errorf("source fails after %d bytes: %v", n, err)
		}
	}
}

// FuzzLikeStandard holds the reader against compress/gzip: the same bytes, and
// an error where that has one.
func FuzzLikeStandard(f *testing.F) {
	for _, content := range contents(f) {
		if len(content) < 100_000 {
			f.Add(compressed(f, content, 6))
			f.Add(compressed(f, content, gzip.HuffmanOnly))
		}
	}
	f.Add(member([]byte{3, 0}, nil))
	f.Fuzz(func(t *testing.T, file []byte) {
		const limit = 1 << 22
		got, err := io.ReadAll(io.LimitReader(NewReader(bytes.NewReader(file)), limit))
		var want []byte
		std, stdErr := gzip.NewReader(bytes.NewReader(file))
		if stdErr == nil {
			want, stdErr = io.ReadAll(io.LimitReader(std, limit))
		}
		if (err == nil) != (stdErr == nil) {
			t.Fatalf("error %v, compress/gzip's %v", err, stdErr)
		}
		if err == nil && !bytes.Equal(got, want) {
			t.Fatalf("%d bytes unlike the %d of compress/gzip", len(got), len(want))
		}
	})
}
