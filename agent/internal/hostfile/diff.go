package hostfile

import (
	"fmt"
	"strings"
	"unicode"
)

// context lines around a change, as diff -u has them.
const around = 3

// Diff is the unified diff of two small texts, "" if they are equal. An empty
// text counts as a file that isn't there.
func Diff(path, before, after string) string {
	if before == after {
		return ""
	}
	from, to := path, path
	if before == "" {
		from = "/dev/null"
	}
	if after == "" {
		to = "/dev/null"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "--- %s\n+++ %s\n", from, to)
	for _, h := range hunks(edits(lines(before), lines(after))) {
		h.print(&b)
	}
	return b.String()
}

// LinkDiff is the diff of where a link leads; "" is no link.
func LinkDiff(path, before, after string) string {
	text := func(target string) string {
		if target == "" {
			return ""
		}
		return "link to " + strings.Map(func(r rune) rune {
			if unicode.IsPrint(r) {
				return r
			}
			return '?'
		}, target) + "\n"
	}
	return Diff(path, text(before), text(after))
}

func lines(s string) []string {
	if s == "" {
		return nil
	}
	return strings.SplitAfter(strings.TrimSuffix(s, "\n"), "\n")
}

// edit is a line that stays (' '), goes ('-') or comes ('+').
type edit struct {
	op   byte
	text string
}

// edits finds the fewest, by the longest common subsequence. Texts that are too
// large for the table are replaced whole.
func edits(a, b []string) []edit {
	trim := func(s string) string { return strings.TrimSuffix(s, "\n") }
	var out []edit
	if len(a)*len(b) > 1<<22 {
		for _, l := range a {
			out = append(out, edit{'-', trim(l)})
		}
		for _, l := range b {
			out = append(out, edit{'+', trim(l)})
		}
		return out
	}
	n := make([][]int, len(a)+1)
	for i := range n {
		n[i] = make([]int, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			if trim(a[i]) == trim(b[j]) {
				n[i][j] = n[i+1][j+1] + 1
			} else {
				n[i][j] = max(n[i+1][j], n[i][j+1])
			}
		}
	}
	i, j := 0, 0
	for i < len(a) || j < len(b) {
		switch {
		case i < len(a) && j < len(b) && trim(a[i]) == trim(b[j]):
			out = append(out, edit{' ', trim(a[i])})
			i, j = i+1, j+1
		case j == len(b) || i < len(a) && n[i+1][j] >= n[i][j+1]:
			out = append(out, edit{'-', trim(a[i])})
			i++
		default:
			out = append(out, edit{'+', trim(b[j])})
			j++
		}
	}
	return out
}

// hunk is a run of edits with its first line in both texts, from 1.
type hunk struct {
	a, b  int
	edits []edit
}

func hunks(all []edit) []hunk {
	var out []hunk
	last := -1 // index after which the current hunk's context ends
	lineA, lineB := make([]int, len(all)), make([]int, len(all))
	a, b := 1, 1
	for i, e := range all {
		lineA[i], lineB[i] = a, b
		if e.op != '+' {
			a++
		}
		if e.op != '-' {
			b++
		}
	}
	for i, e := range all {
		if e.op == ' ' {
			continue
		}
		start, end := max(i-around, last+1, 0), min(i+around, len(all)-1)
		if len(out) == 0 || i-around > last+1 {
			out = append(out, hunk{a: lineA[start], b: lineB[start]})
		}
		if end > last {
			h := &out[len(out)-1]
			h.edits = append(h.edits, all[start:end+1]...)
			last = end
		}
	}
	return out
}

func (h hunk) print(b *strings.Builder) {
	na, nb := 0, 0
	for _, e := range h.edits {
		if e.op != '+' {
			na++
		}
		if e.op != '-' {
			nb++
		}
	}
	at := func(line, n int) string {
		if n == 0 {
			line--
		}
		return fmt.Sprintf("%d,%d", line, n)
	}
	fmt.Fprintf(b, "@@ -%s +%s @@\n", at(h.a, na), at(h.b, nb))
	for _, e := range h.edits {
		fmt.Fprintf(b, "%c%s\n", e.op, e.text)
	}
}
