package spec

import (
	"fmt"
	"strings"
)

// Platform is an operating system and an architecture as the names of Go
// archives spell them: linux/amd64, linux/armv6l.
type Platform struct {
	OS, Arch string
}

// machines maps what uname -m says to the architecture in archive names.
var machines = map[string]string{
	"x86_64":      "amd64",
	"aarch64":     "arm64",
	"i386":        "386",
	"i486":        "386",
	"i586":        "386",
	"i686":        "386",
	"armv6l":      "armv6l",
	"armv7l":      "armv6l",
	"armv8l":      "armv6l",
	"ppc64le":     "ppc64le",
	"s390x":       "s390x",
	"riscv64":     "riscv64",
	"loongarch64": "loong64",
}

// aliases are other spellings of archive architectures that people write.
var aliases = map[string]string{"arm": "armv6l", "armv6": "armv6l", "armhf": "armv6l", "x86": "386"}

// archiveArchs are the architectures that Linux archives of Go exist for.
var archiveArchs = []string{"386", "amd64", "arm64", "armv6l", "loong64", "mips", "mips64", "mips64le", "mipsle", "ppc64", "ppc64le", "riscv64", "s390x"}

// ArchOfMachine gives the archive architecture for what uname -m says, and
// false for a machine that no Go archive serves.
func ArchOfMachine(machine string) (string, bool) {
	arch, ok := machines[strings.ToLower(machine)]
	return arch, ok
}

// ParsePlatform reads linux/amd64, linux-amd64 and linux-x86_64 as the same.
func ParsePlatform(s string) (Platform, error) {
	os, arch, ok := strings.Cut(s, "/")
	if !ok {
		os, arch, ok = strings.Cut(s, "-")
	}
	if !ok || os == "" || arch == "" || strings.ContainsAny(arch, "/- \t\n") {
		return Platform{}, fmt.Errorf("%q is not a platform: write it like linux/amd64", s)
	}
	arch = strings.ToLower(arch)
	if a, ok := machines[arch]; ok {
		arch = a
	} else if a, ok := aliases[arch]; ok {
		arch = a
	}
	return Platform{OS: strings.ToLower(os), Arch: arch}, nil
}

// String is the form with a slash, linux/amd64.
func (p Platform) String() string { return p.OS + "/" + p.Arch }

// Dashed is the form in file names, linux-amd64.
func (p Platform) Dashed() string { return p.OS + "-" + p.Arch }

// GOARCH is the architecture as the go command names it.
func (p Platform) GOARCH() string {
	if p.Arch == "armv6l" {
		return "arm"
	}
	return p.Arch
}

// debianArchs are Debian's names of architectures.
var debianArchs = map[string]string{
	"amd64": "amd64", "arm64": "arm64", "386": "i386", "armv6l": "armhf", "ppc64le": "ppc64el", "s390x": "s390x", "riscv64": "riscv64",
}

// Debian is the architecture as Debian names it, and false for one that it has
// no release for.
func (p Platform) Debian() (arch string, ok bool) {
	arch, ok = debianArchs[p.Arch]
	return arch, ok
}

// MarshalText and UnmarshalText let a Platform be a JSON value or key.
func (p Platform) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText reads any spelling that ParsePlatform takes.
func (p *Platform) UnmarshalText(b []byte) error {
	q, err := ParsePlatform(string(b))
	if err != nil {
		return err
	}
	*p = q
	return nil
}

// Lets reports whether the precondition on machines lets hosts of a platform
// through.
func (c *Preconditions) Lets(p Platform) bool {
	for _, m := range c.Arch {
		if arch, ok := ArchOfMachine(m); m == p.Arch || ok && arch == p.Arch {
			return true
		}
	}
	return len(c.Arch) == 0
}
