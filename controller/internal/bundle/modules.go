package bundle

import (
	"fmt"
	"path"
	"strings"

	"github.com/gofleet/gofleet/controller/internal/release"
)

// Modules gives the bundle's module cache as it travels to hosts: the tree
// below modules/cache. A bundle without one is an error. The cache directory is
// as in release.CacheDir. It must be closed before the bundle.
func (b *Bundle) Modules(cacheDir string) (*release.FileTree, error) {
	return b.files(path.Dir(ModulesDir), "modules", "--modules path/to/go.mod", cacheDir)
}

// Packages gives the packages of all distributions in the bundle, in the same
// way.
func (b *Bundle) Packages(cacheDir string) (*release.FileTree, error) {
	return b.files(PackagesDir, "packages", "--packages FILE --distribution NAME", cacheDir)
}

// HasPackages tells whether there are any.
func (b *Bundle) HasPackages() bool { return len(b.dirs[PackagesDir]) > 0 }

// files gives what is below a directory as it travels to hosts.
func (b *Bundle) files(dir, what, flags, cacheDir string) (*release.FileTree, error) {
	var list []release.TreeFile
	for _, f := range b.manifest.Files {
		if below, ok := strings.CutPrefix(f.Path, dir+"/"); ok {
			list = append(list, release.TreeFile{Path: below, Size: f.Size, SHA256: f.SHA256})
		}
	}
	if len(list) == 0 {
		return nil, &Error{Bundle: b.path, Layer: Listing, Reason: "it has no " + what,
			Hint: "make it with gofleet bundle create " + flags}
	}
	evidence := "bundle: not signed by anybody trusted, taken by the word any"
	if b.signer != "" {
		evidence = fmt.Sprintf("bundle: manifest signed by %s", b.signer)
	}
	return release.NewFileTree(b, dir, list, path.Base(b.path), evidence, cacheDir)
}
