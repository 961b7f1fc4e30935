package environ

import (
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/gofleet/gofleet/agent/internal/hostfile"
	"github.com/gofleet/gofleet/agent/spec"
	"github.com/gofleet/gofleet/agent/wire"
)

func (p *planner) profile(s *spec.Spec) error {
	steps, err := hostfile.Managed{
		Path:    profilePath,
		Content: []byte(profileText(filepath.Join(s.Link, "bin"), s.Environment)),
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

var (
	secretLine = regexp.MustCompile(`(?im)^((?:export )?(?:` + regexp.QuoteMeta(shippedPrefix) + `)?\w*(?:TOKEN|SECRET|PASS|CREDENTIAL|KEY|AUTH)\w*=).*$`)
	secretURL  = regexp.MustCompile(`(://)[^/@\s']*@`)
)

// mask hides what may be a secret: values whose names say so, and the user part
// of URLs.
func mask(content []byte) string {
	b := secretLine.ReplaceAll(content, []byte("${1}(not shown)"))
	return string(secretURL.ReplaceAll(b, []byte("${1}(not shown)@")))
}
