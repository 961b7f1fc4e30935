package report

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// ErrNoTerminal is what Ask's error wraps when nobody can be asked.
var ErrNoTerminal = errors.New("there is no terminal to ask on")

// tty is where questions are asked.
type tty interface {
	io.ReadWriteCloser
	// Password reads a line that is not shown while it is typed.
	Password() ([]byte, error)
	// Restore makes what is typed be shown again, at any time.
	Restore()
}

// Ask asks for something ("become password") on the terminal, whatever stdin
// and stdout are, and returns the line without its end. A secret is not shown while it is typed. The live view
// is away meanwhile, and questions wait for each other. When ctx ends, so does
// the question. Without a terminal the error wraps ErrNoTerminal.
func (r *Reporter) Ask(ctx context.Context, prompt string, secret bool) (string, error) {
	prompt = strings.TrimRight(oneLine(prompt), ": ")
	r.asking.Lock()
	defer r.asking.Unlock()
	if err := ctx.Err(); err != nil {
		return "", context.Cause(ctx)
	}
	t, err := r.tty()
	if err != nil {
		return "", fmt.Errorf("ask for %s: %w", prompt, ErrNoTerminal)
	}
	defer r.screen.suspend()()
	defer t.Close()

	fmt.Fprintf(t, "%s: ", prompt)
	type answer struct {
		line string
		err  error
	}
	answered := make(chan answer, 1)
	go func() { // ends with the answer, or when the terminal is closed
		line, err := read(t, secret)
		answered <- answer{line, err}
	}()
	select {
	case a := <-answered:
		if secret {
			io.WriteString(t, "\n") // the one that was typed is not shown either
		}
		if a.err != nil {
			return "", fmt.Errorf("ask for %s: %w", prompt, a.err)
		}
		return a.line, nil
	case <-ctx.Done():
		t.Restore()
		io.WriteString(t, "\n")
		return "", context.Cause(ctx)
	}
}

// CanAsk reports whether there is a terminal to ask on; if not, the error
// wraps ErrNoTerminal.
func (r *Reporter) CanAsk() error {
	t, err := r.tty()
	if err != nil {
		return ErrNoTerminal
	}
	return t.Close()
}

func read(t tty, secret bool) (string, error) {
	if secret {
		b, err := t.Password()
		return string(b), err
	}
	// Byte by byte: what is typed ahead is the next reader's.
	var line strings.Builder
	var b [1]byte
	for {
		n, err := t.Read(b[:])
		if n == 1 && b[0] == '\n' {
			return strings.TrimSuffix(line.String(), "\r"), nil
		}
		if n == 1 {
			line.WriteByte(b[0])
		}
		if err != nil {
			return "", err
		}
	}
}

// terminal is the controlling terminal.
type terminal struct {
	*os.File
	fd    int
	state *term.State
}

func openTTY() (tty, error) {
	f, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	return newTerminal(f)
}

func newTerminal(f *os.File) (tty, error) {
	t := &terminal{File: f, fd: int(f.Fd())}
	var err error
	if t.state, err = term.GetState(t.fd); err != nil {
		f.Close()
		return nil, err
	}
	return t, nil
}

func (t *terminal) Password() ([]byte, error) { return term.ReadPassword(t.fd) }
func (t *terminal) Restore()                  { term.Restore(t.fd, t.state) }
