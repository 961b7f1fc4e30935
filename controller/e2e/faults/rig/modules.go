//go:build linux

package rig

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"

	"github.com/gofleet/gofleet/controller/internal/bundle"
	"github.com/gofleet/gofleet/controller/internal/minisign"
)

// Files are a made-up module cache and sources, in versions of which a later one
// keeps what the earlier had, but for what it alters.
type Files struct {
	Bundle  string // with the modules
	Sources string // directory of GOPATH's sources
	last    int
}

const modulePath = "fault.example/module"

// MakeFiles makes the n-th version.
func (p *Programs) MakeFiles(ctx context.Context, n int) (*Files, error) {
	f := &Files{Bundle: filepath.Join(p.Dir, fmt.Sprintf("modules-%d.bundle", n)), Sources: filepath.Join(p.Dir, fmt.Sprintf("sources-%d", n)), last: n}
	key, err := minisign.Generate(rand.Reader)
	if err != nil {
		return nil, err
	}
	o := bundle.CreateOptions{Output: f.Bundle, MadeBy: "rig", Key: &key}
	for i := range n {
		more, err := moduleOf(fmt.Sprintf("v1.%d.0", i))
		if err != nil {
			return nil, err
		}
		o.Extra = append(o.Extra, more...)
	}
	if _, err := bundle.Create(ctx, o); err != nil {
		return nil, err
	}
	for name, body := range map[string]string{"same/a.go": "package same\n", "altered/a.go": fmt.Sprintf("package altered // %d\n", n), fmt.Sprintf("only%d/a.go", n): "package only\n"} {
		name = filepath.Join(f.Sources, "fault.example", name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return nil, err
		}
		if err := os.WriteFile(name, []byte(body), 0o644); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// moduleOf is a version of the module, as a cache has it.
func moduleOf(version string) ([]bundle.Source, error) {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	w, err := z.Create(modulePath + "@" + version + "/a.go")
	if err == nil {
		_, err = fmt.Fprintf(w, "package module // of %s\n", version)
	}
	if err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	at := path.Join(bundle.ModulesDir, modulePath, "@v", version)
	return []bundle.Source{
		bundle.BytesSource(at+".info", 0o644, fmt.Appendf(nil, "{\"Version\":%q}", version)),
		bundle.BytesSource(at+".mod", 0o644, []byte("module "+modulePath+"\n")),
		bundle.BytesSource(at+".zip", 0o644, b.Bytes()),
	}, nil
}

// Vars are the variables that ask for them.
func (f *Files) Vars() Vars {
	return Vars{
		"gofleet_trusted_keys": []string{bundle.Any},
		"gofleet_modules":      map[string]any{"from": f.Bundle, "private": []string{"fault.example"}},
		"gofleet_gopath":       map[string]any{"sources": f.Sources},
		"gofleet_env":          map[string]string{"GOTOOLCHAIN": "local"}, // GOPROXY is that of the modules
	}
}

// On tells an error unless a host has exactly this version of them.
func (f *Files) On(h *Host) error {
	zips, err := filepath.Glob(h.Path(root + "/modules/cache/download/" + modulePath + "/@v/*.zip"))
	if err != nil || len(zips) != f.last {
		return fmt.Errorf("%s: %d modules, want %d: %w", h.Name, len(zips), f.last, err)
	}
	for _, part := range []string{"modules", "gopath"} {
		trees, err := names(h.Path(root), part+"-")
		if err != nil || len(trees) > 1 || part == "modules" && len(trees) == 0 {
			return fmt.Errorf("%s: left of %s: %q, %w", h.Name, part, trees, err)
		}
	}
	const home = "/home/deploy/go/src/fault.example"
	sources, err := names(h.Path(home), "")
	if want := []string{"altered", fmt.Sprintf("only%d", f.last), "same"}; err != nil || !slices.Equal(sources, want) {
		return fmt.Errorf("%s: sources %q, want %q, %w", h.Name, sources, want, err)
	}
	b, err := os.ReadFile(h.Path(home + "/altered/a.go"))
	if want := fmt.Sprintf("package altered // %d\n", f.last); err != nil || string(b) != want {
		return fmt.Errorf("%s: sources have %q, %w", h.Name, b, err)
	}
	return nil
}
