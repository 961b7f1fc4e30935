package ansiblecfg

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"
)

// entry is a value of the file and the line of its key.
type entry struct {
	value string
	line  int
}

// iniFile is a parsed ansible.cfg: sections of entries. Keys are lower case.
type iniFile map[string]map[string]entry

// get finds an entry; those of [DEFAULT] are in every section that there is.
func (f iniFile) get(section, key string) (entry, bool) {
	of, ok := f[section]
	if !ok {
		return entry{}, false
	}
	if e, ok := of[key]; ok {
		return e, true
	}
	e, ok := f["DEFAULT"][key]
	return e, ok
}

var (
	sectionRE = regexp.MustCompile(`^\[(.+)\]`)
	entryRE   = regexp.MustCompile(`^(.*?)\s*[=:]\s*(.*)$`)
)

// parseINI reads the text as Python's configparser does for Ansible: # and ;
// begin comment lines, a ; behind a blank begins a comment, and lines that are
// indented deeper go on with the value above.
func parseINI(name string, text string) (iniFile, error) {
	p := &iniParser{name: name, file: iniFile{}}
	text = strings.TrimPrefix(text, "\ufeff")
	for line := range strings.Lines(text) {
		p.line++
		if err := p.read(strings.TrimRight(line, "\r\n")); err != nil {
			return nil, err
		}
	}
	p.end()
	return p.file, nil
}

type iniParser struct {
	name    string
	file    iniFile
	line    int
	indent  int
	section map[string]entry
	title   string
	key     string // of the value that is being read; "" for none
	at      int
	value   []string
}

func (p *iniParser) errorf(format string, args ...any) *Error {
	return &Error{File: p.name, Line: p.line, Msg: fmt.Sprintf(format, args...)}
}

// end puts the value away that was read so far.
func (p *iniParser) end() {
	if p.key != "" {
		p.section[p.key] = entry{strings.TrimRightFunc(strings.Join(p.value, "\n"), unicode.IsSpace), p.at}
	}
	p.key, p.value = "", nil
}

func (p *iniParser) read(line string) error {
	value, comment := withoutComment(line)
	if value == "" {
		if !comment && p.key != "" {
			p.value = append(p.value, "")
		}
		return nil
	}
	indent := len(line) - len(strings.TrimLeftFunc(line, unicode.IsSpace))
	if p.key != "" && indent > p.indent {
		p.value = append(p.value, value)
		return nil
	}
	p.indent = indent
	p.end()
	if m := sectionRE.FindStringSubmatch(value); m != nil {
		if p.title = m[1]; p.file[p.title] != nil && p.title != "DEFAULT" {
			return p.errorf("the section [%s] is there twice", p.title)
		}
		if p.file[p.title] == nil {
			p.file[p.title] = map[string]entry{}
		}
		p.section = p.file[p.title]
		return nil
	}
	if p.section == nil {
		return p.errorf("a line before the first [section]")
	}
	m := entryRE.FindStringSubmatch(value)
	if m == nil || m[1] == "" {
		return p.errorf("no [section] and no name = value")
	}
	key := strings.ToLower(m[1])
	if _, twice := p.section[key]; twice {
		return p.errorf("%s is in [%s] twice", key, p.title)
	}
	p.key, p.at, p.value = key, p.line, []string{strings.TrimSpace(m[2])}
	return nil
}

// withoutComment cuts a comment off, and says whether there was one.
func withoutComment(line string) (string, bool) {
	trimmed := strings.TrimSpace(line)
	if strings.HasPrefix(trimmed, "#") || strings.HasPrefix(trimmed, ";") {
		return "", true
	}
	for i := 1; i < len(line); i++ {
		if line[i] == ';' && (line[i-1] == ' ' || line[i-1] == '\t') {
			return strings.TrimSpace(line[:i]), true
		}
	}
	return trimmed, false
}
