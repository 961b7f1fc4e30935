package baseline

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/gofleet/gofleet/agent/internal/ancestry"
	"github.com/gofleet/gofleet/agent/spec"
)

// zone is one of firewalld's that interfaces or sources are bound to.
type zone struct {
	name, policy        string
	interfaces, sources []string
	all                 []pass
}

// ruled reports whether the inventory's rules belong into the zone too. What
// lets all in needs none, and a zone that shuts sources out does so on purpose.
func (z zone) ruled() bool {
	return z.policy != zoneOpen && (len(z.interfaces) > 0 || z.policy == zoneDefault)
}

func zoneName(name string) bool {
	return name != "" && strings.Trim(strings.ToLower(name), "abcdefghijklmnopqrstuvwxyz0123456789_-") == ""
}

// boundZones are the zones but main that interfaces or sources are bound to, by
// firewalld's files or NetworkManager's.
func boundZones(main string) ([]zone, error) {
	files, err := filepath.Glob(firewalldZones + "/*.xml")
	if err != nil {
		return nil, err
	}
	byManager := managerZones()
	names := slices.Sorted(maps.Keys(byManager))
	for _, file := range files {
		names = append(names, strings.TrimSuffix(filepath.Base(file), ".xml"))
	}
	slices.Sort(names)
	var out []zone
	for _, name := range slices.Compact(names) {
		if name == main || !zoneName(name) {
			continue
		}
		z, err := readZoneFile(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		z.interfaces = append(z.interfaces, byManager[name]...)
		if len(z.interfaces)+len(z.sources) > 0 {
			out = append(out, z)
		}
	}
	return out, nil
}

// managerZones are the interfaces that NetworkManager puts into zones.
func managerZones() map[string][]string {
	zones := map[string][]string{}
	for pattern, keys := range map[string][2]string{
		"/etc/NetworkManager/system-connections/*": {"zone", "interface-name"},
		"/run/NetworkManager/system-connections/*": {"zone", "interface-name"},
		"/etc/sysconfig/network-scripts/ifcfg-*":   {"ZONE", "DEVICE"},
	} {
		files, _ := filepath.Glob(pattern)
		for _, file := range files {
			b, err := os.ReadFile(file)
			if err != nil {
				continue
			}
			name, iface := shellValue(string(b), keys[0]), shellValue(string(b), keys[1])
			if name != "" && iface != "" && !slices.Contains(zones[name], iface) {
				zones[name] = append(zones[name], iface)
			}
		}
	}
	return zones
}

// cameBy is the zone that this run's connection uses, as a pass has it. A source
// decides before an interface does, which is given where it decided.
func cameBy(zones []zone) (name, iface string) {
	c, found := ancestry.FindConnection()
	if !found {
		return "", ""
	}
	for _, z := range zones {
		for _, source := range z.sources {
			if n, err := spec.ParseNetwork(source); err == nil && n.Contains(c.Client) {
				return z.name, ""
			}
		}
	}
	iface = interfaceOf(c.Server)
	for _, z := range zones {
		if slices.Contains(z.interfaces, iface) {
			return z.name, iface
		}
	}
	return "", iface
}

func readZoneFile(name string) (zone, error) {
	z := zone{name: name, policy: zoneDefault}
	text, err := readFirst(zoneFile(name), "/usr/lib/firewalld/zones/"+name+".xml")
	if err != nil {
		return z, fmt.Errorf("read the zone %s: %w", name, err)
	}
	z.read(text)
	return z, nil
}

func readFirst(paths ...string) (string, error) {
	var last error
	for _, p := range paths {
		b, err := os.ReadFile(p)
		if err == nil {
			return string(b), nil
		}
		if last = err; !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	return "", last
}

// read reads what is bound to a zone, and what of it lets ports in: ports,
// services, and rich rules of a source and a port that accept.
func (z *zone) read(text string) {
	var rich *richRule
	for _, tag := range tags(text) {
		switch {
		case tag.name == "zone" && tag.attr["target"] != "":
			z.policy = tag.attr["target"]
		case tag.name == "rule":
			rich = &richRule{family: tag.attr["family"]}
		case tag.name == "/rule" && rich != nil:
			if a, ok := rich.pass(); ok {
				z.all = append(z.all, a)
			}
			rich = nil
		case rich != nil:
			rich.add(tag)
		case tag.name == "interface" && tag.attr["name"] != "":
			z.interfaces = append(z.interfaces, tag.attr["name"])
		case tag.name == "source":
			z.sources = append(z.sources, cmp.Or(tag.attr["address"], tag.attr["ipset"], tag.attr["mac"]))
		case tag.name == "port":
			if rule, ok := zonePort(tag); ok {
				z.all = append(z.all, passes(rule)...)
			}
		case tag.name == "service":
			z.readService(tag.attr["name"])
		}
	}
}

// readService adds the ports of a service. One that cannot be read lets
// nothing in that we know of.
func (z *zone) readService(name string) {
	if strings.ContainsAny(name, "/\x00") || name == "" || name == ".." {
		return
	}
	text, err := readFirst("/etc/firewalld/services/"+name+".xml", "/usr/lib/firewalld/services/"+name+".xml")
	if err != nil {
		return
	}
	for _, tag := range tags(text) {
		if tag.name != "port" {
			continue
		}
		if rule, ok := zonePort(tag); ok {
			z.all = append(z.all, passes(rule)...)
		}
	}
}

func zonePort(t tag) (rule spec.FirewallRule, ok bool) {
	low, high, isRange := strings.Cut(t.attr["port"], "-")
	if !isRange {
		high = low
	}
	first, err1 := strconv.ParseUint(low, 10, 16)
	last, err2 := strconv.ParseUint(high, 10, 16)
	rule = spec.FirewallRule{First: int(first), Last: int(last), Protocol: t.attr["protocol"]}
	return rule, err1 == nil && err2 == nil && (rule.Protocol == "tcp" || rule.Protocol == "udp")
}

// richRule is one of a zone; only those of the form that we write count.
type richRule struct {
	family, source string
	port           *spec.FirewallRule
	accept, other  bool
}

func (r *richRule) add(t tag) {
	switch t.name {
	case "source":
		r.source = t.attr["address"]
		r.other = r.other || t.attr["invert"] != "" || r.source == ""
	case "port":
		if p, ok := zonePort(t); ok {
			r.port = &p
		}
	case "accept":
		r.accept = true
	case "/accept", "/source", "/port":
	default:
		r.other = true
	}
}

func (r *richRule) pass() (pass, bool) {
	n, err := spec.ParseNetwork(r.source)
	if err != nil || r.other || !r.accept || r.port == nil || n.All() {
		return pass{}, false
	}
	r.port.From = n.String()
	return pass{FirewallRule: *r.port, v6: n.V6}, true
}
