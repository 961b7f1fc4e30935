package inventory

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"
)

// readINI reads an INI inventory: [group] sections of hosts with variables
// behind them, [group:vars] and [group:children].
func (r *reader) readINI(src *source) error {
	lines, err := iniLines(src)
	if err != nil {
		return err
	}
	p := iniSource{reader: r, src: src, section: "ungrouped", state: "hosts", pending: map[string]*pendingGroup{}}
	for _, line := range lines {
		p.line++
		if err := p.readLine(strings.TrimFunc(line, isPythonSpace)); err != nil {
			return err
		}
	}
	return p.undefined()
}

// iniLines splits the file as Python's splitlines does, so that lines count
// alike. What is not UTF-8 is allowed in comments only.
func iniLines(src *source) ([]string, error) {
	text := string(bytes.TrimPrefix(src.text, []byte("\xef\xbb\xbf")))
	if len(text) < len(src.text) {
		return nil, at(src.doc.at(1), "the file begins with a byte order mark").hint("save it as UTF-8 without one")
	}
	if strings.IndexByte(text, 0) >= 0 {
		return nil, at(src.doc.at(0), "not a text file")
	}
	var lines []string
	for text != "" {
		n, size := pythonLine(text)
		line := text[:n]
		text = text[n+size:]
		if !utf8.ValidString(line) {
			if t := strings.TrimSpace(line); t[0] != '#' && t[0] != ';' {
				return nil, at(src.doc.at(len(lines)+1), "not UTF-8").hint("save the file as UTF-8")
			}
			line = ""
		}
		lines = append(lines, line)
	}
	return lines, nil
}

// pythonLine is the length of the first line and of what ends it.
func pythonLine(s string) (n, size int) {
	for i, r := range s {
		switch r {
		case '\n', '\v', '\f', '\x1c', '\x1d', '\x1e':
			return i, 1
		case '\r':
			if strings.HasPrefix(s[i:], "\r\n") {
				return i, 2
			}
			return i, 1
		case '\u0085':
			return i, 2
		case '\u2028', '\u2029':
			return i, 3
		}
	}
	return len(s), 0
}

// isPythonSpace is str.isspace.
func isPythonSpace(r rune) bool {
	return r >= '\x1c' && r <= '\x1f' || strings.ContainsRune("\t\n\v\f\r \u0085\u00a0\u1680\u2028\u2029\u202f\u205f\u3000", r) ||
		r >= '\u2000' && r <= '\u200a'
}

// iniSource reads one INI source into the tree.
type iniSource struct {
	*reader
	src     *source
	line    int
	section string // the group that lines are for
	state   string // hosts, children or vars: what lines are
	pending map[string]*pendingGroup
	order   []string // of pending, as they came
}

// pendingGroup is a group that was used and is not declared yet.
type pendingGroup struct {
	line    int
	state   string
	parents []string
}

func (p *iniSource) pos() Position { return p.src.doc.at(p.line) }

func (p *iniSource) errorf(format string, args ...any) *Error {
	return at(p.pos(), format, args...)
}

const iniBlank = "[\t\n\v\f\r \x1c-\x1f\u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]"

var (
	iniNotBlank  = strings.Replace(iniBlank, "[", `[^:\]`, 1)
	iniSectionRE = regexp.MustCompile(`^\[(` + iniNotBlank + `+)(?::([\p{L}\p{N}_]+))?\]` + iniBlank + `*(?:#.*)?$`)
	iniGroupRE   = regexp.MustCompile(`^(` + iniNotBlank + `+)` + iniBlank + `*(?:#.*)?$`)
)

func (p *iniSource) readLine(line string) error {
	if line == "" || line[0] == '#' || line[0] == ';' {
		return nil
	}
	if m := iniSectionRE.FindStringSubmatch(line); m != nil {
		return p.header(m[1], m[2])
	}
	if line[0] == '[' && strings.HasSuffix(line, "]") {
		return p.errorf("%s is no section", line).
			hint("write [group], [group:children] or [group:vars], with no spaces in it")
	}
	switch p.state {
	case "vars":
		return p.variable(line)
	case "children":
		return p.child(line)
	}
	return p.hosts(line)
}

// header begins a section. A group is declared by [group] or
// [group:children]; [group:vars] needs one of the two somewhere.
func (p *iniSource) header(name, state string) error {
	name = p.tree.safeName(name)
	if state == "" {
		state = "hosts"
	}
	if state != "hosts" && state != "children" && state != "vars" {
		return p.errorf("the section [%s:%s] has an unknown type", name, state).
			hint("only :hosts, :children or :vars may follow the name of a group")
	}
	p.section, p.state = name, state
	if _, known := p.tree.groups[name]; !known {
		if state == "vars" && p.pending[name] == nil {
			p.wait(name, &pendingGroup{line: p.line, state: state})
		}
		p.tree.addGroup(name, p.pos())
	}
	if w := p.pending[name]; w != nil && state != "vars" {
		delete(p.pending, name)
		for _, parent := range w.parents {
			if err := p.tree.addChild(p.tree.groups[parent], p.tree.groups[name], p.src.doc.at(w.line)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *iniSource) wait(name string, w *pendingGroup) {
	p.pending[name] = w
	p.order = append(p.order, name)
}

// child reads a line of a :children section.
func (p *iniSource) child(line string) error {
	m := iniGroupRE.FindStringSubmatch(line)
	if m == nil {
		return p.errorf("%q is no name of a group, which is all that [%s:children] holds", line, p.section).
			hint("put hosts into [%s] and variables into [%s:vars]", p.section, p.section)
	}
	if g, ok := p.tree.groups[m[1]]; ok {
		return p.tree.addChild(p.tree.groups[p.section], g, p.pos())
	}
	if w := p.pending[m[1]]; w != nil {
		w.parents = append(w.parents, p.section)
		return nil
	}
	p.wait(m[1], &pendingGroup{line: p.line, state: "children", parents: []string{p.section}})
	return nil
}

// undefined is the error for the first group that nothing declared.
func (p *iniSource) undefined() error {
	for _, name := range p.order {
		w, ok := p.pending[name]
		if !ok {
			continue
		}
		where := p.src.doc.at(w.line)
		if w.state == "vars" {
			return at(where, "[%s:vars] is for a group that is not there", name).
				hint("declare it with [%s], or with [%s:children]", name, name)
		}
		e := at(where, "%s, a child of %s, is no group", name, w.parents[len(w.parents)-1])
		if _, host := p.tree.hosts[name]; host {
			return e.hint("%s is a host: put it into [%s], without :children", name, w.parents[len(w.parents)-1])
		}
		return e.hint("declare it with [%s]", name)
	}
	return nil
}

// variable reads a line of a :vars section. What stands behind the = is one
// value, without a word of the shell in it.
func (p *iniSource) variable(line string) error {
	key, text, ok := strings.Cut(line, "=")
	if !ok {
		return p.errorf("%q in [%s:vars] is no name=value", line, p.section).
			hint("write name=value, or name= for an empty one")
	}
	v, err := literalValue(p.src.doc, p.line, strings.TrimFunc(text, isPythonSpace))
	if err != nil {
		return err
	}
	p.tree.setVar(p.section, strings.TrimFunc(key, isPythonSpace), variable{val: v, line: p.line})
	return nil
}

// hosts reads a line that names a host or a range of them, with variables.
func (p *iniSource) hosts(line string) error {
	words, err := shlexSplit(line)
	if err != nil {
		return p.errorf("the line of a host can't be split into words: %v", err).
			hint(`put a value with a quote or backslash in it into the other kind of quotes, or into [%s:vars]`, p.section)
	}
	if len(words) == 0 {
		return nil
	}
	hosts, port, err := p.hostNames(words[0])
	if err != nil {
		return err
	}
	names := make([]string, 0, len(words)-1)
	vars := make([]variable, 0, len(words)-1)
	for _, w := range words[1:] {
		key, text, ok := strings.Cut(w, "=")
		if !ok {
			return p.errorf("%q behind the host %s is no name=value", w, words[0]).
				hint(`write no blanks around the =, and quotes around a value that has some: name="two words"`)
		}
		v, err := literalValue(p.src.doc, p.line, text)
		if err != nil {
			return err
		}
		names, vars = append(names, key), append(vars, variable{val: v, line: p.line})
	}
	g := p.tree.groups[p.section]
	for _, host := range hosts {
		p.tree.addHost(host, g, port, p.src, p.line)
		for i, name := range names {
			p.tree.setVar(host, name, vars[i])
		}
	}
	return nil
}

// hostNames gives the hosts that the first word of a line stands for.
func (p *iniSource) hostNames(word string) ([]string, string, error) {
	hosts, port, err := expandHosts(word)
	switch {
	case err != nil && word[0] == '[':
		return nil, "", p.errorf("host %s: %v", word, err).hint("a section stands alone on its line, as in [web]")
	case err != nil:
		return nil, "", p.errorf("host %s: %v", word, err)
	case strings.HasSuffix(strings.TrimFunc(word, isPythonSpace), ":") && port == "":
		return nil, "", p.errorf("the host %s ends in a colon, behind which a port is missing", word).
			hint("if this is YAML, let the file's name end in .yaml")
	}
	for _, h := range hosts {
		switch strings.TrimFunc(h, isPythonSpace) {
		case "---":
			return nil, "", p.errorf("--- begins a YAML document").hint("if this is YAML, let the file's name end in .yaml")
		case "":
			if h == "" {
				return nil, "", p.errorf("a host of the group %s has an empty name", p.section)
			}
		}
	}
	return hosts, port, nil
}

// safeName is the name that a group gets: with what variable names can't have
// replaced, if the settings ask for it.
func (t *tree) safeName(name string) string {
	if !t.safeNames || isIdentifier(name) {
		return name
	}
	var b strings.Builder
	for i, r := range name {
		if i == 0 && r >= '0' && r <= '9' || !isIdentifier(fmt.Sprintf("a%c", r)) {
			r = '_'
		}
		b.WriteRune(r)
	}
	return b.String()
}
