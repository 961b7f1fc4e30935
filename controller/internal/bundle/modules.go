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
	dir := path.Dir(ModulesDir)
	var list []release.TreeFile
	for _, f := range b.manifest.Files {
		if below, ok := strings.CutPrefix(f.Path, dir+"/"); ok {
			list = append(list, release.TreeFile{Path: below, Size: f.Size, SHA256: f.SHA256})
		}
	}
	if len(list) == 0 {
		return nil, &Error{Bundle: b.path, Layer: Listing, Reason: "it has no modules",
			Hint: "make it with gofleet bundle create --modules path/to/go.mod"}
	}
	evidence := "bundle: not signed by anybody trusted, taken by the word any"
	if b.signer != "" {
		evidence = fmt.Sprintf("bundle: manifest signed by %s", b.signer)
	}
	return release.NewFileTree(b, dir, list, path.Base(b.path), evidence, cacheDir)
}
