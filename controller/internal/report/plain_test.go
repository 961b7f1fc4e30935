package report

import (
	"testing"

	"github.com/gofleet/gofleet/agent/wire"
)

func run(r *Reporter) {
	o := sample()
	r.Start()
	r.Warn("", "inventory.yaml:3: group web is defined twice")
	for _, res := range o.Results {
		r.Phase(res.Host, "connect")
		if res.Host == "web01" {
			r.Warn("web01", "recorded its unknown host key SHA256:abc in known_hosts")
			r.Phase(res.Host, "wait: run 20261122-1, pid 4711")
		}
		r.Done(res)
	}
	r.Stop()
}

func TestPlain(t *testing.T) {
	for name, verbose := range map[string]int{"plain.txt": 0, "plain-v.txt": 1} {
		t.Run(name, func(t *testing.T) {
			o := sample()
			r, stdout, stderr := newReporter(t, Options{Verbose: verbose, Hosts: hostNames(o)})
			run(r)
			golden(t, name, stderr.String())
			if stdout.Len() != 0 {
				t.Errorf("stdout has %q", stdout.String())
			}
		})
	}
}

func TestWarningsOfTheRunAreInResults(t *testing.T) {
	r, stdout, _ := newReporter(t, Options{Format: "json", Hosts: hostNames(sample())})
	run(r)
	if err := r.Print(sample()); err != nil {
		t.Fatal(err)
	}
	var d document
	decode(t, stdout.Bytes(), &d)
	if w := d.Hosts[0].Warnings; len(w) != 1 || w[0] != "recorded its unknown host key SHA256:abc in known_hosts" {
		t.Errorf("web01 has the warnings %q", w)
	}
	if d.Summary[string(wire.Unreachable)] != 4 {
		t.Errorf("summary %v", d.Summary)
	}
}
