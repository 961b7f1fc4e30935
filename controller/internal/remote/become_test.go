package remote

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gofleet/gofleet/agent/wire"
)

const opPassword = "right horse"

func given(password string) func() (string, error) {
	return func() (string, error) { return password, nil }
}

func TestSudo(t *testing.T) {
	s := startSSHD(t, sshdOptions{setup: `
echo "few ALL=(ALL) NOPASSWD: /usr/bin/id" >>/etc/sudoers.d/gofleet-test
echo "few:x:6012:6012::/tmp:/bin/sh" >>/etc/passwd
echo "few:$(openssl passwd -6 "right horse"):19000::::::" >>/etc/shadow
`})
	become := func(user string, b Become) (*Session, error) {
		target := s.target(user)
		target.Become = &b
		return s.dial(target).StartAgent(testContext(t), launchOf(t))
	}
	works := func(name, user string, b Become, uid int) {
		t.Helper()
		session, err := become(user, b)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			return
		}
		defer session.Close()
		if session.Hello.UID != uid {
			t.Errorf("%s: became %d, want %d", name, session.Hello.UID, uid)
		}
		// The password, if any, has reached nobody: the agent's first line is ours.
		if got := ask(t, session, "first"); got != "first" {
			t.Errorf("%s: the agent read %q before our first line", name, got)
		}
	}
	works("no password wanted, none given", "admin", Become{}, 0)
	works("no password wanted, one given", "admin", Become{Password: given("secret word")}, 0)
	works("password wanted and given", "op", Become{Password: given(opPassword)}, 0)
	works("another user", "admin", Become{User: "guest"}, 6003)
	works("flags and program", "op", Become{Exe: "/usr/bin/sudo", Flags: "-H -S -n", Password: given(opPassword)}, 0)

	asked := 0
	for name, c := range map[string]struct {
		user  string
		b     Become
		kind  wire.Kind
		words []string
	}{
		"password wanted, none given": {"op", Become{}, wire.KindBecomePassword, []string{"wants a password", "-K"}},
		"su, no password given":       {"op", Become{Method: "su"}, wire.KindBecomePassword, []string{"su wants a password", "that of root", "-K"}},
		"wrong password":              {"op", Become{Password: func() (string, error) { asked++; return "wrong horse", nil }}, wire.KindBecomePassword, []string{"does not accept the password"}},
		"no sudo, no password":        {"guest", Become{}, wire.KindBecomePassword, []string{"-K"}},
		"unknown user":                {"admin", Become{User: "nobody-here"}, wire.KindBecomeDenied, []string{"ansible_become_user"}},
		"other commands only":         {"few", Become{Password: given(opPassword)}, wire.KindBecomeDenied, []string{"does not allow"}},
		"no such program":             {"admin", Become{Exe: "/opt/sudo"}, wire.KindBecomeMissing, []string{"/opt/sudo"}},
		"password with a newline":     {"op", Become{Password: given("two\nlines")}, wire.KindBecomePassword, []string{"newline"}},
		"password not to be had":      {"op", Become{Password: func() (string, error) { return "", errors.New("no terminal") }}, wire.KindBecomePassword, []string{"no terminal"}},
		"user that is an option":      {"admin", Become{User: "-s"}, wire.KindBecomeDenied, nil},
		"unknown method":              {"admin", Become{Method: "runas"}, wire.KindBecomeMissing, []string{"runas"}},
	} {
		session, err := become(c.user, c.b)
		if err == nil {
			session.Close()
			t.Errorf("%s: no error", name)
			continue
		}
		w := wire.AsError(err, "none")
		if w.Kind != c.kind || w.Retryable {
			t.Errorf("%s: kind %s, want %s, retryable %v: %v", name, w.Kind, c.kind, w.Retryable, err)
		}
		text := w.Message + "\n" + w.Hint
		for _, word := range c.words {
			if !strings.Contains(text, word) {
				t.Errorf("%s: %q does not say %q", name, text, word)
			}
		}
		for _, secret := range []string{opPassword, "wrong horse", "two", "[gofleet"} {
			if strings.Contains(text, secret) {
				t.Errorf("%s: %q holds a secret or a prompt", name, text)
			}
		}
	}
	if asked != 1 {
		t.Errorf("the wrong password was asked for and sent %d times", asked)
	}
	if strings.Contains(s.log.String(), opPassword) {
		t.Error("the password is in sshd's log")
	}

	// A user who is not in sudoers but gives a password.
	s.inside(`echo "guest:$(openssl passwd -6 "right horse"):19000::::::" >/tmp/g && sed -i "/^guest:/d" /etc/shadow && cat /tmp/g >>/etc/shadow; rm /tmp/g`)
	_, err := become("guest", Become{Password: given(opPassword)})
	wantKind(t, err, wire.KindBecomeDenied, "may not use sudo")

	s.inside("mv /etc/sudoers /etc/sudoers.away")
	_, err = become("admin", Become{})
	wantKind(t, err, wire.KindBecomeDenied)
	s.inside("mv /etc/sudoers.away /etc/sudoers")

	t.Run("password is in no process list", func(t *testing.T) {
		// While the agent runs, sudo and the shells above it do too.
		session, err := become("op", Become{Password: given(opPassword)})
		if err != nil {
			t.Fatal(err)
		}
		defer session.Close()
		all, err := filepath.Glob("/proc/[0-9]*/cmdline")
		if err != nil {
			t.Fatal(err)
		}
		ours := false
		for _, f := range all {
			line, err := os.ReadFile(f)
			if err != nil {
				continue
			}
			ours = ours || strings.Contains(string(line), "gofleet-agent")
			if strings.Contains(string(line), opPassword) && !strings.Contains(string(line), "openssl") {
				t.Errorf("the password is in %s: %q", f, line)
			}
		}
		if !ours {
			t.Error("the agent is not in the process list: this test sees nothing")
		}
	})
}

// Something that asks for a code instead of the password must not get it, and
// must not hang the run.
func TestSudoAsksForSomethingElse(t *testing.T) {
	s := startSSHD(t, sshdOptions{setup: `printf '#!/bin/sh\nprintf "Verification code: " >&2\nread -r x; echo "got $x" >&2; exit 1\n' >/usr/local/bin/sudo-code; chmod 755 /usr/local/bin/sudo-code`})
	d := s.dialer()
	d.StartTimeout = time.Second
	target := s.target("admin")
	target.Become = &Become{Exe: "/usr/local/bin/sudo-code", Password: given(opPassword)}
	c, err := d.Dial(testContext(t), target)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, err = c.StartAgent(testContext(t), launchOf(t))
	wantKind(t, err, wire.KindBecomePassword, "something else", "Verification code")
}

func TestSu(t *testing.T) {
	s := startSSHD(t, sshdOptions{setup: `echo "root:$(openssl passwd -6 "root word"):19000::::::" >/tmp/r$$; sed -i "/^root:/d" /etc/shadow; cat /tmp/r$$ >>/etc/shadow; rm /tmp/r$$`})
	target := s.target("guest")
	target.Become = &Become{Method: "su", Password: given("root word")}
	session := start(t, s.dial(target), launchOf(t))
	if h := session.Hello; h.UID != 0 || h.LoginUID != 6003 {
		t.Errorf("hello is %+v", h)
	}
	target.Become = &Become{Method: "su", Password: given("not it")}
	_, err := s.dial(target).StartAgent(testContext(t), launchOf(t))
	wantKind(t, err, wire.KindBecomePassword, "su does not accept")
}

// TestDoas runs the machine's own doas.
func TestDoas(t *testing.T) {
	s := startSSHD(t, sshdOptions{setup: `printf 'auth required pam_unix.so\naccount required pam_unix.so\nsession required pam_permit.so\n' >/etc/pam.d/doas
printf 'permit nopass admin as root\npermit op as root\n' >/etc/doas.conf; chmod 600 /etc/doas.conf`})
	become := func(user string, password func() (string, error)) (*Session, error) {
		target := s.target(user)
		target.Become = &Become{Method: "doas", Password: password}
		return s.dial(target).StartAgent(testContext(t), launchOf(t))
	}
	for user, password := range map[string]func() (string, error){"admin": nil, "op": given(opPassword)} {
		session, err := become(user, password)
		if err != nil {
			t.Errorf("%s: %v", user, err)
			continue
		}
		if session.Hello.UID != 0 {
			t.Errorf("hello is %+v", session.Hello)
		}
		talk(t, session)
		session.Close()
	}
	_, err := become("guest", nil)
	wantKind(t, err, wire.KindBecomeDenied)
	_, err = become("op", nil)
	wantKind(t, err, wire.KindBecomePassword, "wants a password", "-K")
	_, err = become("op", given("wrong horse"))
	wantKind(t, err, wire.KindBecomePassword, "does not accept")
}
