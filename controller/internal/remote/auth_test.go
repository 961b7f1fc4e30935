package remote

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/gofleet/gofleet/agent/wire"
)

// encryptedKey copies one of the users' keys and encrypts the copy.
func encryptedKey(t *testing.T, keyType, passphrase string, extra ...string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "id_"+keyType)
	content, err := os.ReadFile(filepath.Join(keys(t), "user_"+keyType))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
	args := append([]string{"-q", "-p", "-P", "", "-N", passphrase, "-f", file}, extra...)
	if out, err := exec.Command("ssh-keygen", args...).CombinedOutput(); err != nil {
		t.Fatalf("ssh-keygen: %v\n%s", err, out)
	}
	return file
}

// agentWith serves an ssh-agent with keys.
func agentWith(t *testing.T, files ...string) string {
	t.Helper()
	return serveAgent(t, keyringOf(t, files...))
}

// keyringOf has the keys in files.
func keyringOf(t *testing.T, files ...string) agent.Agent {
	t.Helper()
	keyring := agent.NewKeyring()
	for _, f := range files {
		content, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		key, err := ssh.ParseRawPrivateKey(content)
		if err != nil {
			t.Fatal(err)
		}
		if err := keyring.Add(agent.AddedKey{PrivateKey: key}); err != nil {
			t.Fatal(err)
		}
	}
	return keyring
}

// serveAgent listens as ssh-agent does.
func serveAgent(t *testing.T, a agent.Agent) string {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "agent")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go agent.ServeAgent(a, c)
		}
	}()
	return socket
}

func TestLogin(t *testing.T) {
	s := startSSHD(t, sshdOptions{config: "MaxAuthTries 3"})
	user := func(keyType string) string { return filepath.Join(keys(t), "user_"+keyType) }
	strange := func() string {
		file := filepath.Join(t.TempDir(), "strange")
		if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", file).CombinedOutput(); err != nil {
			t.Fatalf("ssh-keygen: %v\n%s", err, out)
		}
		return file
	}
	try := func(t *testing.T, change func(*Dialer, *Target)) error {
		t.Helper()
		d, target := s.dialer(), s.target("guest")
		target.KeyFiles = nil
		change(d, &target)
		c, err := d.Dial(testContext(t), target)
		if err == nil {
			c.Close()
		}
		return err
	}
	good := func(name string, change func(*Dialer, *Target)) {
		t.Run(name, func(t *testing.T) {
			if err := try(t, change); err != nil {
				t.Error(err)
			}
		})
	}
	bad := func(name string, words []string, change func(*Dialer, *Target)) {
		t.Run(name, func(t *testing.T) {
			if w := wantKind(t, try(t, change), wire.KindAuth, words...); w.Retryable {
				t.Error("retryable")
			}
		})
	}
	for _, k := range hostKeyTypes {
		good(k, func(_ *Dialer, t *Target) { t.KeyFiles = []string{user(k)} })
	}
	good("old PEM file", func(_ *Dialer, target *Target) { target.KeyFiles = []string{encryptedKey(t, "rsa", "", "-m", "PEM")} })
	good("from the home", func(d *Dialer, _ *Target) {
		os.MkdirAll(d.Home+"/.ssh", 0o700)
		copyFile(t, user("ecdsa"), d.Home+"/.ssh/id_ecdsa")
	})
	good("from ssh-agent", func(d *Dialer, _ *Target) { d.AgentSocket = agentWith(t, user("rsa")) })
	good("the named one before the agent's many", func(d *Dialer, target *Target) {
		d.AgentSocket = agentWith(t, strange(), strange(), strange(), strange())
		target.KeyFiles = []string{user("ed25519")}
	})
	good("the named one, in ssh-agent only", func(d *Dialer, target *Target) {
		d.AgentSocket = agentWith(t, strange(), strange(), strange(), user("ed25519"))
		f := filepath.Join(t.TempDir(), "id")
		copyFile(t, user("ed25519")+".pub", f+".pub")
		target.KeyFiles = []string{f}
	})
	good("a public key as IdentityFile", func(d *Dialer, target *Target) {
		d.AgentSocket = agentWith(t, strange(), strange(), strange(), user("ed25519"))
		target.Args = []string{"-i", user("ed25519") + ".pub", "-o", "IdentitiesOnly=yes"}
	})
	ask := func(answers ...string) func(context.Context, string) ([]byte, error) {
		return func(context.Context, string) ([]byte, error) {
			if len(answers) == 0 {
				return nil, errors.New("asked too often")
			}
			a := answers[0]
			answers = answers[1:]
			return []byte(a), nil
		}
	}
	for _, k := range hostKeyTypes {
		good("encrypted "+k, func(d *Dialer, target *Target) {
			target.KeyFiles = []string{encryptedKey(t, k, "open sesame")}
			d.Passphrase = ask("open sesame")
		})
	}
	good("encrypted old PEM file", func(d *Dialer, target *Target) {
		target.KeyFiles = []string{encryptedKey(t, "rsa", "open sesame", "-m", "PEM")}
		d.Passphrase = ask("open sesame")
	})
	good("passphrase right at the second time", func(d *Dialer, target *Target) {
		target.KeyFiles = []string{encryptedKey(t, "ed25519", "open sesame")}
		d.Passphrase = ask("open barley", "open sesame")
	})
	good("encrypted, but the agent has it", func(d *Dialer, target *Target) {
		d.AgentSocket = agentWith(t, user("ed25519"))
		target.KeyFiles = []string{encryptedKey(t, "ed25519", "open sesame")}
		d.Passphrase = ask()
	})
	good("an encrypted one that the host does not want is not asked for", func(d *Dialer, target *Target) {
		f := strange()
		if out, err := exec.Command("ssh-keygen", "-q", "-p", "-P", "", "-N", "open sesame", "-f", f).CombinedOutput(); err != nil {
			t.Fatalf("ssh-keygen: %s", out)
		}
		target.KeyFiles = []string{f, encryptedKey(t, "ed25519", "open sesame")}
		asked := 0
		d.Passphrase = func(_ context.Context, file string) ([]byte, error) {
			if asked++; asked > 1 || file == f {
				t.Errorf("asked %d times, for %s", asked, file)
			}
			return []byte("open sesame"), nil
		}
	})

	bad("strange key", []string{"permission denied", "as guest", "authorized_keys"}, func(_ *Dialer, target *Target) { target.KeyFiles = []string{strange()} })
	bad("no key", []string{"no key to log in with"}, func(*Dialer, *Target) {})
	bad("missing key file", []string{"/nowhere/id", "no such file"}, func(_ *Dialer, target *Target) { target.KeyFiles = []string{"/nowhere/id"} })
	bad("not a key", []string{"not a private key"}, func(_ *Dialer, target *Target) { target.KeyFiles = []string{"/etc/passwd"} })
	bad("a key that all may read", []string{"chmod 600"}, func(_ *Dialer, target *Target) {
		f := filepath.Join(t.TempDir(), "id")
		copyFile(t, user("ed25519"), f)
		chmod(t, f, 0o644)
		target.KeyFiles = []string{f}
	})
	bad("wrong passphrase", []string{"passphrase", "wrong"}, func(d *Dialer, target *Target) {
		target.KeyFiles = []string{encryptedKey(t, "ed25519", "open sesame")}
		d.Passphrase = ask("one", "two", "three")
	})
	bad("no passphrase to be had", []string{"encrypted", "ssh-add"}, func(d *Dialer, target *Target) { target.KeyFiles = []string{encryptedKey(t, "ed25519", "open sesame")} })
	bad("too many keys", []string{"too many keys", "IdentitiesOnly"}, func(d *Dialer, _ *Target) {
		d.AgentSocket = agentWith(t, strange(), strange(), strange(), strange(), user("ed25519"))
	})
	bad("IdentitiesOnly", nil, func(d *Dialer, target *Target) {
		d.AgentSocket = agentWith(t, user("ed25519"))
		target.KeyFiles = []string{strange()}
		target.Args = []string{"-o", "IdentitiesOnly=yes"}
	})
	bad("no such agent", []string{"ssh-agent"}, func(d *Dialer, _ *Target) { d.AgentSocket = "/nowhere/agent" })
	bad("no such user", []string{"as nobody-here"}, func(_ *Dialer, target *Target) {
		target.KeyFiles, target.User = []string{user("ed25519")}, "nobody-here"
	})
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	content, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// Twenty hosts wait for one passphrase.
func TestPassphraseOnceForAll(t *testing.T) {
	s := startSSHD(t, sshdOptions{config: "MaxStartups 100"})
	d := s.dialer()
	d.Timeout = 5 * time.Second
	file := encryptedKey(t, "ed25519", "open sesame")
	const hosts = 20
	var asked atomic.Int32
	d.Passphrase = func(context.Context, string) ([]byte, error) {
		asked.Add(1)
		return []byte("open sesame"), nil
	}
	target := s.target("guest")
	target.KeyFiles = []string{file}
	dialAtOnce(t, d, target, hosts)
	if asked.Load() != 1 {
		t.Errorf("asked %d times", asked.Load())
	}
}

func TestPassphrasePausesTheClock(t *testing.T) {
	s := startSSHD(t, sshdOptions{})
	d := s.dialer()
	d.Timeout = 3 * time.Second
	d.Retries = -1
	d.Passphrase = func(ctx context.Context, _ string) ([]byte, error) {
		slow, cancel := context.WithTimeout(ctx, d.Timeout+500*time.Millisecond)
		defer cancel()
		<-slow.Done() // the user types for longer than a login may take
		return []byte("open sesame"), nil
	}
	file := encryptedKey(t, "ed25519", "open sesame")
	target := s.target("guest")
	target.KeyFiles = []string{file}
	dialAtOnce(t, d, target, 4)
}

// stuckAgent is an ssh-agent that does not answer some of what it is asked.
type stuckAgent struct {
	agent.Agent
	lists, signs bool // these it does not answer
	listed       atomic.Int32
}

func (a *stuckAgent) List() ([]*agent.Key, error) {
	a.listed.Add(1)
	if a.lists {
		select {}
	}
	return a.Agent.List()
}

func (a *stuckAgent) Sign(key ssh.PublicKey, data []byte) (*ssh.Signature, error) {
	if a.signs {
		select {}
	}
	return a.Agent.Sign(key, data)
}

// An agent that is stuck costs one host some seconds, and no run its end.
func TestStuckAgent(t *testing.T) {
	s := startSSHD(t, sshdOptions{})
	t.Run("lists no keys", func(t *testing.T) {
		stuck := &stuckAgent{Agent: agent.NewKeyring(), lists: true}
		d := s.dialer()
		d.AgentSocket, d.Timeout = serveAgent(t, stuck), 8*time.Second
		dialAtOnce(t, d, s.target("guest"), 6) // by key file
		if n := stuck.listed.Load(); n != 1 {
			t.Errorf("it was asked %d times", n)
		}
	})
	t.Run("signs nothing", func(t *testing.T) {
		stuck := &stuckAgent{Agent: keyringOf(t, filepath.Join(keys(t), "user_ed25519")), signs: true}
		d := s.dialer()
		d.AgentSocket, d.Timeout, d.Retries = serveAgent(t, stuck), 2*time.Second, -1
		target := s.target("guest")
		target.KeyFiles = nil
		ended := make(chan error, 1)
		go func() {
			_, err := d.Dial(testContext(t), target)
			ended <- err
		}()
		select {
		case err := <-ended:
			wantKind(t, err, wire.KindTimeout, "ssh-agent did not sign")
		case <-testContext(t).Done():
			t.Fatal("dialling does not end")
		}
	})
}

func TestUserCertificate(t *testing.T) {
	ca := newSigner(t)
	s := startSSHD(t, sshdOptions{config: "TrustedUserCAKeys /etc/ssh/user_ca\nAuthorizedKeysFile none"})
	s.inside(fmt.Sprintf("echo '%s' >/etc/ssh/user_ca", strings.TrimSpace(string(ssh.MarshalAuthorizedKey(ca.PublicKey())))))
	for _, k := range hostKeyTypes {
		file := filepath.Join(t.TempDir(), "id")
		copyFile(t, filepath.Join(keys(t), "user_"+k), file)
		pub, err := readPublicKey(filepath.Join(keys(t), "user_"+k+".pub"))
		if err != nil {
			t.Fatal(err)
		}
		cert := &ssh.Certificate{Key: pub, CertType: ssh.UserCert, ValidPrincipals: []string{"guest"}, ValidBefore: ssh.CertTimeInfinity}
		if err := cert.SignCert(rand.Reader, ca); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{file + "-cert.pub", filepath.Join(t.TempDir(), "elsewhere")} {
			if err := os.WriteFile(name, ssh.MarshalAuthorizedKey(cert), 0o600); err != nil {
				t.Fatal(err)
			}
			target := s.target("guest")
			target.KeyFiles = []string{file}
			if !strings.HasSuffix(name, "-cert.pub") {
				target.Args = []string{"-o", "CertificateFile=" + name}
			}
			s.dial(target).Close()
			if err := os.Remove(name); err != nil {
				t.Fatal(err)
			}
		}
	}
}
