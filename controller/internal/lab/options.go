//go:build linux

package lab

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// option is one word that Set knows.
type option struct {
	name, example, help string
	set                 func(h *HostConfig, value string) error
}

// options is the table behind Set and Options; those with an example take a
// value.
var options = [...]option{
	{"image", "bookworm", "a Debian release instead of this machine", text(func(h *HostConfig) *string { return &h.Image })},
	{"arch", "arm64", "the image's architecture, through qemu-user", text(func(h *HostConfig) *string { return &h.Arch })},
	{"systemd", "", "boot the image with its systemd", yes(func(h *HostConfig) *bool { return &h.Systemd })},
	{"package", "chrony", "a package that the image has; repeats", list(func(h *HostConfig) *[]string { return &h.Packages })},
	{"memory", "1GB", "MemTotal in /proc/meminfo", size(func(h *HostConfig) *int64 { return &h.Memory })},
	{"cpus", "1", "CPUs in /proc, /sys and, as far as the machine has them, nproc", number(func(h *HostConfig) *int { return &h.CPUs })},
	{"kernel", "3.10.0", "release that uname(2) and /proc tell", text(func(h *HostConfig) *string { return &h.Kernel })},
	{"machine", "mips64", "machine that uname(2) tells", text(func(h *HostConfig) *string { return &h.Machine })},
	{"clock", "-1h", "by how much the clock is ahead", duration(func(h *HostConfig) *time.Duration { return &h.Clock })},
	{"glibc", "2.17", "version that glibc tells of itself", text(func(h *HostConfig) *string { return &h.Glibc })},
	{"musl", "", "busybox and musl: no glibc, no sudo; log in as root", yes(func(h *HostConfig) *bool { return &h.Musl })},
	{"os", "rocky:8.9", "ID and VERSION_ID in os-release", setOS},
	{"no-python", "", "no python", yes(func(h *HostConfig) *bool { return &h.NoPython })},
	{"no-sudo", "", "no sudo", yes(func(h *HostConfig) *bool { return &h.NoSudo })},
	{"noexec", "/tmp", "a directory mounted noexec; repeats", list(func(h *HostConfig) *[]string { return &h.Noexec })},
	{"hide", "/usr/bin/gcc", "a path that is not there; repeats", list(func(h *HostConfig) *[]string { return &h.Hide })},
	{"disk", "50MB", "size of /usr/local/lib", size(func(h *HostConfig) *int64 { return &h.LocalSize })},
	{"inodes", "5000", "inodes of /usr/local/lib", size(func(h *HostConfig) *int64 { return &h.LocalNodes })},
	{"sftp", "off", "also readonly, chroot, broken, garbled", text(func(h *HostConfig) *string { return (*string)(&h.SFTP) })},
	{"noisy", "", "a banner, and shell files that write to stdout", yes(func(h *HostConfig) *bool { return &h.Noisy })},
	{"max-startups", "2", "logins at once", number(func(h *HostConfig) *int { return &h.MaxStartups })},
	{"max-sessions", "1", "sessions a connection", number(func(h *HostConfig) *int { return &h.MaxSessions })},
	{"pam", "", "sshd asks PAM", yes(func(h *HostConfig) *bool { return &h.PAM })},
	{"sshd", "'Ciphers aes256-ctr'", "a line of sshd_config; repeats", list(func(h *HostConfig) *[]string { return &h.SSHD })},
	{"known", "changed", "in known_hosts; also revoked, absent, hashed, rsa", text(func(h *HostConfig) *string { return (*string)(&h.KnownHosts) })},
}

// Set applies an option in words, such as "memory=1GB" or "no-sudo".
func (h *HostConfig) Set(word string) error {
	name, value, given := strings.Cut(word, "=")
	for _, o := range options {
		if o.name != name {
			continue
		}
		switch {
		case o.example != "" && value == "":
			return fmt.Errorf("option %s wants a value: %s=%s", name, name, o.example)
		case o.example == "" && given:
			return fmt.Errorf("option %s takes no value", name)
		}
		return o.set(h, value)
	}
	return fmt.Errorf("unknown option %q; gofleet-lab up --help lists them", name)
}

// Options lists what Set knows, a line each.
func Options() string {
	var b strings.Builder
	for _, o := range options {
		word := o.name
		if o.example != "" {
			word += "=" + o.example
		}
		fmt.Fprintf(&b, "  %-28s %s\n", word, o.help)
	}
	return b.String()
}

func text(field func(*HostConfig) *string) func(*HostConfig, string) error {
	return func(h *HostConfig, value string) error { *field(h) = value; return nil }
}

func duration(field func(*HostConfig) *time.Duration) func(*HostConfig, string) error {
	return func(h *HostConfig, value string) (err error) {
		*field(h), err = time.ParseDuration(value)
		return err
	}
}

func list(field func(*HostConfig) *[]string) func(*HostConfig, string) error {
	return func(h *HostConfig, value string) error { *field(h) = append(*field(h), value); return nil }
}

func yes(field func(*HostConfig) *bool) func(*HostConfig, string) error {
	return func(h *HostConfig, _ string) error { *field(h) = true; return nil }
}

func number(field func(*HostConfig) *int) func(*HostConfig, string) error {
	return func(h *HostConfig, value string) error {
		n, err := strconv.Atoi(value)
		if err != nil || n < 1 {
			return fmt.Errorf("%q is not a number above 0", value)
		}
		*field(h) = n
		return nil
	}
}

// units are decimal and binary, as people write them.
var units = []struct {
	suffix string
	bytes  int64
}{
	{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"GB", 1e9}, {"MB", 1e6}, {"KB", 1e3},
	{"G", 1 << 30}, {"M", 1 << 20}, {"K", 1 << 10}, {"", 1},
}

func size(field func(*HostConfig) *int64) func(*HostConfig, string) error {
	return func(h *HostConfig, value string) error {
		for _, u := range units {
			digits, ok := strings.CutSuffix(value, u.suffix)
			if !ok {
				continue
			}
			n, err := strconv.ParseInt(digits, 10, 64)
			if err != nil || n < 1 || n > math.MaxInt64/u.bytes {
				break
			}
			*field(h) = n * u.bytes
			return nil
		}
		return fmt.Errorf("%q is not a size: write 50MB or 1GiB", value)
	}
}

func setOS(h *HostConfig, value string) error {
	id, version, ok := strings.Cut(value, ":")
	if !ok {
		return fmt.Errorf("os %q: want ID:VERSION, as rocky:8.9", value)
	}
	h.OSRelease = fmt.Sprintf("NAME=%q\nID=%s\nVERSION_ID=%q\nPRETTY_NAME=%q\n", id, id, version, id+" "+version)
	return nil
}
