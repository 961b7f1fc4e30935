package spec

import "strings"

// Package is one package of the host's distribution that is to be installed.
type Package struct {
	Name string `json:"name"`
	Min  string `json:"min,omitempty"` // lowest version; without an epoch, none is compared
	// Upgrade allows that installed packages which it needs newer are upgraded.
	Upgrade bool `json:"upgrade,omitempty"`
	// Names in families of distributions where they differ from Name.
	Families map[string]string `json:"families,omitempty"`
}

// Families of distributions that name packages alike.
const (
	Debian = "debian"
	RHEL   = "rhel"
	SUSE   = "suse"
	Alpine = "alpine"
)

// In is the package's name in a family.
func (p Package) In(family string) string {
	if name := p.Families[family]; name != "" {
		return name
	}
	return p.Name
}

const packagesExample = `write a list, like [gcc, {name: g++, rhel: gcc-c++, suse: gcc-c++}, {name: git, min: "2.30"}]`

// packages reads gofleet_packages.
func (n *node) packages() []Package {
	if _, text := n.v.(string); text && !n.p.o.Lenient {
		n.fail(packagesExample, "must be a list, not text")
		return nil
	}
	items, _ := n.list(packagesExample)
	var all []Package
	seen := map[string]bool{}
	for _, item := range items {
		before := len(n.p.errs)
		p := item.onePackage()
		switch {
		case len(n.p.errs) > before:
		case seen[p.Name]:
			item.fail("keep one of the two", "names %s, as an item above does", p.Name)
		default:
			seen[p.Name] = true
			all = append(all, p)
		}
	}
	return all
}

// onePackage reads a name, or a dictionary with more to say.
func (n *node) onePackage() (p Package) {
	if _, isDict := n.v.(map[string]any); !isDict {
		p.Name = n.packageName()
		return p
	}
	m, _ := n.dict([]string{"name", "min", "upgrade", Debian, RHEL, SUSE, Alpine}, packagesExample)
	name := m["name"]
	if name.null() {
		n.fail(packagesExample, "has no name")
		return p
	}
	p.Name = name.packageName()
	if c := m["min"]; !c.null() {
		p.Min = c.packageVersion()
	}
	if c := m["upgrade"]; !c.null() {
		p.Upgrade = c.boolean()
	}
	for _, family := range []string{Debian, RHEL, SUSE, Alpine} {
		c := m[family]
		if c.null() {
			continue
		}
		if p.Families == nil {
			p.Families = map[string]string{}
		}
		p.Families[family] = c.packageName()
	}
	return p
}

// packageName reads what any distribution may call a package. It will be an
// argument of programs.
func (n *node) packageName() string {
	s, ok := n.text(packagesExample)
	if !ok {
		return ""
	}
	switch {
	case s == "" || len(s) > 100 || !alphanumeric(rune(s[0])) || strings.ContainsFunc(s, func(r rune) bool { return !alphanumeric(r) && !strings.ContainsRune("+-._", r) }):
		n.fail("a name has letters, digits and + - . _", "%s is not the name of a package", quote(s))
	case strings.HasSuffix(s, "-"):
		n.fail("gofleet removes no packages", "%s is not the name of a package", quote(s))
	}
	return s
}

// packageVersion reads a version as distributions write them.
func (n *node) packageVersion() string {
	const example = `quote it, like "2.30"`
	s, ok := n.v.(string)
	if _, float := n.float(); float && n.raw() != "" {
		s, ok = n.raw(), true
	}
	switch {
	case !ok:
		n.fail(example, "must be a version in quotes, not %s", kind(n.v))
	case s == "" || len(s) > 100 || s[0] < '0' || s[0] > '9' || strings.ContainsFunc(s, func(r rune) bool { return !alphanumeric(r) && !strings.ContainsRune("+-._:~^", r) }):
		n.fail(example, "%s is not a version", quote(s))
	}
	return s
}

func alphanumeric(r rune) bool {
	return r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
}
