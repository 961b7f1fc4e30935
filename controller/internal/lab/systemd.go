//go:build linux

package lab

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A host with Systemd boots its image: the lab's pid 1 mounts the root, and
// systemd-nspawn below it starts systemd there in a pid namespace further
// inside. All else, network, files, keys and the way to end it, is as with
// other hosts.

// systemdPackages are what an image needs beside imagePackages to be booted.
const systemdPackages = "systemd-sysv,dbus,libpam-systemd"

// systemdTimeout is for a boot: three seconds on a quiet machine.
const systemdTimeout = 5 * time.Minute

// nspawn is the command that boots the root.
func nspawn(root, hostname string) []string {
	return []string{
		"/usr/bin/systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--boot", "--directory=" + root,
		"--machine=" + hostname, "--console=pipe", "--link-journal=no", "--resolv-conf=off", "--timezone=off",
		// The network of our own that it is in already, as one that it may
		// administer: not all releases of systemd-nspawn take that from the path.
		"--network-namespace-path=/proc/self/ns/net", "--capability=CAP_NET_ADMIN",
	}
}

// enterSystemd mounts the host's root below o.Root, without making it the root
// of this namespace: systemd-nspawn does that.
func enterSystemd(o bootOrder) error {
	for _, m := range o.Mounts {
		if err := m.mount(o.Root); err != nil {
			return err
		}
	}
	// What systemd-nspawn keeps in /run is not for the machine to see.
	for _, m := range []mount{
		{Type: "proc", Source: "proc", Target: "/proc", Flags: unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC},
		{Type: "tmpfs", Source: "tmpfs", Target: "/run/systemd", Flags: unix.MS_NOSUID | unix.MS_NODEV, Data: "mode=755"},
	} {
		if err := m.mount("/"); err != nil {
			return err
		}
	}
	return enterCgroup(o.Cgroup)
}

// enterCgroup makes a control group the root of all that this thread starts, in
// a hierarchy of version 2 whatever the machine has: systemd of today knows no
// other, and two in one group would kill each other's services.
func enterCgroup(name string) error {
	const top = "/sys/fs/cgroup"
	remount := func() error {
		if err := unix.Unmount(top, unix.MNT_DETACH); err != nil {
			return fmt.Errorf("unmount %s: %w", top, err)
		}
		if err := unix.Mount("cgroup2", top, "cgroup2", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
			return fmt.Errorf("mount cgroup2 on %s: %w", top, err)
		}
		return nil
	}
	if err := remount(); err != nil {
		return err
	}
	group := filepath.Join(top, name)
	if err := os.Mkdir(group, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("make control group: %w", err)
	}
	if err := os.WriteFile(filepath.Join(group, "cgroup.procs"), []byte("0"), 0); err != nil {
		return fmt.Errorf("enter control group: %w", err)
	}
	if err := unix.Unshare(unix.CLONE_NEWCGROUP); err != nil {
		return fmt.Errorf("make a namespace of control groups: %w", err)
	}
	return remount()
}

// cgroupName is the control group of a host of the lab in dir.
func cgroupName(dir, host string) string {
	sum := sha256.Sum256([]byte(dir))
	return fmt.Sprintf("gofleet-lab-%x-%s", sum[:5], host)
}

// removeCgroups removes the control groups that hosts of the lab in dir have
// left. Their processes are dead, which the kernel notes there a little later.
func removeCgroups(ctx context.Context, dir string) error {
	ctx, cancel := context.WithTimeout(ctx, bootTimeout)
	defer cancel()
	top, err := cgroupMount()
	if err != nil || top == "" {
		return err
	}
	groups, err := filepath.Glob(filepath.Join(top, cgroupName(dir, "*")))
	if err != nil {
		return err
	}
	for _, group := range groups {
		var below []string
		err := filepath.WalkDir(group, func(path string, e fs.DirEntry, err error) error {
			if err == nil && e.IsDir() {
				below = append(below, path)
			}
			return err
		})
		if err != nil {
			return err
		}
		for _, path := range slices.Backward(below) {
			for err = unix.Rmdir(path); errors.Is(err, unix.EBUSY) && ctx.Err() == nil; err = unix.Rmdir(path) {
				_, _ = unix.Poll(nil, 2)
			}
			if err != nil {
				return fmt.Errorf("remove control group %s: %w", path, err)
			}
		}
	}
	return nil
}

// cgroupMount is where this machine has the hierarchy of version 2, if it has.
func cgroupMount() (string, error) {
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(mounts)) {
		if f := strings.Fields(line); len(f) > 2 && f[2] == "cgroup2" {
			return unescape(f[1]), nil
		}
	}
	return "", nil
}

// canBoot tells why this machine cannot boot hosts with systemd.
func canBoot() error {
	if _, err := exec.LookPath("systemd-nspawn"); err != nil {
		return errors.New("systemd-nspawn is not installed: apt-get install systemd-container")
	}
	top, err := cgroupMount()
	if err == nil && top == "" {
		err = errors.New("this machine has no control groups of version 2: mount -t cgroup2 cgroup2 /sys/fs/cgroup")
	}
	return err
}

// booted waits until systemd has started all it wanted to, be it with failures.
func (h *Host) booted(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, systemdTimeout)
	defer cancel()
	cmd, err := h.Command(ctx, "systemctl", "is-system-running", "--wait")
	if err != nil {
		return err
	}
	out, err := cmd.CombinedOutput() // it fails for all states but running
	switch state := strings.TrimSpace(string(out)); state {
	case "running", "degraded":
		return nil
	default:
		return fmt.Errorf("systemd says it is %q: %w", state, err)
	}
}

// innerPID finds the host's systemd, as this machine numbers it: the pid 1 of
// the namespace inside that of the lab's pid 1.
func innerPID(outer int) (int, error) {
	names, err := filepath.Glob("/proc/[0-9]*/status")
	if err != nil {
		return 0, err
	}
	parents, first := map[int]int{}, []int{}
	depth := 0
	levels := map[int]int{}
	for _, name := range names {
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(name)))
		if err != nil {
			continue
		}
		text, err := os.ReadFile(name)
		if err != nil {
			continue // gone meanwhile
		}
		for line := range strings.Lines(string(text)) {
			switch f := strings.Fields(line); {
			case len(f) == 2 && f[0] == "PPid:":
				parents[pid], _ = strconv.Atoi(f[1])
			case len(f) > 1 && f[0] == "NSpid:":
				levels[pid] = len(f)
				if pid == outer {
					depth = len(f)
				} else if f[len(f)-1] == "1" {
					first = append(first, pid)
				}
			}
		}
	}
	for _, pid := range first {
		if levels[pid] != depth+1 {
			continue
		}
		for p := parents[pid]; p != 0; p = parents[p] {
			if p == outer {
				return pid, nil
			}
		}
	}
	return 0, errors.New("its systemd does not run")
}
