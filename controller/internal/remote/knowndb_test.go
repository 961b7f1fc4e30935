package remote

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	xknownhosts "golang.org/x/crypto/ssh/knownhosts"

	"github.com/gofleet/gofleet/agent/wire"
)

// What known_hosts says of a host is what the ssh client makes of it: each
// file is shown to both, against one server with and one without a certificate.
func TestKnownHostsAsSSHReadsThem(t *testing.T) {
	authority, stranger := newSigner(t), newSigner(t)
	plain := startSSHD(t, sshdOptions{})
	certified := startSSHD(t, sshdOptions{})
	pub, err := readPublicKey(filepath.Join(keys(t), "host_ed25519.pub"))
	if err != nil {
		t.Fatal(err)
	}
	cert := hostCertificate(t, authority, pub, time.Now().Add(time.Hour), "127.0.0.1")
	cert.KeyId = "web1"
	if err := cert.SignCert(rand.Reader, authority); err != nil {
		t.Fatal(err)
	}
	file := certified.write("host_cert.pub", string(ssh.MarshalAuthorizedKey(cert)))
	config, err := os.ReadFile(filepath.Join(certified.dir, "sshd_config"))
	if err != nil {
		t.Fatal(err)
	}
	certified.write("sshd_config", string(config)+"HostCertificate "+file+"\n")
	certified.inside(fmt.Sprintf("kill -HUP %d", certified.cmd.Process.Pid)) // reads its configuration again
	certified.await("listening", 2)

	hostKey := hostKeyLine(t, "ed25519")
	otherKey := publicLine(t, "ed25519")
	ca := string(ssh.MarshalAuthorizedKey(authority.PublicKey()))
	strange := string(ssh.MarshalAuthorizedKey(stranger.PublicKey()))
	for _, c := range []struct {
		name  string
		lines string // {H} is the host with its port, {#H} the same, hashed
		kind  wire.Kind
		cert  bool // the server with the certificate
		safer bool // revoked by the bare name, which ssh looks at less often
	}{
		{name: "known", lines: "{H} KEY"},
		{name: "revoked for this host", lines: "@revoked {H} KEY\n{H} KEY", kind: wire.KindHostKeyRevoked},
		{name: "revoked behind the line that knows it", lines: "{H} KEY\n@revoked {H} KEY", kind: wire.KindHostKeyRevoked},
		{name: "revoked for all", lines: "@revoked * KEY\n{H} KEY", kind: wire.KindHostKeyRevoked},
		{name: "revoked for another host", lines: "@revoked other.example.org KEY\n{H} KEY"},
		{name: "revoked for another port", lines: "@revoked [127.0.0.1]:1 KEY\n{H} KEY"},
		{name: "revoked by a hashed name", lines: "@revoked {#H} KEY\n{H} KEY", kind: wire.KindHostKeyRevoked},
		{name: "revoked by another's hashed name", lines: "@revoked {#other} KEY\n{#H} KEY"},
		{name: "revoked by a wildcard", lines: "@revoked [127.0.0.*]:* KEY\n{H} KEY", kind: wire.KindHostKeyRevoked},
		{name: "revoked by a question mark", lines: "@revoked [127.0.?.1]:* KEY\n{H} KEY", kind: wire.KindHostKeyRevoked},
		{name: "revoked for all but this host", lines: "@revoked *,!{H} KEY\n{H} KEY"},
		{name: "revoked for all but another", lines: "@revoked *,!other KEY\n{H} KEY", kind: wire.KindHostKeyRevoked},
		{name: "revoked in capitals", lines: "@revoked [127.0.0.1]:{P},WEB1 KEY\n{H} KEY", kind: wire.KindHostKeyRevoked},
		{name: "revoked without the port", lines: "@revoked 127.0.0.1 KEY", kind: wire.KindHostKeyRevoked, safer: true},
		{name: "another key is revoked", lines: "@revoked {H} OTHER\n{H} KEY"},
		{name: "nothing but a revocation of another key", lines: "@revoked {H} OTHER", kind: wire.KindHostKeyUnknown},
		{name: "a comment and a list", lines: "# @revoked * KEY\nother,{H},127.0.0.1 KEY a comment"},
		{name: "negated after a match", lines: "127.*,!127.0.0.1 KEY", kind: wire.KindHostKeyUnknown},
		{name: "the bare name knows it, the full one another", lines: "127.0.0.1 KEY\n{H} OTHER", kind: wire.KindHostKeyChanged},
		{name: "changed", lines: "{#H} OTHER", kind: wire.KindHostKeyChanged},
		{name: "an authority for a plain key", lines: "@cert-authority * CA", kind: wire.KindHostKeyUnknown},

		{name: "certificate", cert: true, lines: "@cert-authority * CA"},
		{name: "certificate, authority of this host", cert: true, lines: "@cert-authority {H} CA"},
		{name: "certificate, authority hashed", cert: true, lines: "@cert-authority {#H} CA"},
		{name: "certificate, authority of other hosts", cert: true, lines: "@cert-authority *.example.org CA", kind: wire.KindHostKeyUnknown},
		{name: "certificate, authority for all but this host", cert: true, lines: "@cert-authority *,!{H},!127.0.0.1 CA", kind: wire.KindHostKeyUnknown},
		{name: "certificate, authority by the bare name", cert: true, lines: "@cert-authority *,!{H} CA"},
		{name: "certificate, authority revoked by the bare name", cert: true, lines: "@cert-authority * CA\n@revoked 127.0.0.1 CA", kind: wire.KindHostKeyRevoked, safer: true},
		{name: "certificate, another authority", cert: true, lines: "@cert-authority * STRANGE", kind: wire.KindHostKeyUnknown},
		{name: "certificate, authority revoked", cert: true, lines: "@cert-authority * CA\n@revoked {H} CA", kind: wire.KindHostKeyRevoked},
		{name: "certificate, authority revoked for all", cert: true, lines: "@revoked * CA\n@cert-authority * CA", kind: wire.KindHostKeyRevoked},
		{name: "certificate, authority revoked for others", cert: true, lines: "@revoked *.example.org CA\n@cert-authority * CA"},
		{name: "certificate, its key revoked", cert: true, lines: "@cert-authority * CA\n@revoked {H} KEY", kind: wire.KindHostKeyRevoked},
		{name: "certificate, its key revoked for others", cert: true, lines: "@cert-authority * CA\n@revoked other KEY"},
		{name: "certificate, authority unknown, key known", cert: true, lines: "{H} KEY"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := plain
			if c.cert {
				s = certified
			}
			here := fmt.Sprintf("[127.0.0.1]:%d", s.port)
			text := strings.NewReplacer("{H}", here, "{#H}", xknownhosts.HashHostname(here), "{#other}", xknownhosts.HashHostname("other"), "{P}", fmt.Sprint(s.port)).Replace(c.lines)
			var lines []string
			for l := range strings.SplitSeq(text, "\n") {
				l = strings.NewReplacer(" KEY", " "+strings.TrimSpace(hostKey), " OTHER", " "+strings.TrimSpace(otherKey), " CA", " "+strings.TrimSpace(ca), " STRANGE", " "+strings.TrimSpace(strange)).Replace(l)
				lines = append(lines, l)
			}
			known := filepath.Join(t.TempDir(), "known_hosts")
			if err := os.WriteFile(known, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}

			d := newDialer(t)
			d.KnownHosts = []string{known}
			conn, err := d.Dial(testContext(t), s.target("guest"))
			if err == nil {
				conn.Close()
			}
			var w *wire.Error
			if got := kindOfError(err); got != c.kind {
				t.Errorf("gofleet says %q: %v", got, err)
			} else if errors.As(err, &w) && w.Kind == wire.KindHostKeyRevoked && !strings.Contains(w.Message, known+":") {
				t.Errorf("%q does not name the line", w.Message)
			}

			out, err := exec.CommandContext(testContext(t), "ssh", "-F", "none", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes", "-o", "UserKnownHostsFile="+known, "-o", "GlobalKnownHostsFile=/dev/null",
				"-o", "IdentitiesOnly=yes", "-i", filepath.Join(keys(t), "user_ed25519"), "-p", fmt.Sprint(s.port), "guest@127.0.0.1", "true").CombinedOutput()
			want := kindOfSSH(string(out), err)
			if want != c.kind && !c.safer {
				t.Errorf("ssh says %q, the table %q:\n%s", want, c.kind, out)
			}
		})
	}
}

func kindOfError(err error) wire.Kind {
	if err == nil {
		return ""
	}
	return wire.AsError(err, "none").Kind
}

// kindOfSSH reads the ssh client's words.
func kindOfSSH(said string, err error) wire.Kind {
	said = strings.ToLower(said)
	switch {
	case err == nil:
		return ""
	case strings.Contains(said, "revoked"):
		return wire.KindHostKeyRevoked
	case strings.Contains(said, "remote host identification has changed"):
		return wire.KindHostKeyChanged
	case strings.Contains(said, "host key is known"), strings.Contains(said, "host key verification failed"):
		return wire.KindHostKeyUnknown
	}
	return wire.Kind("? " + err.Error())
}

func TestKnownLines(t *testing.T) {
	key := strings.TrimSpace(hostKeyLine(t, "ed25519"))
	for line, wrong := range map[string]string{
		"":                                       "",
		"# comment":                              "",
		"host " + key:                            "",
		"\thost  " + key + " x y":                "",
		"@revoked host " + key:                   "",
		"@lost host " + key:                      "is not known",
		"host ssh-ed25519":                       "not a name",
		"@revoked host":                          "not a name",
		"|2|a|b " + key:                          "hashed in a way",
		"|1|a|b " + key:                          "hashed name is damaged",
		"|1|AAAA " + key:                         "hashed name is damaged",
		"host ssh-ed25519 ????":                  "damaged",
		"host ssh-ed25519 AAAA":                  "cannot be read",
		"host ssh-rsa " + strings.Fields(key)[1]: "of type ssh-ed25519",
	} {
		_, _, err := parseKnownLine([]byte(line))
		if wrong == "" && err != nil || wrong != "" && (err == nil || !strings.Contains(err.Error(), wrong)) {
			t.Errorf("%q: %v", line, err)
		}
	}
	db := &knownDB{}
	content := "b,a,a " + key + "\n!c,* " + key + "\nA " + key + "\n" + xknownhosts.HashHostname("a") + " " + key + "\n"
	if err := db.add("f", []byte(content), func(n int, err error) { t.Errorf("line %d: %v", n, err) }); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"a": "[1 2 3 4]", "b": "[1 2]", "c": "[]", "d": "[2]"} {
		got := []int{}
		for _, l := range db.find(name) {
			got = append(got, l.line)
		}
		if fmt.Sprint(got) != want {
			t.Errorf("%s is in lines %v, want %s", name, got, want)
		}
	}
	if err := db.add("f", []byte("x\n  @revoked host "+key[:20]+"\n"), func(int, error) {}); err == nil || !strings.Contains(err.Error(), "f:2: a revoked key") {
		t.Errorf("a revocation that cannot be read: %v", err)
	}
}

func FuzzKnownHosts(f *testing.F) {
	f.Add("host ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIN9C0Cr7fhtnLcmgzHbm0Fb1a0kZeXxIoBNq5DHqXaxn\n", "host")
	f.Add("@revoked *,!b |1|x|y\n|1|AAAA|AAAA ssh-rsa A\n", "[host]:2222")
	f.Fuzz(func(t *testing.T, text, name string) {
		db := &knownDB{}
		if db.add("known_hosts", []byte(text), func(int, error) {}) != nil {
			return
		}
		last := 0
		for _, l := range db.find(name) {
			if l.line <= last {
				t.Errorf("line %d comes after line %d", l.line, last)
			}
			last = l.line
			if !l.hosts.match(name) {
				t.Errorf("line %d does not name %q", l.line, name)
			}
		}
	})
}
