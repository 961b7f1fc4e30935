//go:build linux

package faults

import (
	"os"
	"strings"
	"testing"

	"github.com/gofleet/gofleet/controller/e2e/faults/rig"
)

// TestAbsentKilledAtEveryStep kills the agent between every two steps of the
// collection's `state: absent`, which takes everything of gofleet's off a host
// and puts back the Go and the command that were there before. There is a Go
// that works at every instant, and the next removal completes it.
func TestAbsentKilledAtEveryStep(t *testing.T) {
	needHosts(t)
	t.Parallel()
	old := toolchain(t, "1.20.90") // so that there is a go/env in the home too
	equip := func(w *rig.World) {
		for _, h := range w.Hosts() {
			unmanaged(t, h)
			check(t, os.WriteFile(h.Path("/usr/local/bin/go"), []byte(theirGo), 0o755))
		}
		_, err := w.MustRun(t.Context(), rig.Want(old, w.Everything(0)), "apply")
		check(t, err)
	}
	one := world(t, named(1)...)
	equip(one)
	h := one.Host("h1")
	check(t, h.Arm(map[string]string{"trace": ""}))
	check(t, h.StartAbsent(t.Context()))
	check(t, h.Absent(t.Context()))
	points, err := h.Trace()
	check(t, err)
	if len(points) < 8 {
		t.Fatalf("only these points: %q", points)
	}
	wantTheirs(t, h, "not killed")

	w := world(t, named(len(points))...)
	equip(w)
	for i, h := range w.Hosts() {
		check(t, h.Arm(map[string]string{"kill": points[i]}))
	}
	each(t, w, func(i int, h *rig.Host) error { return h.StartAbsent(t.Context()) })
	for i, h := range w.Hosts() {
		if err := h.Absent(t.Context()); err == nil {
			t.Errorf("%s was not killed at %s", h.Name, points[i])
		}
		if out, err := h.Exec(t.Context(), "/usr/local/go/bin/go", "version"); err != nil {
			t.Errorf("killed at %s: %s%v", points[i], out, err)
		}
		check(t, h.Arm(nil))
	}
	each(t, w, func(i int, h *rig.Host) error { return h.StartAbsent(t.Context()) })
	for i, h := range w.Hosts() {
		if err := h.Absent(t.Context()); err != nil {
			t.Errorf("killed at %s, then: %v", points[i], err)
		}
		wantTheirs(t, h, points[i])
	}
	wantWhole(t, w, rig.Want(old, w.Everything(1)), old) // nothing stands in the way
}

const theirGo = "#!/bin/sh\necho theirs\n"

// wantTheirs wants a host to have nothing of gofleet's, and what was there
// before.
func wantTheirs(t *testing.T, h *rig.Host, point string) {
	t.Helper()
	if err := h.Bare("/usr/local/go", "/usr/local/bin/go"); err != nil {
		t.Errorf("killed at %s: %v", point, err)
	}
	for path, want := range map[string]string{"/usr/local/go/VERSION": "go1.19", "/usr/local/bin/go": theirGo} {
		if b, err := os.ReadFile(h.Path(path)); err != nil || !strings.HasPrefix(string(b), want) {
			t.Errorf("killed at %s: %s is %q, %v", point, path, b, err)
		}
	}
}
