// Package mirror serves a bundle over HTTP to a whole site: as a GOPROXY with
// the checksum database behind it, toolchain modules included, and as a place
// for gofleet_archives to point at. Private modules are forwarded to upstreams.
//
// It asks nobody but those upstreams, and serves only bytes that were compared
// with the bundle's manifest: small files are compared again each time they
// are read; archives and module zips are served as long as the stamp (inode,
// size, ctime) of the file they lie in is the one that it had before the
// bundle was checked, which is looked at again before each piece is sent.
package mirror

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/mod/module"
	"golang.org/x/sync/singleflight"

	"github.com/gofleet/gofleet/controller/internal/bundle"
	"github.com/gofleet/gofleet/controller/internal/release"
)

// Options say what is served beside the bundle's content. The zero value of a
// field means its default.
type Options struct {
	Upstreams []Upstream        // the first whose pattern matches has the module
	Log       *slog.Logger      // access log and troubles; nobody
	Transport http.RoundTripper // to upstreams; one with time limits
	CacheDir  string            // release's; toolchain modules are kept there
	Table     release.Table     // release.BuiltinTable()
	Progress  release.Progress  // of the check at the start
}

// Server is an http.Handler. It may be used from several goroutines.
type Server struct {
	bundle     *bundle.Bundle
	stamps     map[string]release.Stamp // of the large files, before the check
	store      *release.Store
	toolchains map[string]release.Name // by version of the toolchain module
	latest     string                  // the newest of them
	upstreams  []upstream
	log        *slog.Logger
	metrics    *metrics
	changed    atomic.Bool // a file is not what it was

	flight singleflight.Group
	making sync.Mutex // one toolchain module at a time
}

// New checks every byte of the bundle, unless it was checked before and not
// touched since, and makes a Server of it. The bundle stays the caller's, who
// closes it after the Server.
func New(ctx context.Context, b *bundle.Bundle, o Options) (*Server, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	cache, err := release.CacheDir(o.CacheDir)
	if err != nil {
		return nil, err
	}
	s := &Server{bundle: b, stamps: map[string]release.Stamp{}, log: o.Log, metrics: newMetrics(b.List()), toolchains: map[string]release.Name{}}
	for _, f := range b.Files() {
		if small(f) {
			continue
		}
		if s.stamps[f.Path], err = b.Stamp(f.Path); err != nil {
			return nil, fmt.Errorf("serve %s: %w", b, err)
		}
	}
	if err := b.Check(ctx, bundle.CheckOptions{CacheDir: cache, Progress: o.Progress}); err != nil {
		return nil, err
	}
	if s.store, err = release.NewStore(release.Options{Bundle: b, CacheDir: cache, Table: o.Table}); err != nil {
		return nil, err
	}
	s.findToolchains()
	for _, u := range o.Upstreams {
		s.upstreams = append(s.upstreams, s.newUpstream(u, o.Transport))
	}
	return s, nil
}

// Close ends the use of the bundle. Requests must have ended.
func (s *Server) Close() error { return s.store.Close() }

// Limits of what clients may want. A GOPROXY's requests have no body, and go
// sends few and short headers.
const (
	maxHeader  = 16 << 10
	maxPath    = 2 << 10
	headerTime = 10 * time.Second
	idleTime   = 2 * time.Minute
	writeTime  = time.Minute // without any progress
	bodyTime   = 5 * time.Second
	graceTime  = 30 * time.Second
)

// Serve answers on the listener until the context ends. Requests under way
// then have half a minute to end. The error is nil after a clean end.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	h := &http.Server{
		Handler:           s,
		ReadHeaderTimeout: headerTime,
		IdleTimeout:       idleTime,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelWarn),
		// No ReadTimeout and WriteTimeout: a toolchain over a slow line takes
		// its time. See recorder.
	}
	ended := make(chan error, 1)
	go func() { ended <- h.Serve(l) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	s.log.Info("ending", "reason", "told to")
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), graceTime)
	defer cancel()
	err := h.Shutdown(grace)
	if errors.Is(err, context.DeadlineExceeded) {
		s.log.Warn("requests that did not end were cut off", "after", graceTime.String())
		err = h.Close()
	}
	<-ended
	return err
}

// ServeHTTP answers one request and writes it down.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rec := newRecorder(w)
	kind, handle := s.route(r)
	s.metrics.begin()
	defer func() {
		broken := recover() // http.ErrAbortHandler, most often
		if broken != nil && rec.err == nil {
			rec.err = fmt.Errorf("the answer broke off: %v", broken)
		}
		s.metrics.end(kind, rec)
		s.access(kind, rec, r)
		if broken != nil {
			panic(broken)
		}
	}()
	rec.Header().Set("X-Content-Type-Options", "nosniff")
	if r.ContentLength != 0 || kind == kindRefused {
		// net/http reads some of a body behind the handler's back.
		_ = rec.control.SetReadDeadline(time.Now().Add(bodyTime))
		rec.Header().Set("Connection", "close")
	}
	handle(rec, r)
}

// kind is what a request is about, for log and metrics.
type kind string

const (
	kindModule    kind = "module"
	kindToolchain kind = "toolchain"
	kindSumDB     kind = "sumdb"
	kindArchive   kind = "archive"
	kindUpstream  kind = "upstream"
	kindIndex     kind = "index"
	kindHealth    kind = "health"
	kindMetrics   kind = "metrics"
	kindRefused   kind = "refused"
)

type handler func(w *recorder, r *http.Request)

// route finds who answers. Paths are never cleaned or redirected: one that is
// not clean is not there.
func (s *Server) route(r *http.Request) (kind, handler) {
	p := r.URL.Path
	switch {
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		return kindRefused, func(w *recorder, _ *http.Request) {
			w.Header().Set("Allow", "GET, HEAD")
			w.say(http.StatusMethodNotAllowed, "only GET and HEAD")
		}
	case r.ContentLength != 0:
		return kindRefused, refuse(http.StatusBadRequest, "a request with a body")
	case len(p) > maxPath:
		return kindRefused, refuse(http.StatusRequestURITooLong, "the path is too long")
	case p == "/":
		return kindIndex, s.index
	case p == "/healthz":
		return kindHealth, s.health
	case p == "/metrics":
		return kindMetrics, s.showMetrics
	case p == "/archives", p == "/archives/":
		return kindIndex, s.archiveIndex
	case strings.HasPrefix(p, "/archives/"):
		return kindArchive, s.tree(bundle.ArchivesDir, strings.TrimPrefix(p, "/archives/"))
	case strings.HasPrefix(p, "/sumdb/"):
		return kindSumDB, s.tree(bundle.ModulesDir, strings.TrimPrefix(p, "/"))
	}
	return s.routeModule(strings.TrimPrefix(p, "/"))
}

func refuse(code int, text string) handler {
	return func(w *recorder, _ *http.Request) { w.say(code, text) }
}

// latest stands for the file that is not below @v.
const latest = "@latest"

// routeModule is route for the paths of the GOPROXY protocol:
// <module>/@v/list, <module>/@v/<version>.info, .mod and .zip, <module>/@latest.
func (s *Server) routeModule(p string) (kind, handler) {
	escaped, file, ok := strings.Cut(p, "/@v/")
	if !ok {
		if escaped, ok = strings.CutSuffix(p, "/"+latest); !ok {
			return kindRefused, refuse(http.StatusNotFound, "not found: no path of a Go module proxy")
		}
		file = latest
	}
	name, err := module.UnescapePath(escaped)
	if err != nil {
		return kindRefused, refuse(http.StatusNotFound, "not found: no path of a module")
	}
	if file != latest && file != "list" && !versioned(file) {
		return kindRefused, refuse(http.StatusNotFound, "not found: no file of a module")
	}
	for _, u := range s.upstreams {
		if module.MatchPrefixPatterns(u.Pattern, name) {
			return kindUpstream, u.forward
		}
	}
	switch {
	case name == toolchainModule:
		return kindToolchain, s.toolchain(p, file)
	case file == latest:
		return kindModule, s.latestOf(escaped)
	}
	return kindModule, s.tree(bundle.ModulesDir, p)
}

// versioned tells whether it can be the name of a version's file.
func versioned(file string) bool {
	ext := path.Ext(file)
	if ext != ".info" && ext != ".mod" && ext != ".zip" {
		return false
	}
	_, err := module.UnescapeVersion(strings.TrimSuffix(file, ext))
	return err == nil
}

// health says whether everything is still as it was checked.
func (s *Server) health(w *recorder, _ *http.Request) {
	if s.changed.Load() {
		w.say(http.StatusServiceUnavailable, "the bundle was changed after it was checked: see the log, then start again")
		return
	}
	w.say(http.StatusOK, "ok")
}
