package inventory

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// generator makes random inventories: trees of groups with shared children,
// ranges, variables at every level, several sources and vars directories.
type generator struct {
	*rand.Rand
	files map[string]string
}

func pick[T any](g *generator, from ...T) T { return from[g.IntN(len(from))] }

var someGroups = []string{"all", "web", "db", "eu", "us", "app", "g1", "g2", "deep", "ungrouped"}

func (g *generator) group() string { return pick(g, someGroups[1:9]...) }

func (g *generator) host() string {
	return pick(g, "h1", "h2", "h3", "web1", "n[1:3]", "n[2:4].example.com", "m[a:c]", "h4:2222", "10.0.0.1", "w[01:02]-[1:2]", "web", "localhost")
}

// scalar is a plain or quoted scalar, with all that YAML 1.1 reads otherwise
// than YAML 1.2.
func (g *generator) scalar() string {
	if g.IntN(400) == 0 { // wrong for both
		return pick(g, "-", "- x", "%x", "=", "<<", "2020-13-45", "{{ x }}", "!what x", "*nowhere", "'open")
	}
	if g.IntN(3) == 0 {
		return g.numeric()
	}
	return pick(g, "yes", "no", "On", "~", "null", `""`, `"1"`, `'0644'`, "0644", "1:30", "1_000", "1e3", "1.5e+3", "text",
		"two words", "2020-01-02", ".inf", "-.INF", ".nan", "0x1f", "0b11", `"é\n"`, "!unsafe '{{ x }}'", "'{{ x }}'", "1.20",
		"2001-12-14t21:59:43.1-05:00", "a#b", "http://x/y", "=x", "12345678901234567890")
}

// numeric is a random string of what numbers and dates are made of.
func (g *generator) numeric() string {
	n := 1 + g.IntN(7)
	var b strings.Builder
	for range n {
		b.WriteByte("0011789__..::--+exbfT "[g.IntN(22)])
	}
	s := strings.TrimSpace(b.String())
	if s == "" || strings.ContainsAny(s[:1], "-:+") && g.IntN(2) == 0 || strings.HasSuffix(s, ":") || strings.Contains(s, ": ") ||
		strings.HasPrefix(s, "- ") || s == "-" || strings.HasPrefix(s, ":") {
		return "0"
	}
	return s
}

// value is a YAML value in flow style or a scalar.
func (g *generator) value(depth int) string {
	switch g.IntN(6 + depth) {
	case 0:
		return fmt.Sprintf("[%s, %s]", g.flow(depth+1), g.flow(depth+1))
	case 1:
		return fmt.Sprintf("{a: %s, %s: %s}", g.flow(depth+1), pick(g, "b", "c", "'1'", "'on'"), g.flow(depth+1))
	}
	return g.scalar()
}

// flow is a value that may stand inside brackets.
func (g *generator) flow(depth int) string {
	v := g.value(depth)
	if strings.ContainsAny(v, ",?:%#-") && v[0] != '[' && v[0] != '{' && v[0] != '"' && v[0] != '\'' && v[0] != '!' {
		return strconv.Quote(v)
	}
	return v
}

func (g *generator) vars(indent string, n int) string {
	var b strings.Builder
	for range n {
		fmt.Fprintf(&b, "%s%s: %s\n", indent, pick(g, "a", "b", "c", "d", "e", "f", "dup"), g.value(0))
	}
	return b.String()
}

// section writes one group's content. Groups only contain those behind them
// in someGroups, so that there are no loops.
func (g *generator) section(indent string, at, depth int) string {
	var b strings.Builder
	if g.IntN(3) > 0 {
		fmt.Fprintf(&b, "%shosts:\n", indent)
		for range 1 + g.IntN(3) {
			fmt.Fprintf(&b, "%s  %q:\n", indent, g.host())
			b.WriteString(g.vars(indent+"    ", g.IntN(3)))
		}
	}
	if g.IntN(2) == 0 {
		fmt.Fprintf(&b, "%svars:\n", indent)
		b.WriteString(g.vars(indent+"  ", g.IntN(4)))
		if g.IntN(3) == 0 {
			fmt.Fprintf(&b, "%s  ansible_group_priority: %d\n", indent, g.IntN(5))
		}
	}
	if depth < 4 && at < 8 && g.IntN(3) > 0 {
		fmt.Fprintf(&b, "%schildren:\n", indent)
		for range 1 + g.IntN(3) {
			child := at + 1 + g.IntN(8-at)
			fmt.Fprintf(&b, "%s  %s:\n%s", indent, someGroups[child], g.section(indent+"    ", child, depth+1))
		}
	}
	return b.String()
}

func (g *generator) source() string {
	var b strings.Builder
	for range 1 + g.IntN(4) {
		at := g.IntN(7)
		fmt.Fprintf(&b, "%s:\n%s", someGroups[at], g.section("  ", at, 0))
	}
	return b.String()
}

// inventory fills files and returns the sources.
func (g *generator) inventory() []string {
	g.files = map[string]string{}
	all := []string{"hosts.yaml", "second/hosts.yml", "dir"}
	g.files["hosts.yaml"] = g.source()
	g.files["second/hosts.yml"] = g.source()
	g.files["dir/01.yaml"] = g.source()
	g.files["dir/02.yml"] = g.source()
	for range g.IntN(8) {
		base := pick(g, "", "second/", "dir/")
		name := pick(g, "group_vars/all", "group_vars/"+g.group(), "group_vars/"+g.group(), "host_vars/h1", "host_vars/n2", "host_vars/web")
		suffix := pick(g, ".yml", ".yaml", ".json", "/x.yml", "/sub/y.yaml", "")
		if suffix == "" && g.hasDir(base+name) {
			continue
		}
		if _, ok := g.files[base+name]; ok {
			continue
		}
		g.files[base+name+suffix] = g.vars("", 1+g.IntN(4))
	}
	g.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all[:1+g.IntN(len(all))]
}

func (g *generator) hasDir(path string) bool {
	for name := range g.files {
		if strings.HasPrefix(name, path+"/") {
			return true
		}
	}
	return false
}

func (g *generator) pattern() string {
	var b strings.Builder
	for i := range 1 + g.IntN(3) {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(pick(g, "", "", "!", "&"))
		b.WriteString(pick(g, "all", "h*", "~h[12]", "n?", "web", "w*", "localhost", "10.0.0.1", "*.com", "[hm]*", g.group(), g.group()+"*"))
	}
	return b.String()
}

// randomRounds are how many rounds tests with random input take, from which
// seed: INVENTORY_ROUNDS and INVENTORY_SEED, if they are set.
func randomRounds() (rounds int, seed uint64) {
	rounds, seed = 60, rand.Uint64()
	if n, err := strconv.Atoi(os.Getenv("INVENTORY_ROUNDS")); err == nil {
		rounds = n
	}
	if s, err := strconv.ParseUint(os.Getenv("INVENTORY_SEED"), 10, 64); err == nil {
		seed = s
	}
	return rounds, seed
}

// TestRandom asks both tools about random inventories.
func TestRandom(t *testing.T) {
	a := startAnsible(t)
	rounds, seed := randomRounds()
	compareRandom(t, a, rounds, seed, func(s uint64) (invocation, map[string]string) {
		g := &generator{Rand: rand.New(rand.NewPCG(s, 0))}
		sources := g.inventory()
		in := invocation{verb: pick(g, "list", "list", "vars", "export"), sources: sources}
		if g.IntN(4) == 0 {
			in = invocation{verb: "hosts", arg: g.pattern(), sources: sources}
		}
		return in, g.files
	})
}

// compareRandom asks both tools what they make of the files that make makes of
// each seed. The first on which they differ are kept.
func compareRandom(t *testing.T, a *ansible, rounds int, seed uint64, make func(seed uint64) (invocation, map[string]string)) {
	t.Helper()
	refused := 0
	for round := range rounds {
		s := seed + uint64(round)
		in, files := make(s)
		dir := corpusCase{files: files}.write(t)
		want := in.real(t, a, dir)
		got, err := in.ours(t, dir, a.dialect)
		failed := strings.Contains(want.Stderr, "Failed to parse") || want.RC != 0
		switch {
		case failed && err != nil:
			refused++
			t.Log(err)
		case failed != (err != nil):
			t.Errorf("seed %d, %v: the real tool fails: %v, ours: %v\n%s", s, in, failed, err, want.Stderr)
		case in.verb == "hosts" && sortedLines(got) == sortedLines(want.Stdout):
		case got != want.Stdout:
			t.Errorf("seed %d, %v: %s", s, in, firstDifference(got, want.Stdout))
		}
		if t.Failed() {
			keep := filepath.Join(os.TempDir(), fmt.Sprintf("gofleet-inventory-%d", s))
			_ = os.CopyFS(keep, os.DirFS(dir))
			t.Fatalf("the files are kept in %s", keep)
		}
	}
	if refused > rounds/2 {
		t.Errorf("%d of %d random inventories are bad: the generator proves little", refused, rounds)
	}
	t.Logf("%d rounds from seed %d, %d refused by both", rounds, seed, refused)
}

// sortedLines makes hosts comparable where Ansible's order comes from sets.
func sortedLines(s string) string {
	lines := strings.Split(s, "\n")
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// TestRandomScalars asks both tools what thousands of random plain scalars
// mean.
func TestRandomScalars(t *testing.T) {
	a := startAnsible(t)
	_, seed := randomRounds()
	g := &generator{Rand: rand.New(rand.NewPCG(seed, 0))}
	for round := range 10 {
		var b strings.Builder
		b.WriteString("all:\n  hosts:\n    h:\n      list:\n")
		for range 1000 {
			s := g.plain()
			if _, err := resolvePlain(s); err != nil {
				continue // would spoil the document for both
			}
			b.WriteString("      - " + s + "\n")
		}
		dir := corpusCase{files: map[string]string{"hosts.yaml": b.String()}}.write(t)
		in := invocation{verb: "vars", sources: []string{"hosts.yaml"}}
		want := in.real(t, a, dir)
		got, err := in.ours(t, dir, a.dialect)
		if err != nil {
			t.Fatalf("seed %d, round %d: %v", seed, round, err)
		}
		g, w := strings.Split(got, ", "), strings.Split(want.Stdout, ", ")
		for i := range min(len(g), len(w)) {
			if g[i] != w[i] {
				t.Fatalf("seed %d, round %d: %s, want %s", seed, round, g[i], w[i])
			}
		}
		if len(g) != len(w) || len(g) < 500 {
			t.Fatalf("seed %d, round %d: %d scalars, want %d\n%s", seed, round, len(g), len(w), want.Stderr)
		}
	}
}

// plain is a plain scalar that block context allows, near to numbers, dates
// and booleans.
func (g *generator) plain() string {
	for {
		var s string
		if g.IntN(2) == 0 {
			s = pick(g, "1_0", "-0x1F", "0b10", "1:30", "12:30:45.5", "1.5e+3", "2001-12-14 21:59:43.10 -5", "2020-01-02", "0o17", "+.inf", "yes", "True", "1e3", ".5_0", "0755")
			i := g.IntN(len(s))
			s = s[:i] + pick(g, "", "0", "_", ":", ".", "-", "+", "e", "E", "6", "x", " ") + s[min(i+g.IntN(2), len(s)):]
		} else {
			const letters = "000112345679__..:::-+eExbTtZ af"
			for range 1 + g.IntN(9) {
				s += string(letters[g.IntN(len(letters))])
			}
		}
		s = strings.TrimSpace(s)
		if s == "" || strings.ContainsAny(s[:1], ":-") && (len(s) == 1 || strings.ContainsAny(s[1:2], " -:")) ||
			strings.HasSuffix(s, ":") || strings.Contains(s, ": ") || strings.Contains(s, "  ") {
			continue
		}
		return s
	}
}
