package remote

import "strings"

// crash finds in a stream why a Go program crashed: the line that stands before
// the stacks of its goroutines, of which there can be so many that the end of
// the stream has nothing else.
type crash struct {
	line    []byte // as far as it has come
	reason  string
	stacked bool // stacks followed
}

// maxReason is how much of a line is kept.
const maxReason = 1 << 10

// look reads on.
func (c *crash) look(p []byte) {
	for _, b := range p {
		if b != '\n' {
			if len(c.line) < maxReason {
				c.line = append(c.line, b)
			}
			continue
		}
		c.judge(strings.TrimSuffix(string(c.line), "\r"))
		c.line = c.line[:0]
	}
}

func (c *crash) judge(line string) {
	switch {
	case c.stacked:
	case strings.HasPrefix(line, "panic: "), strings.HasPrefix(line, "fatal error: "), strings.HasPrefix(line, "SIG") && strings.Contains(line, ": "):
		if c.reason == "" || strings.HasPrefix(c.reason, "SIG") {
			c.reason = line
		}
	case strings.HasPrefix(line, "goroutine ") && strings.HasSuffix(line, "]:"):
		c.stacked = c.reason != ""
	}
}

// why is the reason; empty if there was no crash.
func (c *crash) why() string {
	if !c.stacked {
		return ""
	}
	return c.reason
}
