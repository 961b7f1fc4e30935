package mirror

import (
	"archive/zip"
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/gofleet/gofleet/agent/spec"
	"github.com/gofleet/gofleet/controller/internal/release"
)

func TestProxyAndArchives(t *testing.T) {
	s := serve(t, false, Options{})
	files := content(t)
	const quote = "/rsc.io/quote/@v/"
	for path, want := range map[string]struct {
		code int
		kind string
		body string // "" is any
	}{
		quote + "list":                          {200, "text/plain; charset=utf-8", "v1.5.2\nv1.6.0-pre\n"},
		quote + "v1.5.2.info":                   {200, "application/json", `{"Version":"v1.5.2"}`},
		quote + "v1.5.2.mod":                    {200, "text/plain; charset=utf-8", "module rsc.io/quote\n"},
		quote + "v1.5.2.zip":                    {200, "application/zip", large},
		quote + "v1.9.0.zip":                    {404, "text/plain; charset=utf-8", ""},
		quote + "v1.9.0":                        {404, "text/plain; charset=utf-8", ""},
		quote + "v1.5.2.zip/":                   {404, "text/plain; charset=utf-8", ""},
		quote:                                   {404, "text/plain; charset=utf-8", ""},
		"/rsc.io/quote/@latest":                 {200, "application/json", `{"Version":"v1.5.2"}`},
		"/rsc.io/none/@latest":                  {404, "text/plain; charset=utf-8", ""},
		"/rsc.io/none/@v/list":                  {404, "text/plain; charset=utf-8", ""},
		"/corp.example/!tool/@latest":           {200, "application/json", `{"Version":"v0.0.0-20170915032832-14c0d48ead0c"}`},
		"/corp.example/Tool/@latest":            {404, "text/plain; charset=utf-8", ""},
		"/sumdb/sum.golang.org/supported":       {200, "text/plain; charset=utf-8", ""},
		"/sumdb/sum.golang.org/tile/8/0/000":    {200, "application/octet-stream", "\x00\x01"},
		"/sumdb/sum.golang.org/lookup/x@v1.0.0": {404, "text/plain; charset=utf-8", ""},
		"/archives/" + archiveName:              {200, "application/gzip", files["archives/"+archiveName]},
		"/archives/" + archiveName + ".asc":     {200, "text/plain; charset=utf-8", "signature\n"},
		"/archives/manifest":                    {404, "text/plain; charset=utf-8", ""},
		"/archives/":                            {200, "text/html; charset=utf-8", ""},
		"/":                                     {200, "text/html; charset=utf-8", ""},
		"/healthz":                              {200, "text/plain; charset=utf-8", "ok\n"},
		"/manifest":                             {404, "text/plain; charset=utf-8", ""},
		"/modules/cache/download" + quote[:5]:   {404, "text/plain; charset=utf-8", ""},
	} {
		resp, body := s.get(t, path)
		if resp.StatusCode != want.code || resp.Header.Get("Content-Type") != want.kind || want.body != "" && body != want.body {
			t.Errorf("%s: %s, %s, %d bytes: %.60q", path, resp.Status, resp.Header.Get("Content-Type"), len(body), body)
		}
		if resp.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: the type may be guessed", path)
		}
	}
	_, index := s.get(t, "/")
	if !strings.Contains(index, sumOf(files["archives/"+archiveName])) || !strings.Contains(index, "rsc.io/quote") {
		t.Errorf("the index does not list everything:\n%s", index)
	}
}

func TestRangesAndTags(t *testing.T) {
	s := serve(t, true, Options{})
	text := content(t)["archives/"+archiveName]
	tag := `"` + sumOf(text) + `"`
	resp, body := s.get(t, "/archives/"+archiveName, "Range", "bytes=10-19", "If-Range", tag)
	if resp.StatusCode != http.StatusPartialContent || body != text[10:20] || resp.Header.Get("ETag") != tag {
		t.Errorf("%s, %q, %s", resp.Status, body, resp.Header.Get("ETag"))
	}
	if resp, body = s.get(t, "/archives/"+archiveName, "Range", "bytes=10-19", "If-Range", `"other"`); resp.StatusCode != 200 || body != text {
		t.Errorf("a range of something else: %s", resp.Status)
	}
	if resp, _ = s.get(t, "/archives/"+archiveName, "If-None-Match", tag); resp.StatusCode != http.StatusNotModified {
		t.Errorf("what the client has is sent again: %s", resp.Status)
	}
	if resp, body = s.get(t, "/rsc.io/quote/@v/v1.5.2.zip", "Range", "bytes=-7"); body != large[len(large)-7:] {
		t.Errorf("the end of a zip: %s", resp.Status)
	}
	resp, err := http.Head(s.URL + "/rsc.io/quote/@v/v1.5.2.zip")
	must(t, err)
	resp.Body.Close()
	if resp.StatusCode != 200 || resp.ContentLength != int64(len(large)) {
		t.Errorf("HEAD: %s, %d", resp.Status, resp.ContentLength)
	}
}

// What gofleet_archives takes is there.
func TestArchivesForGofleet(t *testing.T) {
	s := serve(t, false, Options{})
	linux := spec.Platform{OS: "linux", Arch: "amd64"}
	sum := sumOf(content(t)["archives/"+archiveName])
	store, err := release.NewStore(release.Options{
		Location: s.URL + "/archives", CacheDir: filepath.Join(t.TempDir(), "cache"), Table: release.Table{archiveName: sum},
	})
	must(t, err)
	defer store.Close()
	a, err := store.Open(t.Context(), "1.26.8", linux)
	must(t, err)
	if a.SHA256() != sum {
		t.Errorf("got %s", a.SHA256())
	}
	var missing *release.MissingError
	if _, err := store.Open(t.Context(), "1.26.9", linux); !errors.As(err, &missing) {
		t.Errorf("what is not there: %v", err)
	}
}

func TestToolchain(t *testing.T) {
	const version = "v0.0.1-go1.26.8.linux-amd64"
	const at = "/golang.org/toolchain/@v/" + version
	s := serve(t, false, Options{})
	for path, want := range map[string]string{
		"/golang.org/toolchain/@v/list": version + "\n",
		"/golang.org/toolchain/@latest": `{"Version":"` + version + `"}`,
		at + ".info":                    `{"Version":"` + version + `"}`,
		at + ".mod":                     "module golang.org/toolchain\n",
	} {
		if resp, body := s.get(t, path); resp.StatusCode != 200 || body != want {
			t.Errorf("%s: %s, %q", path, resp.Status, body)
		}
	}
	for _, path := range []string{"/golang.org/toolchain/@v/v0.0.1-go1.26.9.linux-amd64.zip", at + ".tar", at} {
		if resp, _ := s.get(t, path); resp.StatusCode != 404 {
			t.Errorf("%s: %s", path, resp.Status)
		}
	}
	var bodies [4]string
	var group sync.WaitGroup
	for i := range bodies {
		group.Go(func() { _, bodies[i] = s.get(t, at+".zip") })
	}
	group.Wait()
	for _, body := range bodies {
		if body != bodies[0] {
			t.Error("not the same bytes for everybody")
		}
	}
	if n := s.server.metrics.toolchains.Load(); n != 1 {
		t.Errorf("made %d times", n)
	}
	if _, other := serve(t, true, Options{}).get(t, at+".zip"); other != bodies[0] {
		t.Error("another server makes other bytes of the same archive")
	}
	resp, part := s.get(t, at+".zip", "Range", "bytes=4-9")
	if part != bodies[0][4:10] || resp.Header.Get("ETag") != `"`+sumOf(bodies[0])+`"` {
		t.Errorf("a range: %s, %q", resp.Status, part)
	}
	z, err := zip.NewReader(strings.NewReader(bodies[0]), int64(len(bodies[0])))
	must(t, err)
	var lines []string
	for _, f := range z.File {
		r, err := f.Open()
		must(t, err)
		text, err := io.ReadAll(r)
		must(t, err)
		lines = append(lines, fmt.Sprintf("%s %s", f.Name, sumOf(string(text))))
	}
	slices.Sort(lines)
	if got, want := strings.Join(lines, "\n"), toolchainSum(version); got != want {
		t.Errorf("the module has\n%s\nwant\n%s", got, want)
	}
}

func TestRefusals(t *testing.T) {
	s := serve(t, true, Options{})
	for request, want := range map[string]string{
		"POST / HTTP/1.1\r\nContent-Length: 3\r\n":                       "405",
		"PUT /rsc.io/quote/@v/list HTTP/1.1\r\nContent-Length: 3\r\n":    "405",
		"DELETE / HTTP/1.1\r\n":                                          "405",
		"GET / HTTP/1.1\r\nContent-Length: 3\r\n":                        "400",
		"GET /archives/../manifest HTTP/1.1\r\n":                         "404",
		"GET /archives/%2e%2e/manifest HTTP/1.1\r\n":                     "404",
		"GET /archives/..%2fmanifest HTTP/1.1\r\n":                       "404",
		"GET /archives//etc/passwd HTTP/1.1\r\n":                         "404",
		"GET /sumdb/../rsc.io/quote/@v/list HTTP/1.1\r\n":                "404",
		"GET //rsc.io/quote/@v/list HTTP/1.1\r\n":                        "404",
		"GET /rsc.io/../rsc.io/quote/@v/list HTTP/1.1\r\n":               "404",
		"GET /" + strings.Repeat("a", maxPath) + " HTTP/1.1\r\n":         "414",
		"GET / HTTP/1.1\r\nX: " + strings.Repeat("a", 2<<20) + "\r\n":    "431",
		"GET /rsc.io/quote/@v/v1.5.2.zip?x=../../y HTTP/1.1\r\n":         "200",
		"GET http://elsewhere.example/rsc.io/quote/@v/list HTTP/1.1\r\n": "200", // it is no proxy: its own is given
	} {
		c, err := net.Dial("tcp", s.Listener.Addr().String())
		must(t, err)
		go io.WriteString(c, request+"Host: mirror\r\nConnection: close\r\n\r\n") // it may be cut off
		line, err := bufio.NewReader(c).ReadString('\n')
		c.Close()
		if err != nil || !strings.HasPrefix(line, "HTTP/1.1 "+want) {
			t.Errorf("%.80q: %q, %v", request, line, err)
		}
	}
}

// What was changed after the check is not served, and health tells.
func TestChangedAfterTheCheck(t *testing.T) {
	for _, directory := range []bool{true, false} {
		for _, file := range []string{"archives/" + archiveName, "modules/cache/download/rsc.io/quote/@v/v1.5.2.zip"} {
			t.Run(fmt.Sprint(directory, filepath.Base(file)), func(t *testing.T) {
				s := serve(t, directory, Options{})
				flip(t, s.path, filepath.FromSlash(file), content(t)[file])
				path := strings.TrimPrefix("/"+file, "/modules/cache/download")
				resp, body := s.get(t, path)
				if resp.StatusCode != 503 || strings.Contains(body, s.path) || resp.Header.Get("ETag") != "" {
					t.Errorf("%s, %.100q", resp.Status, body)
				}
				if resp, _ := s.get(t, "/healthz"); resp.StatusCode != 503 {
					t.Errorf("health: %s", resp.Status)
				}
				if !strings.Contains(s.log.String(), `"level":"ERROR"`) || !strings.Contains(s.log.String(), file) {
					t.Errorf("the log says\n%s", s.log)
				}
			})
		}
	}
}

// flip changes a byte of a file of a bundle.
func flip(t *testing.T, path, file, text string) {
	t.Helper()
	if st, err := os.Stat(path); err == nil && st.IsDir() {
		path = filepath.Join(path, file)
	}
	data, err := os.ReadFile(path)
	must(t, err)
	at := bytes.Index(data, []byte(text[100:120]))
	if at < 0 {
		t.Fatal("the file is not in the bundle")
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	must(t, err)
	_, err = f.WriteAt([]byte{data[at] ^ 1}, int64(at))
	must(t, err)
	must(t, f.Close())
}

// A change while a file is sent ends the answer before what was changed.
func TestChangedMeanwhile(t *testing.T) {
	s := serve(t, true, Options{})
	left := 3
	g := guard{guarded{strings.NewReader(large), func() error {
		if left--; left < 0 {
			return errors.New("changed")
		}
		return nil
	}}, s.server, &recorder{}}
	n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, g, make([]byte, 1000))
	if n != 3000 || err == nil || g.w.err == nil || !s.server.changed.Load() {
		t.Errorf("%d bytes, %v", n, err)
	}
}

func TestMetricsAndLog(t *testing.T) {
	s := serve(t, true, Options{})
	s.get(t, "/rsc.io/quote/@v/list?token=hidden", "User-Agent", "x\ty"+strings.Repeat("z", 500), "Authorization", "Basic hidden")
	s.get(t, "/rsc.io/none%0a%22evil/@v/list")
	s.get(t, "/rsc.io/none"+strings.Repeat("e", 1000)+"/@v/list")
	_, text := s.get(t, "/metrics")
	for _, want := range []string{
		"# TYPE gofleet_mirror_requests_total counter\n",
		`gofleet_mirror_requests_total{kind="module",code="200"} 1` + "\n",
		`gofleet_mirror_requests_total{kind="module",code="404"} 1` + "\n",
		`gofleet_mirror_requests_total{kind="refused",code="404"} 1` + "\n",
		`gofleet_mirror_response_bytes_total{kind="module"} `,
		"gofleet_mirror_bundle_archives 1\n", "gofleet_mirror_bundle_modules 3\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	lines := strings.Split(strings.TrimSpace(s.log.String()), "\n")
	for _, line := range lines {
		if len(line) > 900 || strings.Contains(line, "hidden") {
			t.Errorf("the log has %q", line)
		}
	}
	if len(lines) != 4 || !strings.Contains(lines[1], `none\n\"evil`) {
		t.Errorf("the log is\n%s", s.log)
	}
}

// A request under way is answered before the server ends.
func TestEnd(t *testing.T) {
	asked, answer := make(chan bool), make(chan bool)
	up := upstreamOf(t, "corp.example", func(w http.ResponseWriter, _ *http.Request) {
		asked <- true
		<-answer
		io.WriteString(w, "v1.0.0\n")
	})
	s := serve(t, true, Options{Upstreams: []Upstream{up}})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ended, got := make(chan error, 1), make(chan string, 1)
	go func() { ended <- s.server.Serve(ctx, l) }()
	go func() {
		resp, err := http.Get("http://" + l.Addr().String() + "/corp.example/x/@v/list")
		if err != nil {
			got <- err.Error()
			return
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		got <- string(body)
	}()
	<-asked
	cancel()
	for { // until it takes no more
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			break
		}
		c.Close()
	}
	close(answer)
	if body := <-got; body != "v1.0.0\n" {
		t.Errorf("the last answer is %q", body)
	}
	must(t, <-ended)
}
