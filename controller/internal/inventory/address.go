package inventory

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxRange bounds the hosts that one range may stand for.
const maxRange = 1_000_000

// maxDigits is how many digits Python makes a number of.
const maxDigits = 4300

var (
	bracketedPortRE = regexp.MustCompile(`^\[(.+)\]:([0-9]+)$`)
	hostPortRE      = regexp.MustCompile(`^((?:[^:\[\]]|\[[^\]]*\])*):([0-9]+)$`)
	ipv4RE          = regexp.MustCompile(`^(?:` + ipv4Part + `\.){3}` + ipv4Part + `$`)
	ipv6RE          = regexp.MustCompile(ipv6Pattern())
)

const (
	ipv4Part = `(?:[01]?[0-9]{1,2}|2[0-4][0-9]|25[0-5]|\[[0-9]+:[0-9]+(?::[0-9]+)?\])`
	ipv6Part = `(?:[0-9a-f]{1,4}|\[[0-9a-f]+:[0-9a-f]+(?::[0-9]+)?\])`
)

// ipv6Pattern spells out the ways to write an address, as a range may stand
// in place of any part.
func ipv6Pattern() string {
	p := ipv6Part
	alternatives := []string{
		`(?:` + p + `:){7}` + p,
		`(?:` + p + `:){1,6}:`,
	}
	for n := 1; n <= 6; n++ {
		alternatives = append(alternatives, fmt.Sprintf(`(?:%s:){%d}(?::%s){1,%d}`, p, n, p, 7-n))
	}
	alternatives = append(alternatives,
		`:(?::`+p+`){1,6}`,
		p+`?::`,
		`(?:0:){6}(?:`+p+`\.){3}`+p,
		`::(?:ffff:)?(?:`+p+`\.){3}`+p,
		`(?:0:){5}ffff:(?:`+p+`\.){3}`+p,
	)
	return `(?i)^(?:` + strings.Join(alternatives, `|`) + `)$`
}

// splitAddress separates host and port as Ansible's parse_address does; ok is
// false for what it does not take for an address. A port has any number of
// digits, the first of which is no zero; "" means none.
func splitAddress(s string, ranges bool) (host, port string, ok bool) {
	host = s
	for _, re := range []*regexp.Regexp{bracketedPortRE, hostPortRE} {
		if m := re.FindStringSubmatch(host); m != nil {
			if len(m[2]) > maxDigits {
				return s, "", false
			}
			host, port = m[1], strings.TrimLeft(m[2], "0")
		}
	}
	if !isHostname(host) && !ipv4RE.MatchString(host) && !ipv6RE.MatchString(host) {
		return s, "", false
	}
	if !ranges && strings.Contains(host, "[") {
		return s, "", false
	}
	return host, port, true
}

// isHostname matches dotted labels of letters, digits, _ and -, with ranges
// in place of any character; a label begins with none of the signs but _ and
// ends with neither.
func isHostname(s string) bool {
	first, last := true, ' '
	for len(s) > 0 {
		if n := rangeLen(s); n > 0 {
			s, first, last = s[n:], false, ']'
			continue
		}
		r, size := utf8.DecodeRuneInString(s)
		switch {
		case r == '.':
			if first || last == '_' || last == '-' {
				return false
			}
			first, last = true, ' '
		case r == '_', unicode.IsLetter(r), unicode.IsNumber(r), r == '-' && !first:
			first, last = false, r
		default:
			return false
		}
		s = s[size:]
	}
	return !first && last != '_' && last != '-'
}

var rangeRE = regexp.MustCompile(`(?i)^\[(?:[a-z]:[a-z]|[0-9]+:[0-9]+)(?::[0-9]+)?\]`)

// rangeLen is the length of the range that s begins with, or 0.
func rangeLen(s string) int {
	if s[0] != '[' {
		return 0
	}
	return len(rangeRE.FindString(s))
}

// expandHosts gives the hosts that a key of a hosts section stands for, and
// the port written behind it, or "".
func expandHosts(pattern string) ([]string, string, error) {
	if !strings.ContainsAny(pattern, "[:") {
		return []string{pattern}, "", nil
	}
	host, port, ok := splitAddress(pattern, true)
	if !ok {
		host, port = pattern, ""
	}
	if !strings.Contains(host, "[") {
		return []string{host}, port, nil
	}
	hosts, err := expandRange(host, nil)
	return hosts, port, err
}

const asciiLetters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

// expandRange appends what the first range in s stands for, and so on with
// the ranges behind it.
func expandRange(s string, out []string) ([]string, error) {
	head, rest, _ := strings.Cut(s, "[")
	inner, tail, ok := strings.Cut(rest, "]")
	if !ok {
		return nil, errors.New("a host range begins with [ and has no ]")
	}
	if strings.Contains(head+inner+tail, "|") {
		return nil, errors.New("a name with a host range can't hold |")
	}
	r, err := parseRange(inner)
	if err != nil {
		return nil, err
	}
	for i := r.begin; i <= r.end; i += r.step {
		name := head + r.text(i) + tail
		if strings.Contains(tail, "[") {
			if out, err = expandRange(name, out); err != nil {
				return nil, err
			}
		} else {
			out = append(out, name)
		}
		if len(out) > maxRange {
			return nil, fmt.Errorf("the range stands for more than %d hosts", maxRange)
		}
	}
	return out, nil
}

// hostRange is what stands between brackets: begin to end, both included.
type hostRange struct {
	begin, end, step int
	width            int  // digits, with zeros in front; 0 for as they come
	letters          bool // begin and end are places in asciiLetters
}

func (r hostRange) text(i int) string {
	if r.letters {
		return asciiLetters[i : i+1]
	}
	return fmt.Sprintf("%0*d", r.width, i)
}

func parseRange(s string) (hostRange, error) {
	bounds := strings.Split(s, ":")
	if len(bounds) != 2 && len(bounds) != 3 {
		return hostRange{}, errors.New("a host range is [begin:end] or [begin:end:step]")
	}
	begin, end := bounds[0], bounds[1]
	if end == "" {
		return hostRange{}, errors.New("a host range needs its end")
	}
	if begin == "" {
		begin = "0"
	}
	r := hostRange{step: 1}
	if begin[0] == '0' && len(begin) > 1 {
		if r.width = len(begin); r.width != len(end) {
			return r, errors.New("begin and end of a host range with leading zeros need the same width")
		}
	}
	var err error
	if len(bounds) == 3 {
		if r.step, err = strconv.Atoi(bounds[2]); err != nil || r.step < 1 {
			return r, fmt.Errorf("the step of a host range is a positive number, not %q", bounds[2])
		}
	}
	r.begin, r.end = strings.Index(asciiLetters, begin), strings.Index(asciiLetters, end)
	if r.begin >= 0 && r.end >= 0 {
		r.letters = true
		if r.begin > r.end {
			return r, errors.New("a host range of letters goes upwards: a before z before A before Z")
		}
		return r, nil
	}
	if r.begin, err = strconv.Atoi(begin); err == nil {
		r.end, err = strconv.Atoi(end)
	}
	if err != nil {
		return r, fmt.Errorf("a host range goes from number to number or from letter to letter, not [%s]", s)
	}
	if r.end > 1<<40 || r.begin < -1<<40 {
		return r, fmt.Errorf("the range stands for more than %d hosts", maxRange)
	}
	return r, nil
}
