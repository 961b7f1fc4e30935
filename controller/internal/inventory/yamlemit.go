package inventory

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// yamlWidth is the column behind which PyYAML breaks a line at a blank.
const yamlWidth = 80

// yamlEmitter writes nodes as PyYAML does with libyaml, in block style, with 80 columns and
// Unicode.
type yamlEmitter struct {
	b       strings.Builder
	column  int
	seen    map[any]int // 1: met once, 2: more often
	anchors map[any]string
	written map[any]bool
}

// emitYAML writes a document.
func emitYAML(root *yamlNode) string {
	e := &yamlEmitter{seen: map[any]int{}, anchors: map[any]string{}, written: map[any]bool{}}
	e.count(root)
	e.node(root, -2, false, false)
	if e.column > 0 {
		e.newline(0)
	}
	return e.b.String()
}

// count finds what is written more than once, in the order in which PyYAML
// numbers its anchors.
func (e *yamlEmitter) count(n *yamlNode) {
	if n.same != nil {
		if e.seen[n.same]++; e.seen[n.same] > 1 {
			if e.seen[n.same] == 2 {
				e.anchors[n.same] = fmt.Sprintf("id%03d", len(e.anchors)+1)
			}
			return
		}
	}
	for i, item := range n.items {
		if n.kind == mapKind {
			e.count(n.keys[i])
		}
		e.count(item)
	}
}

func (e *yamlEmitter) write(s string) {
	e.b.WriteString(s)
	e.column += utf8.RuneCountInString(s)
}

func (e *yamlEmitter) newline(indent int) {
	e.b.WriteByte('\n')
	e.b.WriteString(strings.Repeat(" ", max(indent, 0)))
	e.column = max(indent, 0)
}

// word writes text behind a blank, unless a line begins here.
func (e *yamlEmitter) word(s string, fresh bool) {
	if !fresh && e.column > 0 {
		s = " " + s
	}
	e.write(s)
}

// node writes a node whose parent is indented so far. fresh says that what is
// before it on the line is only indentation and dashes.
func (e *yamlEmitter) node(n *yamlNode, indent int, inMap, fresh bool) {
	if anchor := e.anchors[n.same]; n.same != nil && anchor != "" {
		if e.written[n.same] {
			e.word("*"+anchor, fresh)
			return
		}
		e.written[n.same] = true
		e.word("&"+anchor, fresh)
		fresh = false
	}
	switch {
	case n.kind == scalarKind:
		e.scalar(n, indent+2, fresh)
	case len(n.items) == 0 && n.kind == mapKind:
		e.word("{}", fresh)
	case len(n.items) == 0:
		e.word("[]", fresh)
	case n.kind == mapKind:
		e.mapping(n, indent+2, fresh)
	default:
		if inMap {
			indent -= 2 // a sequence in a mapping is not indented
		}
		e.sequence(n, indent+2, fresh)
	}
}

func (e *yamlEmitter) mapping(n *yamlNode, indent int, fresh bool) {
	for i, key := range n.keys {
		if i > 0 || !fresh && e.b.Len() > 0 {
			e.newline(indent)
		}
		e.key(key, indent)
		e.write(":")
		e.node(n.items[i], indent, true, false)
	}
}

// key writes a key, which PyYAML keeps in one line if it is short.
func (e *yamlEmitter) key(key *yamlNode, indent int) {
	if len(key.text) > 128 || strings.ContainsAny(key.text, "\n\u0085\u2028\u2029") {
		e.write("?")
		e.scalar(key, indent+2, false)
		e.newline(indent)
		return
	}
	switch yamlStyle(key, true) {
	case 0:
		e.write(key.text)
	case '\'':
		e.write("'" + strings.ReplaceAll(key.text, "'", "''") + "'")
	default:
		e.write(yamlEscaped(key.text))
	}
}

func (e *yamlEmitter) sequence(n *yamlNode, indent int, fresh bool) {
	for i, item := range n.items {
		if i > 0 || !fresh {
			e.newline(indent)
		}
		e.write("-")
		if item.kind == scalarKind || len(item.items) == 0 || e.anchors[item.same] != "" && item.same != nil {
			e.node(item, indent, false, false)
			continue
		}
		e.write(" ")
		e.node(item, indent, false, true)
	}
}

func (e *yamlEmitter) scalar(n *yamlNode, indent int, fresh bool) {
	if n.vault {
		e.word("!vault |", fresh)
		for line := range strings.SplitSeq(strings.TrimSuffix(n.text, "\n"), "\n") {
			e.newline(indent)
			e.write(line)
		}
		return
	}
	switch yamlStyle(n, false) {
	case 0:
		if n.text != "" {
			e.word("", fresh)
		}
		e.folded([]rune(n.text), indent, false)
	case '\'':
		e.word("'", fresh)
		e.folded([]rune(n.text), indent, true)
		e.write("'")
	default:
		e.word("", fresh)
		e.doubleQuoted([]rune(n.text), indent)
	}
}

// yamlStyle chooses plain (0), ' or ".
func yamlStyle(n *yamlNode, isKey bool) byte {
	a := analyzeScalar([]rune(n.text))
	switch {
	case n.plain && a.plain && !(isKey && n.text == ""):
		return 0
	case a.single && !(isKey && a.lines):
		return '\''
	}
	return '"'
}

// scalarForm is how a text may be written.
type scalarForm struct{ plain, single, lines bool }

func isYAMLBreak(r rune) bool { return r == '\n' || r == '\u0085' || r == '\u2028' || r == '\u2029' }

func isYAMLBlank(r rune) bool {
	return r == 0 || r == ' ' || r == '\t' || r == '\r' || isYAMLBreak(r)
}

// isYAMLPrintable says whether libyaml, which writes YAML for PyYAML, leaves a
// character as it is.
func isYAMLPrintable(r rune) bool {
	return r == '\n' || r >= ' ' && r <= '~' || r >= 0xa0 && r <= 0xd7ff || r >= 0xe000 && r <= 0xfffd && r != 0xfeff
}

// analyzeScalar says how a text may be written in block context.
func analyzeScalar(s []rune) scalarForm {
	if len(s) == 0 {
		return scalarForm{plain: true, single: true}
	}
	f := scalarForm{plain: true, single: true}
	if text := string(s[:min(3, len(s))]); text == "---" || text == "..." {
		f.plain = false
	}
	for i, r := range s {
		before := i == 0 || isYAMLBlank(s[i-1])
		behind := i+1 == len(s) || isYAMLBlank(s[i+1])
		switch {
		case i == 0 && strings.ContainsRune("#,[]{}&*!|>'\"%@`", r), i == 0 && (r == '?' || r == '-') && behind,
			r == ':' && behind, r == '#' && before:
			f.plain = false
		}
		edge := i == 0 || i+1 == len(s)
		switch {
		case isYAMLBreak(r):
			f.lines, f.plain = true, false
			if i > 0 && s[i-1] == ' ' {
				f.single = false
			}
		case r == ' ' && edge:
			f.plain = false
		case !isYAMLPrintable(r):
			f.plain, f.single = false, false
		}
		if r == ' ' && i > 0 && isYAMLBreak(s[i-1]) {
			f.plain, f.single = false, false
		}
	}
	return f
}

// folded writes plain or single-quoted text. A line that has become too long
// is broken at a single blank; breaks in the text are doubled.
func (e *yamlEmitter) folded(s []rune, indent int, quoted bool) {
	for i := 0; i < len(s); {
		j := i
		switch {
		case s[i] == ' ':
			for j < len(s) && s[j] == ' ' {
				j++
			}
			inside := !quoted || i != 0 && j != len(s)
			if j == i+1 && e.column > yamlWidth && inside {
				e.newline(indent)
			} else {
				e.write(string(s[i:j]))
			}
		case isYAMLBreak(s[i]):
			if s[i] == '\n' {
				e.newline(0)
			}
			for ; j < len(s) && isYAMLBreak(s[j]); j++ {
				if s[j] == '\n' {
					e.newline(0)
				} else {
					e.b.WriteRune(s[j])
				}
			}
			e.b.WriteString(strings.Repeat(" ", indent))
			e.column = indent
		default:
			for j < len(s) && s[j] != ' ' && !isYAMLBreak(s[j]) {
				j++
			}
			text := string(s[i:j])
			if quoted {
				text = strings.ReplaceAll(text, "'", "''")
			}
			e.write(text)
		}
		i = j
	}
}

var yamlEscapes = map[rune]string{0: `\0`, '\a': `\a`, '\b': `\b`, '\t': `\t`, '\n': `\n`, '\v': `\v`, '\f': `\f`, '\r': `\r`,
	0x1b: `\e`, '"': `\"`, '\\': `\\`, 0x85: `\N`, 0xa0: `\_`, 0x2028: `\L`, 0x2029: `\P`}

// yamlEscape is a character between double quotes.
func yamlEscape(r rune) string {
	if r != '"' && r != '\\' && !isYAMLBreak(r) && isYAMLPrintable(r) {
		return string(r)
	}
	esc, ok := yamlEscapes[r]
	switch {
	case ok:
		return esc
	case r <= 0xff:
		return fmt.Sprintf(`\x%02X`, r)
	case r <= 0xffff:
		return fmt.Sprintf(`\u%04X`, r)
	}
	return fmt.Sprintf(`\U%08X`, r)
}

func yamlEscaped(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		b.WriteString(yamlEscape(r))
	}
	return b.String() + `"`
}

// doubleQuoted writes escaped text. A line that has become too long is broken
// at a blank; a backslash keeps the blanks that would begin the next one.
func (e *yamlEmitter) doubleQuoted(s []rune, indent int) {
	e.write(`"`)
	spaces := false
	for i, r := range s {
		if r == ' ' && !spaces && e.column > yamlWidth && i > 0 && i+1 < len(s) {
			e.newline(indent)
			if s[i+1] == ' ' {
				e.write(`\`)
			}
		} else {
			e.write(yamlEscape(r))
		}
		spaces = r == ' '
	}
	e.write(`"`)
}
