//go:build linux

package lab

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// muslRoot is what sessions of a host without glibc have as their root
// directory. Its sshd stays outside, for no musl build of it is to be had.
const muslRoot = "/srv/musl"

func differMusl(l *layer, h HostConfig, d hostDirs) ([]mount, error) {
	if !h.Musl {
		return nil, nil
	}
	if err := copyMusl(l); err != nil {
		return nil, err
	}
	passwd := "root:x:0:0:root:/root:/bin/sh\n"
	for _, u := range labUsers {
		passwd += fmt.Sprintf("%s:x:%d:%d::/home/%s:/bin/sh\n", u.name, u.uid, u.uid, u.name)
		if err := l.directory(muslRoot+"/home/"+u.name, 0o700, u.uid, u.uid); err != nil {
			return nil, err
		}
	}
	outer, err := l.read("/etc/passwd")
	if err != nil {
		return nil, err
	}
	for path, content := range map[string]string{
		"/etc/passwd":                strings.ReplaceAll(outer, "/bin/bash", "/bin/sh"), // sshd reads this one
		muslRoot + "/etc/passwd":     passwd,
		muslRoot + "/etc/group":      "root:x:0:\n",
		muslRoot + "/etc/shadow":     "root:*:19000:0:99999:7:::\n",
		muslRoot + "/etc/shells":     "/bin/sh\n",
		muslRoot + "/etc/hostname":   h.Name + "\n",
		muslRoot + "/etc/profile":    "for f in /etc/profile.d/*.sh; do [ -r \"$f\" ] && . \"$f\"; done\n",
		muslRoot + "/etc/os-release": "NAME=\"Alpine Linux\"\nID=alpine\nVERSION_ID=3.21.0\nPRETTY_NAME=\"Alpine Linux v3.21\"\n",
	} {
		if err := l.write(path, []byte(content), 0o644, 0, 0); err != nil {
			return nil, err
		}
	}
	for path, mode := range map[string]fs.FileMode{
		"/root": 0o700, "/tmp": 0o777 | fs.ModeSticky, "/var/tmp": 0o777 | fs.ModeSticky,
		"/proc": 0o755, "/sys": 0o755, "/dev": 0o755, "/run": 0o755, "/var/log": 0o755, "/etc/profile.d": 0o755,
		"/usr/local/bin": 0o755, "/usr/local/lib": 0o755, "/home": 0o755,
	} {
		if err := l.directory(muslRoot+path, mode, 0, 0); err != nil {
			return nil, err
		}
	}
	return []mount{
		// A mount point of its own, so that /proc/mounts has a line for "/".
		{Type: "bind", Source: filepath.Join(d.root, muslRoot), Target: muslRoot},
		{Type: "proc", Source: "proc", Target: muslRoot + "/proc"},
		{Type: "sysfs", Source: "sysfs", Target: muslRoot + "/sys"},
		{Type: "bind", Source: filepath.Join(d.root, "dev"), Target: muslRoot + "/dev", Flags: unix.MS_REC},
		{Type: "tmpfs", Source: "tmpfs", Target: muslRoot + "/run", Data: "mode=755"},
	}, nil
}

// copyMusl puts this machine's busybox and musl into the host.
func copyMusl(l *layer) error {
	busybox, err := os.ReadFile("/bin/busybox")
	if err != nil {
		return fmt.Errorf("a host with musl: %w: apt-get install busybox-static musl", err)
	}
	if err := l.write(muslRoot+"/bin/busybox", busybox, 0o755, 0, 0); err != nil {
		return err
	}
	applets, err := busyboxApplets()
	if err != nil {
		return err
	}
	for _, dir := range []string{"/sbin", "/usr/bin", "/usr/sbin"} {
		if err := l.directory(muslRoot+dir, 0o755, 0, 0); err != nil {
			return err
		}
	}
	for _, path := range applets {
		if path == "bin/busybox" || strings.HasPrefix(path, "linuxrc") {
			continue
		}
		if err := os.Symlink("/bin/busybox", filepath.Join(l.dir, muslRoot, path)); err != nil {
			return err
		}
	}
	loaders, err := filepath.Glob("/lib/ld-musl-*.so.1")
	if err != nil || len(loaders) == 0 {
		return fmt.Errorf("a host with musl: no /lib/ld-musl-*.so.1: apt-get install busybox-static musl")
	}
	for _, path := range loaders {
		musl, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if err := l.write(muslRoot+"/lib/"+filepath.Base(path), musl, 0o755, 0, 0); err != nil {
			return err
		}
	}
	return nil
}

// busyboxApplets lists the links that busybox wants, relative to the root.
func busyboxApplets() ([]string, error) {
	out, err := exec.Command("/bin/busybox", "--list-full").Output()
	if err != nil {
		return nil, fmt.Errorf("list the applets of busybox: %w", err)
	}
	return strings.Fields(string(out)), nil
}
