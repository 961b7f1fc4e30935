//go:build linux

package faults

import (
	"syscall"
	"testing"

	"github.com/gofleet/gofleet/controller/e2e/faults/rig"
)

// TestDisturbedAtEveryStep holds agents between every two steps of an upgrade,
// on a host for each, while something happens to their controller, and lets
// them go on. Each finishes a begun switch or abandons; none stays, no lock
// does, and the next run succeeds.
func TestDisturbedAtEveryStep(t *testing.T) {
	needHosts(t)
	t.Parallel()
	for name, disturb := range map[string]struct {
		do    func(t *testing.T, w *rig.World, run *rig.Run, cut func())
		after func(t *testing.T, w *rig.World, run *rig.Run)
	}{
		"controller killed": {do: func(t *testing.T, _ *rig.World, run *rig.Run, _ func()) {
			check(t, run.Signal(syscall.SIGKILL))
			<-run.Ended()
		}},
		"controller interrupted": {do: func(t *testing.T, _ *rig.World, run *rig.Run, _ func()) {
			check(t, run.Signal(syscall.SIGINT))
		}, after: func(t *testing.T, _ *rig.World, run *rig.Run) {
			o, err := run.Wait()
			check(t, err)
			if o.Exit != 130 {
				t.Errorf("exit code %d", o.Exit)
			}
		}},
		// It neither speaks nor closes anything: agents give up after a minute.
		// The next run works while it still stands there.
		"controller stopped": {do: func(t *testing.T, _ *rig.World, run *rig.Run, _ func()) {
			check(t, run.Signal(syscall.SIGSTOP))
			t.Cleanup(func() { run.Signal(syscall.SIGKILL) })
		}},
		"connections cut": {do: func(t *testing.T, _ *rig.World, run *rig.Run, cut func()) {
			cut()
			o, err := run.Wait()
			check(t, err)
			done := 0
			for i := range o.Hosts {
				if r := &o.Hosts[i]; r.Status == "changed" {
					done++ // the one that had reported
				} else if r.Error == nil || !r.Error.Retryable {
					t.Errorf("connection cut: %s", r)
				}
			}
			if done > 1 {
				t.Errorf("%d hosts report success, one could", done)
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			j := jobs(t)[1]
			j.args = []string{"apply", "--uploads", "50"}
			points := pointsOf(t, j)
			w := world(t, named(len(points))...)
			vars := prepare(t, w, j)
			cut := throughProxies(t, w)
			for i, h := range w.Hosts() {
				check(t, h.Arm(map[string]string{"hold": points[i]}))
			}
			run, err := w.Start(t.Context(), vars, j.args...)
			check(t, err)
			each(t, w, func(i int, h *rig.Host) error { return h.Held(t.Context(), run) })
			disturb.do(t, w, run, cut)
			for _, h := range w.Hosts() {
				check(t, h.Release())
			}
			if disturb.after != nil {
				disturb.after(t, w, run)
			}
			for i, h := range w.Hosts() {
				check(t, h.Gone(t.Context()))
				works(t, h, j, points[i])
			}
			again(t, w, vars, j)
		})
	}
}

// throughProxies leads every connection through a proxy, and gives what cuts
// them all.
func throughProxies(t *testing.T, w *rig.World) (cut func()) {
	t.Helper()
	proxies := proxiesOf(t, w)
	return func() {
		for _, p := range proxies {
			p.Cut()
		}
	}
}

func proxiesOf(t *testing.T, w *rig.World) map[string]*rig.Proxy {
	t.Helper()
	proxies, addresses := map[string]*rig.Proxy{}, map[string]string{}
	for _, h := range w.Hosts() {
		p, err := rig.NewProxy(h.Addr + ":22")
		check(t, err)
		t.Cleanup(p.Close)
		proxies[h.Name], addresses[h.Name] = p, p.Addr()
	}
	check(t, w.Inventory(addresses))
	return proxies
}
