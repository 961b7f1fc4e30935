package spec

import (
	"path"
	"slices"
	"strconv"
	"strings"
)

// systemDirs are never gofleet_root or gofleet_link: they hold other things.
var systemDirs = []string{
	"/", "/bin", "/boot", "/dev", "/etc", "/home", "/lib", "/lib32", "/lib64", "/libx32", "/lost+found",
	"/media", "/mnt", "/opt", "/proc", "/root", "/run", "/sbin", "/srv", "/sys", "/tmp", "/usr", "/var",
	"/usr/bin", "/usr/etc", "/usr/games", "/usr/include", "/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/libexec",
	"/usr/local", "/usr/local/bin", "/usr/local/etc", "/usr/local/games", "/usr/local/include", "/usr/local/lib",
	"/usr/local/lib64", "/usr/local/libexec", "/usr/local/man", "/usr/local/sbin", "/usr/local/share",
	"/usr/local/src", "/usr/sbin", "/usr/share", "/usr/src",
	"/var/backups", "/var/cache", "/var/lib", "/var/local", "/var/lock", "/var/log", "/var/mail", "/var/opt",
	"/var/run", "/var/spool", "/var/tmp",
}

// offLimits are trees in which neither may lie at any depth.
var offLimits = []string{"/bin", "/boot", "/dev", "/etc", "/proc", "/sbin", "/sys", "/usr/bin", "/usr/local/bin", "/usr/local/sbin", "/usr/sbin"}

// absolute reads an absolute path and cleans it.
func (n *node) absolute() (string, bool) {
	const example = "write an absolute path"
	s, ok := n.text(example)
	if !ok {
		return "", false
	}
	if !strings.HasPrefix(s, "/") {
		hint := example
		if strings.HasPrefix(s, "~") || strings.Contains(s, "$") {
			hint += "; ~ and variables are not expanded"
		}
		n.fail(hint, "%s is not an absolute path", quote(s))
		return "", false
	}
	if len(s) > 1024 {
		n.fail("", "is longer than 1024 bytes")
		return "", false
	}
	if slices.Contains(strings.Split(s, "/"), "..") {
		n.fail("write where it leads to", "%s has .. in it", quote(s))
		return "", false
	}
	return path.Clean(s), true
}

// place reads gofleet_root or gofleet_link: an absolute path that may stand
// in PATH and in shell files, and is no directory of the system's.
func (n *node) place() (string, bool) {
	p, ok := n.absolute()
	if !ok {
		return "", false
	}
	if i := strings.IndexFunc(p, func(r rune) bool { return !pathRune(r) }); i >= 0 {
		n.fail("use letters, digits and . _ - + @ = , only: the path stands in PATH and in shell files",
			"%s has a character that a toolchain's path cannot have", quote(p))
		return "", false
	}
	home, rest, _ := strings.Cut(strings.TrimPrefix(p, "/home/"), "/")
	isHome := strings.HasPrefix(p, "/home/") && home != "" && rest == ""
	if slices.Contains(systemDirs, p) || isHome {
		n.fail("write a directory of its own, like "+DefaultRoot, "%s holds other things than Go", quote(p))
		return "", false
	}
	for _, dir := range offLimits {
		if within(p, dir) {
			n.fail("write a directory elsewhere, like "+DefaultRoot, "%s lies in %s", quote(p), dir)
			return "", false
		}
	}
	return p, true
}

// inSystemTree reports whether p lies where only the system has files.
func inSystemTree(p string) bool {
	return slices.ContainsFunc(offLimits, func(dir string) bool { return within(p, dir) })
}

func pathRune(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-+@=,", r)
}

// within reports whether p is dir or below it.
func within(p, dir string) bool { return p == dir || strings.HasPrefix(p, dir+"/") }

// checkPaths reports a root and link that would be in each other's way. In the
// root, where toolchains and records lie, only "go" is free for the link.
func (p *parser) checkPaths(s *Spec) {
	at := &node{p: p, path: []string{p.o.Prefix + "link"}}
	if s.Link == DefaultLink { // then it is the root that somebody has set
		at.path = []string{p.o.Prefix + "root"}
	}
	if within(s.Root, s.Link) {
		at.fail("put them side by side, like "+DefaultRoot+" and "+DefaultLink,
			"the link %s cannot lead into itself: the root is %s", s.Link, s.Root)
		return
	}
	if within(s.Link, s.Root) && s.Link != s.Root+"/go" {
		at.fail("write a path outside of the root, or "+s.Root+"/go",
			"the link %s lies in %s, which gofleet keeps for itself", s.Link, s.Root)
	}
}

func itoa(i int) string { return strconv.Itoa(i) }
