package serve

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/gofleet/gofleet/agent/internal/account"
	"github.com/gofleet/gofleet/agent/internal/toolchain"
)

// verify proves that the toolchain in dir works, as the deploy user.
func (j *job) verify(ctx context.Context, dir, version string) error {
	j.phaseBegins("verify")
	v, err := j.verification(ctx, version)
	if err != nil {
		return err
	}
	if err := v.Verify(ctx, dir); err != nil {
		return err
	}
	j.options.fault("verified")
	return nil
}

// verifyAgain runs the inventory's commands with the current toolchain, where a
// rollout asks whether to go on.
func (j *job) verifyAgain(ctx context.Context) error {
	if !j.task.Verify || j.state == nil || j.state.Link.Dir == "" {
		return nil
	}
	j.phaseBegins("verify")
	v, err := j.verification(ctx, j.state.Before)
	if err != nil {
		return err
	}
	return v.VerifyCommands(ctx, j.state.Link.Dir)
}

func (j *job) verification(ctx context.Context, version string) (*toolchain.Verification, error) {
	v := &toolchain.Verification{
		Store: j.store, Version: version, Platform: j.platform,
		Want: j.task.Spec.Verify, Cache: j.task.Spec.Cache, Lookup: account.Lookup,
	}
	if user := j.task.Spec.User; user != nil && os.Getuid() == 0 {
		as, err := account.Lookup(ctx, user.Name)
		if err != nil {
			return nil, fmt.Errorf("verify as %s: %w", user.Name, err)
		}
		v.As = as
	}
	return v, nil
}

// keepAgent leaves the agent on the host for the next run, and sweeps those
// that no run uses any more. A place that others could write to is no place
// for it; the next run then brings it again.
func (j *job) keepAgent(ctx context.Context) error {
	if j.task.Spec.Image {
		return nil // there is no next run that could use it
	}
	cache, err := agentCache()
	if err != nil {
		return err
	}
	var unsafe *toolchain.UnsafeError
	// An emulator (qemu-user) does not open a program that has unlinked itself.
	if _, err := cache.Keep(ctx); err != nil && !errors.As(err, &unsafe) && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return cache.Sweep(time.Now())
}

func agentCache() (toolchain.Agents, error) {
	home, err := os.UserHomeDir()
	if err != nil && os.Getuid() != 0 {
		return toolchain.Agents{}, fmt.Errorf("find the agent's cache: %w", err)
	}
	return toolchain.AgentCache(os.Getuid(), home), nil
}
