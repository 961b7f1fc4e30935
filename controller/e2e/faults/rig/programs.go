//go:build linux

// Package rig is what tests of faults stand on: a gofleet whose agents can be
// ended, held and traced at every point (agent/internal/fault), small
// toolchains, lab hosts under an inventory, a proxy that cuts connections, and
// disks whose power can be cut. It judges hosts by their files, from outside.
package rig

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
)

// Programs are what Build builds, and the toolchains made with them.
type Programs struct {
	Dir       string // a scratch directory, the caller's
	Gofleet   string // carries agents built with the tag faultpoints
	agent     string // the one that it carries for this machine
	GoCommand []byte // stands in for the go command in what Make makes
}

// Build builds everything from the sources of the repository at repo into dir.
func Build(ctx context.Context, repo, dir string) (*Programs, error) {
	repo, err := filepath.Abs(repo) // an overlay's paths are absolute
	if err != nil {
		return nil, err
	}
	p := &Programs{Dir: dir, Gofleet: filepath.Join(dir, "gofleet")}
	agents, embed := filepath.Join(dir, "agents"), filepath.Join(dir, "embed")
	for _, d := range []string{agents, embed} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return nil, err
		}
	}
	// Programs for hosts are static. gofleet is not: so it shares what is compiled
	// for it with the tests themselves.
	command := func(static bool, args ...string) error {
		cmd := exec.CommandContext(ctx, "go", args...)
		if cmd.Dir = repo; static {
			cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		}
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("go %s: %w\n%s", args[0], err, out)
		}
		return nil
	}
	agent := "gofleet-agent-linux-" + runtime.GOARCH
	p.agent = filepath.Join(agents, agent)
	overlay := map[string]map[string]string{"Replace": {}}
	for _, name := range []string{"index", agent + ".gz"} {
		overlay["Replace"][filepath.Join(repo, "controller/internal/agents/bin", name)] = filepath.Join(embed, name)
	}
	b, err := json.Marshal(overlay)
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(file, b, 0o644); err != nil {
		return nil, err
	}
	fakego := filepath.Join(dir, "fakego")
	for _, c := range []struct {
		static bool
		args   []string
	}{
		{true, []string{"build", "-tags", "faultpoints", "-trimpath", "-ldflags=-s -w -buildid=", "-o", p.agent, "./agent/cmd/gofleet-agent"}},
		{false, []string{"run", "./controller/internal/agents/pack", "-o", embed, agents}},
		{false, []string{"build", "-overlay", file, "-o", p.Gofleet, "./controller/cmd/gofleet"}},
		{true, []string{"build", "-trimpath", "-ldflags=-s -w", "-o", fakego, "./controller/e2e/testdata/fakego"}},
	} {
		if err := command(c.static, c.args...); err != nil {
			return nil, err
		}
	}
	p.GoCommand, err = os.ReadFile(fakego)
	return p, err
}
