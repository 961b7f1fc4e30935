package spec

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Policies of a firewall towards what no rule lets in.
const (
	PolicyKeep = "keep" // as the host has it
	PolicyDeny = "deny" // it stays outside
)

// Firewall is what a host's firewall lets in, through ufw or firewalld.
type Firewall struct {
	Allow   []FirewallRule `json:"allow,omitempty"`
	Policy  string         `json:"policy"`
	Enabled bool           `json:"enabled,omitempty"` // one that is installed and inactive is made active
}

// FirewallRule lets one port, or a range, in.
type FirewallRule struct {
	First    int    `json:"first"`
	Last     int    `json:"last"`
	Protocol string `json:"protocol"`       // tcp or udp
	From     string `json:"from,omitempty"` // the text of a Network; "" is anywhere
}

// Port is the port or range as "443/tcp" or "8000-8100/udp".
func (r FirewallRule) Port() string {
	if r.First == r.Last {
		return fmt.Sprintf("%d/%s", r.First, r.Protocol)
	}
	return fmt.Sprintf("%d-%d/%s", r.First, r.Last, r.Protocol)
}

// String is the rule for people: "9000/tcp from 10.0.0.0/8".
func (r FirewallRule) String() string {
	if r.From == "" {
		return r.Port()
	}
	return r.Port() + " from " + r.From
}

const firewallExample = "write it like {allow: [443/tcp, {port: 9000/tcp, from: 10.0.0.0/8}], policy: keep}"

// firewall reads gofleet_firewall.
func (n *node) firewall() *Firewall {
	m, ok := n.dict([]string{"allow", "policy", "enabled"}, firewallExample)
	if !ok {
		return nil
	}
	f := &Firewall{Policy: PolicyKeep}
	set(m["policy"], &f.Policy, func(n *node) (string, bool) { return n.choice(PolicyKeep, PolicyDeny) })
	if c := m["enabled"]; !c.null() {
		if f.Enabled = c.boolean(); !f.Enabled && c.v == false {
			c.fail("drop it: gofleet makes no firewall inactive", "cannot be false")
		}
	}
	if c := m["allow"]; !c.null() {
		f.Allow = c.firewallRules()
	}
	return f
}

func (n *node) firewallRules() []FirewallRule {
	if _, text := n.v.(string); text && !n.p.o.Lenient {
		n.fail(firewallExample, "must be a list, not text")
		return nil
	}
	items, _ := n.list(firewallExample)
	var rules []FirewallRule
	for _, item := range items {
		if r, ok := item.firewallRule(); ok && !slices.Contains(rules, r) {
			rules = append(rules, r)
		}
	}
	return rules
}

// firewallRule reads a port, or a dictionary of a port and where from.
func (n *node) firewallRule() (r FirewallRule, ok bool) {
	if _, isDict := n.v.(map[string]any); !isDict {
		return n.firewallPort()
	}
	m, _ := n.dict([]string{"port", "from"}, firewallExample)
	port := m["port"]
	if port.null() {
		n.fail(firewallExample, "has no port")
		return r, false
	}
	if r, ok = port.firewallPort(); !ok {
		return r, false
	}
	from := m["from"]
	if from.null() {
		return r, true
	}
	text, ok := from.text("write an address or a network, like 10.0.0.0/8 or fd00::/8")
	if !ok {
		return r, false
	}
	network, err := ParseNetwork(strings.TrimSpace(text))
	if err != nil {
		from.fail("write an address or a network, like 10.0.0.0/8 or fd00::/8", "%s", err)
		return r, false
	}
	r.From = network.String()
	if network.All() {
		from.fail("drop from: without it a port is open for IPv4 and IPv6", "%s is everybody", quote(text))
		return r, false
	}
	return r, true
}

// firewallPort reads "443/tcp" or "8000-8100/udp".
func (n *node) firewallPort() (r FirewallRule, ok bool) {
	const example = "write a port and tcp or udp, like 443/tcp or 8000-8100/udp"
	if i, whole := n.whole(); whole {
		n.fail(fmt.Sprintf("write %d/tcp or %d/udp", i, i), "has no protocol")
		return r, false
	}
	s, isText := n.text(example)
	if !isText {
		return r, false
	}
	ports, protocol, _ := strings.Cut(strings.ToLower(strings.TrimSpace(s)), "/")
	low, high, isRange := strings.Cut(ports, "-")
	if !isRange {
		high = low
	}
	first, err1 := strconv.ParseUint(low, 10, 16)
	last, err2 := strconv.ParseUint(high, 10, 16)
	switch {
	case err1 != nil || err2 != nil || first == 0 || isRange && last <= first:
		n.fail(example, "%s is not a port from 1 to 65535 or a range", quote(s))
	case protocol != "tcp" && protocol != "udp":
		n.fail(example, "%s names neither tcp nor udp", quote(s))
	default:
		return FirewallRule{First: int(first), Last: int(last), Protocol: protocol}, true
	}
	return r, false
}
