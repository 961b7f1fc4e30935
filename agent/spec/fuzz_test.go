package spec_test

import (
	"encoding/json"
	"testing"

	"github.com/gofleet/gofleet/agent/spec"
)

// FuzzParse: whatever the variables are, Parse gives a Spec that survives its
// way as JSON, or errors that say something; and it never panics.
func FuzzParse(f *testing.F) {
	seed := func(vars dict) {
		b, err := json.Marshal(vars)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, "", false)
	}
	seed(dict{})
	seed(everything())
	f.Add([]byte(`{"gofleet_go_version": 1.2}`), "1.20", true)
	f.Add([]byte(`{"gofleet_environment": {"A": 0.5, "PATH": null, "B": "x\ny"}}`), "0.5", false)
	f.Add([]byte(`{"gofleet_user": {"name": "a", "sudo": ["/a *"], "authorized_keys": ["from=\"a\" ssh-rsa AAAA"]}}`), "", true)
	f.Fuzz(func(t *testing.T, text []byte, raw string, lenient bool) {
		var vars dict
		if json.Unmarshal(text, &vars) != nil {
			return
		}
		s, err := spec.Parse(vars, spec.Options{
			Prefix: "gofleet_", Lenient: lenient, Raw: func(...string) string { return raw },
		})
		if err == nil {
			roundTrip(t, s)
			return
		}
		for _, e := range err.(spec.Errors) {
			if len(e.Path) == 0 || e.Message == "" {
				t.Errorf("error %+v says nothing", e)
			}
		}
	})
}

// FuzzAuthorizedKey: a line that is accepted is one line, and is read again as
// the same key.
func FuzzAuthorizedKey(f *testing.F) {
	for _, s := range []string{ed25519Key, rsa1024, ecdsa256, `from="a\"b",no-pty ` + ed25519Key, "restrict " + ecdsa521} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		k, _, err := spec.ParseAuthorizedKey(s)
		if err != nil {
			return
		}
		again, _, err := spec.ParseAuthorizedKey(k.Line())
		if err != nil || again != k {
			t.Errorf("%q is %+v, whose line is read as %+v, %v", s, k, again, err)
		}
	})
}
