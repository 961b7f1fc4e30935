package fleet

import (
	"encoding/json"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/gofleet/gofleet/agent/wire"
)

const (
	// masked stands where a secret stood.
	masked = "********"
	// minSecret is the length in bytes from which a secret is looked for in
	// all texts. "1" or "on" would blot out half of every output; shorter ones
	// are only hidden where a variable is given them.
	minSecret = 4
)

// Mask hides secrets in what a host's run brings: its agent's report, and the
// errors of reaching it. A nil Mask hides nothing.
type Mask struct {
	forms  []string        // the secrets, as they are and as programs quote them
	hidden map[string]bool // environment variables whose values are secret
}

// NewMask hides texts, and in diffs the values of the environment variables
// named hidden. The values that a diff takes away are hidden for all of them:
// nobody knows any more which were secrets. A nil hidden says that variables
// never were.
func NewMask(texts, hidden []string) *Mask {
	m := &Mask{}
	if hidden != nil {
		m.hidden = map[string]bool{}
	}
	for _, name := range hidden {
		m.hidden[name] = true
	}
	for _, text := range texts {
		for _, form := range formsOf(text) {
			if len(form) >= minSecret && !slices.Contains(m.forms, form) {
				m.forms = append(m.forms, form)
			}
		}
	}
	return m
}

// formsOf are the ways in which a text is met: each of its lines, quoted for a
// shell, for Go, for JSON and for a URL, and the password of a URL.
func formsOf(text string) []string {
	var forms []string
	for line := range strings.SplitSeq(text, "\n") {
		line = strings.TrimSpace(line)
		quoted := strconv.Quote(line)
		forms = append(forms, line, strings.ReplaceAll(line, "'", `'\''`), quoted[1:len(quoted)-1], url.QueryEscape(line), url.PathEscape(line))
		if j, err := json.Marshal(line); err == nil {
			forms = append(forms, string(j[1:len(j)-1]))
		}
		if u, err := url.Parse(line); err == nil && u.User != nil {
			password, _ := u.User.Password()
			_, escaped, _ := strings.Cut(u.User.String(), ":")
			forms = append(forms, password, escaped)
		}
	}
	return forms
}

// Text is s without secrets.
func (m *Mask) Text(s string) string {
	if m == nil || s == "" {
		return s
	}
	var spans [][2]int
	for _, form := range m.forms {
		for at := 0; ; {
			i := strings.Index(s[at:], form)
			if i < 0 {
				break
			}
			spans = append(spans, [2]int{at + i, at + i + len(form)})
			at += i + 1
		}
		spans = append(spans, torn(s, form)...)
	}
	return cover(s, spans)
}

// cuts are what agents put where they cut a text.
var cuts = []string{"…", "..."}

// torn finds the beginning of a form before a cut, and its end behind one.
func torn(s, form string) [][2]int {
	var spans [][2]int
	for _, cut := range cuts {
		for at := 0; ; {
			i := strings.Index(s[at:], cut)
			if i < 0 {
				break
			}
			before, behind := at+i, at+i+len(cut)
			at = behind
			for n := len(form) - 1; n >= minSecret; n-- {
				if strings.HasSuffix(s[:before], form[:n]) {
					spans = append(spans, [2]int{before - n, before})
					break
				}
			}
			for n := len(form) - 1; n >= minSecret; n-- {
				if strings.HasPrefix(s[behind:], form[len(form)-n:]) {
					spans = append(spans, [2]int{behind, behind + n})
					break
				}
			}
		}
	}
	return spans
}

// cover puts the mask over spans of s, once over those that touch.
func cover(s string, spans [][2]int) string {
	if len(spans) == 0 {
		return s
	}
	slices.SortFunc(spans, func(a, b [2]int) int { return a[0] - b[0] })
	var b strings.Builder
	done := 0 // s is written up to here
	for i, span := range spans {
		if i == 0 || span[0] > done {
			b.WriteString(s[done:span[0]])
			b.WriteString(masked)
		}
		done = max(done, span[1])
	}
	b.WriteString(s[done:])
	return b.String()
}

// diff is a diff without secrets.
func (m *Mask) diff(s string) string {
	if m == nil {
		return s
	}
	var b strings.Builder
	for line := range strings.Lines(s) {
		before, _, given := strings.Cut(line, "=")
		if given && m.hides(before) {
			line = before + "=" + masked + line[len(strings.TrimRight(line, "\n")):]
		}
		b.WriteString(line)
	}
	return m.Text(b.String())
}

// hides says whether what follows the = is hidden, by what stands before it in
// a line of a diff: its sign, words such as export, and the variable's name.
func (m *Mask) hides(before string) bool {
	name := strings.TrimLeft(before, "+- ")
	for _, word := range []string{"export ", "#gofleet:shipped "} {
		name = strings.TrimPrefix(name, word)
	}
	if m.hidden == nil || name == "" || strings.ContainsFunc(name, func(r rune) bool { return r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r) }) {
		return false
	}
	return m.hidden[name] || strings.HasPrefix(before, "-")
}

// Report hides secrets in every text of a report, whatever fields it has.
// Words of a closed list, such as a status, stay.
func (m *Mask) Report(r *wire.Report) {
	if m == nil {
		return
	}
	for i := range r.Actions {
		r.Actions[i].Diff = m.diff(r.Actions[i].Diff)
	}
	m.walk(reflect.ValueOf(r))
}

var text = reflect.TypeFor[string]()

func (m *Mask) walk(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		if v.Type() == text && v.CanSet() {
			v.SetString(m.Text(v.String()))
		}
	case reflect.Pointer:
		if !v.IsNil() {
			m.walk(v.Elem())
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				m.walk(v.Field(i))
			}
		}
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			m.walk(v.Index(i))
		}
	case reflect.Map:
		if v.Type().Elem() != text {
			return
		}
		for _, key := range v.MapKeys() {
			v.SetMapIndex(key, reflect.ValueOf(m.Text(v.MapIndex(key).String())))
		}
	}
}
