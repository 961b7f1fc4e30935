package mirror

import (
	"archive/tar"
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/klauspost/compress/gzip"

	"github.com/gofleet/gofleet/controller/internal/bundle"
	"github.com/gofleet/gofleet/controller/internal/minisign"
	"github.com/gofleet/gofleet/controller/internal/release"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// goFiles are a Go release in miniature, by path without go/.
var goFiles = map[string]string{
	"VERSION":                      "go1.26.8\ntime 2026-08-04T20:03:33Z\n",
	"bin/go":                       elf("go"),
	"bin/gofmt":                    elf("gofmt"),
	"pkg/tool/linux_amd64/asm":     elf("asm"),
	"pkg/tool/linux_amd64/link":    elf("link"),
	"pkg/tool/linux_amd64/compile": elf("compile"),
	"src/go.mod":                   "module std\n",
	"src/cmd/main.go":              "package main\n",
	"src/runtime/proc.go":          "package runtime\n",
	"test/run.go":                  "package main\n",
}

// elf is the head of a program for amd64.
func elf(text string) string {
	return "\x7fELF\x02\x01\x01" + strings.Repeat("\x00", 9) + "\x02\x00\x3e\x00" + strings.Repeat("\x00", 60) + text
}

func archive(t testing.TB) string {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for _, d := range []string{"", "bin/", "pkg/", "pkg/tool/", "pkg/tool/linux_amd64/", "src/", "src/cmd/", "src/runtime/", "test/"} {
		must(t, w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: "go/" + d, Mode: 0o755}))
	}
	for _, p := range slices.Sorted(maps.Keys(goFiles)) {
		mode := int64(0o644)
		if strings.HasPrefix(p, "bin/") || strings.HasPrefix(p, "pkg/tool/") {
			mode = 0o755
		}
		must(t, w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "go/" + p, Mode: mode, Size: int64(len(goFiles[p]))}))
		_, err := io.WriteString(w, goFiles[p])
		must(t, err)
	}
	must(t, w.Close())
	must(t, z.Close())
	return b.String()
}

const archiveName = "go1.26.8.linux-amd64.tar.gz"

// content is what the bundle of a test holds.
func content(t testing.TB) map[string]string {
	const quote, tool = "modules/cache/download/rsc.io/quote/@v/", "modules/cache/download/corp.example/!tool/@v/"
	return map[string]string{
		"archives/" + archiveName:                                  archive(t),
		"archives/" + archiveName + ".asc":                         "signature\n",
		quote + "list":                                             "v1.5.2\nv1.6.0-pre\n",
		quote + "v1.5.2.info":                                      `{"Version":"v1.5.2"}`,
		quote + "v1.5.2.mod":                                       "module rsc.io/quote\n",
		quote + "v1.5.2.zip":                                       large,
		quote + "v1.6.0-pre.info":                                  `{"Version":"v1.6.0-pre"}`,
		quote + "v1.6.0-pre.mod":                                   "module rsc.io/quote\n",
		quote + "v1.6.0-pre.zip":                                   "zip",
		quote + "v1.9.0.info":                                      `{"Version":"v1.9.0"}`, // only its go.mod is there
		quote + "v1.9.0.mod":                                       "module rsc.io/quote\n",
		tool + "list":                                              "",
		tool + "v0.0.0-20170915032832-14c0d48ead0c.info":           `{"Version":"v0.0.0-20170915032832-14c0d48ead0c"}`,
		tool + "v0.0.0-20170915032832-14c0d48ead0c.mod":            "module corp.example/Tool\n",
		tool + "v0.0.0-20170915032832-14c0d48ead0c.zip":            "zip",
		"modules/cache/download/sumdb/sum.golang.org/supported":    "",
		"modules/cache/download/sumdb/sum.golang.org/tile/8/0/000": "\x00\x01",
	}
}

// large is more than is read whole, and does not compress.
var large = func() string {
	b := make([]byte, 2*maxSmall)
	x := uint64(88172645463325252)
	for i := range b {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		b[i] = byte(x)
	}
	return string(b)
}()

// site is a bundle that is served.
type site struct {
	*httptest.Server
	path   string
	server *Server
	log    *logged
}

// logged is a log that may be read meanwhile.
type logged struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// serve makes a bundle, a directory or a file, and serves it.
func serve(t testing.TB, directory bool, o Options) *site {
	t.Helper()
	key, err := minisign.Generate(rand.Reader)
	must(t, err)
	path := filepath.Join(t.TempDir(), "site.bundle")
	open := func() (*bundle.Writer, error) { return bundle.NewFileWriter(path, "0.1.0", 0) }
	if directory {
		open = func() (*bundle.Writer, error) { return bundle.NewDirWriter(path, "0.1.0") }
	}
	w, err := open()
	must(t, err)
	defer w.Close()
	files := content(t)
	for _, p := range slices.Sorted(maps.Keys(files)) {
		_, err := w.Add(t.Context(), bundle.BytesSource(p, 0o644, []byte(files[p])))
		must(t, err)
	}
	must(t, w.Finish(&key))
	trust := bundle.Trust{Keys: []minisign.PublicKey{key.Public()}}
	b, err := bundle.Open(path, bundle.Options{Trust: trust, Table: release.Table{}})
	must(t, err)
	t.Cleanup(func() { b.Close() })
	s := &site{path: path, log: &logged{}}
	o.CacheDir, o.Table, o.Log = filepath.Join(t.TempDir(), "cache"), release.Table{}, slog.New(slog.NewJSONHandler(s.log, nil))
	s.server, err = New(t.Context(), b, o)
	must(t, err)
	s.Server = httptest.NewServer(s.server)
	t.Cleanup(func() {
		s.Server.Close()
		s.server.Close()
	})
	return s
}

// get asks for a path, with headers as pairs.
func (s *site) get(t testing.TB, path string, headers ...string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequest(http.MethodGet, s.URL+path, nil)
	must(t, err)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	transport := http.Transport{DisableKeepAlives: true}
	resp, err := transport.RoundTrip(r) // follows no redirects
	must(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	must(t, err)
	return resp, string(body)
}

func sumOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// toolchainSum is the hash of the toolchain module that goFiles are.
func toolchainSum(version string) string {
	var lines []string
	for p, text := range goFiles {
		if !strings.HasPrefix(p, "test/") {
			p = strings.Replace(p, "src/go.mod", "src/_go.mod", 1)
			lines = append(lines, fmt.Sprintf("%s %s", toolchainModule+"@"+version+"/"+p, sumOf(text)))
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}
