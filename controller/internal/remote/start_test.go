package remote

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gofleet/gofleet/agent/spec"
	"github.com/gofleet/gofleet/agent/wire"
)

const cacheDir = "/usr/local/lib/gofleet/agent"

// putCached puts the agent where apply would keep it.
func (s *sshd) putCached(dir string) string {
	s.t.Helper()
	a := testAgent(s.t)
	file := dir + "/" + a.SHA256
	s.inside(fmt.Sprintf("umask 022; mkdir -p %s && cp %s %s && chmod 755 %s", dir, a.path, file, file))
	return file
}

func start(t *testing.T, c *Conn, l Launch) *Session {
	t.Helper()
	session, err := c.StartAgent(testContext(t), l)
	if err != nil {
		t.Fatalf("start: %v", err)
	}
	t.Cleanup(func() { session.Close() })
	return session
}

func TestCachedAgent(t *testing.T) {
	s := startSSHD(t, sshdOptions{})
	file := s.putCached(cacheDir)
	target := s.target("admin")
	target.Become = &Become{}
	c := s.dial(target)

	session := start(t, c, launchOf(t))
	if h := session.Hello; !h.Cached || h.UID != 0 || h.LoginUID != 6001 {
		t.Errorf("hello is %+v", h)
	}
	if got := ask(t, session, "wd"); got != "/" {
		t.Errorf("the agent works in %s", got)
	}

	// What others could have changed is not run.
	for name, c2 := range map[string]struct{ spoil, repair string }{
		"group may write the directory":   {"chmod g+w " + cacheDir, "chmod g-w " + cacheDir},
		"others may write a parent":       {"chmod o+w /usr/local/lib", "chmod o-w /usr/local/lib"},
		"others may write, with sticky":   {"chmod 1777 /usr/local/lib/gofleet", "chmod 755 /usr/local/lib/gofleet"},
		"a parent is another user's":      {"chown 6003 /usr/local/lib/gofleet", "chown 0 /usr/local/lib/gofleet"},
		"the file is another user's":      {"chown 6003 " + file, "chown 0 " + file},
		"the file may be written":         {"chmod 775 " + file, "chmod 755 " + file},
		"the file is a link":              {fmt.Sprintf("mv %s /tmp/x$$ && mv /tmp/x$$ %s.real && ln -s %s.real %s", file, file, file, file), fmt.Sprintf("rm %s && mv %s.real %s", file, file, file)},
		"the file is not executable":      {"chmod 644 " + file, "chmod 755 " + file},
		"the directory is a link outside": {fmt.Sprintf("mkdir -p /etc/w && chmod 777 /etc/w && mv %s /etc/w/agent && ln -s /etc/w/agent %s", cacheDir, cacheDir), fmt.Sprintf("rm %s && mv /etc/w/agent %s", cacheDir, cacheDir)},
	} {
		s.inside(c2.spoil)
		session := start(t, c, launchOf(t))
		if session.Hello.Cached {
			t.Errorf("%s: the cached agent was used", name)
		}
		session.Close()
		s.inside(c2.repair)
	}
	if session := start(t, c, launchOf(t)); !session.Hello.Cached {
		t.Error("the cached agent is not used any more after all was repaired")
	}

	// A link that only root could have made, to a place that is root's, is fine.
	s.inside(fmt.Sprintf("mkdir -p /etc/z && mv %s /etc/z/agent && ln -s /etc/z/agent %s", cacheDir, cacheDir))
	if session := start(t, c, launchOf(t)); !session.Hello.Cached {
		t.Error("a cache behind root's link is not used")
	}
	s.inside(fmt.Sprintf("rm %s && mv /etc/z/agent %s", cacheDir, cacheDir))

	// A damaged one is not the end.
	s.inside("echo damaged >" + file + "; head -c 300 " + testAgent(t).path + " >" + file)
	if session := start(t, c, launchOf(t)); session.Hello.Cached {
		t.Error("a damaged agent says Hello")
	}
}

func TestCachedAgentOfSeveralMachines(t *testing.T) {
	s := startSSHD(t, sshdOptions{})
	s.putCached(cacheDir)
	other := Binary{Platform: spec.Platform{OS: "linux", Arch: "s390x"}, SHA256: strings.Repeat("f", 64)}
	s.inside(fmt.Sprintf("printf 'exit 9' >%s/%s; chmod 755 %s/%s", cacheDir, other.SHA256, cacheDir, other.SHA256))
	target := s.target("admin")
	target.Become = &Become{}
	l := launchOf(t)
	l.Binaries = append(l.Binaries, other)
	if session := start(t, s.dial(target), l); !session.Hello.Cached {
		t.Error("the cached agent of this machine is not used")
	}
}

// As an ordinary user the cache is in the home.
func TestUserCache(t *testing.T) {
	s := startSSHD(t, sshdOptions{})
	s.inside("chown -R guest " + s.home + "/guest")
	dir := s.home + "/guest/.cache/gofleet/agent"
	s.putCached(dir)
	s.inside("chown -R guest " + s.home + "/guest")
	session := start(t, s.dial(s.target("guest")), launchOf(t))
	if h := session.Hello; !h.Cached || h.UID != 6003 || h.LoginUID != 6003 {
		t.Errorf("hello is %+v", h)
	}
	// A cache that is neither ours nor root's is not.
	s.inside("chown admin " + dir)
	if start(t, s.dial(s.target("guest")), launchOf(t)).Hello.Cached {
		t.Error("another user's cache is used")
	}
}

// Every kind of login shell hands the line over unharmed, noisy ones too.
func TestLoginShells(t *testing.T) {
	const (
		root   = `/opt/it's_a_"root"_\_with_$HOME,_!_and_;/go`
		spaced = `/opt/it's a "root" \ with $HOME, ! and ;/go` // below a name that ls cannot tell: passed over
	)
	for _, shell := range []string{"dash", "bash", "busybox", "fish", "tcsh", "zsh"} {
		path, err := exec.LookPath(shell)
		if err != nil {
			if shell == "dash" || shell == "bash" {
				t.Fatal(err)
			}
			t.Logf("%s is not installed", shell)
			continue
		}
		t.Run(shell, func(t *testing.T) {
			setup := ""
			if shell == "busybox" {
				path = "/usr/local/bin/ash"
				setup = "cp " + "$(command -v busybox) /usr/local/bin/ash"
			}
			s := startSSHD(t, sshdOptions{shell: path, setup: setup})
			// The words arrive as they are: the agent starts from root's parent.
			parent := filepath.Join(s.home, filepath.Dir(root))
			for _, dir := range []string{parent, filepath.Join(s.home, filepath.Dir(spaced))} {
				if err := os.MkdirAll(dir, 0o755); err != nil {
					t.Fatal(err)
				}
				chown(t, dir, 6003)
			}
			for _, become := range []*Become{nil, {User: "guest"}} {
				target := s.target("guest")
				if become != nil {
					target = s.target("admin")
				}
				target.Become = become
				session := start(t, s.dial(target), launchOf2(t, s.home+root))
				if got := ask(t, session, "temp"); !strings.HasPrefix(got, parent+"/.gofleet-") {
					t.Errorf("started from %s, not in %s", got, parent)
				}
				if h := session.Hello; h.UID != 6003 || become == nil && h.LoginUID != 6003 || become != nil && h.LoginUID != 6001 {
					t.Errorf("hello is %+v", h)
				}
				session.Close()
			}
			if got := ask(t, start(t, s.dial(s.target("guest")), launchOf2(t, s.home+spaced)), "temp"); !strings.HasPrefix(got, s.home+"/guest/.gofleet-") {
				t.Errorf("started from %s, not in the home", got)
			}
		})
	}
}

// The line itself runs under every sh that hosts have.
func TestScriptUnderShells(t *testing.T) {
	for _, sh := range [][]string{{"dash"}, {"bash", "--posix"}, {"bash"}, {"busybox", "sh"}} {
		if _, err := exec.LookPath(sh[0]); err != nil {
			t.Logf("%s is not installed", sh[0])
			continue
		}
		t.Run(strings.Join(sh, " "), func(t *testing.T) {
			dir := t.TempDir()
			chmod(t, dir, 0o700)
			cmd := exec.Command(sh[0], append(sh[1:], "-c", oneLine(agentScript), "sh", "MARK", dir+"/go", "", "1", "12")...)
			cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir}
			out, err := cmd.Output()
			if err == nil {
				t.Error("no error without an agent")
			}
			_, rest, ok := strings.Cut(string(out), "MARK need ")
			if !ok {
				t.Fatalf("it prints %q", out)
			}
			p, gzip, _, err := parseProbe(strings.TrimSpace(rest))
			if err != nil || p.System != "Linux" || p.Bits != 64 || !gzip || !strings.HasPrefix(p.Libc, "glibc 2.") {
				t.Errorf("probe %+v, gzip %v, error %v", p, gzip, err)
			}
			if left, _ := filepath.Glob("/run/.gofleet-MARK"); len(left) > 0 {
				t.Errorf("left: %v", left)
			}
		})
	}
}

// With the agent cached, the way to it costs one fork, for ls.
func TestCachedForks(t *testing.T) {
	if _, err := exec.LookPath("strace"); err != nil {
		t.Logf("strace is not installed: forks are not counted")
		return
	}
	needRoot(t)
	a := testAgent(t)
	home, err := os.MkdirTemp("/root", "gofleet-forks-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(home) })
	dir := filepath.Join(home, "agent")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, a.SHA256), a.raw, 0o755); err != nil {
		t.Fatal(err)
	}
	script := strings.Replace(oneLine(agentScript), "D=/usr/local/lib/gofleet/agent", "D="+dir, 1)
	for _, sh := range []string{"dash", "bash"} {
		trace := filepath.Join(t.TempDir(), "trace")
		cmd := exec.Command("strace", "-f", "-e", "trace=execve,clone,clone3,fork,vfork", "-e", "signal=none", "-o", trace, sh, "-c", script, "sh", "MARK", "/x/go", agentList([]Binary{a.Binary}), "1", "12")
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "MARK hello") {
			t.Fatalf("%s: %v\n%s", sh, err, out)
		}
		log, err := os.ReadFile(trace)
		if err != nil {
			t.Fatal(err)
		}
		before, _, ok := strings.Cut(string(log), dir+"/"+a.SHA256+"\", [") // what the agent does is its own
		if !ok {
			t.Fatalf("%s does not run the agent:\n%s", sh, log)
		}
		forks := strings.Count(before, "clone") + strings.Count(before, "fork(")
		programs := 0
		for l := range strings.SplitSeq(before, "\n") {
			if strings.Contains(l, "execve(") && strings.HasSuffix(l, " = 0") {
				programs++ // others are tries along PATH
			}
		}
		if forks > 1 || programs > 2 {
			t.Errorf("%s forks %d times and runs %d programs:\n%s", sh, forks, programs, before)
		}
	}
}

func TestNoise(t *testing.T) {
	s := startSSHD(t, sshdOptions{shell: "/bin/bash"})
	c := s.dial(s.target("guest"))
	rc := filepath.Join(s.home, "guest", ".bashrc") // bash reads it for sshd's commands too
	noise := func(line string) {
		t.Helper()
		if err := os.WriteFile(rc, []byte(line+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	noise("head -c 1000000 /dev/zero | tr '\\0' x; printf 'no newline, then '")
	start(t, c, launchOf(t)).Close()
	noise("yes 'Welcome to web1' | head -c 1000000")
	start(t, c, launchOf(t)).Close()
	noise("head -c 4194304 /dev/zero | tr '\\0' x")
	_, err := c.StartAgent(testContext(t), launchOf(t))
	wantKind(t, err, wire.KindProtocol, "prints too much", ".bashrc")
	noise("head -c 4194304 /dev/zero >&2")
	session := start(t, c, launchOf(t))
	if said := session.Stderr(); len(said) > tailSize {
		t.Errorf("%d bytes of stderr are kept", len(said))
	}
	noise("echo 'This account is not available'; exit 1") // as nologin does
	_, err = c.StartAgent(testContext(t), launchOf(t))
	wantKind(t, err, wire.KindAgent, "exit code 1; it said: This account is not available")
	noise("exit 3")
	_, err = c.StartAgent(testContext(t), launchOf(t))
	wantKind(t, err, wire.KindAgent, "exit code 3")
	noise(`printf 'go away\033[31m\n' >&2; exit 1`)
	_, err = c.StartAgent(testContext(t), launchOf(t))
	if w := wantKind(t, err, wire.KindAgent, "go away"); strings.Contains(w.Message, "\x1b") {
		t.Errorf("control characters get through: %q", w.Message)
	}
}

func TestSilentHost(t *testing.T) {
	s := startSSHD(t, sshdOptions{shell: "/bin/bash"})
	if err := os.WriteFile(filepath.Join(s.home, "guest", ".bashrc"), []byte("echo thinking >&2; sleep 1000\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	d := s.dialer()
	d.StartTimeout = time.Second
	c, err := d.Dial(testContext(t), s.target("guest"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, err = c.StartAgent(testContext(t), launchOf(t))
	if w := wantKind(t, err, wire.KindTimeout, "silent", "thinking"); !w.Retryable {
		t.Error("not retryable")
	}
	// One that only ever complains is no better.
	if err := os.WriteFile(filepath.Join(s.home, "guest", ".bashrc"), []byte("exec yes busy >&2\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if c, err = d.Dial(testContext(t), s.target("guest")); err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, err = c.StartAgent(testContext(t), launchOf(t))
	wantKind(t, err, wire.KindTimeout, "silent", "busy")
	ctx, cancel := context.WithCancel(testContext(t))
	cancel()
	_, err = c.StartAgent(ctx, launchOf(t))
	wantKind(t, err, wire.KindInterrupted)
}

func TestAgentThatCannotRun(t *testing.T) {
	s := startSSHD(t, sshdOptions{})
	target := s.target("admin")
	target.Become = &Become{}
	c := s.dial(target)
	probed := func(err error) Probe {
		t.Helper()
		p, ok := err.(interface{ Probed() *wire.Facts })
		if !ok || p.Probed().Kernel == "" || p.Probed().Machine == "" {
			t.Fatalf("the error %T does not tell what the host is", err)
		}
		return err.(*ProbeError).Probe
	}

	_, err := c.StartAgent(testContext(t), Launch{Root: "/x/go"})
	wantKind(t, err, wire.KindPlatform, "no agent for this host")
	probed(err)

	broken := testAgent(t).Binary
	broken.SHA256 = strings.Repeat("0", 64)
	_, err = c.StartAgent(testContext(t), Launch{Root: "/x/go", Binaries: []Binary{broken}})
	wantKind(t, err, wire.KindAgent, "not what was sent")
	probed(err)

	_, err = c.StartAgent(testContext(t), Launch{Root: "/x/go", Binaries: []Binary{program(t, "\x7fELF of another machine")}})
	wantKind(t, err, wire.KindAgent, "cannot run")
	probed(err)

	_, err = c.StartAgent(testContext(t), Launch{Root: "/x/go", Binaries: []Binary{program(t, "#!/bin/sh\nkill -ILL $$\n")}})
	wantKind(t, err, wire.KindAgent, "cannot run", "132")
	probed(err)

	_, err = c.StartAgent(testContext(t), Launch{Root: "/x/go", Binaries: []Binary{program(t, "#!/bin/sh\necho FATAL: kernel too old >&2; exit 2\n")}})
	wantKind(t, err, wire.KindAgent, "exit code 2", "kernel too old")

	s.inside("mount -t tmpfs -o noexec none /run; mount -t tmpfs -o noexec none /tmp; mount -t tmpfs -o noexec none /root")
	_, err = c.StartAgent(testContext(t), launchOf2(t, "/run/x/go"))
	wantKind(t, err, wire.KindAgent, "no directory", "/run", "/tmp", "noexec")
	probed(err)
	// The parent of gofleet_root is the next place to try.
	s.inside("mkdir -p /usr/local/lib")
	session := start(t, c, launchOf(t))
	if got := ask(t, session, "temp"); !strings.HasPrefix(got, "/usr/local/lib/.gofleet-") {
		t.Errorf("started from %s", got)
	}
	if left := s.inside("find /run /tmp /root /usr/local/lib -maxdepth 1 -name '.gofleet*'"); left != "" {
		t.Errorf("left on the host: %s", left)
	}
}

// Root starts no program from where another user can rename a directory: its
// sum would be one file's, and what is started another's.
func TestPlacesThatOthersCanChange(t *testing.T) {
	s := startSSHD(t, sshdOptions{})
	target := s.target("admin")
	target.Become = &Become{}
	c := s.dial(target)
	s.inside("mount -t tmpfs -o noexec none /run; mkdir -p /usr/local/their/roots /usr/local/open/roots /usr/local/staff; chown guest /usr/local/their; chmod 1777 /usr/local/their; chmod 777 /usr/local/open; chgrp guest /usr/local/staff; chmod 775 /usr/local/staff")
	for _, parent := range []string{"/usr/local/their", "/usr/local/their/roots", "/usr/local/open", "/usr/local/open/roots", "/usr/local/staff"} {
		session := start(t, c, launchOf2(t, parent+"/go"))
		if got := ask(t, session, "temp"); strings.HasPrefix(got, "/usr/local/") {
			t.Errorf("gofleet_root in %s: started from %s", parent, got)
		}
		session.Close()
	}
	s.inside("mkdir -m 1777 /usr/local/tmp; ln -s tmp /usr/local/link")
	session := start(t, c, launchOf2(t, "/usr/local/link/go"))
	if got := ask(t, session, "temp"); !strings.HasPrefix(got, "/usr/local/tmp/.gofleet-") {
		t.Errorf("root's sticky directory is not used, but %s", got)
	}
}

// launchOf2 is launchOf with another gofleet_root.
func launchOf2(t *testing.T, root string) Launch {
	l := launchOf(t)
	l.Root = root
	return l
}

// Hosts without gzip, without sha256sum, without getconf, with busybox only.
func TestPoorHosts(t *testing.T) {
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		t.Log("busybox is not installed")
		return
	}
	s := startSSHD(t, sshdOptions{})
	for name, applets := range map[string]string{
		"busybox":      "sh ls uname head gzip sha256sum mkdir rm chmod id od dd wc",
		"no gzip":      "sh ls uname head sha256sum mkdir rm chmod id od dd wc",
		"no sha256sum": "sh ls uname head gzip mkdir rm chmod id od dd wc",
	} {
		bin := "/usr/local/poor-" + strings.ReplaceAll(name, " ", "-")
		s.inside("mkdir " + bin + "; for a in " + applets + "; do cp " + busybox + " " + bin + "/$a; done")
		s.inside("printf 'export PATH=" + bin + "\n' >" + s.home + "/guest/.bashrc; sed -i 's,^\\(guest.*\\):[^:]*$,\\1:/bin/bash,' /etc/passwd")
		c := s.dial(s.target("guest"))
		session := start(t, c, launchOf(t))
		if p := session.Probe; p.Bits != 64 || p.Machine == "" {
			t.Errorf("%s: probe is %+v", name, p)
		}
		session.Close()
		// Noticed without sha256sum as well.
		broken := testAgent(t).Binary
		broken.SHA256 = strings.Repeat("0", 64)
		broken.Size--
		if name != "no gzip" {
			_, err := c.StartAgent(testContext(t), Launch{Root: "/x/go", Binaries: []Binary{broken}})
			wantKind(t, err, wire.KindAgent, "not what was sent")
		}
	}
}

func TestSessionEnds(t *testing.T) {
	s := startSSHD(t, sshdOptions{})
	c := s.dial(s.target("guest"))
	session := start(t, c, launchOf(t))
	fmt.Fprintln(session.Stdin, "exit")
	var e wire.Event
	err := session.Explain(session.Stdout.Read(&e))
	if w := wantKind(t, err, wire.KindAgent, "exit code 7", "told to exit"); strings.Contains(w.Message, "\x1b") {
		t.Errorf("control characters get through: %q", w.Message)
	}
	if err := start(t, c, launchOf(t)).Close(); err != nil {
		t.Errorf("an agent that ends at EOF: %v", err)
	}

	session = start(t, c, launchOf(t))
	c.Close()
	err = session.Explain(session.Stdout.Read(&e))
	wantKind(t, err, wire.KindAgent)

	// The host goes away.
	c = s.dial(s.target("guest"))
	session = start(t, c, launchOf(t))
	s.inside("kill -9 $(ps -eo pid,args | awk '/sshd: guest/ && !/awk/ {print $1}')")
	err = session.Explain(session.Stdout.Read(&e))
	if w := wantKind(t, err, wire.KindUnreachable, "connection to"); !w.Retryable {
		t.Error("not retryable")
	}
}

func TestLocal(t *testing.T) {
	d := newDialer(t)
	c, err := d.Dial(testContext(t), Target{Name: "localhost", Local: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	l := launchOf(t)
	l.Root = t.TempDir() + "/go"
	l.NoCache = true
	session := start(t, c, l)
	if h := session.Hello; h.UID != os.Getuid() || h.LoginUID != os.Getuid() {
		t.Errorf("hello is %+v", h)
	}
	dst := filepath.Join(t.TempDir(), "dst")
	if err := os.WriteFile(dst, []byte("begin"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := c.Upload(testContext(t), strings.NewReader("begin and end"), 5, 13, dst, func(int64) {}); err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(dst); string(got) != "begin and end" {
		t.Errorf("uploaded %q", got)
	}
	fmt.Fprintln(session.Stdin, "exit")
	wantKind(t, session.Wait(), wire.KindAgent, "exit code 7")
	session = start(t, c, l)
	c.Close()
	wantKind(t, session.Close(), wire.KindAgent)
}
