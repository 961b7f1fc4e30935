package fleet

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/gofleet/gofleet/agent/spec"
	"github.com/gofleet/gofleet/agent/wire"
)

// alike is a host whose audit tells these facts.
func alike(name, groups, uniform string, f wire.Facts) *Host {
	h := fakeHost(name, func(a *fakeAgent) { a.report(wire.Report{Status: wire.OK, Facts: &f}) })
	h.Groups, h.Spec = strings.Fields(groups), &spec.Spec{Uniform: strings.Fields(uniform)}
	return h
}

func unlike(out *Outcome) map[string][]string {
	found := map[string][]string{}
	for _, res := range out.Results {
		for _, c := range res.Checks {
			if c.Status == wire.Warn {
				found[res.Host] = append(found[res.Host], fmt.Sprintf("%s: %s, wanted %s", c.Name, c.Actual, c.Wanted))
			}
		}
	}
	return found
}

func TestUniform(t *testing.T) {
	berlin := wire.Facts{Kernel: "6.1.0", Zone: "Europe/Berlin"}
	var hosts []*Host
	for i := range 4 {
		hosts = append(hosts, alike(fmt.Sprint("web", i), "web", "kernel zone", berlin))
	}
	newer := berlin
	newer.Kernel = "6.12.9"
	hosts = append(hosts,
		alike("web4", "prod web", "kernel zone", newer),
		// In prod, with web4, there are too few; in the run most are like web.
		alike("db0", "prod", "kernel zone", wire.Facts{Kernel: "6.1.0", Zone: "UTC"}),
		// Another list is another company, and nobody has the majority in it.
		alike("old0", "web", "kernel", wire.Facts{Kernel: "4.18"}),
		alike("old1", "web", "kernel", wire.Facts{Kernel: "5.10"}),
		// What is not known is not compared, and who asks for nothing neither.
		alike("bare", "web", "kernel zone", wire.Facts{}),
		alike("free", "web", "", newer),
		&Host{Name: "gone", Groups: []string{"web"}, Spec: &spec.Spec{Uniform: []string{"kernel"}}, Connect: func(context.Context) (Conn, error) {
			return nil, wire.NewError(wire.KindUnreachable, fmt.Errorf("refused"), "")
		}},
	)
	o, observer := options(), &told{}
	o.Command, o.Observer = wire.Audit, observer
	out := Run(context.Background(), hosts, o)
	want := map[string][]string{
		"web4": {"uniform kernel: 6.12.9, wanted 6.1.0 on 4 of 5 hosts of group web"},
		"db0":  {"uniform zone: UTC, wanted Europe/Berlin on 5 of 6 hosts of this run"},
		"old0": {"uniform kernel: 4.18, wanted one value on most of 2 hosts of this run; 4.18 is on 1"},
		"old1": {"uniform kernel: 5.10, wanted one value on most of 2 hosts of this run; 4.18 is on 1"},
	}
	if got := unlike(out); !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%q\nwant\n%q", got, want)
	}
	if !strings.Contains(observer.text.String(), "on 4 of 5 hosts of group web") {
		t.Error("the observer was told nothing")
	}
	if out.Results[4].Status != wire.OK || out.ExitCode() != ExitUnreachable {
		t.Errorf("a host that is unlike is %s, exit code %d", out.Results[4].Status, out.ExitCode())
	}

	o.Command = wire.Apply
	if got := unlike(Run(context.Background(), hosts, o)); len(got) > 0 {
		t.Errorf("apply compares: %q", slices.Collect(maps.Keys(got)))
	}
}

// BenchmarkUniform is the comparison of 5,000 hosts in ten groups each.
func BenchmarkUniform(b *testing.B) {
	o := options()
	o.Command = wire.Audit
	hosts := make([]*Host, 5000)
	for i := range hosts {
		hosts[i] = alike(fmt.Sprint("h", i), "", "distribution kernel glibc zone", wire.Facts{})
		for g := range 10 {
			hosts[i].Groups = append(hosts[i].Groups, fmt.Sprint("group", g, "-", i%(g*7+2)))
		}
	}
	for b.Loop() {
		r := newRun(hosts, o)
		for i := range hosts {
			r.ended[i], r.results[i].Facts = true, &wire.Facts{
				Distribution: "debian", DistVersion: fmt.Sprint(12 + i%50/49), Kernel: "6.1.0", Libc: "glibc 2.36", Zone: "UTC",
			}
		}
		r.compare()
	}
}
