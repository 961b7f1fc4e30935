package environ

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gofleet/gofleet/agent/internal/hostfile"
	"github.com/gofleet/gofleet/agent/internal/record"
	"github.com/gofleet/gofleet/agent/spec"
	"github.com/gofleet/gofleet/agent/wire"
)

const goEnvName = "go.env"

// A go.env of ours is the shipped text, the lines that we override turned into
// comments, and then our lines. So the shipped text can be had back from the
// file alone, and its sum tells whether that is still possible.
const (
	shippedPrefix = "#gofleet:shipped "
	marker        = "# gofleet_env, written by gofleet; the next apply undoes changes. sha256 of the file as shipped:\n# "
)

// WriteGoEnv writes s.Env into the go.env of a toolchain at dir that no session
// sees yet. It syncs nothing. Toolchains before Go 1.21 have no go.env and are
// left alone.
func WriteGoEnv(dir string, s *spec.Spec) error {
	if err := check(s); err != nil {
		return err
	}
	modern, err := readsGoEnv(dir)
	if err != nil || !modern {
		return err
	}
	path := filepath.Join(dir, goEnvName)
	now, err := hostfile.Look(path)
	if err != nil {
		return err
	}
	if now.Type != hostfile.File && now.Type != hostfile.Absent {
		return refused(fmt.Errorf("%s is not a regular file", path), "")
	}
	shipped, _ := shippedText(string(now.Content))
	text := goEnvText(shipped, s.Env)
	if text == string(now.Content) {
		return nil
	}
	if err := errors.Join(os.WriteFile(path, []byte(text), 0o644), os.Chmod(path, 0o644)); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// goEnv plans the go.env of an installed toolchain.
func (p *planner) goEnv(s *spec.Spec, target string) error {
	if _, err := os.Lstat(target); errors.Is(err, fs.ErrNotExist) {
		return nil // WriteGoEnv makes it with the toolchain
	}
	path := filepath.Join(target, goEnvName)
	now, err := hostfile.Look(path)
	if err != nil {
		return err
	}
	shipped, sure := shippedText(string(now.Content))
	if before, ok := p.rec.Shipped[path]; ok && !sure {
		shipped = before
	}
	p.rec.Shipped[path] = shipped
	steps, err := hostfile.Managed{
		Path:    path,
		Content: []byte(goEnvText(shipped, s.Env)),
		Mode:    0o644,
		Kind:    wire.KindEnvironment,
		Show:    mask,
	}.Plan(p.rec)
	p.steps = append(p.steps, steps...)
	return err
}

// ShippedGoEnv takes back what was written into a go.env, as far as that can be
// known: the caller has a sum of what was shipped.
func ShippedGoEnv(content []byte) []byte {
	shipped, _ := shippedText(string(content))
	return []byte(shipped)
}

// goEnvText is shipped with the lines of env's names as comments, then env. In
// a go.env the first of two equal names would win.
func goEnvText(shipped string, env map[string]string) string {
	if len(env) == 0 {
		return shipped
	}
	var b strings.Builder
	for _, line := range strings.SplitAfter(shipped, "\n") {
		name, _, ok := strings.Cut(line, "=")
		if _, ours := env[name]; ok && ours {
			b.WriteString(shippedPrefix)
		}
		b.WriteString(line)
	}
	if shipped != "" && !strings.HasSuffix(shipped, "\n") {
		b.WriteByte('\n')
	}
	b.WriteString(marker + record.Sum([]byte(shipped)) + "\n")
	for _, name := range slices.Sorted(maps.Keys(env)) {
		b.WriteString(name + "=" + env[name] + "\n")
	}
	return b.String()
}

// shippedText takes goEnvText back. It is sure when the sum says that this is
// what was shipped; a text without our marker is taken to be that, unsurely.
func shippedText(content string) (shipped string, sure bool) {
	body, ours, found := strings.Cut(content, marker)
	if !found {
		return content, false
	}
	sum, _, _ := strings.Cut(ours, "\n")
	var b strings.Builder
	for _, line := range strings.SplitAfter(body, "\n") {
		b.WriteString(strings.TrimPrefix(line, shippedPrefix))
	}
	text := b.String()
	for _, t := range []string{text, strings.TrimSuffix(text, "\n")} {
		if record.Sum([]byte(t)) == sum {
			return t, true
		}
	}
	return text, false
}
