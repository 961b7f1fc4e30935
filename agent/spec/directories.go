package spec

import (
	"path"
	"slices"
	"strconv"
	"strings"
)

// Directory is a directory that a host has.
type Directory struct {
	Path  string `json:"path"`            // absolute and clean
	Owner string `json:"owner"`           // the name of an account
	Group string `json:"group,omitempty"` // "" is the primary group of the owner
	Mode  uint32 `json:"mode"`            // permissions with setgid and sticky
}

// Defaults of a directory.
const (
	defaultOwner = "root"
	defaultMode  = "0755"
)

// unsettable are trees in which no directory is gofleet's to set.
var unsettable = []string{"/bin", "/boot", "/dev", "/lib", "/lib32", "/lib64", "/libx32", "/lost+found", "/proc", "/sbin", "/sys",
	"/run", "/tmp", "/var/tmp", "/var/run", "/usr/bin", "/usr/sbin"}

// directories reads gofleet_directories.
func (n *node) directories() []Directory {
	const example = `write a list, like [{path: /opt/app, owner: deploy, mode: "0755"}]`
	items, ok := n.v.([]any)
	if !ok {
		n.fail(example, "must be a list, not %s", kind(n.v))
		return nil
	}
	var out []Directory
	seen := map[string]bool{}
	for i, item := range items {
		c := n.child(itoa(i), item)
		d, ok := c.directory(example)
		switch {
		case !ok:
		case seen[d.Path]:
			c.child("path", nil).fail("keep one of the two", "is the path of an entry above")
		default:
			seen[d.Path] = true
			out = append(out, d)
		}
	}
	return out
}

func (n *node) directory(example string) (d Directory, ok bool) {
	m, ok := n.dict([]string{"path", "owner", "group", "mode"}, example)
	if !ok {
		return d, false
	}
	before := len(n.p.errs)
	d.Owner = defaultOwner
	d.Mode, _, _ = parseMode(defaultMode)
	if c := m["path"]; c.null() {
		n.fail(example, "has no path")
	} else {
		d.Path, _ = c.directoryPath()
	}
	if c := m["owner"]; !c.null() {
		d.Owner, _ = c.accountName("user")
	}
	if c := m["group"]; !c.null() {
		d.Group, _ = c.accountName("group")
	}
	if c := m["mode"]; !c.null() {
		d.Mode = c.mode()
	}
	return d, len(n.p.errs) == before
}

// directoryPath reads the path of a directory that is nobody's but the site's.
func (n *node) directoryPath() (string, bool) {
	const example = "write a directory of the site's own, like /opt/app"
	p, ok := n.absolute()
	if !ok {
		return "", false
	}
	tree := slices.IndexFunc(unsettable, func(dir string) bool { return within(p, dir) })
	switch {
	case strings.ContainsFunc(p, func(r rune) bool { return !pathRune(r) }):
		n.fail("use letters, digits and . _ - + @ = , only", "%s has a character that is not for the name of a directory", quote(p))
	case slices.Contains(systemDirs, p):
		n.fail(example, "%s is a directory of the system's", quote(p))
	case tree >= 0:
		n.fail(example, "%s lies in %s, where the system has its own", quote(p), unsettable[tree])
	default:
		return path.Clean(p), true
	}
	return "", false
}

// mode reads permissions in octal, which must be text: YAML reads 0755 as 493,
// and 755 as the number that is 1363 in octal.
func (n *node) mode() uint32 {
	s, ok := n.v.(string)
	if !ok {
		wrote := n.raw()
		if _, _, problem := parseMode(wrote); problem != "" {
			wrote = defaultMode
		}
		n.fail("quote it: "+strconv.Quote(wrote), "must be text in quotes, not %s: YAML reads modes as other numbers", kind(n.v))
		return 0
	}
	mode, hint, problem := parseMode(strings.TrimSpace(s))
	if problem != "" {
		n.fail(hint, "%s %s", quote(s), problem)
	}
	return mode
}

func parseMode(s string) (mode uint32, hint, problem string) {
	const example = `write it like "0755" or "2775"`
	i, err := strconv.ParseUint(s, 8, 32)
	switch {
	case err != nil || len(s) < 3 || len(s) > 4:
		return 0, example, "is not a mode of three or four octal digits"
	case i&0o4000 != 0:
		return 0, example, "has the setuid bit, which means nothing on a directory"
	case i&0o002 != 0 && i&0o1000 == 0:
		return 0, `if everybody is to write there, write "1777": the sticky bit keeps them from each other's files`, "lets everybody replace what is in it"
	}
	return uint32(i), "", ""
}

// checkDirectories reports directories where gofleet has its own, and those in
// one whose owner could put a link in their place.
func (p *parser) checkDirectories(s *Spec) {
	for i, d := range s.Directories {
		at := &node{p: p, path: []string{p.o.Prefix + "directories", itoa(i), "path"}}
		if within(d.Path, s.Root) || within(d.Path, s.Link) {
			at.fail("write a directory elsewhere, like /opt/app", "%s lies where gofleet keeps toolchains", quote(d.Path))
		}
		for _, above := range s.Directories {
			if above.Path == d.Path || !within(d.Path, above.Path) {
				continue
			}
			switch {
			case above.Owner != defaultOwner && above.Owner != d.Owner:
				at.fail("give both the same owner, or "+above.Path+" to root",
					"%s is for %s and lies in %s, where %s could put a link", quote(d.Path), d.Owner, above.Path, above.Owner)
			case above.othersWrite():
				at.fail("take the group's right to write from "+above.Path+", or have the application make what is in it",
					"%s lies in %s, where others than its owner could put a link", quote(d.Path), above.Path)
			}
		}
	}
}

// othersWrite reports whether others than the owner and root can replace what is
// in the directory.
func (d Directory) othersWrite() bool {
	group := d.Mode&0o020 != 0 && d.Group != "root" && (d.Group != "" || d.Owner != defaultOwner)
	sticky := d.Mode&0o1000 != 0 && d.Owner == defaultOwner
	return (group || d.Mode&0o002 != 0) && !sticky
}
