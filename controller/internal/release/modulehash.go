package release

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/gofleet/gofleet/agent/tree"
)

// outsideModule are the directories that an official archive has and the
// toolchain module has not. The checksum database says nothing about them.
var outsideModule = []string{"api", "doc", "misc", "test"}

// inModule tells whether the file is one that the toolchain module has.
func inModule(file string) bool {
	top, _, _ := strings.Cut(file, "/")
	return !slices.Contains(outsideModule, top)
}

// moduleFile gives the name that a file has in the toolchain module, where a
// nested go.mod would make another module of its directory.
func moduleFile(file string) string {
	if path.Base(file) == "go.mod" {
		return strings.TrimSuffix(file, "go.mod") + "_go.mod"
	}
	return file
}

// treeFile turns moduleFile round.
func treeFile(file string) string {
	if path.Base(file) == "_go.mod" {
		return strings.TrimSuffix(file, "_go.mod") + "go.mod"
	}
	return file
}

// treeMode is the mode that a Go release gives a file. A module's hash covers
// no modes, so they follow from the path, by the rule of Go's cmd/distpack.
func treeMode(file string) fs.FileMode {
	if strings.HasPrefix(file, "bin/") || strings.HasPrefix(file, "pkg/tool/") {
		return 0o755
	}
	base := path.Base(file)
	switch path.Ext(base) {
	case ".bash", ".sh", ".pl", ".rc":
		return 0o755
	}
	if ok, _ := path.Match("go_?*_?*_exec", base); ok {
		return 0o755
	}
	return 0o644
}

// moduleHash derives, from the tree that an archive holds, the h1 that the
// checksum database records for the toolchain module of the same release. It
// refuses trees for which an equal hash would not prove every file and mode:
// a mode against the rule, a _go.mod, and in an archive made of the module
// anything that the module cannot have given it.
func moduleHash(m tree.Manifest, n Name) (string, error) {
	type line struct {
		name string
		sum  [sha256.Size]byte
	}
	var lines []line
	holding := map[string]bool{} // directories with a file in them, at any depth
	for _, e := range m {
		if e.Dir {
			continue
		}
		for d := path.Dir(e.Path); d != "." && !holding[d]; d = path.Dir(d) {
			holding[d] = true
		}
		switch {
		case path.Base(e.Path) == "_go.mod":
			return "", fmt.Errorf("%s is a name that only the toolchain module has", e.Path)
		case !inModule(e.Path) && n.Module:
			return "", fmt.Errorf("%s is not in the toolchain module", e.Path)
		case !inModule(e.Path):
			continue
		case e.Mode != treeMode(e.Path):
			return "", fmt.Errorf("%s has mode %04o; in a Go release it has %04o", e.Path, e.Mode, treeMode(e.Path))
		}
		lines = append(lines, line{moduleFile(e.Path), e.SHA256})
	}
	for _, e := range m {
		if e.Dir && n.Module && !holding[e.Path] {
			return "", fmt.Errorf("directory %s is empty; the toolchain module has none", e.Path)
		}
	}
	slices.SortFunc(lines, func(a, b line) int { return strings.Compare(a.name, b.name) })
	// dirhash.Hash1, from sums that are there already.
	prefix := modulePath + "@" + n.moduleVersion() + "/"
	h := sha256.New()
	var buf []byte
	for _, l := range lines {
		buf = hex.AppendEncode(buf[:0], l.sum[:])
		buf = append(append(append(append(buf, "  "...), prefix...), l.name...), '\n')
		h.Write(buf)
	}
	return "h1:" + base64.StdEncoding.EncodeToString(h.Sum(nil)), nil
}
