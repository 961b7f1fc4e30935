package report

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// Fold writes names shortly: web01, web02, web03, db1 become web[01-03],db1.
// Brackets hold numbers and ranges, with leading zeros where the names have
// them, and may stand in several places: rack[1-4]node[01-16]. Each name is in
// the result exactly once; the order is that of first appearance.
func Fold(names []string) string {
	seen := make(map[string]bool, len(names))
	var list []*folded
	for _, name := range names {
		if !seen[name] {
			seen[name] = true
			list = append(list, parseName(name, len(list)))
		}
	}
	for {
		shorter := foldOnce(list)
		if len(shorter) == len(list) {
			break
		}
		list = shorter
	}
	slices.SortStableFunc(list, func(a, b *folded) int { return cmp.Compare(a.first, b.first) })
	out := make([]string, len(list))
	for i, f := range list {
		out[i] = f.String()
	}
	return strings.Join(out, ",")
}

// folded is one or more names: literal, number, literal, number, literal.
// A place that is folded already is part of a literal.
type folded struct {
	text  []string // one more than nums
	nums  []string
	first int // where the first of its names stood
}

// maxDigits bounds the numbers that are folded; longer ones are text.
const maxDigits = 18

func parseName(name string, at int) *folded {
	f := &folded{first: at}
	if strings.ContainsAny(name, "[],") { // would read as a fold
		f.text = []string{name}
		return f
	}
	literal := 0
	for i := 0; i < len(name); {
		if !isDigit(name[i]) {
			i++
			continue
		}
		end := i
		for end < len(name) && isDigit(name[end]) {
			end++
		}
		if end-i <= maxDigits {
			f.text = append(f.text, name[literal:i])
			f.nums = append(f.nums, name[i:end])
			literal = end
		}
		i = end
	}
	f.text = append(f.text, name[literal:])
	return f
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func (f *folded) String() string {
	var b strings.Builder
	for i, num := range f.nums {
		b.WriteString(f.text[i])
		b.WriteString(num)
	}
	b.WriteString(f.text[len(f.nums)])
	return b.String()
}

// without is what all names have in common that differ from f in place only.
func (f *folded) without(place int) string {
	var b strings.Builder
	b.WriteString(strconv.Itoa(place))
	for i, text := range f.text {
		b.WriteByte(0)
		b.WriteString(text)
		if i < len(f.nums) && i != place {
			b.WriteByte(0)
			b.WriteString(f.nums[i])
		}
	}
	return b.String()
}

// foldOnce folds each name with those that differ from it in one number, the
// largest sets first and, of equal ones, the rightmost number.
func foldOnce(list []*folded) []*folded {
	type set struct {
		place int
		names []*folded
	}
	sets := map[string]*set{}
	var order []*set
	for _, f := range list {
		for place := range f.nums {
			key := f.without(place)
			s := sets[key]
			if s == nil {
				s = &set{place: place}
				sets[key] = s
				order = append(order, s)
			}
			s.names = append(s.names, f)
		}
	}
	slices.SortStableFunc(order, func(a, b *set) int {
		return cmp.Or(cmp.Compare(len(b.names), len(a.names)), cmp.Compare(b.place, a.place))
	})
	used := map[*folded]bool{}
	var out []*folded
	for _, s := range order {
		free := slices.DeleteFunc(s.names, func(f *folded) bool { return used[f] })
		if len(free) < 2 {
			continue
		}
		for _, f := range free {
			used[f] = true
		}
		out = append(out, merge(free, s.place))
	}
	for _, f := range list {
		if !used[f] {
			out = append(out, f)
		}
	}
	return out
}

// merge makes one of names that differ in the number at place only.
func merge(names []*folded, place int) *folded {
	one := names[0]
	nums := make([]string, len(names))
	first := one.first
	for i, f := range names {
		nums[i] = f.nums[place]
		first = min(first, f.first)
	}
	bracket := one.text[place] + "[" + ranges(nums) + "]" + one.text[place+1]
	return &folded{
		text:  slices.Concat(one.text[:place], []string{bracket}, one.text[place+2:]),
		nums:  slices.Concat(one.nums[:place], one.nums[place+1:]),
		first: first,
	}
}

// ranges writes different numbers as 01-03,7. A range counts with leading
// zeros when its first number has them, so 1-3 and 01-03 are different.
func ranges(nums []string) string {
	padded := map[int]bool{} // widths in which some number has a leading zero
	for _, n := range nums {
		if len(n) > 1 && n[0] == '0' {
			padded[len(n)] = true
		}
	}
	type number struct {
		text  string
		value uint64
		width int // 0: without leading zeros
	}
	list := make([]number, len(nums))
	for i, n := range nums {
		value, _ := strconv.ParseUint(n, 10, 64) // at most maxDigits digits: always fits
		list[i] = number{text: n, value: value}
		if padded[len(n)] {
			list[i].width = len(n)
		}
	}
	slices.SortFunc(list, func(a, b number) int {
		return cmp.Or(cmp.Compare(a.width, b.width), cmp.Compare(a.value, b.value))
	})
	var out []string
	for i := 0; i < len(list); {
		end := i
		for end+1 < len(list) && list[end+1].width == list[i].width && list[end+1].value == list[end].value+1 {
			end++
		}
		if end > i {
			out = append(out, list[i].text+"-"+list[end].text)
		} else {
			out = append(out, list[i].text)
		}
		i = end + 1
	}
	return strings.Join(out, ",")
}
