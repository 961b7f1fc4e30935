package netrc

import (
	"slices"
	"strings"

	"github.com/gofleet/gofleet/agent/internal/record"
	"github.com/gofleet/gofleet/agent/spec"
)

// merged is what becomes of a file.
type merged struct {
	content  string
	owned    []record.NetrcLine // ours, for the record
	shadowed []string           // machines of ours for which there is an entry of others', with another login or password
	lost     bool               // an entry that was ours, and is wanted as it was, is gone, altered or overruled
	changes  []string           // "+" or "-" and an entry without its password
}

// merge puts our entries in front, each on a line of its own, and takes those
// noted that are no longer wanted out. In front they are the first for their
// machine, which is the one that go, curl and git take; and no macro or
// comment that others wrote can swallow them. There is no marked block: not
// every reader of the file knows comments.
func merge(content string, noted []record.NetrcLine, want []spec.NetrcEntry) merged {
	var m merged
	lines := strings.SplitAfter(content, "\n")
	ours := make([]bool, len(lines))
	have := map[string]bool{} // wanted lines that are there, whosever they are
	first := len(lines)       // first line from which on an entry of ours could be overruled
	for i, line := range lines {
		e, isEntry := entryOf(line)
		wanted := isEntry && slices.Contains(want, e)
		known := isEntry && slices.ContainsFunc(noted, func(l record.NetrcLine) bool { return is(l, e) })
		ours[i] = known
		switch {
		case wanted && i < first:
			have[e.Line()] = true
		case known && !wanted:
			m.changes = append(m.changes, "-"+shown(e))
		case !wanted && overrules(line, want):
			first = min(first, i)
		}
	}
	for _, e := range want {
		was := slices.ContainsFunc(noted, func(l record.NetrcLine) bool { return !l.Doing && l.Sum == record.Sum([]byte(e.Line())) })
		switch {
		case !have[e.Line()]:
			m.changes = append(m.changes, "+"+shown(e))
			m.lost = m.lost || was
			m.owned = append(m.owned, lineOf(e))
		case slices.ContainsFunc(noted, func(l record.NetrcLine) bool { return is(l, e) }):
			m.owned = append(m.owned, lineOf(e))
		}
	}
	m.content = content
	if len(m.changes) > 0 {
		m.content = rebuild(lines, ours, want, have)
	}
	m.shadowed = shadowed(m.content, want)
	return m
}

// rebuild is our lines and then those of others.
func rebuild(lines []string, ours []bool, want []spec.NetrcEntry, have map[string]bool) string {
	var head, rest strings.Builder
	for _, e := range want {
		head.WriteString(e.Line() + "\n")
	}
	for i, line := range lines {
		if e, isEntry := entryOf(line); isEntry && slices.Contains(want, e) || ours[i] {
			continue
		}
		rest.WriteString(line)
	}
	return head.String() + rest.String()
}

// is says whether an entry is a line that we know by its sum, or that has been
// given another password since.
func is(l record.NetrcLine, e spec.NetrcEntry) bool {
	if l.Doing {
		return l.Sum == record.Sum([]byte(e.Line()))
	}
	return l.Machine == e.Machine && l.Login == e.Login
}

func lineOf(e spec.NetrcEntry) record.NetrcLine {
	return record.NetrcLine{Machine: e.Machine, Login: e.Login, Sum: record.Sum([]byte(e.Line()))}
}

// entryOf reads a line that has one whole entry in our order.
func entryOf(line string) (e spec.NetrcEntry, ok bool) {
	f := strings.Fields(line)
	if len(f) != 6 || f[0] != "machine" || f[2] != "login" || f[4] != "password" {
		return e, false
	}
	return spec.NetrcEntry{Machine: f[1], Login: f[3], Password: f[5]}, true
}

// overrules says whether what stands on a line keeps a reader from an entry of
// ours below it: the same machine, a default, a macro that may not end.
func overrules(line string, want []spec.NetrcEntry) bool {
	f := strings.Fields(line)
	for i, word := range f {
		switch {
		case word == "default" || word == "macdef":
			return true
		case word == "machine" && (i+1 == len(f) || slices.ContainsFunc(want, func(e spec.NetrcEntry) bool { return e.Machine == f[i+1] })):
			return true
		}
	}
	return false
}

// shadowed lists the machines of ours that others have an entry for.
func shadowed(content string, want []spec.NetrcEntry) []string {
	var machines []string
	f := strings.Fields(content)
	for i := 0; i+1 < len(f); i++ {
		if f[i] != "machine" || slices.Contains(machines, f[i+1]) {
			continue
		}
		all := strings.Join(f[i:min(i+6, len(f))], " ")
		same := func(e spec.NetrcEntry) bool { return e.Machine == f[i+1] }
		if slices.ContainsFunc(want, same) && !slices.ContainsFunc(want, func(e spec.NetrcEntry) bool { return e.Line() == all }) {
			machines = append(machines, f[i+1])
		}
	}
	return machines
}

func shown(e spec.NetrcEntry) string {
	return "machine " + e.Machine + " login " + e.Login + " password (not shown)"
}

// diff is what changes, without passwords and without what others wrote.
func (m merged) diff() string {
	var b strings.Builder
	for _, c := range m.changes {
		b.WriteString(c + "\n")
	}
	return b.String()
}
