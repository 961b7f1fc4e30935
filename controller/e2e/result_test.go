//go:build linux

package e2e

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// document is what -o json prints.
type document struct {
	Schema  string         `json:"schema"`
	Hosts   []hostResult   `json:"hosts"`
	Summary map[string]int `json:"summary"`
}

type hostResult struct {
	Host    string         `json:"host"`
	Status  string         `json:"status"`
	Changed bool           `json:"changed"`
	Fields  map[string]any `json:"-"` // everything
	Actions []struct {
		Name    string `json:"name"`
		Changed bool   `json:"changed"`
		Diff    string `json:"diff"`
	} `json:"actions"`
	Checks []struct {
		Name   string `json:"name"`
		Status string `json:"status"`
		Actual string `json:"actual"`
		Wanted string `json:"wanted"`
		Hint   string `json:"hint"`
	} `json:"checks"`
	Drift   []string `json:"drift"`
	Differs []struct {
		Path string `json:"path"`
		How  string `json:"how"`
	} `json:"differs"`
}

// schema is the one in docs; compiled once.
var schema = sync.OnceValues(func() (*jsonschema.Schema, error) {
	return jsonschema.NewCompiler().Compile(filepath.Join(built.repo, "docs/schemas/gofleet.run.v1.json"))
})

// cmdJSONL checks that what the last program printed is -o jsonl, as its schema
// says, with that many lines: jsonl LINES
func cmdJSONL(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		usage(ts, "jsonl LINES")
	}
	want, err := jsonschema.NewCompiler().Compile(filepath.Join(built.repo, "docs/schemas/gofleet.run.jsonl.v1.json"))
	ts.Check(err)
	n := 0
	for line := range strings.Lines(ts.ReadFile("stdout")) {
		instance, err := jsonschema.UnmarshalJSON(strings.NewReader(line))
		ts.Check(err)
		ts.Check(want.Validate(instance))
		n++
	}
	if fmt.Sprint(n) != args[0] {
		ts.Fatalf("%d lines, want %s", n, args[0])
	}
}

// readDocument parses -o json, which has to be what its schema says.
func readDocument(text string) (*document, error) {
	want, err := schema()
	if err != nil {
		return nil, err
	}
	instance, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("not one JSON document: %w", err)
	}
	if err := want.Validate(instance); err != nil {
		return nil, err
	}
	d := &document{}
	if err := json.Unmarshal([]byte(text), d); err != nil {
		return nil, err
	}
	all := instance.(map[string]any)["hosts"].([]any)
	for i := range d.Hosts {
		d.Hosts[i].Fields = all[i].(map[string]any)
	}
	return d, nil
}

// document is the JSON that the last program printed.
func (s *script) document(ts *testscript.TestScript) *document {
	text := ts.ReadFile("stdout")
	if s.last == nil || text != s.raw {
		d, err := readDocument(text)
		ts.Check(err)
		s.last, s.raw = d, text
	}
	return s.last
}

func (d *document) host(ts *testscript.TestScript, name string) *hostResult {
	i := slices.IndexFunc(d.Hosts, func(h hostResult) bool { return h.Host == name })
	if i < 0 {
		ts.Fatalf("the document has no host %s", name)
	}
	return &d.Hosts[i]
}

// cmdResult compares keys of a host in the last -o json, which must be valid:
// result HOST KEY=VALUE|KEY~REGEXP... ; HOST may be * for all.
func cmdResult(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		usage(ts, "result HOST KEY=VALUE|KEY~REGEXP...")
	}
	d := of(ts).document(ts)
	for i := range d.Hosts {
		if h := &d.Hosts[i]; args[0] == "*" || h.Host == args[0] {
			for _, want := range args[1:] {
				compare(ts, h, want)
			}
		}
	}
	if args[0] != "*" {
		d.host(ts, args[0])
	} else if len(d.Hosts) == 0 {
		ts.Fatalf("no hosts")
	}
}

func compare(ts *testscript.TestScript, h *hostResult, want string) {
	i := strings.IndexAny(want, "=~")
	if i < 0 {
		usage(ts, "result HOST KEY=VALUE|KEY~REGEXP...")
	}
	key, value := want[:i], want[i+1:]
	var now any = h.Fields
	for part := range strings.SplitSeq(key, ".") {
		m, _ := now.(map[string]any)
		now = m[part]
	}
	got := fmt.Sprint(now)
	if now == nil {
		got = "" // null, and what is below null
	}
	if want[i] == '=' && got != value || want[i] == '~' && !matches(ts, value, got) {
		b, _ := json.MarshalIndent(h.Fields, "", " ")
		ts.Fatalf("%s: %s is %q, want %q\n%s", h.Host, key, got, value, b)
	}
}

func matches(ts *testscript.TestScript, pattern, text string) bool {
	re, err := regexp.Compile(pattern)
	ts.Check(err)
	return re.MatchString(text)
}

// cmdActions wants exactly these actions, in this order, each a regular
// expression that fits one from its start: actions HOST [REGEXP...]
func cmdActions(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		usage(ts, "actions HOST [REGEXP...]")
	}
	h := of(ts).document(ts).host(ts, args[0])
	var got []string
	for _, a := range h.Actions {
		got = append(got, a.Name)
	}
	ok := len(got) == len(args)-1
	for i := 0; ok && i < len(got); i++ {
		ok = matches(ts, "^(?:"+args[i+1]+")", got[i])
	}
	if !ok {
		ts.Fatalf("%s: actions are%s\nwant%s", h.Host, lines(got), lines(args[1:]))
	}
}

// cmdPredicted compares the actions of each host with those in the file, which
// has an earlier run with --check: predicted FILE
func cmdPredicted(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		usage(ts, "predicted FILE")
	}
	before, err := readDocument(ts.ReadFile(args[0]))
	ts.Check(err)
	now := of(ts).document(ts)
	if len(before.Hosts) != len(now.Hosts) {
		ts.Fatalf("%d hosts were predicted, %d came", len(before.Hosts), len(now.Hosts))
	}
	for i, h := range now.Hosts {
		p := before.Hosts[i]
		var said, done []string
		for _, a := range p.Actions {
			said = append(said, a.Name+"\n"+a.Diff)
		}
		for _, a := range h.Actions {
			done = append(done, a.Name+"\n"+a.Diff)
		}
		if !slices.Equal(said, done) || len(done) == 0 {
			ts.Fatalf("%s: predicted%s\ndone%s", h.Host, lines(said), lines(done))
		}
		if p.Status != h.Status || fmt.Sprint(p.Fields["go"]) != fmt.Sprint(h.Fields["go"]) {
			ts.Fatalf("%s: predicted %s %v, done %s %v", h.Host, p.Status, p.Fields["go"], h.Status, h.Fields["go"])
		}
	}
}

// cmdDrifted wants exactly these drifted paths, and how those drifted that have
// a how: drifted HOST [PATH[=HOW]...]
func cmdDrifted(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		usage(ts, "drifted HOST [PATH[=HOW]...]")
	}
	h := of(ts).document(ts).host(ts, args[0])
	hows := map[string]string{}
	for i, d := range h.Differs {
		if hows[d.Path] = d.How; d.How == "" || d.Path != h.Drift[i] {
			ts.Fatalf("%s: differs is%s", h.Host, lines(h.Differs))
		}
	}
	var want []string
	for _, arg := range args[1:] {
		path, how, ok := strings.Cut(arg, "=")
		if want = append(want, path); ok && hows[path] != how {
			ts.Fatalf("%s: %s differs in %q, not %q", h.Host, path, hows[path], how)
		}
	}
	if !slices.Equal(slices.Sorted(slices.Values(h.Drift)), slices.Sorted(slices.Values(want))) {
		ts.Fatalf("%s: drifted are%s", h.Host, lines(h.Drift))
	}
}

// cmdCheck wants a check of a host with that status; actual, wanted and hint
// must be said unless it passed: check HOST NAME STATUS [ACTUAL-REGEXP [WANTED-REGEXP]]
func cmdCheck(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 || len(args) > 5 {
		usage(ts, "check HOST NAME STATUS [ACTUAL [WANTED]]")
	}
	h := of(ts).document(ts).host(ts, args[0])
	for _, c := range h.Checks {
		if c.Name != args[1] {
			continue
		}
		args = append(args, "", "")
		if c.Status != args[2] || !matches(ts, args[3], c.Actual) || !matches(ts, args[4], c.Wanted) {
			ts.Fatalf("%s: %+v", h.Host, c)
		}
		if c.Status != "pass" && (c.Actual == "" || c.Wanted == "" || c.Hint == "") {
			ts.Fatalf("%s: the check says too little: %+v", h.Host, c)
		}
		return
	}
	ts.Fatalf("%s: no check %s among %+v", h.Host, args[1], h.Checks)
}
