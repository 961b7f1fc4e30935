package inventory

import (
	"bytes"
	"strings"
	"unicode/utf8"
)

const (
	// maxDepth bounds the nesting of a document; Python gives up earlier.
	maxDepth = 256
	// maxExpanded bounds what a document may hold once its aliases and merge
	// keys are written out, so that a small file can't fill the memory.
	maxExpanded = 5_000_000
)

// vaultHeader begins every file that Ansible Vault encrypted.
const vaultHeader = "$ANSIBLE_VAULT"

// loader turns text into values and collects what is worth a warning.
type loader struct {
	warn func(p Position, format string, args ...any)
}

// load reads a JSON or YAML document, as Ansible does: whatever is JSON is
// read as JSON, where 1e3 is a number. It returns nil for an empty document.
func (l *loader) load(name string, text []byte) (*value, error) {
	doc := &document{name}
	text, err := l.plain(doc, text)
	if err != nil {
		return nil, err
	}
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

// plain is the text of a file that may be encrypted as a whole.
func (l *loader) plain(doc *document, text []byte) ([]byte, error) {
	if bytes.HasPrefix(text, []byte(vaultHeader)) {
		return nil, at(doc.at(1), "encrypted with Ansible Vault, which gofleet does not read yet").
			hint("decrypt it with ansible-vault decrypt, or name the hosts that do not need it with --limit")
	}
	return text, nil
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
