package remote

import (
	"bufio"
	"errors"
	"io"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/gofleet/gofleet/agent/wire"
)

// A terminal is used only where a host wants one: a sudo with requiretty, an
// su or a doas that asks on /dev/tty. It has one stream for stdout and stderr,
// no end of stdin, and, until it is raw, an echo, signals on bytes and lines of
// at most 4,096 bytes.

// rawModes ask the server for a terminal that changes no byte. Servers may
// ignore that, so the shell line runs stty too, before anything is sent.
var rawModes = ssh.TerminalModes{
	ssh.ECHO: 0, ssh.ECHONL: 0, ssh.ICANON: 0, ssh.ISIG: 0, ssh.IEXTEN: 0, ssh.OPOST: 0, ssh.ONLCR: 0,
	ssh.ICRNL: 0, ssh.INLCR: 0, ssh.IGNCR: 0, ssh.ISTRIP: 0, ssh.IXON: 0, ssh.IXOFF: 0, ssh.IXANY: 0,
	ssh.PARMRK: 0, ssh.INPCK: 0, ssh.CS8: 1,
}

// rawTerminal is what the shell line does first on a terminal.
const rawTerminal = "stty raw -echo 2>/dev/null\n"

// errNoTerminal says that the other side gives no terminal.
var errNoTerminal = errors.New("the host gives no terminal (PermitTTY, or a restricted key)")

// terminalError is a refusal that a terminal may turn into consent.
type terminalError struct{ refusal *wire.Error }

func (e *terminalError) Error() string { return e.refusal.Error() }

// Unwrap gives the *wire.Error.
func (e *terminalError) Unwrap() error { return e.refusal }

// terminal tells whether the next agent is started on one.
func (c *Conn) terminal() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.tty
}

// takeTerminal decides to use a terminal from now on. It is false where that
// was decided before or is not allowed.
func (c *Conn) takeTerminal() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.tty || c.noTTY {
		return false
	}
	c.tty = true
	return true
}

// terminalInput is the stdin of an agent on a terminal, where closing ends
// nothing: the agent is told to stop.
type terminalInput struct{ io.WriteCloser }

// Close tells the agent to stop.
func (t terminalInput) Close() error {
	err := wire.NewWriter(t.WriteCloser).Write(wire.Command{Stop: true})
	return errors.Join(err, t.WriteCloser.Close())
}

// eventLines reads what an agent says on a terminal: the lines that begin as
// its events do. The others are stderr's and go to the tail.
type eventLines struct {
	br   *bufio.Reader
	tail *tail
	rest []byte // of br's buffer, still to be given out
	mid  bool   // the next bytes go on with the line before
	drop bool   // that line is none of ours
	err  error
}

// Read gives out parts of event lines only.
func (e *eventLines) Read(p []byte) (int, error) {
	for len(e.rest) == 0 {
		if e.err != nil {
			return 0, e.err
		}
		part, err := e.br.ReadSlice('\n')
		if !e.mid {
			e.drop = len(part) > 0 && part[0] != '{'
		}
		e.mid = errors.Is(err, bufio.ErrBufferFull)
		if err != nil && !e.mid {
			e.err = err
		}
		if e.drop {
			e.tail.feed(part)
		} else {
			e.rest = part
		}
	}
	n := copy(p, e.rest)
	e.rest = e.rest[n:]
	return n, nil
}

// teeTail gives the tail all that comes from a terminal before Hello.
type teeTail struct {
	r     io.Reader
	tail  *tail
	hello bool
}

// Read reads and notes.
func (t *teeTail) Read(p []byte) (int, error) {
	n, err := t.r.Read(p)
	if !t.hello {
		t.tail.feed(p[:n])
	}
	return n, err
}

// agentSays tells whether a line of a terminal is the agent's or the shell
// line's rather than a program's complaint.
func agentSays(marker string) func(line string) bool {
	return func(line string) bool {
		return strings.HasPrefix(line, "{") || strings.Contains(line, marker)
	}
}
