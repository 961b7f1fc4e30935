// Package policy compares what is known of a host with what its Spec requires.
// It only compares: the agent gathers facts with it, and the controller uses
// it on what a shell said where no agent could start.
package policy

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gofleet/gofleet/agent/spec"
	"github.com/gofleet/gofleet/agent/wire"
)

// Input is what the checks need beside facts and Spec.
type Input struct {
	Now time.Time // the controller's clock when the facts were asked for; zero leaves the clock unchecked
	// What the wanted toolchain already takes on the host counts as free.
	InstalledBytes, InstalledInodes int64
}

// variable is the start of the name of every precondition, for hints.
const variable = "gofleet_preconditions."

// Check compares all facts with every precondition that is on, in the order
// of docs/preconditions.md.
func Check(f *wire.Facts, s *spec.Spec, in Input) []wire.Check {
	p := &s.Preconditions
	checks := base(f, p)
	checks = appendIf(checks, cpus(f, p.CPUs))
	checks = appendIf(checks, memory(f, p.Memory))
	checks = appendIf(checks, disk(f, p.Disk, in.InstalledBytes))
	checks = appendIf(checks, inodes(f, p.Inodes, in.InstalledInodes))
	checks = appendIf(checks, noexec(f, p.Noexec, s.Root))
	checks = appendIf(checks, clock(f, p.Clock, in.Now))
	checks = appendIf(checks, distribution(f, p.Distributions))
	for _, c := range p.Commands {
		checks = append(checks, command(f, c))
	}
	return append(checks, cgo(f, p.Cgo)...)
}

// CheckProbe compares the few facts that a shell can tell without an agent.
// What it could not tell is not checked.
func CheckProbe(f *wire.Facts, s *spec.Spec) []wire.Check {
	p := s.Preconditions
	if f.OS == "" {
		p.OS = nil
	}
	if f.Machine == "" {
		p.Arch = nil
	}
	if f.Kernel == "" {
		p.Kernel = nil
	}
	if f.Libc == "" {
		p.Glibc = nil
	}
	return base(f, &p)
}

// Met reports whether no check failed.
func Met(checks []wire.Check) bool {
	for _, c := range checks {
		if c.Status == wire.Fail {
			return false
		}
	}
	return true
}

// base has the checks that the shell probe allows too.
func base(f *wire.Facts, p *spec.Preconditions) []wire.Check {
	var checks []wire.Check
	checks = appendIf(checks, system(f, p.OS))
	checks = appendIf(checks, arch(f, p.Arch))
	checks = appendIf(checks, kernel(f, p.Kernel))
	checks = appendIf(checks, glibc(f, p.Glibc))
	return checks
}

// appendIf appends a check that is on.
func appendIf(checks []wire.Check, c *wire.Check) []wire.Check {
	if c == nil {
		return checks
	}
	return append(checks, *c)
}

// result makes the check that follows from ok.
func result(name string, ok bool, actual, wanted, hint string) *wire.Check {
	c := &wire.Check{Name: name, Status: wire.Pass, Actual: actual, Wanted: wanted}
	if !ok {
		c.Status, c.Hint = wire.Fail, hint
	}
	return c
}

func system(f *wire.Facts, want []string) *wire.Check {
	if len(want) == 0 {
		return nil
	}
	return result("os", slices.Contains(want, f.OS), orUnknown(f.OS), strings.Join(want, " or "),
		"gofleet installs Go on Linux; take the host out of this group")
}

func arch(f *wire.Facts, want []string) *wire.Check {
	if len(want) == 0 {
		return nil
	}
	machine := Machine(f.Machine, f.Bits)
	ok := slices.ContainsFunc(want, func(w string) bool { return serves(w, machine) })
	actual := orUnknown(machine)
	hint := "add " + machine + " to " + variable + "arch if the host is meant to have Go"
	if _, known := spec.ArchOfMachine(machine); !known {
		hint = "there is no Go archive for this machine"
	}
	if machine != f.Machine {
		actual = fmt.Sprintf("%s (a %d-bit userland on an %s kernel)", machine, f.Bits, f.Machine)
		hint = "the kernel is 64-bit but the programs are not: install a 64-bit system, or " + hint
	}
	return result("arch", ok, actual, strings.Join(want, " or "), hint)
}

// serves reports whether a host of this machine is what want asks for: the
// machine itself, a later one of 32-bit ARM, or any of the x86 line.
func serves(want, machine string) bool {
	if want == machine {
		return true
	}
	line := []string{"armv6l", "armv7l", "armv8l"}
	if w, m := slices.Index(line, want), slices.Index(line, machine); w >= 0 && m >= 0 {
		return m >= w
	}
	w, _ := spec.ArchOfMachine(want)
	m, _ := spec.ArchOfMachine(machine)
	return w == "386" && m == "386"
}

// Machine is the machine that a host's programs are for: what uname -m says,
// unless its userland has 32 bits on a 64-bit kernel.
func Machine(machine string, bits int) string {
	if bits != 32 {
		return machine
	}
	switch machine {
	case "x86_64":
		return "i686"
	case "aarch64":
		return "armv8l"
	}
	return machine
}

// Platform is the platform whose Go a host wants, and false for a machine
// that no Go archive serves.
func Platform(f *wire.Facts) (spec.Platform, bool) {
	a, ok := spec.ArchOfMachine(Machine(f.Machine, f.Bits))
	return spec.Platform{OS: f.OS, Arch: a}, ok
}

func kernel(f *wire.Facts, want *spec.VersionRange) *wire.Check {
	if want == nil {
		return nil
	}
	return versions("kernel", "", f.Kernel, want, "update the kernel")
}

func glibc(f *wire.Facts, want *spec.VersionRange) *wire.Check {
	if want == nil {
		return nil
	}
	version, isGlibc := strings.CutPrefix(f.Libc, "glibc")
	version = strings.TrimSpace(version)
	if !isGlibc {
		c := versions("glibc", "glibc ", "", want, "")
		c.Actual = orUnknown(f.Libc)
		c.Status = wire.Fail
		if want.Min == "" {
			c.Status = wire.Warn
		}
		c.Hint = "Go 1.21 and later run without glibc, but programs built with cgo elsewhere do not; set " +
			variable + "glibc to null if that is fine"
		return c
	}
	return versions("glibc", "glibc ", version, want, "install a newer release of the distribution")
}

// versions checks one version against its range. An unknown version fails.
func versions(name, label, actual string, want *spec.VersionRange, remedy string) *wire.Check {
	c := &wire.Check{Name: name, Status: wire.Pass, Actual: label + actual}
	if actual == "" {
		c.Actual = "unknown"
	}
	low, rec := label+want.Min, label+want.Recommended
	known := actual != ""
	return grade(c, bounds{
		min: want.Min != "", recommended: want.Recommended != "",
		belowMin:         !known || spec.CompareVersions(actual, want.Min) < 0,
		belowRecommended: !known || spec.CompareVersions(actual, want.Recommended) < 0,
		minText:          low, recommendedText: rec,
	}, remedy)
}

// bounds is how a fact stands to its two limits.
type bounds struct {
	min, recommended           bool // there is such a limit
	belowMin, belowRecommended bool
	minText, recommendedText   string
}

// grade sets status, wanted and hint.
func grade(c *wire.Check, b bounds, remedy string) *wire.Check {
	key := variable + c.Name
	switch {
	case b.min && b.belowMin:
		c.Status = wire.Fail
		c.Wanted = "at least " + b.minText
		c.Hint = fmt.Sprintf("%s, or lower %s.min", remedy, key)
	case b.recommended && b.belowRecommended:
		c.Status = wire.Warn
		c.Wanted = b.recommendedText + " recommended"
		c.Hint = fmt.Sprintf("%s, or lower %s.recommended", remedy, key)
	case b.min && b.recommended:
		c.Wanted = fmt.Sprintf("at least %s, %s recommended", b.minText, b.recommendedText)
	case b.min:
		c.Wanted = "at least " + b.minText
	default:
		c.Wanted = b.recommendedText + " recommended"
	}
	return c
}

func orUnknown(s string) string {
	if s == "" {
		return "unknown"
	}
	return s
}
