package policy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gofleet/gofleet/agent/spec"
	"github.com/gofleet/gofleet/agent/wire"
)

// family is a family of distributions whose packages have the same names.
type family struct {
	name    string
	install string   // the command that installs packages
	ids     []string // in os-release
}

var families = []family{
	{"Debian", "apt-get install", []string{"debian", "ubuntu", "linuxmint", "raspbian", "devuan", "kali", "pop", "astra"}},
	{"RHEL", "dnf install", []string{"rhel", "centos", "rocky", "almalinux", "ol", "fedora", "amzn", "openeuler"}},
	{"SUSE", "zypper install", []string{"sles", "sled", "sles_sap", "suse", "opensuse-leap", "opensuse-tumbleweed", "opensuse"}},
	{"Alpine", "apk add", []string{"alpine", "postmarketos"}},
}

// Family is the family, as in package spec, that a distribution belongs to by
// the ID of its os-release; "" where it is none of those that are known.
func Family(distribution string) string {
	for _, fam := range families {
		if slices.Contains(fam.ids, distribution) {
			return strings.ToLower(fam.name)
		}
	}
	return ""
}

// bringers are the packages that bring a part, in the order of families.
var bringers = []struct {
	part     string
	packages [4]string
}{
	{"gcc", [4]string{"gcc", "gcc", "gcc", "gcc"}},
	{"cc1", [4]string{"cpp gcc", "cpp", "cpp", "gcc"}},
	{"as", [4]string{"binutils", "binutils", "binutils", "binutils"}},
	{"ld", [4]string{"binutils", "binutils", "binutils", "binutils"}},
	{"headers", [4]string{"libc6-dev", "glibc-devel", "glibc-devel", "musl-dev"}},
	{"crt1.o", [4]string{"libc6-dev", "glibc-devel", "glibc-devel", "musl-dev"}},
	{"libc", [4]string{"libc6-dev", "glibc-devel", "glibc-devel", "musl-dev"}},
	{"target", [4]string{"gcc", "gcc", "gcc", "gcc"}},
	{"g++", [4]string{"g++", "gcc-c++", "gcc-c++", "g++"}},
	{"cc1plus", [4]string{"g++", "gcc-c++", "gcc-c++", "g++"}},
	{"libstdc++", [4]string{"g++", "gcc-c++ libstdc++-devel", "gcc-c++ libstdc++-devel", "g++"}},
	{"pkg-config", [4]string{"pkg-config", "pkgconf-pkg-config", "pkg-config", "pkgconf"}},
	{"program", [4]string{"gcc g++ libc6-dev", "gcc gcc-c++ glibc-devel", "gcc gcc-c++ glibc-devel", "build-base"}},
}

// bring says how to install a part on this host.
func bring(f *wire.Facts, part string) string {
	var packages []string
	for i := range bringers {
		if bringers[i].part == part {
			packages = bringers[i].packages[:]
		}
	}
	if packages == nil {
		return "install " + part
	}
	for i, fam := range families {
		if !slices.Contains(fam.ids, f.Distribution) {
			continue
		}
		command := fam.install
		if fam.name == "RHEL" && spec.CompareVersions(f.DistVersion, "8") < 0 {
			command = "yum install"
		}
		return command + " " + packages[i]
	}
	var all []string
	for i, fam := range families {
		all = append(all, packages[i]+" ("+fam.name+")")
	}
	return "install " + strings.Join(all, ", ")
}

// cgo has one check for each part of the C toolchain.
func cgo(f *wire.Facts, want *spec.Cgo) []wire.Check {
	if want == nil {
		return nil
	}
	if len(f.Cgo) == 0 {
		return []wire.Check{*result("cgo", false, "unknown", "a C toolchain", "set "+variable+"cgo to null if none is needed")}
	}
	var checks []wire.Check
	for _, p := range f.Cgo {
		checks = append(checks, *cgoPart(f, want, p))
	}
	return checks
}

func cgoPart(f *wire.Facts, want *spec.Cgo, p wire.CgoPart) *wire.Check {
	wanted, actual := "there", p.Found
	compiler := p.Name == "gcc" || p.Name == "g++"
	switch platform, _ := Platform(f); {
	case compiler && want.Min != "":
		wanted = "at least " + want.Min
	case p.Name == "target":
		wanted = "programs for " + platform.String()
	case p.Name == "program":
		wanted = "programs are built and run"
	}
	ok, hint := true, ""
	switch {
	case p.Problem != "":
		ok, actual, hint = false, p.Problem, "what is there does not work: "+bring(f, p.Name)
	case p.Found == "":
		ok, actual, hint = false, "missing", bring(f, p.Name)
	case compiler && want.Min != "":
		ok = spec.CompareVersions(actual[strings.LastIndexByte(actual, ' ')+1:], want.Min) >= 0
		hint = fmt.Sprintf("install a newer one and name it in gofleet_env (CC, CXX), or lower %scgo.min", variable)
	case p.Name == "target":
		ok = f.Machine == "" || sameTarget(f, p.Found)
		hint = "this is a cross compiler: take its CC out of gofleet_env, or " + bring(f, p.Name) + " of this system"
	}
	return result("cgo "+p.Name, ok, actual, wanted, hint)
}

// sameTarget compares a triple, x86_64-linux-gnu, with the userland.
func sameTarget(f *wire.Facts, target string) bool {
	cpu, _, _ := strings.Cut(target, "-")
	switch {
	case strings.HasPrefix(cpu, "arm"): // armv7hl, arm
		cpu = "armv7l"
	case cpu == "powerpc64le":
		cpu = "ppc64le"
	}
	arch, known := spec.ArchOfMachine(cpu)
	platform, _ := Platform(f)
	return known && arch == platform.Arch
}
