package inventory

import (
	"bytes"
	"errors"
	"io"
	"regexp"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// parseYAML reads one YAML document. Go's library only finds the nodes; what
// they mean is decided here, by PyYAML's rules.
func (l *loader) parseYAML(doc *document, text []byte) (*value, error) {
	root, err := yamlNodes(doc, text)
	if err != nil || root == nil {
		return nil, err
	}
	d := &yamlDecoder{loader: l, doc: doc, anchored: map[*yaml.Node]*value{}, active: map[*yaml.Node]bool{}}
	v, err := d.decode(root, 0)
	if err != nil {
		return nil, err
	}
	return v, nil
}

// yamlNodes runs the YAML library over text, which must hold at most one
// document.
func yamlNodes(doc *document, text []byte) (root *yaml.Node, err error) {
	defer func() {
		if r := recover(); r != nil { // a fault of the library is not a crash of ours
			root, err = nil, at(doc.at(0), "bad YAML: %v", r)
		}
	}()
	dec := yaml.NewDecoder(bytes.NewReader(text))
	var first, second yaml.Node
	if err := dec.Decode(&first); errors.Is(err, io.EOF) {
		return nil, nil
	} else if err != nil {
		return nil, yamlError(doc, text, err)
	}
	if err := dec.Decode(&second); err == nil {
		return nil, at(doc.at(second.Line), "a second YAML document begins here, and an inventory or variable file has only one").
			hint("remove the --- line, or put it in a file of its own")
	} else if !errors.Is(err, io.EOF) {
		return nil, yamlError(doc, text, err)
	}
	if first.Kind != yaml.DocumentNode || len(first.Content) != 1 {
		return nil, nil
	}
	return first.Content[0], nil
}

var yamlErrorRE = regexp.MustCompile(`^yaml: (?:line ([0-9]+): )?(.*)$`)

// yamlError turns the library's error into ours. The library names the line
// where the construct began that it was reading, sometimes one less; the line
// at fault is the first one up to which the text fails in the same way.
func yamlError(doc *document, text []byte, err error) *Error {
	m := yamlErrorRE.FindStringSubmatch(strings.TrimSpace(err.Error()))
	if m == nil {
		return at(doc.at(0), "bad YAML: %v", err)
	}
	line, _ := strconv.Atoi(m[1])
	e := at(doc.at(blameLine(text, max(line, 1), m[2])), "bad YAML: %s", m[2])
	switch at := lineOf(text, e.Line); {
	case strings.ContainsAny(at, "[{") && strings.Contains(at, "?"):
		e.hint("quote a value that holds a question mark inside [ ] or { }")
	case strings.Contains(at, "\t"):
		e.hint("indent with spaces: YAML allows no tabs there")
	case strings.Contains(at, "{{"):
		e.hint(`quote a value that begins with a template: "{{ name }}"`)
	case strings.Contains(m[2], "mapping values"):
		e.hint("quote a value that holds a colon followed by a space")
	}
	return e
}

// blameBytes bounds what is read again in the search for the line at fault.
const blameBytes = 32 << 20

func blameLine(text []byte, from int, msg string) int {
	end, line, budget := 0, 0, blameBytes
	for end < len(text) {
		next := bytes.IndexByte(text[end:], '\n')
		if next < 0 {
			break
		}
		end += next + 1
		if line++; line < from {
			continue
		}
		if budget -= end; budget < 0 {
			break
		}
		var n yaml.Node
		if err := yaml.Unmarshal(text[:end], &n); err != nil && strings.HasSuffix(err.Error(), msg) {
			return line
		}
	}
	return min(from, 1+bytes.Count(text, []byte("\n")))
}

// lineOf is the text of a line, counted from 1.
func lineOf(text []byte, line int) string {
	for range line - 1 {
		_, text, _ = bytes.Cut(text, []byte("\n"))
	}
	first, _, _ := bytes.Cut(text, []byte("\n"))
	return string(first)
}
