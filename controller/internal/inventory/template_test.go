package inventory

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// outcome is what a template gives: a value, or an error.
type outcome struct {
	Value any  `json:"value"`
	Error bool `json:"error,omitempty"`
}

// templateCases are the lines of cases.txt; ⏎ stands for a line break.
func templateCases(t testing.TB) []string {
	t.Helper()
	text, err := os.ReadFile("testdata/templates/cases.txt")
	if err != nil {
		t.Fatal(err)
	}
	var cases []string
	for line := range strings.Lines(string(text)) {
		cases = append(cases, strings.ReplaceAll(strings.TrimSuffix(line, "\n"), "⏎", "\n"))
	}
	return cases
}

// caseFiles are site.yaml and a source with a host for each case.
func caseFiles(t testing.TB, cases []string) map[string]string {
	t.Helper()
	site, err := os.ReadFile("testdata/templates/site.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	b.WriteString("cases:\n  hosts:\n")
	for i, c := range cases {
		fmt.Fprintf(&b, "    e%04d: {expr: %s}\n", i, strconv.Quote(c))
	}
	return map[string]string{"site.yaml": string(site), "cases.yaml": b.String()}
}

func templateGolden(d Dialect) string {
	return filepath.Join("testdata", "templates", "golden."+dialectNames[d]+".json")
}

// realOutcomes asks the real ansible to evaluate every case.
func realOutcomes(t testing.TB, a *ansible, cases []string) map[string]outcome {
	t.Helper()
	dir := corpusCase{files: caseFiles(t, cases)}.write(t)
	got := a.run(t, dir, "ansible", "-i", "site.yaml", "-i", "cases.yaml", "cases", "-f", "2", "-m", "debug", "-a", "msg={{ expr }}")
	out := map[string]outcome{}
	for n, o := range debugOutcomes(t, got) {
		out[cases[n]] = o
	}
	if len(out) != len(cases) {
		t.Fatalf("%d answers to %d cases\n%s", len(out), len(cases), got.Stderr)
	}
	return out
}

// debugOutcomes reads what the debug module said of the hosts e0000, e0001, …
func debugOutcomes(t testing.TB, got answer) map[int]outcome {
	t.Helper()
	out := map[int]outcome{}
	head := regexp.MustCompile(`(?m)^(?:\[ERROR\].*\n)?e([0-9]{4}) \| (SUCCESS|FAILED!) => `)
	at := head.FindAllStringSubmatchIndex(got.Stdout, -1)
	for i, m := range at {
		n, _ := strconv.Atoi(got.Stdout[m[2]:m[3]])
		if got.Stdout[m[4]:m[5]] != "SUCCESS" {
			out[n] = outcome{Error: true}
			continue
		}
		end := len(got.Stdout)
		if i+1 < len(at) {
			end = at[i+1][0]
		}
		var answer struct{ Msg any }
		dec := json.NewDecoder(strings.NewReader(got.Stdout[m[1]:end]))
		dec.UseNumber()
		if err := dec.Decode(&answer); err != nil {
			t.Fatalf("e%04d: %v\n%s", n, err, got.Stdout[m[1]:end])
		}
		out[n] = outcome{Value: answer.Msg}
	}
	return out
}

// ourOutcomes evaluates every case here.
func ourOutcomes(t testing.TB, cases []string) map[string]outcome {
	t.Helper()
	dir := corpusCase{files: caseFiles(t, cases)}.write(t)
	inv, err := Load(t.Context(), Options{
		Sources: []string{"site.yaml", "cases.yaml"}, Dir: dir, Env: []string{"GOFLEET_TEST_VARIABLE=from env"},
	})
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]outcome{}
	for i, c := range cases {
		h, err := inv.Host(fmt.Sprintf("e%04d", i))
		if err != nil {
			t.Fatal(err)
		}
		vars, err := h.Evaluate(func(name string) bool { return name == "expr" })
		if err != nil {
			out[c] = outcome{Error: true}
			continue
		}
		out[c] = outcome{Value: throughJSON(t, vars["expr"])}
	}
	return out
}

// throughJSON makes values comparable with those of the real tool.
func throughJSON(t testing.TB, v any) any {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	dec := json.NewDecoder(strings.NewReader(string(text)))
	dec.UseNumber()
	var out any
	if err := dec.Decode(&out); err != nil {
		t.Fatal(err)
	}
	return out
}

// plainNumbers makes 1.0 and 1 equal, which JSON does not tell apart in Go.
func plainNumbers(v any) any {
	switch v := v.(type) {
	case json.Number:
		if f, err := v.Float64(); err == nil {
			return strconv.FormatFloat(f, 'g', -1, 64) + " (number)"
		}
	case []any:
		out := make([]any, len(v))
		for i, x := range v {
			out[i] = plainNumbers(x)
		}
		return out
	case map[string]any:
		out := map[string]any{}
		for k, x := range v {
			out[k] = plainNumbers(x)
		}
		return out
	}
	return v
}

// TestTemplates evaluates the corpus and compares with what ansible-core 2.21
// gave.
func TestTemplates(t *testing.T) {
	cases := templateCases(t)
	compareOutcomes(t, cases, ourOutcomes(t, cases), readOutcomes(t, Current))
}

// TestTemplatesLive asks the real tool again, so that the golden values stay
// true; with -update they are written. What 2.14 gave is kept to show where
// gofleet, which is like 2.21, differs from it.
func TestTemplatesLive(t *testing.T) {
	cases := templateCases(t)
	a := startAnsible(t)
	got := realOutcomes(t, a, cases)
	if !*update {
		compareOutcomes(t, cases, got, readOutcomes(t, a.dialect))
		return
	}
	text, err := json.MarshalIndent(got, "", " ")
	if err == nil {
		err = os.WriteFile(templateGolden(a.dialect), append(text, '\n'), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func readOutcomes(t testing.TB, d Dialect) map[string]outcome {
	t.Helper()
	text, err := os.ReadFile(templateGolden(d))
	if err != nil {
		t.Fatal(err)
	}
	dec := json.NewDecoder(strings.NewReader(string(text)))
	dec.UseNumber()
	var out map[string]outcome
	if err := dec.Decode(&out); err != nil {
		t.Fatal(err)
	}
	return out
}

func compareOutcomes(t testing.TB, cases []string, got, want map[string]outcome) {
	t.Helper()
	for _, c := range cases {
		g, w := got[c], want[c]
		if _, ok := want[c]; !ok {
			t.Errorf("%q: no golden value; run TestTemplatesLive with -update", c)
		} else if g.Error != w.Error || !reflect.DeepEqual(plainNumbers(g.Value), plainNumbers(w.Value)) {
			t.Errorf("%q\n got %v\nwant %v", c, shown(g), shown(w))
		}
	}
}

func shown(o outcome) string {
	if o.Error {
		return "an error"
	}
	text, _ := json.Marshal(o.Value)
	return string(text)
}
