package spec

import "testing"

func TestEveryReaderIsDocumented(t *testing.T) {
	documented := map[string]bool{}
	for _, v := range Variables() {
		documented[v.Name] = true
	}
	for _, r := range readers {
		if !documented[r.name] {
			t.Errorf("gofleet_%s is read and not documented", r.name)
		}
	}
	if len(readers) != len(documented) {
		t.Errorf("%d readers for %d variables", len(readers), len(documented))
	}
}
