package spec

import (
	"path"
	"slices"
	"strings"
)

// maxID bounds uids and gids: what every tool on a host can read.
const maxID = 1<<31 - 1

var userKeys = []string{"name", "uid", "gid", "group", "home", "shell", "groups", "authorized_keys", "exclusive", "sudo"}

// users reads gofleet_users. An entry that is wrong keeps its place.
func (n *node) users() []User {
	const example = "write a list, like [{name: app, uid: 1500, authorized_keys: [ssh-ed25519 AAAA…]}]"
	items, ok := n.v.([]any)
	if !ok {
		n.fail(example, "must be a list, not %s", kind(n.v))
		return nil
	}
	if len(items) == 0 {
		return nil
	}
	out := make([]User, len(items))
	for i, item := range items {
		if u := n.child(itoa(i), item).user(); u != nil {
			out[i] = *u
		}
	}
	return out
}

// user reads gofleet_user or an entry of gofleet_users, which is not null.
func (n *node) user() *User {
	const example = "write it like {name: deploy, authorized_keys: [ssh-ed25519 AAAA…]}"
	if m, ok := n.v.(map[string]any); ok && m["state"] != nil {
		n.child("state", nil).fail("drop the entry: keys, groups and the sudo rule that gofleet gave go then, and the account stays",
			"there is no state of an account")
		return nil
	}
	m, ok := n.dict(userKeys, example)
	if !ok {
		return nil
	}
	u := &User{Shell: DefaultShell}
	if c := m["name"]; c.null() {
		n.fail(example, "has no name")
	} else if name, ok := c.accountName("user"); ok {
		u.Name = name
		if name == "root" {
			c.fail("name an ordinary account, like deploy", "root is not an account that gofleet keeps")
		}
	}
	u.UID, u.GID = m["uid"].id(), m["gid"].id()
	set(m["group"], &u.Group, func(n *node) (string, bool) { return n.accountName("group") })
	set(m["home"], &u.Home, (*node).home)
	if c := m["shell"]; !c.null() {
		if shell, ok := c.absolute(); ok {
			if strings.IndexFunc(shell, func(r rune) bool { return !pathRune(r) }) >= 0 || shell == "/" {
				c.fail("write it like "+DefaultShell, "%s cannot be a shell", quote(shell))
			}
			u.Shell = shell
		}
	}
	if c := m["groups"]; !c.null() {
		u.Groups = c.groups()
	}
	keys := m["authorized_keys"]
	if !keys.null() {
		u.AuthorizedKeys = keys.authorizedKeys()
	}
	if c := m["exclusive"]; !c.null() {
		if u.Exclusive = c.boolean(); u.Exclusive && keys.null() {
			c.fail("write authorized_keys: [] if no key is to log in to it", "would take every key away: there are no authorized_keys")
		}
	}
	if c := m["sudo"]; !c.null() {
		u.Sudo = c.sudo()
		if len(u.Sudo) > 0 && isSudoAlias(u.Name) {
			m["name"].fail("choose a name with lower-case letters, or set sudo to none", "sudo takes the name %s for an alias", u.Name)
		}
	}
	return u
}

// id reads a uid or gid; 0 is none, or not a valid one.
func (n *node) id() uint32 {
	if n.null() {
		return 0
	}
	i, ok := n.integer(0, maxID)
	if ok && i == 0 {
		n.fail("name an ordinary account", "is 0, which is root")
	}
	return uint32(i)
}

// home reads a home directory: one that useradd takes, and no directory of the
// system's.
func (n *node) home() (string, bool) {
	const example = "write a directory of the account's own, like /srv/app"
	p, ok := n.absolute()
	switch {
	case !ok:
		return "", false
	case strings.ContainsFunc(p, func(r rune) bool { return !pathRune(r) }):
		n.fail("use letters, digits and . _ - + @ = , only", "%s cannot be a home", quote(p))
	case slices.Contains(systemDirs, p) || inSystemTree(p):
		n.fail(example, "%s is a directory of the system's", quote(p))
	default:
		return p, true
	}
	return "", false
}

// checkUsers reports users that cannot be beside each other on a host.
func (p *parser) checkUsers(s *Spec) {
	type place struct {
		*node
		name string // as an error calls it
	}
	users := &node{p: p, path: []string{p.o.Prefix + "users"}}
	names, ids, rules := map[string]string{}, map[uint32]string{}, map[string]string{}
	for i, u := range s.Accounts() {
		at := place{&node{p: p, path: []string{p.o.Prefix + "user"}}, p.o.Prefix + "user"}
		if s.User != nil {
			i--
		}
		if i >= 0 {
			at = place{users.child(itoa(i), nil), "the one in " + p.o.Prefix + "users[" + itoa(i) + "]"}
		}
		if u.Name == "" {
			continue
		}
		rule := SudoRule(u.Name)
		switch {
		case names[u.Name] != "":
			at.child("name", nil).fail("keep one of the two", "is the same account as %s", names[u.Name])
		case u.UID != 0 && ids[u.UID] != "":
			at.child("uid", nil).fail("give each account a uid of its own", "is the uid of %s", ids[u.UID])
		case len(u.Sudo) > 0 && rules[rule] != "":
			at.child("sudo", nil).fail("rename one of the accounts", "the sudo rules of %s and %s would be one file, %s", rules[rule], u.Name, rule)
		}
		names[u.Name] = at.name
		if u.UID != 0 {
			ids[u.UID] = at.name
		}
		if len(u.Sudo) > 0 {
			rules[rule] = u.Name
		}
	}
}

// SudoRule is the name of the file that has a user's sudo rule. sudo ignores
// files whose name has a dot or ends in a tilde.
func SudoRule(user string) string {
	return "gofleet-" + strings.NewReplacer(".", "_", "~", "_").Replace(user)
}

// accountName reads the name of a user or group: what useradd accepts, and
// also the capitals and dots that directories have.
func (n *node) accountName(what string) (string, bool) {
	s, ok := n.v.(string)
	if !ok {
		n.fail("quote it", "must be the name of a %s, not %s", what, kind(n.v))
		return "", false
	}
	valid := s != "" && len(s) <= 32
	for i, r := range s {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r == '_'
		digit := r >= '0' && r <= '9' || r == '-' || r == '.'
		valid = valid && (letter || digit && i > 0)
	}
	if !valid {
		n.fail("names have 1 to 32 of letters, digits, _ - and . and begin with a letter or _",
			"%s cannot be the name of a %s", quote(s), what)
	}
	return s, valid
}

// groups reads group names, each once.
func (n *node) groups() []string {
	items, _ := n.list("write a list, like [docker]")
	var out []string
	for _, item := range items {
		if g, ok := item.accountName("group"); ok && !slices.Contains(out, g) {
			out = append(out, g)
		}
	}
	return out
}

// authorizedKeys reads key lines. The same key twice is one key; with other
// options it is an error, for sshd would follow only the first.
func (n *node) authorizedKeys() []string {
	const example = "write a list of public keys, like [ssh-ed25519 AAAA…]"
	items, isList := n.v.([]any)
	if s, text := n.v.(string); text && n.p.o.Lenient {
		isList = true
		for _, line := range strings.Split(s, "\n") {
			if strings.TrimSpace(line) != "" {
				items = append(items, line)
			}
		}
	}
	if !isList {
		n.fail(example, "must be a list, not %s", kind(n.v))
		return nil
	}
	var out []string
	options := map[string]string{}
	for i, item := range items {
		c := n.child(itoa(i), item)
		s, text := item.(string)
		if !text {
			c.fail("quote it", "must be a public key, not %s", kind(item))
			continue
		}
		key, hint, err := ParseAuthorizedKey(s)
		if err != nil {
			c.fail(hint, "%s", err)
			continue
		}
		before, twice := options[key.Type+" "+key.Blob]
		switch {
		case !twice:
			options[key.Type+" "+key.Blob] = key.Options
			out = append(out, key.Line())
		case before != key.Options:
			c.fail("keep one of the two", "is the same key as one above, with other options")
		}
	}
	return out
}

// sudo reads "none" or the commands allowed without a password.
func (n *node) sudo() []string {
	const example = `write none, or a list like ["/usr/bin/systemctl restart app.service"]`
	if s, ok := n.v.(string); ok {
		switch {
		case strings.EqualFold(strings.TrimSpace(s), "none"):
		case strings.EqualFold(strings.TrimSpace(s), "all"):
			n.fail("list the commands", "gofleet gives no account every command")
		default:
			n.fail(example, "must be none or a list of commands, not %s", quote(s))
		}
		return nil
	}
	items, ok := n.v.([]any)
	if !ok {
		n.fail(example, "must be none or a list of commands, not %s", kind(n.v))
		return nil
	}
	var out []string
	for i, item := range items {
		c := n.child(itoa(i), item)
		s, ok := c.text(example)
		if !ok {
			continue
		}
		cmd := strings.Join(strings.Fields(s), " ")
		if hint, problem := sudoCommand(cmd); problem != "" {
			c.fail(hint, "%s %s", quote(cmd), problem)
		} else if !slices.Contains(out, cmd) {
			out = append(out, cmd)
		}
	}
	return out
}

// isSudoAlias reports whether a sudoers file would take a name for an alias.
func isSudoAlias(s string) bool {
	return s != "" && s[0] >= 'A' && s[0] <= 'Z' && strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") == ""
}

// sudoCommand says what is wrong with a command for a sudoers file, if
// anything is. What passes means itself, once the writer of the file has put
// a backslash before each of , : = # and !.
func sudoCommand(cmd string) (hint, problem string) {
	program, args, _ := strings.Cut(cmd, " ")
	isASCII := strings.IndexFunc(cmd, func(r rune) bool { return r >= 0x7f }) < 0
	switch {
	case strings.EqualFold(cmd, "all"):
		return "list the commands", "is refused: gofleet gives no account every command"
	case strings.EqualFold(cmd, "none"):
		return "write sudo: none, without a list", "is not a command"
	case !strings.HasPrefix(program, "/"):
		return "write the absolute path of the program, like /usr/bin/systemctl", "is not an absolute command"
	case strings.ContainsAny(cmd, "*?[]"):
		return "list each command: in sudo rules * also matches spaces and slashes, so it allows more than it seems to",
			"has a wildcard"
	case path.Clean(program) != program || program == "/" || strings.IndexFunc(program, func(r rune) bool { return !pathRune(r) }) >= 0:
		return "write the path of one program, with no slash at its end, no . or .. in it, and no odd characters", "is not the path of a program"
	case strings.Contains(args, `\`):
		return "write it as you would type it; gofleet escapes what sudoers needs", "has a backslash"
	case strings.Contains(args, `"`) && args != `""`:
		return `"" alone means without any argument; sudo takes other quotes literally`, "has quotes"
	case strings.HasPrefix(args, "^"):
		return "write the arguments themselves", "has a regular expression"
	case !isASCII:
		return "use ASCII", "has a character that sudoers files may not show as it is"
	}
	return "", ""
}
