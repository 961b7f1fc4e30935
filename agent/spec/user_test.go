package spec_test

import (
	"encoding/base64"
	"encoding/binary"
	"reflect"
	"strings"
	"testing"

	"github.com/gofleet/gofleet/agent/spec"
)

// Public keys made with ssh-keygen for this test.
const (
	ecdsa256 = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBJTkMInkCuCxXTfqvyJBCPVw7uc3a+B2Oe7qogFNOM1pAik4LuqHK+9HMXlRWL053MrY95eL9Sq8nznc2OZ+EZk="
	ecdsa384 = "ecdsa-sha2-nistp384 AAAAE2VjZHNhLXNoYTItbmlzdHAzODQAAAAIbmlzdHAzODQAAABhBKjZAiN+btUtYBy0hkP1E40KQB28z5RGFDuHFzDD2m3UCnDsqNbcQeTaBzHnpt9QKBvL9e5XLCyLQsUmpFovIPFONYmkWwckTmhro1F8Kja6RYuu0CfRgVBFpfNnsRUiIA=="
	ecdsa521 = "ecdsa-sha2-nistp521 AAAAE2VjZHNhLXNoYTItbmlzdHA1MjEAAAAIbmlzdHA1MjEAAACFBAFRoHQGDhSTLtyd1e3MxGZM/e+Qy4MwiBUQzqs0kP5TyXkiQi1HEDscT3hPiPnL4kuGiJPVTIpPlMND61cVMVW/GQGCVVJay1WaMQ1VPQrPHaJthgBFBILLvEga/xDO9o61r3EQMkwJs3JOD5kRcDP9nCgGzvnPPvNPJt+6c49rMuEfdg=="
	rsa1024  = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQC09+Ui0k6xbseAPtBvz9LRx2A/5bTXNq91PAzT8Qq0M9yj7Y0J0f+PmAWcQrIXRsaIQmOx+c5eY02MmIyKc00fLO8lHqg0ntrGcxQulxy5ygdqyrHNZkCBBLP1om5tnt7ZZGIpmGveRJRQTFnWX1eTcc170C2QZ8xcEa/aT/lq1w=="
)

// blob encodes the parts of a public key.
func blob(parts ...string) string {
	var b []byte
	for _, p := range parts {
		b = binary.BigEndian.AppendUint32(b, uint32(len(p)))
		b = append(b, p...)
	}
	return base64.StdEncoding.EncodeToString(b)
}

func TestAuthorizedKeys(t *testing.T) {
	ed := strings.Fields(ed25519Key)[0] + " " + strings.Fields(ed25519Key)[1]
	const sk, skEC = "sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com"
	point := "\x04" + strings.Repeat("x", 64)
	for _, good := range []string{
		ed25519Key, ed, ecdsa256, ecdsa384, ecdsa521, rsa1024,
		ed + " a comment of several words, été",
		"restrict " + ed,
		`from="10.0.0.0/8,!10.1.0.0/16",no-pty,command="echo \"hi there\", it's" ` + ed,
		"No-X11-Forwarding\t" + ed,
		`cert-authority,principals="deploy" ` + ed,
		sk + " " + blob(sk, strings.Repeat("k", 32), "ssh:"),
		skEC + " " + blob(skEC, "nistp256", point, "ssh:"),
	} {
		k, _, err := spec.ParseAuthorizedKey(good)
		if err != nil {
			t.Errorf("%s: %v", good, err)
			continue
		}
		if again, _, err := spec.ParseAuthorizedKey(k.Line()); err != nil || again != k {
			t.Errorf("%s: its line is read as %+v, %v; want %+v", good, again, err, k)
		}
	}
	for bad, message := range map[string]string{
		"":                                 "is not a public key",
		"# " + ed:                          "is not a public key",
		"deploy@host":                      "does not begin with a key type or an option",
		ed + "\n" + ed:                     "more than one line",
		ed + "\x00":                        "control character",
		ed + " \x1b[2J":                    "control character",
		strings.TrimSuffix(ed, "f"):        "base64 is cut",
		ed[:40]:                            "is a damaged ssh-ed25519 key",
		ed + "=":                           "base64 is cut",
		"ssh-ed25519":                      "base64 is cut",
		"ssh-ed25519 ":                     "base64 is cut",
		"ssh-rsa " + strings.Fields(ed)[1]: "holds a key of another type",
		"ssh-dss " + blob("ssh-dss", "a", "b", "c", "d"):                                   "no key type that sshd accepts here",
		"ssh-ed25519-cert-v01@openssh.com " + blob("ssh-ed25519-cert-v01@openssh.com"):     "no key type",
		"ssh-ed25519 " + blob("ssh-ed25519", strings.Repeat("k", 31)):                      "has not 32 bytes",
		"ssh-ed25519 " + blob("ssh-ed25519", strings.Repeat("k", 32), "more"):              "too many",
		"ssh-ed25519 " + blob("ssh-ed25519"):                                               "has not 32 bytes",
		sk + " " + blob(sk, strings.Repeat("k", 32)):                                       "too few",
		"ecdsa-sha2-nistp256 " + blob("ecdsa-sha2-nistp256", "nistp384", point):            "no point of its curve",
		"ecdsa-sha2-nistp256 " + blob("ecdsa-sha2-nistp256", "nistp256", point[1:]):        "no point of its curve",
		"ecdsa-sha2-nistp256 " + blob("ecdsa-sha2-nistp256", "nistp256", "\x02"+point[1:]): "no point of its curve",
		"ssh-rsa " + blob("ssh-rsa", "\x01\x00\x01", strings.Repeat("\x7f", 96)):           "fewer than 1024 bits",
		"ssh-rsa " + blob("ssh-rsa", "\x01\x00\x01", strings.Repeat("\xff", 128)):          "modulus is out of range",
		"ssh-rsa " + blob("ssh-rsa", "", strings.Repeat("\x7f", 128)):                      "exponent is out of range",
		"ssh-rsa " + blob("ssh-rsa", "\x03"):                                               "no exponent and modulus",
		`from=10.0.0.0/8 ` + ed:                                                            "not in quotes",
		`from="10.0.0.0/8 ` + ed:                                                           "not in quotes",
		`from="a"b ` + ed:                                                                  "text behind the value",
		`from ` + ed:                                                                       "value missing",
		`no-pty="x" ` + ed:                                                                 "too many",
		`no-ptty ` + ed:                                                                    "an option that sshd knows",
		`restrict,, ` + ed:                                                                 "an option that sshd knows",
		`restrict`:                                                                         "options and no key",
		`restrict deploy`:                                                                  "no key type",
		strings.Repeat("x", 17<<10):                                                        "longer than any public key",
	} {
		k, _, err := spec.ParseAuthorizedKey(bad)
		if err == nil || !strings.Contains(err.Error(), message) {
			t.Errorf("%.80q: %+v, %v; want an error with %q", bad, k, err, message)
		}
	}
}

func TestPrivateKeyIsNotShown(t *testing.T) {
	const secret = "b3BlbnNzaC1rZXktdjEAAAAA"
	errs := parseError(t, user("authorized_keys", list{"-----BEGIN OPENSSH PRIVATE KEY-----\n" + secret + "\n"}), inventory)
	if !strings.Contains(errs.Error(), "is a private key") || strings.Contains(errs.Error(), secret) {
		t.Errorf("error is %v", errs)
	}
}

func TestSameKeyTwice(t *testing.T) {
	ed := strings.Join(strings.Fields(ed25519Key)[:2], " ")
	s := parse(t, user("authorized_keys", list{ed + " first", ed + "  second", rsa1024}))
	if want := []string{ed + " first", rsa1024}; !reflect.DeepEqual(s.User.AuthorizedKeys, want) {
		t.Errorf("keys are %q; want %q", s.User.AuthorizedKeys, want)
	}
	check(t, inventory, []one{{
		user("authorized_keys", list{ed, "restrict " + ed}),
		"gofleet_user.authorized_keys[1]", "is the same key as one above, with other options", "keep one",
	}})
}

func TestUser(t *testing.T) {
	tests := []one{
		{vars: v("user", nil)},
		{vars: v("user", dict{"name": "svc.deploy-1_x", "shell": nil, "groups": nil, "authorized_keys": nil, "sudo": nil})},
		{vars: user("sudo", "none")},
		{vars: user("sudo", list{})},
		{v("user", "deploy"), "gofleet_user", "must be a dictionary, not text", "{name: deploy"},
		{v("user", dict{}), "gofleet_user", "has no name", "{name: deploy"},
		{v("user", dict{"name": "root"}), "gofleet_user.name", "root is not an account that gofleet keeps", "ordinary"},
		{v("user", dict{"name": int64(1000)}), "gofleet_user.name", "must be the name of a user, not a number", "quote"},
		{v("user", dict{"name": "DEPLOY", "sudo": list{"/bin/id"}}), "gofleet_user.name", "for an alias", "lower-case"},
		{vars: v("user", dict{"name": "DEPLOY"})},
		{user("shell", "bash"), "gofleet_user.shell", "is not an absolute path", ""},
		{user("shell", "/bin/sh:x"), "gofleet_user.shell", "cannot be a shell", "/bin/bash"},
		{user("shell", "/"), "gofleet_user.shell", "cannot be a shell", "/bin/bash"},
		{user("groups", "docker"), "gofleet_user.groups", "must be a list, not text", "[docker]"},
		{user("groups", list{"a,b"}), "gofleet_user.groups[0]", `"a,b" cannot be the name of a group`, ""},
		{user("groups", list{"a", int64(4)}), "gofleet_user.groups[1]", "must be the name of a group", "quote"},
		{user("authorized_keys", ed25519Key), "gofleet_user.authorized_keys", "must be a list, not text", "[ssh-ed25519"},
		{user("uid", int64(0)), "gofleet_user.uid", "is 0, which is root", "ordinary"},
		{user("uid", int64(-1)), "gofleet_user.uid", "it must be from 0 to", ""},
		{user("gid", "4500"), "gofleet_user.gid", "must be a whole number", ""},
		{user("home", "/usr/bin/deploy"), "gofleet_user.home", "is a directory of the system's", "/srv/app"},
		{user("home", "/home"), "gofleet_user.home", "is a directory of the system's", "/srv/app"},
		{user("home", "/srv/a:b"), "gofleet_user.home", "cannot be a home", "letters"},
		{user("home", "deploy"), "gofleet_user.home", "is not an absolute path", ""},
		{user("exclusive", true), "gofleet_user.exclusive", "would take every key away", "authorized_keys: []"},
		{user("exclusive", "yes"), "gofleet_user.exclusive", "must be true or false", ""},
		{user("state", "absent"), "gofleet_user.state", "there is no state of an account", "drop the entry"},
		{user("authorized_keys", list{int64(1)}), "gofleet_user.authorized_keys[0]", "must be a public key", ""},
	}
	for _, bad := range []string{"", "-x", "1x", ".x", "a b", "a:b", "a/b", "a$", "é", "a\nb", "../x", strings.Repeat("x", 33)} {
		tests = append(tests, one{v("user", dict{"name": bad}), "gofleet_user.name", "cannot be the name of a user", "begin with a letter"})
	}
	check(t, inventory, tests)
}

func TestUsers(t *testing.T) {
	s := parse(t, dict{
		"gofleet_user": dict{"name": "deploy"},
		"gofleet_users": list{
			dict{"name": "app", "uid": int64(1500), "gid": int64(1500), "home": "/srv/app/", "authorized_keys": list{ed25519Key}, "exclusive": true},
			dict{"name": "ci", "group": "docker", "shell": "/bin/sh", "groups": list{"games"}, "sudo": list{"/usr/bin/id"}},
		},
	})
	want := []spec.User{
		{Name: "deploy", Shell: spec.DefaultShell},
		{Name: "app", UID: 1500, GID: 1500, Home: "/srv/app", Shell: spec.DefaultShell, AuthorizedKeys: []string{ed25519Key}, Exclusive: true},
		{Name: "ci", Group: "docker", Shell: "/bin/sh", Groups: []string{"games"}, Sudo: []string{"/usr/bin/id"}},
	}
	if got := s.Accounts(); !reflect.DeepEqual(got, want) {
		t.Errorf("accounts are\n%+v\nwant\n%+v", got, want)
	}
	named := func(name string, more ...any) dict {
		d := dict{"name": name}
		for i := 0; i < len(more); i += 2 {
			d[more[i].(string)] = more[i+1]
		}
		return d
	}
	both := func(a, b dict) dict { return v("users", list{a, b}) }
	sudo := list{"/usr/bin/id"}
	check(t, inventory, []one{
		{vars: v("users", list{})},
		{vars: both(named("a"), named("b", "exclusive", true, "authorized_keys", list{}))},
		{v("users", dict{"name": "app"}), "gofleet_users", "must be a list, not a dictionary", "[{name: app"},
		{v("users", list{nil}), "gofleet_users[0]", "must be a dictionary, not null", "{name: deploy"},
		{both(named("a"), named("root")), "gofleet_users[1].name", "root is not an account", "ordinary"},
		{both(named("a"), named("b", "keys", list{})), "gofleet_users[1].keys", "unknown key", ""},
		{both(named("a"), named("a")), "gofleet_users[1].name", "is the same account as the one in gofleet_users[0]", "keep one"},
		{both(named("a", "uid", int64(7)), named("b", "uid", int64(7))), "gofleet_users[1].uid", "is the uid of the one in gofleet_users[0]", "of its own"},
		{both(named("a.b", "sudo", sudo), named("a_b", "sudo", sudo)), "gofleet_users[1].sudo", "would be one file, gofleet-a_b", "rename"},
		{vars: both(named("a.b", "sudo", sudo), named("a_b"))},
		{dict{"gofleet_user": named("a"), "gofleet_users": list{named("b"), named("a")}}, "gofleet_users[1].name", "is the same account as gofleet_user", "keep one"},
	})
}

func TestSudo(t *testing.T) {
	tests := []one{
		{user("sudo", "ALL"), "gofleet_user.sudo", "gives no account every command", "list"},
		{user("sudo", "/usr/bin/id"), "gofleet_user.sudo", "must be none or a list", ""},
		{user("sudo", true), "gofleet_user.sudo", "must be none or a list of commands, not a boolean", ""},
		{user("sudo", list{nil}), "gofleet_user.sudo[0]", "must be text, not null", ""},
	}
	for _, good := range []string{
		"/usr/bin/systemctl restart app@1.service", "/usr/bin/journalctl", `/usr/bin/id ""`,
		"/usr/bin/apt-get install foo=1.2:3,4", "/usr/bin/g++ -o x !y #z (a) 'b' $c ; d | e & ~f {g}",
	} {
		tests = append(tests, one{vars: user("sudo", list{good})})
	}
	for bad, message := range map[string]string{
		"ALL":                        "gives no account every command",
		"none":                       "is not a command",
		"":                           "is not an absolute command",
		"systemctl restart app":      "is not an absolute command",
		"!/usr/bin/id":               "is not an absolute command",
		"NOPASSWD: /usr/bin/id":      "is not an absolute command",
		"sudoedit /etc/hosts":        "is not an absolute command",
		"/":                          "is not the path of a program",
		"/usr/bin/":                  "is not the path of a program",
		"/usr/bin/../bin/id":         "is not the path of a program",
		"/usr//bin/id":               "is not the path of a program",
		"/usr/bin/i:d":               "is not the path of a program",
		"/usr/bin/*":                 "has a wildcard",
		"/usr/bin/systemctl * app":   "has a wildcard",
		"/usr/bin/cat /var/log/a?":   "has a wildcard",
		"/usr/bin/cat [ab]":          "has a wildcard",
		`/usr/bin/cat a\,b`:          "has a backslash",
		`/usr/bin/cat "a b"`:         "has quotes",
		`/usr/bin/cat "" ""`:         "has quotes",
		"/usr/bin/cat ^/var/log/.+$": "has a regular expression",
		"/usr/bin/cat é":             "has a character",
		"/usr/bin/id\n/bin/sh":       "control character",
		"/usr/bin/id\x00":            "control character",
		"/usr/bin/id\t-u":            "control character",
	} {
		tests = append(tests, one{user("sudo", list{bad}), "gofleet_user.sudo[0]", message, ""})
	}
	check(t, inventory, tests)
}
