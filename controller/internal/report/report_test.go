package report

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/gofleet/gofleet/agent/wire"
	"github.com/gofleet/gofleet/controller/internal/fleet"
)

func TestUnknownFormat(t *testing.T) {
	_, err := New(Options{Format: "xml"})
	if err == nil || !strings.Contains(err.Error(), "text, json and jsonl") {
		t.Errorf("New: %v", err)
	}
}

// broken is a pipe that nobody reads any more.
type broken struct{ err error }

func (b broken) Write([]byte) (int, error) { return 0, b.err }

func TestPrintReportsWriteErrors(t *testing.T) {
	full := errors.New("no space left on device")
	for _, format := range Formats() {
		r, err := New(Options{Format: format, Stdout: broken{full}, Stderr: &bytes.Buffer{}, Command: wire.Apply})
		if err != nil {
			t.Fatal(err)
		}
		r.Start()
		r.Done(ok("web1"))
		if err := r.Print(sample()); !errors.Is(err, full) {
			t.Errorf("%s: Print: %v", format, err)
		}
	}
}

func TestProblems(t *testing.T) {
	r, stdout, stderr := newReporter(t, Options{})
	r.Problems(
		Problem{Where: "group_vars/web.yml:7", Message: "gofleet_keep must be 0 or more, not -1", Hosts: []string{"web1"}, Hint: "leave it out for 2"},
		Problem{Message: "gofleet_go_version is missing\nit is required by apply", Hosts: []string{"db1"}},
		Problem{Where: "group_vars/web.yml:7", Message: "gofleet_keep must be 0 or more, not -1", Hosts: []string{"web2"}, Hint: "leave it out for 2"},
	)
	want := `gofleet: group_vars/web.yml:7: gofleet_keep must be 0 or more, not -1
  hosts: web[1-2]
  hint: leave it out for 2
gofleet: gofleet_go_version is missing
  it is required by apply
  hosts: db1
`
	if got := stderr.String(); got != want || stdout.Len() > 0 {
		t.Errorf("got %s\non stdout %s", got, stdout)
	}
}

func TestRetryLine(t *testing.T) {
	failed := func(names ...string) *fleet.Outcome {
		o := &fleet.Outcome{Command: wire.Apply, Results: []fleet.Result{ok("good")}}
		for _, n := range names {
			o.Results = append(o.Results, unreachable(n, "no route"))
		}
		return o
	}
	for _, c := range []struct {
		o    *fleet.Outcome
		want string
	}{
		{failed(), ""},
		{failed("web1", "web_2.example-net"), "web1,web_2.example-net"},
		{failed("fe80::1"), ""},  // a colon separates in patterns
		{failed("web[1:2]"), ""}, // so would this be read
		{failed("wéb"), ""},      // not everywhere typed
		{failed(names("a-host-with-a-long-name-%d", 9)...), ""},
		{&fleet.Outcome{Command: wire.Apply, Results: failed("web1").Results[1:]}, ""}, // all of them
	} {
		if got := again(c.o); got != c.want {
			t.Errorf("again(%v) = %q, want %q", hostNames(c.o), got, c.want)
		}
	}
}

func TestCheckSaysWould(t *testing.T) {
	for _, o := range []Options{{Check: true}, {Command: wire.Audit}} {
		r, stdout, stderr := newReporter(t, o)
		outcome := &fleet.Outcome{Command: r.Command, Check: o.Check, Results: sample().Results[:1]}
		r.Done(outcome.Results[0])
		if err := r.Print(outcome); err != nil {
			t.Fatal(err)
		}
		for _, got := range []string{stdout.String(), stderr.String()} {
			if strings.Contains(strings.ReplaceAll(got, "nothing was changed", ""), "changed") || !strings.Contains(got, "to change") {
				t.Errorf("%+v: got\n%s", o, got)
			}
		}
	}
}
