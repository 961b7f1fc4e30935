package spec

import (
	"slices"
	"strings"
	"time"
)

func defaultPreconditions() Preconditions {
	return Preconditions{
		OS:     []string{"linux"},
		Arch:   []string{"x86_64", "aarch64"},
		Kernel: &VersionRange{Min: "4.14"},
		Glibc:  &VersionRange{Min: "2.28"},
		CPUs:   &Amount{Min: 1, Recommended: 4},
		Memory: &Amount{Min: 2e9, Recommended: 8e9},
		Disk:   &Amount{Min: 1e9},
		Inodes: &Amount{Min: 20000},
		Noexec: "fail",
		Clock:  &Clock{MaxSkew: 5 * time.Minute},
	}
}

// preconditions has one function for each precondition, in the order in which
// checks are made and documented. A null has set it off before they are called.
var preconditions = []struct {
	name string
	read func(n *node, p *Preconditions)
}{
	{"os", func(n *node, p *Preconditions) { p.OS = n.names("os", "[linux]", osName) }},
	{"arch", func(n *node, p *Preconditions) { p.Arch = n.names("architecture", "[x86_64, aarch64]", archName) }},
	{"kernel", func(n *node, p *Preconditions) { p.Kernel = n.versionRange(p.Kernel, `"4.14"`) }},
	{"glibc", func(n *node, p *Preconditions) { p.Glibc = n.versionRange(p.Glibc, `"2.28"`) }},
	{"cpus", func(n *node, p *Preconditions) { p.CPUs = n.amount(p.CPUs, "4", (*node).count) }},
	{"memory", func(n *node, p *Preconditions) { p.Memory = n.amount(p.Memory, "2GB", (*node).size) }},
	{"disk", func(n *node, p *Preconditions) { p.Disk = n.amount(p.Disk, "1GB", (*node).size) }},
	{"inodes", func(n *node, p *Preconditions) { p.Inodes = n.amount(p.Inodes, "20000", (*node).count) }},
	{"noexec", func(n *node, p *Preconditions) {
		if b, isBool := n.v.(bool); isBool && !b {
			n.fail("write null to switch it off", "must be fail or warn, not false")
		} else if s, ok := n.choice("fail", "warn"); ok {
			p.Noexec = s
		}
	}},
	{"clock", func(n *node, p *Preconditions) { p.Clock = n.clock(p.Clock) }},
	{"distributions", func(n *node, p *Preconditions) { p.Distributions = n.distributions() }},
	{"commands", func(n *node, p *Preconditions) { p.Commands = n.commandRequirements() }},
	{"cgo", func(n *node, p *Preconditions) { p.Cgo = n.cgo() }},
	{"module_proxy", func(n *node, p *Preconditions) { p.ModuleProxy = n.moduleProxy() }},
}

// preconditions reads gofleet_preconditions over the defaults in p.
func (n *node) preconditions(p *Preconditions) {
	names := make([]string, len(preconditions))
	for i, one := range preconditions {
		names[i] = one.name
	}
	m, ok := n.dict(names, "write it like {memory: {min: 4GB}}")
	if !ok {
		return
	}
	for _, one := range preconditions {
		c, ok := m[one.name]
		switch {
		case !ok:
		case c.v == nil || c.p.o.Lenient && c.v == "":
			p.off(one.name)
		default:
			one.read(c, p)
		}
	}
}

// off switches one precondition off.
func (p *Preconditions) off(name string) {
	switch name {
	case "os":
		p.OS = nil
	case "arch":
		p.Arch = nil
	case "kernel":
		p.Kernel = nil
	case "glibc":
		p.Glibc = nil
	case "cpus":
		p.CPUs = nil
	case "memory":
		p.Memory = nil
	case "disk":
		p.Disk = nil
	case "inodes":
		p.Inodes = nil
	case "noexec":
		p.Noexec = ""
	case "clock":
		p.Clock = nil
	case "distributions":
		p.Distributions = nil
	case "commands":
		p.Commands = nil
	case "module_proxy":
		p.ModuleProxy = nil
	case "cgo":
		p.Cgo = nil
	}
}

// names reads a list of names, each checked and brought to one spelling.
func (n *node) names(what, example string, canonical func(string) (name, hint string)) []string {
	items, _ := n.list("write a list, like " + example)
	var out []string
	for _, item := range items {
		s, ok := item.v.(string)
		if !ok {
			item.fail("quote it", "must be the name of an %s, not %s", what, kind(item.v))
			continue
		}
		name, hint := canonical(strings.ToLower(strings.TrimSpace(s)))
		if name == "" {
			item.fail(hint, "%s is not an %s that gofleet serves", quote(s), what)
		} else if !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out
}

func osName(s string) (name, hint string) {
	if s != "linux" {
		return "", "write [linux], or null to switch the check off"
	}
	return s, ""
}

// archName brings an architecture to what uname -m says.
func archName(s string) (name, hint string) {
	if _, ok := machines[s]; ok {
		return s, ""
	}
	for alias, machine := range map[string]string{
		"amd64": "x86_64", "x86-64": "x86_64", "arm64": "aarch64", "386": "i686", "x86": "i686", "loong64": "loongarch64",
		"arm": "armv6l", "armv6": "armv6l", "armhf": "armv7l", "armv7": "armv7l",
	} {
		if s == alias {
			return machine, ""
		}
	}
	known := make([]string, 0, len(machines))
	for m := range machines {
		known = append(known, m)
	}
	slices.Sort(known)
	if near := Nearest(s, known); near != "" {
		return "", "did you mean " + near + "?"
	}
	return "", "known: " + strings.Join(known, ", ")
}

// bounds reads a dictionary with min and recommended.
func (n *node) bounds(example string) (low, recommended *node, ok bool) {
	m, ok := n.dict([]string{"min", "recommended"}, "write it like {min: "+example+"}; null switches the check off")
	return m["min"], m["recommended"], ok
}

// versionRange reads a range over its defaults, which stay as they are.
func (n *node) versionRange(def *VersionRange, example string) *VersionRange {
	out := VersionRange{}
	if def != nil {
		out = *def
	}
	low, rec, ok := n.bounds(example)
	if !ok {
		return def
	}
	read := func(n *node) (string, bool) { return n.dotted(example) }
	set(low, &out.Min, read)
	set(rec, &out.Recommended, read)
	if out.Min != "" && out.Recommended != "" && CompareVersions(out.Recommended, out.Min) < 0 {
		rec.orElse(n).fail("raise it, or lower min", "recommends %s, which is below min %s", out.Recommended, out.Min)
	}
	if out == (VersionRange{}) {
		return nil
	}
	return &out
}

// set reads a key into to: null clears it, and one that is not given, or
// wrong, leaves it.
func set[T any](n *node, to *T, read func(*node) (T, bool)) {
	if n == nil {
		return
	}
	var v T
	if n.v != nil {
		var ok bool
		if v, ok = read(n); !ok {
			return
		}
	}
	*to = v
}

// orElse is n, or other where n was not given.
func (n *node) orElse(other *node) *node {
	if n == nil {
		return other
	}
	return n
}

// amount reads numbers over their defaults, which stay as they are.
func (n *node) amount(def *Amount, example string, read func(*node) (int64, bool)) *Amount {
	out := Amount{}
	if def != nil {
		out = *def
	}
	low, rec, ok := n.bounds(example)
	if !ok {
		return def
	}
	set(low, &out.Min, read)
	set(rec, &out.Recommended, read)
	if out.Recommended > 0 && out.Recommended < out.Min {
		if rec == nil {
			out.Recommended = 0 // the default says nothing above a higher min
		} else {
			rec.fail("raise it, or lower min", "recommends less than min")
		}
	}
	if out == (Amount{}) {
		return nil
	}
	return &out
}

func (n *node) count() (int64, bool) { return n.integer(0, 1<<40) }

// clock reads {max_skew: 5m}.
func (n *node) clock(def *Clock) *Clock {
	m, ok := n.dict([]string{"max_skew"}, "write it like {max_skew: 5m}; null switches the check off")
	c, given := m["max_skew"]
	switch {
	case !ok || !given:
		return def
	case c.v == nil:
		return nil
	}
	d, ok := c.duration(24 * time.Hour)
	if !ok {
		return def
	}
	return &Clock{MaxSkew: d}
}

// distributions reads the two lists of conditions.
func (n *node) distributions() *Distributions {
	m, ok := n.dict([]string{"required", "recommended"}, `write it like {required: ["ubuntu>=20.04", "debian>=11"]}`)
	if !ok {
		return nil
	}
	d := Distributions{Required: m["required"].conditions(), Recommended: m["recommended"].conditions()}
	if d.Required == nil && d.Recommended == nil {
		return nil
	}
	return &d
}

// conditions reads one list of conditions in their canonical form.
func (n *node) conditions() []string {
	if n.null() {
		return nil
	}
	const example = `write a list, like ["ubuntu>=20.04", "debian>=11"]`
	if s, ok := n.v.(string); ok && n.p.o.Lenient { // commas may stand inside a condition
		n.v = []any{s}
	}
	items, _ := n.list(example)
	var out []string
	for _, item := range items {
		s, ok := item.text(example)
		if !ok {
			continue
		}
		c, err := ParseCondition(s)
		if err != nil {
			item.fail(`write it like "ubuntu>=20.04", with the ID of /etc/os-release`, "%s", err)
		} else if !slices.Contains(out, c.String()) {
			out = append(out, c.String())
		}
	}
	return out
}

// commandRequirements reads the programs that must be there.
func (n *node) commandRequirements() []CommandRequirement {
	const example = `write a list, like [gcc, {name: git, min: "2.30"}]`
	items, _ := n.list(example)
	var out []CommandRequirement
	seen := map[string]bool{}
	for _, item := range items {
		name, req := item, CommandRequirement{}
		if _, isDict := item.v.(map[string]any); isDict {
			m, _ := item.dict([]string{"name", "min"}, example)
			if name, isDict = m["name"]; !isDict {
				item.fail(example, "has no name")
				continue
			}
			if low := m["min"]; !low.null() {
				req.Min, _ = low.dotted(`"2.30"`)
			}
		}
		s, ok := name.v.(string)
		switch {
		case !ok:
			name.fail(example, "must be the name of a command, not %s", kind(name.v))
			continue
		case !isCommandName(s):
			name.fail("write the name alone, as it stands on the PATH", "%s is not the name of a command", quote(s))
			continue
		case seen[s]:
			name.fail("keep one of them", "is listed twice: %s", s)
			continue
		}
		seen[s] = true
		req.Name = s
		out = append(out, req)
	}
	return out
}

func isCommandName(s string) bool {
	for i, r := range s {
		word := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_'
		if !word && (i == 0 || !strings.ContainsRune(".+-@", r)) {
			return false
		}
	}
	return s != "" && len(s) <= 128
}
