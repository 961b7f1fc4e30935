package baseline

import (
	"slices"
	"strings"

	"github.com/gofleet/gofleet/agent/spec"
)

// pass lets one port in for one family of addresses: what a rule of
// gofleet_firewall is to ufw, and half of what most are to firewalld.
type pass struct {
	spec.FirewallRule
	v6   bool
	zone string // of firewalld; "" is the default one
}

func (a pass) String() string {
	if a.v6 && a.From == "" {
		return a.FirewallRule.String() + " (IPv6)" + a.where()
	}
	return a.FirewallRule.String() + a.where()
}

func (a pass) where() string {
	if a.zone == "" {
		return ""
	}
	return " in zone " + a.zone
}

// lets reports whether a lets one address in to a port.
func (a pass) lets(port int, client spec.Network) bool {
	if a.Protocol != "tcp" || port < a.First || port > a.Last || a.v6 != client.V6 {
		return false
	}
	from, err := spec.ParseNetwork(a.From)
	return a.From == "" || err == nil && from.Contains(client)
}

// covers reports whether a is about all that b is about.
func (a pass) covers(b pass) bool {
	if a.v6 != b.v6 || a.zone != b.zone || a.Protocol != b.Protocol || a.First > b.First || a.Last < b.Last {
		return false
	}
	wide, err1 := spec.ParseNetwork(a.From)
	narrow, err2 := spec.ParseNetwork(b.From)
	return a.From == "" || err1 == nil && err2 == nil && wide.Contains(narrow)
}

// passes gives those of a rule: two for one from anywhere.
func passes(r spec.FirewallRule) []pass {
	if r.From != "" {
		return []pass{{FirewallRule: r, v6: strings.Contains(r.From, ":")}}
	}
	return []pass{{FirewallRule: r}, {FirewallRule: r, v6: true}}
}

// filter gives the passes that are to be kept.
func filter(all []pass, keep func(pass) bool) (out []pass) {
	for _, a := range all {
		if keep(a) {
			out = append(out, a)
		}
	}
	return out
}

// inZone gives passes as another zone's.
func inZone(zone string, all []pass) []pass {
	out := slices.Clone(all)
	for i := range out {
		out[i].zone = zone
	}
	return out
}

// joined is passes as text, both families of one rule on one line.
func joined(all []pass) []string {
	var out []string
	for _, a := range all {
		other := a
		other.v6 = !a.v6
		switch both := a.From == "" && slices.Contains(all, other); {
		case both && a.v6:
		case both:
			out = append(out, a.FirewallRule.String()+a.where())
		default:
			out = append(out, a.String())
		}
	}
	return out
}
