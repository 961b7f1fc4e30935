package mirror

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"time"

	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"

	"github.com/gofleet/gofleet/controller/internal/bundle"
	"github.com/gofleet/gofleet/controller/internal/release"
)

// maxSmall is how long a file may be that is read and compared whole for each
// request.
const maxSmall = 256 << 10

// small tells whether a file is read whole. What is packed has to be.
func small(f bundle.File) bool { return f.Size <= maxSmall || f.Packed != nil }

// tree serves a file below a directory of the bundle.
func (s *Server) tree(dir, name string) handler {
	return func(w *recorder, r *http.Request) {
		file := dir + "/" + name
		if !fs.ValidPath(name) {
			w.say(http.StatusNotFound, "not found: no clean path")
			return
		}
		f, ok := s.bundle.Lookup(file)
		if !ok {
			w.say(http.StatusNotFound, "not found: it is not in the bundle that is served here")
			return
		}
		s.file(w, r, f)
	}
}

// file serves a file of the bundle, in ranges too.
func (s *Server) file(w *recorder, r *http.Request, f bundle.File) {
	h := w.Header()
	h.Set("Content-Type", contentType(f.Path))
	h.Set("ETag", `"`+f.SHA256+`"`)
	if small(f) {
		data, err := s.bundle.ReadFile(f.Path)
		if err != nil {
			s.spoiled(w, err)
			return
		}
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
		return
	}
	opened, err := s.bundle.Open(f.Path)
	if err != nil {
		s.spoiled(w, err)
		return
	}
	defer opened.Close()
	g := guarded{opened.(io.ReadSeeker), func() error { return s.unchanged(f.Path) }}
	if err := g.same(); err != nil {
		s.spoiled(w, err)
		return
	}
	http.ServeContent(w, r, "", time.Time{}, guard{g, s, w})
}

// unchanged says why a large file cannot be what was checked.
func (s *Server) unchanged(file string) error {
	now, err := s.bundle.Stamp(file)
	if err == nil && now != s.stamps[file] {
		err = fmt.Errorf("%s: %s was changed after it was checked", s.bundle, file)
	}
	return err
}

// spoiled answers where the bundle is not what it was. The reason is for the
// log: it has paths of this machine.
func (s *Server) spoiled(w *recorder, err error) {
	s.changed.Store(true)
	s.metrics.changed.Add(1)
	for _, name := range []string{"ETag", "Content-Type"} {
		w.Header().Del(name)
	}
	w.fail(http.StatusServiceUnavailable, "the bundle was changed after it was checked", err)
}

// guarded gives bytes only while what they were read from is still the same.
type guarded struct {
	io.ReadSeeker
	same func() error
}

// guard is guarded that tells the server. What was promised in the header and
// is not sent ends the connection, so the client sees that it is short.
type guard struct {
	guarded
	s *Server
	w *recorder
}

func (g guard) Read(p []byte) (int, error) {
	n, err := g.ReadSeeker.Read(p)
	if e := g.same(); e != nil {
		g.s.changed.Store(true)
		g.s.metrics.changed.Add(1)
		g.w.err = e
		return 0, e
	}
	return n, err
}

// contentType goes by the name; archives must not look like content that was
// compressed for the way.
func contentType(name string) string {
	switch path.Ext(name) {
	case ".zip":
		return "application/zip"
	case ".gz":
		return "application/gzip"
	case ".info":
		return "application/json"
	}
	if strings.Contains(name, "/tile/") {
		return "application/octet-stream"
	}
	return "text/plain; charset=utf-8"
}

// latestOf answers @latest, which no file in a bundle does: with the newest
// release whose content is there, else the newest pre-release, else the newest
// pseudo-version, as the protocol has it.
func (s *Server) latestOf(escaped string) handler {
	return func(w *recorder, r *http.Request) {
		dir := bundle.ModulesDir + "/" + escaped + "/@v"
		entries, err := s.bundle.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			s.spoiled(w, err)
			return
		}
		best := ""
		for _, e := range entries {
			v, ok := strings.CutSuffix(e.Name(), ".zip")
			if v, err := module.UnescapeVersion(v); ok && err == nil && newer(v, best) {
				best = v
			}
		}
		f, ok := bundle.File{}, false
		if v, err := module.EscapeVersion(best); err == nil {
			f, ok = s.bundle.Lookup(dir + "/" + v + ".info")
		}
		if !ok {
			w.say(http.StatusNotFound, "not found: no version of it is in the bundle that is served here")
			return
		}
		s.file(w, r, f)
	}
}

// newer tells whether @latest prefers v to w.
func newer(v, w string) bool {
	if rank(v) != rank(w) {
		return rank(v) > rank(w)
	}
	return semver.Compare(v, w) > 0
}

func rank(v string) int {
	switch {
	case !semver.IsValid(v):
		return 0
	case module.IsPseudoVersion(v):
		return 1
	case semver.Prerelease(v) != "":
		return 2
	}
	return 3
}

// section serves a stretch of bytes that has a sum.
func section(w *recorder, r *http.Request, z *release.ModuleZip) {
	w.Header().Set("Content-Type", "application/zip")
	w.Header().Set("ETag", `"`+z.SHA256+`"`)
	http.ServeContent(w, r, "", time.Time{}, io.NewSectionReader(z, 0, z.Size))
}
