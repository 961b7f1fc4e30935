package policy

import (
	"strconv"
	"strings"

	"github.com/gofleet/gofleet/agent/wire"
)

// Probe makes Facts of what a shell said: uname -s, -m and -r, the bits of
// the userland ("64", or "" for unknown) and its C library ("glibc-2.31",
// "glibc 2.31", "musl", "none", or "" for unknown). The words come from the
// host; what is not printable ASCII is left out, and the rest is kept short.
func Probe(system, machine, release, bits, libc string) *wire.Facts {
	f := &wire.Facts{
		OS:         strings.ToLower(word(system)),
		Machine:    word(machine),
		Kernel:     word(release),
		Libc:       Libc(libc),
		DiskFree:   -1,
		InodesFree: -1,
	}
	if n, err := strconv.Atoi(strings.TrimSpace(bits)); err == nil && (n == 32 || n == 64) {
		f.Bits = n
	}
	return f
}

// Libc brings the name and version of a C library to the form of Facts.Libc.
func Libc(s string) string {
	s = strings.ToLower(word(s))
	name := strings.TrimRight(s, "0123456789.")
	version := s[len(name):]
	switch strings.Trim(name, " -_:=/") {
	case "glibc", "gnu libc":
		return strings.TrimSpace("glibc " + version)
	case "musl":
		return strings.TrimSpace("musl " + version)
	case "none":
		return "none"
	}
	return ""
}

// word is s as one short line of printable ASCII.
func word(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return -1
		}
		return r
	}, s)
	return strings.TrimSpace(s[:min(len(s), 64)])
}
