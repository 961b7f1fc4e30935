package spec_test

import (
	"reflect"
	"testing"

	"github.com/gofleet/gofleet/agent/spec"
)

func TestPreconditionRules(t *testing.T) {
	const at = "gofleet_preconditions."
	check(t, inventory, []one{
		{vars: v("preconditions", dict{})},
		{v("preconditions", list{}), "gofleet_preconditions", "must be a dictionary, not a list", "{memory: {min: 4GB}}"},
		{v("preconditions", false), "gofleet_preconditions", "must be a dictionary, not a boolean", ""},

		{pre("os", "linux"), at + "os", "must be a list, not text", "[linux]"},
		{pre("os", list{"windows"}), at + "os[0]", `"windows" is not an os that gofleet serves`, "null"},
		{pre("os", list{true}), at + "os[0]", "must be the name of an os", ""},
		{vars: pre("arch", list{"ARM64", "i386", "armv7l", "riscv64", "loong64"})},
		{pre("arch", list{"x86_65"}), at + "arch[0]", `"x86_65" is not an architecture`, "did you mean x86_64?"},
		{pre("arch", list{int64(386)}), at + "arch[0]", "must be the name of an architecture, not a number", "quote"},

		{vars: pre("kernel", dict{"min": int64(5)})},
		{pre("kernel", "5.4"), at + "kernel", "must be a dictionary, not text", `{min: "4.14"}`},
		{pre("kernel", dict{"min": 5.1}), at + "kernel.min", "was read as the number 5.1", "quote"},
		{pre("kernel", dict{"min": "five"}), at + "kernel.min", `"five" is not a version`, `"4.14"`},
		{pre("kernel", dict{"min": "5."}), at + "kernel.min", "is not a version", ""},
		{pre("kernel", dict{"min": "5.4-generic"}), at + "kernel.min", "is not a version", ""},
		{pre("kernel", dict{"min": "1.2.3.4.5.6.7"}), at + "kernel.min", "is not a version", ""},
		{pre("kernel", dict{"min": true}), at + "kernel.min", "must be a version in quotes, not a boolean", ""},
		{pre("kernel", dict{"min": "5.10", "recommended": "5.4"}), at + "kernel.recommended", "recommends 5.4, which is below min 5.10", "raise"},
		{pre("glibc", dict{"recommended": "2.17"}), at + "glibc.recommended", "below min 2.28", "lower min"},

		{pre("cpus", dict{"min": "4"}), at + "cpus.min", `must be a whole number, not "4"`, ""},
		{pre("cpus", dict{"min": int64(-1)}), at + "cpus.min", "must be from 0", ""},
		{pre("cpus", int64(4)), at + "cpus", "must be a dictionary, not a number (4)", "{min: 4}; null switches"},
		{pre("memory", dict{"min": "2 GBB"}), at + "memory.min", `"2 GBB" is not a size`, `"2GB"`},
		{pre("memory", dict{"min": int64(2)}), at + "memory.min", "is only 2 bytes", `"2GB"`},
		{pre("memory", dict{"min": "-2GB"}), at + "memory.min", "is not a size", ""},
		{pre("memory", dict{"min": int64(-5)}), at + "memory.min", "must be a size", ""},
		{pre("memory", dict{"min": 2.5}), at + "memory.min", "must be a size, not a number (2.5)", ""},
		{pre("memory", dict{"min": "99999999TB"}), at + "memory.min", "more than gofleet can count", ""},
		{pre("memory", dict{"recommended": "1GB"}), at + "memory.recommended", "recommends less than min", "lower min"},
		{pre("disk", false), at + "disk", "must be a dictionary, not a boolean", "null switches the check off"},
		{pre("inodes", dict{"min": "many"}), at + "inodes.min", "must be a whole number", ""},

		{pre("noexec", false), at + "noexec", "must be fail or warn, not false", "null"},
		{pre("noexec", "ignore"), at + "noexec", "must be one of fail, warn", ""},
		{pre("clock", "5m"), at + "clock", "must be a dictionary", "{max_skew: 5m}"},
		{pre("clock", dict{"max_skew": "soon"}), at + "clock.max_skew", `must be a duration, not "soon"`, ""},
		{pre("clock", dict{"max": "5m"}), at + "clock.max", "unknown key", "max_skew"},

		{pre("distributions", list{"debian"}), at + "distributions", "must be a dictionary", "required"},
		{pre("distributions", dict{"required": "debian"}), at + "distributions.required", "must be a list", ""},
		{pre("distributions", dict{"required": list{"debian>=bookworm"}}), at + "distributions.required[0]", "is not a condition", "ubuntu>=20.04"},
		{pre("distributions", dict{"required": list{20.04}}), at + "distributions.required[0]", "must be text", ""},

		{pre("commands", "gcc"), at + "commands", "must be a list", "[gcc"},
		{pre("commands", list{dict{"min": "1"}}), at + "commands[0]", "has no name", ""},
		{pre("commands", list{"/usr/bin/gcc"}), at + "commands[0]", "is not the name of a command", "PATH"},
		{pre("commands", list{"-x"}), at + "commands[0]", "is not the name of a command", ""},
		{pre("commands", list{"a;b"}), at + "commands[0]", "is not the name of a command", ""},
		{pre("commands", list{int64(7)}), at + "commands[0]", "must be the name of a command", ""},
		{pre("commands", list{dict{"name": "git", "min": 2.3}}), at + "commands[0].min", "was read as the number 2.3", "quote"},
		{pre("commands", list{"git", dict{"name": "git"}}), at + "commands[1].name", "is listed twice", ""},
	})
}

// TestNullSwitchesOff: null is off for every precondition, and for one key.
func TestNullSwitchesOff(t *testing.T) {
	all := dict{}
	for _, variable := range spec.Variables() {
		if variable.Name == "preconditions" {
			for _, f := range variable.Fields {
				all[f.Name] = nil
			}
		}
	}
	if got := parse(t, v("preconditions", all)).Preconditions; !reflect.DeepEqual(got, spec.Preconditions{}) {
		t.Errorf("all null gives %+v", got)
	}
	if got := parse(t, v("preconditions", nil)); !reflect.DeepEqual(got, parse(t, dict{})) {
		t.Errorf("gofleet_preconditions: null is not the defaults: %+v", got)
	}
	empty := dict{
		"os": list{}, "arch": list{}, "kernel": dict{"min": nil}, "glibc": dict{"min": nil, "recommended": nil},
		"cpus": dict{"min": nil, "recommended": nil}, "memory": dict{"min": int64(0), "recommended": nil}, "disk": dict{"min": nil},
		"inodes": dict{"min": int64(0)}, "noexec": nil, "clock": dict{"max_skew": nil},
		"distributions": dict{"required": list{}, "recommended": nil}, "commands": list{},
	}
	if got := parse(t, v("preconditions", empty)).Preconditions; !reflect.DeepEqual(got, spec.Preconditions{}) {
		t.Errorf("all empty gives %+v", got)
	}
}

func TestPartsKeepTheirDefaults(t *testing.T) {
	for _, tt := range []struct {
		given, want *spec.Amount
	}{
		{&spec.Amount{Min: 4e9}, &spec.Amount{Min: 4e9, Recommended: 8e9}},
		{&spec.Amount{Recommended: 16e9}, &spec.Amount{Min: 2e9, Recommended: 16e9}},
		{&spec.Amount{Min: 16e9}, &spec.Amount{Min: 16e9}}, // the default recommendation says nothing above it
		{&spec.Amount{}, &spec.Amount{Min: 2e9, Recommended: 8e9}},
	} {
		m := dict{}
		if tt.given.Min > 0 {
			m["min"] = tt.given.Min
		}
		if tt.given.Recommended > 0 {
			m["recommended"] = tt.given.Recommended
		}
		if got := parse(t, pre("memory", m)).Preconditions.Memory; !reflect.DeepEqual(got, tt.want) {
			t.Errorf("memory %v gives %+v; want %+v", m, got, tt.want)
		}
	}
}

func TestConditions(t *testing.T) {
	for _, tt := range []struct {
		condition, id, version string
		want                   bool
	}{
		{"debian", "debian", "12", true},
		{"debian", "ubuntu", "22.04", false},
		{"debian", "debian", "", true},
		{"Debian", "debian", "12", true},
		{"debian>=11", "debian", "11", true},
		{"debian>=11", "debian", "9", false},
		{"debian>=11", "debian", "", true}, // sid
		{"debian<=12", "debian", "", false},
		{"ubuntu>=20.04", "ubuntu", "20.04", true},
		{"ubuntu>=20.04", "ubuntu", "18.04", false},
		{"ubuntu>=20.04", "ubuntu", "20.10", true},
		{"ubuntu>=20.4", "ubuntu", "20.04", true},
		{"rocky>=8", "rocky", "8.9", true},
		{"rocky==8", "rocky", "8.9", true},
		{"rocky=8", "rocky", "9.1", false},
		{"rocky==8.10", "rocky", "8.1", false},
		{"rocky!=8", "rocky", "8.9", false},
		{"rocky!=8", "rocky", "9", true},
		{"rocky>8", "rocky", "8.9", false},
		{"rocky>8", "rocky", "9.0", true},
		{"rocky<=8", "rocky", "8.9", true},
		{"rocky<9", "rocky", "8.9", true},
		{"rocky>=8,<10", "rocky", "9.3", true},
		{"rocky >= 8, < 10", "rocky", "10.0", false},
		{"redhat>=8", "rhel", "8.6", true},
		{"opensuse-leap>=15.4", "opensuse-leap", "15.5", true},
	} {
		c, err := spec.ParseCondition(tt.condition)
		if err != nil {
			t.Errorf("%s: %v", tt.condition, err)
			continue
		}
		if got := c.Holds(tt.id, tt.version); got != tt.want {
			t.Errorf("%s on %s %s: %v; want %v", tt.condition, tt.id, tt.version, got, tt.want)
		}
		if again, err := spec.ParseCondition(c.String()); err != nil || !reflect.DeepEqual(again, c) {
			t.Errorf("%s is written %s, which is read as %+v, %v", tt.condition, c, again, err)
		}
	}
	for _, bad := range []string{"", ">=8", "rocky>=", "rocky>=8,", "rocky,>=8", "rocky~>8", "rocky>=8.x", "rocky 8", "-x", "a b;c", "rocky>=>=8"} {
		if c, err := spec.ParseCondition(bad); err == nil {
			t.Errorf("%q is read as %+v", bad, c)
		}
	}
}
