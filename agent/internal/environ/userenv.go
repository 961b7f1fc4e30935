package environ

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/gofleet/gofleet/agent/internal/account"
	"github.com/gofleet/gofleet/agent/internal/asuser"
	"github.com/gofleet/gofleet/agent/internal/change"
	"github.com/gofleet/gofleet/agent/internal/hostfile"
	"github.com/gofleet/gofleet/agent/internal/record"
	"github.com/gofleet/gofleet/agent/spec"
	"github.com/gofleet/gofleet/agent/wire"
)

// userEnvFile is where Go before 1.21 finds its variables in every kind of
// session, below the user's home.
const userEnvFile = ".config/go/env"

// userEnv plans the go/env of the deploy user, for old toolchains, and takes
// our lines out of every other one, for new toolchains and former users.
func (p *planner) userEnv(ctx context.Context, s *spec.Spec, old bool) error {
	if err := p.recallUserEnv(ctx); err != nil {
		return err
	}
	if !old || len(s.Env) == 0 {
		return p.leaveUserEnv(ctx, "")
	}
	name := ""
	switch {
	case s.User != nil:
		name = s.User.Name
	case os.Geteuid() == 0:
		p.warn("gofleet_env reaches nobody: this Go reads no go.env, and there is no gofleet_user whose go/env it could be written to")
		return p.leaveUserEnv(ctx, "")
	}
	cred, err := credential(ctx, name)
	if errors.Is(err, account.ErrNotFound) {
		// The account is planned in the same run; where its home will be, only
		// the step finds out.
		cred, err = nil, nil
	}
	if err != nil {
		return err
	}
	path := ""
	if cred != nil {
		path = filepath.Join(cred.Home, userEnvFile)
	}
	if err := p.leaveUserEnv(ctx, path); err != nil {
		return err
	}
	return p.writeUserEnv(ctx, name, cred, s.Env)
}

// recallUserEnv takes over what a run that was cut had written to a go/env
// without coming to record it. What a plan is about to write it notes in
// Record.DoingEnv; the caller saves that before the first step.
func (p *planner) recallUserEnv(ctx context.Context) error {
	for _, name := range slices.Sorted(maps.Keys(p.rec.DoingEnv)) {
		cred, err := credential(ctx, name)
		if err != nil && !errors.Is(err, account.ErrNotFound) {
			return err
		}
		doing := p.rec.DoingEnv[name]
		delete(p.rec.DoingEnv, name)
		if err != nil {
			continue // with the account went its file
		}
		now, err := lookUserEnv(ctx, cred)
		if err != nil {
			return err
		}
		path := filepath.Join(cred.Home, userEnvFile)
		if noted := recallUserEnv(string(now.file.Content), p.rec.UserEnv[path], doing); noted != nil {
			p.rec.UserEnv[path] = noted
		}
	}
	return nil
}

// credential looks a user up; "" is the one who runs the agent.
func credential(ctx context.Context, name string) (*account.Credential, error) {
	cred, err := account.LookupOrSelf(ctx, name)
	if errors.Is(err, account.ErrNoHome) {
		return nil, refused(fmt.Errorf("%w for %s", err, userEnvFile), "log in with a home directory")
	}
	return cred, err
}

// leaveUserEnv takes our lines out of every go/env except the one at keep.
func (p *planner) leaveUserEnv(ctx context.Context, keep string) error {
	for _, path := range slices.Sorted(maps.Keys(p.rec.UserEnv)) {
		if path == keep {
			continue
		}
		cred, err := credential(ctx, p.rec.UserEnv[path].User)
		if errors.Is(err, account.ErrNotFound) || err == nil && filepath.Join(cred.Home, userEnvFile) != path {
			delete(p.rec.UserEnv, path)
			continue
		}
		if err != nil {
			return err
		}
		if err := p.writeUserEnv(ctx, p.rec.UserEnv[path].User, cred, nil); err != nil {
			return err
		}
	}
	return nil
}

// writeUserEnv plans one go/env. A nil cred is an account that isn't there yet.
func (p *planner) writeUserEnv(ctx context.Context, name string, cred *account.Credential, want map[string]string) error {
	path := fmt.Sprintf("~%s/%s", name, userEnvFile)
	var now userEnvState
	var err error
	if cred != nil {
		path = filepath.Join(cred.Home, userEnvFile)
		if now, err = lookUserEnv(ctx, cred); err != nil {
			return err
		}
	}
	m := mergeUserEnv(string(now.file.Content), p.rec.UserEnv[path], want)
	if m.content == string(now.file.Content) {
		p.noteUserEnv(path, name, m)
		return nil
	}
	if len(m.set) > 0 {
		p.rec.DoingEnv[name] = &record.UserEnv{User: name, Set: m.set, Before: m.before}
	}
	s := &userEnvStep{p: p, name: name, want: want}
	p.steps = append(p.steps, change.Step{
		Name:  "write " + path,
		Path:  path,
		Drift: m.drift,
		Diff:  hostfile.Diff(path, mask(now.file.Content), mask([]byte(m.content))),
		Do:    s.do,
		Undo:  s.undo,
	})
	return nil
}

func (p *planner) noteUserEnv(path, name string, m userEnvMerge) {
	if len(m.set) == 0 {
		delete(p.rec.UserEnv, path)
	} else {
		p.rec.UserEnv[path] = &record.UserEnv{User: name, Set: m.set, Before: m.before}
	}
}

// userEnvStep writes one go/env with its user's rights.
type userEnvStep struct {
	p    *planner
	name string
	want map[string]string

	cred  *account.Credential // of Do; nil: nothing was done
	path  string
	now   userEnvState
	noted *record.UserEnv
}

func (s *userEnvStep) do(ctx context.Context) error {
	cred, err := credential(ctx, s.name)
	if err != nil {
		return err
	}
	now, err := lookUserEnv(ctx, cred)
	if err != nil {
		return err
	}
	s.path, s.now = filepath.Join(cred.Home, userEnvFile), now
	s.noted = s.p.rec.UserEnv[s.path]
	s.cred = cred
	m := mergeUserEnv(string(now.file.Content), s.noted, s.want)
	if err := now.write(ctx, cred, m.content); err != nil {
		return err
	}
	s.p.noteUserEnv(s.path, s.name, m)
	delete(s.p.rec.DoingEnv, s.name)
	_ = hostfile.Relabel(ctx, s.path) // root may have no rights in a home
	return nil
}

func (s *userEnvStep) undo() error {
	if s.cred == nil {
		return nil
	}
	if s.noted == nil {
		delete(s.p.rec.UserEnv, s.path)
	} else {
		s.p.rec.UserEnv[s.path] = s.noted
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return s.now.putBack(ctx, s.cred)
}

// userEnvState is what stands in the home.
type userEnvState struct {
	config, dir, file asuser.Entry
}

func lookUserEnv(ctx context.Context, cred *account.Credential) (userEnvState, error) {
	e, err := cred.LookOwn(ctx, userEnvFile, wire.KindEnvironment)
	if err != nil {
		return userEnvState{}, err
	}
	return userEnvState{config: e[1], dir: e[2], file: e[3]}, nil
}

func (s *userEnvState) write(ctx context.Context, cred *account.Credential, content string) error {
	if content == "" {
		_, err := asuser.Do(ctx, cred.Identity(), cred.Home,
			asuser.Op{Act: asuser.Remove, Path: userEnvFile},
			asuser.Op{Act: asuser.Remove, Path: ".config/go"},
			asuser.Op{Act: asuser.Remove, Path: ".config"})
		return err
	}
	mode := uint32(0o644)
	if s.file.Type == asuser.File {
		mode = s.file.Mode
	}
	_, err := asuser.Do(ctx, cred.Identity(), cred.Home,
		asuser.Op{Act: asuser.Mkdir, Path: ".config", Mode: 0o755},
		asuser.Op{Act: asuser.Mkdir, Path: ".config/go", Mode: 0o755},
		asuser.Op{Act: asuser.Write, Path: userEnvFile, Mode: mode, Content: []byte(content)})
	return err
}

func (s *userEnvState) putBack(ctx context.Context, cred *account.Credential) error {
	var ops, after []asuser.Op
	for _, d := range []struct {
		path string
		e    asuser.Entry
	}{{".config", s.config}, {".config/go", s.dir}} {
		if d.e.Type == asuser.Dir {
			ops = append(ops, asuser.Op{Act: asuser.Mkdir, Path: d.path, Mode: d.e.Mode})
		} else {
			after = append([]asuser.Op{{Act: asuser.Remove, Path: d.path}}, after...)
		}
	}
	if s.file.Type == asuser.File {
		ops = append(ops, asuser.Op{Act: asuser.Write, Path: userEnvFile, Mode: s.file.Mode, Content: s.file.Content, Group: &s.file.GID})
	} else {
		ops = append(ops, asuser.Op{Act: asuser.Remove, Path: userEnvFile})
	}
	_, err := asuser.Do(ctx, cred.Identity(), cred.Home, append(ops, after...)...)
	return err
}
