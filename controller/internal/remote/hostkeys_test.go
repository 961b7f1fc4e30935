package remote

import (
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	xknownhosts "golang.org/x/crypto/ssh/knownhosts"

	"github.com/gofleet/gofleet/agent/wire"
)

func TestKnownHosts(t *testing.T) {
	ca := newSigner(t)
	s := startSSHD(t, sshdOptions{})
	here := fmt.Sprintf("[127.0.0.1]:%d", s.port)
	line := func(host, keyType string) string { return host + " " + hostKeyLine(t, keyType) }
	otherKey := func(host, keyType string) string { return host + " " + publicLine(t, keyType) }
	caLine := "@cert-authority * " + string(ssh.MarshalAuthorizedKey(ca.PublicKey()))

	for name, c := range map[string]struct {
		files []string // contents
		args  []string
		kind  wire.Kind // "" means accepted
		words []string
	}{
		"ed25519":                          {files: []string{line(here, "ed25519")}},
		"ecdsa only":                       {files: []string{line(here, "ecdsa")}},
		"rsa only":                         {files: []string{line(here, "rsa")}},
		"in the second file":               {files: []string{"# nothing\n", line(here, "rsa")}},
		"hashed":                           {files: []string{line(xknownhosts.HashHostname(here), "ecdsa")}},
		"list with a wildcard and a port":  {files: []string{line("other,[127.0.*]:*", "ed25519") + line(here, "ecdsa")}},
		"without the port":                 {files: []string{line("127.0.0.1", "rsa")}},
		"wildcard":                         {files: []string{line("127.*", "rsa")}},
		"alias":                            {files: []string{line("web-one", "rsa")}, args: []string{"-o", "HostKeyAlias=web-one"}},
		"unreadable lines are left out":    {files: []string{"a line like this\nother ssh-foo AAAA\n" + line(here, "ed25519")}},
		"two keys of one type":             {files: []string{otherKey(here, "ed25519") + line(here, "ed25519")}},
		"authority known, plain key known": {files: []string{caLine + line(here, "ed25519")}},

		"empty":                              {files: []string{""}, kind: wire.KindHostKeyUnknown, words: []string{"SHA256:", "ssh-keyscan -p", "--accept-new-host-keys", s.addr()}},
		"no file at all":                     {kind: wire.KindHostKeyUnknown},
		"another host's":                     {files: []string{line("127.0.0.2", "ed25519")}, kind: wire.KindHostKeyUnknown},
		"another port's":                     {files: []string{line("[127.0.0.1]:1", "ed25519")}, kind: wire.KindHostKeyUnknown},
		"negated":                            {files: []string{line("127.*,!127.0.0.1", "ed25519")}, kind: wire.KindHostKeyUnknown},
		"authority only":                     {files: []string{caLine}, kind: wire.KindHostKeyUnknown},
		"another key without port":           {files: []string{otherKey("127.0.0.1", "ed25519")}, kind: wire.KindHostKeyUnknown},
		"changed":                            {files: []string{otherKey(here, "ed25519")}, kind: wire.KindHostKeyChanged, words: []string{"known_hosts0:1", "ssh-keygen -f", "-R '[127.0.0.1]:"}},
		"changed, the line of its type":      {files: []string{otherKey(here, "rsa") + otherKey(here, "ed25519")}, kind: wire.KindHostKeyChanged, words: []string{"shows rsa SHA256:", "known_hosts0:1 has rsa"}},
		"changed, other type":                {files: []string{otherKey(here, "rsa")}, kind: wire.KindHostKeyChanged},
		"changed, hashed":                    {files: []string{otherKey(xknownhosts.HashHostname(here), "ed25519")}, kind: wire.KindHostKeyChanged},
		"changed, beside an unreadable line": {files: []string{"a line like this\n" + otherKey(here, "ed25519")}, kind: wire.KindHostKeyChanged, words: []string{"known_hosts0:2"}},
		"revoked":                            {files: []string{line("@revoked *", "ed25519") + line(here, "ed25519")}, kind: wire.KindHostKeyRevoked, words: []string{"known_hosts0:1"}},
		"revocation unreadable":              {files: []string{"@revoked * ssh-ed25519 AAAA\n" + line(here, "ed25519")}, kind: wire.KindHostKeyUnknown, words: []string{"known_hosts0:1"}},
	} {
		for _, accept := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, accept new %v", name, accept), func(t *testing.T) {
				d := newDialer(t)
				dir := t.TempDir()
				d.KnownHosts = []string{filepath.Join(dir, "new", "known_hosts")}
				if c.files != nil {
					d.KnownHosts = nil
				}
				for i, content := range c.files {
					f := filepath.Join(dir, fmt.Sprintf("known_hosts%d", i))
					if err := os.WriteFile(f, []byte(content), 0o600); err != nil {
						t.Fatal(err)
					}
					d.KnownHosts = append(d.KnownHosts, f)
				}
				var warnings []string
				d.Warn = func(w string) { warnings = append(warnings, w) }
				d.AcceptNewHostKeys = accept
				target := s.target("guest")
				target.Args = c.args
				conn, err := d.Dial(testContext(t), target)
				if err == nil {
					conn.Close()
				}
				kind := c.kind
				if accept && kind == wire.KindHostKeyUnknown && !strings.Contains(name, "unreadable") {
					kind = ""
					if len(warnings) != 1 || !strings.Contains(warnings[0], "recorded") || !strings.Contains(warnings[0], "SHA256:") {
						t.Errorf("warnings: %q", warnings)
					}
					// A new run knows it.
					d2 := newDialer(t)
					d2.KnownHosts = d.KnownHosts
					conn, err := d2.Dial(testContext(t), target)
					if err != nil {
						t.Fatalf("recorded, but: %v", err)
					}
					conn.Close()
				}
				if kind == "" {
					if err != nil {
						t.Error(err)
					}
					return
				}
				if w := wantKind(t, err, kind, c.words...); w.Retryable {
					t.Error("retryable")
				}
			})
		}
	}
}

func publicLine(t *testing.T, keyType string) string {
	t.Helper()
	pub, err := os.ReadFile(filepath.Join(keys(t), "user_"+keyType+".pub"))
	if err != nil {
		t.Fatal(err)
	}
	return string(pub)
}

func newSigner(t *testing.T) ssh.Signer {
	t.Helper()
	_, priv, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromSigner(priv)
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

// Fifty hosts at once record fifty keys, one line and one warning each, behind
// a last line without an end; the same key twice is recorded once.
func TestRecordManyAtOnce(t *testing.T) {
	d := newDialer(t)
	d.AcceptNewHostKeys = true
	file := filepath.Join(d.Home, "deep", "known_hosts")
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte("# no end of line"), 0o600); err != nil {
		t.Fatal(err)
	}
	d.KnownHosts = []string{file}
	var mu sync.Mutex
	var warnings []string
	d.Warn = func(w string) {
		mu.Lock()
		defer mu.Unlock()
		warnings = append(warnings, w)
	}
	const hosts = 50
	signers := make([]ssh.Signer, hosts)
	for i := range signers {
		signers[i] = newSigner(t)
	}
	addr := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 22}
	check := func(i int, key ssh.PublicKey) error {
		s, err := d.resolve(Target{Name: fmt.Sprintf("web%d", i), Port: 2200})
		if err != nil {
			return err
		}
		h, err := d.newHostKeyCheck(s)
		if err != nil {
			return err
		}
		return h.callback("", addr, key)
	}
	var wg sync.WaitGroup
	errs := make(chan error, 2*hosts)
	for i := range hosts {
		for range 2 {
			wg.Go(func() { errs <- check(i, signers[i].PublicKey()) })
		}
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			t.Error(err)
		}
	}
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(content), "\n"); n != hosts+1 || len(warnings) != hosts {
		t.Errorf("%d lines and %d warnings for %d hosts", n, len(warnings), hosts)
	}
	// Another key for one of them, in the same run and in the next.
	wantKind(t, check(7, signers[8].PublicKey()), wire.KindHostKeyChanged, "web7")
	d.shared.hostKeys = nil
	wantKind(t, check(7, signers[8].PublicKey()), wire.KindHostKeyChanged, "web7")
	if err := check(7, signers[7].PublicKey()); err != nil {
		t.Error(err)
	}
}

func TestRecordHashedOrNowhere(t *testing.T) {
	d := newDialer(t)
	key := newSigner(t).PublicKey()
	addr := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 22}
	check := func(args ...string) error {
		s, err := d.resolve(Target{Name: "web1", AcceptNew: true, Args: args})
		if err != nil {
			return err
		}
		h, err := d.newHostKeyCheck(s)
		if err != nil {
			return err
		}
		return h.callback("", addr, key)
	}
	file := filepath.Join(t.TempDir(), "kh")
	if err := check("-o", "UserKnownHostsFile="+file, "-o", "HashKnownHosts=yes"); err != nil {
		t.Fatal(err)
	}
	if content, err := os.ReadFile(file); err != nil || !strings.HasPrefix(string(content), "|1|") {
		t.Errorf("recorded %q, %v", content, err)
	}
	if err := check("-o", "UserKnownHostsFile=/dev/null"); err != nil {
		t.Error(err)
	}
	err := check("-o", "UserKnownHostsFile=/proc/nowhere/known_hosts")
	wantKind(t, err, wire.KindHostKeyUnknown, "record")
}

// hostCertificate signs a host key for some names.
func hostCertificate(t *testing.T, ca ssh.Signer, key ssh.PublicKey, until time.Time, names ...string) *ssh.Certificate {
	t.Helper()
	c := &ssh.Certificate{Key: key, CertType: ssh.HostCert, KeyId: "web1\x1b[31m", ValidPrincipals: names, ValidBefore: uint64(until.Unix())}
	if err := c.SignCert(rand.Reader, ca); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestHostCertificates(t *testing.T) {
	d := newDialer(t)
	ca, otherCA, host := newSigner(t), newSigner(t), newSigner(t)
	file := filepath.Join(t.TempDir(), "kh")
	d.KnownHosts = []string{file}
	tomorrow, yesterday := time.Now().Add(24*time.Hour), time.Now().Add(-24*time.Hour)
	line := func(marker string, s ssh.Signer) string {
		return marker + " * " + string(ssh.MarshalAuthorizedKey(s.PublicKey()))
	}
	plain := "web1 " + string(ssh.MarshalAuthorizedKey(host.PublicKey()))
	for name, c := range map[string]struct {
		known string
		cert  *ssh.Certificate
		kind  wire.Kind
	}{
		"good":                     {line("@cert-authority", ca), hostCertificate(t, ca, host.PublicKey(), tomorrow, "web1"), ""},
		"another name":             {line("@cert-authority", ca), hostCertificate(t, ca, host.PublicKey(), tomorrow, "web2"), wire.KindHostKeyUnknown},
		"expired":                  {line("@cert-authority", ca), hostCertificate(t, ca, host.PublicKey(), yesterday, "web1"), wire.KindHostKeyUnknown},
		"expired, plain key known": {line("@cert-authority", ca) + plain, hostCertificate(t, ca, host.PublicKey(), yesterday, "web1"), ""},
		"unknown authority":        {line("@cert-authority", otherCA), hostCertificate(t, ca, host.PublicKey(), tomorrow, "web1"), wire.KindHostKeyUnknown},
		"authority revoked":        {line("@cert-authority", ca) + line("@revoked", ca), hostCertificate(t, ca, host.PublicKey(), tomorrow, "web1"), wire.KindHostKeyRevoked},
		"key revoked":              {line("@cert-authority", ca) + line("@revoked", host), hostCertificate(t, ca, host.PublicKey(), tomorrow, "web1"), wire.KindHostKeyRevoked},
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.WriteFile(file, []byte(c.known), 0o600); err != nil {
				t.Fatal(err)
			}
			d.shared.hostKeys = nil
			s, err := d.resolve(Target{Name: "web1", AcceptNew: true})
			if err != nil {
				t.Fatal(err)
			}
			h, err := d.newHostKeyCheck(s)
			if err != nil {
				t.Fatal(err)
			}
			if algos := h.algorithms(); !slices.Contains(algos, ssh.CertAlgoECDSA256v01) {
				t.Errorf("certificates are not asked for: %v", algos)
			}
			err = h.callback("", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 22}, c.cert)
			if c.kind == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if w := wantKind(t, err, c.kind); strings.Contains(w.Message, "\x1b") {
				t.Errorf("control characters get through: %q", w.Message)
			}
			if content, err := os.ReadFile(file); err != nil || string(content) != c.known {
				t.Error("a bad certificate was recorded")
			}
		})
	}
	// Where no authority is known, certificates are not asked for.
	d.shared.hostKeys = nil
	if err := os.WriteFile(file, []byte(plain), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := d.resolve(Target{Name: "web1"})
	if err != nil {
		t.Fatal(err)
	}
	h, err := d.newHostKeyCheck(s)
	if err != nil {
		t.Fatal(err)
	}
	if algos := h.algorithms(); slices.Contains(algos, ssh.CertAlgoED25519v01) || algos[0] != ssh.KeyAlgoED25519 {
		t.Errorf("algorithms: %v", algos)
	}
	var w *wire.Error
	if !errors.As(h.callback("", nil, newSigner(t).PublicKey()), &w) || w.Kind != wire.KindHostKeyChanged {
		t.Errorf("another key: %v", w)
	}
}
