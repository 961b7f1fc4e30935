package bundle

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/gofleet/gofleet/controller/internal/minisign"
	"github.com/gofleet/gofleet/controller/internal/release"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newKey(t testing.TB) *minisign.SecretKey {
	t.Helper()
	k, err := minisign.Generate(rand.Reader)
	must(t, err)
	return &k
}

func trusting(keys ...*minisign.SecretKey) Options {
	o := Options{Table: release.Table{}}
	for _, k := range keys {
		o.Trust.Keys = append(o.Trust.Keys, k.Public())
	}
	return o
}

// sample is a tree with everything that the format has a case for.
func sample() map[string]string {
	long := strings.Repeat("a-long-directory/", 12) + "file.mod"
	return map[string]string{
		"agents/gofleet-agent-linux-amd64":         strings.Repeat("compressible ", 2000),
		"archives/go1.26.8.linux-amd64.tar.gz":     string(noise(300_000)),
		"archives/go1.26.8.linux-arm64.tar.gz":     string(noise(blockSize)),
		"archives/go1.26.9.windows-amd64.zip":      string(noise(2*blockSize + 512)),
		"modules/cache/download/empty":             "",
		"modules/cache/download/x/@v/v1.0.mod":     "module x\n",
		"modules/cache/download/" + long:           "module long\n",
		"sbom.cdx.json":                            "{}\n",
		"archives/go1.26.8.linux-amd64.tar.gz.asc": "signature\n",
	}
}

// noise is the same bytes every time, which do not compress.
func noise(n int) []byte {
	b := make([]byte, n)
	x := uint64(n)*2685821657736338717 + 1
	for i := range b {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		b[i] = byte(x)
	}
	return b
}

func writeTree(t testing.TB, w *Writer, tree map[string]string, key *minisign.SecretKey) {
	t.Helper()
	defer w.Close()
	var paths []string
	for p := range tree {
		paths = append(paths, p)
	}
	slices.Sort(paths)
	for _, p := range paths {
		mode := fs.FileMode(0o644)
		if strings.HasPrefix(p, AgentsDir) {
			mode = 0o755
		}
		_, err := w.Add(context.Background(), BytesSource(p, mode, []byte(tree[p])))
		must(t, err)
	}
	must(t, w.Finish(key))
}

func writeFile(t testing.TB, path string, split int64, key *minisign.SecretKey) {
	t.Helper()
	w, err := NewFileWriter(path, "0.1.0", split)
	must(t, err)
	writeTree(t, w, sample(), key)
}

func writeDir(t testing.TB, path string, key *minisign.SecretKey) {
	t.Helper()
	w, err := NewDirWriter(path, "0.1.0")
	must(t, err)
	writeTree(t, w, sample(), key)
}

func TestRoundTrip(t *testing.T) {
	key := newKey(t)
	for name, write := range map[string]func(path string){
		"file":      func(p string) { writeFile(t, p, 0, key) },
		"parts":     func(p string) { writeFile(t, p, 100_000, key) },
		"directory": func(p string) { writeDir(t, p, key) },
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "site.bundle")
			write(path)
			if !Is(path) {
				t.Error("it is not seen to be one")
			}
			b, err := Open(path, trusting(key))
			must(t, err)
			defer b.Close()
			must(t, b.Check(t.Context(), CheckOptions{}))
			var names []string
			for p, want := range sample() {
				names = append(names, p)
				got, err := b.ReadFile(p)
				must(t, err)
				if string(got) != want {
					t.Errorf("%s comes back different", p)
				}
				readPieces(t, b, p, want)
			}
			must(t, fstest.TestFS(b, names...))
			if b.Signer() != key.Public().ID.String() {
				t.Errorf("signed by %q", b.Signer())
			}
			blob, err := b.Archive("go1.26.8.linux-amd64.tar.gz")
			must(t, err)
			defer blob.Close()
			asc, err := blob.Beside(".asc", 100)
			if err != nil || string(asc) != "signature\n" {
				t.Errorf("beside it %q, %v", asc, err)
			}
			if none, err := blob.Beside(".evidence", 100); none != nil || err != nil {
				t.Errorf("beside it %q, %v", none, err)
			}
			if _, err := b.Archive("go1.26.8.linux-s390x.tar.gz"); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("an archive that is not there: %v", err)
			}
		})
	}
}

// readPieces reads a file at places around the borders of blocks.
func readPieces(t *testing.T, b *Bundle, p, want string) {
	t.Helper()
	f, err := b.Open(p)
	must(t, err)
	defer f.Close()
	for _, at := range []int{0, 1, blockSize - 1, blockSize, blockSize + 7, len(want) - 1} {
		for _, n := range []int{1, 100, blockSize + 5} {
			if at < 0 || at >= len(want) {
				continue
			}
			buf := make([]byte, n)
			got, err := f.(io.ReaderAt).ReadAt(buf, int64(at))
			short := at+n > len(want)
			if string(buf[:got]) != want[at:min(at+n, len(want))] || short != (err == io.EOF) {
				t.Fatalf("%s: %d bytes at %d: %d, %v", p, n, at, got, err)
			}
		}
	}
}

func TestSameInputsGiveTheSameBytes(t *testing.T) {
	key, dir := newKey(t), t.TempDir()
	writeFile(t, filepath.Join(dir, "a"), 0, key)
	writeFile(t, filepath.Join(dir, "b"), 0, key)
	a, err := os.ReadFile(filepath.Join(dir, "a"))
	must(t, err)
	b, err := os.ReadFile(filepath.Join(dir, "b"))
	must(t, err)
	if !bytes.Equal(a, b) {
		t.Error("two bundles differ")
	}
	writeFile(t, filepath.Join(dir, "c"), 70_000, key)
	parts, err := filepath.Glob(filepath.Join(dir, "c.part[0-9]*"))
	must(t, err)
	var joined []byte
	for i, part := range parts {
		data, err := os.ReadFile(part)
		must(t, err)
		if len(data) != 70_000 && i < len(parts)-1 {
			t.Errorf("%s has %d bytes", part, len(data))
		}
		joined = append(joined, data...)
	}
	if !bytes.Equal(a, joined) {
		t.Error("the parts together are not the file")
	}
}

// Programs that know nothing of gofleet unpack and check a bundle.
func TestStockPrograms(t *testing.T) {
	key, dir := newKey(t), t.TempDir()
	path := filepath.Join(dir, "site.bundle")
	writeFile(t, path, 0, key)
	out := filepath.Join(dir, "out")
	must(t, os.Mkdir(out, 0o755))
	run := func(dir, name string, args ...string) {
		t.Helper()
		cmd := exec.Command(name, args...)
		cmd.Dir = dir
		if text, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s %v: %v\n%s", name, args, err, text)
		}
	}
	run(out, "tar", "--zstd", "-xf", path)
	run(out, "zstd", "-t", path)
	run(out, "sha256sum", "--check", "--strict", "--quiet", ManifestName)
	run(out, "minisign", "-Vm", ManifestName, "-P", key.Public().String())
	for p, want := range sample() {
		got, err := os.ReadFile(filepath.Join(out, p))
		if err != nil || string(got) != want {
			t.Errorf("%s unpacked: %v", p, err)
		}
	}
	if st, err := os.Stat(filepath.Join(out, "agents/gofleet-agent-linux-amd64")); err != nil || st.Mode().Perm() != 0o755 {
		t.Errorf("mode of an agent: %v, %v", st.Mode(), err)
	}
	writeFile(t, filepath.Join(dir, "split"), 100_000, key)
	run(dir, "sha256sum", "--check", "--strict", "--quiet", "split.parts")
	run(dir, "minisign", "-Vm", "split.parts", "-P", key.Public().String())
	writeDir(t, filepath.Join(dir, "tree"), key)
	run(filepath.Join(dir, "tree"), "sha256sum", "--check", "--strict", "--quiet", ManifestName)
}

// openAndCheck is what a user of a bundle does before anything else.
func openAndCheck(path string, o Options) error {
	b, err := Open(path, o)
	if err != nil {
		return err
	}
	defer b.Close()
	return b.Check(context.Background(), CheckOptions{})
}

// layers are the errors of a bundle as "layer what".
func layers(err error) []string {
	var list []string
	var walk func(error)
	walk = func(err error) {
		var e *Error
		if joined, ok := err.(interface{ Unwrap() []error }); ok {
			for _, one := range joined.Unwrap() {
				walk(one)
			}
		} else if errors.As(err, &e) {
			list = append(list, strings.TrimSpace(string(e.Layer)+" "+e.What))
		} else if err != nil {
			list = append(list, err.Error())
		}
	}
	walk(err)
	return list
}

// No byte of a bundle can be changed unseen.
func TestEveryByteCounts(t *testing.T) {
	key, dir := newKey(t), t.TempDir()
	path := filepath.Join(dir, "small.bundle")
	w, err := NewFileWriter(path, "0.1.0", 0)
	must(t, err)
	writeTree(t, w, map[string]string{
		"archives/go1.26.8.linux-amd64.tar.gz": string(noise(600)),
		"gofleet/gofleet":                      strings.Repeat("compressible ", 400),
		"modules/cache/download/x":             "",
	}, key)
	good, err := os.ReadFile(path)
	must(t, err)
	must(t, openAndCheck(path, trusting(key)))
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	must(t, err)
	defer f.Close()
	for i := range good {
		_, err := f.WriteAt([]byte{good[i] ^ 1<<(i%8)}, int64(i))
		must(t, err)
		if err := openAndCheck(path, trusting(key)); err == nil {
			t.Fatalf("byte %d of %d changed: accepted", i, len(good))
		}
		_, err = f.WriteAt(good[i:i+1], int64(i))
		must(t, err)
	}
	for name, bad := range map[string][]byte{
		"cut off":   good[:len(good)-1],
		"longer":    append(bytes.Clone(good), 0),
		"in front":  append([]byte{0}, good...),
		"no middle": append(bytes.Clone(good[:100]), good[101:]...),
		"twice":     append(bytes.Clone(good), good...),
		"empty":     nil,
	} {
		must(t, os.WriteFile(path, bad, 0o644))
		if err := openAndCheck(path, trusting(key)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestDamageIsNamed(t *testing.T) {
	key := newKey(t)
	const archive = "archives/go1.26.8.linux-arm64.tar.gz"
	for name, c := range map[string]struct {
		split  int64
		damage func(t *testing.T, path string)
		want   []string
	}{
		"archive":       {0, flip(string(noise(blockSize)[1000:1010])), []string{"archive " + archive}},
		"evidence":      {0, flip("signature\n"), []string{"evidence archives/go1.26.8.linux-amd64.tar.gz.asc"}},
		"module":        {0, flip("module x\n"), []string{"module modules/cache/download/x/@v/v1.0.mod"}},
		"manifest":      {0, flip("  sbom.cdx.json"), []string{"signature manifest.minisig"}},
		"part missing":  {100_000, remove("site.bundle.part003"), []string{"part site.bundle.part003"}},
		"part flipped":  {100_000, flipIn("site.bundle.part004", 5000), []string{"part site.bundle.part004", "archive archives/go1.26.8.linux-arm64.tar.gz"}},
		"last flipped":  {100_000, flipIn("site.bundle.part008", -5), []string{"part site.bundle.part008"}},
		"parts swapped": {100_000, swap("site.bundle.part001", "site.bundle.part002"), []string{"part site.bundle.part001", "part site.bundle.part002"}},
		"part twice":    {100_000, copyOver("site.bundle.part002", "site.bundle.part001"), []string{"part site.bundle.part002"}},
		"part foreign":  {100_000, copyOver("site.bundle.part042", "site.bundle.part001"), []string{"part site.bundle.part042"}},
		"part short":    {100_000, truncate("site.bundle.part002", 99_999), []string{"part site.bundle.part002"}},
		"list missing":  {100_000, remove("site.bundle.parts"), []string{"part site.bundle.parts"}},
		"list changed":  {100_000, flipIn("site.bundle.parts", 60), []string{"signature site.bundle.parts.minisig"}},
		"list unsigned": {100_000, remove("site.bundle.parts.minisig"), []string{"signature site.bundle.parts.minisig"}},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "site.bundle")
			writeFile(t, path, c.split, key)
			c.damage(t, path)
			location := path
			if c.split > 0 {
				location = partName(path, 1)
			}
			got := layers(openAndCheck(location, trusting(key)))
			if len(got) < len(c.want) || !slices.Equal(got[:len(c.want)], c.want) && !subset(c.want, got) {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
		})
	}
}

func subset(want, got []string) bool {
	for _, w := range want {
		if !slices.Contains(got, w) {
			return false
		}
	}
	return true
}

// edit changes a file of a bundle in place.
func edit(t *testing.T, path string, change func([]byte) []byte) {
	t.Helper()
	data, err := os.ReadFile(path)
	must(t, err)
	must(t, os.WriteFile(path, change(data), 0o644))
}

// flip changes a byte in the one place that holds the text.
func flip(text string) func(*testing.T, string) {
	return func(t *testing.T, path string) {
		edit(t, path, func(data []byte) []byte {
			if n := bytes.Count(data, []byte(text)); n != 1 {
				t.Fatalf("%q is there %d times", text, n)
			}
			data[bytes.Index(data, []byte(text))] ^= 1
			return data
		})
	}
}

func beside(path, name string) string { return filepath.Join(filepath.Dir(path), name) }

func flipIn(name string, at int) func(*testing.T, string) {
	return func(t *testing.T, path string) {
		edit(t, beside(path, name), func(data []byte) []byte {
			data[(at+len(data))%len(data)] ^= 1
			return data
		})
	}
}

func remove(name string) func(*testing.T, string) {
	return func(t *testing.T, path string) { must(t, os.Remove(beside(path, name))) }
}

func truncate(name string, size int64) func(*testing.T, string) {
	return func(t *testing.T, path string) { must(t, os.Truncate(beside(path, name), size)) }
}

func copyOver(to, from string) func(*testing.T, string) {
	return func(t *testing.T, path string) {
		data, err := os.ReadFile(beside(path, from))
		must(t, err)
		must(t, os.WriteFile(beside(path, to), data, 0o644))
	}
}

func swap(a, b string) func(*testing.T, string) {
	return func(t *testing.T, path string) {
		must(t, os.Rename(beside(path, a), beside(path, "tmp")))
		must(t, os.Rename(beside(path, b), beside(path, a)))
		must(t, os.Rename(beside(path, "tmp"), beside(path, b)))
	}
}

func TestDirectoryDamageIsNamed(t *testing.T) {
	key := newKey(t)
	const mod = "modules/cache/download/x/@v/v1.0.mod"
	for name, c := range map[string]struct {
		damage func(path string) error
		want   string
	}{
		"changed": {func(p string) error { return os.WriteFile(filepath.Join(p, mod), []byte("module y\n"), 0o644) }, "module " + mod},
		"missing": {func(p string) error { return os.Remove(filepath.Join(p, mod)) }, "module " + mod},
		"added":   {func(p string) error { return os.WriteFile(filepath.Join(p, "extra"), nil, 0o644) }, "file extra"},
		"link": {func(p string) error {
			return errors.Join(os.Rename(filepath.Join(p, "sbom.cdx.json"), p+".sbom"), os.Symlink(p+".sbom", filepath.Join(p, "sbom.cdx.json")))
		}, "file sbom.cdx.json"},
		"unsigned": {func(p string) error { return os.Remove(filepath.Join(p, SignatureName)) }, "signature manifest.minisig"},
	} {
		path := filepath.Join(t.TempDir(), "site")
		writeDir(t, path, key)
		must(t, c.damage(path))
		if got := layers(openAndCheck(path, trusting(key))); !slices.Equal(got, []string{c.want}) {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}

func TestTrust(t *testing.T) {
	key, other := newKey(t), newKey(t)
	dir := t.TempDir()
	path := filepath.Join(dir, "site.bundle")
	writeFile(t, path, 0, key)
	if got := layers(openAndCheck(path, trusting(other))); !slices.Equal(got, []string{"signature manifest.minisig"}) {
		t.Errorf("foreign: %q", got)
	}
	any, err := NewTrust("", []string{other.Public().String(), Any})
	must(t, err)
	b, err := Open(path, Options{Trust: any, Table: release.Table{}})
	must(t, err)
	defer b.Close()
	if sum, _ := b.Promise("go1.26.8.linux-amd64.tar.gz"); sum != "" || b.Signer() != "" {
		t.Error("a foreign bundle speaks for its archives")
	}
	unsigned := filepath.Join(dir, "unsigned.bundle")
	writeFile(t, unsigned, 0, nil)
	if openAndCheck(unsigned, trusting(key)) == nil {
		t.Error("an unsigned bundle is taken")
	}
	must(t, openAndCheck(unsigned, Options{Trust: any, Table: release.Table{}}))

	config := filepath.Join(dir, "config")
	own, made, err := OwnKey(config)
	must(t, err)
	again, madeAgain, err := OwnKey(config)
	must(t, err)
	if !made || madeAgain || own.Public() != again.Public() {
		t.Errorf("made %v, then %v", made, madeAgain)
	}
	writeFile(t, path, 0, &own)
	trust, err := NewTrust(config, nil)
	must(t, err)
	must(t, openAndCheck(path, Options{Trust: trust, Table: release.Table{}}))
	must(t, os.Chmod(filepath.Join(config, secretName), 0o644))
	if _, _, err := OwnKey(config); err == nil {
		t.Error("a key that others can read is taken")
	}
	for _, bad := range []string{"", "RWQxxx", "no/such/file.pub"} {
		if _, err := NewTrust("", []string{bad}); err == nil {
			t.Errorf("trusted key %q", bad)
		}
	}
}

func TestTableIsNotContradicted(t *testing.T) {
	key, path := newKey(t), filepath.Join(t.TempDir(), "site.bundle")
	writeFile(t, path, 0, key)
	o := trusting(key)
	o.Table["go1.26.8.linux-amd64.tar.gz"] = strings.Repeat("a", 64)
	if got := layers(openAndCheck(path, o)); !slices.Equal(got, []string{"manifest archives/go1.26.8.linux-amd64.tar.gz"}) {
		t.Errorf("got %q", got)
	}
}

// A check that was good is not done again until something is touched.
func TestCheckRemembers(t *testing.T) {
	key, dir := newKey(t), t.TempDir()
	path, cache := filepath.Join(dir, "site.bundle"), filepath.Join(dir, "cache")
	writeFile(t, path, 0, key)
	b, err := Open(path, trusting(key))
	must(t, err)
	defer b.Close()
	must(t, b.remember(cache, "stamps"))
	if !b.remembered(cache, "stamps") || b.remembered(cache, "others") || b.remembered("", "stamps") {
		t.Error("what is remembered is not what was noted")
	}
}

func TestManifestHasOneForm(t *testing.T) {
	path := filepath.Join(t.TempDir(), "site.bundle")
	writeFile(t, path, 0, newKey(t))
	b, err := Open(path, Options{Trust: Trust{Any: true}, Table: release.Table{}})
	must(t, err)
	defer b.Close()
	text := string(b.Manifest())
	sum := strings.Repeat("a", 64)
	for _, bad := range []string{
		"", "x", text + "\n", text + "\n\n", strings.Replace(text, "v1", "v2", 1),
		strings.Replace(text, "0644", "0777", 1), strings.Replace(text, "# ", "#  ", 3),
		text + "# 1 0644\n" + sum + "  a\n",
		text + "# 1 0644\n" + sum + "  sbom.cdx.json/x\n",
		text + "# 1 0644\n" + sum + "  z/../../etc/passwd\n",
		text + "# 1 0644\n" + sum + "  /z\n",
		text + "# 01 0644\n" + sum + "  z\n",
		text + "# 1 0644\n" + strings.ToUpper(sum) + "  z\n",
		text + fmt.Sprintf("# 1 0644 zstd 2 %s\n%s  z\n", sum, sum),
	} {
		if _, err := ParseManifest([]byte(bad)); err == nil {
			t.Errorf("accepted %q", bad[max(0, len(bad)-200):])
		}
	}
	if _, err := ParseManifest([]byte(text + "# 1 0644\n" + sum + "  z\n")); err != nil {
		t.Errorf("a good one: %v", err)
	}
}

func FuzzOpen(f *testing.F) {
	key := newKey(f)
	path := filepath.Join(f.TempDir(), "site.bundle")
	w, err := NewFileWriter(path, "0.1.0", 0)
	must(f, err)
	writeTree(f, w, map[string]string{"archives/go1.26.8.linux-amd64.tar.gz": "x", "gofleet/gofleet": strings.Repeat("compressible ", 400)}, key)
	good, err := os.ReadFile(path)
	must(f, err)
	f.Add(good)
	f.Add(good[100:])
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(t.TempDir(), "site.bundle")
		must(t, os.WriteFile(path, data, 0o644))
		if err := openAndCheck(path, Options{Trust: Trust{Any: true}}); err != nil {
			return
		}
		// What is accepted is what this package writes.
		b, err := Open(path, Options{Trust: Trust{Any: true}})
		must(t, err)
		defer b.Close()
		tail := appendTail(nil, int64(len(data))-int64(len(appendTail(nil, 0, b.text, b.signature))), b.text, b.signature)
		if !bytes.HasSuffix(data, tail) {
			t.Error("it ends otherwise than it would be written")
		}
	})
}

func FuzzManifest(f *testing.F) {
	f.Add([]byte("# gofleet-bundle/v1\n# made by gofleet 0.1.0\n# 1 0644\n" + strings.Repeat("a", 64) + "  a\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := ParseManifest(text)
		if err == nil && !bytes.Equal(m.Encode(), text) {
			t.Errorf("%q is not what would be written", text)
		}
	})
}

func FuzzParts(f *testing.F) {
	sum := strings.Repeat("5e", 32)
	for _, sizes := range []string{"9 bytes, 4", "12 bytes, 4", "1 bytes, 6148914691236517206", "9223372036854775807 bytes, 3074457345618258603"} {
		text := "# " + partsFormat + "\n# " + sizes + " a part\n"
		for i := range 3 {
			text += sum + "  " + partName("site.bundle", i+1) + "\n"
		}
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := parseParts("/media/site.bundle", text)
		if err != nil {
			return
		}
		if !bytes.Equal(p.encode(), text) {
			t.Errorf("%q is not what would be written", text)
		}
		var total int64
		for i := range p.sums {
			if size := p.size(i); size <= 0 || size > p.each {
				t.Fatalf("part %d of %q has %d bytes", i+1, text, size)
			}
			total += p.size(i)
		}
		if total != p.total {
			t.Errorf("the parts of %q have %d bytes", text, total)
		}
	})
}
