package report

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/gofleet/gofleet/agent/wire"
	"github.com/gofleet/gofleet/controller/internal/fleet"
)

func decode(t *testing.T, b []byte, v any) {
	t.Helper()
	if err := json.Unmarshal(b, v); err != nil {
		t.Fatalf("%v in\n%s", err, b)
	}
}

func schema(t *testing.T, name string) *jsonschema.Schema {
	t.Helper()
	s, err := jsonschema.NewCompiler().Compile(filepath.Join(root, "docs/schemas", name))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// validate checks one JSON value against a schema.
func validate(t *testing.T, s *jsonschema.Schema, b []byte) {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		t.Fatalf("%v in\n%s", err, b)
	}
	if err := s.Validate(v); err != nil {
		t.Errorf("%v\n%s", err, b)
	}
}

func TestJSONFitsSchema(t *testing.T) {
	s := schema(t, "gofleet.run.v1.json")
	empty := &fleet.Outcome{Run: "r", Command: wire.Remove}
	bare := &fleet.Outcome{Run: "r", Command: wire.Rollback, Results: []fleet.Result{{Host: "h", Report: wire.Report{Status: wire.OK}}}}
	for name, o := range map[string]*fleet.Outcome{"sample": sample(), "audit": audited(), "empty": empty, "bare": bare} {
		t.Run(name, func(t *testing.T) {
			r, stdout, _ := newReporter(t, Options{Format: "json", Command: o.Command})
			if err := r.Print(o); err != nil {
				t.Fatal(err)
			}
			validate(t, s, stdout.Bytes())
			if strings.Contains(strings.NewReplacer(`"error": null`, "", `"stopped": null`, "").Replace(stdout.String()), "null") {
				t.Errorf("something besides error and stopped is null:\n%s", stdout)
			}
			if name == "sample" {
				golden(t, "apply.json", stdout.String())
			}
		})
	}
}

func TestSchemaRefuses(t *testing.T) {
	s := schema(t, "gofleet.run.v1.json")
	r, stdout, _ := newReporter(t, Options{Format: "json"})
	if err := r.Print(sample()); err != nil {
		t.Fatal(err)
	}
	for _, c := range [][2]string{
		{`"status": "ok"`, `"status": "fine"`},
		{`"kind": "verify_failed"`, `"kind": "unheard_of"`},
		{`"drift": []`, `"drift": null`},
		{`"interrupted": false,`, ``},
		{`"gofleet.apply/v1"`, `"gofleet.apply/v2"`},
	} {
		bad := strings.Replace(stdout.String(), c[0], c[1], 1)
		v, err := jsonschema.UnmarshalJSON(strings.NewReader(bad))
		if err != nil || bad == stdout.String() {
			t.Fatalf("%s was not replaced: %v", c[0], err)
		}
		if s.Validate(v) == nil {
			t.Errorf("the schema takes %s", c[1])
		}
	}
}

func TestLinesFitSchema(t *testing.T) {
	s := schema(t, "gofleet.run.jsonl.v1.json")
	o := sample()
	r, stdout, _ := newReporter(t, Options{Format: "jsonl", Run: o.Run, Hosts: hostNames(o)})
	run(r)
	if lines := strings.Count(stdout.String(), "\n"); lines != len(o.Results) {
		t.Errorf("%d lines before the summary for %d hosts", lines, len(o.Results))
	}
	if err := r.Print(o); err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(strings.TrimSuffix(stdout.String(), "\n"), "\n")
	for _, line := range lines {
		validate(t, s, []byte(line))
	}
	if last := lines[len(lines)-1]; !strings.Contains(last, `"gofleet.apply.summary/v1"`) {
		t.Errorf("the last line is %s", last)
	}
}

// hostile is what a host might say to fool a reader.
const hostile = "a\x1b[2J\x1b]0;title\x07\r\nb\x9b1m\u202egnp\u2066 \xff\xfe \u2028\x00\x7f\u200b\U000e0041 end"

func hostileOutcome() *fleet.Outcome {
	return &fleet.Outcome{Run: "r", Command: wire.Apply, Results: []fleet.Result{{
		Host: "h" + hostile, Platform: hostile,
		Report: wire.Report{
			Status: wire.Failed, Go: wire.GoChange{Before: hostile, After: hostile + "2"},
			Checks: []wire.Check{
				{Name: hostile, Status: wire.Fail, Actual: hostile, Wanted: hostile, Hint: hostile},
				{Name: "w" + hostile, Status: wire.Warn, Actual: hostile, Wanted: hostile, Hint: hostile},
			},
			Actions:  []wire.ActionResult{{Name: hostile, Changed: true, Diff: "+" + hostile}},
			Drift:    []wire.Drift{{Path: hostile, How: hostile}},
			Warnings: []string{hostile},
			Error:    &wire.Error{Kind: wire.KindHost, Message: hostile, Hint: hostile},
			Seconds:  map[string]float64{hostile: 1, "total": 2},
		}}}}
}

// harmless fails the test if a terminal or a reader would obey something in s.
func harmless(t *testing.T, what, s string) {
	t.Helper()
	if !utf8.ValidString(s) {
		t.Errorf("%s is not UTF-8: %q", what, s)
	}
	for _, r := range s {
		if unsafe(r) {
			t.Errorf("%s has %U: %q", what, r, s)
			return
		}
	}
}

func TestHostileText(t *testing.T) {
	for _, format := range Formats() {
		for _, look := range []Look{{}, {Results: true, Size: func() (int, int) { return 40, 20 }}} {
			r, stdout, stderr := newReporter(t, Options{Format: format, Look: look, Verbose: 2, Diff: true})
			o := hostileOutcome()
			r.Start()
			r.Phase(o.Results[0].Host, hostile)
			r.Warn(o.Results[0].Host, hostile)
			r.Warn("", hostile)
			r.Problems(Problem{Where: hostile, Message: hostile, Hint: hostile, Hosts: []string{hostile}})
			r.Progress(hostile).End(nil)
			r.Done(o.Results[0])
			if err := r.Print(o); err != nil {
				t.Fatal(err)
			}
			harmless(t, format+" on stdout", stdout.String())
			harmless(t, format+" on stderr", stderr.String())
			for line := range strings.SplitSeq(stdout.String(), "\n") {
				if line == "" || format == "text" {
					continue
				}
				var s any
				if format == "jsonl" {
					decode(t, []byte(line), &s)
					harmlessJSON(t, s)
				}
			}
			if format == "json" {
				var s any
				decode(t, stdout.Bytes(), &s)
				harmlessJSON(t, s)
			}
		}
	}
}

// harmlessJSON looks at decoded strings: JSON's own escapes are undone by
// whoever prints them.
func harmlessJSON(t *testing.T, v any) {
	t.Helper()
	switch v := v.(type) {
	case string:
		harmless(t, "a JSON string", v)
	case []any:
		for _, e := range v {
			harmlessJSON(t, e)
		}
	case map[string]any:
		for k, e := range v {
			harmless(t, "a JSON key", k)
			harmlessJSON(t, e)
		}
	}
}

func TestHostileTextOnLiveView(t *testing.T) {
	s := newStage(t, 60, 12, Options{Hosts: []string{"h" + hostile, "other"}})
	s.Phase("h"+hostile, hostile)
	s.Done(unreachable("other", hostile))
	harmless(t, "the view", s.frame(2e9))
}
