package baseline

import (
	"context"
	"encoding/hex"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/gofleet/gofleet/agent/internal/hostcmd"
	"github.com/gofleet/gofleet/agent/spec"
)

const (
	ufwConf     = "/etc/ufw/ufw.conf"
	ufwDefaults = "/etc/default/ufw"
	ufwRules    = "/etc/ufw/user.rules"
	ufwRules6   = "/etc/ufw/user6.rules"
	ufwTuple    = "### tuple ### "
	ufwComment  = "gofleet" // marks our rules
)

// ufw is a firewall tool whose files say all of it.
type ufw struct {
	enabled bool // as the files have it
}

func (ufw) name() string  { return "ufw" }
func (ufw) place() string { return ufwRules }
func (ufw) files() []string {
	return []string{ufwRules, ufwRules6, ufwConf, ufwDefaults}
}
func (ufw) closed() string { return "deny" }

// readUfw reads ufw's files; nil where it is not installed.
func readUfw() (*ruleset, error) {
	if hostcmd.Find("ufw") == "" {
		return nil, nil
	}
	conf, err := os.ReadFile(ufwConf)
	if err != nil {
		return nil, fmt.Errorf("read ufw's settings: %w", err)
	}
	defaults, err := os.ReadFile(ufwDefaults)
	if err != nil {
		return nil, fmt.Errorf("read ufw's settings: %w", err)
	}
	r := &ruleset{
		active: strings.EqualFold(shellValue(string(conf), "ENABLED"), "yes"),
		noV6:   !strings.EqualFold(shellValue(string(defaults), "IPV6"), "yes"),
	}
	r.tool = ufw{enabled: r.active}
	word := shellValue(string(defaults), "DEFAULT_INPUT_POLICY")
	r.policy = ufwPolicies[strings.ToUpper(word)]
	if r.policy == "" {
		return nil, fmt.Errorf("%s has the policy %q, which ufw does not know", ufwDefaults, hostcmd.Printable(word, 40))
	}
	r.open = r.policy == "allow"
	for _, path := range []string{ufwRules, ufwRules6} {
		b, err := os.ReadFile(path)
		if err != nil && !os.IsNotExist(err) {
			return nil, fmt.Errorf("read ufw's rules: %w", err)
		}
		r.readTuples(string(b), path == ufwRules6)
	}
	return r, nil
}

// ufwPolicies are the words of ufw's command for those of its file.
var ufwPolicies = map[string]string{"ACCEPT": "allow", "DROP": "deny", "REJECT": "reject"}

// shellValue is the last assignment to a name in a file that a shell reads.
func shellValue(text, name string) (value string) {
	for _, line := range strings.SplitAfter(text, "\n") {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), name+"="); ok {
			value = strings.Trim(v, `"' `)
		}
	}
	return value
}

// readTuples reads the comments by which ufw knows its own rules:
//
//	### tuple ### allow tcp 443 0.0.0.0/0 any 0.0.0.0/0 in comment=676f666c656574
//
// action, protocol, port, destination, source port, source, perhaps two names
// of applications, direction with the interface. Only what lets a port in from
// somewhere, or keeps it out, for all of the host's addresses, is of interest.
func (r *ruleset) readTuples(text string, v6 bool) {
	for _, line := range strings.SplitAfter(text, "\n") {
		tuple, ok := strings.CutPrefix(strings.TrimSpace(line), ufwTuple)
		if !ok {
			continue
		}
		f := strings.Fields(tuple)
		comment := ""
		if n := len(f); n > 0 {
			if c, ok := strings.CutPrefix(f[n-1], "comment="); ok {
				comment, f = c, f[:n-1]
			}
		}
		if len(f) != 7 && len(f) != 9 || f[len(f)-1] != "in" || f[4] != "any" {
			continue
		}
		lets := f[0] == "allow" || f[0] == "limit"
		named := tuplePasses(f[1], f[2], f[3], f[5], v6)
		for _, a := range named {
			if f[0] == "deny" || f[0] == "reject" {
				r.denied = append(r.denied, deny{a, f[0], len(r.all), len(named) == 1 && len(f) == 7})
			}
			if !lets {
				continue
			}
			r.all = append(r.all, a)
			if comment == hex.EncodeToString([]byte(ufwComment)) && len(f) == 7 && f[0] == "allow" {
				r.ours = append(r.ours, a)
			}
		}
	}
}

// tuplePasses gives what a rule lets in; several ports are several passes.
func tuplePasses(protocol, ports, to, from string, v6 bool) []pass {
	all := func(s string) bool { return s == "any" || s == "0.0.0.0/0" || s == "::/0" }
	if !all(to) {
		return nil
	}
	if all(from) {
		from = ""
	} else if n, err := spec.ParseNetwork(from); err == nil {
		from = n.String()
	} else {
		return nil
	}
	if ports == "any" {
		ports = "1:65535"
	}
	var out []pass
	for _, part := range strings.Split(ports, ",") {
		low, high, isRange := strings.Cut(part, ":")
		if !isRange {
			high = low
		}
		first, err1 := strconv.ParseUint(low, 10, 16)
		last, err2 := strconv.ParseUint(high, 10, 16)
		if err1 != nil || err2 != nil {
			return nil
		}
		for _, proto := range []string{"tcp", "udp"} {
			if protocol == "any" || protocol == proto {
				out = append(out, pass{FirewallRule: spec.FirewallRule{First: int(first), Last: int(last), Protocol: proto, From: from}, v6: v6})
			}
		}
	}
	return out
}

// agrees has nothing to ask: ufw's files are its rules.
func (ufw) agrees(context.Context) error { return nil }

func (u ufw) change(ctx context.Context, before *ruleset, c firewallChange) error {
	run := func(args ...string) error {
		_, err := hostcmd.Run(ctx, "", hostcmd.Find("ufw"), args...)
		return err
	}
	// What comes comes first: nothing that is to stay open is shut for a moment.
	for _, words := range ufwWords(c.add) {
		if err := run(append(append([]string{"allow"}, words...), "comment", ufwComment)...); err != nil {
			return err
		}
	}
	for _, words := range ufwWords(c.remove) {
		if err := run(append([]string{"delete", "allow"}, words...)...); err != nil {
			return err
		}
	}
	if c.policy != "" {
		if err := run("default", c.policy, "incoming"); err != nil {
			return err
		}
	}
	switch {
	case c.activate:
		return run("--force", "enable")
	case c.reload:
		return run("reload")
	}
	return nil
}

// ufwWords are the rules as ufw's command takes them, both families of one at
// once where both are there.
func ufwWords(all []pass) [][]string {
	var out [][]string
	for _, a := range all {
		other := a
		other.v6 = !a.v6
		to, from := "any", a.From
		if a.From == "" {
			from = "any"
			if slices.Contains(all, other) {
				if a.v6 {
					continue
				}
			} else if to = "0.0.0.0/0"; a.v6 {
				to = "::/0"
			}
		}
		port := strconv.Itoa(a.First)
		if a.Last != a.First {
			port += ":" + strconv.Itoa(a.Last)
		}
		out = append(out, []string{"proto", a.Protocol, "from", from, "to", to, "port", port})
	}
	return out
}

// restore has ufw's own script load the files, or clear the kernel's rules
// where the firewall was inactive.
func (u ufw) restore() string {
	if u.enabled {
		return "ufw reload\n"
	}
	return "for i in /usr/lib/ufw/ufw-init /lib/ufw/ufw-init; do if [ -x \"$i\" ]; then \"$i\" force-stop; break; fi; done\n"
}

func (ufw) enable() []string {
	if systemctl := hostcmd.Find("systemctl"); systemctl != "" && hasSystemd() {
		return []string{systemctl, "enable", "--quiet", "ufw.service"}
	}
	return nil
}

func (ufw) differs(ctx context.Context, _ *ruleset) (string, error) {
	out, err := hostcmd.Run(ctx, "", hostcmd.Find("ufw"), "status")
	if err != nil {
		return "", err
	}
	if !strings.Contains(string(out), "Status: active") {
		return "its files say that it is active, and it is not", nil
	}
	return "", nil
}
