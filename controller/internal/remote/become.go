package remote

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/gofleet/gofleet/agent/wire"
)

// becomeMethod is a program that makes a command another user's.
type becomeMethod struct {
	exe   string
	flags []string // where the inventory gives none
	// words is the command up to and with the shell, behind which -c and the
	// script go. prompt is empty where there is no password to give.
	words func(exe, flags []string, user, prompt string) []string
	// onTerminal: passwords are read from a terminal only.
	onTerminal bool
	// ownPrompt: the method shows the prompt that words was given. Without
	// it, prompt is what the program prints by itself.
	ownPrompt string
	// wantTTY is what it says where a terminal may help, in lower case.
	wantTTY []string
	// verdicts are what it says when it refuses, in the C locale.
	verdicts []verdict
}

// verdict explains a line of stderr.
type verdict struct {
	has     string // in lower case
	kind    wire.Kind
	message string
	hint    string
}

const (
	hintTTY    = "the inventory forbids a terminal (ansible_ssh_use_tty, RequestTTY), or the host gives none: take that out, or exempt the login user with Defaults:USER !requiretty"
	hintAsk    = "give the password with -K or ansible_become_password, or let the user run it without one (NOPASSWD); a user who may not become at all looks the same from here"
	hintDoas   = "give the password with -K or ansible_become_password, or let the user run it without one: permit nopass USER as root"
	hintDenied = "allow the login user in sudoers, or log in as another one; docs/security.md says what rights it needs"
)

var becomeMethods = map[string]becomeMethod{
	"sudo": {exe: "sudo", flags: []string{"-H"}, words: sudoWords, wantTTY: []string{"must have a tty"}, verdicts: []verdict{
		{"a password is required", wire.KindBecomePassword, "sudo wants a password", hintAsk},
		{"no password was provided", wire.KindBecomePassword, "sudo wants a password", hintAsk},
		{"incorrect password", wire.KindBecomePassword, "sudo does not accept the password", "check -K or ansible_become_password"},
		{"sorry, try again", wire.KindBecomePassword, "sudo does not accept the password", "check -K or ansible_become_password"},
		{"must have a tty", wire.KindBecomeDenied, "sudo is set up to work on a terminal only (requiretty)", hintTTY},
		{"not in the sudoers file", wire.KindBecomeDenied, "the user may not use sudo", hintDenied},
		{"may not run sudo", wire.KindBecomeDenied, "the user may not use sudo", hintDenied},
		{"is not allowed to execute", wire.KindBecomeDenied, "sudo does not allow the user a shell", hintDenied},
		{"is not allowed to run sudo", wire.KindBecomeDenied, "the user may not use sudo", hintDenied},
		{"unknown user", wire.KindBecomeDenied, "the host has no user to become", "check ansible_become_user"},
		{"no new privileges", wire.KindBecomeDenied, "sudo cannot work where no_new_privs is set", "sshd runs in a container or unit that forbids it"},
		{"setuid", wire.KindBecomeDenied, "sudo is not set up with its setuid bit", "install sudo again, and look for nosuid on its filesystem"},
		{"account validation failure", wire.KindBecomeDenied, "sudo does not accept the user's account", "is it locked or expired?"},
		{"account management error", wire.KindBecomeDenied, "sudo does not accept the user's account", "is it locked or expired?"},
		{"terminal is required", wire.KindBecomePassword, "sudo wants a password", hintAsk},
		{"no valid sudoers", wire.KindBecomeDenied, "sudo cannot read its sudoers file", "run visudo -c on the host"},
		{"syntax error", wire.KindBecomeDenied, "sudo cannot read its sudoers file", "run visudo -c on the host"},
		{"parse error", wire.KindBecomeDenied, "sudo cannot read its sudoers file", "run visudo -c on the host"},
	}},
	"su": {exe: "su", words: suWords, ownPrompt: "Password: ", wantTTY: []string{"must be run from a terminal"}, verdicts: []verdict{
		{"authentication failure", wire.KindBecomePassword, "su does not accept the password", "check -K or ansible_become_password: su wants that of the user to become"},
		{"must be run from a terminal", wire.KindBecomeDenied, "su works on a terminal only", hintTTY},
		{"permission denied", wire.KindBecomeDenied, "the user may not use su", "the user may have to be in the group wheel"},
		{"does not exist", wire.KindBecomeDenied, "the host has no user to become", "check ansible_become_user"},
	}},
	"doas": {exe: "doas", words: doasWords, onTerminal: true, ownPrompt: "password: ", wantTTY: []string{"authentication required", "a tty is required"}, verdicts: []verdict{
		{"authentication failed", wire.KindBecomePassword, "doas does not accept the password", "check -K or ansible_become_password: doas wants that of the login user"},
		{"authentication required", wire.KindBecomePassword, "doas wants a password", hintDoas},
		{"a tty is required", wire.KindBecomePassword, "doas wants a password", hintDoas},
		{"operation not permitted", wire.KindBecomeDenied, "the user may not use doas", "allow it in doas.conf: permit nopass USER as root"},
		{"doas is not enabled", wire.KindBecomeDenied, "doas is not set up", "write a doas.conf: permit nopass USER as root"},
		{"not installed setuid", wire.KindBecomeDenied, "doas is not set up with its setuid bit", "install doas again"},
		{"unknown user", wire.KindBecomeDenied, "the host has no user to become", "check ansible_become_user"},
	}},
}

func sudoWords(exe, flags []string, user, prompt string) []string {
	w := slices.Clone(exe)
	// -S and -n come from us: which of them, the password decides.
	for _, f := range flags {
		if f != "-S" && f != "-n" && f != "--stdin" && f != "--non-interactive" {
			w = append(w, f)
		}
	}
	if prompt == "" {
		w = append(w, "-n")
	} else {
		w = append(w, "-S", "-p", prompt)
	}
	return append(w, "-u", user, "--", "sh")
}

func suWords(exe, flags []string, user, _ string) []string {
	return slices.Concat(exe, flags, []string{user, "-s", "/bin/sh"})
}

func doasWords(exe, flags []string, user, prompt string) []string {
	w := slices.Clone(exe)
	for _, f := range flags {
		if f != "-n" {
			w = append(w, f)
		}
	}
	if prompt == "" {
		w = append(w, "-n")
	}
	return append(w, "-u", user, "--", "sh")
}

// errNoPassword is why a method that asks gets no answer.
var errNoPassword = errors.New("no password is given")

// becoming is one use of a method.
type becoming struct {
	name, user string
	method     becomeMethod
	words      []string
	prompt     string                 // what to wait for; empty: no password is sent
	password   func() (string, error) // not nil with prompt
	terminal   bool                   // another try on a terminal would change nothing
}

// newBecoming prepares b. secret is random, so that nobody can print our
// prompt; tty says that there is a terminal.
func newBecoming(b *Become, secret string, tty bool) (*becoming, error) {
	name := strings.TrimPrefix(cmp.Or(b.Method, "sudo"), "ansible.builtin.")
	name = strings.TrimPrefix(name, "community.general.")
	m, ok := becomeMethods[name]
	if !ok {
		return nil, wire.NewError(wire.KindBecomeMissing, fmt.Errorf("become method %q is not supported", b.Method), "set ansible_become_method to sudo, su or doas")
	}
	out := &becoming{name: name, user: cmp.Or(b.User, "root"), method: m}
	if strings.HasPrefix(out.user, "-") {
		return nil, wire.NewError(wire.KindBecomeDenied, fmt.Errorf("%q is not a user", out.user), "check ansible_become_user")
	}
	exe, err := splitWords(cmp.Or(b.Exe, m.exe))
	if err != nil || len(exe) == 0 {
		return nil, wire.NewError(wire.KindBecomeMissing, fmt.Errorf("become program %q: %w", b.Exe, err), "check ansible_become_exe")
	}
	flags := m.flags
	if b.Flags != "" {
		if flags, err = splitWords(b.Flags); err != nil {
			return nil, wire.NewError(wire.KindBecomeMissing, fmt.Errorf("become flags: %w", err), "check ansible_become_flags")
		}
	}
	out.terminal = tty || m.onTerminal && b.Password == nil
	if b.Password != nil && (tty || !m.onTerminal) {
		out.password = b.Password
		out.prompt = cmp.Or(m.ownPrompt, "[gofleet "+secret+"] password: ")
	} else if m.ownPrompt != "" && !m.onTerminal {
		// It asks whatever it is told, and would wait for an answer.
		out.prompt, out.password = m.ownPrompt, func() (string, error) { return "", errNoPassword }
	}
	out.words = m.words(exe, flags, out.user, out.prompt)
	return out, nil
}

// explain finds what the program said when it refused, or nil. It is a
// *terminalError where a terminal may help.
func (b *becoming) explain(stderr []string) error {
	for _, v := range b.method.verdicts {
		for _, l := range stderr {
			if strings.Contains(strings.ToLower(l), v.has) {
				e := &wire.Error{Kind: v.kind, Message: fmt.Sprintf("become %s: %s (%s)", b.user, v.message, strings.TrimSpace(l)), Hint: v.hint}
				if slices.Contains(b.method.wantTTY, v.has) && !b.terminal {
					return &terminalError{e}
				}
				return e
			}
		}
	}
	return nil
}
