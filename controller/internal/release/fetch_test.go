package release

import (
	"archive/tar"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gofleet/gofleet/agent/spec"
	"github.com/gofleet/gofleet/agent/tree"
	"github.com/gofleet/gofleet/agent/wire"
)

// dirNames lists what a directory holds.
func dirNames(t testing.TB, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestFetchFromProxy(t *testing.T) {
	net := newNet(t)
	net.log.grow(t, 20, "early")
	net.release(t, newFake("1.26.8", amd64))
	net.release(t, newFake("1.26.8", arm64))
	to, cache := t.TempDir(), t.TempDir()
	o := FetchOptions{Version: "1.26.8", Source: FromProxy, To: to, CacheDir: cache, Platforms: []spec.Platform{amd64, arm64}}
	r, err := net.fetch(t, o)
	must(t, err)
	if len(r.Files) != 2 || r.Files[1].Platform != arm64 || r.Files[0].Source != FromProxy || !strings.HasPrefix(r.Files[0].Evidence, "sumdb: h1:") {
		t.Errorf("fetched %+v", r)
	}
	want := []string{
		"go1.26.8.linux-amd64.module.tar.gz", "go1.26.8.linux-amd64.module.tar.gz.evidence",
		"go1.26.8.linux-arm64.module.tar.gz", "go1.26.8.linux-arm64.module.tar.gz.evidence",
	}
	if got := dirNames(t, to); !slices.Equal(got, want) {
		t.Errorf("the directory has %v", got)
	}

	// Again: nothing is asked of the network.
	asked := len(net.asked)
	r, err = net.fetch(t, o)
	must(t, err)
	if len(net.asked) != asked || r.Files[0].Source != "" {
		t.Errorf("asked again for %v", net.asked[asked:])
	}

	// Elsewhere: the same bytes.
	o.To, o.CacheDir = t.TempDir(), t.TempDir()
	again, err := net.fetch(t, o)
	must(t, err)
	if again.Files[0].SHA256 != r.Files[0].SHA256 {
		t.Error("the archive is not reproducible")
	}
}

// The canonical archive holds the release, with the modes that it has.
func TestCanonicalArchive(t *testing.T) {
	net := newNet(t)
	f := newFake("1.26.8", amd64)
	net.release(t, f)
	r, err := net.fetch(t, FetchOptions{Version: "1.26.8", Source: FromProxy})
	must(t, err)
	in, err := os.Open(r.Files[0].Path)
	must(t, err)
	defer in.Close()
	z, err := tree.Decompress(in, wire.Gzip)
	must(t, err)
	files := 0
	for r := tar.NewReader(z); ; {
		hdr, err := r.Next()
		if err != nil {
			break
		}
		if hdr.Uid != 0 || hdr.Gid != 0 || hdr.Uname != "" || hdr.ModTime.UTC().Format("2006-01-02T15:04:05Z") != "2026-08-04T20:03:33Z" {
			t.Errorf("%s is of %d:%d %q at %v", hdr.Name, hdr.Uid, hdr.Gid, hdr.Uname, hdr.ModTime)
		}
		if hdr.Typeflag != tar.TypeReg {
			continue
		}
		files++
		path := strings.TrimPrefix(hdr.Name, "go/")
		var content bytes.Buffer
		_, err = content.ReadFrom(r)
		must(t, err)
		if f.files[path] != content.String() || !inModule(path) {
			t.Errorf("%s is not the release's", path)
		}
		executable := map[string]bool{"bin/go": true, "bin/gofmt": true, "src/all.bash": true, "lib/wasm/go_js_wasm_exec": true,
			"pkg/tool/linux_amd64/asm": true, "pkg/tool/linux_amd64/compile": true, "pkg/tool/linux_amd64/link": true}
		if (hdr.Mode == 0o755) != executable[path] {
			t.Errorf("%s has mode %04o", path, hdr.Mode)
		}
	}
	if files != 14 {
		t.Errorf("%d files", files)
	}
}

func TestNewestPatch(t *testing.T) {
	net := newNet(t)
	for _, v := range []string{"1.26.7", "1.26.10", "1.26.8", "1.27rc1", "1.25.14"} {
		net.release(t, newFake(v, amd64))
	}
	net.release(t, newFake("1.26.7", arm64))
	for asked, want := range map[string]string{"1.26": "1.26.10", "1.25": "1.25.14", "go1.26.7": "1.26.7", "1.27rc1": "1.27rc1"} {
		r, err := net.fetch(t, FetchOptions{Version: asked, Source: FromProxy})
		if err != nil || r.Version != want {
			t.Errorf("%s is %s, %v; want %s", asked, r.Version, err, want)
		}
	}
	// All platforms must have it.
	r, err := net.fetch(t, FetchOptions{Version: "1.26", Source: FromProxy, Platforms: []spec.Platform{amd64, arm64}})
	if err != nil || r.Version != "1.26.7" {
		t.Errorf("1.26 for both is %s, %v", r.Version, err)
	}
	_, err = net.fetch(t, FetchOptions{Version: "1.27", Source: FromProxy})
	wantError(t, err, "proxy has no release of Go 1.27")
	_, err = net.fetch(t, FetchOptions{Version: "latest", Source: FromProxy})
	wantError(t, err, "write it like 1.26.8")
}

// What the proxy gives must be what the log recorded; nothing stays behind.
func TestFetchRefusesAnotherModule(t *testing.T) {
	net := newNet(t)
	f := newFake("1.26.8", amd64)
	net.release(t, f)
	f.files["bin/go"] += "tampered"
	net.files["/proxy/golang.org/toolchain/@v/"+f.name.moduleVersion()+".zip"] = f.moduleZip(t)
	to := t.TempDir()
	_, err := net.fetch(t, FetchOptions{Version: "1.26.8", Source: FromProxy, To: to})
	wantRefused(t, err, "the checksum database recorded", "another GOPROXY")
	if left := dirNames(t, to); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// A log that shows one history today and another tomorrow is caught, although
// it signs both.
func TestAForkedLogIsCaught(t *testing.T) {
	net := newNet(t)
	cache := t.TempDir()
	net.log.grow(t, 3, "one")
	net.release(t, newFake("1.26.7", amd64))
	_, err := net.fetch(t, FetchOptions{Version: "1.26.7", Source: FromProxy, CacheDir: cache})
	must(t, err)

	net.log.grow(t, 300, "more")
	net.release(t, newFake("1.26.8", amd64))
	_, err = net.fetch(t, FetchOptions{Version: "1.26.8", Source: FromProxy, CacheDir: cache})
	must(t, err)

	net.log.start()
	net.log.grow(t, 310, "two")
	net.release(t, newFake("1.26.9", amd64))
	to := t.TempDir()
	_, err = net.fetch(t, FetchOptions{Version: "1.26.9", Source: FromProxy, CacheDir: cache, To: to})
	wantRefused(t, err, "contradicts what it showed this user before", "tell the Go project")
	if left := dirNames(t, to); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestFetchFromGoDev(t *testing.T) {
	k := newKey(t)
	f := newFake("1.28.1", amd64)
	file := f.official(t, t.TempDir())
	data, err := os.ReadFile(file)
	must(t, err)
	sum := sumOf(t, file)
	asc := k.sign(string(data), year(2021))

	for what, c := range map[string]struct {
		listed string
		table  Table
		asc    []byte
		want   string // evidence, or reason
	}{
		"signed":             {listed: sum, asc: asc, want: "pgp: signed"},
		"in the table":       {listed: sum, table: Table{f.name.String(): sum}, want: "table: official"},
		"no evidence":        {listed: sum, want: "its signature, which proves it"},
		"listed differently": {listed: strings.Repeat("a", 64), asc: asc, want: "the official"},
		"empty in the list":  {listed: "", asc: asc, want: "Go has published no sha256"},
		"list against table": {listed: sum, table: Table{f.name.String(): strings.Repeat("b", 64)}, asc: asc, want: "gofleet knows it as"},
		"empty in table":     {listed: sum, table: Table{f.name.String(): ""}, asc: asc, want: "gofleet knows it as"},
		"bad signature":      {listed: sum, asc: k.sign("x", year(2021)), want: "evidence pgp does not hold"},
	} {
		t.Run(what, func(t *testing.T) {
			net := newNet(t)
			net.publish(f.name, data, c.listed, c.asc)
			to := t.TempDir()
			r, err := net.fetch(t, FetchOptions{Version: "1.28.1", Source: FromGoDev, Table: c.table, Signer: k.signer(), To: to})
			got := dirNames(t, to)
			if err != nil {
				wantError(t, err, c.want)
				if slices.Contains(got, f.name.String()) {
					t.Error("the archive is there although it was refused")
				}
				return
			}
			if !strings.HasPrefix(r.Files[0].Evidence, c.want) || r.Files[0].Source != FromGoDev || !slices.Contains(got, f.name.String()) {
				t.Errorf("fetched %+v: %v; want %q", r, got, c.want)
			}
		})
	}
}

func TestFetchNamesWhatThereIs(t *testing.T) {
	net := newNet(t)
	f := newFake("1.26.8", amd64)
	net.publish(f.name, nil, strings.Repeat("a", 64), nil)
	riscv := spec.Platform{OS: "linux", Arch: "riscv64"}
	_, err := net.fetch(t, FetchOptions{Version: "1.26.8", Source: FromGoDev, Platforms: []spec.Platform{riscv}})
	wantError(t, err, "go1.26.8 was not released for linux/riscv64; it was for linux/amd64")
	_, err = net.fetch(t, FetchOptions{Version: "1.26.99", Source: FromGoDev})
	wantError(t, err, "there is no release go1.26.99")
	_, err = net.fetch(t, FetchOptions{Version: "1.20.3", Source: FromProxy})
	wantError(t, err, "go1.20.3 is no module")

	asked := len(net.asked)
	_, err = net.fetch(t, FetchOptions{Version: "1.20.3", Platforms: []spec.Platform{riscv}, Table: BuiltinTable()})
	wantError(t, err, "go1.20.3 was not released for linux/riscv64; it was for linux/386")
	if len(net.asked) != asked {
		t.Error("the network was asked for a release that never was")
	}
}

// Without go.dev, the proxy; with mirrors, the first that has the file.
func TestFetchTriesSourcesInOrder(t *testing.T) {
	net := newNet(t)
	net.release(t, newFake("1.26.8", amd64))
	r, err := net.fetch(t, FetchOptions{Version: "1.26.8"})
	must(t, err)
	if r.Files[0].Source != FromProxy {
		t.Errorf("fetched from %s", r.Files[0].Source)
	}

	f := newFake("1.26.9", amd64)
	file := f.official(t, t.TempDir())
	data, err := os.ReadFile(file)
	must(t, err)
	net.publish(f.name, data, sumOf(t, file), nil)
	net.files["/good/"+f.name.String()] = data
	table := Table{f.name.String(): sumOf(t, file)}
	mirrors := []string{net.URL + "/none", net.URL + "/good/"}
	r, err = net.fetch(t, FetchOptions{Version: "1.26.9", Mirrors: mirrors, Table: table})
	must(t, err)
	if r.Files[0].Source != FromGoDev || !slices.Contains(net.asked, "/none/"+f.name.String()) || slices.Contains(net.asked, "/dl/"+f.name.String()) {
		t.Errorf("fetched %+v; asked for %v", r, net.asked)
	}

	// A mirror that gives something else ends it: no other source is tried.
	net.files["/bad/"+f.name.String()] = append(bytes.Clone(data), 'x')
	_, err = net.fetch(t, FetchOptions{Version: "1.26.9", Mirrors: []string{net.URL + "/bad", net.URL + "/good"}, Table: table})
	wantRefused(t, err, "it has sha256", "not the official file")
}

// A mirror serves where go.dev cannot be reached, as far as the table knows.
func TestMirrorWithoutGoDev(t *testing.T) {
	net := newNet(t)
	f := newFake("1.26.9", amd64)
	file := f.official(t, t.TempDir())
	data, err := os.ReadFile(file)
	must(t, err)
	net.files["/mirror/"+f.name.String()] = data
	o := FetchOptions{Version: "1.26.9", Source: FromGoDev, Mirrors: []string{net.URL + "/mirror"}, Table: Table{f.name.String(): sumOf(t, file)}}
	_, err = net.fetch(t, o)
	must(t, err)
	o.Table = Table{}
	_, err = net.fetch(t, o)
	wantError(t, err, "the list is empty")
}

// A download that broke goes on where it ended, in the same run and in the
// next one, and starts over when the file has become another.
func TestFetchResumes(t *testing.T) {
	net := newNet(t)
	f := newFake("1.26.8", amd64)
	file := f.official(t, t.TempDir())
	data, err := os.ReadFile(file)
	must(t, err)
	net.publish(f.name, data, sumOf(t, file), nil)
	url := "/dl/" + f.name.String()
	net.breakAt[url] = 1500
	o := FetchOptions{Version: "1.26.8", Source: FromGoDev, To: t.TempDir(), Table: Table{f.name.String(): sumOf(t, file)}}
	_, err = net.fetch(t, o)
	must(t, err)
	if !slices.Contains(net.asked, url+" bytes=1500-") {
		t.Errorf("asked for %v", net.asked)
	}

	o.To = t.TempDir()
	part := filepath.Join(o.To, staging, f.name.String(), f.name.String()+".part")
	must(t, os.MkdirAll(filepath.Dir(part), 0o755))
	must(t, os.WriteFile(part, []byte("of another file"), 0o644))
	must(t, os.WriteFile(part+".tag", []byte(`"other"`), 0o644))
	_, err = net.fetch(t, o)
	must(t, err)
	if got := dirNames(t, o.To); !slices.Equal(got, []string{f.name.String()}) {
		t.Errorf("the directory has %v", got)
	}
}

// The real thing, through the GOPROXY of this machine: a toolchain of which
// the go command itself says what hash it has.
func TestFetchRealToolchain(t *testing.T) {
	env, err := exec.Command("go", "env", "GOPROXY").Output()
	must(t, err)
	dir := testCache(t)
	r, err := Fetch(t.Context(), FetchOptions{
		Version: "1.26.8", Platforms: []spec.Platform{amd64}, Source: FromProxy,
		To: dir, CacheDir: filepath.Join(dir, "cache"), Proxy: strings.TrimSpace(string(env)),
	})
	must(t, err)
	const h1 = "h1:ZOmGe1OnfREDMIdb1Qi4G9JSuDPBLGExZMQ4nis1RXM=" // go.sum's
	if !strings.Contains(r.Files[0].Evidence, h1) {
		t.Errorf("evidence is %s", r.Files[0].Evidence)
	}
	v, err := Verify(t.Context(), r.Files[0].Path, Options{CacheDir: filepath.Join(dir, "cache")})
	must(t, err)
	if !v.Verdict.Accepted || v.Verdict.By != SumDB {
		t.Errorf("%v", v)
	}
}

// testCache is where large downloads of tests stay, for all tests that want
// them: GOFLEET_TEST_CACHE, else the user's cache directory.
func testCache(t testing.TB) string {
	t.Helper()
	dir := os.Getenv("GOFLEET_TEST_CACHE")
	if dir == "" {
		base, err := os.UserCacheDir()
		must(t, err)
		dir = filepath.Join(base, "gofleet-test")
	}
	must(t, os.MkdirAll(filepath.Join(dir, "cache"), 0o700))
	return dir
}
