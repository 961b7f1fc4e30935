package spec_test

import (
	"reflect"
	"testing"

	"github.com/gofleet/gofleet/agent/spec"
)

// TestCgoIsSaidOneWay: level and precondition mean each other, unless the
// inventory says otherwise.
func TestCgoIsSaidOneWay(t *testing.T) {
	level := func(l any) dict { return dict{"level": l} }
	pre := func(c any) dict { return dict{"cgo": c} }
	for _, tt := range []struct {
		verify, preconditions dict
		level                 string
		cgo                   *spec.Cgo
	}{
		{nil, nil, "quick", nil},
		{level("build"), nil, "build", nil},
		{level("cgo"), nil, "cgo", &spec.Cgo{}},
		{level("cgo"), pre(nil), "cgo", nil},
		{level("cgo"), pre(dict{}), "cgo", &spec.Cgo{CXX: true, PkgConfig: true}},
		{nil, pre(dict{"cxx": false}), "cgo", &spec.Cgo{PkgConfig: true}},
		{level("quick"), pre(dict{"min": "8"}), "quick", &spec.Cgo{Min: "8", CXX: true, PkgConfig: true}},
		{dict{"commands": list{}}, pre(dict{}), "cgo", &spec.Cgo{CXX: true, PkgConfig: true}},
	} {
		vars := dict{}
		if tt.verify != nil {
			vars["gofleet_verify"] = tt.verify
		}
		if tt.preconditions != nil {
			vars["gofleet_preconditions"] = tt.preconditions
		}
		s := parse(t, vars)
		if s.Verify.Level != tt.level || !reflect.DeepEqual(s.Preconditions.Cgo, tt.cgo) {
			t.Errorf("%v: level %s, cgo %+v; want %s, %+v", vars, s.Verify.Level, s.Preconditions.Cgo, tt.level, tt.cgo)
		}
	}
}

func TestCgoErrors(t *testing.T) {
	const at = "gofleet_preconditions."
	check(t, inventory, []one{
		{pre("cgo", true), at + "cgo", "must be a dictionary, not a boolean (true)", "{} takes the defaults"},
		{pre("cgo", dict{"cxx": "yes please"}), at + "cgo.cxx", "must be true or false", "write true or false"},
		{pre("cgo", dict{"min": 8.5}), at + "cgo.min", "was read as the number 8.5", "quote"},
		{pre("cgo", dict{"min_gcc": "8"}), at + "cgo.min_gcc", "unknown key", "did you mean min"},
	})
}
