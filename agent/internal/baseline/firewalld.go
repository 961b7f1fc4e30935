package baseline

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/gofleet/gofleet/agent/internal/hostcmd"
	"github.com/gofleet/gofleet/agent/internal/record"
)

// firewalld keeps zones in files, and what is in force apart from them.
type firewalld struct {
	zone    string // the default one
	running bool
	written []string // zones that a change may write, the default one first
	iface   string   // that this run came in by, "" where its zone does not hang on that
	came    string   // its zone
}

const (
	firewalldConf  = "/etc/firewalld/firewalld.conf"
	firewalldZones = "/etc/firewalld/zones"
	zoneDefault    = "default" // the target of a zone that shuts out what it does not name
	zoneOpen       = "ACCEPT"
)

func (firewalld) name() string    { return "firewalld" }
func (d firewalld) place() string { return zoneFile(d.zone) }
func (firewalld) closed() string  { return zoneDefault }

func (d firewalld) files() (files []string) {
	for _, name := range d.written {
		files = append(files, zoneFile(name))
	}
	return files
}

func zoneFile(name string) string { return firewalldZones + "/" + name + ".xml" }

// readFirewalld reads the default zone and those that interfaces and sources
// are bound to; nil where firewalld is not installed. It has no comments: what
// of a zone is ours, the record knows.
func readFirewalld(noted *record.Firewall) (*ruleset, error) {
	if hostcmd.Find("firewall-cmd") == "" {
		return nil, nil
	}
	conf, err := os.ReadFile(firewalldConf)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read firewalld's settings: %w", err)
	}
	d := firewalld{zone: "public", running: unitIsActive("firewalld.service")}
	if zone := shellValue(string(conf), "DefaultZone"); zone != "" {
		d.zone = zone
	}
	if !zoneName(d.zone) {
		return nil, fmt.Errorf("%s has a default zone with the name %q", firewalldConf, hostcmd.Printable(d.zone, 40))
	}
	main, err := readZoneFile(d.zone)
	if err != nil {
		return nil, err
	}
	r := &ruleset{active: d.running, policy: main.policy, open: main.policy == zoneOpen, all: main.all}
	if noted.Place == d.place() {
		r.ours = notedPasses(noted, r.all)
	} else { // it has become the default one since
		r.ours = inZone("", notedPasses(noted, inZone(d.zone, r.all)))
	}
	if r.zones, err = boundZones(d.zone); err != nil {
		return nil, err
	}
	for _, z := range r.zones {
		r.all = append(r.all, inZone(z.name, z.all)...)
		r.ours = append(r.ours, notedPasses(noted, inZone(z.name, z.all))...)
	}
	if err := r.readFormer(d.zone, noted); err != nil {
		return nil, err
	}
	r.came, d.iface = cameBy(r.zones)
	d.came = cmp.Or(r.came, d.zone)
	d.written = []string{d.zone}
	for _, z := range r.zones {
		if z.ruled() || r.came == z.name {
			d.written = append(d.written, z.name)
		}
	}
	for _, a := range r.ours {
		if a.zone != "" && !slices.Contains(d.written, a.zone) {
			d.written = append(d.written, a.zone)
		}
	}
	r.tool = d
	return r, nil
}

// notedPasses are those of all that gofleet has set.
func notedPasses(noted *record.Firewall, all []pass) []pass {
	return filter(all, func(a pass) bool {
		return slices.Contains(noted.Rules, a.String()) || slices.Contains(noted.Doing, a.String())
	})
}

// readFormer reads what gofleet has set in a zone that was the default one then
// and is no longer.
func (r *ruleset) readFormer(now string, noted *record.Firewall) error {
	name := strings.TrimSuffix(filepath.Base(noted.Place), ".xml")
	if noted.Tool != "firewalld" || name == now || !zoneName(name) {
		return nil
	}
	former, err := readZoneFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, a := range inZone(name, notedPasses(noted, former.all)) {
		if !slices.Contains(r.ours, a) {
			r.ours = append(r.ours, a)
		}
	}
	return err
}

// change changes the file and what is in force, and loads the file only where
// nothing else will do: that would drop what others put in force without a file.
func (d firewalld) change(ctx context.Context, before *ruleset, c firewallChange) error {
	tools := [][]string{{"firewall-cmd", "--permanent"}, {"firewall-cmd"}}
	if !d.running {
		tools = [][]string{{"firewall-offline-cmd"}}
	}
	run := func(tool []string, zone string, args ...string) error {
		if len(args) == 0 {
			return nil
		}
		args = append(append(slices.Clone(tool[1:]), "--zone="+zone), args...)
		_, err := hostcmd.Run(ctx, "", hostcmd.Find(tool[0]), args...)
		return err
	}
	for _, tool := range tools {
		// What comes comes first: nothing that is to stay open is shut for a moment.
		for _, verb := range []string{"add", "remove"} {
			all := map[string][]pass{"add": c.add, "remove": c.remove}[verb]
			for _, name := range d.written {
				ports, rich := zoneWords(verb, d.in(name, all))
				if err := errors.Join(run(tool, name, ports...), run(tool, name, rich...)); err != nil {
					return err
				}
			}
		}
	}
	if c.policy != "" {
		if err := run(tools[0], d.zone, "--set-target="+c.policy); err != nil {
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
func (d firewalld) differs(ctx context.Context, before *ruleset) (string, error) {
	for _, name := range d.written {
		ours := d.in(name, before.ours)
		if len(ours) == 0 {
			continue
		}
		out, err := hostcmd.Run(ctx, "", hostcmd.Find("firewall-cmd"), "--zone="+name, "--list-all")
		if err != nil {
			return "", err
		}
		for _, a := range ours {
			ports, rich := zoneWords("", []pass{a})
			word := ""
			for _, w := range append(ports, rich...) {
				_, word, _ = strings.Cut(w, "=")
			}
			if !strings.Contains(string(out), word) {
				return a.String() + " is in the zone's file and not in force", nil
			}
		}
	}
	return "", nil
}

// in are the passes of a zone.
func (d firewalld) in(name string, all []pass) []pass {
	return filter(all, func(a pass) bool { return cmp.Or(a.zone, d.zone) == name })
}

// agrees asks whether the interface that this run came in by is in the zone that
// files say: somebody may have moved it until the next reload.
func (d firewalld) agrees(ctx context.Context) error {
	if d.iface == "" {
		return nil
	}
	out, err := hostcmd.Run(ctx, "", hostcmd.Find("firewall-cmd"), "--get-active-zones")
	if err != nil {
		return err
	}
	if in := activeZone(string(out), d.iface); in != "" && in != d.came {
		return refused(fmt.Errorf("firewalld has %s, by which this run came in, in zone %s, and its files say zone %s", d.iface, in, d.came),
			fmt.Sprintf("firewall-cmd --permanent --zone=%s --change-interface=%s keeps it there; firewall-cmd --reload brings back what the files say", in, d.iface))
	}
	return nil
}

// activeZone finds the zone of an interface in what "firewall-cmd
// --get-active-zones" says: a zone's name on a line, perhaps with "(default)",
// and below it, further in, "interfaces: eth0 eth1".
func activeZone(text, iface string) (zone string) {
	for _, line := range strings.SplitAfter(text, "\n") {
		f := strings.Fields(line)
		switch {
		case len(f) == 0:
		case line[0] != ' ' && line[0] != '\t':
			zone = f[0]
		case f[0] == "interfaces:" && slices.Contains(f[1:], iface):
			return zone
		}
	}
	return ""
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
