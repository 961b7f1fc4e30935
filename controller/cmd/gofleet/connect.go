package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"github.com/gofleet/gofleet/agent/policy"
	"github.com/gofleet/gofleet/agent/spec"
	"github.com/gofleet/gofleet/controller/internal/agents"
	"github.com/gofleet/gofleet/controller/internal/fleet"
	"github.com/gofleet/gofleet/controller/internal/inventory"
	"github.com/gofleet/gofleet/controller/internal/remote"
	"github.com/gofleet/gofleet/controller/internal/report"
)

// connector reaches the hosts of a run.
type connector struct {
	dialer   *remote.Dialer
	binaries []remote.Binary
	defaults remote.Defaults
	standIns []standIn
	mask     *fleet.Mask // of warnings; set before the first host is dialled
}

// newConnector reads what the flags say of connections. Passwords are asked
// for here, before any host is dialled.
func (a *app) newConnector(ctx context.Context, ui *report.Reporter, set agents.Set) (*connector, error) {
	password, err := a.becomePassword(ctx, ui)
	if err != nil {
		return nil, err
	}
	c := &connector{
		standIns: a.standIns(),
		dialer: &remote.Dialer{
			Timeout: a.connect.timeout, AcceptNewHostKeys: a.connect.acceptNewHostKeys,
			AgentSocket: os.Getenv("SSH_AUTH_SOCK"),
			Passphrase: func(ctx context.Context, file string) ([]byte, error) {
				answer, err := ui.Ask(ctx, fmt.Sprintf("passphrase of %s: ", file), true)
				if errors.Is(err, report.ErrNoTerminal) {
					err = report.ErrNoTerminal // the dialer names the key
				}
				return []byte(answer), err
			},
		},
		defaults: a.connectDefaults(),
	}
	c.defaults.BecomePassword = password
	c.dialer.Warn = func(message string) { ui.Warn("", c.mask.Text(message)) }
	switch a.connect.sshConfig {
	case "":
	case "none":
		c.dialer.ConfigFiles = []string{os.DevNull}
	default:
		c.dialer.ConfigFiles = []string{a.connect.sshConfig}
	}
	for _, p := range set.Platforms() {
		c.binaries = append(c.binaries, remote.Binary(set[p]))
	}
	return c, nil
}

// connectDefaults are what the flags say of hosts of which the inventory says
// nothing, but for the become password.
func (a *app) connectDefaults() remote.Defaults {
	return remote.Defaults{
		User: a.connect.user, KeyFile: a.connect.privateKey, CommonArgs: a.connect.sshCommonArgs, Become: a.connect.become,
	}
}

// becomePassword gets the password of -K or --become-password-file, or nil.
func (a *app) becomePassword(ctx context.Context, ui *report.Reporter) (func() (string, error), error) {
	var password string
	switch {
	case a.connect.askBecomePass:
		answer, err := ui.Ask(ctx, "BECOME password: ", true)
		if errors.Is(err, report.ErrNoTerminal) {
			return nil, hint(err, "--become-password-file reads it from a file")
		}
		if err != nil {
			return nil, err
		}
		password = answer
	case a.connect.becomePassFile != "":
		b, err := os.ReadFile(a.connect.becomePassFile)
		if err != nil {
			return nil, fmt.Errorf("--become-password-file %s: %w", a.connect.becomePassFile, cause(err))
		}
		password = strings.TrimRight(string(b), "\r\n")
	default:
		return nil, nil
	}
	return func() (string, error) { return password, nil }, nil
}

// isConnection says whether a variable may say how a host is reached: what is
// left out are the facts of hosts, which inventories may have too.
func isConnection(name string) bool {
	rest, ok := strings.CutPrefix(name, "ansible_")
	word, _, _ := strings.Cut(rest, "_")
	switch word {
	case "connection", "host", "port", "user", "password", "private", "ssh", "become", "sudo", "su", "doas", "timeout", "pipelining", "scp", "sftp":
		return ok
	}
	return false
}

// targets reads every host's connection variables. All errors come at once.
func (c *connector) targets(hosts []*inventory.Host) ([]remote.Target, error) {
	targets := make([]remote.Target, len(hosts))
	var found problems
	for i, h := range hosts {
		vars, err := h.Evaluate(isConnection)
		if err != nil {
			found = append(found, unevaluated(h, err)...)
			continue
		}
		vars, origins := withStandIns(vars, c.standIns)
		t, err := remote.TargetFromVars(h.Name, vars, c.defaults)
		var bad *remote.VariableError
		switch {
		case err == nil:
			targets[i] = t
		case errors.As(err, &bad):
			where := h.Origin(bad.Variable).String()
			if setting, ok := origins[bad.Variable]; ok {
				where = setting
			}
			if strings.HasPrefix(bad.Variable, "--") {
				where = "" // the command line is at fault, not the host's line
			}
			found = append(found, report.Problem{
				Where: where, Message: unquoted(h, bad.Variable, bad.Error()), Hint: bad.Hint, Hosts: []string{h.Name},
			})
		default:
			return nil, fmt.Errorf("%s: %w", h.Name, err)
		}
	}
	return targets, found.errOrNil()
}

// unresolved are the problems of hosts, by their place, to which ssh_config
// leads no way.
func unresolved(hosts []*inventory.Host, failed map[int]error) error {
	var found problems
	for i, h := range hosts {
		if err := failed[i]; err != nil {
			found = append(found, report.Problem{
				Message: err.Error(), Hosts: []string{h.Name},
				Hint: "correct it there; -F takes another ssh_config file, or none",
			})
		}
	}
	return found.errOrNil()
}

// checkBecome refuses, before anything is dialled, hosts that would install
// system-wide as an ordinary user.
func checkBecome(hosts []*inventory.Host, targets []remote.Target, specs []*spec.Spec) error {
	var found problems
	for i, h := range hosts {
		t := targets[i]
		// Where the inventory names no user, ssh_config may; then the agent says it.
		ordinary := t.User != "" && t.User != "root" || t.Local && os.Getuid() != 0
		if _, own := h.Vars["gofleet_root"]; own || !ordinary || t.Become != nil || specs[i].Root != spec.DefaultRoot {
			continue
		}
		found = append(found, report.Problem{
			Message: "an ordinary user cannot install to " + spec.DefaultRoot,
			Hint:    "become root with -b or ansible_become, or set gofleet_root to a directory in the user's home",
			Hosts:   []string{h.Name},
		})
	}
	return found.errOrNil()
}

// connect dials one host.
func (c *connector) connect(ctx context.Context, t remote.Target) (fleet.Conn, error) {
	conn, err := c.dialer.Dial(ctx, t)
	if err != nil {
		return nil, err
	}
	return &hostConn{Conn: conn, binaries: c.binaries}, nil
}

// hostConn is a remote.Conn as fleet wants it.
type hostConn struct {
	*remote.Conn
	binaries []remote.Binary
}

// StartAgent starts the agent of the host's platform.
func (c *hostConn) StartAgent(ctx context.Context, s *spec.Spec) (*fleet.Agent, error) {
	session, err := c.Conn.StartAgent(ctx, remote.Launch{Binaries: c.binaries, Root: s.Root})
	var probed *remote.ProbeError
	if errors.As(err, &probed) {
		return nil, unmetProbe(probed, s)
	}
	if err != nil {
		return nil, err
	}
	return &fleet.Agent{
		Hello: session.Hello, In: session.Stdin, Out: session.Stdout,
		Close: sync.OnceValue(session.Close), Explain: session.Explain,
	}, nil
}

// unmetProbe judges a host that no agent could start on by what its shell
// said: unmet preconditions tell more than the agent's failure.
func unmetProbe(e *remote.ProbeError, s *spec.Spec) error {
	facts := e.Probed()
	checks := policy.CheckProbe(facts, s)
	return &fleet.ProbedError{Err: e.Err, Facts: facts, Checks: checks, Unmet: !policy.Met(checks)}
}

// Upload writes into a file on the host over SFTP.
func (c *hostConn) Upload(ctx context.Context, src io.ReaderAt, offset, size int64, dst string, contiguous func(int64)) error {
	err := c.Conn.Upload(ctx, src, offset, size, dst, contiguous)
	if errors.Is(err, remote.ErrNoSFTP) {
		return fmt.Errorf("%w: %w", fleet.ErrNoUpload, err)
	}
	return err
}
