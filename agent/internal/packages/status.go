package packages

import "strings"

// isInstalled is the state of a package that is all there.
const isInstalled = "installed"

// parseStatus reads dpkg's status file. Of a package that is there for several
// architectures, one that is installed counts. A name that only provides has
// no version.
func parseStatus(text string) map[string]installed {
	has := map[string]installed{}
	var name, provides string
	var p installed
	flush := func() {
		if name != "" && (p.state == isInstalled || has[name].state != isInstalled) {
			has[name] = p
		}
		if p.state == isInstalled {
			for _, virtual := range strings.Split(provides, ",") {
				virtual, version, _ := strings.Cut(strings.TrimSpace(virtual), " ")
				if _, real := has[virtual]; !real && virtual != "" {
					has[virtual] = installed{version: strings.Trim(version, "()= "), state: isInstalled}
				}
			}
		}
		name, provides, p = "", "", installed{}
	}
	for _, line := range strings.SplitAfter(text, "\n") {
		if line == "\n" {
			flush()
			continue
		}
		key, value, ok := strings.Cut(line, ": ")
		if !ok || line[0] == ' ' {
			continue
		}
		value = strings.TrimSpace(value)
		switch key {
		case "Package":
			name = value
		case "Version":
			p.version = value
		case "Provides":
			provides = value
		case "Status": // install ok installed
			p.state = value[strings.LastIndexByte(value, ' ')+1:]
		}
	}
	flush()
	return has
}

// unfinished tells a package whose installation was cut.
func (h *Host) unfinished(name string) bool {
	switch h.has[name].state {
	case "", isInstalled, "not-installed", "config-files":
		return false
	}
	return true
}

// parseAPK reads apk's list of what is installed.
func parseAPK(text string) map[string]string {
	has := map[string]string{}
	name := ""
	for _, line := range strings.SplitAfter(text, "\n") {
		switch value := strings.TrimSpace(line[min(2, len(line)):]); {
		case strings.HasPrefix(line, "P:"):
			name = value
		case strings.HasPrefix(line, "V:") && name != "":
			has[name] = value
		}
	}
	return has
}
