//go:build linux

package lab

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"
)

// hostDirs are where a host's files are on this machine.
type hostDirs struct {
	upper, work string   // what it writes, and overlayfs's own
	root        string   // where its root is put together; stays empty here
	files       string   // what is bind-mounted into it
	lower       []string // the layers below, the nearest first
}

// prepareHost fills the upper directory of a host with what makes it this one,
// and returns its host keys and the mounts that it boots with.
func prepareHost(h HostConfig, d hostDirs, rsaKey keyPair) ([]ssh.PublicKey, []mount, error) {
	for _, dir := range []string{d.upper, d.work, d.root, d.files} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, nil, err
		}
	}
	l := &layer{dir: d.upper, below: d.lower}
	keys, err := writeHostKeys(l, rsaKey)
	if err != nil {
		return nil, nil, err
	}
	if err := l.write("/etc/hostname", []byte(h.Name+"\n"), 0o644, 0, 0); err != nil {
		return nil, nil, err
	}
	id := sha256.Sum256([]byte(d.upper))
	if err := l.write("/etc/machine-id", fmt.Appendf(nil, "%x\n", id[:16]), 0o444, 0, 0); err != nil {
		return nil, nil, err
	}
	if err := writeSSHD(l, h); err != nil {
		return nil, nil, err
	}
	mounts := []mount{
		{Type: "overlay", Source: "overlay", Target: "/", Data: fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", strings.Join(d.lower, ":"), d.upper, d.work)},
	}
	if !h.Systemd {
		mounts = append(mounts, ownMounts...)
	}
	more, err := differ(l, h, d)
	if err != nil {
		return nil, nil, err
	}
	return keys, append(mounts, more...), nil
}

// ownMounts are what a host has beside its root; systemd-nspawn mounts its own.
var ownMounts = []mount{
	{Type: "proc", Source: "proc", Target: "/proc", Flags: unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC},
	{Type: "sysfs", Source: "sysfs", Target: "/sys", Flags: unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC},
	{Type: "tmpfs", Source: "tmpfs", Target: "/dev", Flags: unix.MS_NOSUID, Data: "mode=755,size=1m"},
	{Type: "devpts", Source: "devpts", Target: "/dev/pts", Flags: unix.MS_NOSUID | unix.MS_NOEXEC, Data: "newinstance,ptmxmode=0666,mode=620,gid=5"},
	{Type: "tmpfs", Source: "tmpfs", Target: "/dev/shm", Flags: unix.MS_NOSUID | unix.MS_NODEV, Data: "mode=1777"},
	{Type: "tmpfs", Source: "tmpfs", Target: "/run", Flags: unix.MS_NOSUID | unix.MS_NODEV, Data: "mode=755,size=20%"},
}

// writeHostKeys gives the host its own ed25519 and ecdsa keys; the rsa key, slow
// to make, is the lab's and lies in the base layer.
func writeHostKeys(l *layer, rsaKey keyPair) ([]ssh.PublicKey, error) {
	var public []ssh.PublicKey
	for _, typ := range hostKeyTypes {
		if typ == "rsa" {
			public = append(public, rsaKey.public)
			continue
		}
		k, err := newKey(typ, "")
		if err != nil {
			return nil, err
		}
		if err := l.write("/etc/ssh/ssh_host_"+typ+"_key", k.private, 0o600, 0, 0); err != nil {
			return nil, err
		}
		public = append(public, k.public)
	}
	return public, nil
}

// sftpServers are the places where distributions keep OpenSSH's sftp-server.
var sftpServers = []string{"/usr/lib/openssh/sftp-server", "/usr/libexec/openssh/sftp-server", "/usr/lib/ssh/sftp-server"}

// writeSSHD writes the server's configuration. sshd takes the first value of a
// keyword, so the host's own lines come first.
func writeSSHD(l *layer, h HostConfig) error {
	lines := append([]string{}, h.SSHD...)
	add := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	for _, typ := range hostKeyTypes {
		add("HostKey /etc/ssh/ssh_host_%s_key", typ)
	}
	server := "internal-sftp"
	for _, path := range sftpServers {
		if _, _, ok := l.find(path); ok {
			server = path
			break
		}
	}
	if h.Noisy || h.Musl {
		server = "internal-sftp" // no shell file's noise gets into it, and it needs no libc
	}
	switch h.SFTP {
	case SFTPOn:
		add("Subsystem sftp %s", server)
	case SFTPReadOnly:
		add("Subsystem sftp %s -R", server)
	case SFTPBroken:
		add("Subsystem sftp /bin/false")
	case SFTPGarbled:
		add("Subsystem sftp echo Welcome to %s; exec %s", h.Name, server)
	case SFTPChroot:
		add("Subsystem sftp /usr/bin/unshare --map-current-user --root %s %s", chrootDir, server)
	case SFTPOff:
	}
	if h.MaxStartups == 0 {
		h.MaxStartups = 1000
	}
	add("MaxStartups %d", h.MaxStartups)
	if h.MaxSessions != 0 {
		add("MaxSessions %d", h.MaxSessions)
	}
	if h.Noisy {
		add("Banner /etc/issue.net")
	}
	if h.Musl {
		add("ChrootDirectory %s", muslRoot)
	}
	add("UsePAM %s", map[bool]string{true: "yes", false: "no"}[h.PAM || h.Systemd])
	lines = append(lines,
		"PasswordAuthentication no", "KbdInteractiveAuthentication no", "PermitRootLogin prohibit-password",
		"UseDNS no", "PrintMotd no", "PrintLastLog no", "X11Forwarding no", "AcceptEnv LANG LC_*", "PidFile /run/sshd.pid")
	return l.write("/etc/ssh/sshd_config", []byte(strings.Join(lines, "\n")+"\n"), 0o600, 0, 0)
}

// chrootDir is the root directory that SFTPChroot shows.
const chrootDir = "/srv/sftp"

// fileToBind stores content outside the host and returns the mount that lays it
// over target there.
func (d hostDirs) fileToBind(target, content string) (mount, error) {
	path := filepath.Join(d.files, strings.ReplaceAll(strings.Trim(target, "/"), "/", "_"))
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		return mount{}, err
	}
	return mount{Type: "bind", Source: path, Target: target, Flags: unix.MS_RDONLY}, nil
}
