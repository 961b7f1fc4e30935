// Package distro gets, on a connected Debian-like machine, the packages that a
// clean release of a distribution lacks for what hosts are to have. The
// machine's own apt does it in a root of its own: it checks the signature of
// every index by the distribution's keyring, resolves, and compares every file
// with the index. The package knows nothing of bundles and hosts.
package distro

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// A Release is one release of a distribution, named as its hosts' os-release
// has it.
type Release struct {
	Name     string // debian-12: ID and VERSION_ID
	Codename string
	security string // suffix of the suite with security updates
	secured  string // last part of the path of the archive that has it; "" for the same one
	archive  string // last part of the path of the archive
	keyring  string // package with the archive's keys, which has a file of the same name
}

// keyrings is where packages of keys put them.
const keyrings = "/usr/share/keyrings"

var releases = []Release{
	{"debian-11", "bullseye", "-security", "debian-security", "debian", "debian-archive-keyring"},
	{"debian-12", "bookworm", "-security", "debian-security", "debian", "debian-archive-keyring"},
	{"debian-13", "trixie", "-security", "debian-security", "debian", "debian-archive-keyring"},
	{"ubuntu-20.04", "focal", "-security", "", "ubuntu", "ubuntu-archive-keyring"},
	{"ubuntu-22.04", "jammy", "-security", "", "ubuntu", "ubuntu-archive-keyring"},
	{"ubuntu-24.04", "noble", "-security", "", "ubuntu", "ubuntu-archive-keyring"},
}

// Names are the names of all releases that apt resolves.
func Names() []string {
	names := make([]string, len(releases))
	for i, r := range releases {
		names[i] = r.Name
	}
	return names
}

// Find gives the release of a name such as debian-12, or an error that lists
// those that apt resolves.
func Find(name string) (Release, error) {
	for _, r := range releases {
		if r.Name == name {
			return r, nil
		}
	}
	return Release{}, fmt.Errorf("%q is none of those that apt resolves here: %s", name, strings.Join(Names(), ", "))
}

// Keyring is the file with the keys that may sign the release's indexes.
func (r Release) Keyring() string { return filepath.Join(keyrings, r.keyring+".gpg") }

// checkKeyring wants the release's keys on this machine.
func (r Release) checkKeyring() error {
	if _, err := os.Stat(r.Keyring()); err != nil {
		return fmt.Errorf("the keys of %s are not on this machine: %w", r.Name, err)
	}
	return nil
}

// source is one line of a sources.list.
type source struct{ uri, suite, components string }

// sources are the archives of the release: the mirror that is given, or the one
// that this machine's apt has for the same distribution. lines are that apt's
// index targets, "uri suite component" each.
func (r Release) sources(mirror string, lines []string) ([]source, error) {
	suites := []string{"", "-updates", r.security}
	components := "main"
	if r.archive == "ubuntu" {
		components = "main universe"
	}
	plain, secured := strings.TrimSuffix(mirror, "/"), ""
	if plain == "" {
		plain, secured = configured(lines, r)
	}
	if plain == "" {
		return nil, fmt.Errorf("this machine's apt has no archive of %s", r.archive)
	}
	if r.secured == "" {
		secured = plain
	} else if secured == "" {
		secured = strings.TrimSuffix(plain, r.archive) + r.secured
	}
	var all []source
	for _, suffix := range suites {
		uri := plain
		if suffix == r.security {
			uri = secured
		}
		all = append(all, source{uri, r.Codename + suffix, components})
	}
	return all, nil
}

// configured finds the archives of the same distribution that the machine's own
// apt uses: those with a suite that is one of the distribution's codenames.
func configured(lines []string, r Release) (plain, secured string) {
	var codenames []string
	for _, other := range releases {
		if other.archive == r.archive {
			codenames = append(codenames, other.Codename)
		}
	}
	for _, line := range lines {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		uri := strings.TrimSuffix(f[0], "/")
		codename, suffix, _ := strings.Cut(f[1], "-")
		switch {
		case !slices.Contains(codenames, codename):
		case suffix == "" && plain == "":
			plain = uri
		case suffix == "security" && secured == "":
			secured = uri
		}
	}
	return plain, secured
}
