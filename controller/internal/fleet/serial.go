package fleet

import (
	"fmt"
	"strconv"
	"strings"
)

// Share is a number of hosts, or a part of all in percent.
type Share struct {
	Number  int
	Percent float64 // instead of Number, where IsPart
	IsPart  bool
}

// ParseShare reads "10" or "5%".
func ParseShare(text string) (Share, error) {
	number, part := strings.CutSuffix(strings.TrimSpace(text), "%")
	if part {
		p, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
		if err != nil || !(p >= 0 && p <= 100) {
			return Share{}, fmt.Errorf("%q is no part of the hosts: write 0%% to 100%%", text)
		}
		return Share{Percent: p, IsPart: true}, nil
	}
	n, err := strconv.Atoi(number)
	if err != nil || n < 0 {
		return Share{}, fmt.Errorf("%q is neither a number of hosts nor a part of them: write 10 or 5%%", text)
	}
	return Share{Number: n}, nil
}

// String is the share as ParseShare reads it.
func (s Share) String() string {
	if s.IsPart {
		return strconv.FormatFloat(s.Percent, 'f', -1, 64) + "%"
	}
	return strconv.Itoa(s.Number)
}

// allows reports whether n of all hosts are no more than the share.
func (s Share) allows(n, all int) bool {
	if s.IsPart {
		return float64(n)*100 <= s.Percent*float64(all)
	}
	return n <= s.Number
}

// most is how many of all hosts the share allows.
func (s Share) most(all int) int {
	if !s.IsPart {
		return min(s.Number, all)
	}
	n := int(s.Percent * float64(all) / 100)
	if n < all && s.allows(n+1, all) {
		n++ // the division was a hair below
	}
	return n
}

// ParseSerial reads "1,10%,100%": how many hosts each batch has. As in Ansible
// the last one repeats.
func ParseSerial(text string) ([]Share, error) {
	var list []Share
	for part := range strings.SplitSeq(text, ",") {
		s, err := ParseShare(part)
		if err != nil {
			return nil, err
		}
		if s.Number == 0 && s.Percent == 0 {
			return nil, fmt.Errorf("%q is no batch: it has at least 1 host", part)
		}
		list = append(list, s)
	}
	return list, nil
}

// Batches divides n hosts. A part is one of all n, rounded down as in Ansible,
// but one host at least. Without a serial there is one batch.
func Batches(serial []Share, n int) []int {
	if len(serial) == 0 {
		if n == 0 {
			return nil
		}
		return []int{n}
	}
	var sizes []int
	for left := n; left > 0; {
		s := serial[min(len(sizes), len(serial)-1)]
		size := s.Number
		if s.IsPart {
			size = max(int(s.Percent*float64(n)/100), 1)
		}
		size = min(size, left)
		sizes = append(sizes, size)
		left -= size
	}
	return sizes
}
