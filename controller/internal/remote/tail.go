package remote

import (
	"bytes"
	"io"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

// neutral makes text from a host fit to be shown: no control characters, no
// invalid UTF-8, no direction marks, one line, of bounded length.
func neutral(s string) string {
	const limit = 2000
	var b strings.Builder
	for _, r := range strings.ToValidUTF8(s, "\uFFFD") {
		switch {
		case r == '\n', r == '\t', r == '\r':
			r = ' '
		case unicode.IsControl(r), unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp):
			r = '\uFFFD'
		}
		if b.Len()+utf8.RuneLen(r) > limit {
			b.WriteString("…")
			break
		}
		b.WriteRune(r)
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

// tailSize is how much of stderr is kept.
const tailSize = 8 << 10

// tail reads a stream to its end, keeps its last bytes, and counts how often
// a word comes by, across reads.
type tail struct {
	word  []byte                 // empty: nothing is looked for
	found func(int)              // called with the count each time the word is seen
	alive func()                 // called for each read, of the first maxLife bytes
	skip  func(line string) bool // lines that are not shown; nil: none
	done  chan struct{}

	search sync.Mutex
	recent []byte // what may be the beginning of the word
	seen   int

	mu     sync.Mutex
	kept   []byte
	cut    bool
	secret string
	crash  crash
}

func newTail(word string, found func(int), alive func()) *tail {
	return &tail{word: []byte(word), found: found, alive: alive, done: make(chan struct{})}
}

// maxLife is how much of a stream counts as a sign of life: who has said so
// much has not begun what it was asked for, and never will.
const maxLife = 16 << 20

// read takes everything from r. done is closed at its end.
func (t *tail) read(r io.Reader) {
	defer close(t.done)
	buf := make([]byte, 1<<10)
	total := 0
	for {
		n, err := r.Read(buf)
		if n > 0 {
			if total += n; total <= maxLife {
				t.alive()
			}
			t.feed(buf[:n])
		}
		if err != nil {
			return
		}
	}
}

// feed takes the next bytes.
func (t *tail) feed(p []byte) {
	t.keep(p)
	if len(t.word) == 0 {
		return
	}
	t.search.Lock()
	defer t.search.Unlock()
	recent := append(t.recent, p...)
	for i := bytes.Index(recent, t.word); i >= 0; i = bytes.Index(recent, t.word) {
		recent = recent[i+len(t.word):]
		t.seen++
		t.found(t.seen)
	}
	t.recent = bytes.Clone(recent[max(0, len(recent)-len(t.word)+1):])
}

// hide keeps a secret out of what is shown, should a terminal have echoed it.
func (t *tail) hide(secret string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.secret = secret
}

func (t *tail) keep(p []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.crash.look(p)
	t.kept = append(t.kept, p...)
	if over := len(t.kept) - tailSize; over > 0 {
		t.kept = append(t.kept[:0], t.kept[over:]...)
		t.cut = true
	}
}

// lines are the last lines, neutralised, without the word and without what is empty.
func (t *tail) lines() []string {
	t.mu.Lock()
	text := string(t.kept)
	if t.cut {
		// The first line is not whole.
		_, text, _ = strings.Cut(text, "\n")
	}
	if t.secret != "" {
		text = strings.ReplaceAll(text, t.secret, "")
	}
	t.mu.Unlock()
	if len(t.word) > 0 {
		text = strings.ReplaceAll(text, string(t.word), "")
	}
	var out []string
	for l := range strings.SplitSeq(text, "\n") {
		if l = neutral(l); l != "" && (t.skip == nil || !t.skip(l)) {
			out = append(out, l)
		}
	}
	return out
}

// last is the end of what was said, in one line; empty if nothing was. Of a Go
// program that crashed it is why, and not where.
func (t *tail) last() string {
	const count = 5
	t.mu.Lock()
	why := t.crash.why()
	if t.secret != "" {
		why = strings.ReplaceAll(why, t.secret, "")
	}
	t.mu.Unlock()
	if why = neutral(why); why != "" {
		return why
	}
	l := t.lines()
	return strings.Join(l[max(0, len(l)-count):], " | ")
}
