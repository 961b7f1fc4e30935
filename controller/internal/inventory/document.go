package inventory

import (
	"bytes"
	"strings"
	"unicode/utf8"

	"github.com/gofleet/gofleet/controller/internal/inventory/vault"
)

const (
	// maxDepth bounds the nesting of a document; Python gives up earlier.
	maxDepth = 256
	// maxExpanded bounds what a document may hold once its aliases and merge
	// keys are written out, so that a small file can't fill the memory.
	maxExpanded = 5_000_000
)

// loader turns text into values and collects what is worth a warning.
type loader struct {
	warn func(p Position, format string, args ...any)
	ring *vault.Ring // nil: no passwords
}

// load reads a JSON or YAML document, as Ansible does: whatever is JSON is
// read as JSON, where 1e3 is a number. It returns nil for an empty document.
func (l *loader) load(name string, text []byte) (*value, error) {
	return l.parse(&document{name: name}, text)
}

func (l *loader) parse(doc *document, text []byte) (*value, error) {
	if !utf8.Valid(text) {
		return nil, at(doc.at(invalidLine(text)), "not UTF-8").hint("save the file as UTF-8")
	}
	if looksLikeJSON(text) {
		if v, ok := parseJSON(doc, text); ok {
			return v, nil
		}
	}
	return l.parseYAML(doc, text)
}

// invalidLine is the line of the first byte that is not UTF-8.
func invalidLine(text []byte) int {
	valid := bytes.ToValidUTF8(text, []byte("\xff"))
	i := bytes.IndexByte(valid, 0xff)
	return 1 + bytes.Count(text[:min(max(i, 0), len(text))], []byte("\n"))
}

// looksLikeJSON saves the attempt on documents that can't be JSON.
func looksLikeJSON(text []byte) bool {
	t := bytes.TrimLeft(text, " \t\r\n")
	return len(t) > 0 && strings.IndexByte(`{["-0123456789tfnNI`, t[0]) >= 0
}
