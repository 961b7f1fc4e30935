//go:build linux

package faults

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/gofleet/gofleet/controller/e2e/faults/rig"
	"github.com/gofleet/gofleet/controller/internal/lab"
)

// TestPowerCut cuts the power of a host at every point of an upgrade: its
// disk keeps what was synced and nothing else. The host boots, its Go is one of
// the two, whole, and the next run succeeds. It runs alone: a disk comes back
// only when no host that is just being started has its mount.
func TestPowerCut(t *testing.T) {
	needHosts(t)
	for _, j := range jobs(t) {
		if j.name == "install" || j.name == "upgrade" || j.name == "repair" {
			t.Run(j.name, func(t *testing.T) { powerCut(t, j) })
		}
	}
}

func powerCut(t *testing.T, j job) {
	j.args = []string{"apply", "--uploads", "50"}
	j.vars = rig.Vars{"gofleet_preconditions": map[string]any{"disk": nil, "inodes": nil}} // the disks are small
	points := pointsOf(t, j)
	w, disks := worldOnDisks(t, len(points))
	vars := prepare(t, w, j)
	for i, h := range w.Hosts() {
		check(t, disks[i].Sync())
		check(t, h.Arm(map[string]string{"hold": points[i]}))
	}
	run, err := w.Start(t.Context(), vars, j.args...)
	check(t, err)
	each(t, w, func(i int, h *rig.Host) error { return h.Held(t.Context(), run) })
	each(t, w, func(i int, h *rig.Host) error {
		return errors.Join(disks[i].CutPower(), h.Kill(t.Context()))
	})
	check(t, run.Signal(syscall.SIGKILL))
	<-run.Ended()
	each(t, w, func(i int, h *rig.Host) error {
		return errors.Join(disks[i].Restore(t.Context()), h.Reboot(t.Context()))
	})
	for i, h := range w.Hosts() {
		works(t, h, j, points[i]+" (power)")
	}
	again(t, w, vars, j)
}

// worldOnDisks starts n hosts, each on a disk of its own whose power can be cut.
func worldOnDisks(t *testing.T, n int) (*rig.World, []*rig.Disk) {
	t.Helper()
	needHosts(t)
	dir, err := os.MkdirTemp("/dev/shm", "gofleet-power-")
	check(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	c := lab.Config{Name: "power", UpperDir: filepath.Join(dir, "upper"), Hosts: named(n)}
	var disks []*rig.Disk
	t.Cleanup(func() { // runs behind the killing of hosts below
		for _, d := range disks {
			if err := d.Close(); err != nil {
				t.Error(err)
			}
		}
	})
	for _, h := range c.Hosts {
		d, err := rig.NewDisk(t.Context(), filepath.Join(dir, h.Name), rig.DiskPlace(c.UpperDir, c.Name, h.Name), 96<<20)
		check(t, err)
		disks = append(disks, d)
	}
	w := worldOf(t, c)
	t.Cleanup(func() { // before Down, which removes what the disks are mounted on
		for _, h := range w.Hosts() {
			if err := h.Kill(context.Background()); err != nil {
				t.Error(err)
			}
		}
		for _, d := range disks {
			if err := d.Close(); err != nil {
				t.Error(err)
			}
		}
		disks = nil
	})
	return w, disks
}

// each does something for all hosts at once.
func each(t *testing.T, w *rig.World, f func(i int, h *rig.Host) error) {
	t.Helper()
	var g errgroup.Group
	for i, h := range w.Hosts() {
		g.Go(func() error { return f(i, h) })
	}
	check(t, g.Wait())
}
