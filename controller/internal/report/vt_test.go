package report

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"
)

// vt is as much of a terminal as the live view needs. It counts what it does
// not understand, so that a test can tell that nothing else was sent.
type vt struct {
	mu         sync.Mutex
	cols, rows int
	lines      [][]rune // all that was ever shown; the screen are the last rows
	x, y       int      // y counts from the beginning of lines
	unknown    []string
	writes     int
}

func newVT(cols, rows int) *vt { return &vt{cols: cols, rows: rows, lines: [][]rune{nil}} }

func (v *vt) size() (int, int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.cols, v.rows
}

// resize breaks lines anew, as terminals do.
func (v *vt) resize(cols, rows int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	var lines [][]rune
	y := v.y
	for i, line := range v.lines {
		for len(line) > cols {
			lines = append(lines, slices.Clone(line[:cols]))
			line = slices.Clone(line[cols:])
		}
		if i == v.y {
			y = len(lines)
		}
		lines = append(lines, line)
	}
	v.cols, v.rows, v.lines, v.y = cols, rows, lines, y
}

func (v *vt) Write(p []byte) (int, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.writes++
	for s := string(p); s != ""; {
		if sequence, ok := strings.CutPrefix(s, "\x1b["); ok {
			end := strings.IndexFunc(sequence, func(r rune) bool { return r >= '@' && r <= '~' })
			v.control(sequence[:end], sequence[end])
			s = sequence[end+1:]
			continue
		}
		r, n := utf8.DecodeRuneInString(s)
		v.put(r)
		s = s[n:]
	}
	return len(p), nil
}

func (v *vt) control(parameter string, final byte) {
	n, _ := strconv.Atoi(parameter)
	switch {
	case final == 'm': // colours
	case final == 'A':
		v.y = max(v.y-n, len(v.lines)-v.rows, 0)
	case final == 'K' && parameter == "":
		v.lines[v.y] = v.lines[v.y][:min(v.x, len(v.lines[v.y]))]
	case final == 'J' && parameter == "":
		v.lines[v.y] = v.lines[v.y][:min(v.x, len(v.lines[v.y]))]
		for i := v.y + 1; i < len(v.lines); i++ {
			v.lines[i] = nil
		}
	default:
		v.unknown = append(v.unknown, fmt.Sprintf("ESC [ %s %c", parameter, final))
	}
}

func (v *vt) put(r rune) {
	switch {
	case r == '\n':
		v.x = 0
		v.down()
	case r == '\r':
		v.x = 0
	case r < ' ':
		v.unknown = append(v.unknown, fmt.Sprintf("%q", r))
	default:
		if v.x >= v.cols {
			v.x = 0
			v.down()
		}
		for len(v.lines[v.y]) <= v.x {
			v.lines[v.y] = append(v.lines[v.y], ' ')
		}
		v.lines[v.y][v.x] = r
		v.x++
	}
}

func (v *vt) down() {
	if v.y++; v.y == len(v.lines) {
		v.lines = append(v.lines, nil)
	}
}

// text is all that was ever shown and not erased, scrolled away or not.
func (v *vt) text() string {
	v.mu.Lock()
	defer v.mu.Unlock()
	var b strings.Builder
	for _, line := range v.lines {
		b.WriteString(strings.TrimRight(string(line), " ") + "\n")
	}
	return strings.TrimRight(b.String(), "\n") + "\n"
}
