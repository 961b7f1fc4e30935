package packages

import (
	"os/exec"
	"testing"
)

func sign(n int) string {
	switch {
	case n < 0:
		return "lt"
	case n > 0:
		return "gt"
	}
	return "eq"
}

// versions are what distributions, and people who want to know, write.
var versions = []string{
	"0", "1", "1.0", "1.0.0", "01.0", "1.0~rc1", "1.0~", "1.0~~", "1.0~rc1-1", "1.0-1", "1.0-1.1", "1.0-10", "1.0a", "1.0+b1", "1.0-1+b1",
	"2.30", "2.39.5-0+deb12u2", "1:2.39.5-0+deb12u2", "1:0", "0:2.30", "4:12.2.0-3", "12.2.0-14+deb12u1", "2.36-9+deb12u14", "2.36-9+deb12u4",
	"1.2.3-4-5", "1.2.3.4-5", "1.a", "1.+", "1.-1", "9", "10", "09", "99999999999999999999999", "100000000000000000000000", "1.0Z", "1.0z", "2~beta1", "2",
}

func TestCompareDebian(t *testing.T) {
	for _, a := range versions {
		for _, b := range versions {
			got := sign(compareDebian(a, b))
			if out, err := exec.Command("dpkg", "--compare-versions", a, got, b).CombinedOutput(); err != nil {
				t.Errorf("%s %s %s, says gofleet; dpkg does not: %v %s", a, got, b, err, out)
			}
		}
	}
}

// The cases that rpm's own tests of its comparison make points of.
func TestCompareRPM(t *testing.T) {
	for _, c := range []struct{ a, want, b string }{
		{"1.0", "eq", "1.0"}, {"1.0", "lt", "2.0"}, {"2.0.1", "gt", "2.0"}, {"2.0.1a", "gt", "2.0.1"}, {"5.5p1", "lt", "5.5p2"}, {"5.5p10", "gt", "5.5p1"},
		{"10xyz", "lt", "10.1xyz"}, {"xyz10", "lt", "xyz10.1"}, {"xyz.4", "lt", "8"}, {"xyz.4", "lt", "2"}, {"1.0010", "gt", "1.9"}, {"1.05", "eq", "1.5"},
		{"4.999.9", "lt", "5.0"}, {"20101121", "eq", "20101121"}, {"2_0", "eq", "2_0"}, {"2.0", "eq", "2_0"}, {"a+", "eq", "a_"}, {"+a", "eq", "_a"},
		{"1.0~rc1", "lt", "1.0"}, {"1.0~rc1", "gt", "1.0~"}, {"1.0~rc1~git123", "lt", "1.0~rc1"}, {"1.0^", "gt", "1.0"}, {"1.0^git1", "lt", "1.01"}, {"1.0^git1~pre", "lt", "1.0^git1"},
		{"1:1.0", "gt", "2.0"}, {"1.0-2", "gt", "1.0-1"}, {"1.0-2.el9", "eq", "1.0"}, {"8.5.0-22.el8_10", "lt", "12"},
	} {
		if got := sign(compareRPM(c.a, c.b)); got != c.want {
			t.Errorf("%s and %s: %s, want %s", c.a, c.b, got, c.want)
		}
		back := map[string]string{"lt": "gt", "gt": "lt", "eq": "eq"}[c.want]
		if got := sign(compareRPM(c.b, c.a)); got != back {
			t.Errorf("%s and %s: %s, want %s", c.b, c.a, got, back)
		}
	}
}

func TestMinWithoutEpoch(t *testing.T) {
	for _, c := range []struct {
		have, low string
		want      bool
	}{
		{"1:2.39.5-0+deb12u2", "2.30", true}, {"1:2.39.5-0+deb12u2", "2.50", false}, {"1:2.39.5-0+deb12u2", "1:2.50", false},
		{"1:2.39.5-0+deb12u2", "2:1", false}, {"12.2.0-14", "12.2.0-14", true}, {"12.2.0-14", "12.2.0", true},
	} {
		if got := scheme(compareDebian).atLeast(c.have, c.low); got != c.want {
			t.Errorf("%s at least %s: %v", c.have, c.low, got)
		}
	}
}
