package report

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func TestFold(t *testing.T) {
	for _, c := range []struct{ names, want string }{
		{"", ""},
		{"web", "web"},
		{"web1", "web1"},
		{"web01 web02 web03", "web[01-03]"},
		{"web03 web01 web02", "web[01-03]"},
		{"web01 web01", "web01"},
		{"db1 db2 db3 db7", "db[1-3,7]"},
		{"n8 n9 n10 n11", "n[8-11]"},
		{"n08 n09 n10 n11", "n[08-11]"},
		{"n098 n099 n100 n101", "n[098-101]"},
		{"n1 n01", "n[1,01]"},
		{"n1 n01 n2 n02", "n[1-2,01-02]"},
		{"n0 n1 n2", "n[0-2]"},
		{"n00 n01 n02", "n[00-02]"},
		{"a b c", "a,b,c"},
		{"web1 db web2", "web[1-2],db"},
		{"10.0.0.1 10.0.0.2 10.0.0.3", "10.0.0.[1-3]"},
		{"web1.example.net web2.example.net", "web[1-2].example.net"},
		{"r1n1 r1n2 r2n1 r2n2", "r[1-2]n[1-2]"},
		{"r1n1 r1n2 r2n1", "r1n[1-2],r2n1"},
		{"1 2 3", "[1-3]"},
		{"x99999999999999999999 x99999999999999999998", "x99999999999999999999,x99999999999999999998"},
		{"fe80::1 fe80::2", "fe80::[1-2]"},
		{"a[1-2] a1 a2", "a[1-2],a[1-2]"}, // a name with brackets stays as it is
	} {
		if got := Fold(strings.Fields(c.names)); got != c.want {
			t.Errorf("Fold(%s) = %s, want %s", c.names, got, c.want)
		}
	}
}

// unfold is the other way: commas outside brackets separate, brackets hold
// numbers and ranges, a range counts in the width of its first number.
func unfold(t *testing.T, s string) []string {
	t.Helper()
	if s == "" {
		return nil
	}
	var out []string
	for _, part := range splitFold(s) {
		names := []string{""}
		for part != "" {
			text, rest, bracket := strings.Cut(part, "[")
			for i := range names {
				names[i] += text
			}
			if part = rest; !bracket {
				break
			}
			var inside string
			inside, part, _ = strings.Cut(rest, "]")
			var longer []string
			for _, name := range names {
				for num := range strings.SplitSeq(inside, ",") {
					first, last, isRange := strings.Cut(num, "-")
					if !isRange {
						last = first
					}
					from, err1 := strconv.ParseUint(first, 10, 64)
					to, err2 := strconv.ParseUint(last, 10, 64)
					if err1 != nil || err2 != nil || to < from {
						t.Fatalf("unfold %q: bad range %q", s, num)
					}
					for n := from; n <= to; n++ {
						longer = append(longer, fmt.Sprintf("%s%0*d", name, len(first), n))
					}
				}
			}
			names = longer
		}
		out = append(out, names...)
	}
	return out
}

func TestFoldLosesNoName(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	prefixes := []string{"web", "db", "", "rack1-", "0", "ü", "a.b-"}
	for range 3000 {
		want := map[string]bool{}
		var names []string
		for range random.IntN(40) {
			name := prefixes[random.IntN(len(prefixes))]
			for range 1 + random.IntN(3) {
				name += fmt.Sprintf("%0*d", random.IntN(4), random.IntN(14)) + []string{"", "n", ".x"}[random.IntN(3)]
			}
			want[name] = true
			names = append(names, name)
		}
		folded := Fold(names)
		got := unfold(t, folded)
		if len(got) != len(want) {
			t.Fatalf("Fold(%q) = %s: %d names, want %d", names, folded, len(got), len(want))
		}
		for _, name := range got {
			if !want[name] {
				t.Fatalf("Fold(%q) = %s, which has %s", names, folded, name)
			}
		}
	}
}

func TestFoldManyHosts(t *testing.T) {
	var names []string
	for i := range 5000 {
		names = append(names, fmt.Sprintf("rack%02d-node%02d.dc%d.example.net", i/100, i%100, i%3))
	}
	slices.Reverse(names)
	if got := Fold(names); len(unfold(t, got)) != 5000 {
		t.Errorf("Fold lost some of 5000 names: %s", got)
	}
}
