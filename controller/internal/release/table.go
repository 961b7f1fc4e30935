package release

import (
	"bufio"
	_ "embed"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
)

// Table maps the names of official archives to their sha256 sums, lower-case
// hex. A name with an empty sum is known and can never match: Go's own list
// has no sums for releases up to 1.5.2.
type Table map[string]string

// officialSums is the list of official sums in the format of sha256sum. It
// grows by lines; see docs/evidence.md.
//
//go:embed go-releases.sha256
var officialSums string

var builtin = sync.OnceValue(func() Table {
	t, err := ParseTable(strings.NewReader(officialSums))
	if err != nil {
		panic("release: built-in table: " + err.Error()) // a test reads it
	}
	return t
})

// BuiltinTable gives the table that gofleet was built with.
func BuiltinTable() Table { return builtin() }

// ParseTable reads lines of "<sha256>  <name>" as sha256sum writes them; the
// sum may be empty, the separator may not. A name that is there twice with
// different sums is an error.
func ParseTable(r io.Reader) (Table, error) {
	t := Table{}
	s := bufio.NewScanner(r)
	for n := 1; s.Scan(); n++ {
		line := s.Text()
		if line == "" {
			continue
		}
		sum, name, ok := strings.Cut(line, "  ")
		if !ok {
			return nil, fmt.Errorf("line %d: %q is not like \"<sha256>  <name>\"", n, line)
		}
		if _, err := ParseName(name); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		if sum != "" && !isSHA256(sum) {
			return nil, fmt.Errorf("line %d: %q is not a sha256", n, sum)
		}
		if old, twice := t[name]; twice && old != sum {
			return nil, fmt.Errorf("line %d: %s has two sums", n, name)
		}
		t[name] = sum
	}
	return t, s.Err()
}

// Platforms lists, sorted, for which platforms the table has the version.
func (t Table) Platforms(v string) []string {
	found := map[string]bool{}
	for name := range t {
		if n, err := ParseName(name); err == nil && n.Version == v {
			found[n.Platform.String()] = true
		}
	}
	return slices.Sorted(maps.Keys(found))
}

// isSHA256 tells whether s is a sha256 in lower-case hex.
func isSHA256(s string) bool {
	if len(s) != 64 || strings.ToLower(s) != s {
		return false
	}
	_, err := hex.DecodeString(s)
	return err == nil
}
