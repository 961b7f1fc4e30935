package release

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/sumdb"
	"golang.org/x/mod/sumdb/note"
)

// fakeLog is a checksum database of our own that knows some releases.
type fakeLog struct {
	key  string // for verifying
	skey string
	http http.Handler
	test *sumdb.TestServer
	sums map[string]string // module version to h1
}

func newLog(t testing.TB) *fakeLog {
	t.Helper()
	skey, vkey, err := note.GenerateKey(rand.Reader, "log.example.org")
	must(t, err)
	l := &fakeLog{key: vkey, skey: skey}
	l.start()
	return l
}

// start begins a new history under the same key.
func (l *fakeLog) start() {
	l.sums = map[string]string{}
	l.test = sumdb.NewTestServer(l.skey, func(path, vers string) ([]byte, error) {
		h1 := l.sums[vers]
		if h1 == "" {
			h1 = "h1:" + strings.Repeat("A", 43) + "="
		}
		return fmt.Appendf(nil, "%s %s %s\n%s %s/go.mod %s\n", path, vers, h1, path, vers, h1), nil
	})
	l.http = sumdb.NewServer(l.test)
}

// grow adds records of other modules.
func (l *fakeLog) grow(t testing.TB, n int, name string) {
	t.Helper()
	for i := range n {
		_, err := l.test.Lookup(context.Background(), moduleOf(fmt.Sprintf("example.org/%s%d", name, i), "v1.0.0"))
		must(t, err)
	}
}

// fakeNet is the connected side in one server: a GOPROXY under /proxy, with a
// checksum database, and go.dev under /dl.
type fakeNet struct {
	*httptest.Server
	log      *fakeLog
	mu       sync.Mutex
	files    map[string][]byte // by URL path
	releases []goRelease
	breakAt  map[string]int // answers to this path end after so many bytes, once
	asked    []string       // "path" or "path range"
}

func newNet(t testing.TB) *fakeNet {
	n := &fakeNet{log: newLog(t), files: map[string][]byte{}, breakAt: map[string]int{}}
	n.Server = httptest.NewServer(n)
	t.Cleanup(n.Close)
	return n
}

func (n *fakeNet) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.asked = append(n.asked, strings.TrimSpace(r.URL.Path+" "+r.Header.Get("Range")))
	if rest, ok := strings.CutPrefix(r.URL.Path, "/proxy/sumdb/log.example.org"); ok {
		if rest == "/supported" {
			return
		}
		r.URL.Path = rest
		n.log.http.ServeHTTP(w, r)
		return
	}
	if r.URL.Path == "/dl/" && r.URL.Query().Get("mode") == "json" {
		json.NewEncoder(w).Encode(n.releases)
		return
	}
	data, ok := n.files[r.URL.Path]
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("ETag", fmt.Sprintf(`"%x"`, len(data)))
	if at, ok := n.breakAt[r.URL.Path]; ok {
		delete(n.breakAt, r.URL.Path)
		w.Header().Set("Content-Length", fmt.Sprint(len(data)))
		w.Write(data[:min(at, len(data))])
		http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
	http.ServeContent(w, r, path.Base(r.URL.Path), time.Time{}, bytes.NewReader(data))
}

// release puts a release on the proxy and into the log.
func (n *fakeNet) release(t testing.TB, f fakeRelease) {
	t.Helper()
	mod := f.name.moduleVersion()
	n.log.sums[mod] = f.h1(t)
	n.files["/proxy/golang.org/toolchain/@v/"+mod+".zip"] = f.moduleZip(t)
	list := "/proxy/golang.org/toolchain/@v/list"
	n.files[list] = append(n.files[list], mod+"\n"...)
}

// publish puts official files on go.dev.
func (n *fakeNet) publish(name Name, archive []byte, sum string, asc []byte) {
	n.files["/dl/"+name.String()] = archive
	if asc != nil {
		n.files["/dl/"+name.String()+".asc"] = asc
	}
	n.releases = append(n.releases, goRelease{"go" + name.Version, []goFile{{name.String(), sum, "archive"}}})
}

// fetch asks this network for releases.
func (n *fakeNet) fetch(t testing.TB, o FetchOptions) (FetchResult, error) {
	t.Helper()
	if o.To == "" {
		o.To = t.TempDir()
	}
	if o.CacheDir == "" {
		o.CacheDir = t.TempDir()
	}
	if o.Platforms == nil {
		o.Platforms = append(o.Platforms, amd64)
	}
	if o.Table == nil {
		o.Table = Table{}
	}
	o.GoDev, o.Proxy = n.URL+"/dl", n.URL+"/proxy,direct"
	o.SumDB, o.SumDBURL = n.log.key, n.URL+"/nowhere"
	return Fetch(t.Context(), o)
}
