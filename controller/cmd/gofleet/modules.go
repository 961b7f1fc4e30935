package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/mod/module"

	"github.com/gofleet/gofleet/agent/spec"
	"github.com/gofleet/gofleet/agent/wire"
	"github.com/gofleet/gofleet/controller/internal/bundle"
	"github.com/gofleet/gofleet/controller/internal/inventory"
	"github.com/gofleet/gofleet/controller/internal/release"
)

// moduleCache is the module cache of one bundle, opened once for all hosts.
type moduleCache struct {
	bundle  *bundle.Bundle
	modules *release.FileTree
	err     error
}

func (c *moduleCache) close() {
	if c.modules != nil {
		c.modules.Close() // files that were only read
	}
	if c.bundle != nil {
		c.bundle.Close()
	}
}

// openModules gives every host the module cache that it is to have. Apply reads
// the whole bundle before; an audit wants the signed list only, and does
// without where the bundle is not there.
func (sh *shelf) openModules(ctx context.Context, hosts []*inventory.Host, specs []*spec.Spec, action wire.Action) ([]*release.FileTree, error) {
	caches := make([]*release.FileTree, len(hosts))
	var found problems
	for i, h := range hosts {
		s := specs[i]
		if s.Modules == nil {
			continue
		}
		location := resolve(s.Modules.From, h.Dir())
		key := fmt.Sprint(location, "\x00", s.TrustedKeys, h.Dir())
		c := sh.caches[key]
		if c == nil {
			c = sh.openModuleCache(ctx, location, h.Dir(), s.TrustedKeys, action)
			sh.caches[key] = c
		}
		err := c.err
		switch {
		case err == nil:
			caches[i] = c.modules
			err = unprovable(c.bundle, s)
		case action == wire.Audit && errors.Is(err, fs.ErrNotExist):
			sh.ui.Warn(h.Name, fmt.Sprintf("%s is not here: whether the host's modules are the newest is not known", location))
			continue
		}
		if err != nil {
			found.addOf(h.Name, err, h.Origin(prefix+"modules").String())
		}
	}
	return caches, found.errOrNil()
}

func (sh *shelf) openModuleCache(ctx context.Context, location, dir string, keys []string, action wire.Action) *moduleCache {
	c := &moduleCache{}
	if st, err := os.Stat(location); err == nil && st.IsDir() && !bundle.Is(location) {
		c.err = hint(fmt.Errorf("gofleet_modules: %s is a directory and no bundle", location),
			"hosts get what a signed list has: make a bundle with gofleet bundle create --modules path/to/go.mod")
		return c
	}
	c.bundle, c.err = sh.bundleFor(ctx, action, location, dir, keys)
	if c.err == nil {
		c.modules, c.err = c.bundle.Modules("")
	}
	return c
}

// unprovable is the error of a bundle with modules that the checksum database
// does not know, and that the host would ask it about.
func unprovable(b *bundle.Bundle, s *spec.Spec) error {
	private := s.Env["GONOSUMDB"]
	if private == "" {
		private = s.Env["GOPRIVATE"]
	}
	if s.Env["GOSUMDB"] == "off" {
		return nil
	}
	var paths []string
	for _, m := range b.List().Modules {
		if !m.Public && !module.MatchPrefixPatterns(private, m.Path) && (len(paths) == 0 || paths[len(paths)-1] != m.Path) {
			paths = append(paths, m.Path)
		}
	}
	if len(paths) == 0 {
		return nil
	}
	quoted := make([]string, len(paths))
	for i, p := range paths {
		quoted[i] = fmt.Sprintf("%q", p)
	}
	return hint(fmt.Errorf("%s has modules that the checksum database does not prove: %s", b, strings.Join(paths, ", ")),
		fmt.Sprintf("if they are private, say so: gofleet_modules: {from: %s, private: [%s]}", s.Modules.From, strings.Join(quoted, ", ")))
}
