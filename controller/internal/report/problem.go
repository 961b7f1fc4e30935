package report

import "strings"

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
