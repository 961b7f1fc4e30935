//go:build linux

package rig

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// module is the agent as Ansible runs a binary module: under the module's
// name, with its arguments in a file.
const module = "/var/tmp/module/toolchain"

// StartAbsent begins to remove all that is gofleet's from the host, as the
// collection's `state: absent` does without a version. AbsentEnded waits for
// its end, Absent judges it too.
func (h *Host) StartAbsent(ctx context.Context) error {
	dir := h.Path(filepath.Dir(module))
	agent, err := os.ReadFile(h.world.agent)
	if err != nil {
		return err
	}
	args, err := json.Marshal(map[string]any{"state": "absent"})
	if err != nil {
		return err
	}
	if err := errors.Join(os.RemoveAll(dir), os.Mkdir(dir, 0o755),
		os.WriteFile(filepath.Join(dir, "arguments"), args, 0o600),
		os.WriteFile(h.Path(module), agent, 0o755)); err != nil {
		return err
	}
	script := "exec </dev/null >/dev/null 2>&1; cd " + filepath.Dir(module) + "; " + module + " $PWD/arguments >result 2>&1; echo $? >ended"
	_, err = h.Exec(ctx, "setsid", "-f", "sh", "-c", script)
	return err
}

// AbsentEnded waits until the agent of StartAbsent has ended.
func (h *Host) AbsentEnded(ctx context.Context) error {
	ended := h.Path(filepath.Dir(module) + "/ended")
	if err := Until(ctx, func() (bool, error) {
		b, err := os.ReadFile(ended)
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
		return len(b) > 0, err
	}); err != nil {
		return fmt.Errorf("%s: wait for the end of state absent: %w", h.Name, err)
	}
	return h.Gone(ctx)
}

// Absent waits for the end of what StartAbsent began and gives its error; an
// agent that was killed is one.
func (h *Host) Absent(ctx context.Context) error {
	if err := h.AbsentEnded(ctx); err != nil {
		return err
	}
	b, err := os.ReadFile(h.Path(filepath.Dir(module) + "/result"))
	if err != nil {
		return err
	}
	var result struct {
		Failed  bool
		Msg     string
		Changed *bool
	}
	if err := json.Unmarshal(b, &result); err != nil || result.Changed == nil || result.Failed {
		return fmt.Errorf("%s: state absent gave %q", h.Name, b)
	}
	return nil
}

// Bare tells an error if anything of gofleet's is on the host, but for the
// deploy user's account, which stays, and for what was put back at these paths.
func (h *Host) Bare(theirs ...string) error {
	if err := h.Clean(); err != nil {
		return err
	}
	var strange []string
	for _, path := range []string{root, link, "/usr/local/bin/go", "/usr/local/bin/gofmt", "/etc/profile.d/gofleet.sh", "/etc/sudoers.d/gofleet-deploy"} {
		if _, err := os.Lstat(h.Path(path)); err == nil && !slices.Contains(theirs, path) {
			strange = append(strange, path)
		}
	}
	if keys, err := os.ReadFile(h.Path("/home/deploy/.ssh/authorized_keys")); err == nil && len(keys) > 0 {
		strange = append(strange, "the deploy user's keys")
	}
	if _, err := os.Lstat(h.Path("/home/deploy/.config")); err == nil {
		strange = append(strange, "the deploy user's go/env")
	}
	if len(strange) > 0 {
		return fmt.Errorf("%s: left behind: %s", h.Name, strings.Join(strange, ", "))
	}
	return nil
}
