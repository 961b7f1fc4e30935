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
	var tty *terminalError
	for {
		s, err := c.launch(ctx, l)
		switch {
		case errors.Is(err, errCached) && !l.NoCache:
			// A file that was damaged, or a filesystem that is noexec by now.
			l.NoCache = true
		case errors.As(err, &tty) && c.takeTerminal():
		case errors.Is(err, errNoTerminal) && tty != nil:
			tty.refusal.Message += "; " + errNoTerminal.Error()
			return nil, tty.refusal
		case errors.As(err, &tty):
			return nil, tty.refusal
		default:
			return s, err
		}
	}
}

// launch is one exec.
func (c *Conn) launch(ctx context.Context, l Launch) (*Session, error) {
	st := &starting{conn: c, launch: l, marker: randomHex(), tty: c.terminal()}
	if b := c.target.Become; b != nil {
		var err error
		if st.become, err = newBecoming(b, randomHex(), st.tty); err != nil {
			return nil, err
		}
	}
	var words []string
	prompt := ""
	if st.become != nil {
		words, prompt = st.become.words, st.become.prompt
	}
	command, err := commandLine(shellLine{marker: st.marker, root: l.Root, agents: l.Binaries, cache: !l.NoCache, become: words, tty: st.tty})
	if err != nil {
		return nil, wire.NewError(wire.KindAgent, fmt.Errorf("start the agent: %w", err), "check gofleet_root and the ansible_become_ variables")
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	st.ctx, st.cancel = ctx, cancel
	st.clock = time.AfterFunc(c.start, func() { cancel(errSilent) })
	defer st.settle()
	if st.proc, err = c.via.exec(ctx, command, st.tty); err != nil {
		return nil, st.execError(err)
	}
	st.tail = newTail(prompt, st.prompted, st.alive)
	if st.tty {
		st.tail.skip = agentSays(st.marker)
	}
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
	tty    bool // on a terminal
	proc   process
	tail   *tail
	scan   *scanner
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
	settled := st.settled
	st.prompt = count
	st.mu.Unlock()
	if settled {
		return // whatever the agent prints, it gets no password
	}
	if count > 1 {
		st.cancel(wire.NewError(wire.KindBecomePassword, fmt.Errorf("become %s: %s does not accept the password", st.become.user, st.become.name),
			"check -K or ansible_become_password"))
		return
	}
	password, err := st.become.password()
	if errors.Is(err, errNoPassword) {
		st.cancel(wire.NewError(wire.KindBecomePassword, fmt.Errorf("become %s: %s wants a password", st.become.user, st.become.name),
			fmt.Sprintf("give that of %s with -K or ansible_become_password, or let the user become without one", st.become.user)))
		return
	}
	if err == nil && strings.ContainsAny(password, "\n\r\x00") {
		err = errors.New("it " + errUnquotable.Error())
	}
	if err != nil {
		st.cancel(wire.NewError(wire.KindBecomePassword, fmt.Errorf("become %s: password: %w", st.become.user, err), ""))
		return
	}
	st.tail.hide(password)
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
	stdout := st.proc.stdout()
	tee := &teeTail{r: stdout, tail: st.tail}
	if st.tty {
		stdout = tee
	}
	out := bufio.NewReader(&activity{stdout, st.alive})
	st.scan = newScanner(out, st.marker)
	for {
		verb, rest, err := st.scan.next()
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
			if st.tty {
				tee.hello = true
				s.Stdin, s.Stdout = terminalInput{s.Stdin}, wire.NewReader(&eventLines{br: out, tail: st.tail}, wire.MaxLine)
			}
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

func platforms(all []Binary) string {
	var out []string
	for _, b := range all {
		out = append(out, b.Platform.Arch)
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}
