package spec_test

import (
	"encoding/json"
	"math"
	"reflect"
	"testing"
	"time"

	"github.com/gofleet/gofleet/agent/spec"
)

func TestParseSize(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "17": 17, "17B": 17, "2GB": 2e9, "2 gb": 2e9, "512 MiB": 512 << 20, "1.5GB": 1.5e9, "1.5G": 3 << 29,
		"2T": 2 << 40, "1TB": 1e12, "3k": 3072, "3KB": 3000, "0.5KiB": 512, "1.0005kB": 1000, " 4GiB ": 4 << 30,
		"0.123456789TiB": 135742175033, "9223372036854775807": math.MaxInt64, "8388607TiB": 8388607 << 40,
	} {
		if got, err := spec.ParseSize(text); err != nil || got != want {
			t.Errorf("ParseSize(%q) = %d, %v; want %d", text, got, err, want)
		}
	}
	for _, bad := range []string{"", "GB", "2GBB", "2,5GB", "1.2.3GB", ".5GB", "5.GB", "-1GB", "+1GB", "1e9", "0x10", "2 G B",
		"9223372036854775808", "8388608TiB", "1.0000000001GB", "２GB"} {
		if got, err := spec.ParseSize(bad); err == nil {
			t.Errorf("ParseSize(%q) = %d", bad, got)
		}
	}
}

func TestFormatSize(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0 bytes", 999: "999 bytes", 1000: "1 kB", 1999: "1.9 kB", 1_999_999_999: "1.9 GB", 2e9: "2 GB", 25_276_514_304: "25.2 GB",
		123_456_789: "123 MB", 5e12: "5 TB", math.MaxInt64: "9223372 TB",
	} {
		if got := spec.FormatSize(n); got != want {
			t.Errorf("FormatSize(%d) = %q; want %q", n, got, want)
		}
	}
}

func TestCompareVersions(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want int
	}{
		{"4.14", "4.14", 0}, {"4.9", "4.14", -1}, {"5.0", "5", 0}, {"5.15.0-91-generic", "5.15", 0}, {"6.18.44-fc-v595", "6.18.5", 1},
		{"2.36-9+deb12u10", "2.36", 0}, {"10", "9.9", 1}, {"", "0", 0}, {"x", "1", -1}, {"99999999999999999999", "1", 1},
	} {
		if got := spec.CompareVersions(tt.a, tt.b); got != tt.want {
			t.Errorf("CompareVersions(%q, %q) = %d; want %d", tt.a, tt.b, got, tt.want)
		}
		if got := spec.CompareVersions(tt.b, tt.a); got != -tt.want {
			t.Errorf("CompareVersions(%q, %q) = %d; want %d", tt.b, tt.a, got, -tt.want)
		}
	}
}

// TestLenient: module arguments come as text, and templates leave empty text.
func TestLenient(t *testing.T) {
	lenient := spec.Options{Lenient: true, Required: true}
	got, err := spec.Parse(dict{
		"_ansible_check_mode": true,
		"go_version":          "1.26.8",
		"root":                "",
		"keep":                "5",
		"environment":         dict{"PATTERN": "{{ kept as it is }}", "COUNT": json.Number("3")},
		"verify":              dict{"commands": list{dict{"command": list{"go", "version"}, "retries": 3.0, "timeout": "90"}}},
		"user":                dict{"name": "deploy", "groups": "docker, adm", "authorized_keys": ed25519Key + "\n" + rsa1024 + "\n"},
		"preconditions": dict{
			"cpus": dict{"min": "2", "recommended": 8.0}, "memory": dict{"min": "4000000000"}, "os": "linux",
			"glibc": "", "distributions": dict{"required": "rocky>=8,<10"},
		},
	}, lenient)
	if err != nil {
		t.Fatal(err)
	}
	if got.Keep != 5 || got.Root != spec.DefaultRoot || got.Environment["PATTERN"] != "{{ kept as it is }}" || got.Environment["COUNT"] != "3" {
		t.Errorf("got %+v", got)
	}
	if c := got.Verify.Commands[0]; c.Retries != 3 || c.Timeout != 90*time.Second {
		t.Errorf("command is %+v", c)
	}
	if u := got.User; !reflect.DeepEqual(u.Groups, []string{"docker", "adm"}) || len(u.AuthorizedKeys) != 2 {
		t.Errorf("user is %+v", u)
	}
	p := got.Preconditions
	if *p.CPUs != (spec.Amount{Min: 2, Recommended: 8}) || p.Memory.Min != 4e9 || p.Glibc != nil ||
		!reflect.DeepEqual(p.Distributions.Required, []string{"rocky>=8,<10"}) {
		t.Errorf("preconditions are %+v", p)
	}
	check(t, lenient, []one{
		{dict{"go_version": ""}, "go_version", "is required", ""},
		{dict{"go_version": 1.2}, "go_version", "was read as the number 1.2", "quote"},
		{dict{"go_version": "1.26.8", "keep": "two"}, "keep", `must be a whole number, not "two"`, ""},
		{dict{"go_version": "1.26.8", "keep": 1.5}, "keep", "must be a whole number, not a number (1.5)", ""},
		{dict{"go_version": "1.26.8", "rot": "/x"}, "rot", "is not a variable", "did you mean root?"},
	})
	strict := spec.Options{}
	check(t, strict, []one{
		{dict{"keep": "5"}, "keep", "must be a whole number", ""},
		{dict{"keep": 5.0}, "keep", "must be a whole number", ""},
	})
}
