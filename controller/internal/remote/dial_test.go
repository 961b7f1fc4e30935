package remote

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gofleet/gofleet/agent/wire"
)

// proxy is a TCP server in front of another address, in whose way a test can stand.
type proxy struct {
	net.Listener
	accepted atomic.Int32
	mu       sync.Mutex
	conns    []net.Conn
}

// newProxy calls handle for each connection, numbered from 1; nil passes it on to addr.
func newProxy(t *testing.T, addr string, handle func(n int, c net.Conn) bool) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{Listener: l}
	t.Cleanup(func() {
		l.Close()
		p.cut()
	})
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			n := int(p.accepted.Add(1))
			p.keep(c)
			go func() {
				if handle != nil && handle(n, c) {
					return
				}
				up, err := net.Dial("tcp", addr)
				if err != nil {
					c.Close()
					return
				}
				p.keep(up)
				go func() { io.Copy(up, c); up.Close() }()
				io.Copy(c, up)
				c.Close()
			}()
		}
	}()
	return p
}

func (p *proxy) keep(c net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conns = append(p.conns, c)
}

func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		c.Close()
	}
}

func (p *proxy) port() int { return p.Addr().(*net.TCPAddr).Port }

// knowing is a Dialer that believes the test's host keys for any address.
func knowing(t *testing.T) *Dialer {
	t.Helper()
	d := newDialer(t)
	file := filepath.Join(d.Home, "kh")
	if err := os.WriteFile(file, []byte("* "+hostKeyLine(t, "ed25519")), 0o600); err != nil {
		t.Fatal(err)
	}
	d.KnownHosts = []string{file}
	return d
}

func TestRetries(t *testing.T) {
	s := startSSHD(t, sshdOptions{})
	for name, spoil := range map[string]func(net.Conn){
		"closed": func(c net.Conn) { c.Close() },
		"reset":  func(c net.Conn) { c.(*net.TCPConn).SetLinger(0); c.Close() },
		"MaxStartups": func(c net.Conn) {
			io.WriteString(c, "Exceeded MaxStartups\r\n")
			c.Close()
		},
		"closed after its version": func(c net.Conn) {
			io.WriteString(c, "SSH-2.0-OpenSSH_9.2\r\n")
			c.Close()
		},
	} {
		p := newProxy(t, s.addr(), func(n int, c net.Conn) bool {
			if n <= 2 {
				spoil(c)
			}
			return n <= 2
		})
		target := s.target("guest")
		target.Port = p.port()
		c, err := knowing(t).Dial(testContext(t), target)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		c.Close()
		if n := p.accepted.Load(); n != 3 {
			t.Errorf("%s: %d connections", name, n)
		}
	}

	t.Run("not after a wrong key", func(t *testing.T) {
		p := newProxy(t, s.addr(), nil)
		target := s.target("guest")
		target.Port, target.KeyFiles = p.port(), []string{filepath.Join(keys(t), "host_ed25519")}
		_, err := knowing(t).Dial(testContext(t), target)
		wantKind(t, err, wire.KindAuth)
		target = s.target("guest")
		target.Port = p.port()
		d := newDialer(t)
		_, err = d.Dial(testContext(t), target)
		wantKind(t, err, wire.KindHostKeyUnknown)
		if n := p.accepted.Load(); n != 2 {
			t.Errorf("%d connections for two refusals", n)
		}
	})
	t.Run("as often as is asked for", func(t *testing.T) {
		p := newProxy(t, s.addr(), func(_ int, c net.Conn) bool { c.Close(); return true })
		target := s.target("guest")
		target.Port = p.port()
		none := -1
		target.Retries = &none
		_, err := knowing(t).Dial(testContext(t), target)
		if w := wantKind(t, err, wire.KindUnreachable, "before authentication", "MaxStartups"); !w.Retryable {
			t.Error("not retryable")
		}
		if n := p.accepted.Load(); n != 1 {
			t.Errorf("%d connections", n)
		}
	})
}

// Many hosts behind one sshd that takes two logins at a time.
func TestMaxStartups(t *testing.T) {
	s := startSSHD(t, sshdOptions{config: "MaxStartups 2"})
	dialAtOnce(t, s.dialer(), s.target("guest"), 12)
}

// dialAtOnce logs in to n hosts at once.
func dialAtOnce(t *testing.T, d *Dialer, target Target, n int) {
	t.Helper()
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			c, err := d.Dial(testContext(t), target)
			if err != nil {
				t.Error(err)
				return
			}
			c.Close()
		})
	}
	wg.Wait()
}

func TestUnreachable(t *testing.T) {
	d := knowing(t)
	d.Retries = -1
	dial := func(d *Dialer, host string, port int) error {
		_, err := d.Dial(testContext(t), Target{Name: "web1", Host: host, Port: port, User: "guest"})
		return err
	}
	port := freePort(t)
	w := wantKind(t, dial(d, "127.0.0.1", port), wire.KindUnreachable, fmt.Sprintf("127.0.0.1:%d", port), "connection refused", "sshd")
	if !w.Retryable {
		t.Error("not retryable")
	}
	wantKind(t, dial(d, "no-such-host.invalid", 22), wire.KindUnreachable, "no-such-host.invalid")
	wantKind(t, dial(d, "host name", 22), wire.KindUnreachable, "not a host name")
	wantKind(t, dial(d, "-oProxyCommand=x", 22), wire.KindUnreachable, "not a host name")

	web := newProxy(t, "", func(_ int, c net.Conn) bool {
		io.WriteString(c, "HTTP/1.0 400 Bad Request\r\n\r\n")
		c.Close()
		return true
	})
	wantKind(t, dial(d, "127.0.0.1", web.port()), wire.KindUnreachable)

	silent := newProxy(t, "", func(int, net.Conn) bool { return true })
	d2 := knowing(t)
	d2.Timeout, d2.Retries = 300*time.Millisecond, -1
	wantKind(t, dial(d2, "127.0.0.1", silent.port()), wire.KindTimeout, "did not speak SSH within 300ms", "--timeout")

	ctx, cancel := context.WithCancel(testContext(t))
	again := newProxy(t, "", func(int, net.Conn) bool { cancel(); return true })
	_, err := knowing(t).Dial(ctx, Target{Name: "web1", Host: "127.0.0.1", Port: again.port()})
	wantKind(t, err, wire.KindInterrupted)
}

func TestKeepAlive(t *testing.T) {
	s := startSSHD(t, sshdOptions{})
	// Passes bytes on until it is told to swallow them.
	var deaf atomic.Bool
	p := newProxy(t, "", func(_ int, c net.Conn) bool {
		up, err := net.Dial("tcp", s.addr())
		if err != nil {
			t.Error(err)
			return true
		}
		go io.Copy(c, up)
		go func() {
			buf := make([]byte, 32<<10)
			for {
				n, err := c.Read(buf)
				if err != nil {
					up.Close()
					return
				}
				if !deaf.Load() {
					up.Write(buf[:n])
				}
			}
		}()
		return true
	})
	d := knowing(t)
	d.KeepAlive = 100 * time.Millisecond
	target := s.target("guest")
	target.Port = p.port()
	c, err := d.Dial(testContext(t), target)
	if err != nil {
		t.Fatal(err)
	}
	session := start(t, c, launchOf(t))
	deaf.Store(true)
	var e wire.Event
	err = session.Explain(session.Stdout.Read(&e))
	if w := wantKind(t, err, wire.KindTimeout, "did not answer for 300ms"); !w.Retryable {
		t.Error("not retryable")
	}

	// The same as ssh's options say it.
	deaf.Store(false)
	target.Args = []string{"-o", "ServerAliveInterval=1", "-o", "ServerAliveCountMax=2"}
	if c, err = knowing(t).Dial(testContext(t), target); err != nil {
		t.Fatal(err)
	}
	session = start(t, c, launchOf(t))
	deaf.Store(true)
	err = session.Explain(session.Stdout.Read(&e))
	wantKind(t, err, wire.KindTimeout, "did not answer for 2s")
}

// Twenty hosts behind two jump hosts share one connection to each.
func TestJumpHosts(t *testing.T) {
	s := startSSHD(t, sshdOptions{config: "MaxSessions 1"})
	first, second := newProxy(t, s.addr(), nil), newProxy(t, s.addr(), nil)
	d := knowing(t)
	target := s.target("guest")
	target.Args = []string{"-J", fmt.Sprintf("admin@127.0.0.1:%d,ssh://op@127.0.0.1:%d", first.port(), second.port()), "-i", filepath.Join(keys(t), "user_rsa")}
	d.AgentSocket = agentWith(t, filepath.Join(keys(t), "user_ed25519"))
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			c, err := d.Dial(testContext(t), target)
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			session, err := c.StartAgent(testContext(t), launchOf(t))
			if err != nil {
				t.Error(err)
				return
			}
			session.Close()
		})
	}
	wg.Wait()
	if a, b := first.accepted.Load(), second.accepted.Load(); a != 1 || b != 1 {
		t.Errorf("%d and %d connections to the jump hosts", a, b)
	}
	// A jump host that went away is dialled again.
	first.cut()
	second.cut()
	c, err := d.Dial(testContext(t), target)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	if a, b := first.accepted.Load(), second.accepted.Load(); a != 2 || b != 2 {
		t.Errorf("%d and %d connections to the jump hosts", a, b)
	}

	target.Args = []string{"-J", fmt.Sprintf("nobody-here@127.0.0.1:%d", first.port())}
	wg = sync.WaitGroup{}
	for range 5 {
		wg.Go(func() {
			_, err := d.Dial(testContext(t), target)
			wantAuth := wire.AsError(err, "none")
			if wantAuth.Kind != wire.KindAuth || !strings.Contains(wantAuth.Message, "jump host 127.0.0.1") {
				t.Errorf("%s: %v", wantAuth.Kind, err)
			}
		})
	}
	wg.Wait()
	if a := first.accepted.Load(); a != 3 {
		t.Errorf("a jump host that refuses the key was tried %d times", a-2)
	}

	target.Args = []string{"-J", fmt.Sprintf("admin@127.0.0.1:%d", second.port())}
	target.Host, target.Port = "127.0.0.1", freePort(t)
	none := -1
	target.Retries = &none
	_, err = d.Dial(testContext(t), target)
	wantKind(t, err, wire.KindUnreachable, "through jump host", "refused")
}

func TestProxyCommand(t *testing.T) {
	s := startSSHD(t, sshdOptions{})
	target := s.target("guest")
	target.Host = "no-such-host.invalid"
	nc := `bash -c "exec 3<>/dev/tcp/127.0.0.1/%p; cat <&3 & cat >&3"`
	target.Args = []string{"-o", "ProxyCommand=" + nc}
	c, err := knowing(t).Dial(testContext(t), target)
	if err != nil {
		t.Fatal(err)
	}
	start(t, c, launchOf(t)).Close()
	c.Close()
	target.Args = []string{"-o", "ProxyCommand=false"}
	none := -1
	target.Retries = &none
	_, err = knowing(t).Dial(testContext(t), target)
	wantKind(t, err, wire.KindUnreachable, "the ProxyCommand ended", "by hand")
}
