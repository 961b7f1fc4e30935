package report

import (
	"strings"
	"testing"

	"github.com/gofleet/gofleet/agent/wire"
	"github.com/gofleet/gofleet/controller/internal/fleet"
)

func TestGeneral(t *testing.T) {
	for _, c := range []struct{ host, message, hint, want, wantHint string }{
		{"web1", "connect to 10.0.0.7:22: connection refused", "", "connect to ADDRESS: connection refused", ""},
		{"web1", "connect to [fe80::1%eth0]:22: no route", "", "connect to ADDRESS: no route", ""},
		{"web1", "connect to web1:22: refused; web10 and web1.old are others. web1.", "", "connect to HOST:22: refused; web10 and web1.old are others. HOST.", ""},
		{"web1", "connect to web1.internal:22: refused", "ssh web1.internal", "connect to ADDRESS:22: refused", "ssh ADDRESS"},
		{"web1", "the host key of a.b:22 is unknown: it shows rsa SHA256:dJ2Yb3hBq0o5yFQm3Vt1y1nJb1c0s8k7d6f5g4h3j2k", "ssh-keyscan a.b >> x",
			"the host key of ADDRESS:22 is unknown: it shows rsa FINGERPRINT", "ssh-keyscan ADDRESS >> x"},
		{"web1", "the host key of 10.0.0.7:22 has changed: it shows rsa SHA256:dJ2Yb3hBq0o5yFQm3Vt1y1nJb1c0s8k7d6f5g4h3j2k, but /k/known_hosts:17 has rsa SHA256:Qy1zT9Vw8uR7tS6pO5nM4lK3jI2hG1fE0dC9bA8zY7x", "ssh-keygen -R '10.0.0.7'",
			"the host key of ADDRESS has changed: it shows rsa FINGERPRINT, but /k/known_hosts:LINE has rsa FINGERPRINT", "ssh-keygen -R 'ADDRESS'"},
		{"web1", "write /etc/x: line 10.2 of 3:4", "", "write /etc/x: line 10.2 of 3:4", ""},
		{"", "nothing", "to do", "nothing", "to do"},
	} {
		if got, hint := general(c.host, c.message, c.hint); got != c.want || hint != c.wantHint {
			t.Errorf("general(%q, %q) = %q, %q", c.host, c.message, got, hint)
		}
	}
}

// unmet is a host below several limits.
func unmet(host string, checks ...wire.Check) fleet.Result {
	return fleet.Result{Host: host, Report: wire.Report{Status: wire.Unmet, Checks: checks, Error: &wire.Error{Kind: wire.KindUnmet, Message: "not met"}}}
}

func TestManyValuesOfOneCheck(t *testing.T) {
	o := &fleet.Outcome{Command: wire.Audit}
	for i, name := range names("n%d", 20) {
		o.Results = append(o.Results, unmet(name, wire.Check{Name: "disk", Status: wire.Fail, Actual: strings.Repeat("9", i+1) + " B", Wanted: "at least 1 GB"}))
	}
	r, stdout, _ := newReporter(t, Options{Command: wire.Audit})
	if err := r.Print(o); err != nil {
		t.Fatal(err)
	}
	want := `unmet        n[1-20]  1 precondition not met
    check  hosts  actual         wanted         hint
    disk   n1     9 B            at least 1 GB
           n2     99 B
           n3     999 B
           n4     9999 B
           n5     99999 B
           n6     999999 B
                  (-v: 14 more)

20 hosts in 0.00 s: 20 unmet  (audit: nothing was changed)
`
	if got := stdout.String(); got != want {
		t.Errorf("got\n%s", got)
	}
}
