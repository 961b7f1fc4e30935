package distro

import (
	"slices"
	"strings"
)

// bound are the packages of a clean release that wanted ones need in exactly
// one version, and those that are so bound to them: a host that is behind has
// to get all of them, or none. libc6-dev wants its libc6, libgcc-12-dev its
// gcc-12-base, and that one goes only with its libstdc++6.
func bound(wanted, base []Stanza) []string {
	bonds := map[string][]string{} // both ways, among the clean release's
	for _, p := range base {
		for _, other := range p.exactly() {
			bonds[p.Name] = append(bonds[p.Name], other)
			bonds[other] = append(bonds[other], p.Name)
		}
	}
	var todo, names []string
	for _, p := range wanted {
		todo = append(append(todo, p.Name), p.exactly()...)
	}
	for len(todo) > 0 {
		name := todo[0]
		todo = todo[1:]
		inBase := slices.ContainsFunc(base, func(p Stanza) bool { return p.Name == name })
		if !inBase || slices.Contains(names, name) {
			continue
		}
		names = append(names, name)
		todo = append(todo, bonds[name]...)
	}
	slices.Sort(names)
	return names
}

// exactly are the packages that p needs in one version.
func (p Stanza) exactly() (names []string) {
	for line := range strings.Lines(p.text) {
		field, value, _ := strings.Cut(line, ": ")
		if field != "Depends" && field != "Pre-Depends" {
			continue
		}
		for alternative := range strings.FieldsFuncSeq(value, func(r rune) bool { return r == ',' || r == '|' }) {
			if name, version, ok := strings.Cut(alternative, "("); ok && strings.HasPrefix(strings.TrimSpace(version), "= ") {
				name, _, _ = strings.Cut(strings.TrimSpace(name), ":")
				names = append(names, name)
			}
		}
	}
	return names
}
