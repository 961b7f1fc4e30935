package inventory

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// source is one inventory source: a file, or the words of a host list. What
// was a directory has become its files.
type source struct {
	doc     *document
	path    string // to open; "" for a host list
	dir     string // absolute, inventory_dir; "" for a host list
	text    []byte
	program bool // may be executed

	parsed  bool // as YAML: root and rootErr are set
	root    *value
	rootErr error
}

// maxSourceDepth bounds the directories within directories of a source; links
// may make a circle.
const maxSourceDepth = 32

// prepare takes the settings over.
func (r *reader) prepare() error {
	s := r.options.Settings
	r.tree.safeNames = s.SafeGroupNames
	var err error
	if r.ignored, err = ignoredNames(s); err != nil {
		return err
	}
	r.plugins, err = pluginsOf(s.Plugins)
	return err
}

// readSource reads one -i value into the tree.
func (r *reader) readSource(name string) error {
	path := r.path(name)
	info, err := os.Stat(path)
	switch {
	case strings.TrimSpace(name) == "":
		return &Error{Msg: "-i is empty", Hint: "name an inventory file or directory, or hosts with a comma behind them"}
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
		return r.readList(name)
	}
	if strings.Contains(name, "/") {
		return readError(name, err).hint("name an inventory file or directory")
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

// ignoredExtensions are what Ansible passes over in a directory of sources,
// unless its settings say otherwise.
var ignoredExtensions = []string{".pyc", ".pyo", ".swp", ".bak", "~", ".rpm", ".md", ".txt", ".rst", ".orig", ".cfg", ".retry"}

// ignoredNames makes the rule for names in a directory of sources.
func ignoredNames(s Settings) (*regexp.Regexp, error) {
	rules := []string{`^\.`, `^host_vars$`, `^group_vars$`, `^vars_plugins$`}
	for _, p := range s.IgnorePatterns {
		if _, err := regexp.Compile(p); err != nil {
			return nil, (&Error{Msg: fmt.Sprintf("the inventory's ignore pattern %q can't be used: %v", p, err)}).
				hint("patterns are RE2 here: the same as Python's, but without look-around")
		}
		rules = append(rules, "(?:"+p+")")
	}
	extensions := s.IgnoreExtensions
	if extensions == nil {
		extensions = ignoredExtensions
	}
	for _, e := range extensions {
		rules = append(rules, regexp.QuoteMeta(e)+"$")
	}
	return regexp.Compile(strings.Join(rules, "|"))
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
		if r.ignored.MatchString(e.Name()) {
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

// readFile reads one inventory file, whatever its format: with the first of
// Ansible's plugins that wants it and can read it.
func (r *reader) readFile(name, path string) error {
	abs, err := filepath.Abs(path)
	if err != nil {
		return readError(name, err)
	}
	src := &source{doc: &document{name: name}, path: path, dir: filepath.Dir(abs), program: isProgram(path)}
	var tried []attempt
	for _, p := range r.plugins {
		if p.wants == nil || !p.wants(src) {
			continue
		}
		if src.text == nil && !p.program {
			text, err := os.ReadFile(path)
			if err != nil {
				return readError(name, err)
			}
			if src.text, src.doc.secret, err = r.loader.open(name, text); err != nil {
				return err
			}
		}
		err := p.read(r, src)
		var pass *declinedError
		if errors.As(err, &pass) {
			tried = append(tried, attempt{p.name, pass.err})
			continue
		}
		if err == nil {
			r.read = append(r.read, path)
		}
		return src.told(err)
	}
	return src.told(unread(src, tried))
}

// attempt is why a plugin could not read a file.
type attempt struct {
	plugin string
	err    error
}

// unread says why no plugin could read a file, in the words of the one that
// was most likely meant.
func unread(src *source, tried []attempt) error {
	if len(tried) == 0 {
		return (&Error{File: src.doc.name, Msg: "none of the enabled inventory plugins reads this file"}).
			hint("see enable_plugins in ansible.cfg and ANSIBLE_INVENTORY_ENABLED")
	}
	if bytes.HasPrefix(src.text, []byte("#!")) && !src.program {
		return (&Error{File: src.doc.name, Msg: "a program that may not be executed"}).hint("chmod +x %s", src.doc.name)
	}
	meant := "ini"
	switch ext := filepath.Ext(src.path); {
	case src.program && bytes.IndexByte(src.text, 0) >= 0:
		meant = "script"
	case slices.Contains(varsExtensions, ext), ext == "" && !looksLikeINI(src.text):
		meant = "yaml"
	}
	for _, a := range tried {
		if a.plugin == meant {
			return a.err
		}
	}
	return tried[len(tried)-1].err
}

// declinedError is a plugin's error after which Ansible tries the next one.
type declinedError struct{ err error }

func (e *declinedError) Error() string { return e.err.Error() }

// decline lets the next plugin try.
func decline(err error) error {
	if err == nil {
		return nil
	}
	return &declinedError{err}
}

// plugin is a reader of one format, by the name that Ansible's enable_plugins
// has for it.
type plugin struct {
	name    string
	program bool                   // does not read the file's text
	wants   func(src *source) bool // nil: no files
	read    func(*reader, *source) error
	list    func(r *reader, list string) error // reads what is no file and has a comma
}

// defaultPlugins are those that Ansible has on, in its order.
var defaultPlugins = []string{"host_list", "script", "auto", "yaml", "ini", "toml"}

// knownPlugins are the plugins that are written in Go. What auto finds, and
// every other name, is Ansible's to run.
func knownPlugins() []plugin {
	return []plugin{
		{name: "host_list", list: (*reader).readHostList},
		{name: "advanced_host_list", list: (*reader).readRangeList},
		{name: "script", program: true, wants: func(src *source) bool { return src.program }, read: (*reader).readScript},
		{name: "auto", wants: isPluginName, read: (*reader).readAuto},
		{name: "yaml", wants: func(src *source) bool {
			ext := filepath.Ext(src.path)
			return ext == "" || slices.Contains(varsExtensions, ext)
		}, read: (*reader).readYAML},
		{name: "ini", wants: func(src *source) bool { return filepath.Ext(src.path) != ".toml" },
			read: func(r *reader, src *source) error { return decline(r.readINI(src)) }},
		{name: "toml", wants: func(src *source) bool { return filepath.Ext(src.path) == ".toml" }, read: (*reader).readTOML},
	}
}

// pluginsOf gives the plugins of these names, in this order.
func pluginsOf(names []string) ([]plugin, error) {
	if names == nil {
		names = defaultPlugins
	}
	known := knownPlugins()
	var out []plugin
	for _, full := range names {
		name := strings.TrimPrefix(strings.TrimPrefix(full, "ansible.builtin."), "ansible.legacy.")
		i := slices.IndexFunc(known, func(p plugin) bool { return p.name == name })
		switch {
		case i >= 0:
			out = append(out, known[i])
		case name != "":
			out = append(out, plugin{name: full, wants: isPluginName, read: func(r *reader, src *source) error {
				return r.readPlugin(src, full)
			}})
		}
	}
	if len(out) == 0 {
		return nil, (&Error{Msg: "no inventory plugin is enabled"}).hint("see enable_plugins in ansible.cfg and ANSIBLE_INVENTORY_ENABLED")
	}
	return out, nil
}

// isPluginName says whether a file may configure a plugin.
func isPluginName(src *source) bool {
	ext := filepath.Ext(src.path)
	return ext == ".yml" || ext == ".yaml"
}

func isProgram(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
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

// readList reads host1,host2:2222 into ungrouped, with the first plugin
// that reads lists.
func (r *reader) readList(list string) error {
	for _, p := range r.plugins {
		if p.list != nil {
			return p.list(r, list)
		}
	}
	return (&Error{File: "-i " + list, Msg: "no inventory plugin that reads lists of hosts is enabled"}).
		hint("see enable_plugins in ansible.cfg and ANSIBLE_INVENTORY_ENABLED")
}

// readHostList reads a list in which each word is one host.
func (r *reader) readHostList(list string) error {
	return r.listed(list, func(word string) ([]string, string, error) {
		host, port, ok := splitAddress(word, false)
		if _, _, isRange := splitAddress(word, true); !ok && isRange {
			r.warn(Position{File: "-i " + list}, "%s is taken for the name of one host: ranges stand in files", word)
		}
		if !ok {
			host, port = word, ""
		}
		return []string{host}, port, nil
	})
}

// readRangeList reads a list in which words may have ranges.
func (r *reader) readRangeList(list string) error { return r.listed(list, expandHosts) }

func (r *reader) listed(list string, expand func(string) ([]string, string, error)) error {
	src := &source{doc: &document{name: "-i " + list}}
	for word := range strings.SplitSeq(list, ",") {
		word = strings.TrimSpace(word)
		if word == "" {
			continue
		}
		hosts, port, err := expand(word)
		if err != nil {
			return at(src.doc.at(0), "host %s: %v", word, err)
		}
		for _, host := range hosts {
			if _, known := r.tree.hosts[host]; !known {
				r.tree.addHost(host, r.tree.groups["ungrouped"], port, src, 0)
			}
		}
	}
	r.read = append(r.read, list)
	return nil
}
