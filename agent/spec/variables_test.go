package spec_test

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/gofleet/gofleet/agent/spec"
)

// asWritten makes the variables that the documented defaults describe.
func asWritten(vars []spec.Variable, prefix string) dict {
	out := dict{}
	for _, v := range vars {
		switch {
		case v.Type == "dict" && v.Fields != nil && v.Name != "user" && v.Name != "slo" && v.Name != "cgo" && v.Name != "gopath" && v.Name != "firewall" && v.Name != "cache":
			out[prefix+v.Name] = asWritten(v.Fields, "")
		case v.Default != nil:
			out[prefix+v.Name] = v.Default
		}
	}
	return out
}

func TestDocumentedDefaultsAreTheDefaults(t *testing.T) {
	written := parse(t, asWritten(spec.Variables(), "gofleet_"))
	if none := parse(t, dict{}); !reflect.DeepEqual(written, none) {
		t.Errorf("documented defaults give\n%+v\nno variables give\n%+v", written, none)
	}
}

// TestDocumentedNamesAreTheNames gives each documented name, and a name beside
// each, a value of no right type: the first must be known, the second not.
func TestDocumentedNamesAreTheNames(t *testing.T) {
	bad := struct{}{}
	var try func(vars []spec.Variable, wrap func(string, any) dict, path string)
	try = func(vars []spec.Variable, wrap func(string, any) dict, path string) {
		known := map[string]bool{}
		for _, v := range vars {
			known[v.Name] = true
			err := parseError(t, wrap(v.Name, bad), inventory)
			if strings.Contains(err.Error(), "unknown key") || strings.Contains(err.Error(), "not a variable") {
				t.Errorf("%s%s is documented and not known: %v", path, v.Name, err)
			}
			if v.Fields == nil {
				continue
			}
			try(v.Fields, func(key string, value any) dict {
				inner := dict{key: value}
				if v.Type == "list" {
					return wrap(v.Name, list{inner})
				}
				return wrap(v.Name, inner)
			}, path+v.Name+".")
		}
		// What the parser knows beyond that, its own hint would list.
		err := parseError(t, wrap("zzzzzzzzzzzzzzzzzzzz", bad), inventory)
		if _, hint, ok := strings.Cut(err.Error(), "known here: "); ok {
			for _, name := range strings.Split(strings.TrimSuffix(strings.SplitN(hint, "\n", 2)[0], ")"), ", ") {
				if !known[name] {
					t.Errorf("%s%s is known and not documented", path, name)
				}
			}
		}
	}
	try(spec.Variables(), func(key string, value any) dict { return dict{"gofleet_" + key: value} }, "")
}

func parseError(t *testing.T, vars dict, o spec.Options) spec.Errors {
	t.Helper()
	s, err := spec.Parse(vars, o)
	var errs spec.Errors
	if !errors.As(err, &errs) || len(errs) == 0 {
		t.Fatalf("Parse(%v) = %v, %v; want Errors", vars, s, err)
	}
	if s != nil {
		t.Errorf("Parse gave a Spec beside its errors")
	}
	return errs
}

func TestDocsNameEveryVariable(t *testing.T) {
	b, err := os.ReadFile("../../docs/variables.md")
	if err != nil {
		t.Fatal(err)
	}
	docs := string(b)
	var check func(vars []spec.Variable, path string)
	check = func(vars []spec.Variable, path string) {
		for _, v := range vars {
			def := "none"
			switch d := v.Default.(type) {
			case nil:
				if v.Fields != nil && v.Type == "dict" && v.Name != "user" && v.Name != "slo" && v.Name != "cgo" && v.Name != "gopath" && v.Name != "firewall" && v.Name != "cache" {
					def = "below"
				}
			case string:
				def = "`" + d + "`"
				if v.Format == "version" {
					def = "`\"" + d + "\"`"
				}
			case []any:
				def = "`" + strings.ReplaceAll(fmt.Sprint(d), " ", ", ") + "`"
			case map[string]any:
				def = "`{" + strings.TrimSuffix(strings.TrimPrefix(fmt.Sprint(d), "map["), "]") + "}`"
				def = strings.ReplaceAll(def, ":", ": ")
			default:
				def = fmt.Sprintf("`%v`", d)
			}
			if v.Required {
				def = "required"
			}
			row := fmt.Sprintf("| `%s%s` | %s | %s | %s |", path, v.Name, typeName(v), def, v.Help)
			if !strings.Contains(docs, row) {
				t.Errorf("docs/variables.md has no row\n%s", row)
			}
			check(v.Fields, path+v.Name+".")
		}
	}
	check(spec.Variables(), "gofleet_")
	for _, name := range spec.Reserved() {
		if !strings.Contains(docs, "`gofleet_"+name+"`") {
			t.Errorf("docs/variables.md does not name gofleet_%s", name)
		}
	}
}

func typeName(v spec.Variable) string {
	switch {
	case v.Format != "":
		return v.Format
	case v.Choices != nil:
		return strings.Join(v.Choices, ", ")
	case v.Type == "list":
		return "list of " + v.Elements
	}
	return v.Type
}
