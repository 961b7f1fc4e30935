package tree

import (
	"errors"
	"fmt"
	"io"
)

// Ranges is the short form of a selection of files: pairs of the first entry
// and the number of entries, in order. Directories inside a range don't count.
// files are indices of m, in order.
func (m Manifest) Ranges(files []int) [][2]int {
	var ranges [][2]int
	next := -1 // the entry that would lengthen the last range
	for _, i := range files {
		for next >= 0 && next < i && m[next].Dir {
			next++
		}
		if i == next {
			last := &ranges[len(ranges)-1]
			last[1] = i + 1 - last[0]
		} else {
			ranges = append(ranges, [2]int{i, 1})
		}
		next = i + 1
	}
	return ranges
}

// Select gives the files that ranges mean, as indices of m in order. What
// Ranges would not make is refused.
func (m Manifest) Select(ranges [][2]int) ([]int, error) {
	var files []int
	next := 0
	for _, r := range ranges {
		first, n := r[0], r[1]
		if first < next || n < 1 || n > len(m)-first {
			return nil, fmt.Errorf("%d entries from number %d on are not in order in a tree of %d", n, first, len(m))
		}
		next = first + n
		for i := first; i < next; i++ {
			if !m[i].Dir {
				files = append(files, i)
			}
		}
	}
	if len(files) == 0 {
		return nil, errors.New("no file is selected")
	}
	return files, nil
}

// ReadDifference reads the contents of some files of a tree, one after the
// other in the manifest's order with nothing in between, up to the stream's
// end, and calls visit for each. files are indices of m. As ReadKnown it hashes
// nothing: some sum outside proves the bytes, and sizes alone say where a file
// ends. A stream that is shorter or longer is a *wire.Error of kind
// archive_corrupt; errors of r and visit are returned as they are.
func ReadDifference(r io.Reader, m Manifest, files []int, visit func(e Entry, content io.Reader) error) error {
	src := newSource(r)
	rest := &content{src: src}
	for _, i := range files {
		rest.left = m[i].Size
		err := visit(m[i], rest.reader())
		if err == nil {
			err = rest.skip()
		}
		if err != nil {
			return src.explain(err)
		}
	}
	switch n, err := io.ReadFull(src, make([]byte, 1)); {
	case n > 0:
		return corrupt(errors.New("more came than was asked for"))
	case !errors.Is(err, io.EOF):
		return err
	}
	return nil
}
