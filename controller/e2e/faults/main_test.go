//go:build linux

package faults

import (
	"context"
	"flag"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/gofleet/gofleet/controller/e2e/faults/rig"
	"github.com/gofleet/gofleet/controller/internal/lab"
)

var programs *rig.Programs // set once, before any test runs

var worlds atomic.Int64 // counts them, for their names

func TestMain(m *testing.M) {
	lab.Main()
	flag.Parse()
	os.Exit(func() int {
		if os.Geteuid() != 0 || testing.Short() {
			return m.Run() // every test says why it is skipped
		}
		// Three tests wait for a minute, the others work meanwhile.
		if err := flag.Set("test.parallel", strconv.Itoa(runtime.GOMAXPROCS(0)+2)); err != nil {
			fmt.Fprintln(os.Stderr, "faults:", err)
			return 1
		}
		dir, err := os.MkdirTemp("", "gofleet-faults-")
		if err == nil {
			defer os.RemoveAll(dir)
			programs, err = rig.Build(context.Background(), "../../..", dir)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "faults:", err)
			return 1
		}
		return m.Run()
	}())
}

// world starts hosts for a test.
func world(t *testing.T, hosts ...lab.HostConfig) *rig.World {
	t.Helper()
	return worldOf(t, lab.Config{Hosts: hosts})
}

func worldOf(t *testing.T, c lab.Config) *rig.World {
	t.Helper()
	needHosts(t)
	w, err := programs.Up(t.Context(), fmt.Sprintf("w%d", worlds.Add(1)), c)
	check(t, err)
	t.Cleanup(func() { check(t, w.Down()) })
	return w
}

func needHosts(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("starts hosts: not with -short")
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root: hosts are namespaces and mounts")
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// named makes n hosts.
func named(n int) []lab.HostConfig {
	hosts := make([]lab.HostConfig, n)
	for i := range hosts {
		hosts[i].Name = fmt.Sprintf("h%d", i+1)
	}
	return hosts
}

var (
	toolchainsMu sync.Mutex
	toolchains   = map[string]*rig.Toolchain{}
	madeFiles    = map[int]*rig.Files{}
)

// toolchain makes the toolchain of a version, once for all tests. Those of
// 1.26 are small; 1.27 has 12 MB, so that its upload takes several chunks.
func toolchain(t *testing.T, version string) *rig.Toolchain {
	t.Helper()
	needHosts(t)
	toolchainsMu.Lock()
	defer toolchainsMu.Unlock()
	if tc := toolchains[version]; tc != nil {
		return tc
	}
	shape := rig.Shape{Files: 40}
	if strings.HasPrefix(version, "1.27") {
		shape = rig.Shape{Files: 400, Noise: 12 << 20}
	}
	tc, err := programs.Make(version, shape)
	check(t, err)
	toolchains[version] = tc
	return tc
}

// files makes a version of modules and sources, once for all tests.
func files(t *testing.T, version int) *rig.Files {
	t.Helper()
	needHosts(t)
	toolchainsMu.Lock()
	defer toolchainsMu.Unlock()
	if madeFiles[version] == nil {
		f, err := programs.MakeFiles(t.Context(), version)
		check(t, err)
		madeFiles[version] = f
	}
	return madeFiles[version]
}

// wantCurrent wants the host's Go to be one of these, whole; nil is none.
func wantCurrent(t *testing.T, h *rig.Host, any ...*rig.Toolchain) {
	t.Helper()
	var known []*rig.Toolchain
	for _, tc := range any {
		if tc != nil {
			known = append(known, tc)
		}
	}
	got, err := h.Current(t.Context(), known...)
	if err != nil {
		t.Error(err)
		return
	}
	for _, tc := range any {
		if got == tc {
			return
		}
	}
	t.Errorf("%s has no Go", h.Name)
}

// wantWhole runs apply without any help, and wants the host to have this
// toolchain then, nothing left over, and nothing left to do.
func wantWhole(t *testing.T, w *rig.World, vars rig.Vars, tc *rig.Toolchain) {
	t.Helper()
	wantWholeBy(t, w, vars, tc, []string{"apply"})
}

func wantWholeBy(t *testing.T, w *rig.World, vars rig.Vars, tc *rig.Toolchain, apply []string) {
	t.Helper()
	for _, h := range w.Hosts() {
		check(t, h.Arm(nil))
	}
	if _, err := w.MustRun(t.Context(), vars, apply...); err != nil {
		t.Fatalf("the next run: %v", err)
	}
	for _, h := range w.Hosts() {
		wantCurrent(t, h, tc)
		check(t, h.Gone(t.Context())) // an agent that has reported may take a moment to end
		if err := h.Clean(); err != nil {
			t.Error(err)
		}
	}
	o, err := w.MustRun(t.Context(), vars, "audit", "--deep")
	check(t, err)
	for i := range o.Hosts {
		if o.Hosts[i].Status != "ok" {
			t.Errorf("after a whole run: %s, %v", &o.Hosts[i], o.Hosts[i].Actions)
		}
	}
}
