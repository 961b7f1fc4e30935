package policy_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/gofleet/gofleet/agent/policy"
	"github.com/gofleet/gofleet/agent/spec"
	"github.com/gofleet/gofleet/agent/wire"
)

var now = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// good is a host that meets every default.
func good() *wire.Facts {
	return &wire.Facts{
		OS: "linux", Kernel: "5.15.0-91-generic", Machine: "x86_64", Bits: 64, Libc: "glibc 2.35",
		Distribution: "ubuntu", DistVersion: "22.04", CPUs: 8, Memory: 16e9,
		DiskPath: "/usr/local/lib", DiskFree: 50e9, InodesFree: 1e6, Clock: now,
	}
}

func wanted(t *testing.T, preconditions map[string]any) *spec.Spec {
	t.Helper()
	s, err := spec.Parse(map[string]any{"preconditions": preconditions}, spec.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestGoodHostPasses(t *testing.T) {
	checks := policy.Check(good(), wanted(t, nil), policy.Input{Now: now})
	var names []string
	for _, c := range checks {
		names = append(names, c.Name)
		if c.Status != wire.Pass || c.Hint != "" || c.Actual == "" || c.Wanted == "" {
			t.Errorf("%+v", c)
		}
	}
	want := []string{"os", "arch", "kernel", "glibc", "cpus", "memory", "disk", "inodes", "noexec", "clock"}
	if !reflect.DeepEqual(names, want) || !policy.Met(checks) {
		t.Errorf("checks are %v, met %v; want %v", names, policy.Met(checks), want)
	}
}

// dict is a dictionary of variables.
type dict = map[string]any

func TestChecks(t *testing.T) {
	for _, tt := range []struct {
		name   string // of the check
		facts  func(*wire.Facts)
		pre    dict
		status wire.CheckStatus
		actual string
		wanted string
		hint   string // a part
	}{
		{"os", func(f *wire.Facts) { f.OS = "freebsd" }, nil, wire.Fail, "freebsd", "linux", "Linux"},

		{"arch", func(f *wire.Facts) { f.Machine = "riscv64" }, nil, wire.Fail, "riscv64", "x86_64 or aarch64", "add riscv64 to gofleet_preconditions.arch"},
		{"arch", func(f *wire.Facts) { f.Machine = "alpha" }, nil, wire.Fail, "alpha", "x86_64 or aarch64", "no Go archive"},
		{"arch", func(f *wire.Facts) { f.Bits = 32 }, nil, wire.Fail, "i686 (a 32-bit userland on an x86_64 kernel)", "x86_64 or aarch64", "install a 64-bit system, or add i686"},
		{"arch", func(f *wire.Facts) { f.Bits = 32 }, dict{"arch": []any{"386"}}, wire.Pass, "i686 (a 32-bit userland on an x86_64 kernel)", "i686", ""},
		{"arch", func(f *wire.Facts) { f.Machine = "i586" }, dict{"arch": []any{"i386"}}, wire.Pass, "i586", "i386", ""},
		{"arch", func(f *wire.Facts) { f.Machine, f.Bits = "aarch64", 32 }, dict{"arch": []any{"armv7l"}}, wire.Pass, "armv8l (a 32-bit userland on an aarch64 kernel)", "armv7l", ""},
		{"arch", func(f *wire.Facts) { f.Machine = "armv6l" }, dict{"arch": []any{"armv7l"}}, wire.Fail, "armv6l", "armv7l", "add armv6l"},
		{"arch", func(f *wire.Facts) { f.Machine, f.Bits = "aarch64", 0 }, nil, wire.Pass, "aarch64", "x86_64 or aarch64", ""},

		{"kernel", func(f *wire.Facts) { f.Kernel = "2.6.32-754.el6.x86_64" }, nil, wire.Fail, "2.6.32-754.el6.x86_64", "at least 4.14", "update the kernel, or lower gofleet_preconditions.kernel.min"},
		{"kernel", func(f *wire.Facts) { f.Kernel = "4.9.0" }, nil, wire.Fail, "4.9.0", "at least 4.14", ""},
		{"kernel", nil, dict{"kernel": dict{"recommended": "6.1"}}, wire.Warn, "5.15.0-91-generic", "6.1 recommended", "kernel.recommended"},
		{"kernel", nil, dict{"kernel": dict{"recommended": "5.4"}}, wire.Pass, "5.15.0-91-generic", "at least 4.14, 5.4 recommended", ""},
		{"kernel", func(f *wire.Facts) { f.Kernel = "" }, nil, wire.Fail, "unknown", "at least 4.14", ""},

		{"glibc", func(f *wire.Facts) { f.Libc = "glibc 2.17" }, nil, wire.Fail, "glibc 2.17", "at least glibc 2.28", "newer release of the distribution"},
		{"glibc", func(f *wire.Facts) { f.Libc = "musl 1.2.4" }, nil, wire.Fail, "musl 1.2.4", "at least glibc 2.28", "gofleet_preconditions.glibc to null"},
		{"glibc", func(f *wire.Facts) { f.Libc = "none" }, nil, wire.Fail, "none", "at least glibc 2.28", "to null"},
		{"glibc", func(f *wire.Facts) { f.Libc = "none" }, dict{"glibc": dict{"min": nil, "recommended": "2.28"}}, wire.Warn, "none", "glibc 2.28 recommended", "to null"},
		{"glibc", func(f *wire.Facts) { f.Libc = "glibc" }, nil, wire.Fail, "unknown", "at least glibc 2.28", ""},

		{"cpus", func(f *wire.Facts) { f.CPUs = 2 }, nil, wire.Warn, "2", "4 recommended", "give the host more CPUs, or lower gofleet_preconditions.cpus.recommended"},
		{"cpus", func(f *wire.Facts) { f.CPUs, f.CPULimit = 1, "CPU affinity" }, dict{"cpus": dict{"min": int64(2)}}, wire.Fail, "1 (limited by CPU affinity)", "at least 2", "raise the limit (CPU affinity)"},

		{"memory", func(f *wire.Facts) { f.Memory = 1_799_999_999 }, nil, wire.Fail, "1.7 GB", "at least 2 GB", "gofleet_preconditions.memory.min"},
		{"memory", func(f *wire.Facts) { f.Memory = 1_800_000_000 }, nil, wire.Warn, "1.8 GB", "8 GB recommended", "memory.recommended"},
		{"memory", func(f *wire.Facts) { f.Memory = 7_200_000_000 }, nil, wire.Pass, "7.2 GB", "at least 2 GB, 8 GB recommended", ""},
		{"memory", func(f *wire.Facts) { f.Memory, f.MemoryLimit = 1e9, "the memory limit of cgroup /x" }, nil, wire.Fail, "1 GB (limited by the memory limit of cgroup /x)", "at least 2 GB", "raise the limit"},
		{"memory", func(f *wire.Facts) { f.Memory = 0 }, nil, wire.Fail, "unknown", "at least 2 GB", "mount /proc"},

		{"disk", func(f *wire.Facts) { f.DiskFree = 999_999_999 }, nil, wire.Fail, "999 MB free in /usr/local/lib", "at least 1 GB", "free some space in /usr/local/lib"},
		{"disk", func(f *wire.Facts) { f.DiskFree = -1 }, nil, wire.Fail, "unknown", "at least 1 GB", ""},
		{"disk", func(f *wire.Facts) { f.ReadOnly = true }, nil, wire.Fail, "/usr/local/lib is mounted read-only", "at least 1 GB", "mount it writable"},
		{"disk", nil, dict{"disk": dict{"recommended": "8000000TB"}}, wire.Warn, "50 GB free in /usr/local/lib", "8000000 TB recommended", ""},

		{"inodes", func(f *wire.Facts) { f.InodesFree = 19_999 }, nil, wire.Fail, "19,999 free in /usr/local/lib", "at least 20,000", "caches"},
		{"inodes", func(f *wire.Facts) { f.InodesFree = -1 }, nil, wire.Pass, "no limit", "at least 20,000", ""},

		{"noexec", func(f *wire.Facts) { f.Noexec = true }, nil, wire.Fail, "/usr/local/lib is mounted noexec", "programs may run in /usr/local/lib/gofleet", "without noexec"},
		{"noexec", func(f *wire.Facts) { f.Noexec = true }, dict{"noexec": "warn"}, wire.Warn, "/usr/local/lib is mounted noexec", "programs may run in /usr/local/lib/gofleet", "without noexec"},

		{"clock", func(f *wire.Facts) { f.Clock = now.Add(5*time.Minute + time.Second) }, nil, wire.Warn, "5m1s ahead", "within 5m of the controller", "chrony"},
		{"clock", func(f *wire.Facts) { f.Clock = now.Add(-3 * time.Hour) }, nil, wire.Warn, "3h behind", "within 5m of the controller", "chrony"},
		{"clock", func(f *wire.Facts) { f.Clock = now.Add(-5 * time.Minute) }, nil, wire.Pass, "5m behind", "within 5m of the controller", ""},
		{"clock", func(f *wire.Facts) { f.Clock = now.Add(10 * time.Hour) }, dict{"clock": dict{"max_skew": "1h30m"}}, wire.Warn, "10h ahead", "within 1h30m of the controller", ""},

		{"distribution", nil, dict{"distributions": dict{"required": []any{"debian>=11", "ubuntu>=20.04"}}}, wire.Pass, "ubuntu 22.04", "debian>=11 or ubuntu>=20.04", ""},
		{"distribution", nil, dict{"distributions": dict{"required": []any{"debian"}}}, wire.Fail, "ubuntu 22.04", "debian", "gofleet_preconditions.distributions.required"},
		{"distribution", nil, dict{"distributions": dict{"required": []any{"ubuntu"}, "recommended": []any{"ubuntu>=24.04"}}}, wire.Warn, "ubuntu 22.04", "ubuntu>=24.04 recommended", "distributions.recommended"},
		{"distribution", nil, dict{"distributions": dict{"recommended": []any{"ubuntu"}}}, wire.Pass, "ubuntu 22.04", "ubuntu recommended", ""},
		{"distribution", func(f *wire.Facts) { f.Distribution, f.DistVersion = "", "" }, dict{"distributions": dict{"required": []any{"debian"}}}, wire.Fail, "unknown", "debian", ""},

		{"command gcc", nil, dict{"commands": []any{"gcc"}}, wire.Fail, "missing", "there", "install gcc on the host"},
		{"command gcc", func(f *wire.Facts) { f.Commands = map[string]string{"gcc": ""} }, dict{"commands": []any{"gcc"}}, wire.Pass, "there", "there", ""},
		{"command git", func(f *wire.Facts) { f.Commands = map[string]string{"git": "2.9.1"} }, dict{"commands": []any{dict{"name": "git", "min": "2.30"}}}, wire.Fail, "2.9.1", "at least 2.30", "update git"},
		{"command git", func(f *wire.Facts) { f.Commands = map[string]string{"git": "2.39.5"} }, dict{"commands": []any{dict{"name": "git", "min": "2.30"}}}, wire.Pass, "2.39.5", "at least 2.30", ""},
		{"command git", func(f *wire.Facts) { f.Commands = map[string]string{"git": ""} }, dict{"commands": []any{dict{"name": "git", "min": "2.30"}}}, wire.Fail, "there, but it tells no version", "at least 2.30", "leave min out"},
		{"cgo", nil, dict{"cgo": dict{}}, wire.Fail, "unknown", "a C toolchain", "cgo to null"},
		{"cgo gcc", parts("gcc", "gcc 12.2.0"), dict{"cgo": dict{"min": "12"}}, wire.Pass, "gcc 12.2.0", "at least 12", ""},
		{"cgo gcc", parts("gcc", "gcc 4.8.5"), dict{"cgo": dict{"min": "8"}}, wire.Fail, "gcc 4.8.5", "at least 8", "gofleet_preconditions.cgo.min"},
		{"cgo cc1", parts("cc1", ""), dict{"cgo": dict{}}, wire.Fail, "missing", "there", "apt-get install cpp gcc"},
		{"cgo headers", on("rocky", "9.4", parts("headers", "")), dict{"cgo": dict{}}, wire.Fail, "missing", "there", "dnf install glibc-devel"},
		{"cgo g++", on("centos", "7", parts("g++", "")), dict{"cgo": dict{}}, wire.Fail, "missing", "there", "yum install gcc-c++"},
		{"cgo pkg-config", on("sles", "15.6", parts("pkg-config", "")), dict{"cgo": dict{}}, wire.Fail, "missing", "there", "zypper install pkg-config"},
		{"cgo crt1.o", on("alpine", "3.20", parts("crt1.o", "")), dict{"cgo": dict{}}, wire.Fail, "missing", "there", "apk add musl-dev"},
		{"cgo ld", on("gentoo", "2.15", parts("ld", "")), dict{"cgo": dict{}}, wire.Fail, "missing", "there", "binutils (Debian), binutils (RHEL)"},
		{"cgo target", parts("target", "x86_64-redhat-linux"), dict{"cgo": dict{}}, wire.Pass, "x86_64-redhat-linux", "programs for linux/amd64", ""},
		{"cgo target", parts("target", "i686-linux-gnu"), dict{"cgo": dict{}}, wire.Fail, "i686-linux-gnu", "programs for linux/amd64", "cross compiler"},
		{"cgo target", machine("armv7l", parts("target", "arm-linux-gnueabihf")), dict{"arch": nil, "cgo": dict{}}, wire.Pass, "arm-linux-gnueabihf", "programs for linux/armv6l", ""},
		{"cgo target", machine("ppc64le", parts("target", "powerpc64le-linux-gnu")), dict{"arch": nil, "cgo": dict{}}, wire.Pass, "powerpc64le-linux-gnu", "programs for linux/ppc64le", ""},
		{"cgo program", func(f *wire.Facts) { f.Cgo = []wire.CgoPart{{Name: "program", Found: "C", Problem: "exit code 1"}} },
			dict{"cgo": dict{}}, wire.Fail, "exit code 1", "programs are built and run", "apt-get install gcc g++ libc6-dev"},
	} {
		f := good()
		if tt.facts != nil {
			tt.facts(f)
		}
		checks := policy.Check(f, wanted(t, tt.pre), policy.Input{Now: now})
		got := find(checks, tt.name)
		if got == nil {
			t.Errorf("no check %s in %+v", tt.name, checks)
			continue
		}
		if got.Status != tt.status || got.Actual != tt.actual || got.Wanted != tt.wanted {
			t.Errorf("%s %s: %q, wanted %q;\nwant %s: %q, wanted %q", got.Name, got.Status, got.Actual, got.Wanted, tt.status, tt.actual, tt.wanted)
		}
		if (got.Hint == "") != (tt.status == wire.Pass) || !strings.Contains(got.Hint, tt.hint) {
			t.Errorf("%s %s: hint %q; want %q in it", got.Name, got.Actual, got.Hint, tt.hint)
		}
		if policy.Met(checks) != (tt.status != wire.Fail) {
			t.Errorf("%s %s: met is %v", got.Name, got.Status, policy.Met(checks))
		}
	}
}

// parts is a host with one part of a C toolchain.
func parts(name, found string) func(*wire.Facts) {
	return func(f *wire.Facts) { f.Cgo = []wire.CgoPart{{Name: name, Found: found}} }
}

func on(distribution, version string, also func(*wire.Facts)) func(*wire.Facts) {
	return func(f *wire.Facts) { f.Distribution, f.DistVersion = distribution, version; also(f) }
}

func machine(name string, also func(*wire.Facts)) func(*wire.Facts) {
	return func(f *wire.Facts) { f.Machine = name; also(f) }
}

func find(checks []wire.Check, name string) *wire.Check {
	for i := range checks {
		if checks[i].Name == name {
			return &checks[i]
		}
	}
	return nil
}

func TestEveryFailureAtOnce(t *testing.T) {
	f := &wire.Facts{OS: "aix", Machine: "ppc", Kernel: "7.1", Libc: "none", Memory: 1e8, DiskPath: "/", DiskFree: 1, InodesFree: 1, Noexec: true}
	s := wanted(t, dict{"kernel": dict{"min": "7.2"}, "distributions": dict{"required": []any{"debian"}}, "commands": []any{"a", "b"}})
	for _, c := range policy.Check(f, s, policy.Input{}) {
		if c.Status != wire.Fail || c.Hint == "" {
			t.Errorf("%+v", c)
		}
	}
	if n := len(policy.Check(f, s, policy.Input{})); n != 12 { // all but the clock
		t.Errorf("%d checks", n)
	}
}

func TestOffIsNotChecked(t *testing.T) {
	s := wanted(t, nil)
	s.Preconditions = spec.Preconditions{}
	if checks := policy.Check(&wire.Facts{}, s, policy.Input{Now: now}); len(checks) != 0 {
		t.Errorf("checks are %+v", checks)
	}
}

// TestInstalledCountsAsFree: what the wanted toolchain takes already does not
// have to be free again.
func TestInstalledCountsAsFree(t *testing.T) {
	f := good()
	f.DiskFree, f.InodesFree = 800e6, 5000
	in := policy.Input{Now: now, InstalledBytes: 250e6, InstalledInodes: 17000}
	checks := policy.Check(f, wanted(t, nil), in)
	if !policy.Met(checks) {
		t.Errorf("not met: %+v", checks)
	}
	if c := find(checks, "disk"); c.Actual != "800 MB free in /usr/local/lib, and 250 MB that the wanted Go takes already" {
		t.Errorf("disk is %q", c.Actual)
	}
	if c := find(checks, "inodes"); c.Actual != "5,000 free in /usr/local/lib, and 17,000 that the wanted Go takes already" {
		t.Errorf("inodes are %q", c.Actual)
	}
	if policy.Met(policy.Check(f, wanted(t, nil), policy.Input{Now: now})) {
		t.Error("met without it")
	}
}

func TestProbe(t *testing.T) {
	f := policy.Probe("Linux", "mips64", "2.6.18-\x1b[2J", "64", "glibc-2.5")
	if f.OS != "linux" || f.Machine != "mips64" || f.Kernel != "2.6.18-[2J" || f.Bits != 64 || f.Libc != "glibc 2.5" {
		t.Errorf("facts are %+v", f)
	}
	checks := policy.CheckProbe(f, wanted(t, nil))
	if len(checks) != 4 || find(checks, "arch").Status != wire.Fail || find(checks, "kernel").Status != wire.Fail || find(checks, "glibc").Status != wire.Fail {
		t.Errorf("checks are %+v", checks)
	}
	// What the shell could not tell is not held against the host.
	if checks := policy.CheckProbe(policy.Probe("Linux", "x86_64", "", "", ""), wanted(t, nil)); len(checks) != 2 || !policy.Met(checks) {
		t.Errorf("checks are %+v", checks)
	}
}

func TestLibc(t *testing.T) {
	for s, want := range map[string]string{
		"glibc 2.36": "glibc 2.36", "glibc2.36": "glibc 2.36", "glibc-2.36": "glibc 2.36", "GNU libc 2.17": "glibc 2.17", "glibc": "glibc",
		"musl": "musl", "musl 1.2.4": "musl 1.2.4", "musl-1.2.4": "musl 1.2.4", "none": "none", "": "", "unknown": "", "2.36": "",
		"glibc\n2.36": "glibc 2.36",
	} {
		if got := policy.Libc(s); got != want {
			t.Errorf("Libc(%q) = %q; want %q", s, got, want)
		}
	}
}

func TestPlatform(t *testing.T) {
	for _, tt := range []struct {
		machine string
		bits    int
		want    string
	}{
		{"x86_64", 64, "linux/amd64"}, {"x86_64", 0, "linux/amd64"}, {"x86_64", 32, "linux/386"}, {"aarch64", 64, "linux/arm64"},
		{"aarch64", 32, "linux/armv6l"}, {"armv7l", 32, "linux/armv6l"}, {"i686", 32, "linux/386"}, {"loongarch64", 64, "linux/loong64"}, {"sparc64", 64, ""},
	} {
		p, ok := policy.Platform(&wire.Facts{OS: "linux", Machine: tt.machine, Bits: tt.bits})
		if ok != (tt.want != "") || ok && p.String() != tt.want {
			t.Errorf("%s with %d bits: %v, %v; want %s", tt.machine, tt.bits, p, ok, tt.want)
		}
	}
}
