package account

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/gofleet/gofleet/agent/internal/asuser"
	"github.com/gofleet/gofleet/agent/internal/change"
	"github.com/gofleet/gofleet/agent/internal/record"
	"github.com/gofleet/gofleet/agent/spec"
	"github.com/gofleet/gofleet/agent/wire"
)

const (
	sshDir  = ".ssh"
	keyFile = ".ssh/authorized_keys"
)

// sshState is what stands in a home, as its user sees it.
type sshState struct {
	dir, file asuser.Entry
}

// keys plans authorized_keys. Without keys, wanted or ours, nothing in the home
// is looked at.
func (p *planner) keys(ctx context.Context, cred *Credential, want wanted, had record.User) error {
	for i, line := range want.AuthorizedKeys {
		if _, hint, err := spec.ParseAuthorizedKey(line); err != nil {
			return refused(fmt.Errorf("key %d of %s.authorized_keys %w", i+1, want.variable, err), hint)
		}
	}
	cut := p.cut[cred.Name]
	if len(want.AuthorizedKeys)+len(had.Keys) == 0 && !want.Exclusive && (cut == nil || len(cut.Keys) == 0) {
		p.noteExclusive(want)
		return nil
	}
	var now sshState
	exists := cred.UID != 0 // a new account has no uid yet
	if exists {
		var err error
		if now, err = lookSSH(ctx, cred); err != nil {
			return err
		}
	}
	had = p.recallKeys(cred.Name, now.file.Content, had)
	c := mergeKeys(now.file.Content, want.AuthorizedKeys, had.Keys, want.Exclusive)
	p.owned = c.owned
	for _, line := range c.shadowed {
		p.warn("%s has the key %.60q already, with other options: the first of the two that permits a login decides",
			filepath.Join(cred.Home, keyFile), line)
	}
	loose := exists && len(want.AuthorizedKeys) > 0 && !now.tight()
	if c.none() && !loose {
		p.noteKeys(cred.Name, c.owned, had)
		p.noteExclusive(want)
		return nil
	}
	p.add(cred.Name, keyStep(p, cred, want, had, c, loose))
	return nil
}

// noteKeys keeps rec true where nothing is to be done.
func (p *planner) noteKeys(name string, owned []string, had record.User) {
	if p.cut[name] != nil && len(owned) > 0 {
		p.user(name).Keys = owned
	}
	if u := p.rec.Users[name]; u != nil && !sameStrings(owned, had.Keys) {
		u.Keys = owned
	}
}

// noteExclusive keeps what others add from now on known as drift, or no longer.
func (p *planner) noteExclusive(want wanted) {
	if want.Exclusive {
		p.user(want.Name).Exclusive = true
	} else if u := p.rec.Users[want.Name]; u != nil {
		u.Exclusive = false
	}
}

func keyStep(p *planner, cred *Credential, want wanted, had record.User, c *keyChange, loose bool) change.Step {
	path := filepath.Join(cred.Home, keyFile)
	diff := c.diff()
	if loose && c.none() {
		diff = "mode of .ssh becomes 0700, of authorized_keys 0600\n"
	}
	name := cred.Name
	var undo func() error
	return change.Step{
		Name:  "write " + path,
		Path:  path,
		Drift: c.lost || loose && len(had.Keys) > 0 || c.foreign > 0 && had.Exclusive,
		Diff:  diff,
		Do: func(ctx context.Context) error {
			cred, err := Lookup(ctx, name)
			if err != nil {
				return err
			}
			now, err := lookSSH(ctx, cred)
			if err != nil {
				return err
			}
			c := mergeKeys(now.file.Content, want.AuthorizedKeys, had.Keys, want.Exclusive)
			undo = func() error { return now.putBack(cred) }
			if err := now.write(ctx, cred, c); err != nil {
				return err
			}
			p.user(name).Keys = c.owned
			p.noteExclusive(want)
			relabelHome(ctx, filepath.Join(cred.Home, sshDir), path)
			return nil
		},
		Undo: func() error {
			if undo == nil {
				return nil
			}
			return undo()
		},
	}
}

// lookSSH reads what is in the home, and refuses links and what isn't the
// user's own.
func lookSSH(ctx context.Context, cred *Credential) (sshState, error) {
	e, err := cred.LookOwn(ctx, keyFile, wire.KindAccount)
	if err != nil {
		return sshState{}, err
	}
	return sshState{dir: e[1], file: e[2]}, nil
}

// tight reports whether sshd takes the files and nobody else reads them.
func (s *sshState) tight() bool {
	return s.dir.Type == asuser.Dir && s.dir.Mode == 0o700 &&
		(s.file.Type == asuser.Absent || s.file.Mode == 0o600)
}

// write makes the directory and the file so, in one child.
func (s *sshState) write(ctx context.Context, cred *Credential, c *keyChange) error {
	if len(c.content) == 0 {
		// Nothing is left in it but what was ours: it goes, and an empty .ssh too.
		_, err := asuser.Do(ctx, cred.Identity(), cred.Home,
			asuser.Op{Act: asuser.Remove, Path: keyFile},
			asuser.Op{Act: asuser.Remove, Path: sshDir})
		return err
	}
	ops := []asuser.Op{{Act: asuser.Mkdir, Path: sshDir, Mode: 0o700}}
	if s.dir.Type == asuser.Dir && s.dir.Mode != 0o700 {
		ops = append(ops, asuser.Op{Act: asuser.Chmod, Path: sshDir, Mode: 0o700})
	}
	ops = append(ops, asuser.Op{Act: asuser.Write, Path: keyFile, Mode: 0o600, Content: c.content})
	_, err := asuser.Do(ctx, cred.Identity(), cred.Home, ops...)
	return err
}

// putBack makes .ssh and the file what they were.
func (s *sshState) putBack(cred *Credential) error {
	var ops []asuser.Op
	if s.dir.Type == asuser.Dir {
		ops = append(ops, asuser.Op{Act: asuser.Mkdir, Path: sshDir, Mode: s.dir.Mode})
	}
	if s.file.Type == asuser.File {
		ops = append(ops, asuser.Op{Act: asuser.Write, Path: keyFile, Mode: s.file.Mode, Content: s.file.Content, Group: &s.file.GID})
	} else {
		ops = append(ops, asuser.Op{Act: asuser.Remove, Path: keyFile})
	}
	if s.dir.Type == asuser.Dir {
		ops = append(ops, asuser.Op{Act: asuser.Chmod, Path: sshDir, Mode: s.dir.Mode})
	} else {
		ops = append(ops, asuser.Op{Act: asuser.Remove, Path: sshDir})
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	_, err := asuser.Do(ctx, cred.Identity(), cred.Home, ops...)
	return err
}
