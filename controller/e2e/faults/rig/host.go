//go:build linux

package rig

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/gofleet/gofleet/agent/wire"
	"github.com/gofleet/gofleet/controller/internal/lab"
)

// Places on a host.
const (
	root     = "/usr/local/lib/gofleet"
	link     = "/usr/local/go"
	lockFile = "/run/gofleet.lock"
	faultDir = "/run/gofleet-fault" // fault.Dir of the agent, which only agents may import
)

// Host is a lab host, looked at from outside.
type Host struct {
	*lab.Host
	world *World
}

// Host gives the host of that name.
func (w *World) Host(name string) *Host { return &Host{w.Lab.Host(name), w} }

// Hosts gives all hosts.
func (w *World) Hosts() []*Host {
	var all []*Host
	for _, h := range w.Lab.Hosts {
		all = append(all, &Host{h, w})
	}
	return all
}

// processes are those that a proc filesystem shows.
func processes(proc string) []int {
	names, err := os.ReadDir(proc)
	if err != nil {
		return nil // of a host that is gone
	}
	var all []int
	for _, name := range names {
		if pid, err := strconv.Atoi(name.Name()); err == nil {
			all = append(all, pid)
		}
	}
	return all
}

// below are the processes that pid has started, directly or not, as far as
// their parents live.
func below(pid int) []int {
	var all []int
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, file := range threads {
		b, _ := os.ReadFile(file) // its end, and nobody's error
		for _, word := range strings.Fields(string(b)) {
			if child, err := strconv.Atoi(word); err == nil {
				all = append(append(all, child), below(child)...)
			}
		}
	}
	return all
}

// arguments are a process's, nil if it is gone.
func arguments(proc string, pid int) []string {
	b, err := os.ReadFile(fmt.Sprintf("%s/%d/cmdline", proc, pid))
	if err != nil || len(b) == 0 {
		return nil
	}
	return strings.Split(string(bytes.TrimSuffix(b, []byte{0})), "\x00")
}

// init is the host's pid 1, as this machine numbers it; 0 if it does not run.
func (h *Host) init() int {
	h.world.mu.Lock()
	defer h.world.mu.Unlock()
	is := func(args []string) bool {
		return slices.Equal(args, []string{"gofleet-lab-init", h.world.Lab.Dir, h.Name})
	}
	if pid := h.world.inits[h.Name]; pid != 0 && is(arguments("/proc", pid)) {
		return pid
	}
	for _, pid := range processes("/proc") {
		if is(arguments("/proc", pid)) {
			h.world.inits[h.Name] = pid
			return pid
		}
	}
	return 0
}

// Path is where this machine finds a path of the running host.
func (h *Host) Path(path string) string { return fmt.Sprintf("/proc/%d/root%s", h.init(), path) }

// isAgent tells an agent's process by its arguments.
func isAgent(args []string) bool {
	return len(args) > 1 && (args[1] == "serve" && strings.Contains(args[0], "gofleet") || args[0] == module)
}

// agents are the agent's processes, as the host numbers them.
func (h *Host) agents() []int {
	proc := h.Path("/proc")
	return slices.DeleteFunc(processes(proc), func(pid int) bool { return !isAgent(arguments(proc, pid)) })
}

// Agents is how many agents run on the host.
func (h *Host) Agents() int { return len(h.agents()) }

// Which agent of several is meant.
const (
	Oldest = iota // the one that was started first
	Newest
)

// KillAgent kills an agent at once; false if there is none.
func (h *Host) KillAgent(which int) bool {
	for h.Agents() > 0 {
		// An agent whose parent is just ending stands under none for an instant.
		found := slices.DeleteFunc(below(h.init()), func(pid int) bool { return !isAgent(arguments("/proc", pid)) })
		slices.Sort(found)
		if which == Newest {
			slices.Reverse(found)
		}
		if len(found) > 0 && syscall.Kill(found[0], syscall.SIGKILL) == nil {
			return true
		}
	}
	return false
}

// Arm makes the agents of later runs act at points: kill, hold, trace; see agent/internal/fault. Without any, faults are over.
func (h *Host) Arm(files map[string]string) error {
	dir := h.Path(faultDir)
	if err := os.RemoveAll(dir); err != nil || len(files) == 0 {
		return err
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// Trace gives the points that the last run came by, each once.
func (h *Host) Trace() ([]string, error) {
	b, err := os.ReadFile(h.Path(faultDir + "/trace"))
	if err != nil {
		return nil, err
	}
	var points []string
	for line := range strings.Lines(string(b)) {
		if line = strings.TrimSpace(line); !slices.Contains(points, line) {
			points = append(points, line)
		}
	}
	return points, nil
}

// Held waits until the agent is held at its point, or the run has ended.
func (h *Host) Held(ctx context.Context, r *Run) error {
	held := h.Path(faultDir + "/held")
	return Until(ctx, func() (bool, error) {
		select {
		case <-r.Ended():
			return false, fmt.Errorf("%s: the run ended before its agent came to the point\n%s%s", h.Name, r.stdout.Bytes(), r.stderr.Bytes())
		default:
		}
		_, err := os.Stat(held)
		return err == nil, nil
	})
}

// Release lets a held agent go on.
func (h *Host) Release() error { return os.Remove(h.Path(faultDir + "/hold")) }

// Until polls what cannot be waited for, for five minutes at most.
func Until(ctx context.Context, f func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if done, err := f(); done || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// Gone waits until no agent runs on the host, and for the lock to be free: a
// child of an agent that was killed holds it until it has come to its exec.
func (h *Host) Gone(ctx context.Context) error {
	if err := Until(ctx, func() (bool, error) { return len(h.agents()) == 0, nil }); err != nil {
		return fmt.Errorf("%s: wait for the agent's end: %w", h.Name, err)
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	var held error
	err := Until(ctx, func() (bool, error) {
		held = h.Free()
		return held == nil, nil
	})
	if err != nil {
		return held
	}
	return nil
}

// Current is the toolchain that the link leads to, proved file by file and by
// what its go command says; nil if there is none. Anything half made is an
// error.
func (h *Host) Current(ctx context.Context, known ...*Toolchain) (*Toolchain, error) {
	to, err := os.Readlink(h.Path(link))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(filepath.Dir(link), to)
	i := slices.IndexFunc(known, func(t *Toolchain) bool { return dir == root+"/go"+t.Version })
	if i < 0 {
		return nil, fmt.Errorf("%s: %s leads to %s", h.Name, link, to)
	}
	t := known[i]
	if wrong := t.wrong(h.Path(dir)); wrong != "" {
		return nil, fmt.Errorf("%s: %s leads to %s, which is not whole: %s", h.Name, link, to, wrong)
	}
	out, err := h.Exec(ctx, link+"/bin/go", "version")
	if err != nil {
		return nil, err
	}
	if !strings.HasPrefix(string(out), "go version go"+t.Version+" ") {
		return nil, fmt.Errorf("%s: %s says %q", h.Name, link, out)
	}
	return t, nil
}

// Free tells an error if the lock is held, or an agent is there.
func (h *Host) Free() error {
	if pids := h.agents(); len(pids) > 0 {
		return fmt.Errorf("%s: agent still runs: %d", h.Name, pids)
	}
	f, err := os.OpenFile(h.Path(lockFile), os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return fmt.Errorf("%s: the lock is held: %w", h.Name, err)
	}
	return nil
}

// Clean tells an error if anything of ours is on the host that does not belong
// there between two runs.
func (h *Host) Clean() error {
	if err := h.Free(); err != nil {
		return err
	}
	var strange []string
	temporary := func(path string, info os.FileInfo) {
		name := filepath.Base(path)
		if strings.HasPrefix(name, ".gofleet") || slices.Contains([]string{".staging", ".intent", ".lock", ".probe"}, name) {
			strange = append(strange, strings.TrimPrefix(path, h.Path("")))
		}
	}
	for _, dir := range []string{"/usr/local", "/etc", "/home", "/root", "/var/tmp"} {
		walk(h.Path(dir), temporary)
	}
	for _, dir := range []string{"/run", "/tmp", "/dev/shm"} {
		entries, err := os.ReadDir(h.Path(dir))
		if err != nil {
			return err
		}
		for _, e := range entries {
			if path := dir + "/" + e.Name(); strings.Contains(path, "gofleet") && path != faultDir {
				strange = append(strange, path)
			}
		}
	}
	installed, err := names(h.Path(root), "go1.")
	if err != nil {
		return err
	}
	manifests, err := names(h.Path(root+"/manifests"), "go1.")
	if err != nil {
		return err
	}
	if !slices.Equal(installed, manifests) {
		strange = append(strange, fmt.Sprintf("%v with manifests %v", installed, manifests))
	}
	if len(strange) > 0 {
		return fmt.Errorf("%s: left behind: %s", h.Name, strings.Join(strange, ", "))
	}
	return nil
}

// names lists a directory, in order, those that begin with a prefix.
func names(dir, prefix string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var all []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), prefix) {
			all = append(all, e.Name())
		}
	}
	return all, nil
}

// Uploaded is how many bytes of a broken upload lie in staging, and where.
func (h *Host) Uploaded() (path string, size int64) {
	files, err := filepath.Glob(h.Path(root + "/.staging/*/*"))
	if err != nil {
		panic(err) // the pattern is right
	}
	for _, f := range files {
		if st, err := os.Stat(f); err == nil && st.Mode().IsRegular() {
			return f, st.Size()
		}
	}
	return "", 0
}

// IsKind tells whether a result's error is of one of these kinds.
func IsKind(r *Result, kinds ...wire.Kind) bool {
	return r.Error != nil && slices.Contains(kinds, wire.Kind(r.Error.Kind))
}
