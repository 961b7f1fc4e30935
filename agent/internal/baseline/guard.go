package baseline

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/gofleet/gofleet/agent/internal/hostcmd"
	"github.com/gofleet/gofleet/agent/internal/hostfile"
	"github.com/gofleet/gofleet/agent/internal/record"
	"github.com/gofleet/gofleet/agent/wire"
)

// Prove has somebody log in to this host afresh and call ConfirmFirewall with
// the token. later says that it will be done when this process has ended.
type Prove func(ctx context.Context, token string) (later bool, err error)

const (
	// guardDirs begin with this; the token follows. /run is gone after a boot,
	// and so are rules that are not in the files yet.
	guardDirs = "/run/gofleet-firewall."

	// A host that nobody proves to be within reach has its old rules again
	// after guardTime. Who makes the change gives up a moment earlier.
	guardTime  = 60 * time.Second
	guardGives = 55 * time.Second
)

// The marks of a guard. One rename decides between the timer and the login.
const (
	guardArmed     = "armed"
	guardFired     = "fired"     // the old rules are being brought back
	guardCommitted = "committed" // the new ones stay
)

// guard keeps the way back while a firewall changes: the old files, a script
// that loads them, and a timer of the host that runs it. Until a login has
// proved the new rules the files are the old ones, so that a reboot is a way
// back too.
type guard struct {
	dir, token string
	tool       firewallTool
	begun      time.Time
	done       bool // the new rules stay
	guardState
}

// guardState is what whoever confirms has to know.
type guardState struct {
	Files  []guardFile      `json:"files"`
	Enable []string         `json:"enable,omitempty"` // a command for when all is well
	Next   *record.Firewall `json:"next,omitempty"`
}

type guardFile struct {
	Path string         `json:"path"`
	Old  hostfile.State `json:"old"`
	New  hostfile.State `json:"new"`
}

func newGuard(have *ruleset, next *record.Firewall) (*guard, error) {
	b := make([]byte, 16)
	rand.Read(b)
	g := &guard{token: hex.EncodeToString(b), tool: have.tool, begun: time.Now()}
	g.dir = guardDirs + g.token
	g.Next = next
	if next != nil && next.Active && !have.active {
		g.Enable = have.tool.enable()
	}
	for _, path := range have.tool.files() {
		old, err := hostfile.Look(path)
		if err != nil {
			return nil, err
		}
		if old.Type == hostfile.Link || old.Type == hostfile.Other {
			return nil, refused(fmt.Errorf("%s is not a regular file", path), "make it one and apply again")
		}
		g.Files = append(g.Files, guardFile{Path: path, Old: old})
	}
	return g, nil
}

// change makes a change under guard. An error means that the old rules are
// back, or that the timer will bring them back.
func (g *guard) change(ctx context.Context, prove Prove, do func(context.Context) error) (later bool, err error) {
	if prove == nil {
		return false, refused(errors.New("nobody is there to log in afresh and prove that the host can still be reached"),
			"use gofleet apply or the collection's action plugin")
	}
	if err := g.arm(ctx); err != nil {
		return false, errors.Join(err, os.RemoveAll(g.dir))
	}
	ctx, cancel := context.WithDeadlineCause(ctx, g.begun.Add(guardGives), errors.New("nobody logged in afresh in time"))
	defer cancel()
	if err = do(ctx); err == nil {
		err = g.setAside()
	}
	if err != nil {
		return false, errors.Join(err, g.takeBack())
	}
	later, err = prove(ctx, g.token)
	switch {
	case later && err == nil:
		return true, nil
	case exists(g.dir, guardCommitted): // even if we were not told
		g.done = true
		return false, g.clean()
	case err == nil:
		err = errors.New("nobody confirmed it")
	}
	if back := g.takeBack(); back != nil {
		return false, errors.Join(err, back)
	}
	return false, wire.NewError(wire.KindLockout, fmt.Errorf("a fresh login did not come through the new rules, and the old ones are back: %w", err),
		"look for a rule on the host that comes before gofleet's, or for an address that allow does not have; docs/baseline.md says how rules are proved")
}

// arm writes the way back and sets the timer.
func (g *guard) arm(ctx context.Context) error {
	if err := g.prepare(); err != nil {
		return err
	}
	script := filepath.Join(g.dir, "restore")
	seconds := strconv.Itoa(int(guardTime.Seconds()))
	if run := hostcmd.Find("systemd-run"); run != "" && hasSystemd() {
		_, err := hostcmd.Run(ctx, "", run, "--quiet", "--unit="+g.unit(), "--description=gofleet: bring back the firewall's old rules",
			"--on-active="+seconds, "--timer-property=AccuracySec=1s", "/bin/sh", script)
		return err
	}
	// Without systemd a process of its own session waits, which no connection ends.
	cmd := exec.Command("/bin/sh", "-c", "sleep "+seconds+"; exec /bin/sh "+script)
	cmd.Dir, cmd.Env = "/", []string{"PATH=" + hostcmd.Path}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start the timer: %w", err)
	}
	return errors.Join(os.WriteFile(filepath.Join(g.dir, "pid"), []byte(strconv.Itoa(cmd.Process.Pid)), 0o600), cmd.Process.Release())
}

func (g *guard) unit() string { return "gofleet-firewall-" + g.token }

// prepare writes the directory that the way back lies in.
func (g *guard) prepare() error {
	if err := os.Mkdir(g.dir, 0o700); err != nil {
		return fmt.Errorf("save the firewall's rules: %w", err)
	}
	var script strings.Builder
	fmt.Fprintf(&script, `# Written by gofleet. It brings back the rules that the firewall had, unless a
# fresh login has proved the new ones meanwhile.
d=%s
mv "$d/%s" "$d/%s" 2>/dev/null || exit 0
PATH=%s; LC_ALL=C; export PATH LC_ALL
`, g.dir, guardArmed, guardFired, hostcmd.Path)
	for i, f := range g.Files {
		if f.Old.Type == hostfile.Absent {
			fmt.Fprintf(&script, "rm -f %s\n", f.Path)
			continue
		}
		old, tmp := fmt.Sprintf("%s/old.%d", g.dir, i), filepath.Join(filepath.Dir(f.Path), fmt.Sprintf(".gofleet-%d", i))
		if err := f.Old.PutBack(old); err != nil {
			return fmt.Errorf("save the firewall's rules: %w", err)
		}
		fmt.Fprintf(&script, "cp -p %s %s && mv -f %s %s\n", old, tmp, tmp, f.Path)
	}
	fmt.Fprintf(&script, "load() {\n%s}\nload || { sleep 2; load; }\nrm -rf \"$d\"\n", g.tool.restore())
	if err := os.WriteFile(filepath.Join(g.dir, "restore"), []byte(script.String()), 0o600); err != nil {
		return fmt.Errorf("save the firewall's rules: %w", err)
	}
	return g.mark(guardArmed)
}

func (g *guard) mark(name string) error {
	return os.WriteFile(filepath.Join(g.dir, name), nil, 0o600)
}

// setAside keeps the files as the tool has left them for the one who confirms,
// and puts the old ones back.
func (g *guard) setAside() (err error) {
	for i, f := range g.Files {
		if g.Files[i].New, err = hostfile.Look(f.Path); err != nil {
			return err
		}
		if err := f.Old.PutBack(f.Path); err != nil {
			return err
		}
	}
	b, err := json.Marshal(g.guardState)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(g.dir, "state.json"), b, 0o600)
}

// takeBack brings the old rules back now, whatever became of the run's context.
func (g *guard) takeBack() error {
	ctx := context.Background()
	pid := g.timer() // the script removes all that there is
	_, err := hostcmd.Run(ctx, "", "/bin/sh", filepath.Join(g.dir, "restore"))
	if err == nil && exists(g.dir, guardFired) {
		err = g.awaitTimer() // it was first
	}
	if err != nil {
		return fmt.Errorf("bring back the firewall's old rules: %w", err)
	}
	g.stopTimer(pid)
	return os.RemoveAll(g.dir)
}

// awaitTimer waits for the script that the timer runs.
func (g *guard) awaitTimer() error {
	for begun := time.Now(); exists(g.dir, guardFired); time.Sleep(100 * time.Millisecond) {
		if time.Since(begun) > guardTime/2 {
			return errors.New("the timer's script did not end")
		}
	}
	return nil
}

// clean stops the timer and removes what the guard had.
func (g *guard) clean() error {
	g.stopTimer(g.timer())
	return os.RemoveAll(g.dir)
}

// timer is the process that waits where there is no systemd, or 0.
func (g *guard) timer() int {
	b, _ := os.ReadFile(filepath.Join(g.dir, "pid"))
	pid, _ := strconv.Atoi(string(b))
	return pid
}

// stopTimer ends what would do nothing any more. That it can't is no trouble.
func (g *guard) stopTimer(pid int) {
	if hasSystemd() {
		hostcmd.Run(context.Background(), "", hostcmd.Find("systemctl"), "--quiet", "stop", g.unit()+".timer")
	}
	words, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err == nil && pid > 1 && strings.Contains(string(words), g.dir) {
		syscall.Kill(-pid, syscall.SIGTERM)
	}
}

// undo takes back what change did, be it proved already.
func (g *guard) undo(ctx context.Context) error {
	switch {
	case exists(g.dir, guardArmed):
		return g.takeBack()
	case !g.done:
		return nil
	}
	if err := g.prepare(); err != nil {
		return err
	}
	return g.takeBack()
}

// ConfirmFirewall is what a fresh login does: the rules whose token it was told
// stay. It gives what the host's record is to say of them. That the timer came
// first is an error.
func ConfirmFirewall(ctx context.Context, token string) (*record.Firewall, error) {
	g, err := openGuard(guardDirs + token)
	if err != nil {
		return nil, err
	}
	err = os.Rename(filepath.Join(g.dir, guardArmed), filepath.Join(g.dir, guardCommitted))
	if err != nil {
		return nil, &wire.Error{Kind: wire.KindLockout, Retryable: true, Message: "the firewall's new rules were taken back before they were confirmed",
			Hint: "the login took longer than a minute; apply again"}
	}
	return g.Next, g.settle(ctx)
}

// openGuard reads what another process has left.
func openGuard(dir string) (*guard, error) {
	g := &guard{dir: dir, token: strings.TrimPrefix(dir, guardDirs)}
	if len(g.token) != 32 || strings.Trim(g.token, "0123456789abcdef") != "" {
		return nil, wire.NewError(wire.KindProtocol, errors.New("this is no token of a firewall's change"), "")
	}
	b, err := os.ReadFile(filepath.Join(dir, "state.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &wire.Error{Kind: wire.KindLockout, Retryable: true, Message: "no firewall's change waits to be confirmed: its rules were taken back",
			Hint: "the login took longer than a minute, or the host was booted; apply again"}
	}
	if err != nil {
		return nil, fmt.Errorf("read the firewall's change: %w", err)
	}
	if err := json.Unmarshal(b, &g.guardState); err != nil {
		return nil, fmt.Errorf("read the firewall's change: %w", err)
	}
	return g, nil
}

// settle makes the files those of the rules that are in force. It may be done
// again.
func (g *guard) settle(ctx context.Context) error {
	var errs []error
	for _, f := range g.Files {
		errs = append(errs, f.New.PutBack(f.Path))
		errs = append(errs, hostfile.Relabel(ctx, f.Path))
	}
	if len(g.Enable) > 0 {
		_, err := hostcmd.Run(ctx, "", g.Enable[0], g.Enable[1:]...)
		errs = append(errs, err)
	}
	g.stopTimer(g.timer())
	return errors.Join(errs...)
}

// ForgetFirewallChange removes what a confirmed change has left.
func ForgetFirewallChange(token string) error {
	if token == "" || strings.ContainsAny(token, "/.") {
		return nil
	}
	return os.RemoveAll(guardDirs + token)
}

// RestoreFirewall brings the old rules back at once, for whoever could not log
// in afresh.
func RestoreFirewall(token string) error {
	g, err := openGuard(guardDirs + token)
	if err != nil {
		return nil // they are back
	}
	if exists(g.dir, guardCommitted) {
		return errors.New("the firewall's new rules are confirmed")
	}
	return g.takeBack()
}

// sweepGuards ends changes whose run was cut: what was proved stays, and what
// was not is taken back at once.
func sweepGuards(ctx context.Context) error {
	dirs, err := filepath.Glob(guardDirs + "*")
	if err != nil {
		return err
	}
	var errs []error
	for _, dir := range dirs {
		errs = append(errs, sweepGuard(ctx, dir))
	}
	return errors.Join(errs...)
}

func sweepGuard(ctx context.Context, dir string) error {
	g := &guard{dir: dir, token: strings.TrimPrefix(dir, guardDirs)}
	switch {
	case exists(dir, guardCommitted):
		proved, err := openGuard(dir)
		if err == nil {
			err = proved.settle(ctx)
		}
		if err != nil {
			return err
		}
	case exists(dir, guardFired):
		if g.awaitTimer() == nil {
			return nil
		}
		// It was killed. It may be run again from its beginning.
		if err := os.Rename(filepath.Join(dir, guardFired), filepath.Join(dir, guardArmed)); err != nil {
			return err
		}
		return g.takeBack()
	case exists(dir, guardArmed):
		return g.takeBack()
	}
	return g.clean()
}

func exists(dir, name string) bool {
	_, err := os.Lstat(filepath.Join(dir, name))
	return err == nil
}
