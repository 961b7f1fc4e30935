package remote

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
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

	"github.com/gofleet/gofleet/agent/spec"
	"github.com/gofleet/gofleet/agent/wire"
)

// sshd is a real OpenSSH server on loopback, in a mount namespace of its own
// whose /etc, /run and /usr/local are private: its users exist there only.
type sshd struct {
	t    *testing.T
	dir  string
	port int
	home string // of the users, inside the namespace the same
	cmd  *exec.Cmd
	log  *lockedBuffer
}

// sshdOptions change a server.
type sshdOptions struct {
	config string // lines of sshd_config
	setup  string // shell lines, run in the namespace before sshd starts
	shell  string // of the users; /bin/sh if empty
	listen string // address; 127.0.0.1 if empty
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// hostKeyTypes are those of every server.
var hostKeyTypes = []string{"ed25519", "ecdsa", "rsa"}

// keyDir holds the keys that the tests share; they cost time to make.
var keyDir = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp(scratch, "keys-")
	if err != nil {
		return "", err
	}
	for _, k := range hostKeyTypes {
		for _, name := range []string{"host_", "user_"} {
			if out, err := exec.Command("ssh-keygen", "-q", "-t", k, "-N", "", "-f", filepath.Join(dir, name+k)).CombinedOutput(); err != nil {
				return "", fmt.Errorf("ssh-keygen: %s", out)
			}
		}
	}
	return dir, nil
})

func TestMain(m *testing.M) {
	var err error
	if scratch, err = os.MkdirTemp("", "gofleet-remote-test-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(scratch)
	os.Exit(code)
}

// scratch holds what all tests share, made when it is needed.
var scratch string

func keys(t *testing.T) string {
	t.Helper()
	dir, err := keyDir()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root, for namespaces and users")
	}
}

// startSSHD starts a server with these users: admin (sudo without password),
// op (sudo with the password "right horse"), guest (no sudo).
func startSSHD(t *testing.T, o sshdOptions) *sshd {
	t.Helper()
	needRoot(t)
	// Every parent is root's, as a home has it. Lab hosts see this machine's files, and
	// tests of theirs look there for what has gofleet in its name.
	dir, err := os.MkdirTemp("/var/lib", "remote-test-")
	if err != nil {
		t.Fatal(err)
	}
	s := &sshd{t: t, dir: dir, home: filepath.Join(dir, "home"), port: freePort(t), log: &lockedBuffer{}}
	if o.shell == "" {
		o.shell = "/bin/sh"
	}
	if o.listen == "" {
		o.listen = "127.0.0.1"
	}
	config := fmt.Sprintf("Port %d\nListenAddress %s\nPidFile none\nStrictModes no\nUsePAM no\nLogLevel VERBOSE\n%s", s.port, o.listen, authorizedKeys(dir, o.config))
	for _, k := range hostKeyTypes {
		config += "HostKey " + filepath.Join(keys(t), "host_"+k) + "\n"
	}
	if !strings.Contains(o.config, "Subsystem") {
		config += "Subsystem sftp internal-sftp\n"
	}
	config += o.config + "\n" // last, so that it may hold a Match
	s.write("sshd_config", config)
	var authorized []byte
	for _, k := range hostKeyTypes {
		pub, err := os.ReadFile(filepath.Join(keys(t), "user_"+k+".pub"))
		if err != nil {
			t.Fatal(err)
		}
		authorized = append(authorized, pub...)
	}
	s.write("authorized_keys", string(authorized))
	s.write("setup", fmt.Sprintf(`set -e
cd /
mkdir -p %[1]s/layers
mount -t tmpfs none %[1]s/layers
for d in etc usr/local; do
	mkdir -p %[1]s/layers/$d/u %[1]s/layers/$d/w
	mount -t overlay overlay -o lowerdir=/$d,upperdir=%[1]s/layers/$d/u,workdir=%[1]s/layers/$d/w /$d
done
rm -rf /usr/local/lib/gofleet
mount -t tmpfs -o mode=755 none /run
mkdir -p /run/sshd
mkdir -p %[2]s
i=6000
for u in admin op guest; do
	i=$((i+1))
	mkdir -p %[2]s/$u
	echo "$u:x:$i:$i::%[2]s/$u:%[3]s" >>/etc/passwd
	echo "$u:x:$i:" >>/etc/group
	chown $i:$i %[2]s/$u
	chmod 755 %[2]s/$u
done
echo "admin:*:19000::::::" >>/etc/shadow
echo "guest:*:19000::::::" >>/etc/shadow
echo "op:$(openssl passwd -6 "right horse"):19000::::::" >>/etc/shadow
mkdir -p /etc/sudoers.d
echo "admin ALL=(ALL) NOPASSWD: ALL" >/etc/sudoers.d/gofleet-test
echo "op ALL=(ALL) ALL" >>/etc/sudoers.d/gofleet-test
%[4]s
exec /usr/sbin/sshd -D -e -f %[1]s/sshd_config
`, dir, s.home, o.shell, o.setup))
	chmod(t, dir, 0o755)
	s.cmd = exec.Command("unshare", "-m", "--propagation", "private", "sh", filepath.Join(dir, "setup"))
	s.cmd.Stderr = s.log
	s.cmd.Stdout = s.log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.stop)
	s.waitListening(o.listen)
	return s
}

func (s *sshd) stop() {
	syscall.Kill(-s.cmd.Process.Pid, syscall.SIGTERM)
	s.cmd.Process.Kill()
	s.cmd.Wait()
	os.RemoveAll(s.dir)
	if s.t.Failed() {
		s.t.Logf("sshd says:\n%s", s.log)
	}
}

// waitListening waits for sshd's own word that it listens.
func (s *sshd) waitListening(listen string) { s.await("listening on "+listen, 1) }

// await waits until sshd has said a word n times.
func (s *sshd) await(word string, n int) {
	s.t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for strings.Count(s.log.String(), word) < n {
		if time.Now().After(deadline) {
			s.t.Fatalf("sshd on port %d does not say %q:\n%s", s.port, word, s.log)
		}
		runtime.Gosched()
		time.Sleep(5 * time.Millisecond) // polls a log; nothing is synchronised by it
	}
}

func (s *sshd) write(name, content string) string {
	s.t.Helper()
	file := filepath.Join(s.dir, name)
	if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
		s.t.Fatal(err)
	}
	return file
}

// inside runs a shell line in the server's namespace.
func (s *sshd) inside(line string) string {
	s.t.Helper()
	out, err := exec.Command("nsenter", "-m", "-t", fmt.Sprint(s.cmd.Process.Pid), "sh", "-c", line).CombinedOutput()
	if err != nil {
		s.t.Fatalf("inside: %s: %v\n%s", line, err, out)
	}
	return strings.TrimSpace(string(out))
}

func (s *sshd) addr() string { return fmt.Sprintf("127.0.0.1:%d", s.port) }

// target is one of the server's users.
func (s *sshd) target(user string) Target {
	return Target{Name: "web1", Host: "127.0.0.1", Port: s.port, User: user, KeyFiles: []string{filepath.Join(keys(s.t), "user_ed25519")}}
}

// knownHosts writes a known_hosts file that knows the server.
func (s *sshd) knownHosts(types ...string) string {
	s.t.Helper()
	if types == nil {
		types = hostKeyTypes
	}
	var b strings.Builder
	for _, k := range types {
		fmt.Fprintf(&b, "[127.0.0.1]:%d %s", s.port, hostKeyLine(s.t, k))
	}
	return s.write("known_hosts", b.String())
}

func hostKeyLine(t *testing.T, keyType string) string {
	t.Helper()
	pub, err := os.ReadFile(filepath.Join(keys(t), "host_"+keyType+".pub"))
	if err != nil {
		t.Fatal(err)
	}
	return string(pub)
}

// dialer knows the server, and has a home of its own.
func (s *sshd) dialer() *Dialer {
	d := newDialer(s.t)
	d.KnownHosts = []string{s.knownHosts()}
	return d
}

// newDialer makes a Dialer that sees nothing of the user who runs the tests.
func newDialer(t *testing.T) *Dialer {
	t.Helper()
	d := &Dialer{Home: t.TempDir(), ConfigFiles: []string{}, Timeout: 10 * time.Second}
	t.Cleanup(func() { d.Close() })
	return d
}

func (s *sshd) dial(t Target) *Conn {
	s.t.Helper()
	c, err := s.dialer().Dial(testContext(s.t), t)
	if err != nil {
		s.t.Fatalf("dial: %v", err)
	}
	s.t.Cleanup(func() { c.Close() })
	return c
}

func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func chmod(t *testing.T, file string, mode os.FileMode) {
	t.Helper()
	if err := os.Chmod(file, mode); err != nil {
		t.Fatal(err)
	}
}

func chown(t *testing.T, file string, id int) {
	t.Helper()
	if err := os.Chown(file, id, id); err != nil {
		t.Fatal(err)
	}
}

type builtAgent struct {
	Binary
	path string
	raw  []byte
}

// agentBinary builds the stand-in for the agent.
var agentBinary = sync.OnceValues(func() (builtAgent, error) {
	var a builtAgent
	f, err := os.CreateTemp(scratch, "agent-")
	if err != nil {
		return a, err
	}
	f.Close()
	a.path = f.Name()
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", a.path, "./testdata/agent")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return a, fmt.Errorf("%w\n%s", err, out)
	}
	raw, err := os.ReadFile(a.path)
	if err != nil {
		return a, err
	}
	sum := sha256.Sum256(raw)
	var gz bytes.Buffer
	w, _ := gzip.NewWriterLevel(&gz, gzip.BestSpeed)
	w.Write(raw)
	if err := w.Close(); err != nil {
		return a, err
	}
	a.raw = raw
	a.Binary = Binary{Platform: spec.Platform{OS: "linux", Arch: runtime.GOARCH}, SHA256: hex.EncodeToString(sum[:]), Size: int64(len(raw)), Gzip: gz.Bytes()}
	return a, nil
})

func testAgent(t *testing.T) builtAgent {
	t.Helper()
	a, err := agentBinary()
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func launchOf(t *testing.T) Launch {
	return Launch{Binaries: []Binary{testAgent(t).Binary}, Root: "/usr/local/lib/gofleet"}
}

// wantKind fails unless err is a *wire.Error of that kind that says all of words.
func wantKind(t *testing.T, err error, kind wire.Kind, words ...string) *wire.Error {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want one of kind %s", kind)
	}
	w := wire.AsError(err, "none")
	if w.Kind != kind {
		t.Fatalf("kind %s, want %s: %v", w.Kind, kind, err)
	}
	for _, word := range words {
		if !strings.Contains(w.Message+"\n"+w.Hint, word) {
			t.Errorf("error %q (hint %q) does not say %q", w.Message, w.Hint, word)
		}
	}
	return w
}

// ask sends a line to the agent and returns its answer.
func ask(t *testing.T, s *Session, line string) string {
	t.Helper()
	if _, err := fmt.Fprintln(s.Stdin, line); err != nil {
		t.Fatal(err)
	}
	var e wire.Event
	if err := s.Stdout.Read(&e); err != nil {
		t.Fatal(err)
	}
	return e.Phase
}

// program makes an agent of any text.
func program(t *testing.T, text string) Binary {
	t.Helper()
	var gz bytes.Buffer
	w := gzip.NewWriter(&gz)
	w.Write([]byte(text))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(text))
	return Binary{Platform: spec.Platform{OS: "linux", Arch: runtime.GOARCH}, SHA256: hex.EncodeToString(sum[:]), Size: int64(len(text)), Gzip: gz.Bytes()}
}

// buildProgram builds a static program of testdata.
func buildProgram(t *testing.T, pkg, out string) {
	t.Helper()
	cmd := exec.Command("go", "build", "-trimpath", "-o", out, pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if msg, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", pkg, err, msg)
	}
}

// authorizedKeys is the users' keys, unless config says otherwise: sshd takes the first.
func authorizedKeys(dir, config string) string {
	if strings.Contains(config, "AuthorizedKeysFile") {
		return ""
	}
	return "AuthorizedKeysFile " + dir + "/authorized_keys\n"
}
