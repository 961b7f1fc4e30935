package spec_test

import (
	"strings"
	"testing"
)

func TestNetrc(t *testing.T) {
	entry := func(machine, login, password any) list {
		return list{dict{"machine": machine, "login": login, "password": password}}
	}
	s := parse(t, dict{"gofleet_netrc": entry("proxy.corp:8443", "ci", `p!@$'%^&*()=+[]{};:,<>/?|~`)})
	if len(s.Netrc) != 1 || s.Netrc[0].Line() != `machine proxy.corp:8443 login ci password p!@$'%^&*()=+[]{};:,<>/?|~` {
		t.Errorf("read %+v", s.Netrc)
	}
	const secret = "s3cr3t"
	for what, v := range map[string]any{
		"must be a list":            secret,
		"must be a dictionary":      list{secret},
		"has no password":           list{dict{"machine": "a", "login": "b"}},
		"has no login":              entry("a", nil, secret),
		"is a URL":                  entry("https://a", "b", secret),
		"is not a host":             entry("a b", "b", secret),
		"default is no machine":     entry("default", "b", secret),
		"has a space":               entry("a", "b", secret+" x"),
		"has a quote":               entry("a", "b", secret+`"x`),
		"a backslash":               entry("a", "b", secret+`\x`),
		"begins with #":             entry("a", "b", "#"+secret),
		"not ASCII":                 entry("a", "b", secret+"ü"),
		"is empty":                  entry("a", "b", ""),
		"is longer":                 entry("a", "b", strings.Repeat(secret, 1000)),
		"has the machine and login": append(entry("a", "b", secret), entry("a", "b", secret+"2")...),
	} {
		err := parseError(t, dict{"gofleet_netrc": v}, inventory)
		if !strings.Contains(err.Error(), what) || strings.Contains(err.Error(), secret) {
			t.Errorf("want %q, got %v", what, err)
		}
	}
}

func TestCACertificates(t *testing.T) {
	s := parse(t, dict{"gofleet_ca_certificates": list{" ../ca.pem\n"}})
	if len(s.CACertificates) != 1 || s.CACertificates[0] != "../ca.pem" {
		t.Errorf("read %q", s.CACertificates)
	}
	for what, v := range map[string]any{
		"must be a list":      "../ca.pem",
		"must be text":        list{int64(1)},
		"is empty":            list{" "},
		"holds a private key": list{"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"},
	} {
		if err := parseError(t, dict{"gofleet_ca_certificates": v}, inventory); !strings.Contains(err.Error(), what) || strings.Contains(err.Error(), "AAAA") {
			t.Errorf("want %q, got %v", what, err)
		}
	}
}
