package spec

import (
	"strings"
)

// NetrcEntry is one machine's credentials in the deploy user's ~/.netrc.
// Password is always a secret: it may stand in that file, and nowhere else.
type NetrcEntry struct {
	Machine  string `json:"machine"` // a host, with its port where the URL has one
	Login    string `json:"login"`
	Password string `json:"password"`
}

// Line is the entry as it stands in the file.
func (e NetrcEntry) Line() string {
	return "machine " + e.Machine + " login " + e.Login + " password " + e.Password
}

// maxPassword bounds a password in bytes: curl reads lines up to 4096.
const maxPassword = 3 << 10

// netrc reads gofleet_netrc. No error shows a login or a password.
func (n *node) netrc() []NetrcEntry {
	const example = `write a list, like [{machine: proxy.corp, login: ci, password: "{{ vaulted }}"}]`
	list, ok := n.v.([]any)
	if !ok {
		n.fail(example, "must be a list, not %s", bareKind(n.v))
		return nil
	}
	var entries []NetrcEntry
	seen := map[string]bool{}
	for i, v := range list {
		c := n.child(itoa(i), v)
		if _, isDict := v.(map[string]any); !isDict {
			c.fail(example, "must be a dictionary, not %s", bareKind(v))
			continue
		}
		m, _ := c.dict([]string{"machine", "login", "password"}, example)
		e, ok := c.netrcEntry(m)
		who := e.Machine + " " + e.Login
		switch {
		case !ok:
		case seen[who]:
			c.fail("keep one of the two", "has the machine and login of an entry above")
		default:
			seen[who] = true
			entries = append(entries, e)
		}
	}
	return entries
}

// netrcEntry reads one entry, which has all three.
func (n *node) netrcEntry(m map[string]*node) (e NetrcEntry, ok bool) {
	ok = true
	for _, key := range []struct {
		name  string
		to    *string
		check func(*node, string) bool
	}{{"machine", &e.Machine, (*node).machine}, {"login", &e.Login, (*node).credential}, {"password", &e.Password, (*node).credential}} {
		c := m[key.name]
		if c.null() {
			n.fail("go takes an entry only with machine, login and password", "has no %s", key.name)
			ok = false
			continue
		}
		s, isText := c.asText()
		*key.to = s
		ok = isText && key.check(c, s) && ok
	}
	return e, ok
}

// machine checks a host name as a URL has it: go compares them letter by
// letter, with the port if there is one.
func (n *node) machine(s string) bool {
	const example = "write the host as the URL has it, with the port if it has one: proxy.corp or proxy.corp:8443"
	letters := strings.Trim(strings.ToLower(s), "abcdefghijklmnopqrstuvwxyz0123456789.-_:[]") == ""
	switch {
	case s == "default":
		n.fail("name each machine: a default sends the password to every server that asks", "default is no machine")
	case strings.Contains(s, "://") || strings.Contains(s, "/"):
		n.fail(example, "is a URL or a path")
	case s == "" || !letters || len(s) > 253:
		n.fail(example, "is not a host")
	default:
		return true
	}
	return false
}

// credential checks a login or password for what go, curl, git and others
// read in the same way. They differ on quotes, backslashes, a # in front and
// anything that is not ASCII.
func (n *node) credential(s string) bool {
	const hint = "netrc has no way to write it that go, curl and git all read: make a token of letters, digits and most signs"
	switch {
	case s == "":
		n.fail("", "is empty")
	case len(s) > maxPassword:
		n.fail("", "is longer than %d bytes", maxPassword)
	case strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f }):
		n.fail(hint, "has a space, a control character or a letter that is not ASCII")
	case strings.ContainsAny(s, `"\`):
		n.fail(hint, "has a quote or a backslash")
	case s[0] == '#':
		n.fail(hint, "begins with #, which begins a comment")
	default:
		return true
	}
	return false
}
