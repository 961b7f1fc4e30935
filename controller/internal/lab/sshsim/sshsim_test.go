package sshsim

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// client is a key and how to dial with it.
type client struct {
	t      *testing.T
	signer ssh.Signer
}

func newClient(t *testing.T) client {
	t.Helper()
	signer, _, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	return client{t, signer}
}

func (c client) keys() []ssh.PublicKey { return []ssh.PublicKey{c.signer.PublicKey()} }

func (c client) start(h Host) *Server {
	c.t.Helper()
	s, err := Start(h)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { s.Close() })
	return s
}

func (c client) try(s *Server, i int, user string) (*ssh.Client, error) {
	c.t.Helper()
	file := filepath.Join(c.t.TempDir(), "known_hosts")
	if err := os.WriteFile(file, []byte(s.KnownHosts()), 0o600); err != nil {
		c.t.Fatal(err)
	}
	check, err := knownhosts.New(file)
	if err != nil {
		c.t.Fatal(err)
	}
	return ssh.Dial("tcp", s.Addr(i).String(), &ssh.ClientConfig{
		User: user, Auth: []ssh.AuthMethod{ssh.PublicKeys(c.signer)}, HostKeyCallback: check, Timeout: 10 * time.Second,
	})
}

func (c client) dial(s *Server, i int) *ssh.Client {
	c.t.Helper()
	conn, err := c.try(s, i, "admin")
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { conn.Close() })
	return conn
}

func run(t *testing.T, conn *ssh.Client, stdin, line string) (stdout, stderr string, err error) {
	t.Helper()
	s, err := conn.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var out, errs bytes.Buffer
	s.Stdin, s.Stdout, s.Stderr = strings.NewReader(stdin), &out, &errs
	err = s.Run(line)
	return out.String(), errs.String(), err
}

func TestShell(t *testing.T) {
	c := newClient(t)
	home := t.TempDir()
	conn := c.dial(c.start(Host{Keys: c.keys(), Exec: Shell(home, "COLOUR=blue")}), 0)
	out, errs, err := run(t, conn, "input", `cat; echo " $HOME $USER $COLOUR"; pwd; echo oops >&2; exit 7`)
	var exit *ssh.ExitError
	if !errors.As(err, &exit) || exit.ExitStatus() != 7 {
		t.Errorf("exit: %v, want status 7", err)
	}
	if want := fmt.Sprintf("input %s admin blue\n%s\n", home, home); out != want {
		t.Errorf("stdout %q, want %q", out, want)
	}
	if errs != "oops\n" {
		t.Errorf("stderr %q", errs)
	}
}

// A command that ends while its stdin is still open must end the session.
func TestShellEndsBeforeStdin(t *testing.T) {
	c := newClient(t)
	conn := c.dial(c.start(Host{Keys: c.keys(), Exec: Shell(t.TempDir())}), 0)
	s, err := conn.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if out, err := s.Output("echo done"); err != nil || string(out) != "done\n" {
		t.Errorf("output %q, %v", out, err)
	}
}

// What the client leaves running is killed with its connection.
func TestDisconnectKills(t *testing.T) {
	c := newClient(t)
	began, ended := make(chan struct{}), make(chan int, 1)
	shell := Shell(t.TempDir())
	s := c.start(Host{Keys: c.keys(), Exec: func(ctx context.Context, cmd Command) int {
		close(began)
		code := shell(ctx, cmd)
		ended <- code
		return code
	}})
	conn := c.dial(s, 0)
	session, err := conn.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	if err := session.Start("sleep 600"); err != nil {
		t.Fatal(err)
	}
	<-began
	conn.Close()
	select {
	case code := <-ended:
		if code == 0 {
			t.Error("sleep ended well")
		}
	case <-time.After(10 * time.Second):
		t.Error("sleep outlived its connection")
	}
}

func TestHandler(t *testing.T) {
	c := newClient(t)
	conn := c.dial(c.start(Host{Keys: c.keys(), Exec: func(_ context.Context, cmd Command) int {
		in, _ := io.ReadAll(cmd.Stdin)
		fmt.Fprintf(cmd.Stdout, "%s said %q to %q", cmd.User, in, cmd.Line)
		return 3
	}}), 0)
	out, _, err := run(t, conn, "hello", "agent serve")
	var exit *ssh.ExitError
	if want := `admin said "hello" to "agent serve"`; out != want || !errors.As(err, &exit) || exit.ExitStatus() != 3 {
		t.Errorf("got %q, %v; want %q and status 3", out, err, want)
	}
}

func TestRefused(t *testing.T) {
	c, stranger := newClient(t), newClient(t)
	s := c.start(Host{Keys: c.keys(), User: "admin", NoSFTP: true})
	if _, err := stranger.try(s, 0, "admin"); err == nil {
		t.Error("a strange key logged in")
	}
	if _, err := c.try(s, 0, "root"); err == nil {
		t.Error("a strange user logged in")
	}
	conn := c.dial(s, 0)
	if _, err := sftp.NewClient(conn); err == nil {
		t.Error("sftp works although it is off")
	}
	if _, _, err := run(t, conn, "", "true"); err == nil {
		t.Error("a command ran without a handler")
	}
	if _, err := conn.Dial("tcp", s.Addr(0).String()); err == nil {
		t.Error("forwarded without leave")
	}
}

func TestSFTP(t *testing.T) {
	c := newClient(t)
	dir := t.TempDir()
	conn := c.dial(c.start(Host{Keys: c.keys(), Dir: dir}), 0)
	files, err := sftp.NewClient(conn)
	if err != nil {
		t.Fatal(err)
	}
	defer files.Close()
	f, err := files.Create("upload")
	if err != nil {
		t.Fatal(err)
	}
	content := bytes.Repeat([]byte("gopher"), 50_000)
	if _, err := f.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(dir, "upload"))
	if err != nil || !bytes.Equal(got, content) {
		t.Errorf("uploaded %d bytes, want %d; %v", len(got), len(content), err)
	}
}

func TestDropFirst(t *testing.T) {
	c := newClient(t)
	s := c.start(Host{Keys: c.keys(), Faults: Faults{DropFirst: 2}})
	for range 2 {
		if conn, err := c.try(s, 0, "admin"); err == nil {
			conn.Close()
			t.Fatal("connection was not dropped")
		}
	}
	c.dial(s, 0)
}

func TestCutAfter(t *testing.T) {
	c := newClient(t)
	received := make(chan int64, 2)
	s := c.start(Host{Keys: c.keys(), Faults: Faults{CutAfter: 100_000, Cuts: 1}, Exec: func(_ context.Context, cmd Command) int {
		n, _ := io.Copy(io.Discard, cmd.Stdin)
		received <- n
		return 0
	}})
	content := strings.Repeat("x", 300_000)
	if _, _, err := run(t, c.dial(s, 0), content, "cat"); err == nil {
		t.Error("the first connection was not cut")
	}
	if n := <-received; n != 100_000 {
		t.Errorf("received %d bytes before the cut, want 100000", n)
	}
	if _, _, err := run(t, c.dial(s, 0), content, "cat"); err != nil {
		t.Errorf("the second connection: %v", err)
	}
	if n := <-received; n != 300_000 {
		t.Errorf("received %d bytes, want 300000", n)
	}
}

func TestForwardAndBanner(t *testing.T) {
	c := newClient(t)
	behind := c.start(Host{Keys: c.keys(), Exec: func(_ context.Context, cmd Command) int { fmt.Fprint(cmd.Stdout, "behind"); return 0 }})
	jump := c.start(Host{Keys: c.keys(), Forward: true, Banner: "authorised use only\n"})
	banner := ""
	outer, err := ssh.Dial("tcp", jump.Addr(0).String(), &ssh.ClientConfig{
		User: "admin", Auth: []ssh.AuthMethod{ssh.PublicKeys(c.signer)}, HostKeyCallback: ssh.FixedHostKey(jump.hosts[0].HostKey.PublicKey()),
		BannerCallback: func(m string) error { banner = m; return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer outer.Close()
	if banner != "authorised use only\n" {
		t.Errorf("banner %q", banner)
	}
	conn, err := outer.Dial("tcp", behind.Addr(0).String())
	if err != nil {
		t.Fatal(err)
	}
	inner, chans, reqs, err := ssh.NewClientConn(conn, behind.Addr(0).String(), &ssh.ClientConfig{
		User: "admin", Auth: []ssh.AuthMethod{ssh.PublicKeys(c.signer)}, HostKeyCallback: ssh.FixedHostKey(behind.hosts[0].HostKey.PublicKey()),
	})
	if err != nil {
		t.Fatal(err)
	}
	through := ssh.NewClient(inner, chans, reqs)
	defer through.Close()
	if out, _, err := run(t, through, "", "where"); err != nil || out != "behind" {
		t.Errorf("got %q, %v", out, err)
	}
}

func TestStartMany(t *testing.T) {
	c := newClient(t)
	hosts := make([]Host, 3000)
	for i := range hosts {
		hosts[i] = Host{Keys: c.keys(), Exec: func(_ context.Context, cmd Command) int { fmt.Fprint(cmd.Stdout, i); return 0 }}
	}
	s, err := StartMany(hosts)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if a, b := s.Addr(0), s.Addr(2999); a.Addr() == b.Addr() || a.Port() != b.Port() || !b.Addr().IsLoopback() {
		t.Errorf("addresses %s and %s", a, b)
	}
	for _, i := range []int{0, 255, 256, 2999} {
		if out, _, err := run(t, c.dial(s, i), "", "which"); err != nil || out != fmt.Sprint(i) {
			t.Errorf("host %d says %q, %v", i, out, err)
		}
	}
	conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", s.Addr(0).Port()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if n, err := conn.Read(make([]byte, 1)); err == nil {
		t.Errorf("an address without a host answered (%d bytes)", n)
	}
}
