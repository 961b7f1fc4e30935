package inventory

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files with the ansible-inventory that GOFLEET_ANSIBLE_INVENTORY names")

// A case of the corpus is a text file: lines beginning with $ are commands,
// and "-- name --" begins a file to run them beside. The commands are
//
//	$ list | export | graph [GROUP] | vars [GROUP] | host NAME | hosts PATTERN, then options
//
// of which -V is --vault-id, and files that begin with #! can be executed.
//
// A golden file has the output of each, made by the real tool.
type corpusCase struct {
	name     string
	commands [][]string
	files    map[string]string
}

func corpus(t testing.TB) []corpusCase {
	t.Helper()
	paths, err := filepath.Glob("testdata/corpus/*.txt")
	if err != nil || len(paths) == 0 {
		t.Fatal("no corpus", err)
	}
	var cases []corpusCase
	for _, p := range paths {
		text, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		cases = append(cases, parseCase(strings.TrimSuffix(filepath.Base(p), ".txt"), string(text)))
	}
	return cases
}

func parseCase(name, text string) corpusCase {
	c := corpusCase{name: name, files: map[string]string{}}
	file := ""
	for line := range strings.Lines(text) {
		trimmed := strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "-- ") && strings.HasSuffix(trimmed, " --"):
			file = strings.TrimSuffix(strings.TrimPrefix(trimmed, "-- "), " --")
			c.files[file] = ""
		case file != "":
			c.files[file] += line
		case strings.HasPrefix(line, "$ "):
			words, err := splitWords(trimmed[2:])
			if err != nil {
				panic(err)
			}
			for i, w := range words {
				words[i] = unquote(w)
			}
			c.commands = append(c.commands, words)
		}
	}
	return c
}

// write lays out the files of a case in a new directory.
func (c corpusCase) write(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range c.files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if target, ok := strings.CutPrefix(text, "link to "); ok {
			if err := os.Symlink(strings.TrimSpace(target), path); err != nil {
				t.Fatal(err)
			}
			continue
		}
		text = strings.ReplaceAll(text, "\\N\n", "") // no newline at the end
		mode := os.FileMode(0o644)
		if strings.HasPrefix(text, "#!") {
			mode = 0o755
		}
		if rest, ok := strings.CutPrefix(text, "chmod +x\n"); ok {
			text, mode = rest, 0o755
		}
		if rest, ok := strings.CutPrefix(text, "chmod -x\n"); ok {
			text, mode = rest, 0o644
		}
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// invocation is a command of a case, split up.
type invocation struct {
	verb, arg string
	sources   []string
	extra     []string
	vault     []string
	limit     string
}

func parseInvocation(words []string) invocation {
	in := invocation{verb: words[0]}
	for i := 1; i < len(words); i++ {
		switch words[i] {
		case "-i":
			i++
			in.sources = append(in.sources, words[i])
		case "-e":
			i++
			in.extra = append(in.extra, words[i])
		case "-V":
			i++
			in.vault = append(in.vault, words[i])
		case "-l":
			i++
			in.limit = words[i]
		default:
			in.arg = words[i]
		}
	}
	return in
}

// real is what the real tool prints.
func (in invocation) real(t testing.TB, a *ansible, dir string) answer {
	t.Helper()
	var args []string
	for _, s := range in.sources {
		args = append(args, "-i", s)
	}
	for _, e := range in.extra {
		args = append(args, "-e", e)
	}
	for _, v := range in.vault {
		args = append(args, "--vault-id", v)
	}
	if in.limit != "" {
		args = append(args, "-l", in.limit)
	}
	switch in.verb {
	case "hosts":
		return a.run(t, dir, "ansible", append(args, "--list-hosts", "--", in.arg)...)
	case "list":
		args = append(args, "--list")
	case "yaml":
		args = append(args, "--list", "--yaml")
	case "yamlexport":
		args = append(args, "--list", "--yaml", "--export")
	case "yamlhost":
		args = append(args, "--yaml", "--host", in.arg)
	case "export":
		args = append(args, "--list", "--export")
	case "host":
		args = append(args, "--host", in.arg)
	case "graph":
		args = append(args, "--graph")
	case "vars":
		args = append(args, "--graph", "--vars")
	}
	if in.arg != "" && in.verb != "host" && in.verb != "yamlhost" {
		args = append(args, "--", in.arg)
	}
	return a.run(t, dir, "ansible-inventory", args...)
}

// ours is what this package prints.
func (in invocation) ours(t testing.TB, dir string, d Dialect) (string, error) {
	t.Helper()
	inv, err := Load(t.Context(), Options{
		Sources: in.sources, ExtraVars: in.extra, Dir: dir, Env: os.Environ(), Vault: VaultOptions{IDs: in.vault, Env: os.Environ()},
	})
	if err != nil {
		return "", err
	}
	return in.show(inv, d)
}

// show prints an inventory as the verb says.
func (in invocation) show(inv *Inventory, d Dialect) (string, error) {
	switch in.verb {
	case "hosts":
		return inv.HostsText(in.arg, in.limit)
	case "list", "export":
		b, err := inv.ListJSON(ListOptions{Limit: in.limit, Export: in.verb == "export", Dialect: d})
		return string(b), err
	case "yaml", "yamlexport":
		b, err := inv.ListYAML(ListOptions{Limit: in.limit, Export: in.verb == "yamlexport", Dialect: d})
		return string(b), err
	case "yamlhost":
		b, err := inv.HostYAML(in.arg, d)
		return string(b), err
	case "host":
		b, err := inv.HostJSON(in.arg, d)
		return string(b), err
	case "graph", "vars":
		return inv.GraphText(in.arg, in.verb == "vars")
	}
	return "", fmt.Errorf("no such verb: %s", in.verb)
}

// forDialect says whether a case is for a dialect: those named …-current
// have what ansible-core 2.14 reads otherwise.
func (c corpusCase) forDialect(d Dialect) bool {
	return d == Current || !strings.HasSuffix(c.name, "-current")
}

var dialectNames = map[Dialect]string{Current: "current", Core214: "2.14"}

func goldenPath(name string, d Dialect) string {
	return filepath.Join("testdata", "golden", name+"."+dialectNames[d]+".txt")
}

// TestGolden compares every command of the corpus with what the real
// ansible-inventory printed for it, byte for byte. With -update the real tool
// is asked again, and its answers are written.
func TestGolden(t *testing.T) {
	if *update {
		compareLive(t)
		return
	}
	for d, dialect := range dialectNames {
		for _, c := range corpus(t) {
			if !c.forDialect(d) {
				continue
			}
			t.Run(dialect+"/"+c.name, func(t *testing.T) {
				golden := readGolden(t, goldenPath(c.name, d))
				dir := c.write(t)
				for _, words := range c.commands {
					line := strings.Join(words, " ")
					want, ok := golden[line]
					if !ok {
						t.Errorf("$ %s: no golden output; run with -update", line)
						continue
					}
					got, err := parseInvocation(words).ours(t, dir, d)
					check(t, line, got, want, err)
				}
			})
		}
	}
}

// TestLive asks the real tool now.
func TestLive(t *testing.T) {
	if !*update {
		compareLive(t)
	}
}

func check(t testing.TB, line, got, want string, err error) {
	t.Helper()
	if err != nil {
		t.Errorf("$ %s: %v", line, err)
	} else if got != want {
		t.Errorf("$ %s\n%s", line, firstDifference(got, want))
	}
}

// compareLive asks the real tool, and writes its answers if asked to.
func compareLive(t *testing.T) {
	a := startAnsible(t)
	for _, c := range corpus(t) {
		if !c.forDialect(a.dialect) {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			dir := c.write(t)
			var golden strings.Builder
			for _, words := range c.commands {
				line := strings.Join(words, " ")
				in := parseInvocation(words)
				want := in.real(t, a, dir)
				if want.RC != 0 {
					t.Errorf("$ %s: the real tool fails:\n%s", line, want.Stderr)
				}
				fmt.Fprintf(&golden, "$ %s\n%s", line, want.Stdout)
				got, err := in.ours(t, dir, a.dialect)
				check(t, line, got, want.Stdout, err)
			}
			if *update {
				if err := os.WriteFile(goldenPath(c.name, a.dialect), []byte(golden.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

func readGolden(t testing.TB, path string) map[string]string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	command := ""
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "$ "); ok {
			command = strings.TrimSuffix(rest, "\n")
			out[command] = ""
			continue
		}
		out[command] += line
	}
	return out
}

// firstDifference shows where two texts part.
func firstDifference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range max(len(g), len(w)) {
		if i < len(g) && i < len(w) && g[i] == w[i] {
			continue
		}
		from := max(0, i-3)
		return fmt.Sprintf("line %d\n  got:\n%s\n  want:\n%s", i+1,
			strings.Join(g[min(from, len(g)):min(i+3, len(g))], "\n"),
			strings.Join(w[min(from, len(w)):min(i+3, len(w))], "\n"))
	}
	return "equal"
}
