package fleet

import (
	"fmt"
	"strings"

	"github.com/gofleet/gofleet/agent/wire"
)

// Budget is how many hosts may end badly before a run stops. What is nil is
// not bounded.
type Budget struct {
	Fail        *Share // failed, or do not meet a precondition
	Unreachable *Share // counted apart
	Fatal       bool   // the first of either kind stops the run
}

// Given reports whether anything is bounded.
func (b Budget) Given() bool { return b.Fail != nil || b.Unreachable != nil || b.Fatal }

// Spent counts hosts that ended badly.
type Spent struct {
	Failed      int
	Unreachable int
}

// broken says what of b more has been spent than it allows, among scope hosts;
// empty where nothing is.
func (b Budget) broken(s Spent, scope int) string {
	switch {
	case b.Fatal && s.Failed+s.Unreachable > 0:
		return fmt.Sprintf("%s did not end well, and --any-errors-fatal allows none", hostsOf(s.Failed+s.Unreachable, scope))
	case b.Fail != nil && !b.Fail.allows(s.Failed, scope):
		return fmt.Sprintf("%s failed, more than --max-fail %s allows", hostsOf(s.Failed, scope), b.Fail)
	case b.Unreachable != nil && !b.Unreachable.allows(s.Unreachable, scope):
		return fmt.Sprintf("%s were unreachable, more than --max-unreachable %s allows", hostsOf(s.Unreachable, scope), b.Unreachable)
	}
	return ""
}

// left says how much of b is left when s has been spent, among scope hosts.
func (b Budget) left(s Spent, scope int) string {
	var parts []string
	for _, l := range []struct {
		flag  string
		share *Share
		spent int
	}{{"max-fail", b.Fail, s.Failed}, {"max-unreachable", b.Unreachable, s.Unreachable}} {
		switch {
		case l.share == nil:
		case !l.share.allows(l.spent, scope):
			parts = append(parts, fmt.Sprintf("%s %s: broken by %d", l.flag, l.share, l.spent))
		default:
			most := l.share.most(scope)
			parts = append(parts, fmt.Sprintf("%s %s: %d of %d left", l.flag, l.share, most-l.spent, most))
		}
	}
	if b.Fatal {
		parts = append(parts, "any-errors-fatal")
	}
	return strings.Join(parts, ", ")
}

func hostsOf(n, all int) string {
	if all == 1 {
		return fmt.Sprintf("%d of 1 host", n)
	}
	return fmt.Sprintf("%d of %d hosts", n, all)
}

// account counts what is spent while hosts end. Who has one guards it.
type account struct {
	budget Budget
	scope  int
	spent  Spent
}

// enter counts a host's end, and says what is broken after it.
func (a *account) enter(s wire.Status) string {
	switch s {
	case wire.Failed, wire.Unmet:
		a.spent.Failed++
	case wire.Unreachable:
		a.spent.Unreachable++
	}
	return a.budget.broken(a.spent, a.scope)
}
