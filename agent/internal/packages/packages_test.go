package packages

import (
	"slices"
	"strings"
	"testing"

	"github.com/gofleet/gofleet/agent/spec"
)

const status = `Package: libc6
Status: install ok installed
Priority: optional
Architecture: amd64
Version: 2.36-9+deb12u4
Description: GNU C Library
 Status: install ok nothing
Conffiles:
 /etc/ld.so.conf.d/x 5d41402abc4b2a76b9719d911017c592

Package: exim4
Status: deinstall ok config-files
Architecture: all
Version: 4.96-15

Package: mawk
Status: install ok installed
Architecture: amd64
Version: 1.3.4
Provides: awk, fast-awk (= 2)

Package: fast-awk
Status: install ok installed
Version: 7

Package: git
Status: install ok half-configured
Version: 1:2.39.5-0+deb12u2
`

func debianHost(want ...spec.Package) *Host {
	h := &Host{Family: spec.Debian, has: parseStatus(status)}
	h.compare(want, compareDebian, func(name string) (string, bool) {
		p := h.has[name]
		return p.version, p.state == isInstalled
	})
	return h
}

func TestLacks(t *testing.T) {
	h := debianHost(spec.Package{Name: "libc6"}, spec.Package{Name: "libc6", Min: "2.37"}, spec.Package{Name: "awk"}, spec.Package{Name: "fast-awk", Min: "7"},
		spec.Package{Name: "exim4"}, spec.Package{Name: "git"}, spec.Package{Name: "gcc-c++", Families: map[string]string{spec.Debian: "g++"}})
	want := []Lack{{Name: "libc6", Min: "2.37", Have: "2.36-9+deb12u4"}, {Name: "exim4"}, {Name: "git"}, {Name: "g++"}}
	if !slices.Equal(h.Lacks, want) {
		t.Errorf("lacks %+v, want %+v", h.Lacks, want)
	}
}

func TestSimulation(t *testing.T) {
	h := debianHost(spec.Package{Name: "gcc"}, spec.Package{Name: "libc6", Min: "2.37"}, spec.Package{Name: "exim4"})
	for _, c := range []struct{ out, others, diff string }{
		{"Inst gcc (4:12.2.0-3 volatile-packages-file [amd64])\nInst libgcc-12-dev:amd64 (12.2.0-14 x [amd64]) []\nConf gcc (4:12.2.0-3 x [amd64])\n", "",
			"+gcc 4:12.2.0-3\n+libgcc-12-dev 12.2.0-14\n"},
		{"Inst libc6 [2.36-9+deb12u4] (2.37-1 x [amd64]) []\n", "", "-libc6 2.36-9+deb12u4\n+libc6 2.37-1\n"},
		{"Inst mawk [1.3.4] (1.3.5 x [amd64])\n", "", "-mawk 1.3.4\n+mawk 1.3.5\n"},
		{"Inst libc6 [2.36-9+deb12u4] (2.31-1 x [amd64])\n", "downgrade libc6 from 2.36-9+deb12u4 to 2.31-1", ""},
		{"Remv postfix [3.7] [exim4]\nInst exim4 (4.96-15 x [all])\n", "remove postfix", "+exim4 4.96-15\n"},
	} {
		plan, others := h.parseSimulation(c.out)
		if got := strings.Join(others, "; "); got != c.others {
			t.Errorf("%q: others %q, want %q", c.out, got, c.others)
		}
		if got := plan.Diff(); got != c.diff {
			t.Errorf("%q: diff %q, want %q", c.out, got, c.diff)
		}
	}
	plan, _ := h.parseSimulation("Inst gcc (1 x [amd64])\nInst mawk [1.3.4] (1.3.5 x [amd64])\n")
	if got, want := plan.Title(), "install gcc, libc6, exim4; upgrade mawk from 1.3.4 to 1.3.5"; got != want {
		t.Errorf("title %q, want %q", got, want)
	}
	plan, _ = h.parseSimulation("Inst gcc (1 x [amd64])\nInst exim4 (4.96-15 x [all])\n")
	if plan.New[0].purge != true || plan.New[1].purge != false {
		t.Errorf("the configuration of exim4 was there before: %+v", plan.New)
	}
	index := "Package: gcc\nVersion: 1\nFilename: ./gcc_1_amd64.deb\n\nPackage: gcc\nVersion: 2\nFilename: ./gcc_2_amd64.deb\n\nPackage: make\nVersion: 1\nFilename: ./make_1_amd64.deb\n\n"
	if got := filesOf(index, plan); !slices.Equal(got, []string{"gcc_1_amd64.deb"}) {
		t.Errorf("files %q", got)
	}
}

func TestRPMNames(t *testing.T) {
	for _, c := range []struct {
		file, name, version, arch string
		ok                        bool
	}{
		{"gcc-c++-8.5.0-22.el8_10.x86_64.rpm", "gcc-c++", "8.5.0-22.el8_10", "x86_64", true},
		{"kernel-headers-4.18.0-553.el8_10.noarch.rpm", "kernel-headers", "4.18.0-553.el8_10", "noarch", true},
		{"gcc.rpm", "", "", "", false}, {"-1-1.x86_64.rpm", "", "", "", false}, {"a-1.x86_64.rpm", "", "", "", false}, {"a-1-1.x86_64.deb", "", "", "", false},
	} {
		if name, version, arch, ok := rpmOf(c.file); name != c.name || version != c.version || arch != c.arch || ok != c.ok {
			t.Errorf("%s: %q %q %q %v", c.file, name, version, arch, ok)
		}
	}
}

func TestAPK(t *testing.T) {
	has := parseAPK("C:Q1abc=\nP:musl\nV:1.2.4-r2\nA:x86_64\nF:lib\n\nP:busybox\nV:1.36.1-r5\n")
	if has["musl"] != "1.2.4-r2" || has["busybox"] != "1.36.1-r5" || len(has) != 2 {
		t.Errorf("%v", has)
	}
}

// What rpm 4.18 says of four files.
func TestUnsigned(t *testing.T) {
	const out = "/d/tool-2.0-1.noarch.rpm: digests signatures OK\n/d/rogue-1.0-1.noarch.rpm: digests OK\n/d/alien-1.0-1.noarch.rpm: digests SIGNATURES NOT OK\n/d/old-1-1.x86_64.rpm: rsa sha1 (md5) pgp md5 OK\n"
	want := []string{"rogue-1.0-1.noarch.rpm: digests OK", "alien-1.0-1.noarch.rpm: digests SIGNATURES NOT OK"}
	if got := unsigned(out, "/d"); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// A cut installation left git half configured: it is completed, and taken back
// only if it was gofleet's.
func TestUnfinished(t *testing.T) {
	const out = "Inst git [1:2.39.5-0+deb12u2] (1:2.39.5-0+deb12u2 x [amd64])\nConf git (1:2.39.5-0+deb12u2 x [amd64])\n"
	for _, cut := range [][]string{nil, {"git"}} {
		h := debianHost(spec.Package{Name: "git"})
		h.Cut = cut
		plan, others := h.parseSimulation(out)
		if len(others) > 0 || len(plan.Along)+len(plan.Newer) > 0 || len(plan.New) != 1 || plan.New[0].purge != (cut != nil) || plan.Diff() != "+git 1:2.39.5-0+deb12u2\n" {
			t.Errorf("cut %q: %+v, others %q", cut, plan, others)
		}
	}
	plan, _ := debianHost(spec.Package{Name: "git"}).parseSimulation("Conf git (1:2.39.5-0+deb12u2 x [amd64])\n")
	if len(plan.New) > 0 || !plan.configures {
		t.Errorf("what is unpacked is to be configured: %+v", plan)
	}
}
