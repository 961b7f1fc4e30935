package release

import (
	"fmt"
	"go/version"
	"regexp"
	"strings"

	"github.com/gofleet/gofleet/agent/spec"
)

// modulePath is the module whose versions are Go toolchains.
const modulePath = "golang.org/toolchain"

// Name is what the name of an archive says.
type Name struct {
	Version  string // without "go": "1.26.8", "1.20", "1.27rc1"
	Platform spec.Platform
	Module   bool // made from the toolchain module, not the official file
	Zip      bool // a .zip, as Go publishes for Windows
}

var (
	versionPattern = regexp.MustCompile(`^[1-9][0-9]*(\.(0|[1-9][0-9]*)){1,2}((beta|rc)[1-9][0-9]*)?$`)
	namePattern    = regexp.MustCompile(`^go([0-9][0-9.]*[0-9]((?:beta|rc)[0-9]+)?)\.([a-z0-9]+)-([a-z0-9]+)(\.module)?\.(tar\.gz|zip)$`)
)

// CheckVersion says why v cannot be a Go version as archives carry it. It
// takes no "go" in front.
func CheckVersion(v string) error {
	switch {
	case versionPattern.MatchString(v):
		return nil
	case strings.HasPrefix(v, "go"):
		return fmt.Errorf("%q is not a Go version: write it without \"go\"", v)
	}
	return fmt.Errorf("%q is not a Go version: write it like 1.26.8", v)
}

// ParseName reads the name of an archive, without directories.
func ParseName(file string) (Name, error) {
	m := namePattern.FindStringSubmatch(file)
	if m == nil || CheckVersion(m[1]) != nil {
		return Name{}, fmt.Errorf("%q is not the name of a Go archive: those are like go1.26.8.linux-amd64.tar.gz", file)
	}
	n := Name{
		Version:  m[1],
		Platform: spec.Platform{OS: m[3], Arch: m[4]},
		Module:   m[5] != "",
		Zip:      m[6] == "zip",
	}
	if n.Zip && n.Module {
		return Name{}, fmt.Errorf("%q is not the name of a Go archive: those made of modules are .module.tar.gz", file)
	}
	return n, nil
}

// OfficialName names the file that the Go project publishes.
func OfficialName(v string, p spec.Platform) Name {
	return Name{Version: v, Platform: published(p), Zip: p.OS == "windows"}
}

// ModuleName names the archive that gofleet makes of the toolchain module.
func ModuleName(v string, p spec.Platform) Name {
	return Name{Version: v, Platform: published(p), Module: true}
}

// published spells 32-bit ARM as the files do: armv6l on Linux, arm elsewhere.
func published(p spec.Platform) spec.Platform {
	if p.Arch == "armv6l" && p.OS != "linux" {
		p.Arch = "arm"
	}
	return p
}

// String is the file's name.
func (n Name) String() string {
	s := "go" + n.Version + "." + n.Platform.Dashed()
	switch {
	case n.Module:
		return s + ".module.tar.gz"
	case n.Zip:
		return s + ".zip"
	}
	return s + ".tar.gz"
}

// moduleVersion is the version of the toolchain module that holds the same
// release.
func (n Name) moduleVersion() string {
	return "v0.0.1-go" + n.Version + "." + n.Platform.OS + "-" + n.Platform.GOARCH()
}

// hasModule tells whether releases of that version are toolchain modules too.
func hasModule(v string) bool { return version.Compare("go"+v, "go1.21rc1") >= 0 }

// Newer tells whether Go version a is later than b.
func Newer(a, b string) bool { return version.Compare("go"+a, "go"+b) > 0 }

// language is the part of a version that patches share: 1.26 of 1.26.8.
func language(v string) string { return strings.TrimPrefix(version.Lang("go"+v), "go") }
