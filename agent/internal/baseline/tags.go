package baseline

import "strings"

// tag is an element's begin or, with a slash before its name, its end. One that
// is empty has only a begin.
type tag struct {
	name string
	attr map[string]string
}

// tags reads the elements of an XML text that firewalld or an administrator
// wrote. Package encoding/xml would be 300 KB of the agent.
func tags(text string) (all []tag) {
	for {
		_, rest, ok := strings.Cut(text, "<")
		if !ok {
			return all
		}
		if strings.HasPrefix(rest, "!--") {
			if _, text, ok = strings.Cut(rest, "-->"); !ok {
				return all
			}
			continue
		}
		inside, after, ok := strings.Cut(rest, ">")
		if !ok {
			return all
		}
		text = after
		if t := parseTag(strings.TrimSuffix(inside, "/")); t.name != "" {
			all = append(all, t)
		}
	}
}

func parseTag(s string) tag {
	s = strings.TrimSpace(s)
	end := strings.IndexAny(s, " \t\r\n")
	if end < 0 {
		return tag{name: s}
	}
	t := tag{name: s[:end], attr: map[string]string{}}
	for rest := s[end:]; ; {
		name, after, ok := strings.Cut(rest, "=")
		after = strings.TrimLeft(after, " \t\r\n")
		if !ok || after == "" {
			return t
		}
		value, next, ok := strings.Cut(after[1:], after[:1])
		if !ok || after[0] != '"' && after[0] != '\'' {
			return t
		}
		t.attr[strings.TrimSpace(name)] = value
		rest = next
	}
}
