package mirror

import (
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"path"
	"strings"
	"time"
)

// Upstream is a GOPROXY that has the modules which match a pattern.
type Upstream struct {
	Pattern string // globs with commas between them, as in GOPRIVATE
	URL     *url.URL
}

// ParseUpstream reads PATTERN=URL.
func ParseUpstream(text string) (Upstream, error) {
	pattern, address, ok := strings.Cut(text, "=")
	if !ok || pattern == "" {
		return Upstream{}, fmt.Errorf("%q is not PATTERN=URL", text)
	}
	for glob := range strings.SplitSeq(pattern, ",") {
		if _, err := path.Match(glob, ""); err != nil || glob == "" {
			return Upstream{}, fmt.Errorf("%q is not a pattern of module paths", pattern)
		}
	}
	u, err := url.Parse(address)
	switch {
	case err != nil:
		return Upstream{}, fmt.Errorf("the upstream of %s has no URL that can be read", pattern)
	case u.User != nil:
		return Upstream{}, fmt.Errorf("the upstream of %s has credentials in its URL; those of the clients are passed on", pattern)
	case u.Scheme != "http" && u.Scheme != "https", u.Host == "", u.RawQuery != "", u.Fragment != "":
		return Upstream{}, fmt.Errorf("%q is not the http or https URL of a GOPROXY", address)
	}
	return Upstream{pattern, u}, nil
}

// passedOn are the headers of a client that an upstream sees: its credentials
// too, which nobody else does.
var passedOn = []string{"Accept", "Authorization", "If-Modified-Since", "If-None-Match", "If-Range", "Range", "User-Agent"}

type upstream struct {
	Upstream
	proxy *httputil.ReverseProxy
}

func (u *upstream) forward(w *recorder, r *http.Request) { u.proxy.ServeHTTP(w, r) }

func (s *Server) newUpstream(u Upstream, transport http.RoundTripper) upstream {
	if transport == nil {
		transport = newTransport()
	}
	return upstream{u, &httputil.ReverseProxy{
		Transport: transport,
		Rewrite: func(p *httputil.ProxyRequest) {
			p.Out.Host = ""
			p.Out.URL = below(u.URL, p.In.URL)
			p.Out.Header = http.Header{}
			for _, name := range passedOn {
				if v := p.In.Header.Values(name); len(v) > 0 {
					p.Out.Header[name] = v
				}
			}
		},
		ModifyResponse: func(r *http.Response) error {
			r.Header.Del("Set-Cookie")
			if to, err := r.Location(); err == nil { // relative to the upstream, not to here
				r.Header.Set("Location", to.String())
			}
			return nil
		},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			w.(*recorder).fail(http.StatusBadGateway, "the upstream of this module does not answer: see the mirror's log",
				fmt.Errorf("upstream %s: %w", u.URL.Redacted(), err))
		},
		ErrorLog: log.New(io.Discard, "", 0), // what broke off is in the access log
	}}
}

// below is the address below base that a path stands for, escaped as the
// client has escaped it.
func below(base, p *url.URL) *url.URL {
	u := *base
	u.Path = strings.TrimSuffix(base.Path, "/") + p.Path
	u.RawPath = strings.TrimSuffix(base.EscapedPath(), "/") + p.EscapedPath()
	return &u
}

func newTransport() http.RoundTripper {
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
		ForceAttemptHTTP2:     true,
		TLSHandshakeTimeout:   10 * time.Second,
		ResponseHeaderTimeout: 2 * time.Minute, // it may have to clone first
		IdleConnTimeout:       time.Minute,
		MaxIdleConnsPerHost:   16,
		DisableCompression:    true, // zips pass as they are
	}
}
