package report

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// openPTY makes a real terminal: what is written to keyboard is typed, what
// is shown is read from it.
func openPTY(t *testing.T) (keyboard, tty *os.File) {
	t.Helper()
	keyboard, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { keyboard.Close() })
	fd := int(keyboard.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tty.Close() })
	return keyboard, tty
}

// echoes reports whether the terminal shows what is typed.
func echoes(t *testing.T, tty *os.File) bool {
	t.Helper()
	state, err := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return state.Lflag&unix.ECHO != 0
}

// untilHidden waits for the terminal to show no more what is typed, which no
// event tells.
func untilHidden(t *testing.T, tty *os.File) {
	t.Helper()
	for echoes(t, tty) {
		runtime.Gosched()
	}
}

// askOn gives Options that ask on a terminal. A question closes what it is
// given, so it gets one of its own.
func askOn(terminal *os.File) func() (tty, error) {
	return func() (tty, error) {
		fd, err := unix.Dup(int(terminal.Fd()))
		if err != nil {
			return nil, err
		}
		return newTerminal(os.NewFile(uintptr(fd), terminal.Name()))
	}
}

// until reads what the terminal shows up to and with the end.
func until(t *testing.T, r *bufio.Reader, end string) string {
	t.Helper()
	var b strings.Builder
	for !strings.HasSuffix(b.String(), end) {
		c, err := r.ReadByte()
		if err != nil {
			t.Fatalf("after %q: %v", b.String(), err)
		}
		b.WriteByte(c)
	}
	return b.String()
}

func TestAsk(t *testing.T) {
	for _, secret := range []bool{false, true} {
		t.Run(fmt.Sprintf("secret=%v", secret), func(t *testing.T) {
			keyboard, tty := openPTY(t)
			shown := bufio.NewReader(keyboard)
			r, _, _ := newReporter(t, Options{tty: askOn(tty)})
			var answer string
			done := make(chan error, 1)
			go func() {
				var err error
				answer, err = r.Ask(context.Background(), "become password", secret)
				done <- err
			}()
			until(t, shown, "become password: ")
			io.WriteString(keyboard, "s3cr3t words\n")
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			if answer != "s3cr3t words" {
				t.Errorf("the answer is %q", answer)
			}
			if !echoes(t, tty) {
				t.Error("the terminal is left without echo")
			}
		})
	}
}

func TestAskHidesSecrets(t *testing.T) {
	keyboard, tty := openPTY(t)
	shown := bufio.NewReader(keyboard)
	r, _, _ := newReporter(t, Options{tty: askOn(tty)})
	done := make(chan error, 1)
	go func() {
		_, err := r.Ask(context.Background(), "passphrase of /home/ana/.ssh/id_ed25519", true)
		done <- err
	}()
	until(t, shown, "id_ed25519: ")
	untilHidden(t, tty)
	io.WriteString(keyboard, "s3cr3t\n")
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(tty, "end")
	if got := until(t, shown, "end"); strings.Contains(got, "s3cr3t") {
		t.Errorf("the terminal shows %q", got)
	}
}

func TestAskEndsWithContext(t *testing.T) {
	keyboard, tty := openPTY(t)
	shown := bufio.NewReader(keyboard)
	r, _, _ := newReporter(t, Options{tty: askOn(tty)})
	ctx, cancel := context.WithCancelCause(context.Background())
	done := make(chan error, 1)
	go func() {
		_, err := r.Ask(ctx, "become password", true)
		done <- err
	}()
	until(t, shown, "become password: ")
	untilHidden(t, tty)
	interrupted := errors.New("interrupted")
	cancel(interrupted)
	if err := <-done; !errors.Is(err, interrupted) {
		t.Errorf("Ask: %v, want %v", err, interrupted)
	}
	if !echoes(t, tty) {
		t.Error("the terminal is left without echo")
	}
	io.WriteString(keyboard, "\n") // lets the abandoned reader end
}

func TestAskWithoutTerminal(t *testing.T) {
	r, _, _ := newReporter(t, Options{tty: func() (tty, error) { return nil, os.ErrNotExist }})
	_, err := r.Ask(context.Background(), "become password", true)
	if !errors.Is(err, ErrNoTerminal) || strings.Contains(err.Error(), "file") {
		t.Errorf("Ask: %v", err)
	}
}

func TestAskSuspendsTheView(t *testing.T) {
	keyboard, tty := openPTY(t)
	shown := bufio.NewReader(keyboard)
	s := newStage(t, 80, 24, Options{Hosts: names("web%d", 2), tty: askOn(tty)})
	s.Phase("web1", "connect")
	s.frame(1e9)
	done := make(chan error, 1)
	go func() {
		_, err := s.Ask(context.Background(), "become password", true)
		done <- err
	}()
	until(t, shown, "become password: ")
	if got := s.vt.text(); got != "\n" {
		t.Errorf("while a question is asked the view shows\n%s", got)
	}
	s.Warn("", "held back until the answer")
	io.WriteString(keyboard, "x\n")
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if got := s.frame(0); !strings.HasPrefix(got, "gofleet: warning: held back until the answer\napply  0/2") {
		t.Errorf("after the answer the view shows\n%s", got)
	}
}

func TestStopEndsASuspendedView(t *testing.T) {
	s := newStage(t, 80, 24, Options{Hosts: names("web%d", 2)})
	resume := s.screen.suspend()
	s.Warn("", "said at the end")
	s.Stop()
	resume()
	if got, want := s.vt.text(), "gofleet: warning: said at the end\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestLookOf(t *testing.T) {
	_, tty := openPTY(t)
	if err := unix.IoctlSetWinsize(int(tty.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Col: 132, Row: 43}); err != nil {
		t.Fatal(err)
	}
	if !term.IsTerminal(int(tty.Fd())) {
		t.Fatal("the test's terminal is none")
	}
	file, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, c := range []struct {
		name           string
		stdout, stderr io.Writer
		noColor        bool
		env            map[string]string
		want           string
	}{
		{"terminal", tty, tty, false, map[string]string{"TERM": "xterm", "LANG": "C.UTF-8"}, "live results color"},
		{"no UTF-8", tty, tty, false, map[string]string{"TERM": "xterm", "LANG": "C.UTF-8", "LC_ALL": "C"}, "live results color ascii"},
		{"no locale", tty, tty, false, map[string]string{"TERM": "xterm"}, "live results color ascii"},
		{"NO_COLOR", tty, tty, false, map[string]string{"TERM": "xterm", "LANG": "C.UTF-8", "NO_COLOR": "1"}, "live results"},
		{"--no-color", tty, tty, true, map[string]string{"TERM": "xterm", "LANG": "C.UTF-8"}, "live results"},
		{"dumb", tty, tty, false, map[string]string{"TERM": "dumb", "LANG": "C.UTF-8"}, "results"},
		{"stdout in a file", file, tty, false, map[string]string{"TERM": "xterm", "LANG": "C.UTF-8"}, "live color"},
		{"stderr in a file", tty, file, false, map[string]string{"TERM": "xterm", "LANG": "C.UTF-8"}, "results color"},
		{"buffers", &strings.Builder{}, io.Discard, false, map[string]string{"TERM": "xterm", "LANG": "C.UTF-8"}, "color"},
	} {
		l := LookOf(c.stdout, c.stderr, c.noColor, func(name string) string { return c.env[name] })
		var got []string
		for word, on := range map[string]bool{"live": l.Live, "results": l.Results, "color": l.Color, "ascii": l.ASCII} {
			if on {
				got = append(got, word)
			}
		}
		if strings.Join(sortLike(got), " ") != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
		if cols, rows := l.Size(); l.Live && (cols != 132 || rows != 43) {
			t.Errorf("%s: size %d by %d", c.name, cols, rows)
		}
	}
}

// sortLike orders words as TestLookOf names them.
func sortLike(words []string) []string {
	var out []string
	for _, w := range []string{"live", "results", "color", "ascii"} {
		for _, got := range words {
			if got == w {
				out = append(out, w)
			}
		}
	}
	return out
}
