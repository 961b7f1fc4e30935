package report

import "strings"

// table lines cells up. The last column is broken between words where the
// table is wider than it may be; the others are cut at cellWidth. The first
// row is the head.
type table struct {
	rows [][]string
}

// cellWidth is where cells are cut, except those of the last column: far
// beyond what an honest host has to say.
const cellWidth = 100

// lastWidth is what the last column gets at least.
const lastWidth = 24

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

// left is how wide all columns but the last are.
func (t *table) left() int {
	n := 0
	for _, w := range t.widths() {
		n += w + 2
	}
	return n
}

// widths are those of all columns but the last.
func (t *table) widths() []int {
	widths := make([]int, len(t.rows[0])-1)
	for i := range widths {
		for _, cells := range t.rows {
			widths[i] = max(widths[i], min(columns(cells[i]), cellWidth))
		}
	}
	return widths
}

// dropLast takes the last column away.
func (t *table) dropLast() {
	for i, cells := range t.rows {
		t.rows[i] = cells[:len(cells)-1]
	}
}

// natural is how wide the table would be on its own.
func (t *table) natural() int {
	last := 0
	for _, cells := range t.rows {
		last = max(last, columns(cells[len(cells)-1]))
	}
	return t.left() + last
}

// sentences are the rows as text, for where no table fits: "memory: actual
// 0.9 GB, wanted at least 2 GB". A row without a first cell goes on with the
// one before.
func (t *table) sentences() []string {
	var out []string
	head, name := t.rows[0], ""
	for _, cells := range t.rows[1:] {
		if cells[0] != "" {
			name = cells[0]
		}
		var parts []string
		for i, cell := range cells[1:] {
			if cell != "" {
				parts = append(parts, head[i+1]+" "+cell)
			}
		}
		out = append(out, name+": "+strings.Join(parts, ", "))
	}
	return out
}

// lines are the table's lines, no wider than width if that can be; 0 is any.
func (t *table) lines(width int) []string {
	widths, left := t.widths(), t.left()
	room := 0
	if width > 0 {
		room = max(width-left, lastWidth)
	}
	var out []string
	for _, cells := range t.rows {
		var b strings.Builder
		for i, w := range widths {
			b.WriteString(pad(cut(cells[i], w), w) + "  ")
		}
		for i, part := range wrap(cells[len(widths)], room) {
			if i > 0 {
				b.WriteString("\n" + strings.Repeat(" ", left))
			}
			b.WriteString(part)
		}
		for line := range strings.SplitSeq(b.String(), "\n") {
			out = append(out, strings.TrimRight(line, " "))
		}
	}
	return out
}
