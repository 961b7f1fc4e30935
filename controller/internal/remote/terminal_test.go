package remote

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"

	"github.com/gofleet/gofleet/agent/wire"
)

// terminals sets up users whose sudo wants a terminal: tty without password,
// ttypw with it, and both again with a terminal that sudo makes of its own.
const terminals = `
i=6010
for u in tty ttypw own ownpw; do
	i=$((i+1))
	echo "$u:x:$i:$i::/tmp:/bin/sh" >>/etc/passwd
	echo "$u:$(openssl passwd -6 "right horse"):19000::::::" >>/etc/shadow
	echo "Defaults:$u requiretty" >>/etc/sudoers.d/gofleet-test
	case $u in own*) echo "Defaults:$u use_pty";; esac >>/etc/sudoers.d/gofleet-test
	case $u in *pw) echo "$u ALL=(ALL) ALL";; *) echo "$u ALL=(ALL) NOPASSWD: ALL";; esac >>/etc/sudoers.d/gofleet-test
done
echo "Defaults:op use_pty" >>/etc/sudoers.d/gofleet-test
`

// Where sudo works on a terminal only, it gets one: after one refusal over the
// same connection, or at once where the inventory says so.
func TestTerminal(t *testing.T) {
	s := startSSHD(t, sshdOptions{setup: terminals, config: "Subsystem sftp /bin/false"})
	yes, no := true, false
	for _, c := range []struct {
		name, user string
		become     *Become
		change     func(*Target)
		uid        int
		execs      int // sessions that sshd saw
	}{
		{name: "requiretty", user: "tty", become: &Become{}, execs: 2},
		{name: "requiretty, a password that nobody wants", user: "tty", become: &Become{Password: given(opPassword)}, execs: 2},
		{name: "requiretty with a password", user: "ttypw", become: &Become{Password: given(opPassword)}, execs: 2},
		{name: "use_pty", user: "own", become: &Become{}, execs: 2},
		{name: "use_pty with a password", user: "ownpw", become: &Become{Password: given(opPassword)}, execs: 2},
		{name: "use_pty without requiretty", user: "op", become: &Become{Password: given(opPassword)}, execs: 1},
		{name: "ansible_ssh_use_tty", user: "ttypw", become: &Become{Password: given(opPassword)}, change: func(t *Target) { t.TTY = &yes }, execs: 1},
		{name: "-tt", user: "tty", become: &Become{}, change: func(t *Target) { t.Args = []string{"-tt"} }, execs: 1},
		{name: "RequestTTY force", user: "tty", become: &Become{}, change: func(t *Target) { t.Args = []string{"-o", "RequestTTY=force"} }, execs: 1},
		{name: "a terminal that nobody wants", user: "guest", uid: 6003, change: func(t *Target) { t.TTY = &yes }, execs: 1},
		{name: "variable before argument", user: "admin", become: &Become{}, change: func(t *Target) { t.TTY, t.Args = &no, []string{"-tt"} }, execs: 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			target := s.target(c.user)
			target.Become = c.become
			if c.change != nil {
				c.change(&target)
			}
			before := strings.Count(s.log.String(), "Starting session: ")
			conn := s.dial(target)
			session := start(t, conn, launchOf(t))
			if session.Hello.UID != c.uid {
				t.Errorf("became %d", session.Hello.UID)
			}
			if n := strings.Count(s.log.String(), "Starting session: ") - before; n != c.execs {
				t.Errorf("%d sessions, want %d", n, c.execs)
			}
			if got := ask(t, session, "first"); got != "first" {
				t.Errorf("the agent read %q before our first line", got)
			}
			talk(t, session)
			if strings.Contains(session.Stderr(), opPassword) {
				t.Errorf("the password is in what the host said: %q", session.Stderr())
			}
			if !strings.Contains(session.Stderr(), "a complaint") {
				t.Errorf("stderr is lost: %q", session.Stderr())
			}
			if err := session.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
			// The connection remembers, and an exit code comes through.
			again := start(t, conn, launchOf(t))
			if n := strings.Count(s.log.String(), "Starting session: ") - before; n != c.execs+1 {
				t.Errorf("the second agent took %d sessions", n-c.execs)
			}
			fmt.Fprintln(again.Stdin, "exit")
			var e wire.Event
			wantKind(t, again.Explain(again.Stdout.Read(&e)), wire.KindAgent, "exit code 7", "told to exit")
		})
	}
	t.Run("wrong password", func(t *testing.T) {
		target := s.target("ttypw")
		asked := 0
		target.Become = &Become{Password: func() (string, error) { asked++; return "wrong horse", nil }}
		_, err := s.dial(target).StartAgent(testContext(t), launchOf(t))
		w := wantKind(t, err, wire.KindBecomePassword, "does not accept")
		if asked != 1 || strings.Contains(w.Message, "wrong horse") {
			t.Errorf("asked %d times: %q", asked, w.Message)
		}
	})
	t.Run("no password", func(t *testing.T) {
		target := s.target("ttypw")
		target.Become = &Become{}
		_, err := s.dial(target).StartAgent(testContext(t), launchOf(t))
		wantKind(t, err, wire.KindBecomePassword, "wants a password")
	})
	t.Run("forbidden", func(t *testing.T) {
		for _, change := range []func(*Target){func(t *Target) { t.TTY = &no }, func(t *Target) { t.Args = []string{"-T"} }, func(t *Target) { t.Args = []string{"-o", "RequestTTY=no"} }} {
			target := s.target("tty")
			target.Become = &Become{}
			change(&target)
			_, err := s.dial(target).StartAgent(testContext(t), launchOf(t))
			wantKind(t, err, wire.KindBecomeDenied, "requiretty", "ansible_ssh_use_tty", "Defaults:USER")
		}
	})
	if strings.Contains(s.log.String(), opPassword) {
		t.Error("the password is in sshd's log")
	}
}

// talk sends what a terminal would spoil: every byte, long lines, many bytes.
func talk(t *testing.T, s *Session) {
	t.Helper()
	if got := ask(t, s, "noise"); got != "noise" {
		t.Errorf("answer %q", got)
	}
	long := strings.Repeat("x", 100_000) // canonical lines end at 4,096
	if got := ask(t, s, long); got != long {
		t.Errorf("a line of %d bytes came back with %d", len(long), len(got))
	}
	data := make([]byte, 1<<20)
	rand.Read(data)
	for i := range 256 {
		data[i], data[256+2*i], data[257+2*i] = byte(i), '\r', byte(i)
	}
	sum := sha256.Sum256(data)
	go func() {
		fmt.Fprintf(s.Stdin, "sum %d\n", len(data))
		s.Stdin.Write(data)
	}()
	var e wire.Event
	if err := s.Stdout.Read(&e); err != nil {
		t.Fatal(err)
	}
	if e.Phase != hex.EncodeToString(sum[:]) {
		t.Errorf("%d bytes arrive changed: %s", len(data), e.Phase)
	}
}

// A host that gives no terminals says so, and is not asked for more.
func TestNoTerminal(t *testing.T) {
	s := startSSHD(t, sshdOptions{setup: terminals, config: "PermitTTY no"})
	target := s.target("tty")
	target.Become = &Become{}
	_, err := s.dial(target).StartAgent(testContext(t), launchOf(t))
	wantKind(t, err, wire.KindBecomeDenied, "requiretty", "PermitTTY")
}

// An su that works on a terminal only, and one that always does.
func TestSuOnTerminal(t *testing.T) {
	s := startSSHD(t, sshdOptions{setup: `
echo "root:$(openssl passwd -6 "root word"):19000::::::" >/tmp/r$$; sed -i "/^root:/d" /etc/shadow; cat /tmp/r$$ >>/etc/shadow; rm /tmp/r$$
printf '#!/bin/sh\n[ -t 0 ] || { echo "su: must be run from a terminal" >&2; exit 1; }\nexec su "$@"\n' >/usr/local/bin/su-tty
chmod 755 /usr/local/bin/su-tty`})
	for name, password := range map[string]string{"right": "root word", "wrong": "not it"} {
		target := s.target("guest")
		target.Become = &Become{Method: "su", Exe: "/usr/local/bin/su-tty", Password: given(password)}
		session, err := s.dial(target).StartAgent(testContext(t), launchOf(t))
		if name == "wrong" {
			wantKind(t, err, wire.KindBecomePassword, "su does not accept")
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		talk(t, session)
		session.Close()
	}
}

// A network that breaks ends an agent on a terminal too.
func TestTerminalIsLost(t *testing.T) {
	s := startSSHD(t, sshdOptions{setup: terminals})
	p := newProxy(t, s.addr(), nil)
	target := s.target("ttypw")
	target.Port = p.port()
	target.Become = &Become{Password: given(opPassword)}
	conn, err := knowing(t).Dial(testContext(t), target)
	if err != nil {
		t.Fatal(err)
	}
	session := start(t, conn, launchOf(t))
	pid := session.Hello.PID
	p.cut()
	var e wire.Event
	wantKind(t, session.Explain(session.Stdout.Read(&e)), wire.KindUnreachable, "was lost")
	s.inside(fmt.Sprintf("n=0; while [ -d /proc/%d ] && [ $n -lt 200 ]; do n=$((n+1)); sleep 0.1; done; [ ! -d /proc/%d ]", pid, pid))
}

func TestEventLines(t *testing.T) {
	long := `{"x":"` + strings.Repeat("y", 5000) + `"}` + "\n"
	in := "noise\n{1}\r\n\npanic: {2}\n  {3}\n" + long + strings.Repeat("z", 5000) + "{4}\n{5}"
	for _, r := range []io.Reader{strings.NewReader(in), iotest.OneByteReader(strings.NewReader(in)), iotest.DataErrReader(strings.NewReader(in))} {
		tail := newTail("", nil, nil)
		got, err := io.ReadAll(&eventLines{br: bufio.NewReaderSize(r, 16), tail: tail})
		if want := "{1}\r\n" + long + "{5}"; err != nil || string(got) != want {
			t.Errorf("%q, %v", got, err)
		}
		if l := tail.lines(); len(l) != 4 || l[0] != "noise" || l[1] != "panic: {2}" || l[2] != "{3}" {
			t.Errorf("the tail has %q", l)
		}
	}
}

// What a terminal echoes is not shown, and a prompt is found across reads.
func TestTailOnTerminal(t *testing.T) {
	var seen atomic.Int32
	tail := newTail("[secret] password: ", func(int) { seen.Add(1) }, func() {})
	tail.skip = agentSays("MARK")
	r := &teeTail{r: iotest.OneByteReader(strings.NewReader("hi\n[secret] password: ")), tail: tail}
	io.Copy(io.Discard, r)
	tail.hide("horse")
	io.Copy(io.Discard, &teeTail{r: bytes.NewBufferString("horse\r\nMARK cached\n{\"phase\":\"x\"}\nfatal error\n"), tail: tail})
	if got := strings.Join(tail.lines(), "|"); got != "hi|fatal error" || seen.Load() != 1 {
		t.Errorf("%q, prompt seen %d times", got, seen.Load())
	}
}
