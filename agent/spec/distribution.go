package spec

import (
	"fmt"
	"strings"
)

// Condition is a distribution and bounds on its version: "ubuntu>=20.04",
// "debian", "rocky>=8,<10".
type Condition struct {
	ID     string // the ID of os-release
	Bounds []Bound
}

// Bound is one comparison with a version.
type Bound struct {
	Op      string // >=, <=, ==, !=, >, <
	Version string
}

// distributionNames are other names that people write for an os-release ID.
var distributionNames = map[string]string{
	"redhat": "rhel", "rockylinux": "rocky", "alma": "almalinux", "oracle": "ol", "oraclelinux": "ol",
	"amazon": "amzn", "amazonlinux": "amzn", "suse": "sles", "archlinux": "arch",
}

// operators, the longer ones first.
var operators = []string{">=", "<=", "==", "!=", ">", "<", "="}

// ParseCondition reads a condition. Spaces around operators do not count.
func ParseCondition(s string) (Condition, error) {
	text := strings.ToLower(strings.TrimSpace(s))
	end := strings.IndexAny(text, "<>=!,")
	if end < 0 {
		end = len(text)
	}
	c := Condition{ID: strings.TrimSpace(text[:end])}
	if id, ok := distributionNames[c.ID]; ok {
		c.ID = id
	}
	letters := strings.Trim(c.ID, "abcdefghijklmnopqrstuvwxyz0123456789._-") == ""
	if c.ID == "" || !letters || c.ID[0] == '-' || c.ID[0] == '.' || len(c.ID) > 64 {
		return c, fmt.Errorf("%s is not a condition on a distribution", quote(s))
	}
	if end == len(text) {
		return c, nil
	}
	for _, part := range strings.Split(text[end:], ",") {
		b := Bound{}
		for _, op := range operators {
			if v, ok := strings.CutPrefix(strings.TrimSpace(part), op); ok {
				b = Bound{Op: op, Version: strings.TrimSpace(v)}
				break
			}
		}
		if b.Op == "=" {
			b.Op = "=="
		}
		if b.Op == "" || !isDotted(b.Version) {
			return c, fmt.Errorf("%s is not a condition on a distribution", quote(s))
		}
		c.Bounds = append(c.Bounds, b)
	}
	return c, nil
}

// String is the canonical form, which ParseCondition reads.
func (c Condition) String() string {
	bounds := make([]string, len(c.Bounds))
	for i, b := range c.Bounds {
		bounds[i] = b.Op + b.Version
	}
	return c.ID + strings.Join(bounds, ",")
}

// Holds reports whether a host with this os-release ID and VERSION_ID meets
// the condition. Versions are compared as far as the bound goes: 8.9 is ==8,
// and not >8. A rolling release, which has no version, counts as newest.
func (c Condition) Holds(id, version string) bool {
	if strings.ToLower(id) != c.ID {
		return false
	}
	have := numbers(version)
	for _, b := range c.Bounds {
		want := numbers(b.Version)
		cmp := 1
		if len(have) > 0 {
			cmp = compareParts(have, want, len(want))
		}
		if !compared(b.Op, cmp) {
			return false
		}
	}
	return true
}

func compared(op string, cmp int) bool {
	switch op {
	case ">=":
		return cmp >= 0
	case "<=":
		return cmp <= 0
	case "==":
		return cmp == 0
	case "!=":
		return cmp != 0
	case ">":
		return cmp > 0
	}
	return cmp < 0
}
