package inventory

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// iniGenerator makes random INI inventories: sections that come in any order
// and again, forward references, ranges, ports, quoting of every kind,
// comments, odd blanks and line ends, and all that a Python literal may be.
type iniGenerator struct {
	generator
	dialect Dialect
	used    map[string]bool // groups that are somebody's children or have variables
}

// oneIn is true once in n times.
func (g *iniGenerator) oneIn(n int) bool { return g.IntN(n) == 0 }

func (g *iniGenerator) blank() string {
	return pick(&g.generator, " ", " ", " ", "  ", "\t", " \t ")
}

// around is what may stand around a word of a line; most often nothing.
func (g *iniGenerator) around() string {
	return pick(&g.generator, "", "", "", " ", "  ", "\t", "\u00a0", "\u2003")
}

func (g *iniGenerator) comment() string {
	return pick(&g.generator, "# ", "#", "; ", ";", "  # ") + pick(&g.generator, "", "text", "a=1", "[web]", "it's", "é")
}

// names are in the order in which they may contain each other.
var iniGroups = []string{"all", "web", "db", "eu-1", "us.west", "app", "1st", "größe", "deep", "ungrouped"}

// source is an INI file. Host h1 is in it.
func (g *iniGenerator) source() string {
	g.used = map[string]bool{}
	declared := map[string]bool{"all": true, "ungrouped": true}
	var lines []string
	if g.oneIn(2) {
		lines = append(lines, "h1"+g.hostVars())
	}
	for range 1 + g.IntN(8) {
		at := g.IntN(len(iniGroups))
		name := iniGroups[at]
		kind := pick(&g.generator, "", "", "", ":hosts", ":vars", ":vars", ":children")
		if kind == ":children" && at >= len(iniGroups)-2 {
			kind = ""
		}
		declared[name] = declared[name] || kind != ":vars"
		g.used[name] = true
		lines = append(lines, g.around()+"["+name+kind+"]"+pick(&g.generator, "", "", "  ", " # behind", "#x"))
		for range g.IntN(5) {
			lines = append(lines, g.line(kind, at))
		}
	}
	for _, name := range iniGroups {
		if g.used[name] && !declared[name] && !g.oneIn(40) {
			lines = append(lines, "["+name+"]")
		}
	}
	lines = append(lines, "[ungrouped]", "h1")
	end := pick(&g.generator, "\n", "\n", "\n", "\r\n", "\n\n", "\v\n", "\u2028")
	return strings.Join(lines, end) + pick(&g.generator, "", end)
}

// line is one of a section.
func (g *iniGenerator) line(kind string, at int) string {
	if g.oneIn(8) {
		return pick(&g.generator, g.comment(), "", "   ")
	}
	switch kind {
	case ":vars":
		return g.around() + g.key() + g.around() + "=" + g.around() + g.literal(0) + pick(&g.generator, "", "", "", " # five", " ; x", "  ")
	case ":children":
		child := iniGroups[at+1+g.IntN(len(iniGroups)-2-at)]
		if g.oneIn(60) {
			child = pick(&g.generator, "nowhere", "h1", "web#c", iniGroups[at], iniGroups[g.IntN(at+1)], "two words")
		}
		g.used[child] = true
		return g.around() + child + pick(&g.generator, "", "", " # c", " #c", " ")
	}
	return pick(&g.generator, "", "", "", " ", "\t") + g.iniHost() + g.hostVars() + pick(&g.generator, "", "", "", " ", " # rest", " #")
}

func (g *iniGenerator) iniHost() string {
	if g.oneIn(150) { // wrong for both, mostly
		return pick(&g.generator, "x[1]", "x[3:]", "''", "h:", "---", "[2001:db8::a]", "x[a:1]", "x[c:a]", "x[01:2]", "'open", `h\`, "[x]:1", "h[1:2", "a:b:c", "h:99999999999999999999")
	}
	name := pick(&g.generator, "h1", "h2", "h3", "n[1:3]", "n[2:4].example.com", "m[a:c]", "h4:2222", "10.0.0.1", "10.0.0.[1:3]:22", "w[01:02]-[1:2]", "localhost",
		"s[1:9:4]", "s[0:8:2]x", "z[001:003]", "u[x:Z]", "[2001:db8::1]:2022", "2001:db8::2", "2001:db8::[1:3]", "höst", "日本", "'two words'", `q"uo"ted`,
		`esc\ aped`, "-dash", "_under", "UPPER", "web", "a.b.c:1", "x[:2]", "user@host", "h/5", "h,k", "a%b", "h{1}", "p[1:2]:2200", "r[7:7]", "h5:0", "h6:022", "v[08:10]")
	if g.oneIn(20) {
		name = "'" + name + "'"
	}
	return name
}

func (g *iniGenerator) hostVars() string {
	var b strings.Builder
	for range g.IntN(4) {
		key := g.key()
		if strings.ContainsAny(key, " ") {
			key = strconv.Quote(key)
		}
		b.WriteString(g.blank() + key + "=" + g.shellQuoted(g.literal(0)))
	}
	return b.String()
}

func (g *iniGenerator) key() string {
	if g.oneIn(40) {
		return pick(&g.generator, "1x", "sp ace", "é", "a-b", "a.b", "ansible_port", "ansible_host", "x:y", "ansible_user")
	}
	return pick(&g.generator, "a", "b", "c", "d", "e", "f", "dup")
}

// shellQuoted writes text so that shlex gives it back, in one of many ways;
// now and then as it is.
func (g *iniGenerator) shellQuoted(s string) string {
	double := `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
	switch g.IntN(5) {
	case 0:
		return "'" + strings.ReplaceAll(s, "'", `'"'"'`) + "'"
	case 1:
		return double
	case 2:
		return `"` + strings.NewReplacer(`"`, `\"`).Replace(s) + `"` // where a backslash may stay alone
	case 3:
		var b strings.Builder
		for _, r := range s {
			if !strings.ContainsRune("abcxyz019,.:[]{}é", r) {
				b.WriteByte('\\')
			}
			b.WriteRune(r)
		}
		return b.String()
	}
	if g.oneIn(40) && s != "" || !strings.ContainsAny(s, " \t\"'\\") {
		return s
	}
	return double
}

// literal is a Python literal, or near to one.
func (g *iniGenerator) literal(depth int) string {
	s := g.expression(depth)
	if depth > 0 || g.oneIn(3) || strings.Contains(s, "{") && !strings.Contains(s, ":") {
		return s // the order of a set is Python's secret
	}
	letters := "0019.-+_eExX'\"[]() #=aTr\\;u"
	if g.dialect == Current {
		letters += ",bj"
	}
	for range g.IntN(3) {
		i := g.IntN(len(s) + 1)
		cut := min(len(s), i+g.IntN(2))
		s = s[:i] + string(letters[g.IntN(len(letters))]) + s[cut:]
	}
	return strings.ToValidUTF8(s, "")
}

func (g *iniGenerator) expression(depth int) string {
	kind := g.IntN(12 + 4*depth)
	switch {
	case kind == 0:
		return "[" + g.sequence(depth) + "]"
	case kind == 1:
		return g.dict(depth)
	case kind == 2:
		if g.dialect == Core214 {
			return "(" + g.literal(depth+1) + ")"
		}
		form := pick(&g.generator, "(%)", "(%)", "%,", "(%,)", "(%, 1)", "set()", "()", "{3, 1, 2, 1}", "{'x'}")
		return strings.Replace(form, "%", g.literal(depth+1), 1)
	case kind < 6:
		return g.number()
	case kind < 9:
		return g.quoted()
	}
	return pick(&g.generator, "True", "False", "None", "true", "yes", "null", "0644", "1.26.8", "10.0.0.1", "text", "two words", "a: b", "http://x/y?a=b;c", "{{ x }}", "{{ x | default('y') }}",
		"1 < 2", "not True", "foo(1)", "[a, b]", "[true]", "C:\\temp", "-True", "~1", "5 6", "[,]", "1if", "0x", "None.x", "", "*", "a=b", "'open", "...x", "lambda: 1", "[1 for x in y]", "x[1]")
}

func (g *iniGenerator) sequence(depth int) string {
	var items []string
	for range g.IntN(4) {
		items = append(items, g.literal(depth+1))
	}
	return strings.Join(items, pick(&g.generator, ", ", ",", " , ")) + pick(&g.generator, "", "", "", ",")
}

// dict has keys of one type: in ansible-core 2.14 others don't make JSON.
func (g *iniGenerator) dict(depth int) string {
	var items []string
	numbers := g.oneIn(3)
	for range g.IntN(4) {
		key := pick(&g.generator, "'a'", "'b'", `"c d"`, "'é'", "'a' 'b'", "''", "'1'")
		if numbers {
			key = pick(&g.generator, "1", "20", "3", "-4", "0x5")
		}
		items = append(items, key+pick(&g.generator, ": ", ":", " : ")+g.literal(depth+1))
	}
	return "{" + strings.Join(items, ", ") + pick(&g.generator, "", "", ",") + "}"
}

func (g *iniGenerator) number() string {
	s := pick(&g.generator, "0", "00", "1", "5", "42", "1_000", "1__0", "0x1F", "0XfF_0", "0o17", "0b101", "0b102", "0777", "1.20", "1.", ".5", "1e3", "1E-7", "1.5e+300", "1e999", "1e16", "123456789.123456789",
		"123456789012345678901234567890", "9223372036854775807", "9223372036854775808", "0.1", "1e22", "1e21", "0.00001", "0.0001", "1_0.0_1", "0e0", "0_0", "1e1_0", "5e-324", "100000000000000000.0")
	if g.oneIn(3) {
		s = fmt.Sprint(g.Uint64() >> g.IntN(64))
		if g.oneIn(2) {
			s += fmt.Sprintf(".%d", g.IntN(100000)) + pick(&g.generator, "", "", fmt.Sprintf("e%d", g.IntN(40)-20))
		}
	}
	if g.dialect == Current && g.oneIn(12) {
		s = pick(&g.generator, "2.5j", "1+2j", "1.5-2e20J", "-1-0j", "1j+1", "...", "1+2j+3j", "1+-2j")
	}
	return pick(&g.generator, "", "", "", "-", "+", "- ", "--", "-+") + s
}

// quoted is one string literal or several side by side.
func (g *iniGenerator) quoted() string {
	prefix := pick(&g.generator, "", "", "", "", "", "r", "R", "u", "U", "f", "ur")
	if g.dialect == Current && g.oneIn(10) {
		prefix = pick(&g.generator, "b", "B", "rb", "Br")
	}
	quote := pick(&g.generator, "'", "'", "'", `"`, `"`, "'''", `"""`)
	var b strings.Builder
	for range g.IntN(5) {
		b.WriteString(pick(&g.generator, "a", "text", " ", "é", "☃", "#", ";", "=", "{{ x }}", "%", "1.20", `\n`, `\t`, `\\`, `\'`, `\"`, `\x41`, `\x4`, `\u00e9`, `\U0001F600`, `\101`, `\8`, `\q`, `\0`, "'", `"`, "\u00a0", "\u007f", `\x00`, `\e`))
	}
	s := prefix + quote + b.String() + quote
	if g.oneIn(8) {
		s += pick(&g.generator, "", " ", "\t") + g.quoted()
	}
	return s
}

// TestRandomINI asks both tools about random INI inventories.
func TestRandomINI(t *testing.T) {
	a := startAnsible(t)
	rounds, seed := randomRounds()
	compareRandom(t, a, rounds, seed, func(s uint64) (invocation, map[string]string) {
		g := &iniGenerator{generator: generator{Rand: rand.New(rand.NewPCG(s, 1))}, dialect: a.dialect}
		files := map[string]string{"hosts.ini": g.source(), "more": g.source()}
		in := invocation{verb: pick(&g.generator, "list", "list", "vars", "export", "graph", "yaml", "host"), sources: []string{"hosts.ini", "more"}[:1+g.IntN(2)]}
		if in.verb == "host" {
			in.arg = "h1"
		}
		return in, files
	})
}

// TestRandomLiterals asks both tools what hundreds of random literals mean,
// and then for each that is an error here whether it is one there.
func TestRandomLiterals(t *testing.T) {
	a := startAnsible(t)
	rounds, seed := randomRounds()
	g := &iniGenerator{generator: generator{Rand: rand.New(rand.NewPCG(seed, 2))}, dialect: a.dialect}
	in := invocation{verb: "list", sources: []string{"hosts.ini"}}
	for round := range min(rounds, 1+rounds/10) {
		text, wrong := "h1\n[all:vars]\n", ""
		for i := range 500 {
			s := strings.TrimFunc(g.literal(0), isPythonSpace)
			if _, err := literalValue(nil, 0, s); err != nil {
				wrong = s
				continue
			}
			text += fmt.Sprintf("v%03d=%s\n", i, s)
		}
		dir := corpusCase{files: map[string]string{"hosts.ini": text}}.write(t)
		want := in.real(t, a, dir)
		got, err := in.ours(t, dir, a.dialect)
		if err != nil || got != want.Stdout {
			t.Fatalf("seed %d, round %d: %v: %s\n%s", seed, round, err, firstDifference(got, want.Stdout), want.Stderr)
		}
		if wrong != "" && !strings.Contains(wrong, `\N`) {
			dir := corpusCase{files: map[string]string{"hosts.ini": "h1\n[all:vars]\nx=" + wrong + "\n"}}.write(t)
			if real := in.real(t, a, dir); !strings.Contains(real.Stderr, "Failed to parse") {
				t.Fatalf("seed %d, round %d: %s is an error here only", seed, round, wrong)
			}
		}
	}
}

// TestShellQuoted holds the generator to what it says.
func TestShellQuoted(t *testing.T) {
	g := &iniGenerator{generator: generator{Rand: rand.New(rand.NewPCG(1, 2))}}
	good := 0
	for range 2000 {
		s := g.literal(0)
		if words, err := shlexSplit("x=" + g.shellQuoted(s)); err == nil && slices.Equal(words, []string{"x=" + s}) {
			good++
		}
	}
	if good < 1600 {
		t.Errorf("%d of 2000 random values survive quoting", good)
	}
}
