package spec

import (
	"slices"
	"strings"
)

// Services is gofleet_services: by name, without or with the kind of unit
// behind it, "cups" or "cups.socket".
type Services struct {
	Enabled  []string `json:"enabled,omitempty"`
	Disabled []string `json:"disabled,omitempty"`
	Masked   []string `json:"masked,omitempty"`
}

// unitKinds are the kinds of units that gofleet_services can name.
var unitKinds = []string{".service", ".socket", ".path", ".timer"}

// BareUnit is a unit's name without the kind of unit, as an administrator says
// it: "cups" of "cups.socket".
func BareUnit(name string) string {
	for _, kind := range unitKinds {
		if bare, ok := strings.CutSuffix(name, kind); ok {
			return bare
		}
	}
	return name
}

// protected are services that a host is reached through, or that everything
// needs. A name that ends with a star stands for all that begin so.
var protected = []struct {
	names []string
	why   string
}{
	{[]string{"ssh", "sshd", "sshd@*", "ssh@*", "sshd-*", "dropbear", "tinysshd*"}, "gofleet reaches the host through it"},
	{[]string{
		"systemd-networkd*", "NetworkManager*", "networking", "network", "network-manager", "wicked*", "connman", "ifup@*",
		"dhcpcd*", "dhclient*", "wpa_supplicant*", "iwd", "systemd-resolved", "resolvconf*", "netplan-*", "cloud-init*",
	}, "it is the host's network"},
	{[]string{"dbus*", "systemd-logind*", "systemd-journald*", "systemd-udevd*", "systemd-tmpfiles-*", "systemd-user-sessions", "elogind", "udev*", "mdev", "sysfs", "devfs", "hwdrivers", "bootmisc", "hostname", "localmount", "procfs", "root", "modules", "sysctl", "getty@*", "serial-getty@*", "user@*", "polkit"}, "the system itself needs it"},
	{[]string{"ufw*", "firewalld", "nftables", "iptables", "ip6tables", "netfilter-persistent", "shorewall*"}, "it is the firewall, which gofleet_firewall is for"},
	{[]string{"gofleet*"}, "it is gofleet's own"},
}

// ProtectedService says why gofleet touches no service of that name; "" if it
// may.
func ProtectedService(name string) string {
	bare := BareUnit(name)
	for _, p := range protected {
		for _, known := range p.names {
			if prefix, all := strings.CutSuffix(known, "*"); bare == known || all && strings.HasPrefix(bare, prefix) {
				return p.why
			}
		}
	}
	return ""
}

// services reads gofleet_services.
func (n *node) services() *Services {
	const example = `write it like {disabled: [cups], masked: [rpcbind]}`
	m, ok := n.dict([]string{"enabled", "disabled", "masked"}, example)
	if !ok {
		return nil
	}
	s := &Services{}
	seen := map[string]string{}
	for _, part := range []struct {
		key string
		to  *[]string
	}{{"enabled", &s.Enabled}, {"disabled", &s.Disabled}, {"masked", &s.Masked}} {
		if list := m[part.key]; !list.null() {
			*part.to = list.units(part.key, seen)
		}
	}
	if len(seen) == 0 {
		return nil
	}
	return s
}

// units reads a list of services. Those that are protected may be enabled, and
// nothing else.
func (n *node) units(key string, seen map[string]string) []string {
	const example = `write a list of services, like [cups, rpcbind.socket]`
	items, _ := n.list(example)
	var names []string
	for _, item := range items {
		name, ok := item.text(example)
		if !ok {
			continue
		}
		name = strings.TrimSuffix(name, ".service")
		before, twice := seen[name]
		why := ProtectedService(name)
		switch {
		case name == "" || len(name) > 200 || name[0] == '-' || name[0] == '.' || !only(name, "-_.@:\\"):
			item.fail(example, "%s is not the name of a service", quote(name))
		case strings.HasSuffix(name, "@"):
			item.fail("name one instance, like getty@tty1", "%s is a template of services", quote(name))
		case slices.Contains([]string{".target", ".mount", ".slice", ".scope", ".device", ".swap", ".automount"}, lastDot(name)):
			item.fail("name services, sockets, paths or timers", "%s is not a service", quote(name))
		case twice:
			item.fail("keep one of them", "%s stands under %s too", quote(name), before)
		case why != "" && key != "enabled":
			item.fail("take it out of the list", "%s is not for gofleet to touch: %s", quote(name), why)
		default:
			seen[name] = key
			names = append(names, name)
		}
	}
	return names
}

// lastDot is what follows the last dot of name, with it.
func lastDot(name string) string { return name[max(0, strings.LastIndexByte(name, '.')):] }
