package inventory

import (
	"encoding/json"
	"errors"
	"os"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"
)

// largeRangeRE finds ranges that are right and only take long.
var largeRangeRE = regexp.MustCompile(`[0-9]{4}.*\]|\].*\[.*\].*\[`)

// FuzzYAML reads arbitrary inventories. Whatever the text is, the answer is
// an inventory that can be shown, or an *Error.
func FuzzYAML(f *testing.F) {
	for _, c := range corpus(f) {
		for name, text := range c.files {
			if strings.HasSuffix(name, "yaml") || strings.HasSuffix(name, "json") {
				f.Add([]byte(text))
			}
		}
	}
	f.Add([]byte("a: &a {b: *a}\n<<: [*a, {x: 1}]\n? [k]\n: v\n"))
	f.Add([]byte("{\"all\": {\"hosts\": {\"a\": {\"__ansible_vault\": \"\\ud800\"}}}}"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if largeRangeRE.Match(text) {
			return
		}
		inv := &Inventory{warned: map[string]bool{}, work: &varsDir{name: ".", path: "/nonexistent"}}
		r := &reader{tree: newTree(inv.warnAt), loader: &loader{warn: inv.warnAt}, warn: inv.warnAt}
		inv.tree, inv.files = r.tree, &varsFiles{loader: r.loader, files: map[string]varsFile{}}
		src := &source{doc: &document{"hosts.yaml"}, path: "hosts.yaml", dir: "/", text: text}
		err := r.readYAML(src)
		if err == nil {
			err = r.tree.reconcile()
		}
		var e *Error
		switch {
		case err != nil && !errors.As(err, &e):
			t.Fatalf("not an *Error: %v", err)
		case err != nil && (e.Line < 0 || e.Msg == "" || e.Line > 1+strings.Count(string(text), "\n")+strings.Count(string(text), "\r")+strings.Count(string(text), "\u2028")+strings.Count(string(text), "\u2029")+strings.Count(string(text), "\u0085")):
			t.Fatalf("an error at line %d of %d: %v", e.Line, strings.Count(string(text), "\n"), e)
		case err != nil:
			return
		}
		out, err := inv.ListJSON(ListOptions{Export: true})
		if err != nil {
			t.Fatal(err)
		}
		plain := strings.NewReplacer("-Infinity", "0", "Infinity", "0", "NaN", "0").Replace(string(out))
		if !json.Valid([]byte(plain)) || !utf8.Valid(out) {
			t.Fatalf("not JSON: %s", out)
		}
		if _, err := inv.GraphText("", true); err != nil {
			t.Fatal(err)
		}
		hosts, err := inv.Hosts("all", "")
		if err != nil && !errors.Is(err, ErrNoHosts) {
			t.Fatal(err)
		}
		for _, h := range hosts {
			for name := range h.Vars {
				if p := h.Origin(name); p.File != "hosts.yaml" {
					t.Fatalf("%s of %s comes from %s", name, h.Name, p)
				}
			}
		}
	})
}

// FuzzPattern evaluates arbitrary patterns and limits.
func FuzzPattern(f *testing.F) {
	for _, c := range corpus(f) {
		for _, words := range c.commands {
			if in := parseInvocation(words); in.verb == "hosts" {
				f.Add(in.arg, in.limit)
			}
		}
	}
	r := &reader{tree: newTree(func(Position, string, ...any) {})}
	r.loader = &loader{warn: func(Position, string, ...any) {}}
	r.warn = r.loader.warn
	text, err := os.ReadFile("testdata/corpus/patterns.txt")
	if err != nil {
		f.Fatal(err)
	}
	hosts := parseCase("patterns", string(text)).files["hosts.yaml"]
	if err := r.readYAML(&source{doc: &document{"hosts.yaml"}, text: []byte(hosts)}); err != nil {
		f.Fatal(err)
	}
	if err := r.tree.reconcile(); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, pattern, limit string) {
		if strings.Contains(limit, "@") {
			return // names files
		}
		inv := &Inventory{tree: r.tree, warned: map[string]bool{}}
		found, err := inv.match(pattern, limit)
		var e *Error
		if err != nil && !errors.As(err, &e) {
			t.Fatalf("not an *Error: %v", err)
		}
		seen := map[*Host]bool{}
		for _, h := range found {
			if seen[h] {
				t.Fatalf("%s twice", h.Name)
			}
			seen[h] = true
		}
	})
}

// FuzzExtraVars reads arbitrary -e options.
func FuzzExtraVars(f *testing.F) {
	for _, s := range []string{"a=1 b='x y'", `{"a": [1]}`, "a={{ x }} b=\\n\\x41", "a=b=c d\\=e=f", "[1", "a='{% x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if strings.HasPrefix(s, "@") {
			return
		}
		r := &reader{loader: &loader{warn: func(Position, string, ...any) {}}}
		_, err := r.extraVars([]string{s})
		var e *Error
		if err != nil && !errors.As(err, &e) {
			t.Fatalf("not an *Error: %v", err)
		}
	})
}
