package tree

import (
	"archive/tar"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gofleet/gofleet/agent/gunzip"
)

// stricter is all that archive/tar reads of files and directories and
// tarReader refuses, by what its error says.
var stricter = []struct {
	says   string
	stream func() []byte
}{
	{"a wrong checksum", func() []byte { // archive/tar also takes the sum of signed bytes
		b := rawHeader("go/\xff", 0, nil)
		copy(b[148:], fmt.Sprintf("%06o\x00 ", signedSum(b)))
		return ended(b)
	}},
	{"that is no number", func() []byte { // negative
		return ended(rawHeader("go/x", 0, func(b []byte) { copy(b[108:116], "\xff\xff\xff\xff\xff\xff\xff\xff") }))
	}},
	{"that is no number", func() []byte { // digits behind the end of others
		return ended(rawHeader("go/x", 0, func(b []byte) { copy(b[124:136], "0\x00007") }))
	}},
	{"that is no number", func() []byte { // a prefix, as Go before 1.8 wrote it by mistake
		return ended(rawHeader("x", 0, func(b []byte) {
			copy(b[257:], "ustar  \x00")
			copy(b[345:], "go")
		}))
	}},
	{"is a directory with content", func() []byte {
		return ended(rawHeader("go/x/", 512, func(b []byte) { b[156] = tar.TypeDir }))
	}},
	{"a form that only star writes", func() []byte {
		return ended(rawHeader("go/x", 0, func(b []byte) { copy(b[508:], "tar\x00") }))
	}},
	{"an extended header that is garbled", func() []byte { // a sign
		return ended(extendedBy("14 size=+0000\n"), rawHeader("go/x", 0, nil))
	}},
	{"an extended header of ", func() []byte {
		return ended(extendedBy("65537 comment="+strings.Repeat("x", 65537-15)+"\n"), rawHeader("go/x", 0, nil))
	}},
	{"unexpected EOF", func() []byte { // no end, or half of one
		return append(rawHeader("go/x", 0, nil), make([]byte, blockSize)...)
	}},
}

func TestStricterThanArchiveTar(t *testing.T) {
	for _, s := range stricter {
		stream := s.stream()
		theirs, err := readTheirs(bytes.NewReader(stream))
		if !errors.Is(err, io.EOF) || len(theirs) != 1 {
			t.Errorf("%s: archive/tar reads %v, %v", s.says, theirs, err)
		}
		ours, err := readOurs(bytes.NewReader(stream))
		if len(ours) > 1 || err == nil || !strings.Contains(err.Error(), s.says) {
			t.Errorf("%s: read as %v, %v", s.says, ours, err)
		}
	}
}

// TestReadsWhatArchiveTarReads takes every form that archive/tar writes, and
// real archives where there are some.
func TestReadsWhatArchiveTarReads(t *testing.T) {
	for name, stream := range streams(t) {
		ours, err := readOurs(bytes.NewReader(stream))
		if alike(t, bytes.NewReader(stream), ours, err); !errors.Is(err, io.EOF) {
			t.Errorf("%s: %v", name, err)
		}
	}
	archives, _ := filepath.Glob("../../.cache/archives/*.tar.gz")
	for _, path := range append(archives, filepath.SplitList(os.Getenv("GOFLEET_BENCH_ARCHIVES"))...) {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		r, w := io.Pipe()
		var ours []seen
		done := make(chan error)
		go func() {
			var err error
			ours, err = readOurs(r)
			io.Copy(io.Discard, r)
			done <- err
		}()
		stream := io.TeeReader(gunzip.NewReader(f), w)
		theirs, theirErr := readTheirs(stream)
		io.Copy(io.Discard, stream)
		w.Close()
		if err := <-done; !slices.Equal(ours, theirs) || len(ours) < 5000 || err != io.EOF || theirErr != io.EOF {
			t.Errorf("%s: %d entries, %v; archive/tar has %d, %v", path, len(ours), err, len(theirs), theirErr)
		}
	}
}

func TestReadingAHeaderAllocatesItsNameOnly(t *testing.T) {
	const entries = 500
	var stream []byte
	for i := range entries {
		stream = append(stream, rawHeader(fmt.Sprintf("go/file%d", i), 0, nil)...)
	}
	stream = ended(stream)
	got := testing.AllocsPerRun(5, func() {
		r := tarReader{content: content{src: newSource(bytes.NewReader(stream))}}
		var err error
		for err == nil {
			_, err = r.next()
		}
	})
	if got > entries+10 {
		t.Errorf("%v allocations for %d entries", got, entries)
	}
}

// FuzzTar holds tarReader against archive/tar: what it accepts is the same
// there, and what it refuses is refused there too, or one of stricter.
func FuzzTar(f *testing.F) {
	for _, stream := range streams(f) {
		f.Add(stream)
	}
	for _, s := range stricter {
		f.Add(s.stream())
	}
	f.Fuzz(func(t *testing.T, stream []byte) {
		both := func(stream []byte) {
			ours, err := readOurs(bytes.NewReader(stream))
			alike(t, bytes.NewReader(stream), ours, err)
			lent, lentErr := readOurs(&pieces{rest: stream})
			if !slices.Equal(ours, lent) || fmt.Sprint(err) != fmt.Sprint(lentErr) {
				t.Fatalf("read as %v, %v; in pieces %v, %v", ours, err, lent, lentErr)
			}
		}
		both(stream)
		// A checksum keeps most that is altered from being looked at.
		stream = bytes.Clone(stream)
		for b := range slices.Chunk(stream, blockSize) {
			if len(b) == blockSize && slices.Max(b) > 0 {
				seal(b)
			}
		}
		both(stream)
	})
}

// alike reads r with archive/tar, and fails where that differs from ours,
// stricter apart.
func alike(t *testing.T, r io.Reader, ours []seen, err error) {
	t.Helper()
	theirs, theirErr := readTheirs(r)
	n := len(ours)
	switch {
	case len(theirs) < n || !slices.Equal(ours, theirs[:n]):
		t.Fatalf("read as %v, %v; by archive/tar as %v, %v", ours, err, theirs, theirErr)
	case errors.Is(err, io.EOF):
		if len(theirs) > n || !errors.Is(theirErr, io.EOF) {
			t.Fatalf("ends after %v; archive/tar reads %v, %v", ours, theirs, theirErr)
		}
	case len(theirs) == n && !errors.Is(theirErr, io.EOF):
		// Both refuse what is next.
	default:
		for _, s := range stricter {
			if strings.Contains(err.Error(), s.says) {
				return
			}
		}
		t.Fatalf("%v after %v; archive/tar reads %v, %v", err, ours, theirs, theirErr)
	}
}

// seen is an entry as either reader tells it.
type seen struct {
	name       string
	kind       byte
	mode, size int64
	sum        uint32
}

var errKind = errors.New("neither a file nor a directory")

func readOurs(r io.Reader) (all []seen, err error) {
	t := tarReader{content: content{src: newSource(r)}}
	for {
		h, err := t.next()
		if err != nil {
			return all, err
		}
		if h.sparse || h.kind != tarRegular && h.kind != tarDir {
			return all, errKind
		}
		sum := crc32.NewIEEE()
		if _, err := io.Copy(sum, t.reader()); err != nil {
			return all, err
		}
		all = append(all, seen{h.name, h.kind, h.mode, h.size, sum.Sum32()})
	}
}

func readTheirs(r io.Reader) (all []seen, err error) {
	t := tar.NewReader(r)
	for {
		h, err := t.Next()
		if err != nil {
			return all, err
		}
		for key := range h.PAXRecords {
			if strings.HasPrefix(key, "GNU.sparse.") {
				return all, errKind
			}
		}
		if h.Typeflag != tar.TypeReg && h.Typeflag != tar.TypeDir {
			return all, errKind
		}
		sum := crc32.NewIEEE()
		if _, err := io.Copy(sum, t); err != nil {
			return all, err
		}
		all = append(all, seen{h.Name, h.Typeflag, h.Mode, h.Size, sum.Sum32()})
	}
}

// pieces lends what it has, a little at a time.
type pieces struct {
	rest []byte
	n    int
}

func (p *pieces) Next(n int) ([]byte, error) {
	if len(p.rest) == 0 {
		return nil, io.EOF
	}
	p.n = p.n*7%701 + 1
	n = min(n, p.n, len(p.rest))
	b := bytes.Clone(p.rest[:n])
	p.rest = p.rest[n:]
	return b, nil
}

func (p *pieces) Read(b []byte) (int, error) {
	piece, err := p.Next(len(b))
	return copy(b, piece), err
}

// streams are what archive/tar writes, and GNU tar and old ones would.
func streams(t testing.TB) map[string][]byte {
	t.Helper()
	long := "go/" + strings.Repeat("directory/", 20) + "x"
	all := map[string][]byte{}
	for name, h := range map[string]tar.Header{
		"ustar":     {Name: "go/x", Format: tar.FormatUSTAR},
		"prefix":    {Name: long, Format: tar.FormatUSTAR},
		"pax":       {Name: long + strings.Repeat("y", 200), Format: tar.FormatPAX},
		"pax times": {Name: "go/é", Format: tar.FormatPAX, ModTime: time.Unix(-5, 7), AccessTime: time.Unix(9, 1)},
		"pax more":  {Name: "go/x", PAXRecords: map[string]string{"comment": "y", "SCHILY.xattr.user.a": "\x00"}},
		"gnu":       {Name: "go/é", Format: tar.FormatGNU, AccessTime: time.Unix(1, 0), ChangeTime: time.Unix(2, 0)},
		"gnu long":  {Name: long + strings.Repeat("y", 200), Format: tar.FormatGNU},
		"base 256":  {Name: "go/x", Format: tar.FormatGNU, Uid: 1 << 40, ModTime: time.Unix(1<<40, 0)},
	} {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for _, n := range []int{0, 1, 511, 512, 513, 1500} {
			h := h
			h.Mode, h.Size = 0o644, int64(n)
			if err := w.WriteHeader(&h); err != nil {
				t.Fatal(err)
			}
			w.Write(bytes.Repeat([]byte("c"), n))
		}
		dir := h
		dir.Typeflag, dir.Name = tar.TypeDir, h.Name+"/"
		if err := errors.Join(w.WriteHeader(&dir), w.Close()); err != nil {
			t.Fatal(err)
		}
		all[name] = b.Bytes()
	}
	all["v7"] = ended(rawHeader("go/x/", 0, func(b []byte) { clear(b[257:]); b[156] = 0 }),
		rawHeader("go/x/y", 0, func(b []byte) { clear(b[257:]); b[156] = 0 }))
	all["spaces"] = ended(rawHeader("go/x", 0, func(b []byte) { copy(b[100:], "   644 \x00"); copy(b[108:], "        ") }))
	all["pax size"] = ended(extendedBy("10 size=3\n"), rawHeader("go/x", 0, nil), append([]byte("abc"), make([]byte, 509)...))
	all["last record"] = ended(extendedBy("10 path=y\n8 path=\n"), extendedBy("12 path=go/\n13 path=go/y\n"), rawHeader("go/x", 0, nil))
	return all
}

// rawHeader is the header of a file, changed and then sealed.
func rawHeader(name string, size int64, change func(b []byte)) []byte {
	b := make([]byte, blockSize)
	copy(b, name)
	copy(b[100:], "0000644\x00")
	copy(b[124:], fmt.Sprintf("%011o\x00", size))
	b[156] = tar.TypeReg
	copy(b[257:], "ustar\x0000")
	if change != nil {
		change(b)
	}
	seal(b)
	return b
}

func extendedBy(records string) []byte {
	b := rawHeader("x", int64(len(records)), func(b []byte) { b[156] = tar.TypeXHeader })
	return append(append(b, records...), make([]byte, -len(records)&(blockSize-1))...)
}

// ended is a stream of parts, with an end.
func ended(parts ...[]byte) []byte {
	return append(slices.Concat(parts...), make([]byte, 2*blockSize)...)
}

// seal writes a header's checksum.
func seal(b []byte) {
	sum := 8 * int(' ')
	for i, c := range b {
		if i < 148 || i >= 156 {
			sum += int(c)
		}
	}
	copy(b[148:], fmt.Sprintf("%06o\x00 ", sum))
}

func signedSum(b []byte) int {
	sum := 8 * int(' ')
	for i, c := range b {
		if i < 148 || i >= 156 {
			sum += int(int8(c))
		}
	}
	return sum
}

func TestSum(t *testing.T) {
	var b block
	want := int64(0)
	for i := range b {
		b[i] = 0xff
		want += 0xff
		if b.sum() != want {
			t.Fatalf("%d bytes: %d, want %d", i+1, b.sum(), want)
		}
	}
	binary.LittleEndian.PutUint64(b[:], 1)
	if want = want - 8*0xff + 1; b.sum() != want {
		t.Errorf("%d, want %d", b.sum(), want)
	}
}
