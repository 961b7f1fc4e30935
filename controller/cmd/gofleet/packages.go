package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/gofleet/gofleet/agent/spec"
	"github.com/gofleet/gofleet/agent/wire"
	"github.com/gofleet/gofleet/controller/internal/bundle"
	"github.com/gofleet/gofleet/controller/internal/inventory"
	"github.com/gofleet/gofleet/controller/internal/release"
)

// packageStore is the packages of one bundle, opened once for all hosts.
type packageStore struct {
	bundle *bundle.Bundle
	files  *release.FileTree
	none   string // why there are none
	err    error
}

func (p *packageStore) close() {
	if p.files != nil {
		p.files.Close() // files that were only read
	}
	if p.bundle != nil {
		p.bundle.Close()
	}
}

// openPackages gives every host the packages that it may need. They come from
// the bundle that gofleet_archives names, or from one called packages in the
// directory that it names. A host that lacks nothing needs none, so that none
// being there is told by those that do.
func (sh *shelf) openPackages(ctx context.Context, hosts []*inventory.Host, specs []*spec.Spec, action wire.Action) ([]*packageStore, error) {
	stores := make([]*packageStore, len(hosts))
	var found problems
	for i, h := range hosts {
		s := specs[i]
		stores[i] = &packageStore{}
		if len(s.Packages) == 0 {
			continue
		}
		location := resolve(s.Archives, h.Dir())
		key := fmt.Sprint(location, "\x00", s.TrustedKeys, h.Dir())
		p := sh.packages[key]
		if p == nil {
			p = sh.openPackageStore(ctx, location, h.Dir(), s.TrustedKeys, action)
			sh.packages[key] = p
		}
		if stores[i] = p; p.err != nil {
			found.addOf(h.Name, p.err, h.Origin(prefix+"packages").String())
		}
	}
	return stores, found.errOrNil()
}

func (sh *shelf) openPackageStore(ctx context.Context, location, dir string, keys []string, action wire.Action) *packageStore {
	p := &packageStore{}
	switch st, err := os.Stat(location); {
	case strings.Contains(location, "://"):
		p.none = "gofleet_archives is a URL, and packages come from a bundle"
		return p
	case err == nil && st.IsDir() && !bundle.Is(location):
		location = filepath.Join(location, bundle.PackagesDir)
	}
	if _, err := os.Stat(location); errors.Is(err, fs.ErrNotExist) && !bundle.Is(location) {
		p.none = location + " is not here"
		return p
	}
	p.bundle, p.err = sh.bundleFor(ctx, action, location, dir, keys)
	switch {
	case p.err != nil:
	case !p.bundle.HasPackages():
		p.none = location + " has no packages"
	default:
		p.files, p.err = p.bundle.Packages("")
	}
	return p
}
