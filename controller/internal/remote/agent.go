package remote

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gofleet/gofleet/agent/wire"
)

// Launch is what StartAgent needs to know.
type Launch struct {
	Binaries []Binary // of all platforms
	Root     string   // gofleet_root: its parent is one of the places to start a program from
	NoCache  bool     // do not use an agent that the host keeps
}

// ProbeError is an error of StartAgent that knows something of the host.
type ProbeError struct {
	Err   *wire.Error
	Probe Probe
}

func (e *ProbeError) Error() string { return e.Err.Error() }

// Unwrap gives the *wire.Error.
func (e *ProbeError) Unwrap() error { return e.Err }

// Probed is what preconditions can be judged by.
func (e *ProbeError) Probed() *wire.Facts { return e.Probe.Facts() }

// errCached says that the agent in the host's cache did not start.
var errCached = errors.New("the cached agent did not start")

// StartAgent starts the agent in one exec, under become where the target says
// so, and returns after its Hello. Errors are *wire.Error, within a
// *ProbeError once the host has told what it is.
func (c *Conn) StartAgent(ctx context.Context, l Launch) (*Session, error) {
	s, err := c.launch(ctx, l)
	if errors.Is(err, errCached) && !l.NoCache {
		// A file that was damaged, or a filesystem that is noexec by now.
		l.NoCache = true
		s, err = c.launch(ctx, l)
	}
	return s, err
}

// launch is one exec.
func (c *Conn) launch(ctx context.Context, l Launch) (*Session, error) {
	st := &starting{conn: c, launch: l, marker: randomHex()}
	if b := c.target.Become; b != nil {
		var err error
		if st.become, err = newBecoming(b, randomHex()); err != nil {
			return nil, err
		}
	}
	var words []string
	prompt := ""
	if st.become != nil {
		words, prompt = st.become.words, st.become.prompt
	}
	command, err := commandLine(st.marker, l.Root, l.Binaries, !l.NoCache, words)
	if err != nil {
		return nil, wire.NewError(wire.KindAgent, fmt.Errorf("start the agent: %w", err), "check gofleet_root and the ansible_become_ variables")
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	st.ctx, st.cancel = ctx, cancel
	st.clock = time.AfterFunc(c.start, func() { cancel(errSilent) })
	defer st.settle()
	if st.proc, err = c.via.exec(ctx, command); err != nil {
		return nil, st.execError(err)
	}
	st.tail = newTail(prompt, st.prompted, st.alive)
	go st.tail.read(st.proc.stderr())
	// Whatever blocks on the process ends when it is killed.
	stop := context.AfterFunc(ctx, st.proc.kill)
	session, err := st.run()
	if !stop() && err == nil {
		err = st.failure(context.Cause(ctx))
	}
	if err != nil {
		return nil, err
	}
	return session, nil
}

func randomHex() string {
	b := make([]byte, 16)
	rand.Read(b)
	return hex.EncodeToString(b)
}

var errSilent = errors.New("silence")

// starting is an agent between exec and Hello.
type starting struct {
	conn   *Conn
	launch Launch
	marker string
	become *becoming
	proc   process
	tail   *tail
	ctx    context.Context //nolint:containedctx // of one StartAgent
	cancel context.CancelCauseFunc
	clock  *time.Timer

	mu      sync.Mutex
	settled bool // Hello came: what the host does is no longer our business
	prompt  int  // how often we were asked for the password

	probe  *Probe
	cached bool
}

// alive notes that the host did something.
func (st *starting) alive() {
	st.mu.Lock()
	defer st.mu.Unlock()
	if !st.settled {
		st.clock.Reset(st.conn.start)
	}
}

// settle ends the watch over the host's silence.
func (st *starting) settle() {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.settled = true
	st.clock.Stop()
}

// prompted is called when become's program asks for the password: the first
// time it gets it; the second time it did not like it.
func (st *starting) prompted(count int) {
	st.mu.Lock()
	st.prompt = count
	st.mu.Unlock()
	if count > 1 {
		st.cancel(wire.NewError(wire.KindBecomePassword, fmt.Errorf("become %s: %s does not accept the password", st.become.user, st.become.name),
			"check -K or ansible_become_password"))
		return
	}
	password, err := st.become.password()
	if err == nil && strings.ContainsAny(password, "\n\r\x00") {
		err = errors.New("it " + errUnquotable.Error())
	}
	if err != nil {
		st.cancel(wire.NewError(wire.KindBecomePassword, fmt.Errorf("become %s: password: %w", st.become.user, err), ""))
		return
	}
	// A failed write shows itself as the end of stdout.
	io.WriteString(st.proc.stdin(), password+"\n")
}

// activity is a reader that tells of each read.
type activity struct {
	r     io.Reader
	alive func()
}

func (a *activity) Read(p []byte) (int, error) {
	n, err := a.r.Read(p)
	if n > 0 && a.alive != nil {
		a.alive()
	}
	return n, err
}

// run follows what the shell line says until the agent's Hello.
func (st *starting) run() (*Session, error) {
	out := bufio.NewReaderSize(&activity{st.proc.stdout(), st.alive}, 64<<10)
	scan := newScanner(out, st.marker)
	for {
		verb, rest, err := scan.next()
		if err != nil {
			return nil, st.failure(err)
		}
		switch verb {
		case "cached":
			st.cached = true
		case "need":
			if err := st.send(rest); err != nil {
				return nil, st.failure(err)
			}
		case "hello":
			s := &Session{Stdin: st.proc.stdin(), Stdout: wire.NewReader(out, wire.MaxLine), conn: st.conn, proc: st.proc, tail: st.tail, ended: make(chan struct{})}
			if err := json.Unmarshal([]byte(rest), &s.Hello); err != nil {
				return nil, st.failure(wire.NewError(wire.KindProtocol, fmt.Errorf("the agent's first words are not what they should be: %w", err), ""))
			}
			if st.probe != nil {
				s.Probe = *st.probe
			}
			go s.watch()
			return s, nil
		default:
			return nil, st.failure(st.refusal(verb, rest))
		}
	}
}

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
			Hint: "one of them must be writable and not be mounted noexec; set TMPDIR or gofleet_root to a place that is not"}
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

// send gives the host the agent that fits it.
func (st *starting) send(rest string) error {
	p, gzip, _, err := parseProbe(rest)
	if err != nil {
		return wire.NewError(wire.KindProtocol, fmt.Errorf("start the agent: %w", err), "")
	}
	st.probe = &p
	platform, ok := p.Platform()
	i := slices.IndexFunc(st.launch.Binaries, func(b Binary) bool { return b.Platform == platform })
	if !ok || i < 0 {
		return &wire.Error{Kind: wire.KindPlatform, Message: fmt.Sprintf("there is no agent for this host: %s %s, %d-bit userland", p.System, p.Machine, p.Bits),
			Hint: "gofleet serves linux on " + platforms(st.launch.Binaries)}
	}
	b := st.launch.Binaries[i]
	body, encoding, err := b.body(gzip)
	if err != nil {
		return wire.NewError(wire.KindInternal, fmt.Errorf("unpack the agent for %s: %w", platform, err), "")
	}
	in := st.proc.stdin()
	if _, err := fmt.Fprintf(in, "%d %s %s %d\n", b.Size, b.SHA256, encoding, len(body)); err != nil {
		return err
	}
	for part := range slices.Chunk(body, 64<<10) {
		if _, err := in.Write(part); err != nil {
			return err
		}
		st.alive()
	}
	return nil
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
	if l := st.stderr(); len(l) > 0 {
		return "; it said: " + strings.Join(l[max(0, len(l)-5):], " | ")
	}
	return ""
}

func hasLine(lines []string, text string) bool {
	return slices.ContainsFunc(lines, func(l string) bool { return strings.Contains(strings.ToLower(l), text) })
}

// failure is the error of a start that came to nothing. It ends the process.
func (st *starting) failure(err error) error {
	e := st.explain(err)
	st.proc.release()
	if errors.Is(e, errCached) {
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
	if cause := st.conn.via.broken(); cause != nil {
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

func platforms(all []Binary) string {
	var out []string
	for _, b := range all {
		out = append(out, b.Platform.Arch)
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}
