package netrc

import (
	"strings"
	"testing"

	"github.com/gofleet/gofleet/agent/internal/record"
	"github.com/gofleet/gofleet/agent/spec"
)

var (
	proxy   = spec.NetrcEntry{Machine: "proxy.corp", Login: "ci", Password: "one"}
	rotated = spec.NetrcEntry{Machine: "proxy.corp", Login: "ci", Password: "two"}
	git     = spec.NetrcEntry{Machine: "git.corp", Login: "bot", Password: "three"}
)

func noted(entries ...spec.NetrcEntry) []record.NetrcLine {
	var lines []record.NetrcLine
	for _, e := range entries {
		lines = append(lines, lineOf(e))
	}
	return lines
}

func TestMerge(t *testing.T) {
	const theirs = "# machine proxy.corp, for me\nmachine other.corp\n\tlogin me\n\tpassword mine\ndefault login x password y"
	announced := noted(proxy)
	announced[0].Doing = true
	for name, c := range map[string]struct {
		content string
		noted   []record.NetrcLine
		want    []spec.NetrcEntry
		result  string
		owned   int
		lost    bool
		warned  string
	}{
		"new file":                 {want: []spec.NetrcEntry{proxy, git}, result: proxy.Line() + "\n" + git.Line() + "\n", owned: 2},
		"in front of others'":      {content: "machine other.corp login a password b", want: []spec.NetrcEntry{proxy}, result: proxy.Line() + "\nmachine other.corp login a password b", owned: 1},
		"others' stay":             {content: theirs, want: []spec.NetrcEntry{git}, result: git.Line() + "\n" + theirs, owned: 1},
		"nothing to do":            {content: proxy.Line() + "\n" + theirs, noted: noted(proxy), want: []spec.NetrcEntry{proxy}, result: proxy.Line() + "\n" + theirs, owned: 1},
		"others above do no harm":  {content: "machine a.corp login a password b\n" + proxy.Line() + "\n", noted: noted(proxy), want: []spec.NetrcEntry{proxy}, result: "machine a.corp login a password b\n" + proxy.Line() + "\n", owned: 1},
		"a default above does":     {content: "default login a password b\n" + proxy.Line() + "\n", noted: noted(proxy), want: []spec.NetrcEntry{proxy}, result: proxy.Line() + "\ndefault login a password b\n", owned: 1, lost: true},
		"so does the same machine": {content: "machine proxy.corp login a password b\n" + proxy.Line() + "\n", noted: noted(proxy), want: []spec.NetrcEntry{proxy}, result: proxy.Line() + "\nmachine proxy.corp login a password b\n", owned: 1, lost: true, warned: "proxy.corp"},
		"rotated":                  {content: proxy.Line() + "\n", noted: noted(proxy), want: []spec.NetrcEntry{rotated}, result: rotated.Line() + "\n", owned: 1},
		"altered":                  {content: rotated.Line() + "\n", noted: noted(proxy), want: []spec.NetrcEntry{proxy}, result: proxy.Line() + "\n", owned: 1, lost: true},
		"gone":                     {content: "", noted: noted(proxy), want: []spec.NetrcEntry{proxy}, result: proxy.Line() + "\n", owned: 1, lost: true},
		"dropped":                  {content: proxy.Line() + "\n" + theirs, noted: noted(proxy), result: theirs},
		"dropped and alone":        {content: proxy.Line() + "\n", noted: noted(proxy)},
		"theirs already":           {content: proxy.Line() + "\n", want: []spec.NetrcEntry{proxy}, result: proxy.Line() + "\n"},
		"theirs is not dropped":    {content: proxy.Line() + "\n", noted: noted(git), result: proxy.Line() + "\n"},
		"a run was cut before":     {noted: announced, want: []spec.NetrcEntry{proxy}, result: proxy.Line() + "\n", owned: 1},
		"a run was cut behind":     {content: proxy.Line() + "\n", noted: announced, want: []spec.NetrcEntry{proxy}, result: proxy.Line() + "\n", owned: 1},
		"a macro swallows nothing": {content: "macdef init\nmachine proxy.corp login ci password one\n", want: []spec.NetrcEntry{proxy}, result: proxy.Line() + "\nmacdef init\n", owned: 1},
	} {
		m := merge(c.content, c.noted, c.want)
		if m.content != c.result || len(m.owned) != c.owned || m.lost != c.lost || strings.Join(m.shadowed, " ") != c.warned {
			t.Errorf("%s: got %q, owned %v, lost %v, shadowed %q", name, m.content, m.owned, m.lost, m.shadowed)
		}
		for _, secret := range []string{"one", "two", "three", "mine"} {
			if strings.Contains(m.diff(), "password "+secret) {
				t.Errorf("%s: the diff has a password: %s", name, m.diff())
			}
		}
		again := merge(m.content, m.owned, c.want)
		if again.content != m.content || again.lost || len(again.changes) > 0 {
			t.Errorf("%s: a second run changes %q to %q", name, m.content, again.content)
		}
	}
}
