package report

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"

	"github.com/gofleet/gofleet/agent/wire"
	"github.com/gofleet/gofleet/controller/internal/fleet"
)

// group are hosts that are shown once, because the same is to be said of them.
type group struct {
	results []*fleet.Result
}

func (g *group) first() *fleet.Result { return g.results[0] }

func (g *group) hosts() []string {
	names := make([]string, len(g.results))
	for i, res := range g.results {
		names[i] = oneLine(res.Host)
	}
	return names
}

// groupBy groups results of equal keys, in the order of first appearance.
func groupBy(results []*fleet.Result, key func(*fleet.Result) string) []*group {
	groups := map[string]*group{}
	var order []*group
	for _, res := range results {
		k := key(res)
		g := groups[k]
		if g == nil {
			g = &group{}
			groups[k] = g
			order = append(order, g)
		}
		g.results = append(g.results, res)
	}
	return order
}

// sameness is what decides whether two hosts of one status are shown as one:
// everything that is shown of them, less what differs from host to host by
// nature (actual values, addresses, their own names).
type sameness struct {
	Go      wire.GoChange
	Actions []wire.ActionResult
	Drift   []wire.Drift
	Kind    wire.Kind
	Message string
	Hint    string
	Checks  [][2]string // name and wanted of what failed
}

func (t *text) sameness(res *fleet.Result) string {
	var s sameness
	if !bad(res.Status) || res.Status == wire.Drifted {
		s.Go = res.Go
	}
	if t.showsActions(res) {
		s.Actions = changes(res)
	}
	s.Drift = res.Drift
	if res.Error != nil {
		s.Kind = res.Error.Kind
		s.Message, s.Hint = general(res.Host, res.Error.Message, res.Error.Hint)
	}
	if failed := checksOf(res, wire.Fail); len(failed) > 0 {
		for _, c := range failed {
			s.Checks = append(s.Checks, [2]string{c.Name, c.Wanted})
		}
		if s.Kind == wire.KindUnmet {
			s.Message, s.Hint = "", ""
		}
	}
	b, err := json.Marshal(s)
	if err != nil {
		return res.Host // cannot be: strings only
	}
	return string(b)
}

// changes are the actions that changed something or would.
func changes(res *fleet.Result) []wire.ActionResult {
	return slices.DeleteFunc(slices.Clone(res.Actions), func(a wire.ActionResult) bool { return !a.Changed })
}

func checksOf(res *fleet.Result, status wire.CheckStatus) []wire.Check {
	return slices.DeleteFunc(slices.Clone(res.Checks), func(c wire.Check) bool { return c.Status != status })
}

// What an error says of one host only: addresses, the name that it was
// reached by, fingerprints, the line in known_hosts that has one.
var (
	address     = regexp.MustCompile(`\b\d{1,3}(?:\.\d{1,3}){3}(?::\d{1,5})?\b|\[[0-9a-fA-F:.]*:[0-9a-fA-F:.]*(?:%[\w.-]+)?\](?::\d{1,5})?`)
	reached     = regexp.MustCompile(`\b(?:connect to|log in to|look up|host key of|host certificate of) ([\w-][\w.-]*)`)
	fingerprint = regexp.MustCompile(`\bSHA256:[A-Za-z0-9+/]{43}`)
	knownLine   = regexp.MustCompile(`:\d+ has (\S+ FINGERPRINT)`)
)

// general is an error's message and hint without what only this host has in
// it.
func general(host string, message, hint string) (string, string) {
	name := ""
	if m := reached.FindStringSubmatch(message); m != nil && m[1] != host {
		name = strings.TrimRight(m[1], ".-")
	}
	replace := func(s string) string {
		s = replaceWord(s, host, "HOST")
		s = address.ReplaceAllString(s, "ADDRESS")
		s = replaceWord(s, name, "ADDRESS")
		s = fingerprint.ReplaceAllString(s, "FINGERPRINT")
		return knownLine.ReplaceAllString(s, ":LINE has $1")
	}
	return replace(message), replace(hint)
}

// replaceWord replaces old where it is not a part of a longer name.
func replaceWord(s, old, new string) string {
	if old == "" {
		return s
	}
	inName := func(c byte) bool {
		return isDigit(c) || 'a' <= c|0x20 && c|0x20 <= 'z' || strings.IndexByte("._-", c) >= 0
	}
	var b strings.Builder
	for {
		i := strings.Index(s, old)
		if i < 0 {
			b.WriteString(s)
			return b.String()
		}
		end := i + len(old)
		// A point or a dash ends a name when nothing of a name follows it.
		whole := (i == 0 || !inName(s[i-1])) &&
			(end == len(s) || !inName(s[end]) || strings.IndexByte("._-", s[end]) >= 0 && (end+1 == len(s) || !inName(s[end+1])))
		b.WriteString(s[:i])
		if whole {
			b.WriteString(new)
		} else {
			b.WriteString(old)
		}
		s = s[end:]
	}
}
