package spec

import (
	"slices"
	"strings"
	"time"
)

// Time is gofleet_time. What is empty is left alone.
type Time struct {
	Zone      string        `json:"zone,omitempty"`       // a name of the host's zoneinfo, as Asia/Shanghai
	Servers   []string      `json:"servers,omitempty"`    // names or addresses of NTP servers
	MaxOffset time.Duration `json:"max_offset,omitempty"` // more makes the check time warn
}

// Synchronised reports whether the host's clock is looked at.
func (t *Time) Synchronised() bool { return t != nil && (len(t.Servers) > 0 || t.MaxOffset > 0) }

// maxOffset is the most that max_offset can be.
const maxOffset = 24 * time.Hour

// time reads gofleet_time.
func (n *node) time() *Time {
	const example = `write it like {zone: Asia/Shanghai, servers: [ntp1.corp], max_offset: 500ms}`
	m, ok := n.dict([]string{"zone", "servers", "max_offset"}, example)
	if !ok {
		return nil
	}
	t := &Time{}
	set(m["zone"], &t.Zone, (*node).zone)
	set(m["max_offset"], &t.MaxOffset, func(n *node) (time.Duration, bool) { return n.duration(maxOffset) })
	if servers := m["servers"]; !servers.null() {
		t.Servers = servers.ntpServers()
	}
	if t.Zone == "" && !t.Synchronised() {
		return nil
	}
	return t
}

// zone reads the name of a time zone. Whether there is one is for the host to
// say, whose zoneinfo it is.
func (n *node) zone() (string, bool) {
	const example = `write a name of the time zone database, like "Asia/Shanghai" or "UTC"`
	s, ok := n.text(example)
	if !ok {
		return "", false
	}
	fine := s != "" && len(s) <= 64
	for _, part := range strings.Split(s, "/") {
		fine = fine && part != "" && only(part, "+-_") && part[0] != '-'
	}
	if !fine {
		n.fail(example, "%s is not the name of a time zone", quote(s))
	}
	return s, fine
}

// ntpServers reads a list of host names and addresses.
func (n *node) ntpServers() []string {
	const example = `write a list of names or addresses, like [ntp1.corp, 10.0.0.1]`
	items, _ := n.list(example)
	var servers []string
	for _, item := range items {
		s, ok := item.text(example)
		switch {
		case !ok:
		case s == "" || len(s) > 253 || s[0] == '-' || !only(s, "-.:"):
			item.fail(example, "%s is not the name or address of a server", quote(s))
		case slices.Contains(servers, s):
			item.fail("keep one of them", "%s is there twice", quote(s))
		default:
			servers = append(servers, s)
		}
	}
	return servers
}

// only reports whether s has nothing but letters and digits of ASCII and what
// is in more.
func only(s, more string) bool {
	for _, r := range s {
		if (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune(more, r) {
			return false
		}
	}
	return true
}
