package report

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// root is the repository's, as seen from this directory.
const root = "../../.."

// wireKinds are the constants of type Kind in agent/wire/errors.go.
func wireKinds(t *testing.T) []string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, "agent/wire/errors.go"), nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var kinds []string
	ast.Inspect(file, func(n ast.Node) bool {
		v, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if typ, ok := v.Type.(*ast.Ident); !ok || typ.Name != "Kind" {
			return true
		}
		for _, value := range v.Values {
			kind, err := strconv.Unquote(value.(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			kinds = append(kinds, kind)
		}
		return true
	})
	if len(kinds) == 0 {
		t.Fatal("no kinds in agent/wire/errors.go")
	}
	slices.Sort(kinds)
	return kinds
}

func TestErrorsDocListsEveryKind(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(root, "docs/errors.md"))
	if err != nil {
		t.Fatal(err)
	}
	sections := strings.Split(string(b), "\n### ")
	var documented []string
	for _, s := range sections[1:] {
		heading, text, _ := strings.Cut(s, "\n")
		kind := strings.Trim(heading, "`")
		documented = append(documented, kind)
		if !regexp.MustCompile(`(?m)^Cause: \S.{20,}\nWay out: \S.{8,}$`).MatchString(text) {
			t.Errorf("%s: want a line with the cause and one with the way out, got %q", kind, text)
		}
	}
	slices.Sort(documented)
	if kinds := wireKinds(t); !slices.Equal(documented, kinds) {
		t.Errorf("docs/errors.md lists\n%q\nagent/wire has\n%q", documented, kinds)
	}
}

func TestSchemaListsEveryKind(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(root, "docs/schemas/gofleet.run.v1.json"))
	if err != nil {
		t.Fatal(err)
	}
	var schema struct {
		Defs struct {
			Error struct {
				Properties struct{ Kind struct{ Enum []string } }
			}
		} `json:"$defs"`
	}
	if err := json.Unmarshal(b, &schema); err != nil {
		t.Fatal(err)
	}
	got := slices.Sorted(slices.Values(schema.Defs.Error.Properties.Kind.Enum))
	if kinds := wireKinds(t); !slices.Equal(got, kinds) {
		t.Errorf("the schema has\n%q\nagent/wire has\n%q", got, kinds)
	}
}
