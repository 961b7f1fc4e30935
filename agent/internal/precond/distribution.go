package precond

import "strings"

// distribution gives ID and VERSION_ID of os-release; both empty where there
// is none. ID_LIKE is not looked at: its versions are not the host's.
func (h host) distribution() (id, version string) {
	content := h.read("/etc/os-release")
	if content == "" {
		content = h.read("/usr/lib/os-release")
	}
	if content == "" {
		return "", ""
	}
	id = "linux" // what the format says a missing ID means
	for _, line := range strings.SplitAfter(content, "\n") {
		key, value, ok := strings.Cut(strings.TrimSpace(line), "=")
		if !ok {
			continue
		}
		switch key {
		case "ID":
			id = strings.ToLower(printable(unquote(value), 64))
		case "VERSION_ID":
			version = printable(unquote(value), 64)
		}
	}
	return id, version
}

// unquote reads the value of an assignment as a shell would: bare, in single
// quotes, or in double quotes with backslashes before " $ ` and \.
func unquote(s string) string {
	if len(s) >= 2 && s[0] == '\'' && s[len(s)-1] == '\'' {
		return s[1 : len(s)-1]
	}
	inQuotes := len(s) >= 2 && s[0] == '"' && s[len(s)-1] == '"'
	if inQuotes {
		s = s[1 : len(s)-1]
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) && (!inQuotes || strings.IndexByte("\"$`\\", s[i+1]) >= 0) {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
