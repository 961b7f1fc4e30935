package environ

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gofleet/gofleet/agent/internal/change"
	"github.com/gofleet/gofleet/agent/internal/hostcmd"
	"github.com/gofleet/gofleet/agent/internal/hostfile"
	"github.com/gofleet/gofleet/agent/spec"
	"github.com/gofleet/gofleet/agent/wire"
)

// Where gofleet_environment stands beside the profile.
const (
	pamPath     = "/etc/environment"
	systemdPath = "/etc/systemd/system.conf.d/50-gofleet.conf"
)

// pamEnv are the places of the PAM module that reads pamPath.
var pamEnv = []string{"/lib/security", "/lib64/security", "/usr/lib/security", "/usr/lib64/security", "/lib/*/security", "/usr/lib/*/security"}

// places plans s.Environment in every place but the profile, and takes it out
// of those that s does not name any more.
func (p *planner) places(s *spec.Spec) error {
	in := func(place string) map[string]string {
		if slices.Contains(s.EnvironmentFiles, place) {
			return s.Environment
		}
		return nil
	}
	if err := p.pam(in(spec.EnvironmentPAM)); err != nil {
		return err
	}
	return p.systemd(in(spec.EnvironmentSystemd), s.Image)
}

// pam plans the block in /etc/environment.
func (p *planner) pam(env map[string]string) error {
	if len(env) > 0 && !anyFile(pamEnv, "pam_env.so") {
		return refused(errors.New("gofleet_environment_files names environment, and this host has no pam_env, which reads "+pamPath),
			"drop environment from gofleet_environment_files")
	}
	steps, err := hostfile.Block{
		Path: pamPath, Name: "gofleet_environment", Text: pamText(env), Mode: 0o644, Kind: wire.KindEnvironment, Show: mask,
	}.Plan(p.rec)
	p.steps = append(p.steps, steps...)
	return err
}

func anyFile(dirs []string, name string) bool {
	return slices.ContainsFunc(dirs, func(dir string) bool {
		found, err := filepath.Glob(filepath.Join(dir, name))
		return err == nil && len(found) > 0
	})
}

// pamText is read by pam_env, which knows no escapes: spec.Unwritable has
// refused what would need one. In double quotes, other readers of the file
// find the same.
func pamText(env map[string]string) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(env)) {
		value := env[name]
		if value == "" || strings.ContainsFunc(value, func(r rune) bool { return !plain(r) }) {
			value = `"` + value + `"`
		}
		b.WriteString(name + "=" + value + "\n")
	}
	return b.String()
}

// plain runes mean themselves to everything that reads assignments.
func plain(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("_-./:,@%+=", r)
}

// systemd plans the drop-in that gives services their environment, and that
// systemd, where it runs, reads it. A run that was cut between the two is noted in the record.
func (p *planner) systemd(env map[string]string, image bool) error {
	_, ours := p.rec.Files[systemdPath]
	if len(env) == 0 && !ours && !p.rec.Reload {
		return nil
	}
	runs := isDir("/run/systemd/system")
	if len(env) > 0 && (!runs && !image || hostcmd.Find("systemctl") == "") {
		return refused(errors.New("gofleet_environment_files names systemd, which does not run on this host"),
			"drop systemd from gofleet_environment_files")
	}
	before := len(p.steps)
	var steps []change.Step
	var err error
	if len(env) > 0 {
		steps, err = hostfile.Managed{
			Path: systemdPath, Content: []byte(systemdText(env)), Mode: 0o644, Kind: wire.KindEnvironment, Show: mask,
		}.Plan(p.rec)
	} else {
		steps, err = hostfile.PlanRemove(systemdPath, p.rec, wire.KindEnvironment)
	}
	if err != nil {
		return err
	}
	p.steps = append(p.steps, steps...)
	if !runs {
		p.rec.Reload = false
		return nil
	}
	if len(steps) > 0 {
		undo := p.steps[before].Undo
		p.steps[before].Undo = func() error { return errors.Join(undo(), reload(context.Background())) }
		p.rec.Reload = true
	}
	if p.rec.Reload {
		p.steps = append(p.steps, change.Step{
			Name: "reload systemd", Path: systemdPath, Diff: "services that start from now on get gofleet_environment as it is\n",
			Do: func(ctx context.Context) error {
				err := reload(ctx)
				p.rec.Reload = err != nil
				return err
			},
		})
	}
	return nil
}

func isDir(path string) bool {
	fi, err := os.Stat(path)
	return err == nil && fi.IsDir()
}

func reload(ctx context.Context) error {
	_, err := hostcmd.Run(ctx, "", hostcmd.Find("systemctl"), "daemon-reload")
	return err
}

// systemdText quotes by systemd's rules, one assignment a line.
func systemdText(env map[string]string) string {
	var b strings.Builder
	b.WriteString("# gofleet_environment, written by gofleet; the next apply undoes changes.\n[Manager]\n")
	escape := strings.NewReplacer(`\`, `\\`, `"`, `\"`)
	for _, name := range slices.Sorted(maps.Keys(env)) {
		b.WriteString(`DefaultEnvironment="` + name + "=" + escape.Replace(env[name]) + "\"\n")
	}
	return b.String()
}
