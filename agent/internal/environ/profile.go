package environ

import (
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	"github.com/gofleet/gofleet/agent/internal/hostfile"
	"github.com/gofleet/gofleet/agent/spec"
	"github.com/gofleet/gofleet/agent/wire"
)

func (p *planner) profile(s *spec.Spec) error {
	var env map[string]string
	if slices.Contains(s.EnvironmentFiles, spec.EnvironmentProfile) {
		env = s.Environment
	}
	steps, err := hostfile.Managed{
		Path:    profilePath,
		Content: []byte(profileText(filepath.Join(s.Link, "bin"), env)),
		Mode:    0o644,
		Kind:    wire.KindEnvironment,
		Show:    mask,
	}.Plan(p.rec)
	p.steps = append(p.steps, steps...)
	return err
}

// profileText is read by every Bourne shell: no [[, no arrays, no forks, and
// quoting that does not differ between them. It may be read again and again,
// under set -eu too: the directory stands in PATH once, in front.
func profileText(bin string, env map[string]string) string {
	var b strings.Builder
	b.WriteString(`# Written by gofleet; the next apply undoes changes.
# Go is found in front of PATH, so that a distribution's go doesn't win. GOROOT
# is not set on purpose: go finds its own root, and a stale one breaks builds.
gofleet_bin=` + quote(bin) + `
gofleet_path=:${PATH-}:
while :; do
	case $gofleet_path in
		*":$gofleet_bin:"*) gofleet_path=${gofleet_path%%":$gofleet_bin:"*}:${gofleet_path#*":$gofleet_bin:"} ;;
		*) break ;;
	esac
done
gofleet_path=${gofleet_path#:}
gofleet_path=${gofleet_path%:}
PATH=$gofleet_bin${gofleet_path:+:$gofleet_path}
export PATH
unset gofleet_bin gofleet_path
`)
	if len(env) > 0 {
		b.WriteString("\n# gofleet_environment\n")
	}
	for _, name := range slices.Sorted(maps.Keys(env)) {
		b.WriteString("export " + name + "=" + quote(env[name]) + "\n")
	}
	return b.String()
}

// quote makes one shell word of s, in which nothing is expanded.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// secretWords in a variable's name say that its value is not to be shown.
var secretWords = []string{"TOKEN", "SECRET", "PASS", "CREDENTIAL", "KEY", "AUTH"}

// mask hides what may be a secret: values whose names say so, and the user part
// of URLs.
func mask(content []byte) string {
	var b strings.Builder
	for _, line := range strings.SplitAfter(string(content), "\n") {
		text := strings.TrimSuffix(line, "\n")
		if name, _, ok := strings.Cut(text, "="); ok && secretName(name) {
			text = name + "=(not shown)"
		}
		b.WriteString(maskURL(text) + line[len(strings.TrimSuffix(line, "\n")):])
	}
	return b.String()
}

// secretName reports whether an assignment to what stands before its = may
// carry a secret.
func secretName(before string) bool {
	name := strings.TrimPrefix(strings.TrimPrefix(before, "export "), shippedPrefix)
	if strings.ContainsFunc(name, func(r rune) bool { return r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r) }) {
		return false
	}
	return slices.ContainsFunc(secretWords, func(w string) bool { return strings.Contains(strings.ToUpper(name), w) })
}

// maskURL hides the user part of every URL in a line.
func maskURL(line string) string {
	var b strings.Builder
	for {
		scheme, rest, ok := strings.Cut(line, "://")
		b.WriteString(scheme)
		if !ok {
			return b.String()
		}
		b.WriteString("://")
		if at := strings.IndexAny(rest, "@/ \t'"); at >= 0 && rest[at] == '@' {
			b.WriteString("(not shown)")
			rest = rest[at:]
		}
		line = rest
	}
}
