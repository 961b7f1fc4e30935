package baseline

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/gofleet/gofleet/agent/internal/hostcmd"
	"github.com/gofleet/gofleet/agent/internal/record"
	"github.com/gofleet/gofleet/agent/spec"
)

// findFirewall finds the tool that the host has its firewall in, and reads it.
// Without a tool there is nil, and nothing to be done.
func findFirewall(ctx context.Context, p *planner, want *spec.Firewall, noted *record.Firewall) (*ruleset, error) {
	u, err := readUfw()
	if err != nil {
		return nil, err
	}
	d, err := readFirewalld(noted)
	if err != nil {
		return nil, err
	}
	switch {
	case u != nil && d != nil && u.active && d.active:
		return nil, refused(errors.New("ufw and firewalld are both active on this host: each would undo the other's rules"),
			"decide for one: ufw disable, or systemctl disable --now firewalld")
	case u != nil && d != nil && !u.active && !d.active && want != nil:
		return nil, refused(errors.New("this host has ufw and firewalld, and neither is active"),
			"remove one of the two packages, or make the one that is meant active")
	case u != nil && (u.active || d == nil):
		return u, usable(u, want)
	case d != nil:
		return d, usable(d, want)
	case want == nil:
		p.rec.Firewall = nil
		return nil, nil
	}
	return nil, p.withoutTool(ctx, want)
}

// usable refuses rules that would have no effect, and a daemon that nobody
// could start.
func usable(r *ruleset, want *spec.Firewall) error {
	if want == nil || r.active {
		return nil
	}
	if !want.Enabled {
		return refused(fmt.Errorf("%s is installed on this host and not active: rules would have no effect", r.tool.name()),
			"set enabled: true in gofleet_firewall to make it active, or drop gofleet_firewall here")
	}
	if r.tool.name() == "firewalld" && !hasSystemd() {
		return refused(errors.New("firewalld is not running, and without systemd gofleet cannot start it"), "start it and apply again")
	}
	return nil
}

// withoutTool judges a host with neither: nothing is edited there. Where no
// rule filters what comes in, every port is open.
func (p *planner) withoutTool(ctx context.Context, want *spec.Firewall) error {
	const hint = "add them to /etc/nftables.conf yourself, or install ufw or firewalld"
	nft := hostcmd.Find("nft")
	if nft == "" {
		return refused(errors.New("this host has neither ufw nor firewalld"), "install one of them, or drop gofleet_firewall here")
	}
	out, err := hostcmd.Run(ctx, "", nft, "-n", "list", "ruleset")
	if err != nil {
		return err
	}
	filter := readNft(string(out))
	wanted, err := p.wantedPasses(want, &ruleset{all: filter.all})
	if err != nil {
		return err
	}
	var missing []string
	if filter.filters {
		for _, a := range wanted {
			if !filter.lets(a) {
				missing = append(missing, nftRule(a))
			}
		}
	}
	if want.Policy == spec.PolicyDeny && !filter.drops {
		missing = append(missing, "policy drop in the chain of hook input")
	}
	if len(missing) == 0 {
		return nil
	}
	return refused(fmt.Errorf("this host has neither ufw nor firewalld, and gofleet edits no bare nftables; its rules lack: %s", strings.Join(missing, "; ")), hint)
}

func nftRule(a pass) string {
	family := "ip"
	if a.v6 {
		family = "ip6"
	}
	port := fmt.Sprint(a.First)
	if a.Last != a.First {
		port += fmt.Sprintf("-%d", a.Last)
	}
	if a.From != "" {
		return fmt.Sprintf("%s saddr %s %s dport %s accept", family, a.From, a.Protocol, port)
	}
	return fmt.Sprintf("meta nfproto %s %s dport %s accept", map[bool]string{false: "ipv4", true: "ipv6"}[a.v6], a.Protocol, port)
}

// nftRules is what nft says of incoming traffic. It is not a model of
// nftables: a rule counts if it says by itself that a port is accepted.
type nftRules struct {
	filters bool // something may keep a port shut
	drops   bool // what no rule names is shut out
	all     []pass
}

// readNft reads `nft -n list ruleset`.
func readNft(text string) (n nftRules) {
	family := ""
	input := false
	for _, line := range strings.SplitAfter(text, "\n") {
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		switch {
		case f[0] == "table" && len(f) > 1:
			family = f[1]
		case f[0] == "chain":
			input = false
		case strings.Contains(line, "hook input"):
			input = true
			if strings.Contains(line, "policy drop") {
				n.filters, n.drops = true, true
			}
		case slices.Contains(f, "drop"), slices.Contains(f, "reject"):
			n.filters = true
			if input && (f[0] == "drop" || f[0] == "reject" || f[0] == "counter") {
				n.drops = true
			}
		case slices.Contains(f, "accept"):
			n.all = append(n.all, nftPasses(f, family)...)
		}
	}
	return n
}

// nftPasses reads a rule of the form [ip saddr X] tcp dport N accept, or with
// a set { N, M-O } of ports. With any other condition it says nothing.
func nftPasses(f []string, family string) []pass {
	from, protocol := "", ""
	var ports []string
	families := map[bool]bool{false: family != "ip6", true: family != "ip"}
	for i := 0; i < len(f); i++ {
		rest := f[i+1:]
		switch {
		case (f[i] == "ip" || f[i] == "ip6") && len(rest) > 1 && rest[0] == "saddr" && rest[1] != "{" && rest[1] != "!=":
			from = rest[1]
			families[f[i] == "ip"] = false
			i += 2
		case f[i] == "meta" && len(rest) > 1 && rest[0] == "nfproto":
			families[rest[1] == "2" || rest[1] == "ipv4"] = false
			i += 2
		case (f[i] == "tcp" || f[i] == "udp") && len(rest) > 1 && rest[0] == "dport":
			protocol = f[i]
			i += 2
			if f[i] != "{" {
				ports = append(ports, f[i])
				break
			}
			for i++; i < len(f) && f[i] != "}"; i++ {
				ports = append(ports, strings.TrimSuffix(f[i], ","))
			}
		case f[i] == "counter":
		case f[i] == "packets" || f[i] == "bytes":
			i++
		case f[i] == "accept":
			var out []pass
			for _, port := range ports {
				for _, v6 := range []bool{false, true} {
					if families[v6] {
						out = append(out, tuplePasses(protocol, strings.Replace(port, "-", ":", 1), "any", cmp.Or(from, "any"), v6)...)
					}
				}
			}
			return out
		default:
			return nil
		}
	}
	return nil
}

// lets reports whether a rule, or one that is wider, is there.
func (n nftRules) lets(a pass) bool {
	return slices.ContainsFunc(n.all, func(have pass) bool { return have.covers(a) })
}
