package spec_test

import (
	"reflect"
	"testing"

	"github.com/gofleet/gofleet/agent/spec"
)

func TestFirewall(t *testing.T) {
	allow := func(items ...any) dict { return v("firewall", dict{"allow": list(items)}) }
	check(t, inventory, []one{
		{vars: v("firewall", nil)},
		{vars: v("firewall", dict{})},
		{vars: allow("443/tcp", dict{"port": "8000-8100/udp", "from": "fd00::/8"})},
		{v("firewall", "443/tcp"), "gofleet_firewall", "must be a dictionary, not text", "443/tcp"},
		{v("firewall", dict{"allow": "443/tcp"}), "gofleet_firewall.allow", "must be a list, not text", "443/tcp"},
		{v("firewall", dict{"alow": list{}}), "gofleet_firewall.alow", "unknown key", "did you mean allow?"},
		{v("firewall", dict{"policy": "drop"}), "gofleet_firewall.policy", "must be one of keep, deny", "keep"},
		{v("firewall", dict{"enabled": false}), "gofleet_firewall.enabled", "cannot be false", "makes no firewall inactive"},
		{allow(int64(443)), "gofleet_firewall.allow[0]", "has no protocol", "443/tcp"},
		{allow("443"), "gofleet_firewall.allow[0]", "names neither tcp nor udp", "443/tcp"},
		{allow("443/sctp"), "gofleet_firewall.allow[0]", "names neither tcp nor udp", "443/tcp"},
		{allow("https/tcp"), "gofleet_firewall.allow[0]", "is not a port", "443/tcp"},
		{allow("0/tcp"), "gofleet_firewall.allow[0]", "is not a port", "443/tcp"},
		{allow("65536/tcp"), "gofleet_firewall.allow[0]", "is not a port", "443/tcp"},
		{allow("90-80/tcp"), "gofleet_firewall.allow[0]", "is not a port", "443/tcp"},
		{allow(dict{"from": "10.0.0.0/8"}), "gofleet_firewall.allow[0]", "has no port", "443/tcp"},
		{allow(dict{"port": "1/tcp", "from": "corp"}), "gofleet_firewall.allow[0].from", "is not an address", "10.0.0.0/8"},
		{allow(dict{"port": "1/tcp", "from": "10.0.0.0/33"}), "gofleet_firewall.allow[0].from", "prefix length", "10.0.0.0/8"},
		{allow(dict{"port": "1/tcp", "from": "0.0.0.0/0"}), "gofleet_firewall.allow[0].from", "is everybody", "drop from"},
	})
	s := parse(t, v("firewall", dict{"allow": list{"443/TCP", "443/tcp", dict{"port": "9000-9001/udp", "from": "10.1.2.3/8"}}, "policy": "deny", "enabled": true}))
	want := &spec.Firewall{Policy: spec.PolicyDeny, Enabled: true, Allow: []spec.FirewallRule{
		{First: 443, Last: 443, Protocol: "tcp"}, {First: 9000, Last: 9001, Protocol: "udp", From: "10.0.0.0/8"},
	}}
	if !reflect.DeepEqual(s.Firewall, want) {
		t.Errorf("got %+v", s.Firewall)
	}
	if got := s.Firewall.Allow[1].String(); got != "9000-9001/udp from 10.0.0.0/8" {
		t.Error(got)
	}
}

func TestNetwork(t *testing.T) {
	for text, want := range map[string]string{
		"10.0.0.1": "10.0.0.1", "10.1.2.3/8": "10.0.0.0/8", "192.0.2.1/32": "192.0.2.1", "0.0.0.0/0": "0.0.0.0/0",
		"::": "::", "::/0": "::/0", "fd00:0:0:1::/64": "fd00:0:0:1::/64", "FD00::1": "fd00::1", "1:0:0:2:0:0:0:3": "1:0:0:2::3",
		"2001:db8:1:2:3:4:5:6/48": "2001:db8:1::/48", "1::": "1::", "::ffff:10.0.0.1": "::ffff:a00:1", "1:0:2:3:4:5:6:7": "1:0:2:3:4:5:6:7",
	} {
		n, err := spec.ParseNetwork(text)
		if err != nil || n.String() != want {
			t.Errorf("%s is %s, %v; want %s", text, n, err, want)
		}
	}
	for _, bad := range []string{"", "1.2.3", "1.2.3.4.5", "1.2.3.256", "01.2.3.4", "1.2.3.4/", "1.2.3.4/33", "1.2.3.4/08", ":", ":::", "1::2::3", "12345::", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "1:2:3:4:5:6:7::8", "::/129", "fe80::1%eth0", "1.2.3.4::"} {
		if n, err := spec.ParseNetwork(bad); err == nil {
			t.Errorf("%q is %s", bad, n)
		}
	}
	in := func(a, b string) bool {
		x, err1 := spec.ParseNetwork(a)
		y, err2 := spec.ParseNetwork(b)
		return err1 == nil && err2 == nil && x.Contains(y)
	}
	if !in("10.0.0.0/8", "10.1.0.0/16") || !in("10.0.0.0/8", "10.9.9.9") || !in("fd00::/9", "fd7f::1") || !in("0.0.0.0/0", "8.8.8.8") {
		t.Error("a network does not contain what is in it")
	}
	if in("10.0.0.0/8", "11.0.0.0") || in("10.1.0.0/16", "10.0.0.0/8") || in("::/0", "10.0.0.1") || in("fd00::/9", "fd80::1") {
		t.Error("a network contains what is not in it")
	}
}
