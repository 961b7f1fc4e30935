package report

import (
	"errors"
	"fmt"
	"strings"

	"github.com/gofleet/gofleet/agent/wire"
)

// Problem is why a command contacted nothing: an error in the inventory, in
// a variable, in evidence or in how the command was called.
type Problem struct {
	Where   string // "group_vars/all.yml:7"; may be empty
	Message string
	Hint    string   // the way out; may be empty
	Hosts   []string // those it is about; may be empty
}

// Problems prints problems to stderr, those that differ in nothing but their
// hosts once:
//
//	gofleet: group_vars/all.yml:7: gofleet_keep must not be negative
//	  hosts: web[01-12]
//	  hint: …
func (r *Reporter) Problems(list ...Problem) {
	var merged []*Problem
	index := map[[3]string]*Problem{}
	for _, p := range list {
		key := [3]string{p.Where, p.Message, p.Hint}
		if m := index[key]; m != nil {
			m.Hosts = append(m.Hosts, p.Hosts...)
			continue
		}
		m := p
		m.Hosts = append([]string(nil), p.Hosts...)
		index[key] = &m
		merged = append(merged, &m)
	}
	paint := r.screen.paint
	for _, p := range merged {
		var b strings.Builder
		b.WriteString("gofleet: ")
		if p.Where != "" {
			b.WriteString(paint.in(bold, oneLine(p.Where)) + ": ")
		}
		lines := strings.Split(strings.TrimSpace(block(p.Message)), "\n")
		b.WriteString(paint.in(red, lines[0]))
		for _, line := range lines[1:] {
			b.WriteString("\n  " + line)
		}
		if len(p.Hosts) > 0 {
			b.WriteString("\n  hosts: " + Fold(blocks(p.Hosts)))
		}
		if p.Hint != "" {
			for i, line := range strings.Split(strings.TrimSpace(block(p.Hint)), "\n") {
				if i == 0 {
					line = paint.in(cyan, "hint:") + " " + line
				}
				b.WriteString("\n  " + line)
			}
		}
		r.say(b.String())
	}
}

// Error prints an error that ended the command, each of joined errors by
// itself, with the hints of wire.Errors.
func (r *Reporter) Error(err error) { r.Problems(problems(err)...) }

func problems(err error) []Problem {
	if err == nil {
		return nil
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok && isJoin(err, joined.Unwrap()) {
		var all []Problem
		for _, e := range joined.Unwrap() {
			all = append(all, problems(e)...)
		}
		return all
	}
	p := Problem{Message: err.Error()}
	var w *wire.Error
	if errors.As(err, &w) {
		p.Hint = w.Hint
	}
	return []Problem{p}
}

// isJoin tells errors.Join, whose text is that of its errors and no more, from
// an error that wraps several.
func isJoin(err error, parts []error) bool {
	texts := make([]string, len(parts))
	for i, e := range parts {
		texts[i] = fmt.Sprint(e)
	}
	return err.Error() == strings.Join(texts, "\n")
}
