package spec

import "testing"

func TestEveryReaderIsDocumented(t *testing.T) {
	documented := map[string]bool{}
	for _, v := range Variables() {
		documented[v.Name] = true
	}
	for name := range readers {
		if !documented[name] {
			t.Errorf("gofleet_%s is read and not documented", name)
		}
	}
	if len(readers) != len(documented) || len(preconditionReaders) != len(preconditionNames) {
		t.Errorf("%d readers for %d variables, %d for %d preconditions",
			len(readers), len(documented), len(preconditionReaders), len(preconditionNames))
	}
}
