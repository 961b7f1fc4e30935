package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/gofleet/gofleet/agent/spec"
	"github.com/gofleet/gofleet/agent/wire"
)

func TestMaskText(t *testing.T) {
	m := NewMask([]string{
		"s3cr3t-token", "token-and-more", "it's \"quoted\"", "a & b/c", "on", "", "first line\nsecond line\n",
		"https://user:pass%21word@mirror/go", "prod",
	}, nil)
	for in, want := range map[string]string{
		"":                                "",
		"nothing here, turn it on":        "nothing here, turn it on",
		"the value s3cr3t-token is wrong": "the value ******** is wrong",
		"s3cr3t-token-and-more":           "********", // two that overlap
		"s3cr3t-tokens3cr3t-token":        "********", // two in a row
		"s3cr3t-token s3cr3t-token":       "******** ********",
		`export X='it'\''s "quoted"'`:     "export X='********'",   // as a shell has it
		`X="it's \"quoted\"" is wrong`:    `X="********" is wrong`, // as %q has it
		`{"X":"a \u0026 b/c"}`:            `{"X":"********"}`,
		"?x=a+%26+b%2Fc":                  "?x=********",
		"got: first line":                 "got: ********",
		"second line, first line":         "********, ********",
		"https://mirror/go: pass!word":    "https://mirror/go: ********",
		"https://pass%21word@mirror":      "https://********@mirror",
		"it said: s3cr3t-t…":              "it said: ********…", // cut by the agent
		"…3t-token was said":              "…******** was said",
		"it said s3cr3t-to... and more":   "it said ********... and more",
		"production":                      "********uction",
	} {
		if got := m.Text(in); got != want {
			t.Errorf("%q becomes %q, want %q", in, got, want)
		}
	}
	var none *Mask
	if none.Text("s3cr3t-token") != "s3cr3t-token" {
		t.Error("no mask changes a text")
	}
}

// TestMaskDiff: old values of secret variables are hidden too, which no
// inventory knows any more.
func TestMaskDiff(t *testing.T) {
	m := NewMask([]string{"new-value", "on"}, []string{"LICENSE", "SHORT"})
	in := `--- /etc/profile.d/go.sh
+++ /etc/profile.d/go.sh
@@ -1,4 +1,4 @@
 export LICENSE='unchanged'
-export LICENSE='old=value'
+export LICENSE='new-value'
+export SHORT='on'
-export PLAIN='before'
+export PLAIN='on new-value'
-export GONE='was a secret'
+export FRESH='is none'
-#gofleet:shipped SHORT=off
+SHORT=on
-deploy ALL=(root) NOPASSWD: /bin/id
-turn it=on`
	want := `--- /etc/profile.d/go.sh
+++ /etc/profile.d/go.sh
@@ -1,4 +1,4 @@
 export LICENSE=********
-export LICENSE=********
+export LICENSE=********
+export SHORT=********
-export PLAIN=********
+export PLAIN='on ********'
-export GONE=********
+export FRESH='is none'
-#gofleet:shipped SHORT=********
+SHORT=********
-deploy ALL=(root) NOPASSWD: /bin/id
-turn it=on`
	if got := m.diff(in); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// told is an Observer that keeps all that it is told.
type told struct {
	mu   sync.Mutex
	text strings.Builder
}

func (o *told) note(v any) {
	o.mu.Lock()
	defer o.mu.Unlock()
	_ = json.NewEncoder(&o.text).Encode(v)
}
func (o *told) Phase(host, phase string)   { o.note([]string{host, phase}) }
func (o *told) Stage(s Stage)              { o.note(s) }
func (o *told) Revise(r Result)            { o.note(r) }
func (o *told) Budget(left string)         { o.note(left) }
func (o *told) Bytes(string, int64, int64) {}
func (o *told) Warn(host, message string)  { o.note([]string{host, message}) }
func (o *told) Done(r Result)              { o.note(r) }

// TestMaskedRun: whatever an agent says, and why a host is not reached, comes
// without the host's secrets to the observer and to the outcome.
func TestMaskedRun(t *testing.T) {
	const secret = "s3cr3t-token"
	everything := wire.Report{
		Status: wire.Failed, Go: wire.GoChange{Before: secret, After: secret},
		Facts:    &wire.Facts{Hostname: secret, Commands: map[string]string{"git": secret}},
		Checks:   []wire.Check{{Name: secret, Status: wire.Fail, Actual: secret, Wanted: secret, Hint: secret}},
		Actions:  []wire.ActionResult{{Name: "write " + secret, Diff: "+export X='" + secret + "'\n-export X='an older one'\n"}},
		Drift:    []wire.Drift{{Path: "/srv/" + secret, How: "mode of " + secret}},
		Warnings: []string{"ignored: " + secret},
		Error:    &wire.Error{Kind: wire.KindVerify, Message: "it said " + secret, Hint: "look at " + secret},
	}
	talks := fakeHost("talks", func(a *fakeAgent) {
		a.out.Write(wire.Event{Phase: "verify " + secret})
		a.out.Write(wire.Event{Waiting: "pid 1 has " + secret})
		a.report(everything)
	})
	unreached := &Host{Name: "unreached", Spec: &spec.Spec{}, Connect: func(context.Context) (Conn, error) {
		return nil, wire.NewError(wire.KindAuth, errors.New("refused for "+secret), "ask "+secret)
	}}
	for _, h := range []*Host{talks, unreached} {
		h.Mask = NewMask([]string{secret}, []string{"X"})
	}
	o, seen := options(), &told{}
	o.Observer = seen
	seen.note(Run(t.Context(), []*Host{talks, unreached}, o))
	text := seen.text.String()
	for _, bad := range []string{secret, "an older one"} {
		if strings.Contains(text, bad) {
			t.Errorf("%q in what was told:\n%s", bad, text)
		}
	}
	for _, want := range []string{`"status":"failed"`, `"kind":"verify_failed"`, "it said ********", "pid 1 has ********", "refused for ********"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in what was told:\n%s", want, text)
		}
	}
}
