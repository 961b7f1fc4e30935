package spec

import (
	"maps"
	"slices"
	"strings"
)

// Where gofleet_environment can be written, each for other sessions.
const (
	EnvironmentProfile = "profile"     // /etc/profile.d: login shells
	EnvironmentPAM     = "environment" // /etc/environment: all that PAM opens a session for
	EnvironmentSystemd = "systemd"     // a drop-in of system.conf: services
)

var environmentPlaces = []string{EnvironmentProfile, EnvironmentPAM, EnvironmentSystemd}

// maxPAMLine is the longest line that every pam_env reads, in bytes.
const maxPAMLine = 1000

// environmentFiles reads gofleet_environment_files.
func (n *node) environmentFiles() ([]string, bool) {
	const example = "write a list, like [profile, environment, systemd]"
	if _, text := n.v.(string); text && !n.p.o.Lenient {
		n.fail(example, "must be a list, not text")
		return nil, false
	}
	items, ok := n.list(example)
	if !ok {
		return nil, false
	}
	before := len(n.p.errs)
	given := map[string]bool{}
	for _, item := range items {
		place, ok := item.choice(environmentPlaces...)
		if ok && given[place] {
			item.fail("keep one of them", "names %s twice", place)
		}
		given[place] = true
	}
	var out []string
	for _, place := range environmentPlaces {
		if given[place] {
			out = append(out, place)
		}
	}
	return out, len(n.p.errs) == before
}

// environmentValues reports values that a place they are to stand in cannot
// express, and values that are to stand nowhere. They may be secret, and are
// not shown.
func (p *parser) environmentValues(s *Spec) {
	at := &node{p: p, path: []string{p.o.Prefix + "environment"}}
	if len(s.Environment) > 0 && len(s.EnvironmentFiles) == 0 {
		at.fail("name a place in "+p.o.Prefix+"environment_files, like [profile]", "reaches nobody: %senvironment_files is empty", p.o.Prefix)
	}
	for _, name := range slices.Sorted(maps.Keys(s.Environment)) {
		value, n := s.Environment[name], at.child(name, nil)
		for _, place := range s.EnvironmentFiles {
			if why := Unwritable(place, name, value); why != "" {
				n.fail("write another value, or drop "+place+" from "+p.o.Prefix+"environment_files", "%s", why)
			}
		}
	}
}

// Unwritable says why a place cannot have a value, or nothing. It does not show
// the value.
func Unwritable(place, name, value string) string {
	switch place {
	case EnvironmentPAM:
		// It knows no escapes, and takes # for a comment within quotes too.
		if i := strings.IndexAny(value, `#"'\`); i >= 0 {
			return "has " + quote(value[i:i+1]) + ", which /etc/environment cannot express"
		}
		if len(name)+len(value) > maxPAMLine {
			return "is too long for /etc/environment, whose lines have up to 1000 bytes"
		}
	case EnvironmentSystemd:
		if strings.Contains(value, "%") {
			return "has %, which systemd's versions read differently"
		}
	}
	return ""
}
