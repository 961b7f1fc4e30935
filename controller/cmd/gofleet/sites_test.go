package main

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/gofleet/gofleet/agent/wire"
	"github.com/gofleet/gofleet/controller/internal/inventory"
)

const siteInventory = `
all:
  children:
    paris:
      hosts:
        p1: {gofleet_site_seed: true}
        p2:
        p3: {gofleet_site_seed: false}
    lyon:
      vars: {gofleet_site_seed: "l1:7022"}
      hosts:
        l1:
        l2:
        p4: {gofleet_site_seed: p1}
    alone:
      vars: {gofleet_site_seed: outside}
      hosts:
        a1:
    rest:
      hosts:
        outside:
        r1:
`

func TestSites(t *testing.T) {
	for _, tt := range []struct {
		limit, via, more string
		want, err        string
	}{
		{want: "l1=l1:7022 l2=l1:7022 p1=p1:0 p2=p1:0 p4=p1:0"},
		{limit: "p2:p3:l2", want: ""}, // paris's seed is not in the run, and l2 would be alone
		{limit: "l2:p1:p2", want: "p1=p1:0 p2=p1:0"},
		{limit: "r1:p2:p3", via: "outside", want: "p2=outside:0 p3=outside:0 r1=outside:0"},
		{limit: "r1:p2", via: "outside:80", want: "p2=outside:80 r1=outside:80"},
		{via: "nobody", err: `--via nobody: "nobody" is no host of the inventory`},
		{via: "p*", err: "is no host"},
		{via: "p1:x", err: `"x" is no port`},
		{more: "    both: {hosts: {p1: }}\n", err: "p1 is in the groups both, paris: which hosts are its site is not clear"},
		{more: "    paris: {hosts: {p5: {gofleet_site_seed: true}}}\n", err: "is true on p1 and on p5, both of group paris"},
		{more: "    bad: {hosts: {b1: {gofleet_site_seed: nobody}}}\n", err: `gofleet_site_seed: "nobody" is no host of the inventory`},
		{more: "    other: {hosts: {o1: {gofleet_site_seed: true}, p2: }}\n", err: "p2 is in groups with different seeds"},
	} {
		t.Run(tt.limit+tt.via+tt.more, func(t *testing.T) {
			dir := t.TempDir()
			sources := []string{filepath.Join(dir, "one.yaml")}
			must(t, os.WriteFile(sources[0], []byte(siteInventory), 0o644))
			if tt.more != "" {
				sources = append(sources, filepath.Join(dir, "two.yaml"))
				must(t, os.WriteFile(sources[1], []byte("all:\n  children:\n"+tt.more), 0o644))
			}
			inv, err := inventory.Load(t.Context(), inventory.Options{Sources: sources, Dir: dir, ExtraVars: []string{`{"gofleet_go_version": "1.26.8"}`}})
			must(t, err)
			hosts, err := inv.Hosts("all", tt.limit)
			must(t, err)
			specs, err := parseSpecs(hosts, order{action: wire.Apply})
			must(t, err)
			got, err := sites(inv, hosts, specs, tt.via)
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Fatalf("gives %v, want %q", err, tt.err)
				}
				return
			}
			must(t, err)
			var list []string
			for _, h := range hosts {
				if seed, ok := got[h.Name]; ok {
					list = append(list, h.Name+"="+seed.host.Name+":"+strconv.Itoa(seed.port))
				}
			}
			slices.Sort(list)
			if text := strings.Join(list, " "); text != tt.want {
				t.Errorf("gives %s, want %s", text, tt.want)
			}
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
