//go:build linux

package faults

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/gofleet/gofleet/controller/e2e/faults/rig"
	"github.com/gofleet/gofleet/controller/internal/lab"
)

// TestSeedLost takes the network of a site's seed away while hosts get their
// archive from it, slowly: after 15 seconds without a word they go on with the
// controller, and say so; the seed's agent ends by itself.
func TestSeedLost(t *testing.T) {
	needHosts(t)
	t.Parallel()
	small, large := toolchain(t, "1.26.90"), toolchain(t, "1.27.1")
	w := world(t, lab.HostConfig{Name: "seed"}, lab.HostConfig{Name: "h1"}, lab.HostConfig{Name: "h2"}, lab.HostConfig{Name: "h3"})
	seed, site := w.Host("seed"), []*rig.Host{w.Host("h1"), w.Host("h2"), w.Host("h3")}
	_, err := w.MustRun(t.Context(), rig.Want(small), "apply")
	check(t, err)
	_, err = seed.Exec(t.Context(), "tc", "qdisc", "add", "dev", "eth0", "root", "tbf", "rate", "24mbit", "burst", "64kb", "latency", "100ms")
	check(t, err)
	run, err := w.Start(t.Context(), rig.Want(large), "apply", "--via", "seed", "-l", "!seed", "--encoding", "gzip")
	check(t, err)
	check(t, rig.Until(t.Context(), func() (bool, error) {
		select {
		case <-run.Ended():
			return false, errors.New("the run ended before a host had a chunk")
		default:
		}
		_, size := site[0].Uploaded()
		return size >= chunk, nil
	}))
	check(t, seed.CutNetwork(t.Context()))
	o, err := run.Wait()
	check(t, err)
	for i, h := range site {
		r := o.Of(h.Name)
		warned := slices.ContainsFunc(r.Warnings, func(text string) bool {
			return strings.Contains(text, "the controller sent what seed seed did not")
		})
		// On a busy machine the others may not have come to the seed yet.
		if r.Status != "changed" || i == 0 && !warned {
			t.Errorf("%s, warnings %q", r, r.Warnings)
		}
		wantCurrent(t, h, large)
		if err := h.Clean(); err != nil {
			t.Error(err)
		}
	}
	check(t, seed.Gone(t.Context()))
	wantCurrent(t, seed, small)
	check(t, seed.RestoreNetwork(t.Context()))
	wantWhole(t, w, rig.Want(large), large)
}

// TestSeedOfNoUse gives two hosts a seed whose port is taken, one that they
// have no route to, and one whose agent is killed while they get the archive:
// each time the controller sends what is lacking, and they say why.
func TestSeedOfNoUse(t *testing.T) {
	needHosts(t)
	t.Parallel()
	a, b, large := toolchain(t, "1.26.90"), toolchain(t, "1.26.91"), toolchain(t, "1.27.1")
	w := world(t, lab.HostConfig{Name: "seed", SSHD: []string{"Port 22", "Port 7022"}}, lab.HostConfig{Name: "h1"}, lab.HostConfig{Name: "h2"})
	seed, site := w.Host("seed"), []*rig.Host{w.Host("h1"), w.Host("h2")}
	on := func(hosts []*rig.Host, args ...string) {
		t.Helper()
		for _, h := range hosts {
			_, err := h.Exec(t.Context(), args...)
			check(t, err)
		}
	}
	apply := func(want *rig.Toolchain, via string) *rig.Run {
		t.Helper()
		run, err := w.Start(t.Context(), rig.Want(want), "apply", "--via", via, "-l", "!seed", "--encoding", "gzip", "--whole")
		check(t, err)
		return run
	}
	ended := func(run *rig.Run, want *rig.Toolchain, why string) {
		t.Helper()
		o, err := run.Wait()
		check(t, err)
		said := 0
		for _, h := range site {
			r := o.Of(h.Name)
			if r.Status != "changed" {
				t.Errorf("%s, warnings %q", r, r.Warnings)
			}
			if text := strings.Join(r.Warnings, "\n"); strings.Contains(text, "the controller sent what seed seed did not") && strings.Contains(text, why) {
				said++
			}
			wantCurrent(t, h, want)
			if err := h.Clean(); err != nil {
				t.Error(err)
			}
		}
		if said == 0 {
			t.Errorf("no host says %q: %q", why, o.Of("h1").Warnings)
		}
		check(t, seed.Gone(t.Context()))
	}
	ended(apply(a, "seed:7022"), a, "7022")
	on(site, "ip", "route", "add", "unreachable", seed.Addr)
	ended(apply(b, "seed"), b, "no route to host")
	on(site, "ip", "route", "del", "unreachable", seed.Addr)

	on([]*rig.Host{seed}, "tc", "qdisc", "add", "dev", "eth0", "root", "tbf", "rate", "24mbit", "burst", "64kb", "latency", "100ms")
	run := apply(large, "seed")
	check(t, rig.Until(t.Context(), func() (bool, error) {
		select {
		case <-run.Ended():
			return false, errors.New("the run ended before a host had a chunk")
		default:
		}
		_, size := site[0].Uploaded()
		return size >= chunk, nil
	}))
	if !seed.KillAgent(rig.Oldest) {
		t.Fatal("there was no agent on the seed")
	}
	ended(run, large, "")
}
