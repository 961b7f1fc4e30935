package baseline

import (
	"slices"
	"strings"
	"testing"

	"github.com/gofleet/gofleet/agent/internal/record"
	"github.com/gofleet/gofleet/agent/spec"
)

func texts(all []pass) string { return strings.Join(joined(all), ", ") }

func rule(t *testing.T, text string) spec.FirewallRule {
	t.Helper()
	port, from, _ := strings.Cut(text, " from ")
	item := map[string]any{"port": port}
	if from != "" {
		item["from"] = from
	}
	s, err := spec.Parse(map[string]any{"firewall": map[string]any{"allow": []any{item}}}, spec.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return s.Firewall.Allow[0]
}

func TestUfwTuples(t *testing.T) {
	const v4 = `*filter
### tuple ### allow tcp 443 0.0.0.0/0 any 0.0.0.0/0 in comment=676f666c656574
-A ufw-user-input -p tcp --dport 443 -j ACCEPT
### tuple ### allow tcp 9000 0.0.0.0/0 any 10.0.0.0/8 in comment=676f666c656574
### tuple ### allow udp 8000:8100 0.0.0.0/0 any 0.0.0.0/0 in
### tuple ### limit tcp 22 0.0.0.0/0 any 0.0.0.0/0 OpenSSH - in
### tuple ### allow tcp 80,443 0.0.0.0/0 any 192.0.2.7 in comment=776562
### tuple ### allow tcp 81 0.0.0.0/0 any 0.0.0.0/0 in_eth0
### tuple ### allow tcp 82 10.1.1.1 any 0.0.0.0/0 in
### tuple ### allow tcp 83 0.0.0.0/0 any 0.0.0.0/0 out
### tuple ### deny tcp 84 0.0.0.0/0 any 0.0.0.0/0 in
### tuple ### route:allow tcp 85 0.0.0.0/0 any 0.0.0.0/0 in
### tuple ### allow any 123 0.0.0.0/0 any 0.0.0.0/0 in
`
	var r ruleset
	r.readTuples(v4, false)
	r.readTuples("### tuple ### allow tcp 443 ::/0 any ::/0 in comment=676f666c656574\n", true)
	if got, want := texts(r.all), "443/tcp, 9000/tcp from 10.0.0.0/8, 8000-8100/udp, 22/tcp, 80/tcp from 192.0.2.7, 443/tcp from 192.0.2.7, 123/tcp, 123/udp"; got != want {
		t.Errorf("all: %s\nwant %s", got, want)
	}
	if got, want := texts(r.ours), "443/tcp, 9000/tcp from 10.0.0.0/8"; got != want {
		t.Errorf("ours: %s\nwant %s", got, want)
	}
	if len(r.denied) != 1 || r.denied[0].String() != "84/tcp" || !r.denied[0].alone {
		t.Errorf("denied: %v", r.denied)
	}
}

func TestUfwWords(t *testing.T) {
	a := passes(rule(t, "443/tcp"))
	for want, all := range map[string][]pass{
		"proto tcp from any to any port 443":            a,
		"proto tcp from any to 0.0.0.0/0 port 443":      a[:1],
		"proto tcp from any to ::/0 port 443":           a[1:],
		"proto udp from fd00::/8 to any port 8000:8100": passes(rule(t, "8000-8100/udp from fd00::/8")),
		"proto tcp from 192.0.2.1 to any port 9000":     passes(rule(t, "9000/tcp from 192.0.2.1/32")),
	} {
		if got := ufwWords(all); len(got) != 1 || strings.Join(got[0], " ") != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func readZone(text string) zone {
	z := zone{policy: zoneDefault}
	z.read(text)
	return z
}

func TestFirewalldZone(t *testing.T) {
	const text = `<?xml version="1.0" encoding="utf-8"?>
<zone target='DROP'>
  <!-- <port port="1" protocol="tcp"/> -->
  <short>Public</short>
  <port port="443" protocol="tcp"/>
  <port protocol="udp" port="8000-8100" />
  <rule family="ipv4"><source address="10.0.0.0/8"/><port port="9000" protocol="tcp"/><accept/></rule>
  <rule family="ipv6"><source address="fd00::/8"/><port port="9001" protocol="tcp"/><reject/></rule>
  <rule family="ipv4"><source address="10.0.0.0/8" invert="True"/><port port="9002" protocol="tcp"/><accept/></rule>
  <rule><port port="9003" protocol="tcp"/><accept><limit value="1/m"/></accept></rule>
  <forward/>
</zone>`
	r := readZone(text)
	if got, want := texts(r.all), "443/tcp, 8000-8100/udp, 9000/tcp from 10.0.0.0/8"; got != want || r.policy != "DROP" {
		t.Errorf("%s, policy %s; want %s", got, r.policy, want)
	}
	ports, rich := zoneWords("add", r.all)
	want := `--add-port=443/tcp --add-port=8000-8100/udp --add-rich-rule=rule family="ipv4" source address="10.0.0.0/8" port port="9000" protocol="tcp" accept`
	if got := strings.Join(append(ports, rich...), " "); got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
}

// TestDeny: what has the place that ufw gives to a rule is said, and what keeps
// a rule from having any effect.
func TestDeny(t *testing.T) {
	const rules = `### tuple ### allow tcp 80 0.0.0.0/0 any 0.0.0.0/0 in
### tuple ### deny any 80 0.0.0.0/0 any 0.0.0.0/0 in
### tuple ### reject tcp 443 0.0.0.0/0 any 0.0.0.0/0 in
### tuple ### deny any 8443 0.0.0.0/0 any 0.0.0.0/0 in
### tuple ### deny tcp 9000 0.0.0.0/0 any 192.0.2.0/24 in
### tuple ### deny tcp 9001,9002 0.0.0.0/0 any 0.0.0.0/0 in
`
	have := &ruleset{}
	have.readTuples(rules, false)
	for text, want := range map[string]struct{ replaced, warned bool }{
		"80/tcp":                      {}, // the allow comes first
		"443/tcp":                     {true, false},
		"8443/tcp":                    {false, true}, // for udp as well: another rule to ufw
		"9000/tcp":                    {},            // some are shut out on purpose
		"9000/tcp from 192.0.2.7":     {false, true},
		"9000/tcp from 192.0.2.0/24":  {true, false},
		"9001/tcp":                    {false, true},
		"9001/tcp from 198.51.100.77": {false, true},
	} {
		p := &planner{}
		a := passes(rule(t, text))[0]
		p.warnOfDeny(a, have)
		gone := replaced(have.denied, []pass{a})
		if (len(gone) == 1) != want.replaced || (len(p.warnings) == 1) != want.warned {
			t.Errorf("%s: takes the place of %q, warnings %q", text, gone, p.warnings)
		}
	}
}

func TestZones(t *testing.T) {
	z := readZone(`<zone><interface name="eth1"/><source address="10.0.0.0/8"/><source ipset="bad"/><source mac="00:11:22:33:44:55"/></zone>`)
	if !slices.Equal(z.interfaces, []string{"eth1"}) || !slices.Equal(z.sources, []string{"10.0.0.0/8", "bad", "00:11:22:33:44:55"}) {
		t.Errorf("%+v", z)
	}
	for _, tt := range []struct {
		zone
		want bool
	}{
		{zone{policy: zoneDefault, interfaces: []string{"eth1"}}, true},
		{zone{policy: zoneDefault, sources: []string{"10.0.0.0/8"}}, true},
		{zone{policy: "DROP", interfaces: []string{"eth1"}}, true},
		{zone{policy: "DROP", sources: []string{"10.0.0.0/8"}}, false},
		{zone{policy: "%%REJECT%%", sources: []string{"bad"}}, false},
		{zone{policy: zoneOpen, interfaces: []string{"eth1"}}, false},
	} {
		if got := tt.zone.ruled(); got != tt.want {
			t.Errorf("%+v: %t", tt.zone, got)
		}
	}
	const old, now = "internal\n  interfaces: eth0 eth1\ndrop\n  sources: 10.66.0.0/16\n", "drop\n  sources: 10.66.0.0/16\npublic (default)\n  interfaces: eth0\n"
	for _, tt := range [][3]string{{old, "eth1", "internal"}, {old, "eth2", ""}, {now, "eth0", "public"}, {"", "eth0", ""}} {
		if got := activeZone(tt[0], tt[1]); got != tt[2] {
			t.Errorf("%s: %q, want %q", tt[1], got, tt[2])
		}
	}
}

// TestSSHInItsZone: the port of the run needs a rule in the zone that it came
// by, and gets none in others.
func TestSSHInItsZone(t *testing.T) {
	client, err := spec.ParseNetwork("10.1.2.3")
	if err != nil {
		t.Fatal(err)
	}
	came := login{port: 22, client: &client, ports: []int{22, 2222}}
	ssh, other := passes(rule(t, "22/tcp")), passes(rule(t, "2222/tcp"))
	zones := []zone{{name: "internal"}}
	for _, tt := range []struct {
		name   string
		port   int
		have   *ruleset
		needed bool
	}{
		{"another zone lets it in", 22, &ruleset{all: ssh, zones: zones, came: "internal"}, true},
		{"its zone lets it in", 22, &ruleset{all: inZone("internal", ssh), zones: zones, came: "internal"}, false},
		{"it came by the default zone", 22, &ruleset{all: inZone("internal", ssh), zones: zones}, true},
		{"its zone lets all in", 22, &ruleset{zones: []zone{{name: "trusted", policy: zoneOpen}}, came: "trusted"}, false},
		{"another port that another zone knows", 2222, &ruleset{all: inZone("internal", other), zones: zones}, false},
		{"another port that no zone knows", 2222, &ruleset{zones: zones, came: "internal"}, true},
	} {
		p := &planner{want: &spec.Spec{}, rec: &record.Record{}}
		if _, needed, err := p.keepOpen(tt.port, came, nil, tt.have); needed != tt.needed || err != nil {
			t.Errorf("%s: needed %t, %v", tt.name, needed, err)
		}
	}
}

// TestPolicyOfAnotherPlace: what the record says of one zone's policy is not
// given to the zone that has become the default one.
func TestPolicyOfAnotherPlace(t *testing.T) {
	noted := &record.Firewall{Tool: "firewalld", Place: "/etc/firewalld/zones/public.xml", Policy: zoneOpen, Closed: true}
	for _, zone := range []string{"public", "internal"} {
		p := &planner{want: &spec.Spec{}, rec: &record.Record{}}
		have := &ruleset{tool: firewalld{zone: zone}, policy: zoneDefault}
		plan, err := p.planFirewall(nil, p.ofThisPlace(noted, have), have)
		if same := zone == "public"; err != nil || (plan.policy == zoneOpen) != same || (len(p.warnings) == 0) != same {
			t.Errorf("%s: %+v, warnings %q, %v", zone, plan, p.warnings, err)
		}
	}
	if noted.Policy == "" || !noted.Closed {
		t.Error("the record was changed")
	}
}

// FuzzTags: a file that somebody wrote by hand ends no agent.
func FuzzTags(f *testing.F) {
	f.Add(`<zone target="x"><port port='1'/><!-- > --></zone>`)
	f.Add(`<a b= "c" d='e' f>`)
	f.Add("<!--<")
	f.Fuzz(func(t *testing.T, text string) {
		readZone(text)
		for _, tag := range tags(text) {
			if tag.name == "" || strings.ContainsAny(tag.name, "<> ") && !strings.Contains(text, tag.name) {
				t.Errorf("%q", tag.name)
			}
		}
	})
}

func TestNftables(t *testing.T) {
	const text = `table inet filter {
	chain input {
		type filter hook input priority 0; policy drop;
		ct state established,related accept
		iif "lo" accept
		tcp dport 22 accept
		tcp dport { 80, 443, 8000-8100 } counter packets 0 bytes 0 accept
		ip saddr 10.0.0.0/8 tcp dport 9000 accept
		ip6 saddr fd00::/8 udp dport 53 accept
		tcp dport 25 jump mail
	}
}
`
	n := readNft(text)
	if !n.filters || !n.drops {
		t.Errorf("%+v", n)
	}
	for text, want := range map[string]bool{
		"22/tcp": true, "443/tcp": true, "8001-8002/tcp": true, "443/udp": false, "25/tcp": false,
		"9000/tcp": false, "9000/tcp from 10.1.0.0/16": true, "9000/tcp from 11.0.0.0/8": false, "53/udp from fd00::1": true,
	} {
		for _, a := range passes(rule(t, text)) {
			if got := n.lets(a); got != want {
				t.Errorf("%s: %t, want %t", a, got, want)
			}
		}
	}
	open := readNft("table inet filter {\n\tchain input {\n\t\ttype filter hook input priority filter; policy accept;\n\t}\n}\n")
	if open.filters || open.drops {
		t.Errorf("%+v", open)
	}
}

// TestSSHStaysOpen: the port of the run gets a rule where nothing else lets it
// in, and only there.
func TestSSHStaysOpen(t *testing.T) {
	client, err := spec.ParseNetwork("10.1.2.3")
	if err != nil {
		t.Fatal(err)
	}
	all := func(rules ...string) (out []pass) {
		for _, r := range rules {
			out = append(out, passes(rule(t, r))...)
		}
		return out
	}
	came := login{port: 22, client: &client, ports: []int{22, 2222}}
	for _, tt := range []struct {
		name                  string
		port                  int
		wanted, foreign, ours []pass
		needed, refused       bool
	}{
		{name: "nothing lets it in", port: 22, needed: true},
		{name: "the inventory does", port: 22, wanted: all("22/tcp")},
		{name: "the inventory does for its network", port: 22, wanted: all("22/tcp from 10.0.0.0/8"), ours: all("22/tcp")},
		{name: "the inventory shuts it out", port: 22, wanted: all("22/tcp from 192.0.2.0/24"), refused: true},
		{name: "others let it in", port: 22, foreign: all("22/tcp from 10.0.0.0/8")},
		{name: "others do, and the inventory for somebody else", port: 22, wanted: all("22/tcp from 192.0.2.0/24"), foreign: all("1-100/tcp")},
		{name: "others let somebody else in", port: 22, foreign: all("22/tcp from 192.0.2.0/24"), needed: true},
		{name: "our rule stays", port: 22, foreign: all("22/tcp from 10.0.0.0/8"), ours: all("22/tcp"), needed: true},
		{name: "another port of sshd", port: 2222, needed: true},
		{name: "another port of sshd that others know", port: 2222, foreign: all("2222/tcp from 192.0.2.0/24")},
	} {
		p := &planner{want: &spec.Spec{}, rec: &record.Record{}}
		have := &ruleset{all: slices.Concat(tt.foreign, tt.ours), ours: tt.ours}
		r, needed, err := p.keepOpen(tt.port, came, tt.wanted, have)
		if needed != tt.needed || (err != nil) != tt.refused || r.First != tt.port {
			t.Errorf("%s: %s needed %t, %v", tt.name, r, needed, err)
		}
	}
}

func TestListening(t *testing.T) {
	const table = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 11 1 0 100 0 0 10 0
   1: 0100007F:08AE 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 12 1 0 100 0 0 10 0
   2: 0201A8C0:08AF 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 13 1 0 100 0 0 10 0
   3: 0201A8C0:08B0 00000000:0000 01 00000000:00000000 00:00000000 00000000     0        0 14 1 0 100 0 0 10 0
   4: 00000000:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 99 1 0 100 0 0 10 0
`
	var l login
	l.addListening(table, []string{"11", "12", "13", "14"})
	if !slices.Equal(l.ports, []int{22, 2223}) {
		t.Errorf("%v", l.ports)
	}
}
