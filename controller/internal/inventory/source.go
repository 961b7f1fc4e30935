package inventory

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// source is one inventory source: a file, or the words of a host list. What
// was a directory has become its files.
type source struct {
	doc  *document
	path string // to open; "" for a host list
	dir  string // absolute, inventory_dir; "" for a host list
	text []byte
}

// maxSourceDepth bounds the directories within directories of a source; links
// may make a circle.
const maxSourceDepth = 32

// readSource reads one -i value into the tree.
func (r *reader) readSource(name string) error {
	path := r.path(name)
	info, err := os.Stat(path)
	switch {
	case err == nil && info.IsDir():
		n := 0
		if err := r.readDir(name, path, 0, &n); err != nil || n > 0 {
			return err
		}
		return (&Error{File: name, Msg: "no inventory file in this directory"}).
			hint("names beginning with a dot and .cfg, .txt, .md and the like are passed over there, as Ansible does")
	case err == nil:
		return r.readFile(name, path)
	case strings.Contains(name, ","):
		return r.readHostList(name)
	}
	return readError(name, err).hint("name an inventory file or directory; a list of hosts needs a comma, as in -i %s,", name)
}

// readError says why a file can't be read, without the path twice.
func readError(name string, err error) *Error {
	cause := err
	var pe *fs.PathError
	if errors.As(err, &pe) {
		cause = pe.Err
	}
	return &Error{File: name, Msg: cause.Error(), err: err}
}

// ignoredNames and ignoredEnds are what Ansible passes over in a directory of
// sources.
var (
	ignoredNames = []string{"host_vars", "group_vars", "vars_plugins"}
	ignoredEnds  = []string{".pyc", ".pyo", ".swp", ".bak", "~", ".rpm", ".md", ".txt", ".rst", ".orig", ".cfg", ".retry"}
)

func ignored(name string) bool {
	return strings.HasPrefix(name, ".") || slices.Contains(ignoredNames, name) ||
		slices.ContainsFunc(ignoredEnds, func(end string) bool { return strings.HasSuffix(name, end) })
}

// readDir reads the files of a directory of sources in the order of their
// names and counts them.
func (r *reader) readDir(name, path string, depth int, n *int) error {
	if depth > maxSourceDepth {
		return &Error{File: name, Msg: "directories are nested too deep", Hint: "is there a link to a directory above it?"}
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return readError(name, err)
	}
	var errs []error
	for _, e := range entries {
		if ignored(e.Name()) {
			continue
		}
		sub, subPath := filepath.Join(name, e.Name()), filepath.Join(path, e.Name())
		info, err := os.Stat(subPath)
		switch {
		case err != nil:
			err = readError(sub, err)
		case info.IsDir():
			err = r.readDir(sub, subPath, depth+1, n)
		default:
			*n++
			err = r.readFile(sub, subPath)
		}
		if err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// readFile reads one inventory file, whatever its format.
func (r *reader) readFile(name, path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return readError(name, err)
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return readError(name, err)
	}
	src := &source{doc: &document{name}, path: path, dir: filepath.Dir(abs), text: text}
	return r.formatOf(src)(src)
}

// formatOf chooses the reader of a file, in Ansible's order: programs, then
// YAML by its extensions or none, TOML, and INI for the rest.
func (r *reader) formatOf(src *source) func(*source) error {
	ext := filepath.Ext(src.path)
	yamlName := ext == "" || slices.Contains(varsExtensions, ext)
	switch {
	case bytes.HasPrefix(src.text, []byte("#!")), isProgram(src.path) && !yamlName:
		return unsupported("a program that prints an inventory", "save what it prints with --list")
	case bytes.HasPrefix(src.text, []byte(vaultHeader)):
		return unsupported("encrypted with Ansible Vault", "decrypt it with ansible-vault decrypt")
	case ext == ".toml":
		return unsupported("a TOML inventory", "convert it to YAML")
	case !yamlName, ext == "" && looksLikeINI(src.text):
		return unsupported("an INI inventory", "convert it with ansible-inventory -i "+src.doc.name+" --list --yaml")
	}
	return r.readYAML
}

// unsupported is the reader of a format that gofleet does not read.
func unsupported(what, way string) func(*source) error {
	return func(src *source) error {
		return (&Error{File: src.doc.name, Msg: fmt.Sprintf("this is %s, which gofleet does not read yet", what)}).hint("%s", way)
	}
}

func isProgram(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode()&0o111 != 0
}

// looksLikeINI tells a file without extension that is an INI inventory from a
// YAML one with a mistake in it: the first line with content is a [section],
// or a host without a colon at its end.
func looksLikeINI(text []byte) bool {
	for line := range bytes.Lines(text) {
		s := string(bytes.TrimSpace(line))
		switch {
		case s == "", s[0] == '#', s[0] == ';', s == "---", s[0] == '%', s[0] == '{':
			continue
		case s[0] == '[':
			return true
		}
		key, _, ok := strings.Cut(s, ":")
		return !ok || strings.ContainsAny(key, "= ") && !strings.ContainsAny(key, `"'`)
	}
	return false
}

// readHostList reads host1,host2:2222 into ungrouped.
func (r *reader) readHostList(list string) error {
	src := &source{doc: &document{"-i " + list}}
	for word := range strings.SplitSeq(list, ",") {
		word = strings.TrimSpace(word)
		if word == "" {
			continue
		}
		host, port, ok := splitAddress(word, false)
		if !ok {
			host, port = word, 0
		}
		if _, known := r.tree.hosts[host]; !known {
			r.tree.addHost(host, r.tree.groups["ungrouped"], port, src, 0)
		}
	}
	return nil
}
