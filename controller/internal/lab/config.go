//go:build linux

package lab

import (
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"time"
)

// DefaultDir is where the state of labs lives unless a Config says otherwise.
const DefaultDir = "/run/gofleet-lab"

// DefaultCacheDir keeps debootstrapped images from one lab to the next.
const DefaultCacheDir = "/var/cache/gofleet-lab"

// The accounts of every host. All accept the lab's client keys, root does too.
const (
	AdminUser = "admin" // sudo without a password
	OpsUser   = "ops"   // sudo with SudoPassword
	PlainUser = "plain" // no sudo

	// SudoPassword is the password of OpsUser.
	SudoPassword = "lab-sudo-password"

	// KeyPassphrase opens the client key id_encrypted.
	KeyPassphrase = "lab-key-passphrase"
)

// Config describes a lab: some hosts on one bridge.
type Config struct {
	// Name tells labs apart; "default" if empty.
	Name string

	// Dir is the directory that holds the state of labs, each under its name;
	// DefaultDir if empty.
	Dir string

	// CacheDir keeps images; DefaultCacheDir if empty.
	CacheDir string

	// Mirror is where debootstrap gets images; its own default if empty.
	Mirror string

	// UpperDir, if not empty, is a directory on a disk below which what the
	// hosts write is kept while the lab is up. By default that is a tmpfs of
	// the lab's own: fast, and the same on every machine.
	UpperDir string

	// Progress, if not nil, is told of what takes long: making an image.
	Progress func(string)

	// Ephemeral hosts end when the process that called Up ends, however that
	// happens. Down still has to remove the bridge and the directories.
	Ephemeral bool

	// Hosts are the hosts to start, in order.
	Hosts []HostConfig
}

// SFTPMode is how a host treats the sftp subsystem.
type SFTPMode string

// The modes of SFTP.
const (
	SFTPOn       SFTPMode = ""         // OpenSSH's sftp-server
	SFTPOff      SFTPMode = "off"      // no subsystem of that name
	SFTPReadOnly SFTPMode = "readonly" // every write is refused
	SFTPChroot   SFTPMode = "chroot"   // a root directory of its own, without the host's paths
	SFTPBroken   SFTPMode = "broken"   // accepted, and ended at once
	SFTPGarbled  SFTPMode = "garbled"  // begins with a line of text, as a shell file's greeting makes it
)

var sftpModes = []SFTPMode{SFTPOn, SFTPOff, SFTPReadOnly, SFTPChroot, SFTPBroken, SFTPGarbled}

// KnownHosts is how a host appears in the lab's known_hosts file.
type KnownHosts string

// The ways in which known_hosts can speak of a host.
const (
	KnownAll     KnownHosts = ""        // all three keys
	KnownHashed  KnownHosts = "hashed"  // all three keys, the name hashed
	KnownRSA     KnownHosts = "rsa"     // the RSA key alone
	KnownAbsent  KnownHosts = "absent"  // not at all
	KnownChanged KnownHosts = "changed" // with keys that the host does not have
	KnownRevoked KnownHosts = "revoked" // with its keys marked @revoked
)

var knownModes = []KnownHosts{KnownAll, KnownHashed, KnownRSA, KnownAbsent, KnownChanged, KnownRevoked}

// HostConfig says what one host is like. The zero value is a host like this
// machine, cleaned of users, homes, /usr/local and Go.
type HostConfig struct {
	Name  string // letters, digits and hyphens; "h1", "h2", … if empty
	Image string // a Debian release (bookworm, trixie, bullseye); this machine's / if empty
	Arch  string // Debian's name of an image's architecture (arm64); this machine's if empty

	// Systemd boots the image with its own systemd, which starts sshd and asks
	// PAM, instead of starting sshd alone.
	Systemd  bool
	Packages []string // Debian packages that the image has beside the lab's

	Memory int64 // MemTotal in /proc/meminfo, in bytes

	// Clock is by how much the host's clock is ahead, to the second. All that
	// sshd starts sees it, but for the old call time(2); files that are written
	// get the machine's time.
	Clock      time.Duration
	CPUs       int    // in /proc/cpuinfo and /sys; nproc follows if the machine has that many
	Kernel     string // the release that uname(2) and /proc tell sessions, like "3.10.0"
	Machine    string // the machine that uname(2) tells sessions, like "mips64"
	Glibc      string // as glibc's files and getconf say; as long as the true version ("2.17")
	Musl       bool   // sessions see busybox and musl: no glibc, no sudo; log in as root
	OSRelease  string // the content of /etc/os-release
	NoPython   bool
	NoSudo     bool
	Noexec     []string          // directories mounted noexec, nosuid, nodev: /tmp, /run, /home, /usr/local, …
	LocalSize  int64             // /usr/local/lib is a tmpfs of so many bytes
	LocalNodes int64             // and of so many inodes
	Cgroup     map[string]string // files in /sys/fs/cgroup, by relative path
	Hide       []string          // absolute paths that the host does not have
	Files      map[string]string // absolute paths of root's files, mode 0644, and their content

	SFTP        SFTPMode
	Noisy       bool     // a banner before login, and shell files that write to stdout
	MaxStartups int      // of sshd; 0 is 1000, so that many logins at once all pass
	MaxSessions int      // of sshd; 0 is OpenSSH's 10
	PAM         bool     // sshd asks PAM; without, it refuses accounts locked with "!"
	SSHD        []string // further lines of sshd_config, placed first: sshd takes the first value

	KnownHosts KnownHosts
}

var nameRE = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$`)

var packageRE = regexp.MustCompile(`^[a-z0-9][a-z0-9+.-]+$`)

// pretends tells whether the host is one that only the lab's own pid 1 can be.
func (h HostConfig) pretends() bool {
	return h.Memory != 0 || h.CPUs != 0 || h.Kernel != "" || h.Machine != "" || h.Clock != 0 || h.Musl || len(h.Cgroup) > 0
}

// withDefaults returns c completed, or an error that names what is wrong.
func (c Config) withDefaults() (Config, error) {
	if c.Name == "" {
		c.Name = "default"
	}
	if c.Dir == "" {
		c.Dir = DefaultDir
	}
	if c.CacheDir == "" {
		c.CacheDir = DefaultCacheDir
	}
	if !nameRE.MatchString(c.Name) {
		return c, fmt.Errorf("lab name %q: use lower-case letters, digits and hyphens", c.Name)
	}
	for _, d := range []*string{&c.Dir, &c.CacheDir, &c.UpperDir} {
		if *d == "" {
			continue
		}
		abs, err := filepath.Abs(*d)
		if err != nil {
			return c, err
		}
		*d = abs
	}
	if len(c.Hosts) == 0 {
		return c, fmt.Errorf("lab %s: no hosts", c.Name)
	}
	if len(c.Hosts) > maxHosts {
		return c, fmt.Errorf("lab %s: %d hosts, a bridge has room for %d", c.Name, len(c.Hosts), maxHosts)
	}
	if c.Progress == nil {
		c.Progress = func(string) {}
	}
	hosts := make([]HostConfig, len(c.Hosts))
	seen := map[string]bool{}
	for i, h := range c.Hosts {
		if h.Name == "" {
			h.Name = fmt.Sprintf("h%d", i+1)
		}
		if err := h.check(); err != nil {
			return c, fmt.Errorf("host %s: %w", h.Name, err)
		}
		if seen[h.Name] {
			return c, fmt.Errorf("host %s: named twice", h.Name)
		}
		seen[h.Name] = true
		hosts[i] = h
	}
	c.Hosts = hosts
	return c, nil
}

func (h HostConfig) check() error {
	switch {
	case !nameRE.MatchString(h.Name):
		return fmt.Errorf("name %q: use lower-case letters, digits and hyphens", h.Name)
	case h.Arch != "" && h.Image == "":
		return fmt.Errorf("architecture %s needs an image: this machine's / has its own", h.Arch)
	case (h.Systemd || len(h.Packages) > 0) && h.Image == "":
		return errors.New("systemd and packages need an image: this machine's / is not the lab's to change or boot")
	case h.Systemd && h.pretends():
		return errors.New("a host with systemd has this machine's memory, cpus, kernel, clock and glibc")
	case h.Systemd && h.Arch != "" && !native(h.Arch):
		return errors.New("systemd does not boot under an emulator")
	case h.Memory < 0 || h.CPUs < 0 || h.LocalSize < 0 || h.LocalNodes < 0 || h.MaxStartups < 0 || h.MaxSessions < 0:
		return fmt.Errorf("a size or count is negative")
	case h.Musl && h.Glibc != "":
		return fmt.Errorf("musl and glibc %s exclude each other", h.Glibc)
	case !slices.Contains(sftpModes, h.SFTP):
		return fmt.Errorf("sftp %q: want one of %q", h.SFTP, sftpModes[1:])
	case !slices.Contains(knownModes, h.KnownHosts):
		return fmt.Errorf("known_hosts %q: want one of %q", h.KnownHosts, knownModes[1:])
	}
	for _, p := range h.Hide {
		if !filepath.IsAbs(p) || filepath.Clean(p) != p || p == "/" {
			return fmt.Errorf("hide %q: want a clean absolute path", p)
		}
	}
	for _, p := range h.Packages {
		if !packageRE.MatchString(p) {
			return fmt.Errorf("package %q is not the name of a Debian package", p)
		}
	}
	for _, p := range h.Noexec {
		if !filepath.IsAbs(p) || filepath.Clean(p) != p || p == "/" {
			return fmt.Errorf("noexec %q: want a clean absolute path", p)
		}
	}
	for p := range h.Files {
		if !filepath.IsAbs(p) || filepath.Clean(p) != p || p == "/" {
			return fmt.Errorf("file %q: want a clean absolute path", p)
		}
	}
	for p := range h.Cgroup {
		if !filepath.IsLocal(p) {
			return fmt.Errorf("cgroup file %q: want a relative path", p)
		}
	}
	return nil
}
