package remote

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/gofleet/gofleet/agent/spec"
	"github.com/gofleet/gofleet/agent/wire"
)

const (
	// maxNoise is how much of banners and shell greetings may come before the marker.
	maxNoise = 2 << 20
	// maxWord is the longest line behind a marker.
	maxWord = 64 << 10
)

var errNoise = errors.New("the host's shell prints too much before anything else")

// scanner finds what the shell line and the agent say behind the marker.
type scanner struct {
	br     *bufio.Reader
	marker []byte // with the space behind it
	noise  int    // bytes that were skipped
	last   string // the last line of them that says something, safe to show
}

func newScanner(br *bufio.Reader, marker string) *scanner {
	return &scanner{br: br, marker: []byte(marker + " ")}
}

// next gives the verb and the rest of the next line behind a marker. What
// comes before it, on the same line too, is skipped.
func (s *scanner) next() (verb, rest string, err error) {
	var carry []byte // the end of a part that may be the marker's beginning
	for {
		part, err := s.br.ReadSlice('\n')
		window := append(carry, part...)
		if i := bytes.Index(window, s.marker); i >= 0 {
			return s.word(window[i+len(s.marker):], err)
		}
		s.noise += len(part)
		if text := neutral(strings.TrimSpace(string(part))); text != "" {
			s.last = text
		}
		switch {
		case err != nil && !errors.Is(err, bufio.ErrBufferFull):
			return "", "", err
		case s.noise > maxNoise:
			return "", "", errNoise
		}
		carry = bytes.Clone(window[max(0, len(window)-len(s.marker)+1):])
	}
}

// word reads the rest of a line whose beginning is there already.
func (s *scanner) word(begin []byte, err error) (verb, rest string, _ error) {
	line := bytes.Clone(begin)
	for errors.Is(err, bufio.ErrBufferFull) && len(line) <= maxWord {
		var part []byte
		part, err = s.br.ReadSlice('\n')
		line = append(line, part...)
	}
	if len(line) > maxWord {
		return "", "", wire.ErrTooLong
	}
	if err != nil {
		return "", "", err
	}
	verb, rest, _ = strings.Cut(strings.TrimRight(string(line), "\r\n"), " ")
	return verb, rest, nil
}

// Probe is what the shell line found out about a host. It is what is known of
// a host that no agent can run on.
type Probe struct {
	System  string // uname -s: Linux
	Machine string // uname -m: x86_64
	Kernel  string // uname -r
	Bits    int    // of the userland; 0: not known
	Libc    string // "glibc 2.36", "musl 1.2.4", "none"; "": not known
}

// Platform is the platform whose agent and archive the host needs: on a
// 64-bit kernel with a 32-bit userland, the latter's.
func (p Probe) Platform() (spec.Platform, bool) {
	arch, ok := spec.ArchOfMachine(p.Machine)
	if p.Bits == 32 {
		switch arch {
		case "amd64":
			arch = "386"
		case "arm64":
			arch = "armv6l"
		}
	}
	return spec.Platform{OS: strings.ToLower(p.System), Arch: arch}, ok && strings.EqualFold(p.System, "Linux")
}

// Facts is the Probe in the words of the agent's facts.
func (p Probe) Facts() *wire.Facts {
	return &wire.Facts{Kernel: p.Kernel, Machine: p.Machine, Bits: p.Bits, Libc: p.Libc}
}

// parseProbe reads "Linux x86_64 6.1.0 bits=64 libc=glibc-2.36 gzip=1 rest".
func parseProbe(s string) (p Probe, gzip bool, rest string, err error) {
	const count = 6
	f := strings.SplitN(s, " ", count+1)
	if len(f) < count {
		return p, false, "", fmt.Errorf("%q is not what a host is asked for", neutral(s))
	}
	if len(f) > count {
		rest = f[count]
	}
	p = Probe{System: neutral(f[0]), Machine: neutral(f[1]), Kernel: neutral(f[2])}
	for _, kv := range f[3:count] {
		key, value, _ := strings.Cut(kv, "=")
		switch key {
		case "bits":
			if n, err := strconv.Atoi(value); err == nil && (n == 32 || n == 64) {
				p.Bits = n
			}
		case "libc":
			p.Libc = neutral(strings.Replace(value, "-", " ", 1))
		case "gzip":
			gzip = value == "1"
		default:
			return p, false, "", fmt.Errorf("%q is not what a host is asked for", neutral(s))
		}
	}
	return p, gzip, rest, nil
}
