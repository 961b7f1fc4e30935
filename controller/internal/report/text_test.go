package report

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/gofleet/gofleet/agent/wire"
	"github.com/gofleet/gofleet/controller/internal/fleet"
)

var update = flag.Bool("update", false, "write the golden files and the examples in docs/output.md")

// golden compares got with testdata/name.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs (go test -update writes it anew); got:\n%s", path, got)
	}
}

// audited is the sample as an audit would see it.
func audited() *fleet.Outcome {
	o := sample()
	o.Command = wire.Audit
	for i := range o.Results {
		if res := &o.Results[i]; res.Changed && len(res.Drift) > 0 {
			res.Status = wire.Drifted
		}
	}
	return o
}

func TestText(t *testing.T) {
	terminal := Look{Results: true, Color: true, Size: func() (int, int) { return 100, 40 }}
	interrupted := sample()
	interrupted.Interrupted = true
	for name, c := range map[string]struct {
		o       Options
		outcome *fleet.Outcome
	}{
		"apply.txt":        {Options{}, sample()},
		"apply-v.txt":      {Options{Verbose: 1}, sample()},
		"apply-vv.txt":     {Options{Verbose: 2}, sample()},
		"apply-color.txt":  {Options{Look: terminal, Verbose: 1, Diff: true}, sample()},
		"audit.txt":        {Options{Command: wire.Audit}, audited()},
		"check-diff.txt":   {Options{Check: true, Diff: true}, func() *fleet.Outcome { o := sample(); o.Check = true; return o }()},
		"interrupted.txt":  {Options{}, interrupted},
		"narrow-ascii.txt": {Options{Look: Look{Results: true, ASCII: true, Size: func() (int, int) { return 60, 20 }}}, sample()},
		"tiny.txt":         {Options{Look: Look{Results: true, Size: func() (int, int) { return 40, 20 }}}, sample()},
		"all-ok.txt":       {Options{}, allOK()},
	} {
		t.Run(name, func(t *testing.T) {
			r, stdout, _ := newReporter(t, c.o)
			if err := r.Print(c.outcome); err != nil {
				t.Fatal(err)
			}
			golden(t, name, stdout.String())
		})
	}
}

func allOK() *fleet.Outcome {
	o := &fleet.Outcome{Run: "r", Command: wire.Apply, Seconds: 0.71}
	for _, res := range sample().Results[:12] {
		res.Status, res.Changed, res.Actions, res.Checks = wire.OK, false, nil, nil
		res.Go = wire.GoChange{Before: "1.26.8", After: "1.26.8"}
		o.Results = append(o.Results, res)
	}
	return o
}

// Every host that did not end well is named for another try, for whatever
// reason; where all are, the same command is that.
func TestRetryNamesHosts(t *testing.T) {
	outcome := func(statuses ...wire.Status) *fleet.Outcome {
		o := &fleet.Outcome{Command: wire.Apply}
		for i, s := range statuses {
			r := fleet.Result{Host: string(rune('a' + i)), Report: wire.Report{Status: s}}
			if s == wire.Failed {
				r.Error = &wire.Error{Kind: wire.KindArchiveMissing, Message: "no archive"}
			}
			o.Results = append(o.Results, r)
		}
		return o
	}
	for _, tt := range []struct {
		o    *fleet.Outcome
		want string
	}{
		{outcome(wire.Changed, wire.Failed, wire.OK, wire.Unreachable, wire.Unmet), "b,d,e"},
		{outcome(wire.Failed, wire.Failed), ""},
		{outcome(wire.OK), ""},
	} {
		if got := again(tt.o); got != tt.want {
			t.Errorf("--limit %q, want %q", got, tt.want)
		}
	}
}
