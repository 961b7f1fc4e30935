package inventory

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// varsExtensions are the extensions of variable files and YAML inventories.
var varsExtensions = []string{".yml", ".yaml", ".json"}

// varsDir is a directory that may have group_vars and host_vars in it: that
// of a source, or the working directory.
type varsDir struct {
	name string // as shown
	path string // to open

	entries map[string]map[string]bool // of group_vars and host_vars; nil until read
}

// varsFiles finds and reads the files of group_vars and host_vars, each once.
type varsFiles struct {
	loader *loader
	files  map[string]varsFile
}

// varsFile is what a file holds, or why it can't be used.
type varsFile struct {
	vars *value // a mapping, or nil for an empty file
	err  error
}

// vars are the mappings that the directory has for a group or host, in the
// order in which they apply.
func (f *varsFiles) vars(d *varsDir, subdir, entity string) ([]*value, error) {
	if strings.HasPrefix(entity, "/") || entity == "." || entity == ".." {
		return nil, nil // chroot directories as host names
	}
	var out []*value
	for _, name := range f.find(d, subdir, entity) {
		file := f.read(d, name)
		if file.err != nil {
			return nil, file.err
		}
		if file.vars != nil {
			out = append(out, file.vars)
		}
	}
	return out, nil
}

// find gives the files for an entity, relative to the directory: the first of
// name, name.yml, name.yaml and name.json that exists; of a directory, the
// files in it.
func (f *varsFiles) find(d *varsDir, subdir, entity string) []string {
	known := f.list(d, subdir)
	if len(known) == 0 {
		return nil
	}
	for _, ext := range append([]string{""}, varsExtensions...) {
		name := filepath.Join(subdir, entity+ext)
		if !strings.Contains(entity, "/") && !known[entity+ext] {
			continue
		}
		info, err := os.Stat(filepath.Join(d.path, name))
		switch {
		case err != nil:
			continue
		case info.IsDir():
			return f.walk(d, name, 0)
		}
		return []string{name}
	}
	return nil
}

// list reads a directory once, so that looking up 20,000 hosts in it costs no
// system call each.
func (f *varsFiles) list(d *varsDir, subdir string) map[string]bool {
	if known, ok := d.entries[subdir]; ok {
		return known
	}
	known := map[string]bool{}
	path := filepath.Join(d.path, subdir)
	if info, err := os.Stat(path); err == nil && !info.IsDir() {
		f.loader.warn(Position{File: filepath.Join(d.name, subdir)}, "not a directory; it is passed over")
	} else if entries, err := os.ReadDir(path); err == nil {
		for _, e := range entries {
			known[e.Name()] = true
		}
	} else if !os.IsNotExist(err) {
		f.loader.warn(Position{File: filepath.Join(d.name, subdir)}, "%s", readError("", err).Msg)
	}
	if d.entries == nil {
		d.entries = map[string]map[string]bool{}
	}
	d.entries[subdir] = known
	return known
}

// walk lists the variable files in a directory, in the order of their names:
// those with a known extension or none, and directories without extension.
func (f *varsFiles) walk(d *varsDir, dir string, depth int) []string {
	entries, err := os.ReadDir(filepath.Join(d.path, dir))
	if err != nil || depth > maxSourceDepth {
		return nil
	}
	var out []string
	for _, e := range entries {
		name := e.Name()
		if strings.HasPrefix(name, ".") || strings.HasSuffix(name, "~") {
			continue
		}
		full := filepath.Join(dir, name)
		ext := filepath.Ext(name)
		info, err := os.Stat(filepath.Join(d.path, full))
		switch {
		case err != nil:
		case info.IsDir() && ext == "":
			out = append(out, f.walk(d, full, depth+1)...)
		case info.Mode().IsRegular() && (ext == "" || slices.Contains(varsExtensions, ext)):
			out = append(out, full)
		}
	}
	return out
}

// read loads a variable file, or remembers it.
func (f *varsFiles) read(d *varsDir, name string) varsFile {
	path := filepath.Join(d.path, name)
	if file, ok := f.files[path]; ok {
		return file
	}
	file := f.load(filepath.Join(d.name, name), path)
	f.files[path] = file
	return file
}

func (f *varsFiles) load(name, path string) varsFile {
	text, err := os.ReadFile(path)
	if err != nil {
		return varsFile{err: readError(name, err)}
	}
	v, err := f.loader.loadFile(name, text)
	switch {
	case err != nil:
		return varsFile{err: err}
	case v == nil || !v.truthy():
		return varsFile{}
	case v.kind != mapKind:
		return varsFile{err: at(v.pos(), "a variable file is a dictionary, and this is %s", v.typeName()).
			hint("write name: value lines")}
	}
	return varsFile{vars: v}
}
