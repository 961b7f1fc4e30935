package inventory

import (
	"encoding/json"
	"errors"
	"os"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/gofleet/gofleet/controller/internal/inventory/vault"
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
	f.Fuzz(func(t *testing.T, text []byte) { checkSource(t, text, (*reader).readYAML) })
}

// FuzzINI and FuzzTOML read arbitrary inventories of these formats.
func FuzzINI(f *testing.F) {
	for _, c := range corpus(f) {
		if strings.HasPrefix(c.name, "ini") {
			for _, text := range c.files {
				f.Add([]byte(text))
			}
		}
	}
	f.Fuzz(func(t *testing.T, text []byte) { checkSource(t, text, (*reader).readINI) })
}

func FuzzTOML(f *testing.F) {
	for _, c := range corpus(f) {
		for name, text := range c.files {
			if strings.HasSuffix(name, "toml") {
				f.Add([]byte(text))
			}
		}
	}
	f.Add([]byte("[[a]]\nhosts.b.c = {d = [{e = 1}]}\n[a.vars]\nx = 07:32:00\n"))
	f.Fuzz(func(t *testing.T, text []byte) { checkSource(t, text, (*reader).readTOML) })
}

// FuzzScript reads arbitrary output of a program.
func FuzzScript(f *testing.F) {
	for _, text := range []string{
		`{"web": ["a", "b"], "_meta": {"hostvars": {"a": {"x": 1}}}}`,
		`{"web": {"hosts": ["a"], "vars": {"v": [1]}, "children": ["c"]}, "_meta": {"hostvars": {}}}`,
		`{"c": {"x": "{{ y }}"}, "_meta": {"hostvars": {"c": {"__ansible_unsafe": "x"}}}}`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		checkSource(t, text, func(r *reader, src *source) error {
			s := scriptSource{reader: r, src: src, doc: src.doc}
			root, err := s.parse(src.doc, &output{stdout: text})
			if err != nil {
				return err
			}
			if _, ok := root.get("_meta"); !ok {
				return nil // would run the program for each host
			}
			if meta, _ := root.get("_meta"); meta.val.kind == mapKind {
				if _, ok := meta.val.get("hostvars"); !ok {
					return nil
				}
			}
			return s.groups(root)
		})
	})
}

// checkSource reads a source and shows what came of it.
func checkSource(t *testing.T, text []byte, read func(*reader, *source) error) {
	if largeRangeRE.Match(text) {
		return
	}
	inv := &Inventory{warned: map[string]bool{}, work: &varsDir{name: ".", path: "/nonexistent"}}
	r := &reader{tree: newTree(inv.warnAt), loader: &loader{warn: inv.warnAt}, warn: inv.warnAt}
	inv.tree, inv.files = r.tree, &varsFiles{loader: r.loader, files: map[string]varsFile{}}
	src := &source{doc: &document{name: "hosts.yaml"}, path: "hosts.yaml", dir: "/", text: text}
	err := read(r, src)
	var pass *declinedError
	if errors.As(err, &pass) {
		err = pass.err
	}
	if err == nil {
		err = r.tree.reconcile()
	}
	var e *Error
	lines := 1
	for _, end := range []string{"\n", "\r", "\v", "\f", "\x1c", "\x1d", "\x1e", "\u0085", "\u2028", "\u2029"} {
		lines += strings.Count(string(text), end)
	}
	switch {
	case err != nil && !errors.As(err, &e):
		t.Fatalf("not an *Error: %v", err)
	case err != nil && (e.Line < 0 || e.Msg == "" || e.Line > lines):
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
	var sealed *vault.Error
	if _, err := inv.GraphText("", true); err != nil && !errors.As(err, &sealed) {
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
	if err := r.readYAML(&source{doc: &document{name: "hosts.yaml"}, text: []byte(hosts)}); err != nil {
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
