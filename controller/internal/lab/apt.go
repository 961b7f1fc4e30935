//go:build linux

package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// aptMirror is where this machine's apt gets Debian from: for the image's
// release, or for another, as a mirror has them all. It is empty where there is
// no such apt; debootstrap then takes its own default.
func aptMirror(ctx context.Context, image string) string {
	cmd := exec.CommandContext(ctx, "apt-get", "indextargets", "--format", "$(RELEASE) $(REPO_URI)", "Created-By: Packages", "Component: main")
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	out, err := cmd.Output()
	if err != nil {
		return ""
	}
	mirror := ""
	for line := range strings.Lines(string(out)) {
		release, uri, ok := strings.Cut(strings.TrimSpace(line), " ")
		switch {
		case !ok:
		case release == image:
			return uri
		case mirror == "" && (slices.Contains(images, release) || release == "stable" || release == "sid"):
			mirror = uri
		}
	}
	return mirror
}

// addPackages makes root a copy of the image below in which the packages are
// installed, from where that one came from. apt runs in a pid namespace of its
// own, so that nothing a package starts stays.
func addPackages(ctx context.Context, root, below string, packages []string) error {
	part := root + ".part"
	if err := removePart(part); err != nil {
		return err
	}
	policy := filepath.Join(part, "usr/sbin/policy-rc.d")
	err := run(ctx, "cp", "-a", "--reflink=auto", below, part)
	if err == nil {
		err = os.WriteFile(policy, []byte("#!/bin/sh\nexit 101\n"), 0o755)
	}
	if err == nil {
		err = copyFile("/etc/resolv.conf", filepath.Join(part, "etc/resolv.conf"))
	}
	if err == nil {
		err = run(ctx, "unshare", append([]string{"--mount", "--pid", "--fork", "--kill-child", "sh", "-c",
			`mount -t proc proc "$0/proc" && chroot "$0" apt-get -q update && exec chroot "$0" apt-get -q -y --no-install-recommends install "$@"`,
			part}, packages...)...)
	}
	if err == nil {
		err = os.Remove(policy)
	}
	if err != nil {
		return errors.Join(err, removePart(part))
	}
	return finish(part, root)
}

func copyFile(from, to string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, b, 0o644)
}

// run runs a program that says what is wrong at the end of its output.
func run(ctx context.Context, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C", "PATH="+hostPath)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w\n%s", name, err, bytes.TrimSpace(out[max(0, len(out)-1000):]))
	}
	return nil
}
