package toolchain

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gofleet/gofleet/agent/internal/account"
	"github.com/gofleet/gofleet/agent/internal/hostcmd"
	"github.com/gofleet/gofleet/agent/spec"
)

// maxTail is how much of a failed command's output is kept.
const maxTail = 4 << 10

// runner runs programs of one verification, in a directory of its own.
type runner struct {
	goroot string
	top    string // to be removed; may be entered by all
	work   string // the deploy user's
	as     *account.Credential
}

func (v *Verification) newRunner(dir string) (*runner, error) {
	if err := makeDir(v.Store.Staging(), 0o711); err != nil {
		return nil, err
	}
	return v.newRunnerIn(v.Store.Staging(), dir)
}

// newRunnerIn works below parent, and for an empty dir without Go.
func (v *Verification) newRunnerIn(parent, dir string) (*runner, error) {
	top, err := os.MkdirTemp(parent, "verify-")
	if err != nil {
		return nil, err
	}
	r := &runner{goroot: dir, top: top, work: filepath.Join(top, "work"), as: v.As}
	err = errors.Join(os.Chmod(top, 0o711), os.Mkdir(r.work, 0o700))
	if err == nil && v.As != nil && int(v.As.UID) != os.Geteuid() {
		err = os.Lchown(r.work, int(v.As.UID), int(v.As.GID))
	}
	if err != nil {
		r.close()
		return nil, err
	}
	return r, nil
}

func (r *runner) close() {
	os.RemoveAll(r.top)
	if parent := filepath.Dir(r.top); filepath.Base(parent) == stagingName {
		os.Remove(parent) // if nothing else is in it
	}
}

// write makes a source file. The directory is the deploy user's, so the file
// is made where there is nothing, and no link is followed.
func (r *runner) write(name, content string) error {
	f, err := os.OpenFile(filepath.Join(r.work, name), os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o644)
	if err != nil {
		return err
	}
	_, err = f.WriteString(content)
	return errors.Join(err, f.Chmod(0o644), f.Close())
}

// path finds this toolchain first, and then what an administrator installed.
func (r *runner) path() string {
	if r.goroot == "" {
		return hostcmd.Path
	}
	return filepath.Join(r.goroot, "bin") + ":" + hostcmd.Path
}

// env is the whole environment of the go command: none of what root, the login
// or the user's `go env -w` say, and nothing that could reach a network. There
// is no HOME: nothing is left in the user's, and go has no place for telemetry,
// whose process would go on after the command.
func (r *runner) env() []string {
	user := "root"
	if r.as != nil {
		user = r.as.Name
	}
	in := func(name string) string { return filepath.Join(r.work, name) }
	return []string{
		"PATH=" + r.path(), "USER=" + user, "LOGNAME=" + user, "LC_ALL=C", "TMPDIR=" + r.work,
		"GOENV=off", "GOTOOLCHAIN=local", "GOPROXY=off", "GOSUMDB=off", "GOWORK=off", "GO111MODULE=on",
		// An empty variable would leave the say to go.env.
		"GOFLAGS=-p=" + strconv.Itoa(runtime.GOMAXPROCS(0)),
		"GOOS=" + runtime.GOOS, "GOARCH=" + runtime.GOARCH, "CGO_ENABLED=0",
		"GOPATH=" + in("gopath"), "GOMODCACHE=" + in("gopath/pkg/mod"), "GOCACHE=" + in("cache"), "GOTMPDIR=" + r.work,
	}
}

// command is one program to run.
type command struct {
	argv    []string
	env     []string
	dir     string
	stdin   string
	timeout time.Duration
	as      *account.Credential
	rc      int // the exit code that counts as good
}

func (r *runner) toolCommand(args ...string) *command {
	argv := append([]string{filepath.Join(r.goroot, "bin", "go")}, args...)
	return &command{argv: argv, env: r.env(), dir: r.work, timeout: quickTimeout, as: r.as}
}

// bare is a program of the host's.
func (r *runner) bare(timeout time.Duration, argv ...string) *command {
	return &command{argv: argv, env: r.env(), dir: r.work, timeout: timeout, as: r.as}
}

func (r *runner) goCommand(ctx context.Context, timeout time.Duration, args ...string) (string, error) {
	c := r.toolCommand(args...)
	c.timeout = timeout
	return r.run(ctx, c)
}

// try runs a command of gofleet_verify, again as often as it says. It gets the
// environment of its user: HOME and the user's own go settings.
func (r *runner) try(ctx context.Context, c spec.Command, as *account.Credential) error {
	name, home, dir := "root", "/root", c.Chdir
	if as != nil {
		name, home = as.Name, as.Home
	} else if h := os.Getenv("HOME"); os.Geteuid() != 0 && h != "" {
		name, home = os.Getenv("USER"), h
	}
	if dir == "" {
		dir = home
	}
	if dir == "" {
		dir = "/"
	}
	cmd := &command{
		argv: c.Command, dir: dir, timeout: c.Timeout, as: as, rc: c.RC,
		env: []string{"PATH=" + r.path(), "HOME=" + home, "USER=" + name, "LOGNAME=" + name, "LANG=C.UTF-8", "TMPDIR=" + r.work},
	}
	if as != r.as { // the work directory is another user's
		cmd.env = cmd.env[:len(cmd.env)-1]
	}
	if cmd.timeout <= 0 {
		cmd.timeout = quickTimeout
	}
	var err error
	for range max(c.Retries, 0) + 1 {
		if _, err = r.run(ctx, cmd); err == nil || ctx.Err() != nil {
			return err
		}
	}
	if c.Retries > 0 {
		err = fmt.Errorf("%w (tried %d times)", err, c.Retries+1)
	}
	return err
}

// run runs a command to its end and gives its standard output. What it has
// started ends with it, with ctx, and with this process, as long as it stays in
// the command's session. That is not ours: on the terminal that sudo may want,
// the user could else type to this process.
func (r *runner) run(ctx context.Context, c *command) (string, error) {
	name := strings.Join(c.argv, " ")
	program := c.argv[0]
	if !strings.Contains(program, "/") {
		if program = r.find(program); program == "" {
			return "", fmt.Errorf("%s: %s is not on PATH", printable(name, 200), printable(c.argv[0], 80))
		}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, c.timeout, fmt.Errorf("took longer than %s", c.timeout))
	defer cancel()
	var stdout, both tail
	cmd := exec.CommandContext(ctx, program, c.argv[1:]...)
	cmd.Args[0] = c.argv[0]
	cmd.Env, cmd.Dir = c.env, c.dir
	if c.stdin != "" {
		cmd.Stdin = strings.NewReader(c.stdin)
	}
	cmd.Stdout, cmd.Stderr = twoTails{&stdout, &both}, &both
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL, Credential: credential(c.as)}
	cmd.Cancel = func() error { return unix.Kill(-cmd.Process.Pid, unix.SIGKILL) }
	cmd.WaitDelay = 2 * time.Second

	err := runLocked(cmd)
	if cmd.Process != nil {
		cmd.Cancel()
	}
	code := cmd.ProcessState.ExitCode()
	switch {
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	case code == c.rc && code >= 0:
		return stdout.String(), nil
	case err == nil || code >= 0:
		err = fmt.Errorf("exit code %d instead of %d", code, c.rc)
	}
	if out := strings.TrimSpace(both.String()); out != "" {
		return "", fmt.Errorf("%s: %w: %s", printable(name, 200), err, out)
	}
	return "", fmt.Errorf("%s: %w", printable(name, 200), err)
}

// runLocked keeps the thread: Pdeathsig is about the thread that started the
// child, and the runtime may end an idle one.
func runLocked(cmd *exec.Cmd) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	return cmd.Run()
}

// credential is nil for who this process is already: an ordinary user may not
// even set its own groups.
func credential(as *account.Credential) *syscall.Credential {
	if as == nil || int(as.UID) == os.Geteuid() && os.Geteuid() != 0 {
		return nil
	}
	return &syscall.Credential{Uid: as.UID, Gid: as.GID, Groups: as.Groups}
}

// find gives the path of a program, by its name on the PATH that verification
// runs with or by its path, and "" where there is none.
func (r *runner) find(name string) string {
	if strings.Contains(name, "/") {
		if !isExecutable(name) {
			return ""
		}
		return name
	}
	for _, dir := range filepath.SplitList(r.path()) {
		if path := filepath.Join(dir, name); isExecutable(path) {
			return path
		}
	}
	return ""
}

func isExecutable(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.Mode().IsRegular() && st.Mode()&0o111 != 0
}

// tail keeps the last maxTail bytes, so that a program can neither block nor
// fill the memory.
type tail struct {
	b   bytes.Buffer
	cut bool
}

func (t *tail) Write(p []byte) (int, error) {
	n := len(p)
	if len(p) > maxTail {
		p, t.cut = p[len(p)-maxTail:], true
	}
	if over := t.b.Len() + len(p) - maxTail; over > 0 {
		t.b.Next(over)
		t.cut = true
	}
	t.b.Write(p)
	return n, nil
}

// String is the text, lines kept, without other control characters.
func (t *tail) String() string {
	lines := strings.Split(strings.ToValidUTF8(t.b.String(), "?"), "\n")
	for i, line := range lines {
		lines[i] = printable(strings.ReplaceAll(line, "\t", "    "), maxTail)
	}
	s := strings.Join(lines, "\n")
	if t.cut {
		s = "…" + s
	}
	return s
}

// twoTails writes to both.
type twoTails [2]*tail

func (t twoTails) Write(p []byte) (int, error) {
	t[0].Write(p)
	return t[1].Write(p)
}
