package spec

import "strings"

// cgo reads gofleet_preconditions.cgo. A dictionary switches it on.
func (n *node) cgo() *Cgo {
	m, ok := n.dict([]string{"min", "cxx", "pkg_config"}, `write it like {min: "8"}; {} takes the defaults, null switches it off`)
	if !ok {
		return nil
	}
	c := &Cgo{CXX: true, PkgConfig: true}
	set(m["min"], &c.Min, func(n *node) (string, bool) { return n.dotted(`"8"`) })
	for key, to := range map[string]*bool{"cxx": &c.CXX, "pkg_config": &c.PkgConfig} {
		if v := m[key]; !v.null() {
			*to = v.boolean()
		}
	}
	return c
}

// boolean reads true or false. Leniently, it may be text.
func (n *node) boolean() bool {
	text, isText := n.v.(string)
	switch b, isBool := n.v.(bool); {
	case isBool:
		return b
	case !isText || !n.p.o.Lenient:
	case strings.EqualFold(text, "true") || strings.EqualFold(text, "yes"):
		return true
	case strings.EqualFold(text, "false") || strings.EqualFold(text, "no"):
		return false
	}
	n.fail("write true or false", "must be true or false, not %s", n.shown())
	return false
}

// given reports whether a dictionary among the variables has the key, be it
// null.
func given(vars map[string]any, name, key string) bool {
	m, _ := vars[name].(map[string]any)
	_, ok := m[key]
	return ok
}

// meetCgo makes one of the two ways to ask for cgo: a host that needs it before
// an installation is proved to have it after, and the other way round. What
// the inventory says of either stands.
func meetCgo(s *Spec, precondition, level bool) {
	if s.Verify.Level == VerifyCgo && !precondition {
		s.Preconditions.Cgo = &Cgo{}
	}
	if s.Preconditions.Cgo != nil && !level {
		s.Verify.Level = VerifyCgo
	}
}
