package policy

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/gofleet/gofleet/agent/spec"
	"github.com/gofleet/gofleet/agent/wire"
)

func cpus(f *wire.Facts, want *spec.Amount) *wire.Check {
	if want == nil {
		return nil
	}
	c := &wire.Check{Name: "cpus", Status: wire.Pass, Actual: strconv.Itoa(f.CPUs)}
	remedy := "give the host more CPUs"
	if f.CPULimit != "" {
		c.Actual += " (limited by " + f.CPULimit + ")"
		remedy = "raise the limit (" + f.CPULimit + ")"
	}
	return amount(c, int64(f.CPUs), want, 100, count, remedy)
}

// memoryPercent of a figure is enough: kernels keep some memory back.
const memoryPercent = 90

func memory(f *wire.Facts, want *spec.Amount) *wire.Check {
	if want == nil {
		return nil
	}
	c := &wire.Check{Name: "memory", Status: wire.Pass, Actual: spec.FormatSize(f.Memory)}
	remedy := "give the host more memory"
	switch {
	case f.Memory <= 0:
		c.Actual, remedy = "unknown", "mount /proc on the host"
	case f.MemoryLimit != "":
		c.Actual += " (limited by " + f.MemoryLimit + ")"
		remedy = "raise the limit (" + f.MemoryLimit + ")"
	}
	return amount(c, f.Memory, want, memoryPercent, spec.FormatSize, remedy)
}

func disk(f *wire.Facts, want *spec.Amount, installed int64) *wire.Check {
	if want == nil {
		return nil
	}
	c := &wire.Check{Name: "disk", Status: wire.Pass, Actual: spec.FormatSize(f.DiskFree) + " free in " + f.DiskPath}
	remedy := "free some space in " + f.DiskPath + ", set gofleet_root to a larger filesystem"
	free := f.DiskFree
	switch {
	case f.DiskPath == "" || free < 0:
		c.Actual, remedy = "unknown", "make gofleet_root or its parent readable"
	case installed > 0:
		c.Actual += ", and " + spec.FormatSize(installed) + " that the wanted Go takes already"
		free += installed
	}
	amount(c, free, want, 100, spec.FormatSize, remedy)
	if f.ReadOnly {
		c.Status, c.Actual = wire.Fail, f.DiskPath+" is mounted read-only"
		c.Hint = "mount it writable, or set gofleet_root to a filesystem that is"
	}
	return c
}

func inodes(f *wire.Facts, want *spec.Amount, installed int64) *wire.Check {
	if want == nil {
		return nil
	}
	c := &wire.Check{Name: "inodes", Status: wire.Pass, Actual: count(f.InodesFree) + " free in " + f.DiskPath}
	if f.InodesFree < 0 {
		c.Actual = "no limit"
		return amount(c, 1<<62, want, 100, count, "")
	}
	if installed > 0 {
		c.Actual += ", and " + count(installed) + " that the wanted Go takes already"
	}
	return amount(c, f.InodesFree+installed, want, 100, count,
		"remove files in "+f.DiskPath+" (many small ones: caches, mail, sessions), set gofleet_root to another filesystem")
}

// amount checks a number against its limits, of which percent is enough.
func amount(c *wire.Check, have int64, want *spec.Amount, percent int64, text func(int64) string, remedy string) *wire.Check {
	// Divided first: a limit of exabytes must not overflow.
	below := func(limit int64) bool { return have < limit/100*percent+limit%100*percent/100 }
	return grade(c, bounds{
		min: want.Min > 0, recommended: want.Recommended > 0,
		belowMin: below(want.Min), belowRecommended: below(want.Recommended),
		minText: text(want.Min), recommendedText: text(want.Recommended),
	}, remedy)
}

// count writes a number with thousands apart: 20,000.
func count(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func noexec(f *wire.Facts, level, root string) *wire.Check {
	if level == "" {
		return nil
	}
	c := &wire.Check{Name: "noexec", Status: wire.Pass, Actual: "programs may run in " + f.DiskPath, Wanted: "programs may run in " + root}
	if f.DiskPath == "" {
		c.Actual = "unknown"
	}
	if f.Noexec {
		c.Status, c.Actual = wire.Fail, f.DiskPath+" is mounted noexec"
		c.Hint = "mount it without noexec, or set gofleet_root to a filesystem that is"
		if level == "warn" {
			c.Status = wire.Warn
		}
	}
	return c
}

func clock(f *wire.Facts, want *spec.Clock, now time.Time) *wire.Check {
	if want == nil || now.IsZero() || f.Clock.IsZero() {
		return nil
	}
	skew := f.Clock.Sub(now)
	c := &wire.Check{Name: "clock", Status: wire.Pass, Wanted: "within " + shortDuration(want.MaxSkew) + " of the controller"}
	direction := "ahead"
	if skew < 0 {
		skew, direction = -skew, "behind"
	}
	c.Actual = shortDuration(skew.Round(time.Second)) + " " + direction
	if skew < time.Second {
		c.Actual = "equal"
	}
	if skew > want.MaxSkew {
		c.Status = wire.Warn
		c.Hint = "set the host's clock (chrony, systemd-timesyncd), or the controller's: certificates and builds go wrong by it"
	}
	return c
}

// shortDuration leaves out the zeros at the end that time.Duration writes.
func shortDuration(d time.Duration) string {
	s := d.String()
	for _, zero := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(s, zero) {
			s = s[:len(s)-2]
		}
	}
	return s
}

func distribution(f *wire.Facts, want *spec.Distributions) *wire.Check {
	if want == nil || len(want.Required)+len(want.Recommended) == 0 {
		return nil
	}
	c := &wire.Check{Name: "distribution", Status: wire.Pass}
	c.Actual = orUnknown(strings.TrimSpace(f.Distribution + " " + f.DistVersion))
	holds := func(conditions []string) bool {
		for _, s := range conditions {
			if cond, err := spec.ParseCondition(s); err == nil && cond.Holds(f.Distribution, f.DistVersion) {
				return true
			}
		}
		return false
	}
	key := variable + "distributions"
	required, recommended := strings.Join(want.Required, " or "), strings.Join(want.Recommended, " or ")
	switch {
	case len(want.Required) > 0 && !holds(want.Required):
		c.Status, c.Wanted = wire.Fail, required
		c.Hint = "install one of these, or add this one to " + key + ".required"
	case len(want.Recommended) > 0 && !holds(want.Recommended):
		c.Status, c.Wanted = wire.Warn, recommended+" recommended"
		c.Hint = "install one of these, or add this one to " + key + ".recommended"
	case required != "":
		c.Wanted = required
	default:
		c.Wanted = recommended + " recommended"
	}
	return c
}

func command(f *wire.Facts, want spec.CommandRequirement) wire.Check {
	c := wire.Check{Name: "command " + want.Name, Status: wire.Pass, Actual: "there", Wanted: "there"}
	if want.Min != "" {
		c.Wanted = "at least " + want.Min
	}
	version, there := f.Commands[want.Name]
	if there && version != "" {
		c.Actual = version
	}
	switch {
	case !there:
		c.Status, c.Actual = wire.Fail, "missing"
		c.Hint = fmt.Sprintf("install %s on the host from its own package mirror, or take it out of %scommands", want.Name, variable)
	case want.Min != "" && version == "":
		c.Status, c.Actual = wire.Fail, "there, but it tells no version"
		c.Hint = fmt.Sprintf("leave min out for %s in %scommands", want.Name, variable)
	case want.Min != "" && spec.CompareVersions(version, want.Min) < 0:
		c.Status = wire.Fail
		c.Hint = fmt.Sprintf("update %s on the host, or lower its min in %scommands", want.Name, variable)
	}
	return c
}
