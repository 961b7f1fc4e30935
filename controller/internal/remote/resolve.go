package remote

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// settings are all that a dial needs, resolved from Target, arguments,
// ssh_config and Dialer.
type settings struct {
	options
	name    string // the inventory's, for messages
	host    string // to connect to
	timeout time.Duration
	retries int
	accept  bool     // record unknown host keys
	keys    []string // files, in order of trial
	named   []string // those of keys that somebody named, so that their absence matters
	jumps   []settings
	via     *sshTransport // the jump host before this one, while that is dialled

	keepAlive time.Duration // the Dialer's; 0: ServerAliveInterval
}

// addr is host:port, with IPv6 in brackets.
func (s *settings) addr() string { return net.JoinHostPort(s.host, strconv.Itoa(s.port)) }

const defaultTimeout = 10 * time.Second
const defaultRetries = 3

func (d *Dialer) home() string {
	if d.Home != "" {
		return d.Home
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "/"
	}
	return home
}

func (d *Dialer) localUser() string {
	if d.LocalUser != "" {
		return d.LocalUser
	}
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return os.Getenv("USER")
}

func (d *Dialer) warn(format string, args ...any) {
	if d.Warn == nil {
		return
	}
	text := fmt.Sprintf(format, args...)
	if d.shared.firstWarning(text) {
		d.Warn(text)
	}
}

// resolve finds the settings of a host. Inventory variables come before
// arguments, and those before ssh_config, as with Ansible and ssh.
func (d *Dialer) resolve(t Target) (*settings, error) {
	args, err := parseArgs(t.Args)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", t.Name, err)
	}
	s := &settings{name: t.Name}
	alias := cmp.Or(t.Host, t.Name)
	if t.User != "" {
		s.user = t.User
		s.mark("user")
	}
	if t.Port != 0 {
		s.port = t.Port
		s.mark("port")
	}
	s.identityFiles = slices.Clone(t.KeyFiles)
	if t.TTY != nil {
		s.tty = t.TTY
		s.mark("requesttty")
	}
	if t.AcceptNew || d.AcceptNewHostKeys {
		s.strict = "accept-new"
		s.mark("stricthostkeychecking")
	}
	for _, l := range args.options {
		refused, err := s.apply(l)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", t.Name, err)
		}
		if refused != "" {
			return nil, fmt.Errorf("%s: ssh option %s in ansible_ssh_args, ansible_ssh_common_args or ansible_ssh_extra_args is not supported: %s", t.Name, l.keyword, refused)
		}
	}
	if err := d.applyConfig(s, alias, args.config); err != nil {
		return nil, err
	}
	return s, d.finish(s, t, alias)
}

// applyConfig applies the ssh_config files to an alias.
func (d *Dialer) applyConfig(s *settings, alias, file string) error {
	lines, err := d.shared.config(d, file)
	if err != nil {
		return err
	}
	e := evaluation{d: d, settings: s, alias: alias}
	if err := e.pass(lines); err != nil {
		return err
	}
	if e.wantsFinal {
		e.final = true
		return e.pass(lines)
	}
	return nil
}

// finish fills in defaults and tokens, and the jump hosts.
func (d *Dialer) finish(s *settings, t Target, alias string) error {
	s.host = alias
	if s.hostName != "" {
		s.host = expandTokens(s.hostName, map[byte]string{'h': alias})
	}
	// The zone of an IPv6 address is an interface, whose name has capitals.
	name, zone, zoned := strings.Cut(strings.TrimSuffix(strings.TrimPrefix(s.host, "["), "]"), "%")
	if s.host = strings.ToLower(name); zoned {
		s.host += "%" + zone
	}
	s.port = cmp.Or(s.port, 22)
	s.user = cmp.Or(s.user, d.localUser())
	if strings.HasPrefix(s.host, "-") || strings.ContainsAny(s.host, " \t\r\n\x00") {
		return fmt.Errorf("%s: %q is not a host name", t.Name, s.host)
	}
	s.timeout = cmp.Or(t.Timeout, d.Timeout, s.connectTimeout, defaultTimeout)
	s.retries = cmp.Or(d.Retries, max(s.attempts-1, 0), defaultRetries)
	if t.Retries != nil {
		s.retries = *t.Retries
	}
	s.keepAlive = d.KeepAlive
	s.accept = s.strict == "accept-new"
	tokens := s.tokens(d, alias)
	s.named = nil
	for _, f := range s.identityFiles {
		if f != "none" {
			s.named = append(s.named, d.path(f, tokens))
		}
	}
	s.keys = s.named
	if len(s.identityFiles) == 0 {
		for _, f := range []string{"id_ed25519", "id_ecdsa", "id_rsa", "id_ed25519_sk", "id_ecdsa_sk"} {
			s.keys = append(s.keys, filepath.Join(d.home(), ".ssh", f))
		}
	}
	for i, f := range s.certificates {
		s.certificates[i] = d.path(f, tokens)
	}
	d.finishKnownHosts(s, tokens)
	if s.revokedHostKeys == "none" {
		s.revokedHostKeys = ""
	}
	if s.revokedHostKeys != "" {
		s.revokedHostKeys = d.path(s.revokedHostKeys, tokens)
	}
	if s.proxyCommand != "" {
		s.proxyCommand = expandTokens(s.proxyCommand, tokens)
	}
	return d.resolveJumps(s, t)
}

func (d *Dialer) finishKnownHosts(s *settings, tokens map[byte]string) {
	if d.KnownHosts != nil {
		s.knownHosts, s.globalKnownHosts = d.KnownHosts, nil
		return
	}
	if s.knownHosts == nil {
		s.knownHosts = []string{"~/.ssh/known_hosts", "~/.ssh/known_hosts2"}
	}
	if s.globalKnownHosts == nil {
		s.globalKnownHosts = []string{"/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2"}
	}
	s.knownHosts, s.globalKnownHosts = slices.Clone(s.knownHosts), slices.Clone(s.globalKnownHosts)
	for _, files := range [][]string{s.knownHosts, s.globalKnownHosts} {
		for i, f := range files {
			files[i] = d.path(f, tokens)
		}
	}
}

// path expands ~, tokens and ${VARIABLES} of a file name.
func (d *Dialer) path(f string, tokens map[byte]string) string {
	f = expandHome(f, d.home())
	f = expandTokens(f, tokens)
	if strings.Contains(f, "${") {
		f = os.Expand(f, os.Getenv)
	}
	return f
}

func (s *settings) tokens(d *Dialer, alias string) map[byte]string {
	local, _ := os.Hostname()
	short, _, _ := strings.Cut(local, ".")
	return map[byte]string{
		'd': d.home(), 'h': s.host, 'i': strconv.Itoa(os.Getuid()), 'k': cmp.Or(s.hostKeyAlias, alias),
		'L': short, 'l': local, 'n': alias, 'p': strconv.Itoa(s.port), 'r': s.user, 'u': d.localUser(),
	}
}

// expandTokens replaces %x; unknown tokens stay as they are.
func expandTokens(s string, tokens map[byte]string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '%' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		i++
		if v, ok := tokens[s[i]]; ok {
			b.WriteString(v)
		} else if s[i] == '%' {
			b.WriteByte('%')
		} else {
			b.WriteString(s[i-1 : i+1])
		}
	}
	return b.String()
}

// evaluation applies ssh_config's lines to one alias.
type evaluation struct {
	*settings
	d                 *Dialer
	alias             string
	final, wantsFinal bool
}

func (e *evaluation) pass(lines []configLine) error {
	type scope struct{ active, never bool }
	now := scope{active: true}
	var outer []scope
	for _, l := range lines {
		switch l.keyword {
		case includeBegin:
			outer = append(outer, now)
			now.never = !now.active
		case includeFile: // each file begins in the scope of the Include
			now.active = outer[len(outer)-1].active
		case includeEnd:
			now, outer = outer[len(outer)-1], outer[:len(outer)-1]
		case "host":
			now.active = !now.never && patternList(l.args, e.alias)
		case "match":
			matches, err := e.match(l, now.never)
			if err != nil {
				return err
			}
			now.active = matches
		default:
			if !now.active {
				continue
			}
			refused, err := e.apply(l)
			if err != nil {
				return err
			}
			if refused != "" {
				e.d.warn("%s: ssh option %s is not supported and was left out: %s", l.where(), l.keyword, refused)
			}
		}
	}
	return nil
}

// match evaluates the criteria of a Match line.
func (e *evaluation) match(l configLine, never bool) (bool, error) {
	result := !never
	for i := 0; i < len(l.args); i++ {
		criterion, negated := strings.CutPrefix(strings.ToLower(l.args[i]), "!")
		hit := false
		switch criterion {
		case "all":
			hit = true
		case "canonical": // names are never canonicalised here
		case "final":
			e.wantsFinal, hit = true, e.final
		case "host", "originalhost", "user", "localuser", "tagged", "exec":
			if i++; i == len(l.args) {
				return false, fmt.Errorf("%s: Match %s needs a value", l.where(), criterion)
			}
			if !result {
				continue // an exec that cannot matter is not run
			}
			hit = e.criterion(criterion, l.args[i])
		default:
			return false, fmt.Errorf("%s: Match %s is not supported", l.where(), criterion)
		}
		result = result && hit != negated
	}
	return result, nil
}

func (e *evaluation) criterion(name, value string) bool {
	patterns := strings.Split(value, ",")
	switch name {
	case "host":
		return patternList(patterns, expandTokens(cmp.Or(e.hostName, e.alias), map[byte]string{'h': e.alias}))
	case "originalhost":
		return patternList(patterns, e.alias)
	case "user":
		return patternList(patterns, cmp.Or(e.user, e.d.localUser()))
	case "localuser":
		return patternList(patterns, e.d.localUser())
	case "tagged":
		return patternList(patterns, e.tag)
	}
	s := *e.settings
	s.host, s.port, s.user = cmp.Or(s.hostName, e.alias), cmp.Or(s.port, 22), cmp.Or(s.user, e.d.localUser())
	ctx, cancel := context.WithTimeout(context.Background(), defaultTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", expandTokens(value, s.tokens(e.d, e.alias)))
	cmd.WaitDelay = time.Second
	return cmd.Run() == nil
}

// maxJumps bounds a chain of jump hosts, and a jump host that jumps over itself.
const maxJumps = 8

// resolveJumps resolves the hosts of ProxyJump, each with ssh_config.
func (d *Dialer) resolveJumps(s *settings, t Target) error {
	if s.proxyJump == "" {
		return nil
	}
	for hop := range strings.SplitSeq(s.proxyJump, ",") {
		jt, err := parseJump(strings.TrimSpace(hop))
		if err != nil {
			return fmt.Errorf("%s: ProxyJump: %w", s.name, err)
		}
		if jt.Host == cmp.Or(t.Host, t.Name) && cmp.Or(jt.Port, s.port) == s.port {
			continue // "Host *" with a ProxyJump matches the jump host too
		}
		jt.Name = "jump host " + jt.Host
		jt.AcceptNew, jt.Timeout, jt.Retries = t.AcceptNew, t.Timeout, t.Retries
		if len(s.jumps) > 0 {
			// The hops of a list go through each other, whatever ssh_config
			// says of theirs.
			jt.Args = []string{"-o", "ProxyJump=none"}
		}
		if t.depth >= maxJumps {
			return fmt.Errorf("%s: ProxyJump: more than %d jump hosts behind each other", s.name, maxJumps)
		}
		jt.depth = t.depth + 1
		js, err := d.resolve(jt)
		if err != nil {
			return err
		}
		s.jumps = append(s.jumps, *js)
	}
	return nil
}

// parseJump reads [user@]host[:port] and ssh://[user@]host[:port].
func parseJump(hop string) (Target, error) {
	rest := strings.TrimPrefix(hop, "ssh://")
	var t Target
	if i := strings.LastIndexByte(rest, '@'); i >= 0 {
		t.User, rest = rest[:i], rest[i+1:]
	}
	t.Host = rest
	if host, port, err := net.SplitHostPort(rest); err == nil {
		if t.Port, err = strconv.Atoi(port); err != nil || t.Port < 1 || t.Port > 65535 {
			return t, fmt.Errorf("%q is not a port in %q", port, hop)
		}
		t.Host = host
	}
	t.Host = strings.Trim(t.Host, "[]")
	if t.Host == "" {
		return t, errors.New("a jump host without a name")
	}
	return t, nil
}

// jumpName names the jump host in front of s.
func (s *settings) jumpName() string {
	if s.via != nil {
		return "jump host " + s.via.addr
	}
	return s.jumps[len(s.jumps)-1].name
}
