package inventory

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/gofleet/gofleet/controller/internal/inventory/jinja"
)

// maxLookup bounds a file that a template reads.
const maxLookup = 4 << 20

// lookup answers lookup('env'), lookup('file') and lookup('vars'). Others
// would run programs or ask the network.
func (t *templates) lookup(r *jinja.Run, name string, terms []any, options map[string]any) ([]any, error) {
	var one func(r *jinja.Run, term string, options map[string]any) (any, error)
	switch name {
	case "env":
		one = t.lookupEnv
	case "file":
		one = t.lookupFile
	case "vars":
		one = lookupVars
	case "items", "list":
		return flatTerms(r, terms, name == "items")
	default:
		return nil, &jinja.UnknownError{Kind: "lookup", Name: name}
	}
	var out []any
	for _, term := range terms {
		v, err := r.Force(term)
		if err != nil {
			return nil, err
		}
		text, ok := v.(string)
		if !ok {
			return nil, errors.New("it is asked for by a name")
		}
		v, err = one(r, text, options)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}

// flatTerms is lookup('items'), which opens lists, and lookup('list').
func flatTerms(r *jinja.Run, terms []any, flat bool) ([]any, error) {
	var out []any
	for _, term := range terms {
		v, err := r.Force(term)
		if err != nil {
			return nil, err
		}
		if l, ok := v.(*jinja.List); ok && flat {
			out = append(out, l.Items...)
		} else {
			out = append(out, v)
		}
	}
	return out, nil
}

func (t *templates) lookupEnv(_ *jinja.Run, name string, options map[string]any) (any, error) {
	for _, e := range t.env {
		if k, v, ok := strings.Cut(e, "="); ok && k == name {
			return v, nil
		}
	}
	if v, ok := options["default"]; ok {
		return v, nil
	}
	return "", nil
}

func lookupVars(r *jinja.Run, name string, options map[string]any) (any, error) {
	if v, ok := r.Scope.Lookup(name); ok {
		return r.Force(v)
	}
	if v, ok := options["default"]; ok {
		return v, nil
	}
	return r.Scope.Absent(name), nil
}

// lookupFile reads a file, beside the working directory's files/ or in it.
func (t *templates) lookupFile(_ *jinja.Run, name string, options map[string]any) (any, error) {
	r := &reader{dir: t.inv.dir}
	candidates := []string{r.path(name)}
	if !filepath.IsAbs(name) && !strings.HasPrefix(name, "~") {
		candidates = []string{r.path(filepath.Join("files", name)), r.path(name)}
	}
	for _, path := range candidates {
		text, err := readLimited(path)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		plain, secret, err := t.inv.files.loader.open(name, text)
		if err != nil {
			return nil, err
		}
		t.secret = t.secret || secret
		out := string(plain)
		if strip, given := options["rstrip"]; !given || strip != false {
			out = strings.TrimRight(out, " \t\r\n\v\f")
		}
		if strip, given := options["lstrip"]; given && strip == true {
			out = strings.TrimLeft(out, " \t\r\n\v\f")
		}
		if secret {
			t.add(out)
		}
		return out, nil
	}
	return nil, fmt.Errorf("no file %s here or in files/", name)
}

func readLimited(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxLookup+1))
	if err == nil && len(text) > maxLookup {
		err = fmt.Errorf("%s is larger than %d MiB", path, maxLookup>>20)
	}
	return text, err
}

// loadJSON reads JSON for from_json.
func (t *templates) loadJSON(text string) (any, error) {
	v, ok := parseJSON(&document{name: "from_json"}, []byte(text))
	if !ok {
		return nil, errors.New("this is not JSON")
	}
	return v.lift(), nil
}

// loadYAML reads YAML for from_yaml.
func (t *templates) loadYAML(text string) (any, error) {
	l := &loader{warn: func(Position, string, ...any) {}}
	v, err := l.load("from_yaml", []byte(text))
	switch {
	case err != nil:
		return nil, errors.New("this is not YAML")
	case v == nil:
		return nil, nil
	}
	return v.lift(), nil
}
