package report

import (
	"strings"

	"github.com/gofleet/gofleet/agent/wire"
)

// style is how a piece of text looks: the parameters of an SGR sequence.
type style string

const (
	plain  style = ""
	bold   style = "1"
	dim    style = "2"
	red    style = "31"
	green  style = "32"
	yellow style = "33"
	purple style = "35"
	cyan   style = "36"
	alarm  style = "1;31"
)

// statuses in the order of showing them: what went well first, so that what
// needs a hand stands last, next to the prompt.
var statuses = [...]wire.Status{wire.OK, wire.Changed, wire.Skipped, wire.Drifted, wire.Unmet, wire.Failed, wire.Unreachable}

// styleOf gives Ansible's colours to the statuses that Ansible has.
func styleOf(s wire.Status) style {
	switch s {
	case wire.OK:
		return green
	case wire.Changed:
		return yellow
	case wire.Drifted:
		return purple
	case wire.Skipped:
		return cyan
	case wire.Unreachable:
		return alarm
	default:
		return red
	}
}

// bad reports whether a status needs somebody's hand.
func bad(s wire.Status) bool {
	switch s {
	case wire.OK, wire.Changed, wire.Skipped:
		return false
	}
	return true
}

// paint turns text and style into what an output shows.
type paint struct {
	color bool
	ascii bool
}

// in gives s the style st, if styles are shown.
func (p paint) in(st style, s string) string {
	s = p.glyphs(s)
	if !p.color || st == plain || s == "" {
		return s
	}
	return "\x1b[" + string(st) + "m" + s + "\x1b[0m"
}

// glyphs replaces the characters outside ASCII that we use ourselves, each by
// one of the same width.
func (p paint) glyphs(s string) string {
	if !p.ascii {
		return s
	}
	return strings.NewReplacer("…", "~", "→", ">").Replace(s)
}

// span is a piece of a line in one style.
type span struct {
	text string
	style
}

// row is one line of a view.
type row []span

// width is how many columns the row takes.
func (r row) width() int {
	n := 0
	for _, s := range r {
		n += columns(s.text)
	}
	return n
}

// render paints the row, cut to n columns.
func (r row) render(p paint, n int) string {
	var b strings.Builder
	for _, s := range r {
		text := cut(s.text, n)
		b.WriteString(p.in(s.style, text))
		n -= columns(text)
		if text != s.text {
			break
		}
	}
	return b.String()
}
