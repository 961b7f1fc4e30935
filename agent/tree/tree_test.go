package tree_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/klauspost/compress/zstd"

	"github.com/gofleet/gofleet/agent/tree"
	"github.com/gofleet/gofleet/agent/wire"
)

// member is one tar entry to write; a directory's name ends with a slash.
type member struct {
	name string
	mode int64
	body string
	typ  byte
	link string
	pax  map[string]string
}

func pack(t testing.TB, members ...member) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, m := range members {
		h := &tar.Header{Name: m.name, Mode: m.mode, Size: int64(len(m.body)), Typeflag: m.typ, Linkname: m.link, PAXRecords: m.pax}
		if m.typ == 0 && strings.HasSuffix(m.name, "/") {
			h.Typeflag = tar.TypeDir
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, m.body); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// few are limits that small keeps.
var few = tree.Limits{Files: 10, Dirs: 10, Bytes: 1000}

func small(t testing.TB) []byte {
	return pack(t,
		member{name: "go/", mode: 0o755},
		member{name: "go/VERSION", mode: 0o644, body: "go1.26.8\n"},
		member{name: "go/bin/", mode: 0o755},
		member{name: "go/bin/go", mode: 0o755, body: "#!/bin/sh\n"},
		member{name: "go/src/a/b.go", mode: 0o644}, // implies two directories
		member{name: "go/src/", mode: 0o755},
	)
}

func sha(s string) string {
	h := sha256.Sum256([]byte(s))
	return hex.EncodeToString(h[:])
}

func smallText() string {
	return fmt.Sprintf("f 0644 9 %s VERSION\nd 0755 bin\nf 0755 10 %s bin/go\nd 0755 src\nd 0755 src/a\nf 0644 0 %s src/a/b.go\n",
		sha("go1.26.8\n"), sha("#!/bin/sh\n"), sha(""))
}

func TestReadGivesManifestAndVisitsParentsFirst(t *testing.T) {
	var visited []string
	m, err := tree.Read(bytes.NewReader(small(t)), tree.DefaultLimits(), func(e tree.Entry, content io.Reader) error {
		visited = append(visited, e.Path)
		if e.Path == "VERSION" {
			b, err := io.ReadAll(content)
			if err != nil || string(b) != "go1.26.8\n" {
				t.Errorf("VERSION: %q, %v", b, err)
			}
		}
		if e.Path == "bin/go" { // leaves the rest to be hashed by Read
			if _, err := content.Read(make([]byte, 3)); err != nil {
				t.Error(err)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := string(m.Encode()); got != smallText() {
		t.Errorf("manifest:\n%s\nwant:\n%s", got, smallText())
	}
	if m.Sum() != sha(smallText()) {
		t.Error("Sum is not the sha256 of the text")
	}
	if want := "VERSION bin bin/go src src/a src/a/b.go"; strings.Join(visited, " ") != want {
		t.Errorf("visited %v, want %s", visited, want)
	}
	files, dirs, size := m.Count()
	if files != 3 || dirs != 3 || size != 19 {
		t.Errorf("Count = %d, %d, %d", files, dirs, size)
	}
	back, err := tree.Parse(m.Encode())
	if err != nil || back.Sum() != m.Sum() {
		t.Errorf("Parse of Encode: %v", err)
	}
	if e := back.Find("bin/go"); e == nil || e.Size != 10 {
		t.Errorf("Find: %v", e)
	}
}

func TestReadRefuses(t *testing.T) {
	long := strings.Repeat("x", 256)
	for name, tc := range map[string]struct {
		members []member
		says    string
	}{
		"dotdot":        {[]member{{name: "go/../etc/passwd", mode: 0o644}}, "leads out of the tree"},
		"dotdot outer":  {[]member{{name: "../go/x", mode: 0o644}}, "does not lie under go/"},
		"absolute":      {[]member{{name: "/go/x", mode: 0o644}}, "is absolute"},
		"outside":       {[]member{{name: "gopher/x", mode: 0o644}}, "does not lie under go/"},
		"file go":       {[]member{{name: "go", mode: 0o644}}, "does not lie under go/"},
		"dot":           {[]member{{name: "go/./x", mode: 0o644}}, "is not clean"},
		"double slash":  {[]member{{name: "go//x", mode: 0o644}}, "is not clean"},
		"control":       {[]member{{name: "go/a\nb", mode: 0o644}}, "has a character"},
		"not utf-8":     {[]member{{name: "go/\xff", mode: 0o644}}, "is not UTF-8"},
		"long":          {[]member{{name: "go/" + long, mode: 0o644}}, "is too long"},
		"symlink":       {[]member{{name: "go/x", mode: 0o755, typ: tar.TypeSymlink, link: "/etc"}}, "is a link"},
		"hard link":     {[]member{{name: "go/x", mode: 0o755, typ: tar.TypeLink, link: "go/y"}}, "is a link"},
		"device":        {[]member{{name: "go/x", mode: 0o644, typ: tar.TypeChar}}, "is neither"},
		"fifo":          {[]member{{name: "go/x", mode: 0o644, typ: tar.TypeFifo}}, "is neither"},
		"setuid":        {[]member{{name: "go/x", mode: 0o4755}}, "setuid"},
		"setgid dir":    {[]member{{name: "go/x/", mode: 0o2755}}, "setuid, setgid"},
		"writable":      {[]member{{name: "go/x", mode: 0o666}}, "0755 and 0644 only"},
		"closed dir":    {[]member{{name: "go/x/", mode: 0o700}}, "0755 and 0644 only"},
		"twice":         {[]member{{name: "go/x", mode: 0o644}, {name: "go/x", mode: 0o644}}, "is there twice"},
		"dir twice":     {[]member{{name: "go/x/", mode: 0o755}, {name: "go/x/", mode: 0o755}}, "is there twice"},
		"root twice":    {[]member{{name: "go/", mode: 0o755}, {name: "go/", mode: 0o755}}, "is there twice"},
		"file then dir": {[]member{{name: "go/x", mode: 0o644}, {name: "go/x/", mode: 0o755}}, "is there twice"},
		"dir then file": {[]member{{name: "go/x/y", mode: 0o644}, {name: "go/x", mode: 0o644}}, "is there twice"},
		"in a file":     {[]member{{name: "go/x", mode: 0o644}, {name: "go/x/y", mode: 0o644}}, "is a file"},
		"files":         {[]member{{name: "go/1", mode: 0o644}, {name: "go/2", mode: 0o644}, {name: "go/3", mode: 0o644}}, "one file more than the 2"},
		"dirs":          {[]member{{name: "go/1/2/", mode: 0o755}}, "one directory more than the 1"},
		"bytes":         {[]member{{name: "go/1", mode: 0o644, body: "12345"}, {name: "go/2", mode: 0o644, body: "123456"}}, "over the 10 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := tree.Read(bytes.NewReader(pack(t, tc.members...)), tree.Limits{Files: 2, Dirs: 1, Bytes: 10}, nil)
			var e *wire.Error
			if !errors.As(err, &e) || e.Kind != wire.KindArchiveUnsafe {
				t.Fatalf("error is %v, want one of kind archive_unsafe", err)
			}
			if !strings.Contains(e.Message, tc.says) || !strings.Contains(e.Message, "archive entry \"") {
				t.Errorf("message %q does not name an entry and say %q", e.Message, tc.says)
			}
		})
	}
}

func TestReadTruncatedIsCorrupt(t *testing.T) {
	whole := small(t)
	if _, err := tree.Read(bytes.NewReader(whole), few, nil); err != nil {
		t.Fatal(err)
	}
	for n := range len(whole) - 512 { // one zero block would still be missing its twin
		_, err := tree.Read(bytes.NewReader(whole[:n]), few, nil)
		if k := kindOf(err); k != wire.KindArchiveCorrupt {
			t.Fatalf("cut at %d of %d: %v (kind %q), want archive_corrupt", n, len(whole), err, k)
		}
	}
}

func TestReadRefusesDataBehindTheEnd(t *testing.T) {
	for _, tail := range []string{"x", strings.Repeat("\x00", 2<<20)} {
		_, err := tree.Read(io.MultiReader(bytes.NewReader(small(t)), strings.NewReader(tail)), few, nil)
		if kindOf(err) != wire.KindArchiveUnsafe {
			t.Errorf("%d bytes behind the end: %v", len(tail), err)
		}
	}
	padded := io.MultiReader(bytes.NewReader(small(t)), strings.NewReader(strings.Repeat("\x00", 9<<10)))
	if _, err := tree.Read(padded, few, nil); err != nil {
		t.Errorf("padding as tar writes it: %v", err)
	}
}

func TestErrorsOfTheSourceStayThemselves(t *testing.T) {
	gone := errors.New("connection lost")
	raw := small(t)
	for name, z := range compressed(t, raw) {
		for n := 0; n < len(z); n += 7 {
			broken := io.MultiReader(bytes.NewReader(z[:n]), iotest.ErrReader(gone))
			if _, err := readCompressed(broken, name); !errors.Is(err, gone) {
				t.Fatalf("%s at %d: %v, want the source's error", name, n, err)
			}
		}
	}
	refuse := errors.New("disk full")
	_, err := tree.Read(bytes.NewReader(raw), tree.DefaultLimits(), func(tree.Entry, io.Reader) error { return refuse })
	if !errors.Is(err, refuse) {
		t.Errorf("visit's error became %v", err)
	}
}

func TestDecompress(t *testing.T) {
	raw := small(t)
	for name, z := range compressed(t, raw) {
		m, err := readCompressed(bytes.NewReader(z), name)
		if err != nil || string(m.Encode()) != smallText() {
			t.Fatalf("%s: %v", name, err)
		}
		for n := range z {
			if _, err := readCompressed(bytes.NewReader(z[:n]), name); kindOf(err) != wire.KindArchiveCorrupt {
				t.Fatalf("%s cut at %d of %d: %v", name, n, len(z), err)
			}
		}
		bad := bytes.Clone(z)
		bad[len(bad)-6] ^= 0xff // in the checksum, or the block before it
		if _, err := readCompressed(bytes.NewReader(bad), name); kindOf(err) != wire.KindArchiveCorrupt {
			t.Errorf("%s altered: %v", name, err)
		}
	}
	if _, err := tree.Decompress(bytes.NewReader(raw), "xz"); err == nil {
		t.Error("an unknown encoding was accepted")
	}
}

func TestDecompressRefusesLargeWindow(t *testing.T) {
	var b bytes.Buffer
	w, err := zstd.NewWriter(&b, zstd.WithWindowSize(2*tree.MaxWindow), zstd.WithSingleSegment(false))
	if err != nil {
		t.Fatal(err)
	}
	w.Write(small(t))
	w.Write(make([]byte, 1<<20))
	w.Close()
	if _, err := readCompressed(&b, wire.Zstd); kindOf(err) != wire.KindArchiveCorrupt {
		t.Errorf("a window over the limit: %v", err)
	}
}

func compressed(t testing.TB, raw []byte) map[string][]byte {
	t.Helper()
	var g, z bytes.Buffer
	gw := gzip.NewWriter(&g)
	zw, err := zstd.NewWriter(&z)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range []io.WriteCloser{gw, zw} {
		if _, err := w.Write(raw); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return map[string][]byte{wire.Gzip: g.Bytes(), wire.Zstd: z.Bytes()}
}

func readCompressed(r io.Reader, encoding string) (tree.Manifest, error) {
	d, err := tree.Decompress(r, encoding)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return tree.Read(d, few, nil)
}

func kindOf(err error) wire.Kind {
	var e *wire.Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return ""
}

func TestParseRefuses(t *testing.T) {
	zero := strings.Repeat("0", 64)
	for name, text := range map[string]string{
		"no end":       "d 0755 a",
		"order":        "d 0755 b\nd 0755 a\n",
		"twice":        "d 0755 a\nd 0755 a\n",
		"no parent":    "f 0644 0 " + zero + " a/b\n",
		"in a file":    "f 0644 0 " + zero + " a\nf 0644 0 " + zero + " a/b\n",
		"kind":         "l 0755 a\n",
		"mode":         "f 4755 0 " + zero + " a\n",
		"dir mode":     "d 0644 a\n",
		"size":         "f 0644 01 " + zero + " a\n",
		"negative":     "f 0644 -1 " + zero + " a\n",
		"huge":         "f 0644 99999999999999999999 " + zero + " a\n",
		"sum":          "f 0644 0 00 a\n",
		"capital sum":  "f 0644 0 " + strings.Repeat("A", 64) + " a\n",
		"path":         "d 0755 ../a\n",
		"no path":      "d 0755 \n",
		"empty line":   "\n",
		"double space": "d  0755 a\n",
	} {
		if m, err := tree.Parse([]byte(text)); err == nil {
			t.Errorf("%s: accepted as %v", name, m)
		}
	}
}
