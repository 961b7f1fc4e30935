package spec

import "strings"

// Cache is the places of the go command's caches that the members of a group
// share. Directories has them, and Env says where they are.
type Cache struct {
	ModCache string `json:"modcache,omitempty"` // GOMODCACHE; "" is each user's own
	Build    string `json:"build,omitempty"`    // GOCACHE; likewise
	Group    string `json:"group"`
	Mode     uint32 `json:"mode"`
}

// Dirs are the directories that the cache has.
func (c *Cache) Dirs() []string {
	var dirs []string
	if c != nil {
		for _, dir := range []string{c.ModCache, c.Build} {
			if dir != "" {
				dirs = append(dirs, dir)
			}
		}
	}
	return dirs
}

// defaultCacheMode lets the group write, and has what it makes be the group's.
const defaultCacheMode = "2775"

// cache reads gofleet_cache.
func (n *node) cache() *Cache {
	const example = "write it like {modcache: /srv/go/mod, build: /srv/go/build, group: ci}"
	m, ok := n.dict([]string{"modcache", "build", "group", "mode"}, example)
	if !ok {
		return nil
	}
	before := len(n.p.errs)
	c := &Cache{}
	c.Mode, _, _ = parseMode(defaultCacheMode)
	set(m["modcache"], &c.ModCache, (*node).directoryPath)
	set(m["build"], &c.Build, (*node).directoryPath)
	if group := m["group"]; group.null() {
		n.fail(example, "has no group")
	} else {
		c.Group, _ = group.accountName("group")
	}
	if mode := m["mode"]; !mode.null() {
		if c.Mode = mode.mode(); len(n.p.errs) == before && c.Mode&0o2070 != 0o2070 {
			mode.fail(`write "2775", or "2770" to keep others from reading`, "does not let the group write, or what is made there would not be the group's")
		}
	}
	if len(n.p.errs) > before {
		return nil
	}
	switch {
	case c.ModCache == "" && c.Build == "":
		n.fail(example, "has neither modcache nor build")
	case c.ModCache != "" && c.Build != "" && (within(c.ModCache, c.Build) || within(c.Build, c.ModCache)):
		m["build"].fail("write two directories, side by side", "lies in modcache, or that in it")
	default:
		return c
	}
	return nil
}

// cacheEnv adds the cache's directories to Directories, and to Env what the go
// command has to know. What Env says of the same names, and Directories of the
// same paths, is reported.
func (p *parser) cacheEnv(s *Spec) {
	c := s.Cache
	if c == nil {
		return
	}
	for _, one := range []struct{ key, name, dir string }{{"modcache", "GOMODCACHE", c.ModCache}, {"build", "GOCACHE", c.Build}} {
		if one.dir == "" {
			continue
		}
		if own, ok := s.Env[one.name]; ok && own != one.dir {
			p.contradict("cache", one.name, "say where it is in one of the two places", one.key)
			continue
		}
		p.cacheDirectory(s, one.key, one.dir)
		if s.Env == nil {
			s.Env = map[string]string{}
		}
		s.Env[one.name] = one.dir
	}
	for _, dir := range c.Dirs() {
		s.Directories = append(s.Directories, Directory{Path: dir, Owner: defaultOwner, Group: c.Group, Mode: c.Mode})
	}
}

// cacheDirectory reports a place for a cache that is another thing's.
func (p *parser) cacheDirectory(s *Spec, key, dir string) {
	at := &node{p: p, path: []string{p.o.Prefix + "cache", key}}
	switch {
	case strings.Contains(dir, ":"):
		at.fail("write a path without colons", "%s cannot be the place of a cache", quote(dir))
	case within(dir, s.Root) || within(dir, s.Link):
		at.fail("write a directory elsewhere, like /srv/go/build", "%s lies where gofleet keeps toolchains", quote(dir))
	}
	for _, d := range s.Directories {
		switch {
		case d.Path == dir:
			at.fail("drop it there: gofleet_cache makes it", "is in %sdirectories too", p.o.Prefix)
		case within(d.Path, dir):
			at.fail("write a directory of the cache's own", "has %s of %sdirectories in it, where the group could put a link", quote(d.Path), p.o.Prefix)
		case within(dir, d.Path) && (d.Owner != defaultOwner || d.othersWrite()):
			at.fail("give "+d.Path+" to root, with a mode like \"0755\"", "lies in %s of %sdirectories, where others than root could put a link", quote(d.Path), p.o.Prefix)
		}
	}
}
