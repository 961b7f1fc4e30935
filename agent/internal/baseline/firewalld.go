package baseline

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/gofleet/gofleet/agent/internal/hostcmd"
	"github.com/gofleet/gofleet/agent/internal/record"
	"github.com/gofleet/gofleet/agent/spec"
)

// firewalld keeps a zone in a file, and what is in force apart from it.
type firewalld struct {
	zone    string
	running bool
}

const firewalldConf = "/etc/firewalld/firewalld.conf"

func (firewalld) name() string      { return "firewalld" }
func (d firewalld) file() string    { return "/etc/firewalld/zones/" + d.zone + ".xml" }
func (d firewalld) place() string   { return d.file() }
func (d firewalld) files() []string { return []string{d.file()} }
func (firewalld) closed() string    { return "default" }

// readFirewalld reads the default zone; ok is false where firewalld is not
// installed. It has no comments: what of the zone is ours, the record knows.
func readFirewalld(noted *record.Firewall) (r ruleset, ok bool, err error) {
	if hostcmd.Find("firewall-cmd") == "" {
		return r, false, nil
	}
	conf, err := os.ReadFile(firewalldConf)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return r, false, fmt.Errorf("read firewalld's settings: %w", err)
	}
	d := firewalld{zone: "public", running: unitIsActive("firewalld.service")}
	if zone := shellValue(string(conf), "DefaultZone"); zone != "" {
		d.zone = zone
	}
	if strings.Trim(strings.ToLower(d.zone), "abcdefghijklmnopqrstuvwxyz0123456789_-") != "" {
		return r, false, fmt.Errorf("%s has a default zone with the name %q", firewalldConf, hostcmd.Printable(d.zone, 40))
	}
	text, err := readFirst(d.file(), "/usr/lib/firewalld/zones/"+d.zone+".xml")
	if err != nil {
		return r, false, fmt.Errorf("read the zone %s: %w", d.zone, err)
	}
	r.tool, r.active, r.policy = d, d.running, "default"
	if err := r.readZone(text); err != nil {
		return r, false, fmt.Errorf("read the zone %s: %w", d.zone, err)
	}
	r.open = r.policy == "ACCEPT"
	if noted.Place == d.place() {
		for _, a := range r.all {
			if slices.Contains(noted.Rules, a.String()) || slices.Contains(noted.Doing, a.String()) {
				r.ours = append(r.ours, a)
			}
		}
	}
	return r, true, nil
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

// readZone reads what of a zone lets ports in: ports, services, and rich rules
// of a source and a port that accept.
func (r *ruleset) readZone(text string) error {
	var rich *richRule
	for tag := range tags(text) {
		switch {
		case tag.name == "zone" && tag.attr["target"] != "":
			r.policy = tag.attr["target"]
		case tag.name == "rule":
			rich = &richRule{family: tag.attr["family"]}
		case tag.name == "/rule" && rich != nil:
			if a, ok := rich.pass(); ok {
				r.all = append(r.all, a)
			}
			rich = nil
		case rich != nil:
			rich.add(tag)
		case tag.name == "port":
			if rule, ok := zonePort(tag); ok {
				r.all = append(r.all, passes(rule)...)
			}
		case tag.name == "service":
			r.readService(tag.attr["name"])
		}
	}
	return nil
}

// readService adds the ports of a service. One that cannot be read lets
// nothing in that we know of.
func (r *ruleset) readService(name string) {
	if strings.ContainsAny(name, "/\x00") || name == "" || name == ".." {
		return
	}
	text, err := readFirst("/etc/firewalld/services/"+name+".xml", "/usr/lib/firewalld/services/"+name+".xml")
	if err != nil {
		return
	}
	for tag := range tags(text) {
		if tag.name != "port" {
			continue
		}
		if rule, ok := zonePort(tag); ok {
			r.all = append(r.all, passes(rule)...)
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
	return pass{*r.port, n.V6}, true
}

// change changes the file and what is in force, and loads the file only where
// nothing else will do: that would drop what others put in force without a file.
func (d firewalld) change(ctx context.Context, before ruleset, c firewallChange) error {
	tools := [][]string{{"firewall-cmd", "--permanent"}, {"firewall-cmd"}}
	if !d.running {
		tools = [][]string{{"firewall-offline-cmd"}}
	}
	run := func(tool []string, args ...string) error {
		if len(args) == 0 {
			return nil
		}
		args = append(append(slices.Clone(tool[1:]), "--zone="+d.zone), args...)
		_, err := hostcmd.Run(ctx, "", hostcmd.Find(tool[0]), args...)
		return err
	}
	for _, tool := range tools {
		added, addedRich := zoneWords("add", c.add)
		removed, removedRich := zoneWords("remove", c.remove)
		for _, words := range [][]string{added, addedRich, removed, removedRich} {
			if err := run(tool, words...); err != nil {
				return err
			}
		}
	}
	if c.policy != "" {
		if err := run(tools[0], "--set-target="+c.policy); err != nil {
			return err
		}
	}
	switch {
	case c.activate:
		_, err := hostcmd.Run(ctx, "", hostcmd.Find("systemctl"), "start", "firewalld.service")
		return err
	case d.running && (c.policy != "" || c.reload):
		_, err := hostcmd.Run(ctx, "", hostcmd.Find("firewall-cmd"), "--reload")
		return err
	}
	return nil
}

// zoneWords are the options for passes: a port is one for both families, but a
// rule that has a source is a rich one.
func zoneWords(verb string, all []pass) (ports, rich []string) {
	for _, a := range all {
		port := strconv.Itoa(a.First)
		if a.Last != a.First {
			port += "-" + strconv.Itoa(a.Last)
		}
		if a.From == "" {
			if word := "--" + verb + "-port=" + port + "/" + a.Protocol; !slices.Contains(ports, word) {
				ports = append(ports, word)
			}
			continue
		}
		family := "ipv4"
		if a.v6 {
			family = "ipv6"
		}
		rich = append(rich, fmt.Sprintf(`--%s-rich-rule=rule family="%s" source address="%s" port port="%s" protocol="%s" accept`,
			verb, family, a.From, port, a.Protocol))
	}
	return ports, rich
}

func (d firewalld) restore() string {
	if d.running {
		return "firewall-cmd --reload\n"
	}
	return "systemctl stop firewalld.service\n"
}

func (firewalld) enable() []string {
	return []string{hostcmd.Find("systemctl"), "enable", "--quiet", "firewalld.service"}
}

// differs compares what is in force with the file, as far as it is ours.
func (d firewalld) differs(ctx context.Context, before ruleset) (string, error) {
	out, err := hostcmd.Run(ctx, "", hostcmd.Find("firewall-cmd"), "--zone="+d.zone, "--list-all")
	if err != nil {
		return "", err
	}
	for _, a := range before.ours {
		ports, rich := zoneWords("", []pass{a})
		word := ""
		for _, w := range append(ports, rich...) {
			_, word, _ = strings.Cut(w, "=")
		}
		if !strings.Contains(string(out), word) {
			return a.String() + " is in the zone's file and not in force", nil
		}
	}
	return "", nil
}

// unitIsActive reports whether a service of systemd has processes. Its control
// group tells that without asking anybody.
func unitIsActive(unit string) bool {
	for _, base := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified"} {
		if b, err := os.ReadFile(base + "/system.slice/" + unit + "/cgroup.procs"); err == nil && len(b) > 0 {
			return true
		}
	}
	return false
}

// hasSystemd reports whether systemd runs this host.
func hasSystemd() bool {
	fi, err := os.Stat("/run/systemd/system")
	return err == nil && fi.IsDir()
}
