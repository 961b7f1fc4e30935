package spec_test

import (
	"testing"
	"time"

	"github.com/gofleet/gofleet/agent/spec"
)

func TestSLO(t *testing.T) {
	check(t, inventory, []one{
		{vars: v("slo", dict{"target": "99.5 %"})},
		{vars: v("slo", nil)},
		{v("slo", "99%"), "gofleet_slo", "must be a dictionary, not text", "{target:"},
		{v("slo", dict{"window": "30d"}), "gofleet_slo", "has no target", "{target:"},
		{v("slo", dict{"target": "all"}), "gofleet_slo.target", `not "all"`, `"99%"`},
		{v("slo", dict{"target": int64(0)}), "gofleet_slo.target", "above 0%", `"99%"`},
		{v("slo", dict{"target": "101%"}), "gofleet_slo.target", "at most 100%", `"99%"`},
		{v("slo", dict{"target": "99%", "window": "91d"}), "gofleet_slo.window", "from 1h to 90d", "kept for 90d"},
		{v("slo", dict{"target": "99%", "window": "5m"}), "gofleet_slo.window", "from 1h to 90d", "30d"},
		{v("slo", dict{"target": "99%", "windows": "30d"}), "gofleet_slo.windows", "unknown key", "did you mean window?"},
	})
	for _, tt := range []struct {
		value any
		want  spec.SLO
	}{
		{dict{"target": "99%"}, spec.SLO{Target: 99, Window: 30 * 24 * time.Hour}},
		{dict{"target": 99.9, "window": "7d"}, spec.SLO{Target: 99.9, Window: 7 * 24 * time.Hour}},
		{dict{"target": int64(90), "window": "36h"}, spec.SLO{Target: 90, Window: 36 * time.Hour}},
	} {
		if got := parse(t, v("slo", tt.value)).SLO; got == nil || *got != tt.want {
			t.Errorf("%v: %+v, want %+v", tt.value, got, tt.want)
		}
	}
}

func TestUniform(t *testing.T) {
	check(t, inventory, []one{
		{vars: v("uniform", list{"zone", "distribution", "kernel", "glibc"})},
		{vars: v("uniform", list{})},
		{v("uniform", "kernel"), "gofleet_uniform", "must be a list, not text", "[distribution"},
		{v("uniform", list{"kernle"}), "gofleet_uniform[0]", "must be one of distribution, kernel, glibc, zone", "did you mean kernel?"},
	})
}
