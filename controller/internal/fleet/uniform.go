package fleet

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/gofleet/gofleet/agent/spec"
	"github.com/gofleet/gofleet/agent/wire"
)

// uniformFrom is how many hosts a group needs for its majority to mean
// something.
const uniformFrom = 3

// peers are hosts that are compared with each other: those of a group with the
// same gofleet_uniform, or all such hosts of the run.
type peers struct {
	group string // "" is the whole run
	facts string // of gofleet_uniform, joined
}

// tally is what the hosts of a group have: for each fact of their
// gofleet_uniform, how many have a value.
type tally []map[string]int

func (t tally) add(has []string) {
	for n, v := range has {
		if v == "" {
			continue
		}
		if t[n] == nil {
			t[n] = map[string]int{}
		}
		t[n][v]++
	}
}

// compare gives hosts that are unlike the majority of their group a warning
// for each fact that gofleet_uniform names. A host's group is the smallest of
// its groups with at least three hosts that were reached and name the same
// facts; without one it is the whole run.
func (r *run) compare() {
	if r.Command != wire.Audit {
		return
	}
	tallies, sizes := map[peers]tally{}, map[peers]int{}
	judged := func(i int) bool { return r.ended[i] && r.results[i].Facts != nil && len(r.all[i].Spec.Uniform) > 0 }
	for i, h := range r.all {
		if !judged(i) {
			continue
		}
		has := make([]string, len(h.Spec.Uniform))
		for n, fact := range h.Spec.Uniform {
			has[n] = factOf(r.results[i].Facts, fact)
		}
		for _, p := range peersOf(h) {
			t := tallies[p]
			if t == nil {
				t = make(tally, len(has))
				tallies[p] = t
			}
			sizes[p]++
			t.add(has)
		}
	}
	for i, h := range r.all {
		if !judged(i) {
			continue
		}
		of := peersOf(h)
		mine := of[len(of)-1]
		for _, p := range of[:len(of)-1] {
			if sizes[p] >= uniformFrom && (mine.group == "" || sizes[p] < sizes[mine]) {
				mine = p
			}
		}
		res := &r.results[i]
		if unlike := mine.judge(tallies[mine], h.Spec.Uniform, res.Facts); len(unlike) > 0 {
			res.Checks = append(slices.Clip(res.Checks), unlike...)
			r.Observer.Revise(*res)
		}
	}
}

// peersOf are the groups that a host could be compared in, the whole run last.
func peersOf(h *Host) []peers {
	facts := strings.Join(h.Spec.Uniform, " ")
	of := make([]peers, 0, len(h.Groups)+1)
	for _, g := range h.Groups {
		of = append(of, peers{g, facts})
	}
	return append(of, peers{"", facts})
}

// judge gives a warning for each fact in which a host is unlike the others.
func (p peers) judge(t tally, facts []string, of *wire.Facts) []wire.Check {
	var checks []wire.Check
	for n, fact := range facts {
		actual := factOf(of, fact)
		wanted, unlike := p.majority(t[n], actual)
		if actual == "" || !unlike {
			continue
		}
		checks = append(checks, wire.Check{
			Name: "uniform " + fact, Status: wire.Warn, Actual: actual, Wanted: wanted,
			Hint: "make these hosts alike, or drop " + fact + " from gofleet_uniform",
		})
	}
	return checks
}

// majority says what the most have, and whether actual is something else. If
// no value is that of more than half, every host is unlike.
func (p peers) majority(counts map[string]int, actual string) (wanted string, unlike bool) {
	most, all := "", 0
	for v, n := range counts {
		all += n
		// Of equally many the first by name, so that every run says the same.
		if cmp.Or(cmp.Compare(n, counts[most]), cmp.Compare(most, v)) > 0 {
			most = v
		}
	}
	where := fmt.Sprintf("%d hosts of this run", all)
	if p.group != "" {
		where = fmt.Sprintf("%d hosts of group %s", all, p.group)
	}
	if counts[most]*2 <= all {
		return fmt.Sprintf("one value on most of %s; %s is on %d", where, most, counts[most]), all > 1
	}
	return fmt.Sprintf("%s on %d of %s", most, counts[most], where), actual != most
}

// factOf is a fact as gofleet_uniform compares it; "" is unknown.
func factOf(f *wire.Facts, fact string) string {
	switch fact {
	case spec.UniformDistribution:
		return strings.TrimSpace(f.Distribution + " " + f.DistVersion)
	case spec.UniformKernel:
		return f.Kernel
	case spec.UniformGlibc:
		return f.Libc
	case spec.UniformZone:
		return f.Zone
	}
	return ""
}
