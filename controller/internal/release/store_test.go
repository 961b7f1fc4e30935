package release

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/gofleet/gofleet/agent/spec"
	"github.com/gofleet/gofleet/agent/tree"
	"github.com/gofleet/gofleet/agent/wire"
)

func TestOpenByTable(t *testing.T) {
	dir := t.TempDir()
	file := newFake("1.26.8", amd64).official(t, dir)
	a, err := openIn(t, Options{Location: dir, Table: Table{filepath.Base(file): sumOf(t, file)}}, "1.26.8")
	must(t, err)
	if a.Evidence().Kind != Sums || a.SHA256() != sumOf(t, file) || a.Path() != file || a.Version() != "1.26.8" || a.Platform() != amd64 {
		t.Errorf("opened %+v", a)
	}
	m, err := tree.Parse(a.Manifest())
	must(t, err)
	files, dirs, size := m.Count()
	if a.Tree() != (wire.Tree{SHA256: m.Sum(), Files: files, Dirs: dirs, Bytes: size}) || files != 18 {
		t.Errorf("tree %+v of %d files", a.Tree(), files)
	}
}

func TestRefusals(t *testing.T) {
	name := OfficialName("1.26.8", amd64).String()
	other := strings.Repeat("0", 64)
	for what, c := range map[string]struct {
		pin, table   string // "*" stands for the file's own sum
		reason, hint string // empty reason: accepted
	}{
		"right pin":             {pin: "*"},
		"right table":           {table: "*"},
		"wrong pin":             {pin: other, table: "*", reason: "gofleet_sha256 pins", hint: "correct the pin"},
		"pin before table":      {pin: "*", table: other},
		"wrong table":           {table: other, reason: "the official " + name + " has sha256 " + other, hint: "gofleet fetch 1.26.8 --platform linux/amd64"},
		"empty sum in table":    {table: "-", reason: "Go has published no sha256", hint: "fetch"},
		"no evidence":           {reason: "no evidence", hint: `gofleet_sha256: {linux-amd64: "`},
		"empty pin fails, too ": {pin: "-", table: "*", reason: "gofleet_sha256 pins", hint: "pin"},
	} {
		t.Run(what, func(t *testing.T) {
			dir := t.TempDir()
			file := newFake("1.26.8", amd64).official(t, dir)
			// A sum that lies beside the file came with it, and proves nothing.
			must(t, os.WriteFile(file+".sha256", []byte(sumOf(t, file)+"  "+name+"\n"), 0o644))
			value := func(s string) string {
				return map[string]string{"*": sumOf(t, file), "-": ""}[s] + strings.Trim(s, "*-")
			}
			o := Options{Location: dir, Table: Table{}, Pins: map[spec.Platform]string{}}
			if c.pin != "" {
				o.Pins[amd64] = value(c.pin)
			}
			if c.table != "" {
				o.Table[name] = value(c.table)
			}
			_, err := openIn(t, o, "1.26.8")
			if c.reason == "" {
				must(t, err)
				return
			}
			wantRefused(t, err, c.reason, c.hint)
			if c.reason == "no evidence" {
				wantRefused(t, err, c.reason, `gofleet_sha256: {linux-amd64: "`+sumOf(t, file)+`"}`)
			}
		})
	}
}

func TestSignatureAsEvidence(t *testing.T) {
	k := newKey(t)
	dir := t.TempDir()
	file := newFake("1.26.8", amd64).official(t, dir)
	data, err := os.ReadFile(file)
	must(t, err)
	o := Options{Location: dir, Table: Table{}, Signer: k.signer(), CacheDir: t.TempDir()}
	must(t, os.Chmod(o.CacheDir, 0o700))

	must(t, os.WriteFile(file+".asc", k.sign(string(data), year(2021)), 0o644))
	for range 2 { // the second time from the cache
		a, err := openIn(t, o, "1.26.8")
		must(t, err)
		if a.Evidence().Kind != PGP || !strings.Contains(a.Evidence().Detail, fingerprint(k.PrimaryKey)) {
			t.Errorf("evidence is %s", a.Evidence())
		}
	}
	o.Signer = newKey(t).signer()
	_, err = openIn(t, o, "1.26.8")
	wantRefused(t, err, "not one of primary key", "fetch")

	o.Signer = k.signer()
	must(t, os.WriteFile(file+".asc", k.sign(string(data)+"x", year(2021)), 0o644))
	// No falling through: a good proof of another kind does not help.
	must(t, os.WriteFile(file+EvidenceSuffix, []byte("whatever"), 0o644))
	_, err = openIn(t, o, "1.26.8")
	wantRefused(t, err, "evidence pgp does not hold", "")

	must(t, os.WriteFile(file+".asc", nil, 0o644))
	_, err = openIn(t, o, "1.26.8")
	wantRefused(t, err, "is empty", "")
}

// What an official archive holds has the hash that the log has of the module.
func TestOfficialArchiveIsProvedByTheLog(t *testing.T) {
	net := newNet(t)
	f := newFake("1.26.8", amd64)
	net.release(t, f)
	dir := t.TempDir()
	_, err := net.fetch(t, FetchOptions{Version: "1.26.8", Source: FromProxy, To: dir})
	must(t, err)
	text, err := os.ReadFile(filepath.Join(dir, ModuleName("1.26.8", amd64).String()+EvidenceSuffix))
	must(t, err)
	proof, err := ParseProof(text)
	must(t, err)

	open := func(f fakeRelease) error {
		dir := t.TempDir()
		file := f.official(t, dir)
		p := *proof
		p.File = filepath.Base(file)
		must(t, os.WriteFile(file+EvidenceSuffix, p.Encode(), 0o644))
		a, err := openIn(t, Options{Location: dir, Table: Table{}, SumDB: net.log.key}, "1.26.8")
		if err == nil && a.Evidence().Kind != SumDB {
			t.Errorf("evidence is %s", a.Evidence())
		}
		return err
	}
	must(t, open(f))

	f.files["src/runtime/rt0.go"] += "// more\n"
	wantRefused(t, open(f), "the checksum database recorded", "")

	f = newFake("1.26.8", amd64)
	f.files["src/_go.mod"] = f.files["src/go.mod"]
	delete(f.files, "src/go.mod")
	wantRefused(t, open(f), "only the toolchain module has", "")
}

func TestModuleArchive(t *testing.T) {
	net := newNet(t)
	net.release(t, newFake("1.26.8", amd64))
	dir := t.TempDir()
	_, err := net.fetch(t, FetchOptions{Version: "1.26.8", Source: FromProxy, To: dir})
	must(t, err)
	name := ModuleName("1.26.8", amd64).String()
	o := Options{Location: dir, Table: Table{}, SumDB: net.log.key}
	a, err := openIn(t, o, "1.26.8")
	must(t, err)
	if a.Name() != name || a.Evidence().Kind != SumDB {
		t.Errorf("opened %s by %s", a.Name(), a.Evidence())
	}

	// Content that the module's hash does not cover is not let in.
	rewrite := func(t *testing.T, change func(hdr *tar.Header, content string) string, more func(*tar.Writer)) error {
		dir := t.TempDir()
		copyFile(t, a.Path()+EvidenceSuffix, filepath.Join(dir, name+EvidenceSuffix))
		rewriteTarGz(t, a.Path(), filepath.Join(dir, name), change, more)
		_, err := openIn(t, Options{Location: dir, Table: Table{}, SumDB: net.log.key}, "1.26.8")
		return err
	}
	nothing := func(*tar.Writer) {}
	must(t, rewrite(t, unchanged, nothing))
	wantRefused(t, rewrite(t, func(hdr *tar.Header, s string) string {
		if hdr.Name == "go/src/all.bash" {
			hdr.Mode = 0o644
		}
		return s
	}, nothing), "has mode 0644; in a Go release it has 0755", "")
	wantRefused(t, rewrite(t, unchanged, add(t, tar.Header{Typeflag: tar.TypeReg, Name: "go/test/x", Mode: 0o644})), "is not in the toolchain module", "")
	wantRefused(t, rewrite(t, unchanged, add(t, tar.Header{Typeflag: tar.TypeDir, Name: "go/src/empty/", Mode: 0o755})), "is empty", "")
	wantRefused(t, rewrite(t, func(hdr *tar.Header, s string) string {
		if hdr.Name == "go/bin/gofmt" {
			return s[:len(s)-1] + "X"
		}
		return s
	}, nothing), "the checksum database recorded", "")

	// The official file is preferred, and no fallback.
	newFake("1.26.8", amd64).official(t, dir)
	_, err = openIn(t, o, "1.26.8")
	wantRefused(t, err, "no evidence", "pin it")
}

func unchanged(_ *tar.Header, content string) string { return content }

func add(t testing.TB, hdr tar.Header) func(*tar.Writer) {
	return func(w *tar.Writer) { must(t, w.WriteHeader(&hdr)) }
}

func copyFile(t testing.TB, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	must(t, err)
	must(t, os.WriteFile(to, data, 0o644))
}

// rewriteTarGz copies an archive with changes, and more entries at its end.
func rewriteTarGz(t testing.TB, from, to string, change func(*tar.Header, string) string, more func(*tar.Writer)) {
	t.Helper()
	in, err := os.Open(from)
	must(t, err)
	defer in.Close()
	z, err := tree.Decompress(in, wire.Gzip)
	must(t, err)
	r := tar.NewReader(z)
	writeTarGz(t, to, func(w *tar.Writer) {
		for {
			hdr, err := r.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			must(t, err)
			content, err := io.ReadAll(r)
			must(t, err)
			text := change(hdr, string(content))
			hdr.Size = int64(len(text))
			must(t, w.WriteHeader(hdr))
			_, err = io.WriteString(w, text)
			must(t, err)
		}
		more(w)
	})
}

// Even a pinned file must hold what its name says, in a safe form.
func TestContentMustFitTheName(t *testing.T) {
	for reason, c := range map[string]struct {
		release fakeRelease
		change  func(files map[string]string)
		more    func(*tar.Writer)
	}{
		"ELF 64-bit little-endian EM_AARCH64": {change: func(f map[string]string) { f["pkg/tool/linux_amd64/link"] = elfHeader(arm64) }},
		"no program":                          {change: func(f map[string]string) { f["bin/go"] = "#!/bin/sh\n" }},
		"bin/gofmt is not in it":              {change: func(f map[string]string) { delete(f, "bin/gofmt") }},
		`VERSION says "go1.26.7"`:             {change: func(f map[string]string) { f["VERSION"] = "go1.26.7\n" }},
		`VERSION says ""`:                     {change: func(f map[string]string) { delete(f, "VERSION") }},
		"src/runtime is not in it": {change: func(f map[string]string) {
			maps.DeleteFunc(f, func(p, _ string) bool { return strings.HasPrefix(p, "src/runtime") })
		}},
		"leads out of the tree":        {more: add(t, tar.Header{Typeflag: tar.TypeReg, Name: "go/../../etc/passwd", Mode: 0o644})},
		"is absolute":                  {more: add(t, tar.Header{Typeflag: tar.TypeReg, Name: "/etc/passwd", Mode: 0o644})},
		"is a link":                    {more: add(t, tar.Header{Typeflag: tar.TypeSymlink, Name: "go/x", Linkname: "/etc", Mode: 0o755})},
		"regular file nor a directory": {more: add(t, tar.Header{Typeflag: tar.TypeBlock, Name: "go/sda", Mode: 0o644})},
		"with setuid":                  {more: add(t, tar.Header{Typeflag: tar.TypeReg, Name: "go/x", Mode: 0o4755})},
		"is there twice":               {more: add(t, tar.Header{Typeflag: tar.TypeReg, Name: "go/VERSION", Mode: 0o644})},
	} {
		t.Run(reason, func(t *testing.T) {
			dir := t.TempDir()
			f := newFake("1.26.8", amd64)
			if c.change != nil {
				c.change(f.files)
			}
			file := f.official(t, dir)
			if c.more != nil {
				must(t, os.Rename(file, file+".old"))
				rewriteTarGz(t, file+".old", file, unchanged, c.more)
			}
			pins := map[spec.Platform]string{amd64: sumOf(t, file)}
			_, err := openIn(t, Options{Location: dir, Pins: pins}, "1.26.8")
			wantRefused(t, err, reason, "fetch it again")
		})
	}
}

func TestDamagedArchives(t *testing.T) {
	dir := t.TempDir()
	file := newFake("1.26.8", amd64).official(t, dir)
	good, err := os.ReadFile(file)
	must(t, err)
	open := func(data []byte, o Options) error {
		must(t, os.WriteFile(file, data, 0o644))
		o.Location = dir
		_, err := openIn(t, o, "1.26.8")
		return err
	}
	table := Options{Table: Table{filepath.Base(file): sumOf(t, file)}}
	must(t, open(good, table))
	// A wrong sum is what is said, not what it does to the content.
	wantRefused(t, open(good[:len(good)/2], table), "the official", "fetch")
	wantRefused(t, open(nil, table), "the official", "fetch")

	pinned := func(data []byte) Options {
		sum := sha256.Sum256(data)
		return Options{Pins: map[spec.Platform]string{amd64: hex.EncodeToString(sum[:])}}
	}
	for reason, data := range map[string][]byte{
		"ends early":      good[:len(good)-100],
		"decompress gzip": append([]byte("no gzip"), good...),
		"":                append(bytes.Clone(good), "more"...),
	} {
		wantRefused(t, open(data, pinned(data)), reason, "fetch")
	}
}

// A bomb is stopped by the limits long before it is unpacked.
// Nobody waits for who might write to a FIFO.
func TestFIFO(t *testing.T) {
	for _, suffix := range []string{"", ".asc", EvidenceSuffix} {
		dir := t.TempDir()
		file := newFake("1.26.8", amd64).official(t, dir)
		os.Remove(file + suffix)
		must(t, syscall.Mkfifo(file+suffix, 0o600))
		_, err := openIn(t, Options{Location: dir, Table: Table{}}, "1.26.8")
		wantRefused(t, err, "it is not a regular file", "")
	}
}

func TestTooLarge(t *testing.T) {
	dir := t.TempDir()
	file := newFake("1.26.8", amd64).official(t, dir)
	must(t, os.Truncate(file, maxArchive+1))
	_, err := openIn(t, Options{Location: dir, Table: Table{}}, "1.26.8")
	wantRefused(t, err, "no Go archive is so large", "fetch it again")
}

func TestBomb(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, OfficialName("1.26.8", amd64).String())
	var header, packed bytes.Buffer
	must(t, tar.NewWriter(&header).WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "go/bomb", Mode: 0o644, Size: 4 << 30}))
	z := gzip.NewWriter(&packed)
	for _, part := range [][]byte{header.Bytes(), make([]byte, 8<<20)} {
		_, err := z.Write(part)
		must(t, err)
	}
	must(t, z.Close())
	must(t, os.WriteFile(file, packed.Bytes(), 0o644))
	_, err := openIn(t, Options{Location: dir, Pins: map[spec.Platform]string{amd64: sumOf(t, file)}}, "1.26.8")
	wantRefused(t, err, "bytes promised", "fetch")
}

func TestMissing(t *testing.T) {
	dir := t.TempDir()
	newFake("1.26.7", amd64).official(t, dir)
	_, err := openIn(t, Options{Location: dir}, "1.26.8")
	var missing *MissingError
	if !errors.As(err, &missing) {
		t.Fatalf("got %v", err)
	}
	for _, want := range []string{"go1.26.8.linux-amd64.tar.gz", "go1.26.8.linux-amd64.module.tar.gz", dir} {
		wantError(t, err, want)
	}
	if !strings.Contains(missing.Hint, "has 1.26.7") || !strings.Contains(missing.Hint, "gofleet fetch 1.26.8 --platform linux/amd64 --to "+dir) {
		t.Errorf("hint is %q", missing.Hint)
	}
	_, err = NewStore(Options{Location: filepath.Join(dir, "nowhere"), CacheDir: filepath.Join(dir, "cache")})
	wantError(t, err, "nowhere")
	_, err = NewStore(Options{CacheDir: filepath.Join(dir, "cache")})
	wantError(t, err, "gofleet_archives is not set")
}

func TestOneArchiveForAllCallers(t *testing.T) {
	dir := t.TempDir()
	file := newFake("1.26.8", amd64).official(t, dir)
	s, err := NewStore(Options{Location: dir, CacheDir: filepath.Join(dir, "cache"), Table: Table{filepath.Base(file): sumOf(t, file)}})
	must(t, err)
	defer s.Close()
	got := make([]*Archive, 8)
	var all sync.WaitGroup
	for i := range got {
		all.Go(func() {
			a, err := s.Open(t.Context(), "1.26.8", amd64)
			if err != nil {
				t.Error(err)
				return
			}
			got[i] = a
			if _, err := a.Transfer(t.Context(), wire.Zstd, nil); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	for _, a := range got {
		if a != got[0] || a == nil {
			t.Error("callers got archives of their own")
		}
	}
}
