package serve

import (
	"errors"
	"fmt"
	"strings"

	"github.com/gofleet/gofleet/agent/policy"
	"github.com/gofleet/gofleet/agent/spec"
	"github.com/gofleet/gofleet/agent/wire"
)

// moduleResult is what an Ansible module returns. It never has the arguments
// in it.
type moduleResult struct {
	Changed  bool           `json:"changed"`
	Failed   bool           `json:"failed,omitempty"`
	Msg      string         `json:"msg,omitempty"`
	Hint     string         `json:"hint,omitempty"`
	Kind     wire.Kind      `json:"kind,omitempty"`
	Errors   []string       `json:"errors,omitempty"` // of the variables, each with its way out
	Unmet    []string       `json:"unmet,omitzero"`   // preconditions, each with its way out
	Status   wire.Status    `json:"status,omitempty"`
	Go       *wire.GoChange `json:"go,omitempty"`
	Actions  []string       `json:"actions,omitzero"`
	Drift    []string       `json:"drift,omitzero"`
	Checks   []wire.Check   `json:"checks,omitzero"`
	Diff     []moduleDiff   `json:"diff,omitempty"`
	Warnings []string       `json:"warnings,omitempty"`
	Met      *bool          `json:"met,omitempty"`          // info: no precondition fails
	Would    *bool          `json:"would_change,omitempty"` // info: what the module would return as changed
	Question *question      `json:"_gofleet,omitempty"`
}

// moduleDiff is one that Ansible shows as it is.
type moduleDiff struct {
	Prepared string `json:"prepared"`
}

// badArguments is the result of a task whose arguments are wrong. That is no
// trouble of the host's, and of no kind.
func badArguments(err error) *moduleResult {
	r := refusal(err)
	if r.Kind == wire.KindHost {
		r.Kind = ""
	}
	return r
}

// refusal is the result of a task that could not begin.
func refusal(err error) *moduleResult {
	r := &moduleResult{Failed: true, Msg: err.Error()}
	var many spec.Errors
	if errors.As(err, &many) {
		for _, e := range many {
			r.Errors = append(r.Errors, withHint(e.Error(), e.Hint))
		}
		shown := r.Errors[:min(len(r.Errors), 3)]
		if r.Msg = strings.ReplaceAll(strings.Join(shown, ". "), "?. ", "? "); len(shown) < len(r.Errors) {
			r.Msg += fmt.Sprintf(". And %d more, see errors", len(r.Errors)-len(shown))
		}
		return r
	}
	e := wire.AsError(err, wire.KindHost)
	r.Kind, r.Hint = e.Kind, e.Hint
	r.Msg = withHint(r.Msg, r.Hint)
	return r
}

func newModuleResult(o *order, report *wire.Report) *moduleResult {
	r := &moduleResult{
		Changed: report.Changed, Status: report.Status, Go: &report.Go,
		Actions: []string{}, Drift: []string{}, Checks: []wire.Check{}, Warnings: report.Warnings,
	}
	r.Drift = append(r.Drift, wire.Paths(report.Drift)...)
	r.Checks = append(r.Checks, report.Checks...)
	for _, a := range report.Actions {
		r.Actions = append(r.Actions, a.Name)
		if a.Diff != "" {
			r.Diff = append(r.Diff, moduleDiff{Prepared: a.Diff})
		}
	}
	for _, c := range report.Checks {
		if c.Status == wire.Fail {
			r.Unmet = append(r.Unmet, withHint(checkText(c), c.Hint))
		}
	}
	r.Msg = summary(o, report)
	if o.info {
		if r.Unmet == nil {
			r.Unmet = []string{}
		}
		met, would := len(r.Unmet) == 0, report.Changed
		r.Met, r.Would, r.Changed = &met, &would, false
	}
	if e := report.Error; e != nil && e.Kind == wire.KindNotInstalled && o.action == wire.Remove {
		r.Status, r.Msg = wire.OK, e.Message // absent it is
	} else if e != nil && !(o.info && e.Kind == wire.KindUnmet) {
		r.Failed, r.Kind, r.Hint = true, e.Kind, e.Hint
		r.Msg = withHint(e.Message, e.Hint)
		if e.Kind == wire.KindUnmet {
			r.Msg = unmetText(report.Checks) + "; nothing was changed"
		}
	}
	return r
}

// checkText is a check that fails, in words.
func checkText(c wire.Check) string {
	return fmt.Sprintf("%s is %s, wanted %s", c.Name, c.Actual, c.Wanted)
}

// unmetText is one line about all checks that fail.
func unmetText(checks []wire.Check) string {
	var all []string
	for _, c := range checks {
		if c.Status == wire.Fail {
			all = append(all, checkText(c))
		}
	}
	return "preconditions not met: " + strings.Join(all, "; ")
}

// summary is what was done, or would be, in one line.
func summary(o *order, r *wire.Report) string {
	var b strings.Builder
	would := o.check || o.info
	switch before, after := r.Go.Before, r.Go.After; {
	case after == "" && before == "":
		b.WriteString("no Go is installed by gofleet")
	case before == after:
		fmt.Fprintf(&b, "go%s", after)
	case before == "" && would:
		b.WriteString("no Go is installed by gofleet")
	case would:
		fmt.Fprintf(&b, "go%s", before)
	case after == "":
		fmt.Fprintf(&b, "go%s is removed", before)
	case before == "":
		fmt.Fprintf(&b, "go%s (there was none)", after)
	default:
		fmt.Fprintf(&b, "go%s (was go%s)", after, before)
	}
	names := make([]string, len(r.Actions))
	for i, a := range r.Actions {
		names[i] = a.Name
	}
	switch {
	case o.info && !policy.Met(r.Checks):
		b.WriteString("; " + unmetText(r.Checks))
	case len(names) == 0:
		b.WriteString(": nothing to do")
	case would:
		b.WriteString(", would: " + strings.Join(names, "; "))
	default:
		b.WriteString(": " + strings.Join(names, "; "))
	}
	if len(r.Drift) > 0 {
		b.WriteString("; drift: " + strings.Join(wire.Paths(r.Drift), ", "))
	}
	return b.String()
}

func withHint(message, hint string) string {
	if hint == "" {
		return message
	}
	return message + "; " + hint
}
