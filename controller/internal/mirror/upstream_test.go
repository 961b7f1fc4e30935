package mirror

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

func upstreamOf(t testing.TB, pattern string, h http.HandlerFunc) Upstream {
	t.Helper()
	up := httptest.NewServer(h)
	t.Cleanup(up.Close)
	u, err := url.Parse(up.URL + "/api/go")
	must(t, err)
	return Upstream{pattern, u}
}

// Credentials go to the upstream whose pattern matches, and to nobody else.
func TestUpstream(t *testing.T) {
	asked := map[string][]string{}
	note := func(name string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			asked[name] = append(asked[name], r.RequestURI)
			for header := range r.Header {
				switch header {
				case "Accept-Encoding", "Authorization", "User-Agent", "Range":
				default:
					t.Errorf("%s got %s", name, header)
				}
			}
			switch user, password, _ := r.BasicAuth(); {
			case user+":"+password != "ann:secret":
				w.WriteHeader(http.StatusUnauthorized)
			case strings.HasSuffix(r.URL.Path, "/@latest"):
				w.Header().Set("Location", "/elsewhere")
				w.WriteHeader(http.StatusFound)
			default:
				w.Header().Set("Set-Cookie", "session=1")
				io.WriteString(w, name)
			}
		}
	}
	private := upstreamOf(t, "git.corp.example/*,corp.example/Priv", note("private"))
	other := upstreamOf(t, "other.example", note("other"))
	s := serve(t, true, Options{Upstreams: []Upstream{private, other}})
	credentials := []string{"Authorization", "Basic YW5uOnNlY3JldA==", "Cookie", "a=b", "X-Forwarded-For", "1.2.3.4", "Range", "bytes=0-"}
	for path, want := range map[string]string{
		"/git.corp.example/team/lib/@v/v1.0.0.zip": "private",
		"/corp.example/!priv/sub/@v/list":          "private",
		"/other.example/x/@v/list?token=1":         "other",
	} {
		resp, body := s.get(t, path, credentials...)
		if resp.StatusCode != 200 || body != want || resp.Header.Get("Set-Cookie") != "" {
			t.Errorf("%s: %s, %q, %v", path, resp.Status, body, resp.Header)
		}
	}
	if resp, _ := s.get(t, "/other.example/x/@v/list"); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("without credentials: %s", resp.Status)
	}
	resp, _ := s.get(t, "/other.example/x/@latest", credentials...)
	if to := resp.Header.Get("Location"); to != "http://"+other.URL.Host+"/elsewhere" {
		t.Errorf("redirected to %q", to)
	}
	for _, path := range []string{"/rsc.io/quote/@v/list", "/git.corp.example/@v/list", "/sumdb/sum.golang.org/lookup/git.corp.example/team/lib@v1.0.0"} {
		s.get(t, path, credentials...)
	}
	for _, path := range []string{"/other.example/x/@v/../../../secret", "/other.example/x/@v/v1.0.0.zip/..", "/other.example/x/@v/a%2fb.zip", "/other.example/../x/@v/list"} {
		if resp, _ := s.get(t, path, credentials...); resp.StatusCode != 404 {
			t.Errorf("%s: %s", path, resp.Status)
		}
	}
	if len(asked["private"]) != 2 || len(asked["other"]) != 3 {
		t.Errorf("asked %v", asked)
	}
	for _, uri := range append(asked["private"], asked["other"]...) {
		if !strings.HasPrefix(uri, "/api/go/") || strings.Contains(uri, "?") || strings.Contains(uri, "%") {
			t.Errorf("asked for %s", uri)
		}
	}
	if strings.Contains(s.log.String(), "YW5u") {
		t.Errorf("credentials are in the log:\n%s", s.log)
	}
}

func TestUpstreamThatIsDown(t *testing.T) {
	up := httptest.NewServer(http.NotFoundHandler())
	u, err := url.Parse(up.URL)
	must(t, err)
	up.Close()
	s := serve(t, true, Options{Upstreams: []Upstream{{"corp.example", u}}})
	resp, body := s.get(t, "/corp.example/x/@v/list")
	if resp.StatusCode != http.StatusBadGateway || strings.Contains(body, u.Host) {
		t.Errorf("%s: %s", resp.Status, body)
	}
	if !strings.Contains(s.log.String(), u.Host) {
		t.Errorf("the log does not say which:\n%s", s.log)
	}
}

func TestParseUpstream(t *testing.T) {
	u, err := ParseUpstream("git.corp/*,x.y=https://athens.corp:3000/go")
	must(t, err)
	if u.Pattern != "git.corp/*,x.y" || u.URL.String() != "https://athens.corp:3000/go" {
		t.Errorf("got %+v", u)
	}
	for text, want := range map[string]string{
		"https://athens.corp":           "not PATTERN=URL",
		"=https://athens.corp":          "not PATTERN=URL",
		"git.corp=athens.corp":          "not the http or https URL",
		"git.corp=ftp://athens.corp":    "not the http or https URL",
		"git.corp=https://":             "not the http or https URL",
		"git.corp=https://a?b=c":        "not the http or https URL",
		"git.corp=https://a:b@x.y":      "credentials",
		"git.corp,=https://athens.corp": "not a pattern",
		"git.[corp=https://athens.corp": "not a pattern",
		"git.corp=https://a%zz":         "no URL",
	} {
		if _, err := ParseUpstream(text); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "a:b") {
			t.Errorf("%s: %v", text, err)
		}
	}
}
