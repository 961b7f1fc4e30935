package spec

import "strings"

// SiteSeed says from which host of its site a host gets what travels. The zero
// value says nothing; agents have no use for it.
type SiteSeed struct {
	Self bool   // the host is the seed of its group
	None bool   // whatever its site has, the host gets it from the controller
	Host string // the seed's name, perhaps with :PORT behind it
}

// siteSeed reads gofleet_site_seed.
func (n *node) siteSeed() SiteSeed {
	const example = "write true on the seed, or the seed's name on the hosts of its site"
	switch v := n.v.(type) {
	case bool:
		return SiteSeed{Self: v, None: !v}
	case string:
		if n.p.o.Lenient && (strings.EqualFold(v, "true") || strings.EqualFold(v, "false")) {
			self := strings.EqualFold(v, "true")
			return SiteSeed{Self: self, None: !self}
		}
	}
	name, ok := n.text(example)
	if name = strings.TrimSpace(name); ok && name == "" {
		n.fail(example, "is empty")
	}
	return SiteSeed{Host: name}
}
