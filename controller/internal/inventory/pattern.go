package inventory

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// localNames are the names that mean this machine where no inventory has them.
var localNames = []string{"127.0.0.1", "localhost", "::1"}

// match gives the hosts that the pattern matches and the limit leaves.
func (inv *Inventory) match(pattern, limit string) ([]*Host, error) {
	if pattern == "" {
		pattern = "all"
	}
	m := matcher{inv: inv, terms: map[string][]*Host{}}
	hosts, err := m.evaluate(splitPattern(pattern))
	if err != nil || limit == "" {
		return unique(hosts), err
	}
	terms, err := inv.limitTerms(limit)
	if err != nil {
		return nil, err
	}
	left, err := m.evaluate(terms)
	if err != nil {
		return nil, err
	}
	stays := setOf(left)
	return unique(slices.DeleteFunc(hosts, func(h *Host) bool { return !stays[h] })), nil
}

// limitTerms splits a limit; @file stands for the lines of the file, each one
// term. A file that names nobody is an error, where Ansible would go on with
// every host, and so is a bracket without the other.
func (inv *Inventory) limitTerms(limit string) ([]string, error) {
	if !strings.Contains(limit, ",") && strings.ContainsAny(termRE.ReplaceAllString(limit, ""), "[]") {
		return nil, (&Error{Msg: fmt.Sprintf("the limit %s has a bracket without the other", limit)}).
			hint("write web[0], web[1:3] or web[1-3]*; Ansible drops the bracket, so that web[ is all of web, and ~[ every host")
	}
	var terms []string
	for _, t := range splitPattern(limit) {
		if t[0] != '@' {
			terms = append(terms, t)
			continue
		}
		name := t[1:]
		text, err := os.ReadFile((&reader{dir: inv.dir}).path(name))
		if err != nil {
			return nil, readError("--limit "+t, err).hint("--limit @FILE reads one host or pattern a line from FILE, and @RUN:failed, with an id of gofleet runs, hosts of that run")
		}
		before := len(terms)
		for line := range strings.SplitSeq(string(text), "\n") {
			if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
				terms = append(terms, line)
			}
		}
		if len(terms) == before {
			return nil, (&Error{File: name, Msg: "no host or pattern in this file", err: ErrNoHosts}).
				hint("write one a line; with an empty file Ansible would take every host")
		}
	}
	return terms, nil
}

var termRE = regexp.MustCompile(`(?:[^\s:\[\]]|\[[^\]]*\])+`)

// splitPattern splits a pattern into its terms: at commas if there is one,
// else at colons unless it is an address.
func splitPattern(s string) []string {
	var parts []string
	if strings.Contains(s, ",") {
		parts = strings.Split(s, ",")
	} else if _, _, ok := splitAddress(s, true); ok {
		parts = []string{s}
	} else {
		parts = termRE.FindAllString(s, -1)
	}
	var terms []string
	for _, p := range parts {
		if p = strings.TrimSpace(p); p != "" {
			terms = append(terms, p)
		}
	}
	return terms
}

// orderTerms puts plain terms first, then &, then !; without a plain term
// all is implied.
func orderTerms(terms []string) []string {
	var plain, and, not []string
	for _, t := range terms {
		switch {
		case t == "":
		case t[0] == '!':
			not = append(not, t)
		case t[0] == '&':
			and = append(and, t)
		default:
			plain = append(plain, t)
		}
	}
	if plain == nil {
		plain = []string{"all"}
	}
	return slices.Concat(plain, and, not)
}

// matcher evaluates patterns; a term that occurs again is not matched again.
type matcher struct {
	inv   *Inventory
	terms map[string][]*Host
}

func (m *matcher) evaluate(terms []string) ([]*Host, error) {
	var hosts []*Host
	for _, t := range orderTerms(terms) {
		if h, ok := m.inv.tree.hosts[t]; ok {
			hosts = append(hosts, h)
			continue
		}
		that, err := m.term(strings.TrimLeft(t[:1], "!&") + t[1:])
		if err != nil {
			return nil, err
		}
		set := setOf(that)
		switch t[0] {
		case '!':
			hosts = slices.DeleteFunc(hosts, func(h *Host) bool { return set[h] })
		case '&':
			hosts = slices.DeleteFunc(hosts, func(h *Host) bool { return !set[h] })
		default:
			had := setOf(hosts)
			for _, h := range that {
				if !had[h] {
					hosts = append(hosts, h)
				}
			}
		}
	}
	return hosts, nil
}

// term matches one term without its sign.
func (m *matcher) term(t string) ([]*Host, error) {
	if hosts, ok := m.terms[t]; ok {
		return hosts, nil
	}
	expr, sub, err := splitSubscript(t)
	if err != nil {
		return nil, err
	}
	hosts, err := m.enumerate(expr)
	if err != nil {
		return nil, err
	}
	if hosts, err = sub.apply(hosts, t); err != nil {
		return nil, err
	}
	m.terms[t] = hosts
	return hosts, nil
}

// enumerate gives the hosts of the groups that match and, where no group does
// or the term is more than a plain word, the hosts that match.
func (m *matcher) enumerate(expr string) ([]*Host, error) {
	tree := m.inv.tree
	matches, err := compileTerm(expr)
	if err != nil {
		return nil, err
	}
	var hosts []*Host
	inGroup := false
	for _, g := range tree.groupOrder {
		if matches(g.name) {
			inGroup = true
			hosts = append(hosts, g.members()...)
		}
	}
	if !inGroup || strings.ContainsAny(expr, ".?*[") || strings.HasPrefix(expr, "~") {
		for _, h := range tree.hostOrder {
			if matches(h.Name) {
				hosts = append(hosts, h)
			}
		}
	}
	if len(hosts) == 0 && slices.Contains(localNames, expr) {
		hosts = append(hosts, m.inv.localhost(expr))
	}
	if len(hosts) == 0 && !inGroup && expr != "all" {
		m.inv.warnAt(Position{}, "no host or group matches the pattern %s", expr)
	}
	return hosts, nil
}

// compileTerm makes the test of a name that a term stands for.
func compileTerm(expr string) (func(string) bool, error) {
	if rest, ok := strings.CutPrefix(expr, "~"); ok {
		re, err := regexp.Compile(`^(?:` + rest + `)`)
		if err != nil {
			return nil, (&Error{Msg: fmt.Sprintf("the pattern %s: %v", expr, err)}).
				hint("after ~ comes a regular expression; look-around and back references are not supported")
		}
		return re.MatchString, nil
	}
	if expr == "" {
		return nil, (&Error{Msg: "a pattern is empty behind its ! or &"}).hint("name a group or host there: 'web:!web3'")
	}
	if !strings.ContainsAny(expr, "*?[") {
		return func(name string) bool { return name == expr }, nil
	}
	g := parseGlob(expr)
	return g.match, nil
}

var subscriptRE = regexp.MustCompile(`^(.+)\[(?:(-?[0-9]+)|([0-9]+)([:-])([0-9]*))\]$`)

// subscript is [n] or [from:to] behind a term.
type subscript struct {
	set      bool
	one      bool
	from, to int // to is -1 for the end
}

func splitSubscript(t string) (string, subscript, error) {
	m := subscriptRE.FindStringSubmatch(t)
	if m == nil || t[0] == '~' {
		return t, subscript{}, nil
	}
	s := subscript{set: true, one: m[2] != "", to: -1}
	var errs [3]error
	if s.one {
		s.from, errs[0] = strconv.Atoi(m[2])
	} else {
		s.from, errs[1] = strconv.Atoi(m[3])
		if m[5] != "" {
			s.to, errs[2] = strconv.Atoi(m[5])
		}
	}
	if errors.Join(errs[:]...) != nil {
		return "", s, &Error{Msg: fmt.Sprintf("the number in the pattern %s is too large", t)}
	}
	return m[1], s, nil
}

// apply picks hosts by place, as Python's lists do; to is included. [n:0] is
// [n], which is how Ansible reads it.
func (s subscript) apply(hosts []*Host, t string) ([]*Host, error) {
	if !s.set || len(hosts) == 0 {
		return hosts, nil
	}
	if s.one || s.to == 0 {
		i := s.from
		if i < 0 {
			i += len(hosts)
		}
		if i < 0 || i >= len(hosts) {
			return nil, (&Error{Msg: fmt.Sprintf("no hosts matched the subscripted pattern %s", t), err: ErrNoHosts}).
				hint("it has %d hosts to count from 0", len(hosts))
		}
		return hosts[i : i+1], nil
	}
	to := s.to + 1
	if s.to == -1 || to > len(hosts) {
		to = len(hosts)
	}
	return hosts[min(s.from, to):to], nil
}

// find gives a host by its name, also the implicit localhost.
func (inv *Inventory) find(name string) *Host {
	if h, ok := inv.tree.hosts[name]; ok {
		return h
	}
	if slices.Contains(localNames, name) {
		return inv.localhost(name)
	}
	return nil
}

// localhost is this machine: the first of its names that the inventory has,
// or else a host that is in no group, not even all, but has all's variables.
func (inv *Inventory) localhost(name string) *Host {
	for _, h := range inv.tree.hostOrder {
		if slices.Contains(localNames, h.Name) {
			return h
		}
	}
	if inv.local == nil {
		p := Position{File: "implicit localhost"}
		inv.local = &Host{Name: name, at: p, lineage: &lineage{}}
		inv.local.set("ansible_connection", variable{val: stringValue(&document{name: p.File}, "local")})
	}
	return inv.local
}

func setOf(hosts []*Host) map[*Host]bool {
	set := make(map[*Host]bool, len(hosts))
	for _, h := range hosts {
		set[h] = true
	}
	return set
}

// unique keeps the first of each host.
func unique(hosts []*Host) []*Host {
	seen := make(map[*Host]bool, len(hosts))
	return slices.DeleteFunc(slices.Clone(hosts), func(h *Host) bool {
		was := seen[h]
		seen[h] = true
		return was
	})
}
