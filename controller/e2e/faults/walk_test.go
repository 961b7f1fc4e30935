//go:build linux

package faults

import (
	"slices"
	"sync"
	"testing"

	"github.com/gofleet/gofleet/agent/wire"
	"github.com/gofleet/gofleet/controller/e2e/faults/rig"
)

// job is one thing that a run does to hosts.
type job struct {
	name string
	// before are the runs that make the hosts as they are before, with the
	// same variables as the job itself.
	before []*rig.Toolchain
	// prepare changes each host behind gofleet's back.
	prepare func(t *testing.T, h *rig.Host)
	args    []string // of gofleet; apply if empty
	want    *rig.Toolchain
	has     []*rig.Toolchain                      // what a host may have after the job was cut; nil is none
	then    *rig.Toolchain                        // what a host has after the job was done
	vars    rig.Vars                              // of all its runs
	earlier rig.Vars                              // of those before, in place of vars
	shows   func(w *rig.World, h *rig.Host) error // what else a host has then; nil: everything, and no more
}

func jobs(t *testing.T) []job {
	a, b, c := toolchain(t, "1.26.90"), toolchain(t, "1.26.91"), toolchain(t, "1.26.92")
	old := toolchain(t, "1.20.90") // its settings go to the deploy user's home
	first, second := files(t, 1), files(t, 2)
	return []job{
		{name: "install", want: a, has: []*rig.Toolchain{nil, a}, then: a},
		{name: "upgrade", before: []*rig.Toolchain{a, b}, want: c, has: []*rig.Toolchain{b, c}, then: c},
		{name: "downgrade", before: []*rig.Toolchain{a}, want: old, has: []*rig.Toolchain{a, old}, then: old},
		{name: "repair", before: []*rig.Toolchain{a}, prepare: spoil, want: a, then: a},
		{name: "unmanaged", prepare: unmanaged, want: a, then: a},
		{name: "rollback", before: []*rig.Toolchain{a, b}, args: []string{"rollback"}, want: b, has: []*rig.Toolchain{a, b}, then: a},
		{name: "modules and sources", before: []*rig.Toolchain{a}, want: a, has: []*rig.Toolchain{a}, then: a,
			earlier: first.Vars(), vars: second.Vars(), shows: func(_ *rig.World, h *rig.Host) error { return second.On(h) }},
		{name: "remove", before: []*rig.Toolchain{a, b}, args: []string{"remove", "--version", a.Version}, want: b, has: []*rig.Toolchain{b}, then: b},
	}
}

// spoil alters a file of the current toolchain and makes a new one in it.
func spoil(t *testing.T, h *rig.Host) {
	_, err := h.Exec(t.Context(), "sh", "-c", "cd -P /usr/local/go && echo altered >bin/gofmt && echo package extra >src/extra.go")
	check(t, err)
}

// unmanaged is a Go that somebody unpacked.
func unmanaged(t *testing.T, h *rig.Host) {
	_, err := h.Exec(t.Context(), "sh", "-c", `mkdir -p /usr/local/go/bin && cd /usr/local/go && echo go1.19 >VERSION &&
		printf '#!/bin/sh\necho go version go1.19 linux/amd64\n' >bin/go && chmod 755 bin/go`)
	check(t, err)
}

// TestKilledAtEveryStep kills the agent between every two steps of a job, on a
// host for each point, and shows that its Go works, and that the next run
// succeeds without help and leaves nothing.
func TestKilledAtEveryStep(t *testing.T) {
	needHosts(t)
	t.Parallel()
	for _, j := range jobs(t) {
		t.Run(j.name, func(t *testing.T) {
			t.Parallel()
			walk(t, j)
		})
	}
}

func walk(t *testing.T, j job) {
	if len(j.args) == 0 {
		j.args = []string{"apply"}
	}
	points := pointsOf(t, j)
	if len(points) < 8 {
		t.Fatalf("only these points: %q", points)
	}
	t.Logf("%d points: %q", len(points), points)
	w := world(t, named(len(points))...)
	vars := prepare(t, w, j)
	for i, h := range w.Hosts() {
		check(t, h.Arm(map[string]string{"kill": points[i]}))
	}
	o, err := w.Run(t.Context(), vars, j.args...)
	check(t, err)
	for i, h := range w.Hosts() {
		r := o.Of(h.Name)
		if reported := points[i] == "reported"; !reported && (r.Status != "failed" || !rig.IsKind(r, wire.KindAgent) || !r.Error.Retryable) {
			t.Errorf("killed at %s: %s", points[i], r)
		}
		check(t, h.Gone(t.Context()))
		works(t, h, j, points[i])
	}
	again(t, w, vars, j)
	if j.name == "downgrade" {
		// What was written to the home is known as ours, wherever the run was cut.
		wantWhole(t, w, rig.Want(j.before[0], w.Everything(0)), j.before[0])
		for _, h := range w.Hosts() {
			if err := w.Has(h, j.before[0], 0); err != nil {
				t.Error(err)
			}
		}
	}
}

var (
	pointsMu sync.Mutex
	points   = map[string][]string{} // by the job's name
)

// pointsOf does the job once for all tests, undisturbed, and gives the points
// that it came by.
func pointsOf(t *testing.T, j job) []string {
	t.Helper()
	pointsMu.Lock()
	defer pointsMu.Unlock()
	if points[j.name] == nil {
		points[j.name] = trace(t, j)
	}
	return points[j.name]
}

func trace(t *testing.T, j job) []string {
	t.Helper()
	w := world(t, named(1)...)
	h := w.Host("h1")
	vars := prepare(t, w, j)
	check(t, h.Arm(map[string]string{"trace": ""}))
	_, err := w.MustRun(t.Context(), vars, j.args...)
	check(t, err)
	came, err := h.Trace()
	check(t, err)
	return came
}

func prepare(t *testing.T, w *rig.World, j job) rig.Vars {
	t.Helper()
	for _, tc := range j.before {
		vars := j.earlier
		if vars == nil {
			vars = j.vars
		}
		_, err := w.MustRun(t.Context(), rig.Want(tc, w.Everything(0), vars), "apply")
		check(t, err)
	}
	if j.prepare != nil {
		for _, h := range w.Hosts() {
			j.prepare(t, h)
		}
	}
	return rig.Want(j.want, w.Everything(0), j.vars)
}

// works wants a host's Go to work after a crash.
func works(t *testing.T, h *rig.Host, j job, point string) {
	t.Helper()
	if j.has != nil {
		got, err := h.Current(t.Context(), slices.DeleteFunc(slices.Clone(j.has), func(tc *rig.Toolchain) bool { return tc == nil })...)
		if err != nil || !slices.Contains(j.has, got) {
			t.Errorf("killed at %s: %s has %v, %v", point, h.Name, got, err)
		}
		return
	}
	// Something altered or unmanaged: its go command, or the new one.
	if out, err := h.Exec(t.Context(), "/usr/local/go/bin/go", "version"); err != nil {
		t.Errorf("killed at %s: %s%v", point, out, err)
	}
}

// again does the job without disturbance and wants hosts to be whole.
func again(t *testing.T, w *rig.World, vars rig.Vars, j job) {
	t.Helper()
	if j.args[0] == "apply" {
		wantWholeBy(t, w, vars, j.then, j.args)
		for _, h := range w.Hosts() {
			err := error(nil)
			if j.shows != nil {
				err = j.shows(w, h)
			} else {
				err = w.Has(h, j.then, 0)
			}
			if err != nil {
				t.Error(err)
			}
		}
		return
	}
	for _, h := range w.Hosts() {
		check(t, h.Arm(nil))
	}
	if j.args[0] == "remove" {
		// What was killed after the removal has nothing to remove.
		_, err := w.Run(t.Context(), vars, j.args...)
		check(t, err)
	} else if _, err := w.MustRun(t.Context(), vars, j.args...); err != nil {
		t.Errorf("the next run: %v", err)
	}
	for _, h := range w.Hosts() {
		wantCurrent(t, h, j.then)
		if err := h.Clean(); err != nil {
			t.Error(err)
		}
	}
}
