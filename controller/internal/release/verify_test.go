package release

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gofleet/gofleet/agent/spec"
)

// Verify says all there is to say, also what would not decide.
func TestVerify(t *testing.T) {
	k := newKey(t)
	dir := t.TempDir()
	file := newFake("1.26.8", amd64).official(t, dir)
	data, err := os.ReadFile(file)
	must(t, err)
	must(t, os.WriteFile(file+".asc", k.sign(string(data), year(2021)), 0o644))
	must(t, os.WriteFile(file+EvidenceSuffix, []byte("nonsense"), 0o644))
	o := Options{CacheDir: filepath.Join(t.TempDir(), "cache"), Table: Table{}, Signer: k.signer(),
		Pins: map[spec.Platform]string{arm64: strings.Repeat("a", 64)}}
	v, err := Verify(t.Context(), file, o)
	must(t, err)
	want := map[Kind]Status{Pin: Absent, Sums: Absent, PGP: Good, SumDB: Bad}
	for _, f := range v.Evidence {
		if want[f.Kind] != f.Status {
			t.Errorf("%s is %s: %s", f.Kind, f.Status, f.Detail)
		}
		delete(want, f.Kind)
	}
	if len(want) > 0 || !v.Verdict.Accepted || v.Verdict.By != PGP || v.Content.Status != Good || v.SHA256 != sumOf(t, file) {
		t.Errorf("%v; not there: %v", v, want)
	}
	text, err := json.Marshal(v)
	must(t, err)
	for _, part := range []string{`"platform":"linux/amd64"`, `{"kind":"sumdb","status":"bad",`} {
		if !strings.Contains(string(text), part) {
			t.Errorf("%s is not in %s", part, text)
		}
	}
	if s := v.String(); !strings.Contains(s, "accepted, by pgp") {
		t.Error(s)
	}

	o.Signer = newKey(t).signer()
	v, err = Verify(t.Context(), file, o)
	must(t, err)
	if v.Verdict.Accepted || v.Verdict.By != PGP || v.Verdict.Hint == "" {
		t.Errorf("%v", v)
	}
	must(t, os.Remove(file+".asc"))
	must(t, os.Remove(file+EvidenceSuffix))
	v, err = Verify(t.Context(), file, o)
	must(t, err)
	if v.Verdict.Accepted || !strings.Contains(v.String(), `gofleet_sha256: {linux-amd64: "`+v.SHA256) {
		t.Errorf("%v", v)
	}
	// A file whose content is unsafe gets no line to pin it.
	must(t, os.WriteFile(file, data[:len(data)-30], 0o644))
	v, err = Verify(t.Context(), file, o)
	must(t, err)
	if v.Verdict.Accepted || v.Verdict.By != contentKind || strings.Contains(v.String(), "gofleet_sha256:") {
		t.Errorf("%v", v)
	}
	_, err = Verify(t.Context(), filepath.Join(dir, "something.tar.gz"), o)
	wantError(t, err, "is not the name of a Go archive")
}
