// Package account plans what the accounts of an inventory need on a host: the
// account, its groups, its authorized keys and its sudo rule. It knows nothing
// of Go or of toolchains. Everything that it would refuse, it refuses while
// planning, so that nothing has changed by then.
package account

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gofleet/gofleet/agent/internal/change"
	"github.com/gofleet/gofleet/agent/internal/durable"
	"github.com/gofleet/gofleet/agent/internal/hostfile"
	"github.com/gofleet/gofleet/agent/internal/record"
	"github.com/gofleet/gofleet/agent/spec"
	"github.com/gofleet/gofleet/agent/wire"
)

// Plan looks at the host and gives the steps that make the accounts of s what
// they should be, and warnings. What an earlier run gave to accounts that s does
// not name goes; the accounts themselves are never removed. The steps update
// rec in memory, and Plan notes in it what it found right. Where there are
// steps, it also notes what they are about to give; rec is to be saved before
// the first of them.
//
// The errors are *wire.Error of the kinds KindNeedsRoot, for anything that is
// to be done without being root, KindAccount and KindHost.
func Plan(ctx context.Context, s *spec.Spec, rec *record.Record) ([]change.Step, []string, error) {
	wanted := wantedOf(s)
	if len(wanted)+len(rec.Users)+len(rec.Doing)+len(ruleFiles(rec)) == 0 {
		return nil, nil, nil
	}
	if os.Geteuid() != 0 {
		what := "what an earlier run gave to accounts"
		variable := "gofleet_users"
		if len(wanted) > 0 {
			variable, _, _ = strings.Cut(wanted[0].variable, "[")
			what = variable + " " + wanted[0].Name
		}
		return nil, nil, wire.NewError(wire.KindNeedsRoot, errors.New(what+" needs root"), "run with -b, or drop "+variable)
	}
	p := &planner{rec: rec, cut: rec.Doing, made: map[string]bool{}}
	rec.Doing = map[string]*record.User{}
	if err := p.plan(ctx, wanted); err != nil {
		return nil, nil, wire.AsError(err, wire.KindHost)
	}
	return p.steps, p.warnings, nil
}

// wanted is an account and the variable that asks for it, as errors name it.
type wanted struct {
	*spec.User
	variable string
}

func wantedOf(s *spec.Spec) []wanted {
	var all []wanted
	if s.User != nil {
		all = append(all, wanted{s.User, "gofleet_user"})
	}
	for i := range s.Users {
		all = append(all, wanted{&s.Users[i], fmt.Sprintf("gofleet_users[%d]", i)})
	}
	return all
}

// PlanRemove gives the steps that take away what gofleet added: its keys, its
// group memberships, its sudo rules. Accounts stay, also those that gofleet
// made, because they may own data; a warning says so.
func PlanRemove(ctx context.Context, rec *record.Record) ([]change.Step, []string, error) {
	return Plan(ctx, &spec.Spec{}, rec)
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
	cut      map[string]*record.User // what a run that was cut was giving, by name
	made     map[string]bool         // groups that accounts bring which steps make

	// Of the account that is being planned:
	first   int      // its first step
	joining []string // groups that steps add it to
	owned   []string // keys that are ours after the steps
}

func (p *planner) warn(format string, args ...any) {
	p.warnings = append(p.warnings, fmt.Sprintf(format, args...))
}

// begin makes room for the next account.
func (p *planner) begin() { p.first, p.joining, p.owned = len(p.steps), nil, nil }

func (p *planner) plan(ctx context.Context, all []wanted) error {
	names := map[string]bool{}
	for name := range p.rec.Users {
		names[name] = true
	}
	for name := range p.cut {
		names[name] = true
	}
	for _, w := range all {
		delete(names, w.Name)
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		p.begin()
		if err := p.leave(ctx, name); err != nil {
			return err
		}
	}
	for _, w := range inOrder(all) {
		p.begin()
		if err := p.want(ctx, w); err != nil {
			return err
		}
	}
	return p.staleRules(all)
}

// want plans one account. It comes first itself, because everything else is
// written with its rights; the sudo rule is last.
func (p *planner) want(ctx context.Context, want wanted) error {
	if want.Name == "root" {
		return refused(errors.New("root is not an account that gofleet keeps"), "name an ordinary account in "+want.variable+".name")
	}
	had := record.User{Name: want.Name}
	if u := p.rec.Users[want.Name]; u != nil {
		had = *u.Clone()
	}
	groups, err := p.wantedGroups(ctx, want)
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
	default:
		if err := p.same(ctx, want, cred); err != nil {
			return err
		}
		if had, err = p.recall(ctx, cred, had); err != nil {
			return err
		}
		if err := p.joinGroups(cred, groups, had); err != nil {
			return err
		}
		if err := p.leaveGroups(ctx, cred, dropped(had.Groups, want.Groups), had); err != nil {
			return err
		}
	}
	if err := p.keys(ctx, cred, want, had); err != nil {
		return err
	}
	if err := p.rule(rule); err != nil {
		return err
	}
	p.announce(want, had, creating, groups)
	return nil
}

// same refuses an account that is there and is not the one that is wanted, and
// warns of what gofleet does not change.
func (p *planner) same(ctx context.Context, want wanted, cred *Credential) error {
	differs := func(key string, has, wants any) error {
		return refused(fmt.Errorf("user %s has %s %v on this host, and %s.%s is %v", want.Name, key, has, want.variable, key, wants),
			"gofleet never changes an account that is there: write what it has, or change it by hand (usermod), its files too")
	}
	switch {
	case cred.UID == 0:
		return refused(fmt.Errorf("user %s has uid 0: it is root under another name", want.Name),
			"name an ordinary account in "+want.variable+".name")
	case want.UID != 0 && want.UID != cred.UID:
		return differs("uid", cred.UID, want.UID)
	case want.GID != 0 && want.GID != cred.GID:
		return differs("gid", cred.GID, want.GID)
	case want.Home != "" && filepath.Clean(cred.Home) != want.Home:
		return differs("home", cred.Home, want.Home)
	}
	if want.Group != "" {
		g, err := lookupGroup(ctx, want.Group)
		switch {
		case errors.Is(err, ErrNotFound):
			return missingGroup(want, want.Group, "group")
		case err != nil:
			return err
		case g.gid != cred.GID:
			return differs("group", nameOr(ctx, "group", cred.GID), want.Group)
		}
	}
	if want.Shell != "" && cred.Shell != want.Shell {
		p.warn("account %s keeps its shell %s: %s.shell (%s) is for accounts that gofleet makes",
			want.Name, cred.Shell, want.variable, want.Shell)
	}
	return nil
}

// leave takes away what gofleet gave to an account that nothing names any more.
func (p *planner) leave(ctx context.Context, name string) error {
	had := p.rec.Users[name].Clone()
	if had == nil {
		// Only a run that was cut knew of it. From now on it is what gofleet
		// gave, lest a run that is cut in this forget it.
		had = p.cut[name].Clone()
		p.rec.Users[name] = had.Clone()
	}
	cred, err := Lookup(ctx, name)
	if errors.Is(err, ErrNotFound) {
		delete(p.rec.Users, name)
		return nil
	}
	if err != nil {
		return err
	}
	if cred.UID == 0 {
		return refused(fmt.Errorf("user %s has uid 0 now: what gofleet gave it is not taken back", name),
			"look into how that came about")
	}
	if *had, err = p.recall(ctx, cred, *had); err != nil {
		return err
	}
	if err := p.leaveGroups(ctx, cred, had.Groups, *had); err != nil {
		return err
	}
	if err := p.keys(ctx, cred, wanted{User: &spec.User{Name: name}}, *had); err != nil {
		return err
	}
	if had.Created {
		p.warn("account %s and its home stay, because they may hold data: remove them with userdel -r %s", name, name)
	}
	if len(p.steps) == p.first {
		delete(p.rec.Users, name)
		return nil
	}
	p.last(func() { delete(p.rec.Users, name) })
	return nil
}

// last has the account's last step note something when it has been made.
func (p *planner) last(note func()) {
	step := &p.steps[len(p.steps)-1]
	do := step.Do
	step.Do = func(ctx context.Context) error {
		if err := do(ctx); err != nil {
			return err
		}
		note()
		return nil
	}
}

// user is rec's entry for name, made when it isn't there.
func (p *planner) user(name string) *record.User {
	if p.rec.Users[name] == nil {
		p.rec.Users[name] = &record.User{Name: name}
	}
	return p.rec.Users[name]
}

// add plans a step whose Undo also puts rec's entry for name back.
func (p *planner) add(name string, s change.Step) {
	do, undo := s.Do, s.Undo
	var before *record.User
	s.Do = func(ctx context.Context) error {
		before = p.rec.Users[name].Clone()
		return do(ctx)
	}
	s.Undo = func() error {
		if before == nil {
			delete(p.rec.Users, name)
		} else {
			p.rec.Users[name] = before
		}
		if undo == nil {
			return nil
		}
		return undo()
	}
	p.steps = append(p.steps, s)
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
