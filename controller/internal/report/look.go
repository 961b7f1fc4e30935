package report

import (
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// Look is what the outputs can show. LookOf finds it out; the zero Look is
// plain text without a width.
type Look struct {
	Live    bool                    // stderr is a terminal: a live view
	Results bool                    // stdout is a terminal: lines are wrapped
	Color   bool                    // on whichever of both is a terminal
	ASCII   bool                    // no characters outside ASCII of our own on terminals
	Size    func() (cols, rows int) // of the terminal; nil: 80 by 24; 0, 0: draw nothing now
}

// LookOf looks at the outputs and at the environment's NO_COLOR, TERM and
// locale. What is no *os.File is no terminal. noColor is the option --no-color.
func LookOf(stdout, stderr io.Writer, noColor bool, getenv func(string) string) Look {
	out, err := terminalOf(stdout), terminalOf(stderr)
	able := getenv("TERM") != "" && getenv("TERM") != "dumb"
	l := Look{
		Live:    able && err >= 0,
		Results: out >= 0,
		Color:   able && !noColor && getenv("NO_COLOR") == "",
		ASCII:   !utf8Locale(getenv),
	}
	shown := out
	if err >= 0 {
		shown = err
	}
	l.Size = func() (int, int) {
		if background(shown) {
			return 0, 0
		}
		cols, rows, err := term.GetSize(shown)
		if err != nil || cols == 0 {
			return 80, 24
		}
		return cols, rows
	}
	return l
}

// terminalOf is the descriptor of a terminal, or -1.
func terminalOf(w io.Writer) int {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return -1
	}
	return int(f.Fd())
}

// utf8Locale reports whether the terminal is said to show UTF-8. The first of
// the three variables that is set decides, as in the C library.
func utf8Locale(getenv func(string) string) bool {
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if v := strings.ToLower(getenv(name)); v != "" {
			return strings.Contains(v, "utf-8") || strings.Contains(v, "utf8")
		}
	}
	return false
}
