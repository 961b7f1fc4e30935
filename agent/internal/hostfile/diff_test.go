package hostfile_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/gofleet/gofleet/agent/internal/hostfile"
)

func TestDiff(t *testing.T) {
	numbers := func(from, to int) string {
		var b strings.Builder
		for i := from; i <= to; i++ {
			fmt.Fprintln(&b, i)
		}
		return b.String()
	}
	for _, c := range []struct{ name, before, after, want string }{
		{"equal", "a\n", "a\n", ""},
		{"new", "", "a\nb\n", "--- /dev/null\n+++ f\n@@ -0,0 +1,2 @@\n+a\n+b\n"},
		{"gone", "a\n", "", "--- f\n+++ /dev/null\n@@ -1,1 +0,0 @@\n-a\n"},
		{"one line", numbers(1, 9), strings.Replace(numbers(1, 9), "5\n", "five\n", 1),
			"--- f\n+++ f\n@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-5\n+five\n 6\n 7\n 8\n"},
		{"two hunks", numbers(1, 20), strings.Replace(strings.Replace(numbers(1, 20), "2\n", "", 1), "19\n", "19\nx\n", 1),
			"--- f\n+++ f\n@@ -1,5 +1,4 @@\n 1\n-2\n 3\n 4\n 5\n@@ -17,4 +16,5 @@\n 17\n 18\n 19\n+x\n 20\n"},
		{"near changes share a hunk", numbers(1, 9), strings.Replace(strings.Replace(numbers(1, 9), "2\n", "", 1), "8\n", "", 1),
			"--- f\n+++ f\n@@ -1,9 +1,7 @@\n 1\n-2\n 3\n 4\n 5\n 6\n 7\n-8\n 9\n"},
	} {
		if got := hostfile.Diff("f", c.before, c.after); got != c.want {
			t.Errorf("%s:\n%s\nwant\n%s", c.name, got, c.want)
		}
	}
}

// A diff says all that differs: applied to the one text it gives the other.
func FuzzDiff(f *testing.F) {
	f.Add("a\nb\nc\n", "a\nc\nd\n")
	f.Add("", "x\n")
	f.Add("a\na\na\nb\nb\nb\nb\nb\nb\nb\nb\n", "b\na\nb\na\n")
	f.Fuzz(func(t *testing.T, before, after string) {
		for _, s := range []*string{&before, &after} {
			if *s != "" && !strings.HasSuffix(*s, "\n") {
				*s += "\n"
			}
		}
		got := before
		if d := hostfile.Diff("f", before, after); d != "" {
			got = applyDiff(t, before, d)
		}
		if got != after {
			t.Errorf("%q becomes %q, not %q", before, got, after)
		}
	})
}

func applyDiff(t *testing.T, text, diff string) string {
	t.Helper()
	old := strings.SplitAfter(text, "\n")
	old = old[:len(old)-1]
	var out strings.Builder
	at := 0
	body := strings.SplitAfterN(diff, "\n", 3)[2]
	for line := range strings.Lines(body) {
		var a, na, b, nb int
		if n, _ := fmt.Sscanf(line, "@@ -%d,%d +%d,%d @@", &a, &na, &b, &nb); n == 4 {
			if na > 0 {
				a--
			}
			for ; at < a; at++ {
				out.WriteString(old[at])
			}
			continue
		}
		switch line[0] {
		case ' ', '-':
			if at >= len(old) || old[at] != line[1:] {
				t.Fatalf("hunk does not fit at line %d: %q in\n%s", at+1, line, diff)
			}
			at++
		}
		if line[0] != '-' {
			out.WriteString(line[1:])
		}
	}
	for ; at < len(old); at++ {
		out.WriteString(old[at])
	}
	return out.String()
}
