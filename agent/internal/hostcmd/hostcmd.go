// Package hostcmd runs the host's own administration programs (getent,
// useradd, visudo) from fixed places, with a fixed environment and bounded
// output. It knows nothing of what they are run for.
package hostcmd

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Path is where programs are looked for, whatever PATH the agent was started
// with: root must not run what a login user's PATH finds first.
const Path = "/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin:/usr/local/bin:/run/current-system/sw/bin"

const (
	maxOutput = 256 << 10
	timeout   = time.Minute // a directory server that does not answer ends a command
)

// Find gives the path of a program, or "" where the host has none.
func Find(name string) string {
	for _, dir := range filepath.SplitList(Path) {
		p := filepath.Join(dir, name)
		var st unix.Stat_t
		if unix.Stat(p, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFREG && st.Mode&0o111 != 0 {
			return p
		}
	}
	return ""
}

// ExitError is a program that ended with another code than 0.
type ExitError struct {
	Program string // its base name
	Code    int
	Output  string // the end of what it said, printable and bounded
}

func (e *ExitError) Error() string {
	if e.Output == "" {
		return fmt.Sprintf("%s exited with %d", e.Program, e.Code)
	}
	return fmt.Sprintf("%s exited with %d: %s", e.Program, e.Code, e.Output)
}

// Command is a program that Find found, and how it is run.
type Command struct {
	Program  string
	Args     []string
	Stdin    string
	Env      []string      // beside PATH, HOME and the C locale
	Patience time.Duration // 0: a minute

	// Finish names a file for all that the program says. With it the program is
	// never cut: it is in a session of its own, its end is waited for whatever
	// becomes of the context, and it goes on when this process dies.
	Finish string
}

// Run runs a program that Find found and gives its standard output. An exit
// code other than 0 is an *ExitError.
func Run(ctx context.Context, stdin, program string, args ...string) ([]byte, error) {
	return Command{Program: program, Args: args, Stdin: stdin}.Run(ctx)
}

// Run is as the function Run; with Finish there is no output.
func (c Command) Run(ctx context.Context) ([]byte, error) {
	if c.Finish != "" {
		ctx = context.WithoutCancel(ctx)
	}
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(c.Patience, timeout))
	defer cancel()
	var stdout, stderr bounded
	cmd := exec.CommandContext(ctx, c.Program, c.Args...)
	cmd.Env = append([]string{"PATH=" + Path, "LC_ALL=C", "HOME=/"}, c.Env...)
	cmd.Dir = "/"
	cmd.Stdin = strings.NewReader(c.Stdin)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.WaitDelay = time.Second // a grandchild that holds the pipe doesn't hold us
	if c.Finish != "" {
		log, err := os.OpenFile(c.Finish, os.O_RDWR|os.O_CREATE|os.O_TRUNC|unix.O_NOFOLLOW, 0o600)
		if err != nil {
			return nil, err
		}
		defer log.Close()
		cmd.Stdin, cmd.Stdout, cmd.Stderr = nil, log, log
		cmd.SysProcAttr = &unix.SysProcAttr{Setsid: true}
	}
	err := cmd.Run()
	if log, ok := cmd.Stdout.(*os.File); ok {
		stderr.end(log)
	}
	name := filepath.Base(c.Program)
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return nil, fmt.Errorf("run %s: %w", name, context.Cause(ctx))
	case errors.As(err, &exit) && exit.ExitCode() > 0:
		return stdout.b.Bytes(), &ExitError{Program: name, Code: exit.ExitCode(), Output: Printable(tail(&stderr, &stdout), 400)}
	case err != nil:
		return nil, fmt.Errorf("run %s: %w", name, err)
	case stdout.cut:
		return nil, fmt.Errorf("run %s: more than %d bytes of output", name, maxOutput)
	}
	return stdout.b.Bytes(), nil
}

func tail(stderr, stdout *bounded) string {
	if s := strings.TrimSpace(stderr.b.String()); s != "" {
		return s
	}
	return strings.TrimSpace(stdout.b.String())
}

// Printable is s on one line of at most max bytes, without control characters.
func Printable(s string, max int) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case r < ' ' || r >= 0x7f && r < 0xa0 || r == '\u2028' || r == '\u2029':
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	if len(s) > max {
		s = strings.ToValidUTF8(s[:max], "") + "…"
	}
	return s
}

// bounded keeps the first maxOutput bytes and swallows the rest, so that the
// program neither blocks nor fills the memory.
type bounded struct {
	b   bytes.Buffer
	cut bool
}

func (w *bounded) Write(p []byte) (int, error) {
	n := len(p)
	if room := maxOutput - w.b.Len(); n > room {
		p, w.cut = p[:room], true
	}
	w.b.Write(p)
	return n, nil
}

// end takes the end of what a program said: there it tells why it failed.
func (w *bounded) end(log *os.File) {
	buf := make([]byte, maxEnd)
	if st, err := log.Stat(); err == nil {
		n, _ := log.ReadAt(buf, max(st.Size()-maxEnd, 0))
		w.b.Write(buf[:n])
	}
}

const maxEnd = 400
