package precond

import (
	"errors"
	"io/fs"
	"os"
	"strings"
)

// zone gives the time zone, Europe/Berlin; "" is unknown. The names that UTC
// has are one.
func (h host) zone() string {
	const local = "/etc/localtime"
	target, err := os.Readlink(h.path(local))
	name := ""
	switch {
	case err == nil:
		_, name, _ = strings.Cut(target, "/zoneinfo/")
	case errors.Is(err, fs.ErrNotExist):
		return "UTC" // what the C library then takes
	default: // a copy, which does not say of what
		name, _, _ = strings.Cut(h.read("/etc/timezone"), "\n")
	}
	name = printable(name, 64)
	switch strings.TrimPrefix(name, "Etc/") {
	case "UTC", "UCT", "Universal", "Zulu":
		return "UTC"
	}
	return name
}
