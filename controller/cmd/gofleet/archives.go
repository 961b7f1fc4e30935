package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/gofleet/gofleet/agent/spec"
	"github.com/gofleet/gofleet/agent/wire"
	"github.com/gofleet/gofleet/controller/internal/bundle"
	"github.com/gofleet/gofleet/controller/internal/fleet"
	"github.com/gofleet/gofleet/controller/internal/inventory"
	"github.com/gofleet/gofleet/controller/internal/minisign"
	"github.com/gofleet/gofleet/controller/internal/release"
	"github.com/gofleet/gofleet/controller/internal/report"
)

// shelf is the archives of a run: each location opened once, each archive
// verified once, before anything is dialled.
type shelf struct {
	ui        *report.Reporter
	platforms []spec.Platform
	zstd      bool // make the zstd form while an archive is first read
	books     map[string]*book
	caches    map[string]*moduleCache
	sources   map[string]*sourceTree
	packages  map[string]*packageStore
}

// book is the archives of one version from one location.
type book struct {
	store  *release.Store
	bundle *bundle.Bundle // nil: they lie in a directory or on a server
	offers map[spec.Platform]fleet.Offer
	failed problems // with every host that wants it
	// nowhere: the location is at fault, and so the line that names it.
	nowhere bool
}

// open gives every host what there is of the version it wants. An archive that
// is missing is noted for the hosts of its platform; one that is not believed
// ends the run.
func (sh *shelf) open(ctx context.Context, hosts []*inventory.Host, specs []*spec.Spec) ([]map[spec.Platform]fleet.Offer, error) {
	offers := make([]map[spec.Platform]fleet.Offer, len(hosts))
	var found problems
	for i, h := range hosts {
		s := specs[i]
		location := resolve(s.Archives, h.Dir())
		key := fmt.Sprint(location, "\x00", s.TrustedKeys, h.Dir(), "\x00", s.GoVersion, "\x00", s.SHA256, "\x00", s.Preconditions.Arch)
		b := sh.books[key]
		if b == nil {
			b = sh.openBook(ctx, location, h.Dir(), s)
			sh.books[key] = b
		}
		for _, p := range b.failed {
			p.Hosts = []string{h.Name}
			if _, ok := h.Vars[prefix+"archives"]; ok && b.nowhere {
				p.Where = h.Origin(prefix + "archives").String()
			}
			found = append(found, p)
		}
		offers[i] = b.offers
	}
	return offers, found.errOrNil()
}

// openBook opens the archives of one version for each platform that the
// preconditions let through and an agent exists for.
func (sh *shelf) openBook(ctx context.Context, location, dir string, s *spec.Spec) *book {
	b := &book{offers: map[spec.Platform]fleet.Offer{}}
	if _, err := release.CacheDir(""); err != nil {
		b.failed = problemsOf(hint(err, "set XDG_CACHE_HOME to a directory in which this user may write"))
		return b
	}
	options := release.Options{Location: location, Pins: s.SHA256, Zstd: sh.zstd, Progress: progress(sh.ui)}
	var err error
	if bundle.Is(location) {
		if b.bundle, err = sh.openBundle(ctx, location, dir, s.TrustedKeys); err != nil {
			b.failed = problemsOf(err)
			return b
		}
		options.Bundle = b.bundle
	}
	b.store, err = release.NewStore(options)
	if err != nil {
		b.nowhere = true
		b.failed = problemsOf(hint(err, fmt.Sprintf("gofleet fetch %s --to DIRECTORY gets them on the connected side; gofleet_archives says where they are here", s.GoVersion)))
		return b
	}
	for _, p := range sh.platforms {
		if !s.Preconditions.Lets(p) {
			continue
		}
		archive, err := b.store.Open(ctx, s.GoVersion, p)
		var missing *release.MissingError
		var refused *release.RefusedError
		switch {
		case err == nil:
			b.offers[p] = fleet.Offer{Archive: archive}
		case errors.As(err, &missing):
			b.offers[p] = fleet.Offer{Missing: err}
		case !errors.As(err, &refused) && strings.Contains(location, "://"):
			b.failed = problemsOf(hint(err, "is the server there that gofleet_archives names? A directory will do as well"))
			return b // it fails for the other platforms as well
		default:
			b.failed = append(b.failed, problemsOf(err)...)
		}
	}
	return b
}

// bundleFor opens a bundle for an action: an audit wants its signed list only.
func (sh *shelf) bundleFor(ctx context.Context, action wire.Action, location, dir string, keys []string) (*bundle.Bundle, error) {
	if action == wire.Audit {
		return signedBundle(location, dir, keys)
	}
	return sh.openBundle(ctx, location, dir, keys)
}

// openBundle opens a bundle and makes sure that no byte of it is damaged.
func (sh *shelf) openBundle(ctx context.Context, location, dir string, keys []string) (*bundle.Bundle, error) {
	b, err := signedBundle(location, dir, keys)
	if err != nil {
		return nil, err
	}
	cache, err := release.CacheDir("")
	if err == nil {
		err = b.Check(ctx, bundle.CheckOptions{CacheDir: cache, Progress: progress(sh.ui)})
	}
	if err != nil {
		b.Close()
		return nil, err
	}
	return b, nil
}

// signedBundle opens a bundle by somebody whom gofleet_trusted_keys names.
func signedBundle(location, dir string, keys []string) (*bundle.Bundle, error) {
	trusted := make([]string, len(keys))
	for i, key := range keys {
		trusted[i] = keyOrFile(key, dir)
	}
	trust, err := trustOf(trusted)
	if err != nil {
		return nil, hint(fmt.Errorf("gofleet_trusted_keys: %w", err), "write a minisign public key, the path of a file with one, or any")
	}
	return bundle.Open(location, bundle.Options{Trust: trust})
}

// keyOrFile resolves a trusted key that is a path.
func keyOrFile(key, dir string) string {
	if _, err := minisign.ParsePublicKey(key); err == nil || key == bundle.Any {
		return key
	}
	return resolve(key, dir)
}

// trustOf is the user's own key and those of the list.
func trustOf(keys []string) (bundle.Trust, error) {
	config, err := bundle.ConfigDir()
	if err != nil {
		return bundle.Trust{}, err
	}
	return bundle.NewTrust(config, keys)
}

// close closes every archive.
func (sh *shelf) close() {
	for _, c := range sh.caches {
		c.close()
	}
	for _, p := range sh.packages {
		p.close()
	}
	for _, t := range sh.sources {
		t.close()
	}
	for _, b := range sh.books {
		if b.store != nil {
			b.store.Close() // files that were only read
		}
		if b.bundle != nil {
			b.bundle.Close()
		}
	}
}

// resolve makes a relative path of the inventory one of its directory.
func resolve(location, dir string) string {
	if location == "" || strings.Contains(location, "://") || filepath.IsAbs(location) {
		return location
	}
	if rest, ok := strings.CutPrefix(location, "~/"); ok {
		if home, err := os.UserHomeDir(); err == nil {
			return filepath.Join(home, rest)
		}
	}
	return filepath.Join(dir, location)
}
