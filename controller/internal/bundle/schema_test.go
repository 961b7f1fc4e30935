package bundle

import (
	"encoding/json"
	"path/filepath"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// What -o json prints is what the schemas say.
func TestSchemas(t *testing.T) {
	key, path := newKey(t), filepath.Join(t.TempDir(), "site.bundle")
	writeFile(t, path, 0, key)
	b, err := Open(path, trusting(key))
	must(t, err)
	defer b.Close()
	verified, err := b.Verify(t.Context(), VerifyOptions{Quick: true})
	must(t, err)
	if !verified.Good {
		t.Fatal(verified)
	}
	fits(t, "list", b.List(), nil)
	fits(t, "verify", verified, "bundles")
	edit(t, path, func(data []byte) []byte { return data[:len(data)-1] })
	_, err = Open(path, trusting(key))
	refused, err := Refused(path, err)
	must(t, err)
	if refused.Good || len(refused.Problems) != 1 {
		t.Error(refused)
	}
	fits(t, "verify", refused, "bundles")
}

// fits holds v, as a command prints it, against the command's schema.
func fits(t *testing.T, command string, v any, inside any) {
	t.Helper()
	if name, ok := inside.(string); ok {
		v = map[string]any{name: []any{v}}
	}
	text, err := json.Marshal(v)
	must(t, err)
	var doc map[string]any
	must(t, json.Unmarshal(text, &doc))
	doc["schema"] = "gofleet.bundle." + command + "/v1"
	s, err := jsonschema.NewCompiler().Compile("../../../docs/schemas/gofleet.bundle." + command + ".v1.json")
	must(t, err)
	if err := s.Validate(doc); err != nil {
		t.Errorf("%s\n%v", text, err)
	}
}
