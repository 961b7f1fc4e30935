// Package account plans what the deploy user needs on a host: the account, its
// groups, its authorized keys and its sudo rule. It knows nothing of Go or of
// toolchains. Everything that it would refuse, it refuses while planning, so
// that nothing has changed by then.
package account

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/gofleet/gofleet/agent/internal/change"
	"github.com/gofleet/gofleet/agent/internal/durable"
	"github.com/gofleet/gofleet/agent/internal/hostfile"
	"github.com/gofleet/gofleet/agent/internal/record"
	"github.com/gofleet/gofleet/agent/spec"
	"github.com/gofleet/gofleet/agent/wire"
)

// Plan looks at the host and gives the steps that make the deploy user what
// want says, and warnings. A nil want takes away what an earlier run added;
// the account itself is never removed. The steps update rec in memory, and
// Plan notes in it what it found right. Where there are steps, it also notes
// what they are about to give; rec is to be saved before the first of them.
//
// The errors are *wire.Error of the kinds KindNeedsRoot, for anything that is
// to be done without being root, KindAccount and KindHost.
func Plan(ctx context.Context, want *spec.User, rec *record.Record) ([]change.Step, []string, error) {
	p := &planner{rec: rec}
	if want == nil && rec.User == nil && rec.Doing == nil && len(ruleFiles(rec)) == 0 {
		return nil, nil, nil
	}
	if os.Geteuid() != 0 {
		name := "of an earlier run"
		if want != nil {
			name = want.Name
		}
		return nil, nil, wire.NewError(wire.KindNeedsRoot, fmt.Errorf("gofleet_user %s needs root", name),
			"run with -b, or drop gofleet_user")
	}
	if err := p.plan(ctx, want); err != nil {
		return nil, nil, wire.AsError(err, wire.KindHost)
	}
	return p.steps, p.warnings, nil
}

// PlanRemove gives the steps that take away what gofleet added: its keys, its
// group memberships, its sudo rule. The account stays, also one that gofleet
// made, because it may own data; a warning says so.
func PlanRemove(ctx context.Context, rec *record.Record) ([]change.Step, []string, error) {
	return Plan(ctx, nil, rec)
}

// Sweep removes temporary files that a run which was cut left where Plan's
// steps write. In homes there is nothing to sweep: there the names are fixed.
func Sweep() error {
	if os.Geteuid() != 0 {
		return nil
	}
	return durable.Sweep(sudoersDir)
}

type planner struct {
	rec      *record.Record
	steps    []change.Step
	warnings []string

	cut     *record.User // what a run that was cut was giving, to whom
	joining []string     // groups that steps add the user to
	owned   []string     // keys that are ours after the steps
}

func (p *planner) warn(format string, args ...any) {
	p.warnings = append(p.warnings, fmt.Sprintf(format, args...))
}

func (p *planner) plan(ctx context.Context, want *spec.User) error {
	p.cut, p.rec.Doing = p.rec.Doing, nil
	u := p.rec.User
	if u != nil && (want == nil || want.Name != u.Name) {
		if err := p.leave(ctx, *u); err != nil {
			return err
		}
	}
	if c := p.cut; c != nil && (u == nil || u.Name != c.Name) && (want == nil || want.Name != c.Name) {
		if err := p.leave(ctx, *c); err != nil {
			return err
		}
	}
	if want != nil {
		if err := p.want(ctx, want); err != nil {
			return err
		}
	}
	return p.staleRules(want)
}

// want plans the deploy user. The account comes first, because everything else
// is written with its rights; the sudo rule is last.
func (p *planner) want(ctx context.Context, want *spec.User) error {
	if want.Name == "root" {
		return refused(errors.New("the deploy user cannot be root"), "name an ordinary account in gofleet_user.name")
	}
	had := record.User{Name: want.Name}
	if u := p.rec.User; u != nil && u.Name == want.Name {
		had = *u
	}
	groups, err := wantedGroups(ctx, want)
	if err != nil {
		return err
	}
	rule, err := planRule(want)
	if err != nil {
		return err
	}
	cred, err := Lookup(ctx, want.Name)
	halfMade := err == nil && p.halfMade(cred)
	creating := halfMade || errors.Is(err, ErrNotFound)
	switch {
	case creating:
		if !halfMade {
			cred = nil
		}
		if cred, err = p.create(ctx, want, had, groups, cred); err != nil {
			return err
		}
		// What it had went with the old account.
		had = record.User{Name: want.Name, Keys: had.Keys}
	case err != nil:
		return err
	case cred.UID == 0:
		return refused(fmt.Errorf("user %s has uid 0: it is root under another name", want.Name),
			"name an ordinary account in gofleet_user.name")
	default:
		if had, err = p.recall(ctx, cred, had); err != nil {
			return err
		}
		if want.Shell != "" && cred.Shell != want.Shell {
			p.warn("account %s keeps its shell %s: gofleet_user.shell (%s) is for accounts that gofleet makes",
				want.Name, cred.Shell, want.Shell)
		}
		if err := p.joinGroups(cred, groups, had); err != nil {
			return err
		}
		if err := p.leaveGroups(ctx, cred, dropped(had.Groups, want.Groups), had); err != nil {
			return err
		}
	}
	if err := p.keys(ctx, cred, want.AuthorizedKeys, had); err != nil {
		return err
	}
	if err := p.rule(rule); err != nil {
		return err
	}
	p.announce(want.Name, had, creating, groups, p.owned)
	return nil
}

// leave takes away what gofleet gave to a user that is no longer the deploy
// user.
func (p *planner) leave(ctx context.Context, had record.User) error {
	cred, err := Lookup(ctx, had.Name)
	if errors.Is(err, ErrNotFound) {
		p.rec.User = nil
		return nil
	}
	if err != nil {
		return err
	}
	if cred.UID == 0 {
		return refused(fmt.Errorf("user %s has uid 0 now: what gofleet gave it is not taken back", had.Name),
			"look into how that came about")
	}
	if err := p.leaveGroups(ctx, cred, had.Groups, had); err != nil {
		return err
	}
	if err := p.keys(ctx, cred, nil, had); err != nil {
		return err
	}
	if had.Created {
		p.warn("account %s and its home stay, because they may hold data: remove them with userdel -r %s", had.Name, had.Name)
	}
	if len(p.steps) == 0 {
		p.rec.User = nil
		return nil
	}
	last := &p.steps[len(p.steps)-1]
	do := last.Do
	last.Do = func(ctx context.Context) error {
		if err := do(ctx); err != nil {
			return err
		}
		p.rec.User = nil
		return nil
	}
	return nil
}

// user is rec's entry for name, made when it isn't there.
func (p *planner) user(name string) *record.User {
	if p.rec.User == nil || p.rec.User.Name != name {
		p.rec.User = &record.User{Name: name}
	}
	return p.rec.User
}

// add plans a step whose Undo also puts rec.User back.
func (p *planner) add(s change.Step) {
	do, undo := s.Do, s.Undo
	var before *record.User
	s.Do = func(ctx context.Context) error {
		before = clone(p.rec.User)
		return do(ctx)
	}
	s.Undo = func() error {
		p.rec.User = before
		if undo == nil {
			return nil
		}
		return undo()
	}
	p.steps = append(p.steps, s)
}

func clone(u *record.User) *record.User {
	if u == nil {
		return nil
	}
	c := *u
	c.Groups, c.Keys = slices.Clone(u.Groups), slices.Clone(u.Keys)
	return &c
}

// dropped are the strings of had that want doesn't have.
func dropped(had, want []string) []string {
	return slices.DeleteFunc(slices.Clone(had), func(s string) bool { return slices.Contains(want, s) })
}

func refused(err error, hint string) error { return wire.NewError(wire.KindAccount, err, hint) }

// relabelHome gives new files in a home their SELinux context. Where root has
// no rights in the home (NFS), there is no context of ours to give.
func relabelHome(ctx context.Context, paths ...string) {
	_ = hostfile.Relabel(ctx, paths...)
}
