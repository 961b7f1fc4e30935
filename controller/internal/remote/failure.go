package remote

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gofleet/gofleet/agent/wire"
)

// refusal explains why the shell line gave up.
func (st *starting) refusal(verb, rest string) error {
	switch verb {
	case "nobecome":
		return &wire.Error{Kind: wire.KindBecomeMissing, Message: fmt.Sprintf("become %s: %s is not on the host", st.become.user, neutral(rest)),
			Hint: "install it, set ansible_become_method or ansible_become_exe, or log in as root without -b"}
	case "noexec":
		if p, _, dirs, err := parseProbe(rest); err == nil {
			st.probe = &p
			rest = dirs
		}
		return &wire.Error{Kind: wire.KindAgent, Message: fmt.Sprintf("start the agent: no directory to start a program from (tried %s)", strings.Join(strings.Fields(neutral(rest)), ", ")),
			Hint: "one of them must be writable, not be mounted noexec, and no other user may be able to change it or what is above it; set TMPDIR or gofleet_root to a place that is so"}
	case "corrupt":
		if hasLine(st.stderr(), "no space left") {
			return &wire.Error{Kind: wire.KindNoSpace, Message: "start the agent: no space left on the host to put it", Hint: "free some megabytes in /run or /tmp"}
		}
		return &wire.Error{Kind: wire.KindAgent, Retryable: true, Message: "start the agent: what arrived on the host is not what was sent" + st.said(), Hint: "run it again; if it stays so, look at gzip and head on the host"}
	case "died":
		return &wire.Error{Kind: wire.KindAgent, Message: fmt.Sprintf("start the agent: it cannot run on this host (exit code %s)%s", neutral(rest), st.said()),
			Hint: "the kernel may be too old, of another architecture, or set up to run known programs only (fapolicyd, SELinux)"}
	}
	return wire.NewError(wire.KindProtocol, fmt.Errorf("start the agent: the host says %q", neutral(verb)), "")
}

// stderr waits shortly for what the host said last.
func (st *starting) stderr() []string {
	select {
	case <-st.tail.done:
	case <-time.After(2 * time.Second):
	}
	return st.tail.lines()
}

// said is the end of stderr, to be put behind a message.
func (st *starting) said() string {
	if st.tail == nil {
		return ""
	}
	st.stderr()
	last := st.tail.last()
	if last == "" && st.scan != nil && !st.tty { // of a terminal, tail has both
		last = st.scan.last // on stdout, as nologin and some login scripts do
	}
	if last == "" {
		return ""
	}
	return "; it said: " + last
}

func hasLine(lines []string, text string) bool {
	return slices.ContainsFunc(lines, func(l string) bool { return strings.Contains(strings.ToLower(l), text) })
}

// failure is the error of a start that came to nothing. It ends the process.
func (st *starting) failure(err error) error {
	e := st.explain(err)
	st.proc.release()
	var tty *terminalError
	if errors.Is(e, errCached) || errors.As(e, &tty) {
		return e
	}
	var w *wire.Error
	if !errors.As(e, &w) {
		w = wire.AsError(e, wire.KindAgent)
	}
	if st.probe != nil {
		return &ProbeError{Err: w, Probe: *st.probe}
	}
	return w
}

func (st *starting) explain(err error) error {
	var w *wire.Error
	if cause := context.Cause(st.ctx); cause != nil && !errors.As(err, &w) {
		if errors.Is(cause, errSilent) {
			return st.silence()
		}
		if errors.As(cause, &w) {
			return cause
		}
		return contextError(st.ctx, errors.New("start the agent"))
	}
	if errors.As(err, &w) {
		return err
	}
	if errors.Is(err, errNoise) || errors.Is(err, wire.ErrTooLong) {
		return wire.NewError(wire.KindProtocol, fmt.Errorf("start the agent: %w", err), "shells that are not interactive should print nothing: look at the login user's .bashrc, and at ForceCommand")
	}
	return st.ended()
}

// execError explains a command that could not even be started.
func (st *starting) execError(err error) error {
	if cause := context.Cause(st.ctx); cause != nil {
		if errors.Is(cause, errSilent) {
			return st.silence()
		}
		return contextError(st.ctx, err)
	}
	if errors.Is(err, errNoTerminal) {
		return wire.NewError(wire.KindAgent, fmt.Errorf("start the agent: %w", err), "allow the login user a terminal, or exempt it from what wants one: Defaults:USER !requiretty in sudoers")
	}
	if cause := brokenSoon(st.conn.via); cause != nil {
		return wire.AsError(cause, wire.KindUnreachable)
	}
	return wire.NewError(wire.KindAgent, fmt.Errorf("start the agent: the host does not run commands for %s: %w", st.conn.user, err),
		"sshd may allow no sessions (MaxSessions, a restricted key)")
}

// silence explains a host that has said nothing for long.
func (st *starting) silence() error {
	st.mu.Lock()
	prompts := st.prompt
	st.mu.Unlock()
	if st.become != nil && st.probe == nil && !st.cached && st.become.prompt != "" && prompts == 0 {
		return &wire.Error{Kind: wire.KindBecomePassword, Message: fmt.Sprintf("become %s: %s asks for something else than a password%s", st.become.user, st.become.name, st.said()),
			Hint: "one-time codes and the like cannot be given; let the user become without them"}
	}
	return &wire.Error{Kind: wire.KindTimeout, Retryable: true, Message: fmt.Sprintf("start the agent: the host has been silent for %s%s", st.conn.start, st.said()),
		Hint: "look at what the host is doing; a login script may wait for something"}
}

// ended explains a shell line that ended without a word of its own.
func (st *starting) ended() error {
	lines := st.stderr()
	if st.become != nil && st.probe == nil && !st.cached {
		if e := st.become.explain(lines); e != nil {
			return e
		}
	}
	code, known := st.exitCode()
	if cause := brokenUnless(known, st.conn.via); cause != nil {
		return &wire.Error{Kind: wire.KindUnreachable, Retryable: true, Message: fmt.Sprintf("start the agent: %v", cause)}
	}
	if st.cached && (code == 126 || code == 127 || code > signalBase) {
		return errCached
	}
	e := &wire.Error{Kind: wire.KindAgent, Message: "start the agent: the host's shell ended" + st.said()}
	if known {
		e.Message = fmt.Sprintf("start the agent: the host's shell ended with exit code %d%s", code, st.said())
	}
	e.Hint = "can the user run commands there? Try: ssh HOST sh -c true"
	if st.cached || st.probe != nil {
		e.Message = strings.Replace(e.Message, "the host's shell", "it", 1)
		e.Hint = ""
	}
	return e
}

// brokenUnless is why the connection ended, if it did rather than the command.
func brokenUnless(known bool, via transport) error {
	if known {
		return nil
	}
	return brokenSoon(via)
}

// exitCode waits shortly for the process' end.
func (st *starting) exitCode() (code int, known bool) {
	result := make(chan int, 1)
	lost := make(chan struct{})
	go func() {
		if code, err := st.proc.wait(); err == nil {
			result <- code
		} else {
			close(lost)
		}
	}()
	select {
	case code := <-result:
		return code, true
	case <-lost:
		return 0, false
	case <-time.After(2 * time.Second):
		return 0, false
	}
}
