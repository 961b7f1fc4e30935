package spec_test

import (
	"testing"

	"github.com/gofleet/gofleet/agent/spec"
)

func TestSiteSeed(t *testing.T) {
	for _, tt := range []struct {
		value   any
		lenient bool
		want    spec.SiteSeed
		bad     bool
	}{
		{value: true, want: spec.SiteSeed{Self: true}},
		{value: false, want: spec.SiteSeed{None: true}},
		{value: nil},
		{value: " paris1:7022 ", want: spec.SiteSeed{Host: "paris1:7022"}},
		{value: "true", want: spec.SiteSeed{Host: "true"}},
		{value: "True", lenient: true, want: spec.SiteSeed{Self: true}},
		{value: "false", lenient: true, want: spec.SiteSeed{None: true}},
		{value: "  ", bad: true},
		{value: int64(7), bad: true},
		{value: "a\nb", bad: true},
		{value: []any{"a"}, bad: true},
	} {
		s, err := spec.Parse(map[string]any{"gofleet_site_seed": tt.value}, spec.Options{Prefix: "gofleet_", Lenient: tt.lenient})
		if (err != nil) != tt.bad {
			t.Errorf("%v gives %v", tt.value, err)
		} else if err == nil && s.SiteSeed != tt.want {
			t.Errorf("%v is %+v, want %+v", tt.value, s.SiteSeed, tt.want)
		}
	}
}
