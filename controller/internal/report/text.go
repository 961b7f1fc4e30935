package report

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gofleet/gofleet/agent/wire"
	"github.com/gofleet/gofleet/controller/internal/fleet"
)

// textPrinter prints results for people.
type textPrinter Reporter

func (p *textPrinter) done(fleet.Result) {}

func (p *textPrinter) all(o *fleet.Outcome) {
	t := &text{
		paint:   paint{color: p.Look.Results && p.Look.Color, ascii: p.Look.Results && p.Look.ASCII},
		verbose: p.Verbose, diff: p.Diff,
		would: (*Reporter)(p).would(),
	}
	if p.Look.Results {
		t.width, _ = p.Look.Size()
	}
	t.outcome(o)
	p.screen.print(p.Stdout, t.glyphs(t.String()))
}

// text lays results out.
type text struct {
	strings.Builder
	paint
	width   int // 0: lines are as long as they are
	verbose int
	diff    bool
	would   bool // nothing was changed
}

// entry is what is said once of a group of hosts.
type entry struct {
	label   string
	style   style
	hosts   string
	about   string
	details []string // lines, painted
}

const (
	labelWidth = len(wire.Unreachable) + 2
	hostsWidth = 34 // longer lists of hosts don't widen the column
	indent     = "    "
)

// outcome writes the whole: what went well, warnings, what did not, the sum.
func (t *text) outcome(o *fleet.Outcome) {
	results := make([]*fleet.Result, len(o.Results))
	for i := range o.Results {
		results[i] = &o.Results[i]
	}
	var good, poor []entry
	for _, s := range statuses {
		these := slices.DeleteFunc(slices.Clone(results), func(r *fleet.Result) bool { return r.Status != s })
		for _, g := range groupBy(these, t.sameness) {
			if bad(s) {
				poor = append(poor, t.entry(g))
			} else {
				good = append(good, t.entry(g))
			}
		}
	}
	entries := slices.Concat(good, t.warnings(results), poor)
	hosts := 0
	for _, e := range entries {
		if n := columns(e.hosts); n <= hostsWidth {
			hosts = max(hosts, n)
		}
	}
	for i, e := range entries {
		// An entry with details stands apart.
		if i > 0 && (len(e.details) > 0 || len(entries[i-1].details) > 0) {
			t.WriteByte('\n')
		}
		t.print(e, hosts)
	}
	if len(entries) > 0 {
		t.WriteByte('\n')
	}
	t.times(results)
	t.summary(o)
}

// label is a status as people read it: where nothing was changed, "changed"
// would give them a fright.
func label(s wire.Status, would bool) string {
	if s == wire.Changed && would {
		return "to change"
	}
	return string(s)
}

func (t *text) entry(g *group) entry {
	res := g.first()
	e := entry{label: label(res.Status, t.would), style: styleOf(res.Status), hosts: Fold(g.hosts())}
	failed := 0
	for _, r := range g.results {
		failed = max(failed, len(checksOf(r, wire.Fail)))
	}
	switch {
	case failed > 0:
		e.about = count(failed, "precondition") + " not met"
	case res.Error != nil && string(res.Error.Kind) == string(res.Status): // said already
	case res.Error != nil:
		e.about = string(res.Error.Kind)
	default:
		e.about = versions(res.Go)
	}
	if t.verbose > 1 {
		e.details = append(e.details, t.checks(g, "")...)
	} else {
		e.details = append(e.details, t.checks(g, wire.Fail)...)
	}
	if res.Error != nil && (failed == 0 || res.Error.Kind != wire.KindUnmet) {
		e.details = append(e.details, t.failure(g)...)
	}
	e.details = append(e.details, t.drift(res)...)
	if t.showsActions(res) {
		e.details = append(e.details, t.actions(res)...)
	}
	return e
}

// print writes an entry; hosts is the width of their column.
func (t *text) print(e entry, hosts int) {
	t.WriteString(t.in(e.style, pad(e.label, labelWidth)))
	lines := t.hostLines(e.hosts)
	switch {
	case e.about == "":
		t.WriteString(t.in(bold, lines[0]))
	case len(lines) == 1 && columns(lines[0]) <= hosts:
		t.WriteString(t.in(bold, lines[0]) + strings.Repeat(" ", hosts-columns(lines[0])+2) + e.about)
	default: // a long list has lines of its own
		lines = append(lines, "")
		for i, line := range lines[:len(lines)-1] {
			if i > 0 {
				t.WriteString(strings.Repeat(" ", labelWidth))
			}
			t.WriteString(t.in(bold, line) + "\n")
		}
		t.WriteString(strings.Repeat(" ", labelWidth) + e.about)
		lines = lines[:1]
	}
	t.WriteByte('\n')
	for _, line := range lines[1:] {
		t.WriteString(strings.Repeat(" ", labelWidth) + t.in(bold, line) + "\n")
	}
	for _, d := range e.details {
		t.WriteString(d + "\n")
	}
}

// hostLines breaks a list of hosts at its commas.
func (t *text) hostLines(folded string) []string {
	room := t.width - labelWidth
	if t.width == 0 || columns(folded) <= room {
		return []string{folded}
	}
	var lines []string
	line := ""
	for _, name := range splitFold(folded) {
		if line != "" && columns(line)+1+columns(name) >= room {
			lines = append(lines, line+",")
			line = ""
		}
		if line != "" {
			line += ","
		}
		line += name
	}
	return append(lines, line)
}

// splitFold splits at the commas that stand outside brackets.
func splitFold(folded string) []string {
	depth := 0
	return strings.FieldsFunc(folded, func(r rune) bool {
		switch r {
		case '[':
			depth++
		case ']':
			depth--
		}
		return r == ',' && depth <= 0
	})
}

// summary is the last line: how many hosts, how they stand, how long.
func (t *text) summary(o *fleet.Outcome) {
	if o.Planned > 1 {
		t.WriteString(fmt.Sprintf("%s%d of %d\n", pad("batches", labelWidth), len(o.Batches), o.Planned))
	}
	for _, seed := range o.Seeds {
		t.seed(seed)
	}
	if o.Settled != nil && t.verbose > 0 {
		t.WriteString(pad("uploads", labelWidth) + o.Settled.String() + "\n")
	}
	if o.Stopped != nil {
		word := "stopped"
		if o.Check {
			word = "would stop"
		}
		t.WriteString(t.in(alarm, pad(word, labelWidth)) + oneLine(shorten(o.Stopped.Message, textLimit)) + "\n")
		for _, line := range t.paragraph("", plain, o.Stopped.Detail) {
			t.WriteString(line + "\n")
		}
	}
	if o.Interrupted {
		t.WriteString(t.in(alarm, "interrupted") + "  what was begun on a host is finished or cleaned up by the next run\n")
	}
	t.WriteString(t.in(bold, count(len(o.Results), "host")) + " in " + seconds(o.Seconds))
	sep := ": "
	for _, s := range statuses {
		if n := o.Count(s); n > 0 {
			t.WriteString(sep + t.in(styleOf(s), fmt.Sprintf("%d %s", n, label(s, t.would))))
			sep = ", "
		}
	}
	switch {
	case o.Command == wire.Audit:
		t.WriteString(t.in(dim, "  (audit: nothing was changed)"))
	case o.Check:
		t.WriteString(t.in(dim, "  (check: nothing was changed)"))
	}
	t.WriteByte('\n')
	if o.Before > 0 {
		t.WriteString(count(o.Before, "host") + " more " + plural(o.Before, "was", "were") + " done before the run was resumed\n")
	}
	if line := next(o); line != "" && !t.would {
		t.WriteString(t.in(dim, line) + "\n")
	}
}

// seed is a line about one that was used.
func (t *text) seed(s fleet.SeedResult) {
	line := fmt.Sprintf("%s: %s from here, %s from there to %s", oneLine(s.Seed), size(s.Sent), size(s.Gave), count(s.Hosts, "host"))
	if s.Lost != "" {
		line += "; given up: " + oneLine(shorten(s.Lost, textLimit))
	}
	t.WriteString(pad("seed", labelWidth) + line + "\n")
}

func plural(n int, one, more string) string {
	if n == 1 {
		return one
	}
	return more
}

// next is how to go on where hosts did not end well: with the whole run where
// it was cut short, otherwise with those hosts.
func next(o *fleet.Outcome) string {
	left := 0
	for i := range o.Results {
		if s := o.Results[i].Status; bad(s) || s == wire.Skipped {
			left++
		}
	}
	switch {
	case left == 0:
		return ""
	case o.Kept && (o.Interrupted || o.Stopped != nil):
		return fmt.Sprintf("resume: gofleet %s --resume %s", o.Command, o.Run)
	case o.Kept && left < len(o.Results):
		return fmt.Sprintf("retry: --limit @%s:undone", o.Run)
	}
	if again := again(o); again != "" {
		return "retry: --limit " + again
	}
	return ""
}

// againLimit is how long a list of hosts for --limit may be to be shown.
const againLimit = 120

// again is the --limit for the hosts that did not end well, where there are
// others and the list can be typed in.
func again(o *fleet.Outcome) string {
	var names []string
	for _, res := range o.Results {
		if bad(res.Status) || res.Status == wire.Skipped {
			names = append(names, res.Host)
		}
	}
	all := strings.Join(names, ",")
	special := strings.ContainsFunc(all, func(r rune) bool {
		return r > 'z' || !(isDigit(byte(r)) || 'a' <= r|0x20 && r|0x20 <= 'z' || strings.ContainsRune("._-,", r))
	})
	if len(names) == len(o.Results) || len(all) > againLimit || special {
		return ""
	}
	return all
}
