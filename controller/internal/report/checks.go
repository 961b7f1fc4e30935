package report

import (
	"fmt"
	"slices"

	"github.com/gofleet/gofleet/agent/wire"
	"github.com/gofleet/gofleet/controller/internal/fleet"
)

// finding is one check with one requirement, over the hosts of a group.
type finding struct {
	name, wanted string
	status       wire.CheckStatus
	values       []*value
}

// value is what some of these hosts have.
type value struct {
	actual, hint string
	hosts        []string
}

// findings collects the checks of a status, "" for all, in the order of first
// appearance.
func findings(results []*fleet.Result, status wire.CheckStatus) []*finding {
	var all []*finding
	for _, res := range results {
		for _, c := range res.Checks {
			if status != "" && c.Status != status {
				continue
			}
			i := slices.IndexFunc(all, func(f *finding) bool {
				return f.name == c.Name && f.wanted == c.Wanted && f.status == c.Status
			})
			if i < 0 {
				i = len(all)
				all = append(all, &finding{name: c.Name, wanted: c.Wanted, status: c.Status})
			}
			all[i].add(res.Host, c)
		}
	}
	return all
}

func (f *finding) add(host string, c wire.Check) {
	i := slices.IndexFunc(f.values, func(v *value) bool { return v.actual == c.Actual && v.hint == c.Hint })
	if i < 0 {
		i = len(f.values)
		f.values = append(f.values, &value{actual: c.Actual, hint: c.Hint})
	}
	f.values[i].hosts = append(f.values[i].hosts, oneLine(host))
}

func (f *finding) hosts() []string {
	var all []string
	for _, v := range f.values {
		all = append(all, v.hosts...)
	}
	return all
}

// checks is the table of the checks of a group; status "" shows all with
// their outcome. Hosts are named where they differ.
func (t *text) checks(g *group, status wire.CheckStatus) []string {
	list := findings(g.results, status)
	if len(list) == 0 {
		return nil
	}
	differ := slices.ContainsFunc(list, func(f *finding) bool {
		return len(f.values) > 1 || len(f.values[0].hosts) < len(g.results)
	})
	heads := []string{"check", "actual", "wanted", "hint"}
	if differ {
		heads = slices.Insert(heads, 1, "hosts")
	}
	if status == "" {
		heads = slices.Insert(heads, 1, "status")
	}
	cells := func(of map[string]string) []string {
		row := make([]string, len(heads))
		for i, h := range heads {
			row[i] = of[h]
		}
		return row
	}
	tab := &table{rows: [][]string{heads}}
	for _, f := range list {
		shown := f.values
		if t.verbose == 0 && len(shown) > valuesShown {
			shown = shown[:valuesShown]
		}
		for i, v := range shown {
			row := map[string]string{"hosts": Fold(v.hosts), "actual": oneLine(v.actual)}
			if i == 0 {
				row["check"], row["status"], row["wanted"] = oneLine(f.name), string(f.status), oneLine(f.wanted)
			}
			if i == 0 || v.hint != shown[i-1].hint {
				row["hint"] = oneLine(v.hint)
			}
			tab.add(cells(row)...)
		}
		if more := len(f.values) - len(shown); more > 0 {
			tab.add(cells(map[string]string{"actual": fmt.Sprintf("(-v: %d more)", more)})...)
		}
	}
	return t.tableLines(tab)
}

// valuesShown is how many values of one check are shown without -v.
const valuesShown = 6

// tableLines paints a table's lines. Where the terminal has too little room
// for hints, their column becomes lines below the table; where it has too
// little for the rest, the rows become sentences.
func (t *text) tableLines(tab *table) []string {
	room := 0
	if t.width > 0 {
		room = t.width - len(indent) - 1
	}
	var hints []string
	if room > 0 && room-tab.left() < hintWidth {
		for _, cells := range tab.rows[1:] {
			if hint := cells[len(cells)-1]; hint != "" {
				hints = append(hints, t.paragraph(join(" ", "hint:", cells[0])+": ", cyan, hint)...)
			}
		}
		tab.dropLast()
		if tab.natural() > room {
			var lines []string
			for _, s := range tab.sentences() {
				lines = append(lines, t.paragraph("", plain, s)...)
			}
			return append(lines, hints...)
		}
	}
	lines := tab.lines(room)
	for i, line := range lines {
		if i == 0 {
			line = t.in(dim, line)
		}
		lines[i] = indent + line
	}
	return append(lines, hints...)
}

// hintWidth is the least room for a column of hints.
const hintWidth = 36

// warnings are the warnings of all hosts, equal ones shown once.
func (t *text) warnings(results []*fleet.Result) []entry {
	var out []entry
	for _, f := range findings(results, wire.Warn) {
		out = append(out, entry{label: "warning", style: yellow, hosts: Fold(f.hosts()),
			about:   fmt.Sprintf("%s: %s, %s", oneLine(f.name), f.actuals(), oneLine(f.wanted)),
			details: t.paragraph("hint: ", cyan, f.values[0].hint)})
	}
	type warning struct {
		message string
		hosts   []string
	}
	said := map[string]*warning{}
	var order []*warning
	for _, res := range results {
		for _, message := range res.Warnings {
			key, _ := general(res.Host, message, "")
			w := said[key]
			if w == nil {
				w = &warning{message: message}
				said[key] = w
				order = append(order, w)
			}
			if message != w.message {
				w.message = key
			}
			w.hosts = append(w.hosts, oneLine(res.Host))
		}
	}
	for _, w := range order {
		e := entry{label: "warning", style: yellow, hosts: Fold(w.hosts), about: oneLine(shorten(w.message, textLimit))}
		if t.width > 0 && columns(e.about) > t.width-labelWidth-hostsWidth {
			e.about, e.details = "", t.paragraph("", plain, w.message)
		}
		out = append(out, e)
	}
	return out
}

// actuals are the values in words, the first few of them.
func (f *finding) actuals() string {
	var names []string
	for _, v := range f.values {
		if a := oneLine(v.actual); !slices.Contains(names, a) {
			names = append(names, a)
		}
	}
	if len(names) > 3 {
		names = append(names[:2:2], fmt.Sprintf("%d other values", len(names)-2))
	}
	return list(names)
}
