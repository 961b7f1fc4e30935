package baseline

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/gofleet/gofleet/agent/internal/change"
	"github.com/gofleet/gofleet/agent/internal/record"
	"github.com/gofleet/gofleet/agent/spec"
	"github.com/gofleet/gofleet/agent/wire"
)

// ruleset is a firewall as its files say it is.
type ruleset struct {
	tool   firewallTool
	active bool
	policy string // of what comes in and no rule names, in the tool's words
	open   bool   // it is let in
	noV6   bool   // the tool leaves IPv6 out
	all    []pass // what is let in
	ours   []pass // what of it gofleet has set
	denied []deny // what is kept out by name
	zones  []zone // beside the default one, those that traffic comes in by
	came   string // the zone that this run's connection uses, as a pass has it
}

// deny keeps out what a pass would let in, if it comes before that.
type deny struct {
	pass
	verb  string // of ufw
	at    int    // how many passes come before it
	alone bool   // the rule is for this only: an allow of the same takes its place
}

// firewallTool is ufw or firewalld.
type firewallTool interface {
	name() string
	place() string                    // the file or zone that rules are in, for messages
	files() []string                  // all that a change writes
	closed() string                   // the policy that shuts out
	restore() string                  // shell lines that make the kernel's rules those of files(), and active or not as they were
	enable() []string                 // the command that makes the tool start with the host; nil: the files say it
	agrees(ctx context.Context) error // whether what is in force is where files say it is
	change(ctx context.Context, before *ruleset, c firewallChange) error
	differs(ctx context.Context, before *ruleset) (string, error) // how what is in force is not what files say
}

// firewallChange is all that is to become different.
type firewallChange struct {
	add, remove []pass
	policy      string // "": it stays
	activate    bool
	reload      bool // what is in force is not what the files say
}

func (c firewallChange) none() bool {
	return len(c.add)+len(c.remove) == 0 && c.policy == "" && !c.activate && !c.reload
}

// describe says the change in lines, for a diff.
func (c firewallChange) describe(t firewallTool, before *ruleset) string {
	var b strings.Builder
	fmt.Fprintf(&b, "--- %s\n+++ %s\n", t.place(), t.place())
	for _, line := range joined(c.remove) {
		fmt.Fprintf(&b, "-allow %s\n", line)
	}
	for _, line := range replaced(before.denied, c.add) {
		fmt.Fprintf(&b, "-%s\n", line)
	}
	for _, line := range joined(c.add) {
		fmt.Fprintf(&b, "+allow %s\n", line)
	}
	if c.policy != "" {
		fmt.Fprintf(&b, "-policy %s\n+policy %s\n", before.policy, c.policy)
	}
	if c.activate {
		b.WriteString("-inactive\n+active\n")
	}
	if c.reload {
		b.WriteString("loaded anew: what is in force is not what its files say\n")
	}
	return b.String()
}

// firewall plans the rules of gofleet_firewall: one step, since all of them are
// proved by one login.
func firewall(ctx context.Context, p *planner) error {
	want, noted := p.want.Firewall, p.rec.Firewall
	if want == nil && noted == nil {
		return nil
	}
	if p.want.Image {
		p.warn("gofleet_firewall is left out: an image has no firewall that runs")
		return nil
	}
	if os.Geteuid() != 0 {
		return wire.NewError(wire.KindNeedsRoot, errors.New("a firewall is root's"), "run with -b, or drop gofleet_firewall")
	}
	if noted == nil {
		noted = &record.Firewall{}
	}
	rules, err := findFirewall(ctx, p, want, noted)
	if err != nil || rules == nil {
		return err
	}
	known := p.ofThisPlace(noted, rules)
	plan, err := p.planFirewall(want, known, rules)
	if err != nil {
		return err
	}
	if rules.active && (p.run.Deep || !plan.none()) {
		if err := rules.tool.agrees(ctx); err != nil {
			return err
		}
	}
	if p.run.Deep && plan.none() && rules.active {
		how, err := rules.tool.differs(ctx, rules)
		if err != nil {
			return err
		}
		plan.reload = how != ""
	}
	next := nextFirewall(want, known, rules, plan)
	if plan.none() {
		p.rec.Firewall = next
		return nil
	}
	p.rec.Firewall = announced(noted, next)
	p.steps = append(p.steps, p.firewallStep(plan, rules, noted, next))
	return nil
}

// ofThisPlace is what the record says without the policy of another place: that
// was firewalld's default zone then, or another tool's, and is not for this one.
func (p *planner) ofThisPlace(noted *record.Firewall, rules *ruleset) *record.Firewall {
	if noted.Place == rules.tool.place() {
		return noted
	}
	known := *noted
	if known.Closed, known.Policy = false, ""; noted.Policy != "" {
		p.warn(fmt.Sprintf("gofleet_firewall: what no rule names stays shut out by %s, which is another firewall or zone than is in use now; before gofleet its policy was %s", noted.Place, noted.Policy))
	}
	return &known
}

// planFirewall compares what is wanted with what is there.
func (p *planner) planFirewall(want *spec.Firewall, noted *record.Firewall, have *ruleset) (c firewallChange, err error) {
	wanted, err := p.wantedPasses(want, have)
	if err != nil {
		return c, err
	}
	for _, a := range wanted {
		if !slices.Contains(have.all, a) {
			c.add = append(c.add, a)
		}
		p.warnOfDeny(a, have)
	}
	for _, a := range have.ours {
		if !slices.Contains(wanted, a) {
			c.remove = append(c.remove, a)
		}
	}
	switch {
	case want != nil && want.Policy == spec.PolicyDeny:
		if have.open {
			c.policy = have.tool.closed()
		}
		for _, z := range have.zones {
			if z.policy == zoneOpen && len(z.interfaces) > 0 {
				return c, refused(fmt.Errorf("policy deny is for the default zone, and zone %s lets in all that comes by %s", z.name, strings.Join(z.interfaces, ", ")),
					"give that zone another target or no interface, or write policy: keep")
			}
		}
	case noted.Policy != "" && noted.Policy != have.policy:
		c.policy = noted.Policy // as it was before gofleet
	}
	c.activate = want != nil && want.Enabled && !have.active
	return c, nil
}

// replaced are the denies whose place ufw gives to new rules.
func replaced(denied []deny, added []pass) (lines []string) {
	for _, d := range denied {
		if line := d.verb + " " + d.FirewallRule.String(); d.alone && slices.Contains(added, d.pass) && !slices.Contains(lines, line) {
			lines = append(lines, line)
		}
	}
	return lines
}

// warnOfDeny says where a rule has no effect since somebody's deny, which is
// not for exactly the same and therefore stays, comes before it.
func (p *planner) warnOfDeny(a pass, have *ruleset) {
	at := slices.Index(have.all, a)
	for _, d := range have.denied {
		if d.covers(a) && !(d.alone && d.pass == a) && (at < 0 || d.at <= at) {
			p.warn(fmt.Sprintf("gofleet_firewall: %s stays shut: a rule %s %s that somebody wrote comes before (ufw status numbered)", a, d.verb, d.pass))
			return
		}
	}
}

// wantedPasses are those of the variable, and what keeps ssh open.
func (p *planner) wantedPasses(want *spec.Firewall, have *ruleset) ([]pass, error) {
	var out []pass
	add := func(zone string, r spec.FirewallRule) {
		for _, a := range inZone(zone, passes(r)) {
			if a.v6 && have.noV6 {
				p.warn("gofleet_firewall: IPv6 is off in /etc/default/ufw: " + r.String() + " is open for IPv4 only")
			} else if !slices.Contains(out, a) {
				out = append(out, a)
			}
		}
	}
	if want != nil {
		for _, r := range want.Allow {
			add("", r)
			for _, z := range have.zones {
				if z.ruled() {
					add(z.name, r)
				}
			}
		}
	}
	login, err := findLogin()
	if err != nil {
		return nil, err
	}
	for _, port := range login.ports {
		r, needed, err := p.keepOpen(port, login, out, have)
		if err != nil {
			return nil, err
		}
		zone := ""
		if port == login.port {
			zone = have.came
		}
		if needed && want != nil {
			add(zone, r)
		} else if kept := inZone(zone, passes(r)); needed && slices.ContainsFunc(kept, func(a pass) bool { return slices.Contains(have.ours, a) }) {
			out = append(out, kept...)
			p.warn(fmt.Sprintf("%s stays open in %s: this run came in on it, or sshd listens there", r.Port(), have.tool.name()))
		}
	}
	for _, a := range have.ours { // runs that came in by another zone have their way too
		if want != nil && a.zone != have.came && a.First == a.Last && a.Protocol == "tcp" && a.From == "" && slices.Contains(login.ports, a.First) && !named(a.First, out, a.zone) {
			out = append(out, a)
		}
	}
	if want == nil { // nothing is added while all else is taken away
		out = filter(out, func(a pass) bool { return slices.Contains(have.ours, a) })
	}
	return out, nil
}

// keepOpen judges whether a port of sshd needs a rule of its own. It does not
// where the inventory's rules or others' let it in: they may be narrower on
// purpose. A rule once made for it stays, or runs from different places would
// take turns.
func (p *planner) keepOpen(port int, login login, wanted []pass, have *ruleset) (r spec.FirewallRule, needed bool, err error) {
	r = spec.FirewallRule{First: port, Last: port, Protocol: "tcp"}
	foreign := filter(have.all, func(a pass) bool { return !slices.Contains(have.ours, a) })
	others := append(foreign, wanted...)
	if port != login.port || login.client == nil {
		return r, !named(port, others, anyZone(have)...), nil
	}
	covered := have.cameByOpenZone() || slices.ContainsFunc(others, func(a pass) bool { return a.zone == have.came && a.lets(port, *login.client) })
	switch {
	case covered && !named(port, wanted, have.came) && slices.Contains(have.ours, pass{r, login.client.V6, have.came}):
		return r, true, nil
	case covered:
		return r, false, nil
	case named(port, wanted, have.came):
		return r, false, refused(fmt.Errorf("allow would shut out %s, from which this run came in on port %d", login.client, port),
			fmt.Sprintf("add {port: %d/tcp, from: %s} or its network to allow", port, login.client))
	}
	return r, true, nil
}

// named reports whether a rule of one of zones is about a port of TCP.
func named(port int, all []pass, zones ...string) bool {
	return slices.ContainsFunc(all, func(a pass) bool {
		return a.Protocol == "tcp" && a.First <= port && port <= a.Last && slices.Contains(zones, a.zone)
	})
}

// cameByOpenZone reports whether this run came in by a zone that lets in all,
// which stays as it is.
func (r *ruleset) cameByOpenZone() bool {
	for _, z := range r.zones {
		if z.name == r.came {
			return z.policy == zoneOpen
		}
	}
	return false
}

func anyZone(r *ruleset) []string {
	zones := []string{""}
	for _, z := range r.zones {
		zones = append(zones, z.name)
	}
	return zones
}

// nextFirewall is what the record says when all is done.
func nextFirewall(want *spec.Firewall, noted *record.Firewall, have *ruleset, c firewallChange) *record.Firewall {
	if want == nil {
		return nil
	}
	next := &record.Firewall{Tool: have.tool.name(), Place: have.tool.place(), Policy: noted.Policy, Active: have.active || c.activate}
	next.Closed = want.Policy == spec.PolicyDeny
	switch {
	case !next.Closed:
		next.Policy = ""
	case c.policy != "" && next.Policy == "":
		next.Policy = have.policy
	}
	for _, a := range have.ours {
		if !slices.Contains(c.remove, a) {
			next.Rules = append(next.Rules, a.String())
		}
	}
	for _, a := range c.add {
		next.Rules = append(next.Rules, a.String())
	}
	slices.Sort(next.Rules)
	return next
}

// announced is the record while a change is made: what may have been added is
// ours, and what is being taken away still is.
func announced(noted, next *record.Firewall) *record.Firewall {
	out := *noted
	if next != nil {
		out = *next
		out.Rules = slices.Clone(noted.Rules)
		for _, r := range next.Rules {
			if !slices.Contains(out.Rules, r) {
				out.Doing = append(out.Doing, r)
			}
		}
	}
	return &out
}

// drifted reports whether the change repairs what somebody did.
func (c firewallChange) drifted(noted *record.Firewall, have *ruleset) bool {
	missing := slices.ContainsFunc(c.add, func(a pass) bool { return slices.Contains(noted.Rules, a.String()) })
	return missing || c.reload || noted.Active && c.activate || noted.Closed && c.policy == have.tool.closed()
}

func (p *planner) firewallStep(c firewallChange, have *ruleset, noted, next *record.Firewall) change.Step {
	var g *guard
	run, rec := p.run, p.rec
	return change.Step{
		Name:  "change the rules of " + have.tool.name(),
		Path:  have.tool.place(),
		Drift: c.drifted(noted, have),
		Diff:  c.describe(have.tool, have),
		Do: func(ctx context.Context) (err error) {
			if g, err = newGuard(have, next); err != nil {
				return err
			}
			later, err := g.change(ctx, run.Prove, func(ctx context.Context) error { return have.tool.change(ctx, have, c) })
			if err == nil && !later {
				rec.Firewall = next
			}
			return err
		},
		Undo: func() error {
			rec.Firewall = noted
			if noted.Tool == "" {
				rec.Firewall = nil
			}
			if g == nil {
				return nil
			}
			return g.undo(context.Background())
		},
	}
}
