package account

import (
	"slices"
	"strings"

	"github.com/gofleet/gofleet/agent/internal/hostcmd"
	"github.com/gofleet/gofleet/agent/spec"
)

// keyLine is one line of an authorized_keys file without its comment: two
// lines that differ in that only are the same key with the same rights.
type keyLine struct {
	options string
	key     string // type and base64
}

// parseKey reads a line. What it doesn't know is not ok: somebody else's, to be
// kept as it is.
func parseKey(line string) (keyLine, bool) {
	k, _, err := spec.ParseAuthorizedKey(line)
	return keyLine{options: k.Options, key: k.Type + " " + k.Blob}, err == nil
}

// keyChange is what becomes of an authorized_keys file.
type keyChange struct {
	content  []byte
	added    []string // lines of want that were not there
	removed  []string // lines that were ours and are no longer wanted
	foreign  int      // how many of removed were not ours
	lost     bool     // a wanted line that was ours had gone
	owned    []string // lines that are ours afterwards
	shadowed []string // keys of want that stand there with other options, not ours
}

// mergeKeys adds the lines of want that content lacks and removes those of
// owned that want doesn't have. Everything else stays byte for byte; of exclusive
// ones, only comments.
func mergeKeys(content []byte, want, owned []string, exclusive bool) *keyChange {
	c := &keyChange{}
	wanted, ours := parseKeys(want), parseKeys(owned)
	present := map[keyLine]bool{}
	options := map[string]bool{} // keys that others have with whatever options
	var out strings.Builder
	for _, line := range strings.SplitAfter(string(content), "\n") {
		k, ok := parseKey(line)
		_, isOurs := ours[k]
		_, isWanted := wanted[k]
		if ok && isOurs && !isWanted {
			c.removed = append(c.removed, strings.TrimRight(line, "\r\n"))
			continue
		}
		if text := strings.TrimSpace(line); exclusive && !isWanted && text != "" && text[0] != '#' {
			c.removed = append(c.removed, hostcmd.Printable(text, maxShown))
			c.foreign++
			continue
		}
		if ok {
			present[k] = true
			options[k.key] = true
		}
		out.WriteString(line)
	}
	for _, line := range want {
		k, ok := parseKey(line)
		_, isOurs := ours[k]
		switch {
		case !ok:
			continue
		case present[k]:
			if isOurs {
				c.owned = append(c.owned, ours[k])
			}
			continue
		}
		c.lost = c.lost || isOurs
		if options[k.key] {
			c.shadowed = append(c.shadowed, line)
		}
		if s := out.String(); s != "" && !strings.HasSuffix(s, "\n") {
			out.WriteByte('\n')
		}
		out.WriteString(line + "\n")
		present[k] = true
		c.added = append(c.added, line)
		c.owned = append(c.owned, line)
	}
	c.content = []byte(out.String())
	return c
}

func parseKeys(lines []string) map[keyLine]string {
	m := map[keyLine]string{}
	for _, l := range lines {
		if k, ok := parseKey(l); ok {
			m[k] = l
		}
	}
	return m
}

// maxShown bounds what is shown of a line that somebody else wrote, in bytes.
const maxShown = 1000

func (c *keyChange) none() bool { return len(c.added) == 0 && len(c.removed) == 0 }

func (c *keyChange) diff() string {
	var b strings.Builder
	for _, l := range c.removed {
		b.WriteString("-" + l + "\n")
	}
	for _, l := range c.added {
		b.WriteString("+" + l + "\n")
	}
	return b.String()
}

func sameStrings(a, b []string) bool {
	a, b = slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b))
	return slices.Equal(a, b)
}
