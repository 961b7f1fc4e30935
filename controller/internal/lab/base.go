//go:build linux

package lab

import (
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
)

// The directories that the root of a host has; whatever else stands in this
// machine's root is its own affair.
var rootDirs = []string{
	"bin", "boot", "dev", "etc", "home", "lib", "lib32", "lib64", "libx32", "media",
	"mnt", "opt", "proc", "root", "run", "sbin", "srv", "sys", "tmp", "usr", "var",
}

// labUser is an account that the base layer makes.
type labUser struct {
	name string
	uid  int
	hash string // of the password; "*" logs in by key only
	sudo string // the line for sudoers
}

var labUsers = []labUser{
	{AdminUser, 1001, "*", AdminUser + " ALL=(ALL:ALL) NOPASSWD: ALL"},
	// SudoPassword, by sha512-crypt. Asked for each time: whether sudo would
	// remember it depends on sessions and terminals, and no test should.
	{OpsUser, 1002, sudoPasswordHash, "Defaults:" + OpsUser + " timestamp_timeout=0\n" + OpsUser + " ALL=(ALL:ALL) ALL"},
	{PlainUser, 1003, "*", ""},
}

// makeBase fills dir with what all hosts over root have in common: a machine
// without Go, without the users of root and with the lab's.
func makeBase(dir, root string, authorizedKeys []byte, hosts string, rsaKey keyPair) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	l := &layer{dir: dir, below: []string{root}}
	for _, step := range []func(*layer) error{
		clean,
		func(l *layer) error { return makeUsers(l, authorizedKeys) },
		func(l *layer) error {
			if err := l.write("/etc/hosts", []byte(hosts), 0o644, 0, 0); err != nil {
				return err
			}
			return l.write("/etc/ssh/ssh_host_rsa_key", rsaKey.private, 0o600, 0, 0)
		},
	} {
		if err := step(l); err != nil {
			return fmt.Errorf("prepare base layer: %w", err)
		}
	}
	return nil
}

// clean hides what makes this machine, or an image, different from a fresh
// host: users' files, /usr/local, Go, gofleet and sshd's own configuration.
func clean(l *layer) error {
	entries, err := os.ReadDir(l.below[0])
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !slices.Contains(rootDirs, e.Name()) {
			if err := l.hide("/" + e.Name()); err != nil {
				return err
			}
		}
	}
	for _, d := range []struct {
		path string
		mode fs.FileMode
	}{
		{"/home", 0o755}, {"/root", 0o700}, {"/tmp", 0o777 | fs.ModeSticky}, {"/var/tmp", 0o777 | fs.ModeSticky},
		{"/opt", 0o755}, {"/srv", 0o755}, {"/mnt", 0o755}, {"/media", 0o755}, {"/run", 0o755},
		{"/usr/local", 0o755}, {"/etc/ssh/sshd_config.d", 0o755},
		{"/var/log", 0o755}, {"/var/cache", 0o755}, // where this machine writes while the host is looked at
	} {
		if l.below[0] != "/" && (d.path == "/var/log" || d.path == "/var/cache") {
			continue // an image's packages have directories there
		}
		if err := l.empty(d.path, d.mode); err != nil {
			return err
		}
	}
	for _, d := range []string{"bin", "etc", "games", "include", "lib", "sbin", "share", "share/man", "src"} {
		if err := l.directory("/usr/local/"+d, 0o755, 0, 0); err != nil {
			return err
		}
	}
	if err := l.link("share/man", "/usr/local/man"); err != nil {
		return err
	}
	for _, d := range []string{"/dev", "/proc", "/sys"} {
		if err := l.directory(d, 0o755, 0, 0); err != nil {
			return err
		}
	}
	if err := l.hideAll(
		"/usr/bin/go", "/usr/bin/gofmt", "/usr/lib/go", "/usr/lib/go-*", "/usr/share/go-*",
		"/etc/profile.d/gofleet*", "/etc/profile.d/*go*.sh", "/etc/sudoers.d/gofleet*",
		"/etc/ssh/ssh_host_*", "/var/lib/gofleet*",
	); err != nil {
		return err
	}
	for path, content := range map[string]string{
		"/etc/resolv.conf": "", "/etc/fstab": "", "/etc/environment": "",
	} {
		if err := l.write(path, []byte(content), 0o644, 0, 0); err != nil {
			return err
		}
	}
	return nil
}

// makeUsers writes the account files: the system accounts below, and the lab's.
func makeUsers(l *layer, authorizedKeys []byte) error {
	passwd, err := keepLines(l, "/etc/passwd", systemAccount(2))
	if err != nil {
		return err
	}
	group, err := keepLines(l, "/etc/group", systemAccount(2))
	if err != nil {
		return err
	}
	known := map[string]bool{}
	for line := range strings.Lines(passwd) {
		known[strings.SplitN(line, ":", 2)[0]] = true
	}
	shadow, err := keepLines(l, "/etc/shadow", func(f []string) bool { return known[f[0]] && f[0] != "root" })
	if err != nil {
		return err
	}
	shadow += "root:*:19000:0:99999:7:::\n"
	if !known["sshd"] {
		passwd += "sshd:x:990:65534::/run/sshd:/usr/sbin/nologin\n"
		shadow += "sshd:*:19000::::::\n"
	}
	sudoers := "Defaults !lecture\nDefaults secure_path=\"" + hostPath + "\"\n"
	for _, u := range labUsers {
		passwd += fmt.Sprintf("%s:x:%d:%d::/home/%s:/bin/bash\n", u.name, u.uid, u.uid, u.name)
		group += fmt.Sprintf("%s:x:%d:\n", u.name, u.uid)
		shadow += fmt.Sprintf("%s:%s:19000:0:99999:7:::\n", u.name, u.hash)
		if u.sudo != "" {
			sudoers += u.sudo + "\n"
		}
		if err := makeHome(l, "/home/"+u.name, u.uid, authorizedKeys); err != nil {
			return err
		}
	}
	if err := makeHome(l, "/root", 0, authorizedKeys); err != nil {
		return err
	}
	shadowGroup := 0
	for line := range strings.Lines(group) {
		if f := strings.Split(line, ":"); f[0] == "shadow" && len(f) > 2 {
			shadowGroup, _ = strconv.Atoi(f[2])
		}
	}
	for _, f := range []struct {
		path, content string
		mode          fs.FileMode
		gid           int
	}{
		{"/etc/passwd", passwd, 0o644, 0},
		{"/etc/group", group, 0o644, 0},
		{"/etc/shadow", shadow, 0o640, shadowGroup},
		{"/etc/gshadow", "", 0o640, shadowGroup},
		{"/etc/subuid", "", 0o644, 0},
		{"/etc/subgid", "", 0o644, 0},
		{"/etc/sudoers.d/00-lab", sudoers, 0o440, 0},
	} {
		if err := l.write(f.path, []byte(f.content), f.mode, 0, f.gid); err != nil {
			return err
		}
	}
	return nil
}

// systemAccount keeps lines whose id, in the given field, is not a person's.
func systemAccount(field int) func([]string) bool {
	return func(f []string) bool {
		if len(f) <= field {
			return false
		}
		id, err := strconv.Atoi(f[field])
		return err == nil && (id < 1000 || id == 65534)
	}
}

func keepLines(l *layer, path string, keep func(fields []string) bool) (string, error) {
	text, err := l.read(path)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if keep(strings.Split(line, ":")) {
			b.WriteString(line + "\n")
		}
	}
	return b.String(), nil
}

// makeHome makes a home like useradd does, from /etc/skel, with keys that log in.
func makeHome(l *layer, home string, uid int, authorizedKeys []byte) error {
	if err := l.directory(home, 0o700, uid, uid); err != nil {
		return err
	}
	for _, name := range []string{".bashrc", ".profile", ".bash_logout"} {
		content, err := l.read("/etc/skel/" + name)
		if err != nil {
			return err
		}
		if content == "" {
			continue
		}
		if err := l.write(home+"/"+name, []byte(content), 0o644, uid, uid); err != nil {
			return err
		}
	}
	if err := l.directory(home+"/.ssh", 0o700, uid, uid); err != nil {
		return err
	}
	return l.write(home+"/.ssh/authorized_keys", authorizedKeys, 0o600, uid, uid)
}

// sudoPasswordHash is SudoPassword under sha512-crypt. A fixed salt does: the
// password is public, and opens nothing but test hosts.
const sudoPasswordHash = "$6$gofleetlab$9hq5EDAPVDSvnoLsGDQl0WvPX7Z5IHpLNc.RnR2nZKD4Z.AMj1gJXVHatbda2uaWXN.lpF9bNiJOUEYEXEAwL1"
