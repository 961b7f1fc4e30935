package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/gofleet/gofleet/agent/wire"
	"github.com/gofleet/gofleet/controller/internal/fleet"
)

// failure shows an error that the hosts of a group have in common. Where they
// say it with different names and addresses, the general form is shown.
func (t *text) failure(g *group) []string {
	err := g.first().Error
	message, hint, alike := err.Message, err.Hint, true
	for _, res := range g.results[1:] {
		alike = alike && res.Error.Message == message && res.Error.Hint == hint
	}
	if !alike {
		message, hint = general(g.first().Host, message, hint)
	}
	lines := t.paragraph("", plain, message)
	switch {
	case alike:
	case t.verbose > 0:
		for _, res := range g.results {
			lines = append(lines, t.paragraph(oneLine(res.Host)+": ", dim, res.Error.Message)...)
		}
	default:
		lines = append(lines, indent+t.in(dim, "(-v shows what was said of each host)"))
	}
	return append(lines, t.paragraph("hint: ", cyan, hint)...)
}

// textLimit bounds one message in text; JSON has it whole.
const textLimit = 8 << 10

// paragraph shows text that may have several lines, indented; nothing if it
// is empty.
func (t *text) paragraph(prefix string, st style, s string) []string {
	s = strings.TrimSpace(block(shorten(s, textLimit)))
	if s == "" {
		return nil
	}
	room := 0
	if t.width > 0 {
		room = max(t.width-len(indent)-columns(prefix)-1, lastWidth)
	}
	var out []string
	for line := range strings.SplitSeq(s, "\n") {
		for _, part := range wrap(strings.ReplaceAll(line, "\t", "  "), room) {
			lead := strings.Repeat(" ", columns(prefix))
			if len(out) == 0 {
				lead = prefix
			}
			out = append(out, indent+t.in(st, lead+part))
		}
	}
	return out
}

// driftShown is how many paths are shown without -v.
const driftShown = 10

func (t *text) drift(res *fleet.Result) []string {
	if len(res.Drift) == 0 {
		return nil
	}
	shown := res.Drift
	if t.verbose == 0 && len(shown) > driftShown {
		shown = shown[:driftShown]
	}
	verb := "drifted"
	if res.Status == wire.Changed && !t.would {
		verb = "repaired"
	}
	var out []string
	for _, d := range shown {
		line := indent + t.in(purple, verb) + " " + oneLine(d.Path)
		if d.How != "" {
			line += t.in(dim, ": "+oneLine(d.How))
		}
		out = append(out, line)
	}
	if more := len(res.Drift) - len(shown); more > 0 {
		out = append(out, indent+t.in(dim, fmt.Sprintf("and %s more (-v shows them)", count(more, "path"))))
	}
	return out
}

// showsActions reports whether the actions of a host are shown: when asked
// for, when nothing was done yet, and when they are the only news.
func (t *text) showsActions(res *fleet.Result) bool {
	return t.verbose > 0 || t.would || t.diff ||
		res.Status == wire.Changed && res.Go.Before == res.Go.After && len(res.Drift) == 0
}

func (t *text) actions(res *fleet.Result) []string {
	var out []string
	for _, a := range changes(res) {
		name := oneLine(a.Name)
		if t.would {
			name = "would " + name
		}
		out = append(out, indent+t.in(yellow, name))
		if t.diff && a.Diff != "" {
			for line := range strings.SplitSeq(strings.TrimRight(block(a.Diff), "\n"), "\n") {
				out = append(out, indent+"  "+t.in(diffStyle(line), line))
			}
		}
	}
	return out
}

func diffStyle(line string) style {
	switch {
	case strings.HasPrefix(line, "@@"):
		return cyan
	case strings.HasPrefix(line, "+"):
		return green
	case strings.HasPrefix(line, "-"):
		return red
	}
	return plain
}

// times shows, with -v, where the time went.
func (t *text) times(results []*fleet.Result) {
	type took struct {
		seconds float64
		host    string
	}
	in := map[string][]took{}
	for _, res := range results {
		for phase, s := range res.Seconds {
			in[oneLine(phase)] = append(in[oneLine(phase)], took{s, oneLine(res.Host)})
		}
	}
	if t.verbose == 0 || len(in) == 0 {
		return
	}
	rest := func(phase string) int { // the total stands last
		if phase == "total" {
			return len(phases) + 1
		}
		return place(phase)
	}
	var names []string
	for phase := range in {
		names = append(names, phase)
	}
	slices.SortFunc(names, func(a, b string) int { return cmp.Or(rest(a)-rest(b), cmp.Compare(a, b)) })
	tab := &table{}
	tab.add("phase", "median", "longest", "on")
	for _, phase := range names {
		list := in[phase]
		slices.SortFunc(list, func(a, b took) int { return cmp.Or(cmp.Compare(a.seconds, b.seconds), cmp.Compare(a.host, b.host)) })
		longest := list[len(list)-1]
		tab.add(phase, seconds(list[(len(list)-1)/2].seconds), seconds(longest.seconds), longest.host)
	}
	for i, line := range tab.lines(t.width) {
		st := plain
		if i == 0 {
			st = dim
		}
		t.WriteString(t.in(st, line) + "\n")
	}
	t.WriteByte('\n')
}
