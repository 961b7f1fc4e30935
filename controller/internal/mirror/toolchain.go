package mirror

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/semver"

	"github.com/gofleet/gofleet/controller/internal/bundle"
	"github.com/gofleet/gofleet/controller/internal/release"
)

// toolchainModule is what go downloads where GOTOOLCHAIN lets it.
const toolchainModule = "golang.org/toolchain"

// findToolchains lists the toolchain modules that the bundle's archives are.
func (s *Server) findToolchains() {
	newest := ""
	for _, file := range s.bundle.Archives() {
		n, err := release.ParseName(file)
		if err != nil {
			continue
		}
		m, ok := release.ToolchainModule(n)
		if !ok {
			continue
		}
		s.toolchains[m.Version] = n
		if newest == "" || release.Newer(n.Version, newest) || n.Version == newest && m.Version < s.latest {
			newest, s.latest = n.Version, m.Version
		}
	}
}

// toolchain answers for the toolchain module: with files that the bundle has,
// as for any other module, else with what follows from its archives.
func (s *Server) toolchain(p, file string) handler {
	return func(w *recorder, r *http.Request) {
		v, ext := strings.TrimSuffix(file, path.Ext(file)), path.Ext(file)
		n, known := s.toolchains[v]
		switch f, there := s.bundle.Lookup(bundle.ModulesDir + "/" + p); {
		case file == "list":
			s.text(w, r, "text/plain; charset=utf-8", s.toolchainList())
		case file == latest && s.latest != "":
			s.text(w, r, "application/json", infoOf(s.latest))
		case there:
			s.file(w, r, f)
		case !known:
			w.say(http.StatusNotFound, "not found: this toolchain is not in the bundle that is served here")
		case ext == ".info":
			s.text(w, r, "application/json", infoOf(v))
		case ext == ".mod":
			s.text(w, r, "text/plain; charset=utf-8", []byte("module "+toolchainModule+"\n"))
		default:
			s.toolchainZip(w, r, v, n)
		}
	}
}

func (s *Server) text(w *recorder, r *http.Request, kind string, data []byte) {
	w.Header().Set("Content-Type", kind)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
}

func infoOf(v string) []byte {
	data, err := json.Marshal(struct{ Version string }{v})
	if err != nil {
		panic(err) // a string
	}
	return data
}

// toolchainList are the versions that there are, whatever they are made of.
func (s *Server) toolchainList() []byte {
	var list []string
	for v := range s.toolchains {
		list = append(list, v)
	}
	if data, err := s.bundle.ReadFile(bundle.ModulesDir + "/" + toolchainModule + "/@v/list"); err == nil {
		list = append(list, strings.Fields(string(data))...)
	}
	semver.Sort(list)
	list = slices.Compact(list)
	return []byte(strings.Join(list, "\n") + "\n")
}

// toolchainZip serves the module's content, which is made for the first who
// asks. It goes on when that one gives up: others will ask.
func (s *Server) toolchainZip(w *recorder, r *http.Request, v string, n release.Name) {
	ctx := context.WithoutCancel(r.Context())
	made := s.flight.DoChan(v, func() (any, error) { return nil, s.makeToolchain(ctx, n) })
	select {
	case <-r.Context().Done():
		w.err = r.Context().Err()
		return
	case result := <-made:
		if result.Err != nil {
			s.noToolchain(w, result.Err)
			return
		}
	}
	z, err := s.openToolchain(ctx, n)
	if err != nil {
		s.noToolchain(w, err)
		return
	}
	defer z.Close()
	section(w, r, z)
}

func (s *Server) noToolchain(w *recorder, err error) {
	w.fail(http.StatusInternalServerError, "this toolchain cannot be made of the bundle's archive: see the mirror's log", err)
}

// makeToolchain sees to it that openToolchain is quick.
func (s *Server) makeToolchain(ctx context.Context, n release.Name) error {
	s.making.Lock()
	defer s.making.Unlock()
	begun := time.Now()
	z, err := s.openToolchain(ctx, n)
	if err != nil {
		return err
	}
	defer z.Close()
	if z.Made {
		s.metrics.toolchains.Add(1)
		s.log.Info("made a toolchain module", "archive", n.String(), "h1", z.H1, "size", z.Size, "seconds", time.Since(begun).Seconds())
	}
	return nil
}

func (s *Server) openToolchain(ctx context.Context, n release.Name) (*release.ModuleZip, error) {
	a, err := s.store.Open(ctx, n.Version, n.Platform)
	if err != nil {
		return nil, err
	}
	return a.ModuleZip(ctx)
}
