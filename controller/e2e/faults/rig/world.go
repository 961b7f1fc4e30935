//go:build linux

package rig

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/gofleet/gofleet/controller/internal/lab"
)

// World is lab hosts and the inventory under which gofleet sees them.
type World struct {
	*Programs
	Lab       *lab.Lab
	Dir       string
	SSHArgs   map[string]string // more of ssh's options, by host; Inventory writes them
	Timeout   string            // for a login; two minutes if empty, for the machine may be that busy
	inventory string

	mu    sync.Mutex
	inits map[string]int // pid 1 of each host, as found last
}

// Up starts hosts. Down must be called.
func (p *Programs) Up(ctx context.Context, name string, c lab.Config) (*World, error) {
	w := &World{Programs: p, Dir: filepath.Join(p.Dir, "worlds", name), inits: map[string]int{}}
	w.inventory = filepath.Join(w.Dir, "inventory.yaml")
	if err := os.MkdirAll(filepath.Join(w.Dir, "home", ".ssh"), 0o700); err != nil {
		return nil, err
	}
	if c.Name == "" {
		c.Name = "faults"
	}
	c.Dir, c.Ephemeral = filepath.Join(w.Dir, "labs"), true
	var err error
	if w.Lab, err = lab.Up(ctx, c); err != nil {
		return nil, err
	}
	addresses := map[string]string{}
	for _, h := range w.Lab.Hosts {
		addresses[h.Name] = net.JoinHostPort(h.Addr, "22")
	}
	if err := w.Inventory(addresses); err != nil {
		return nil, errors.Join(err, w.Down())
	}
	return w, nil
}

// Down ends the hosts.
func (w *World) Down() error { return w.Lab.Down(context.Background()) }

// Inventory says where gofleet finds the hosts: an address and port for each
// name. A name that is no host's, or an address of a proxy's, is known by the
// keys of the host whose name begins it: "h1-3" is h1.
func (w *World) Inventory(addresses map[string]string) error {
	hosts := map[string]any{}
	for name, address := range addresses {
		of, _, _ := strings.Cut(name, "-")
		h := w.Lab.Host(of)
		if h == nil {
			return fmt.Errorf("no host %s", of)
		}
		addr, port, err := net.SplitHostPort(address)
		if err != nil {
			return err
		}
		hosts[name] = map[string]any{"ansible_host": addr, "ansible_port": port, "ansible_ssh_extra_args": strings.TrimSpace("-o HostKeyAlias=" + h.Addr + " " + w.SSHArgs[name])}
	}
	b, err := json.Marshal(map[string]any{"all": map[string]any{
		"vars": map[string]any{
			"ansible_user": lab.AdminUser, "ansible_become": true,
			"ansible_ssh_private_key_file": w.Lab.KeyFile(),
			"ansible_ssh_common_args":      "-o UserKnownHostsFile=" + w.Lab.KnownHostsFile() + " -o IdentitiesOnly=yes",
		},
		"hosts": hosts,
	}})
	if err != nil {
		return err
	}
	return os.WriteFile(w.inventory, b, 0o644) // JSON is YAML
}

// Vars are variables above those of the inventory.
type Vars map[string]any

// Want are the variables that ask for a toolchain, and more.
func Want(t *Toolchain, more ...Vars) Vars {
	v := Vars{"gofleet_go_version": t.Version, "gofleet_archives": t.Dir, "gofleet_keep": 0}
	if t.SHA256 != "" {
		v["gofleet_sha256"] = map[string]string{"linux-" + runtime.GOARCH: t.SHA256}
	}
	for _, m := range more {
		maps.Copy(v, m)
	}
	return v
}

// Everything makes a run write all that gofleet can write. It comes in two
// variants, 0 and 1, that differ in what they write.
func (w *World) Everything(variant int) Vars {
	return Vars{
		"gofleet_env":         map[string]string{"GOTOOLCHAIN": "local", "GOPROXY": []string{"off", "direct"}[variant]},
		"gofleet_environment": map[string]string{"LOG_LEVEL": []string{"debug", "info"}[variant]},
		"gofleet_user": map[string]any{
			"name": "deploy", "shell": "/bin/bash", "authorized_keys": []string{w.key(variant)},
			"sudo": [][]string{{"/usr/bin/id"}, {"/usr/bin/uptime"}}[variant],
		},
	}
}

// key is the public key of a variant.
func (w *World) key(variant int) string {
	name := []string{"id_ed25519.pub", "id_ecdsa.pub"}[variant]
	b, err := os.ReadFile(filepath.Join(filepath.Dir(w.Lab.KeyFile()), name))
	if err != nil {
		panic(err) // the lab made it
	}
	return strings.TrimSpace(string(b))
}

// Has tells an error unless a host with this toolchain has exactly what a
// variant of Everything gives to the deploy user and to sessions.
func (w *World) Has(h *Host, t *Toolchain, variant int) error {
	userEnv, goEnv := "/home/deploy/.config/go/env", root+"/go"+t.Version+"/go.env"
	if t.old() {
		userEnv, goEnv = goEnv, userEnv
	}
	if _, err := os.Lstat(h.Path(userEnv)); err == nil {
		return fmt.Errorf("%s: %s is there, with go%s", h.Name, userEnv, t.Version)
	}
	for path, want := range map[string]string{
		"/home/deploy/.ssh/authorized_keys": w.key(variant) + "\n",
		"/etc/profile.d/gofleet.sh":         []string{"debug", "info"}[variant],
		"/etc/sudoers.d/gofleet-deploy":     []string{"/usr/bin/id", "/usr/bin/uptime"}[variant],
		goEnv:                               []string{"\nGOPROXY=off\n", "\nGOPROXY=direct\n"}[variant],
	} {
		b, err := os.ReadFile(h.Path(path))
		if err != nil {
			return err
		}
		if got := string(b); !strings.Contains("\n"+got, want) || strings.Contains(path, "keys") && got != want {
			return fmt.Errorf("%s: %s is %q", h.Name, path, got)
		}
	}
	return nil
}

// Run is a gofleet at work.
type Run struct {
	cmd            *exec.Cmd
	stdout, stderr bytes.Buffer
	ended          chan struct{}
	err            error
}

// Start starts gofleet with a command and its flags.
func (w *World) Start(ctx context.Context, vars Vars, args ...string) (*Run, error) {
	b, err := json.Marshal(vars)
	if err != nil {
		return nil, err
	}
	return w.start(ctx, append(args, "-i", w.inventory, "-e", string(b), "-o", "json", "--timeout", w.timeout()))
}

// Resume starts gofleet to go on with a run.
func (w *World) Resume(ctx context.Context, command, id string) (*Run, error) {
	return w.start(ctx, []string{command, "--resume", id, "-o", "json", "--timeout", w.timeout()})
}

func (w *World) timeout() string { return cmp.Or(w.Timeout, "120") }

// Journal gives what the journal tells of the last run.
func (w *World) Journal(ctx context.Context) (*Journal, error) {
	r, err := w.start(ctx, []string{"runs", "show", "last", "-o", "json"})
	if err != nil {
		return nil, err
	}
	<-r.Ended()
	j := &Journal{}
	if err := json.Unmarshal(r.stdout.Bytes(), j); err != nil {
		return nil, fmt.Errorf("the journal of the last run: %w\n%s%s", err, r.stdout.Bytes(), r.stderr.Bytes())
	}
	return j, nil
}

// Journal is what runs show tells of a run.
type Journal struct {
	Run, State string
	Damaged    int
	Hosts      []struct {
		Host, Status     string
		Unknown, Changed bool
		Go               struct{ Before, After string }
	}
}

func (w *World) start(ctx context.Context, args []string) (*Run, error) {
	r := &Run{cmd: exec.CommandContext(ctx, w.Gofleet, args...), ended: make(chan struct{})}
	r.cmd.Dir = w.Dir
	r.cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + filepath.Join(w.Dir, "home"), "USER=tester",
		"XDG_CACHE_HOME=" + filepath.Join(w.Programs.Dir, "cache"),
	}
	r.cmd.Stdout, r.cmd.Stderr = &r.stdout, &r.stderr
	if err := r.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		r.err = r.cmd.Wait()
		close(r.ended)
	}()
	return r, nil
}

// Signal sends a signal to the controller; one that has ended bears it.
func (r *Run) Signal(s syscall.Signal) error {
	if err := r.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil
}

// Ended is closed when the controller has ended.
func (r *Run) Ended() <-chan struct{} { return r.ended }

// Wait waits for the end and gives what the run says.
func (r *Run) Wait() (*Outcome, error) {
	<-r.ended
	var exit *exec.ExitError
	if r.err != nil && !errors.As(r.err, &exit) {
		return nil, r.err
	}
	o := &Outcome{Exit: r.cmd.ProcessState.ExitCode(), Stderr: r.stderr.String()}
	if o.Exit < 0 {
		return o, nil // killed
	}
	if err := json.Unmarshal(r.stdout.Bytes(), o); err != nil {
		return o, fmt.Errorf("gofleet ended with %d and no document: %w\n%s%s", o.Exit, err, r.stdout.Bytes(), r.stderr.Bytes())
	}
	return o, nil
}

// Outcome is what a run said at its end.
type Outcome struct {
	Exit   int    // -1: it was killed
	Stderr string // of the controller
	Hosts  []Result
}

// Result is one host of an Outcome.
type Result struct {
	Host    string
	Status  string
	Changed bool
	Error   *struct {
		Kind, Message, Hint string
		Retryable           bool
	}
	Warnings []string
	Actions  []struct{ Name string }
	Checks   []struct{ Name, Status string }
	Drift    []string
}

// Check is the status of a precondition's check; "" if there is none.
func (r *Result) Check(name string) string {
	for _, c := range r.Checks {
		if c.Name == name {
			return c.Status
		}
	}
	return ""
}

func (r *Result) String() string {
	s := r.Host + " is " + r.Status
	if r.Error != nil {
		s += fmt.Sprintf(": %s: %s (retryable: %s)", r.Error.Kind, r.Error.Message, strconv.FormatBool(r.Error.Retryable))
	}
	return s
}

// Of gives the result of a host; a Result without status if there is none.
func (o *Outcome) Of(host string) *Result {
	for i := range o.Hosts {
		if o.Hosts[i].Host == host {
			return &o.Hosts[i]
		}
	}
	return &Result{Host: host}
}

// Run runs gofleet to its end.
func (w *World) Run(ctx context.Context, vars Vars, args ...string) (*Outcome, error) {
	r, err := w.Start(ctx, vars, args...)
	if err != nil {
		return nil, err
	}
	return r.Wait()
}

// MustRun is Run where every host has to end well.
func (w *World) MustRun(ctx context.Context, vars Vars, args ...string) (*Outcome, error) {
	o, err := w.Run(ctx, vars, args...)
	if err != nil {
		return nil, err
	}
	if err := o.Err(); err != nil {
		return o, fmt.Errorf("%s: %w", args[0], err)
	}
	return o, nil
}

// Err is an error of every host that did not end well.
func (o *Outcome) Err() error {
	var errs []error
	for i := range o.Hosts {
		if s := o.Hosts[i].Status; s != "ok" && s != "changed" {
			errs = append(errs, errors.New(o.Hosts[i].String()))
		}
	}
	if len(errs) == 0 && o.Exit != 0 {
		errs = append(errs, fmt.Errorf("gofleet ended with %d\n%s", o.Exit, o.Stderr))
	}
	return errors.Join(errs...)
}
