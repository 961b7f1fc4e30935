package main

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/gofleet/gofleet/agent/spec"
	"github.com/gofleet/gofleet/controller/internal/fleet"
	"github.com/gofleet/gofleet/controller/internal/inventory"
	"github.com/gofleet/gofleet/controller/internal/report"
)

// seedOf is the seed of a host: a host of the inventory, which need not be one
// of the run, and the port that it listens on.
type seedOf struct {
	host *inventory.Host
	port int
}

// sites finds the seed of each host, by name: --via, or gofleet_site_seed. A
// seed that no second host of the run would get anything from is none.
func sites(inv *inventory.Inventory, hosts []*inventory.Host, specs []*spec.Spec, via string) (map[string]seedOf, error) {
	s := &siteFinder{inv: inv, groups: map[string]*inventory.Host{}, known: map[string]seedOf{}}
	out := map[string]seedOf{}
	if via != "" {
		seed, err := s.find(via)
		if err != nil {
			return nil, hint(fmt.Errorf("--via %s: %w", via, err), "name a host of the inventory, perhaps with :PORT behind it")
		}
		for _, h := range hosts {
			out[h.Name] = seed
		}
		return shared(out), nil
	}
	for i, h := range hosts {
		if specs[i].SiteSeed.Self {
			s.isSeed(h)
		}
	}
	for i, h := range hosts {
		if seed, ok := s.seed(h, specs[i].SiteSeed); ok {
			out[h.Name] = seed
		}
	}
	return shared(out), s.found.errOrNil()
}

// shared drops seeds that serve one host only: the archive would travel twice.
func shared(all map[string]seedOf) map[string]seedOf {
	count := map[seedOf]int{}
	for _, seed := range all {
		count[seed]++
	}
	for name, seed := range all {
		if count[seed] < 2 {
			delete(all, name)
		}
	}
	return all
}

// siteFinder knows the seeds of groups.
type siteFinder struct {
	inv    *inventory.Inventory
	groups map[string]*inventory.Host // the seed of each
	known  map[string]seedOf          // by what names them
	found  problems
}

// isSeed notes the host with gofleet_site_seed: true as the seed of the group
// that it is in.
func (s *siteFinder) isSeed(h *inventory.Host) {
	direct := h.DirectGroups()
	if len(direct) != 1 {
		in := "no group"
		if len(direct) > 1 {
			in = "the groups " + strings.Join(direct, ", ")
		}
		s.fail(h, fmt.Sprintf("gofleet_site_seed is true, but %s is in %s: which hosts are its site is not clear", h.Name, in),
			"instead, give the hosts of the site gofleet_site_seed: "+h.Name)
		return
	}
	if other := s.groups[direct[0]]; other != nil {
		s.fail(h, fmt.Sprintf("gofleet_site_seed is true on %s and on %s, both of group %s", other.Name, h.Name, direct[0]),
			"a site has one seed: keep one of them")
		return
	}
	s.groups[direct[0]] = h
}

// seed is that of one host.
func (s *siteFinder) seed(h *inventory.Host, says spec.SiteSeed) (seedOf, bool) {
	switch {
	case says.None:
		return seedOf{}, false
	case says.Host != "":
		seed, err := s.find(says.Host)
		if err != nil {
			s.fail(h, unquoted(h, "gofleet_site_seed", fmt.Sprintf("gofleet_site_seed: %v", err)), "name a host of the inventory, perhaps with :PORT behind it")
			return seedOf{}, false
		}
		return seed, true
	case len(s.groups) == 0:
		return seedOf{}, false
	}
	var seeds []*inventory.Host
	for _, group := range h.Groups {
		if seed := s.groups[group]; seed != nil {
			seeds = append(seeds, seed)
		}
	}
	switch {
	case len(seeds) == 1:
		return seedOf{host: seeds[0]}, true
	case len(seeds) > 1:
		s.fail(h, fmt.Sprintf("%s is in groups with different seeds, %s and %s", h.Name, seeds[0].Name, seeds[1].Name),
			"give it gofleet_site_seed: NAME of one of them, or false")
	}
	return seedOf{}, false
}

func (s *siteFinder) fail(h *inventory.Host, message, way string) {
	where := h.Defined().String()
	if _, own := h.Vars["gofleet_site_seed"]; own {
		where = h.Origin("gofleet_site_seed").String()
	}
	s.found = append(s.found, report.Problem{Where: where, Message: message, Hint: way, Hosts: []string{h.Name}})
}

// find gives the host of a name, or of NAME:PORT.
func (s *siteFinder) find(text string) (seedOf, error) {
	if seed, ok := s.known[text]; ok {
		return seed, nil
	}
	seed := seedOf{host: s.named(text)}
	if at := strings.LastIndexByte(text, ':'); seed.host == nil && at > 0 {
		port, err := strconv.ParseUint(text[at+1:], 10, 16)
		if err != nil || port == 0 {
			return seed, fmt.Errorf("%q is no port", text[at+1:])
		}
		seed = seedOf{host: s.named(text[:at]), port: int(port)}
		text = text[:at]
	}
	if seed.host == nil {
		return seed, fmt.Errorf("%q is no host of the inventory", text)
	}
	s.known[text] = seed
	return seed, nil
}

func (s *siteFinder) named(name string) *inventory.Host {
	if strings.ContainsAny(name, "*?[],:!&~") {
		return nil // a pattern
	}
	hosts, err := s.inv.Hosts(name, "")
	if err != nil {
		return nil
	}
	i := slices.IndexFunc(hosts, func(h *inventory.Host) bool { return h.Name == name })
	if i < 0 {
		return nil
	}
	return hosts[i]
}

// seeds gives hosts their seeds. A seed is reached as who logs in, without
// become: it needs no rights.
func (c *connector) seeds(work []*fleet.Host, found map[string]seedOf, mask func(*inventory.Host) *fleet.Mask) error {
	made := map[seedOf]*fleet.Seed{}
	for _, h := range work {
		at, ok := found[h.Name]
		if !ok {
			continue
		}
		if made[at] == nil {
			seed, err := c.newSeed(at)
			if err != nil {
				return err
			}
			seed.Mask = mask(at.host)
			made[at] = seed
		}
		h.Seed = made[at]
	}
	return nil
}

func (c *connector) newSeed(at seedOf) (*fleet.Seed, error) {
	targets, err := c.targets([]*inventory.Host{at.host})
	if err != nil {
		return nil, err
	}
	t := targets[0]
	t.Become, t.TTY = nil, nil
	root := spec.DefaultRoot
	if given, err := at.host.Evaluate(func(name string) bool { return name == "gofleet_root" }); err == nil {
		if text, ok := given["gofleet_root"].(string); ok {
			root = text
		}
	}
	return &fleet.Seed{
		Name: at.host.Name, Spec: &spec.Spec{Root: root}, Port: at.port,
		Connect: func(ctx context.Context) (fleet.Conn, []netip.Addr, error) {
			conn, err := c.connect(ctx, t)
			if err != nil {
				return nil, nil, err
			}
			return conn, conn.(*hostConn).Addresses(), nil
		},
	}, nil
}
