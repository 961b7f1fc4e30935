package remote

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/gofleet/gofleet/agent/wire"
)

// Fifty hosts behind a real jump host that lets few log in at a time: all are
// reached over one connection to it, though it drops that one first.
func TestFiftyHostsBehindMaxStartups(t *testing.T) {
	host := startSSHD(t, sshdOptions{config: "MaxStartups 200"})
	for _, startups := range []string{"2:100:3", "10:30:100"} {
		jump := startSSHD(t, sshdOptions{config: "MaxStartups " + startups + "\nMaxSessions 10"})
		door := newProxy(t, jump.addr(), nil)
		if startups == "2:100:3" {
			// Two that never log in: whoever comes now is dropped.
			var idle []net.Conn
			for range 2 {
				c, err := net.Dial("tcp", jump.addr())
				if err != nil {
					t.Fatal(err)
				}
				if _, err := c.Read(make([]byte, 1)); err != nil {
					t.Fatal(err)
				}
				idle = append(idle, c)
			}
			ctx := testContext(t)
			go func() {
				jump.awaitQuietly(ctx, "MaxStartups throttling")
				for _, c := range idle {
					c.Close()
				}
			}()
		}
		d := knowing(t)
		target := host.target("guest")
		target.Args = []string{"-J", fmt.Sprintf("admin@127.0.0.1:%d", door.port()), "-o", "IdentityFile=" + filepath.Join(keys(t), "user_ed25519")}
		d.AgentSocket = agentWith(t, filepath.Join(keys(t), "user_ed25519"))
		conns := make([]*Conn, 50)
		var wg sync.WaitGroup
		for i := range conns {
			wg.Go(func() {
				var err error
				if conns[i], err = d.Dial(testContext(t), target); err != nil {
					t.Errorf("%s, host %d: %v", startups, i, err)
				}
			})
		}
		wg.Wait()
		if t.Failed() {
			return
		}
		if n := strings.Count(jump.log.String(), "Accepted publickey"); n != 1 {
			t.Errorf("%s: %d logins on the jump host", startups, n)
		}
		if dropped := strings.Contains(jump.log.String(), "MaxStartups throttling"); dropped != (startups == "2:100:3") {
			t.Errorf("%s: a connection was dropped: %v", startups, dropped)
		}
		// All at once are beyond MaxSessions, which counts no forwarded connections.
		session := start(t, conns[49], launchOf(t))

		// The jump host goes away: each host says so, and may be tried again.
		door.cut()
		var e wire.Event
		w := wantKind(t, session.Explain(session.Stdout.Read(&e)), wire.KindUnreachable, fmt.Sprintf("jump host 127.0.0.1:%d went away", door.port()), host.addr())
		if !w.Retryable {
			t.Error("not retryable")
		}
		for _, c := range conns[:49] {
			_, err := c.StartAgent(testContext(t), launchOf(t))
			wantKind(t, err, wire.KindUnreachable, "went away")
			c.Close()
		}
		none := -1
		target.Retries = &none
		door.Close()
		_, err := d.Dial(testContext(t), target)
		wantKind(t, err, wire.KindUnreachable, "jump host 127.0.0.1", "refused")
	}
}

// The kinds of what a jump host can do wrong are those of a host.
func TestJumpHostErrors(t *testing.T) {
	host, jump := startSSHD(t, sshdOptions{}), startSSHD(t, sshdOptions{config: "AllowTcpForwarding no"})
	other := publicLine(t, "ed25519")
	for name, c := range map[string]struct {
		user, known string
		kind        wire.Kind
		says        string
	}{
		"may not forward":  {"admin", "* " + hostKeyLine(t, "ed25519"), wire.KindUnreachable, "AllowTcpForwarding"},
		"login refused":    {"nobody-here", "* " + hostKeyLine(t, "ed25519"), wire.KindAuth, "as nobody-here"},
		"host key unknown": {"admin", "", wire.KindHostKeyUnknown, "is unknown"},
		"host key changed": {"admin", fmt.Sprintf("[127.0.0.1]:%d %s", jump.port, other), wire.KindHostKeyChanged, "has changed"},
		"host key revoked": {"admin", "@revoked * " + hostKeyLine(t, "ed25519"), wire.KindHostKeyRevoked, "is revoked"},
	} {
		d := newDialer(t)
		d.KnownHosts = []string{filepath.Join(d.Home, "kh")}
		d.AgentSocket = agentWith(t, filepath.Join(keys(t), "user_ed25519"))
		if err := os.WriteFile(d.KnownHosts[0], []byte(c.known), 0o600); err != nil {
			t.Fatal(err)
		}
		target := host.target("guest")
		none := -1
		target.Retries = &none
		target.Args = []string{"-J", fmt.Sprintf("%s@127.0.0.1:%d", c.user, jump.port)}
		_, err := d.Dial(testContext(t), target)
		w := wire.AsError(err, "none")
		if w.Kind != c.kind || !strings.Contains(w.Message+w.Hint, c.says) || !strings.Contains(w.Message, "jump host 127.0.0.1") {
			t.Errorf("%s: %s: %v (%s)", name, w.Kind, err, w.Hint)
		}
	}
}

// awaitQuietly waits for a word of sshd's, in a goroutine that may not fail.
func (s *sshd) awaitQuietly(ctx context.Context, word string) {
	for !strings.Contains(s.log.String(), word) && ctx.Err() == nil {
		time.Sleep(5 * time.Millisecond) // polls a log; nothing is synchronised by it
	}
}

// securityKey is an ssh-agent with a key as FIDO devices have it: what it signs
// holds a hash of the application, flags and a counter.
type securityKey struct {
	agent.ExtendedAgent
	key     ed25519.PrivateKey
	public  ssh.PublicKey
	counter uint32
	touched bool
}

func newSecurityKey(t *testing.T) *securityKey {
	t.Helper()
	pub, priv, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	public, err := ssh.ParsePublicKey(ssh.Marshal(struct {
		Type        string
		Key         []byte
		Application string
	}{ssh.KeyAlgoSKED25519, pub, "ssh:"}))
	if err != nil {
		t.Fatal(err)
	}
	return &securityKey{ExtendedAgent: agent.NewKeyring().(agent.ExtendedAgent), key: priv, public: public, touched: true}
}

func (k *securityKey) List() ([]*agent.Key, error) {
	return []*agent.Key{{Format: k.public.Type(), Blob: k.public.Marshal(), Comment: "test"}}, nil
}

func (k *securityKey) SignWithFlags(key ssh.PublicKey, data []byte, _ agent.SignatureFlags) (*ssh.Signature, error) {
	return k.Sign(key, data)
}

func (k *securityKey) Sign(key ssh.PublicKey, data []byte) (*ssh.Signature, error) {
	if !sameKey(key, k.public) {
		return nil, errors.New("another key")
	}
	k.counter++
	rest := binary.BigEndian.AppendUint32([]byte{0}, k.counter)
	if k.touched {
		rest[0] = 1
	}
	application, message := sha256.Sum256([]byte("ssh:")), sha256.Sum256(data)
	signed := append(append(append([]byte{}, application[:]...), rest...), message[:]...)
	return &ssh.Signature{Format: ssh.KeyAlgoSKED25519, Blob: ed25519.Sign(k.key, signed), Rest: rest}, nil
}

// A security key logs in through the agent: sshd verifies what it signed.
func TestSecurityKey(t *testing.T) {
	s := startSSHD(t, sshdOptions{})
	k := newSecurityKey(t)
	line := string(ssh.MarshalAuthorizedKey(k.public))
	s.write("authorized_keys", line)
	socket := serveAgent(t, k)
	file := filepath.Join(t.TempDir(), "id_ed25519_sk.pub")
	if err := os.WriteFile(file, []byte(line), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Dialer, *Target){
		"any key of the agent":    func(d *Dialer, _ *Target) { d.AgentSocket = socket },
		"named by its public key": func(d *Dialer, tg *Target) { d.AgentSocket, tg.KeyFiles = socket, []string{file} },
		"IdentitiesOnly": func(d *Dialer, tg *Target) {
			d.AgentSocket, tg.Args = socket, []string{"-i", file, "-o", "IdentitiesOnly=yes"}
		},
		"beside its file, IdentitiesOnly": func(d *Dialer, tg *Target) {
			d.AgentSocket, tg.Args = socket, []string{"-i", strings.TrimSuffix(file, ".pub"), "-o", "IdentitiesOnly=yes"}
		},
		"IdentityAgent": func(_ *Dialer, tg *Target) { tg.Args = []string{"-o", "IdentityAgent=" + socket} },
		"PubkeyAcceptedAlgorithms has it": func(d *Dialer, tg *Target) {
			d.AgentSocket, tg.Args = socket, []string{"-o", "PubkeyAcceptedAlgorithms=sk-*"}
		},
	} {
		d, target := s.dialer(), s.target("guest")
		target.KeyFiles = nil
		change(d, &target)
		c, err := d.Dial(testContext(t), target)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		c.Close()
	}
	if !strings.Contains(s.log.String(), "Accepted publickey for guest") || !strings.Contains(s.log.String(), "ED25519-SK") {
		t.Error("sshd does not say that a security key logged in")
	}
	for name, change := range map[string]func(*Dialer, *Target){
		"IdentityAgent none": func(d *Dialer, tg *Target) { d.AgentSocket, tg.Args = socket, []string{"-o", "IdentityAgent=none"} },
		"another with IdentitiesOnly": func(d *Dialer, tg *Target) {
			d.AgentSocket, tg.Args = socket, []string{"-i", filepath.Join(keys(t), "host_rsa"), "-o", "IdentitiesOnly=yes"}
		},
		"PubkeyAcceptedAlgorithms has it not": func(d *Dialer, tg *Target) {
			d.AgentSocket, tg.Args = socket, []string{"-o", "PubkeyAcceptedAlgorithms=-sk-*"}
		},
		"a key that nobody touched": func(d *Dialer, _ *Target) { d.AgentSocket = socket; k.touched = false },
	} {
		d, target := s.dialer(), s.target("guest")
		target.KeyFiles = nil
		change(d, &target)
		_, err := d.Dial(testContext(t), target)
		if kindOfError(err) != wire.KindAuth {
			t.Errorf("%s: %v", name, err)
		}
		k.touched = true
	}
}

// A link-local address is reached over the interface that its zone names, in
// a network namespace of the test's own.
func TestZones(t *testing.T) {
	needRoot(t)
	runtime.LockOSThread() // for good: the thread ends with the test
	if err := syscall.Unshare(syscall.CLONE_NEWNET); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"link set lo up", "link add Lab0 type veth peer name Lab1", "link set Lab0 up", "link set Lab1 up", "-6 addr add fe80::1/64 dev Lab0 nodad"} {
		if out, err := exec.Command("ip", strings.Fields(line)...).CombinedOutput(); err != nil {
			t.Fatalf("ip %s: %s", line, out)
		}
	}
	s := startSSHD(t, sshdOptions{listen: "fe80::1%Lab0"})
	known := s.write("known_hosts", fmt.Sprintf("[fe80::1%%lab0]:%d %s", s.port, hostKeyLine(t, "ed25519")))
	for name, change := range map[string]func(*Target){
		"ansible_host":             func(t *Target) { t.Host = "fe80::1%Lab0" },
		"ansible_host in brackets": func(t *Target) { t.Host = "[fe80::1%Lab0]" },
		"in capitals":              func(t *Target) { t.Host = "FE80::1%Lab0" },
		"HostName":                 func(t *Target) { t.Host, t.Args = "web1", []string{"-o", "HostName=fe80::1%%Lab0"} },
	} {
		d, target := newDialer(t), s.target("guest")
		d.KnownHosts = []string{known}
		change(&target)
		c, err := d.Dial(testContext(t), target)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if name == "ansible_host" {
			start(t, c, launchOf(t)).Close()
		}
		c.Close()
	}
	// A new key is recorded as ssh finds it.
	d, target := newDialer(t), s.target("guest")
	d.KnownHosts, d.AcceptNewHostKeys = []string{filepath.Join(d.Home, "kh")}, true
	target.Host = "fe80::1%Lab0"
	c, err := d.Dial(testContext(t), target)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	out, err := exec.CommandContext(testContext(t), "ssh", "-F", "none", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes", "-o", "UserKnownHostsFile="+d.KnownHosts[0], "-o", "GlobalKnownHostsFile=/dev/null",
		"-i", filepath.Join(keys(t), "user_ed25519"), "-p", fmt.Sprint(s.port), "guest@fe80::1%Lab0", "true").CombinedOutput()
	if err != nil {
		t.Errorf("ssh does not know the key that was recorded: %s", out)
	}
	target.Host = "fe80::1%Lab9"
	_, err = s.dialer().Dial(testContext(t), target)
	if kind := kindOfError(err); kind != wire.KindUnreachable && kind != wire.KindTimeout {
		t.Errorf("an interface that is not there: %s: %v", kind, err)
	}
}
