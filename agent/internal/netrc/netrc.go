// Package netrc plans the deploy user's ~/.netrc: the credentials that go,
// curl and git use for an inner GOPROXY or git server. Passwords go into that
// file and nowhere else: not into steps, diffs, warnings or errors. Everything
// that it would refuse, it refuses while planning.
package netrc

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gofleet/gofleet/agent/internal/account"
	"github.com/gofleet/gofleet/agent/internal/asuser"
	"github.com/gofleet/gofleet/agent/internal/change"
	"github.com/gofleet/gofleet/agent/internal/hostfile"
	"github.com/gofleet/gofleet/agent/internal/record"
	"github.com/gofleet/gofleet/agent/spec"
	"github.com/gofleet/gofleet/agent/wire"
)

// File is the file's name in a home.
const File = ".netrc"

// Plan gives the steps that make the file of the deploy user have the entries
// of s, and no entry that an earlier run put there and s has no more, and
// warnings. Other entries stay. Without a deploy user the file is that of who
// runs the agent, which must not be root. What the steps are about to write is
// noted in rec, which is to be saved before the first of them.
//
// The errors are *wire.Error of the kinds KindAccount and KindHost.
func Plan(ctx context.Context, s *spec.Spec, rec *record.Record) ([]change.Step, []string, error) {
	p := &planner{rec: rec}
	if err := p.plan(ctx, s); err != nil {
		return nil, nil, asWire(err)
	}
	return p.steps, p.warnings, nil
}

// PlanRemove gives the steps that take away all entries that are ours.
func PlanRemove(ctx context.Context, rec *record.Record) ([]change.Step, error) {
	steps, _, err := Plan(ctx, &spec.Spec{}, rec)
	return steps, err
}

type planner struct {
	rec      *record.Record
	steps    []change.Step
	warnings []string
}

func (p *planner) plan(ctx context.Context, s *spec.Spec) error {
	name := ""
	if s.User != nil {
		name = s.User.Name
	}
	for _, other := range slices.Sorted(maps.Keys(p.rec.Netrc)) {
		if other == name && len(s.Netrc) > 0 {
			continue
		}
		if err := p.file(ctx, other, nil); err != nil {
			return err
		}
	}
	if len(s.Netrc) == 0 {
		return nil
	}
	if s.User == nil && os.Geteuid() == 0 {
		return refused(errors.New("gofleet_netrc needs gofleet_user: as root there is no other user whose ~/.netrc it could be"),
			"set gofleet_user, or work without become below a gofleet_root of the user's own")
	}
	p.warnUnread(s)
	return p.file(ctx, name, s.Netrc)
}

// warnUnread warns of settings with which go does not read the file.
func (p *planner) warnUnread(s *spec.Spec) {
	if auth, set := s.Env["GOAUTH"]; set && !slices.Contains(strings.Fields(strings.ReplaceAll(auth, ";", " ")), "netrc") {
		p.warnings = append(p.warnings, "gofleet_env sets GOAUTH without netrc: go does not read what gofleet_netrc writes")
	}
	if _, set := s.Environment["NETRC"]; set {
		p.warnings = append(p.warnings, "gofleet_environment sets NETRC: go reads that file, not what gofleet_netrc writes")
	}
}

// file plans one user's file.
func (p *planner) file(ctx context.Context, name string, want []spec.NetrcEntry) error {
	cred, err := account.LookupOrSelf(ctx, name)
	path := fmt.Sprintf("~%s/%s", name, File)
	var now asuser.Entry
	switch {
	case errors.Is(err, account.ErrNotFound) && len(want) == 0:
		delete(p.rec.Netrc, name) // with the account went its file
		return nil
	case errors.Is(err, account.ErrNotFound): // made in the same run
	case errors.Is(err, account.ErrNoHome):
		return refused(fmt.Errorf("%w for %s", err, File), "log in with a home directory")
	case err != nil:
		return err
	default:
		path = filepath.Join(cred.Home, File)
		if now, err = look(ctx, cred); err != nil {
			return err
		}
	}
	noted := p.rec.Netrc[name]
	m := merge(string(now.Content), noted, want)
	for _, machine := range m.shadowed {
		p.warnings = append(p.warnings, fmt.Sprintf("%s has an entry of somebody else's for %s: gofleet's comes first and decides", path, machine))
	}
	loose := len(want) > 0 && now.Type == asuser.File && now.Mode != 0o600
	if m.content == string(now.Content) && !loose {
		p.note(name, m.owned)
		return nil
	}
	p.announce(name, m.owned)
	st := &step{p: p, name: name, want: want, noted: noted}
	diff := m.diff()
	if loose {
		diff += fmt.Sprintf("mode %04o becomes 0600\n", now.Mode)
	}
	p.steps = append(p.steps, change.Step{
		Name: "write " + path, Path: path, Drift: m.lost || loose && len(noted) > 0, Diff: diff, Do: st.do, Undo: st.undo,
	})
	return nil
}

func (p *planner) note(name string, owned []record.NetrcLine) {
	if len(owned) == 0 {
		delete(p.rec.Netrc, name)
		return
	}
	p.rec.Netrc[name] = owned
}

// announce adds what is about to be written to what was: a run that is cut
// must not leave a password there that nobody knows to be ours.
func (p *planner) announce(name string, owned []record.NetrcLine) {
	all := slices.Clone(p.rec.Netrc[name])
	for _, l := range owned {
		if !slices.ContainsFunc(all, func(h record.NetrcLine) bool { return h.Sum == l.Sum }) {
			l.Doing = true
			all = append(all, l)
		}
	}
	p.note(name, all)
}

// step writes one file with its user's rights.
type step struct {
	p     *planner
	name  string
	want  []spec.NetrcEntry
	noted []record.NetrcLine // before the run

	cred *account.Credential // of do; nil: nothing was done
	now  asuser.Entry
}

func (s *step) do(ctx context.Context) error {
	cred, err := account.LookupOrSelf(ctx, s.name)
	if err != nil {
		return err
	}
	now, err := look(ctx, cred)
	if err != nil {
		return err
	}
	m := merge(string(now.Content), s.noted, s.want)
	s.cred, s.now = cred, now
	if err := s.put(ctx, m.content); err != nil {
		return err
	}
	s.p.note(s.name, m.owned)
	_ = hostfile.Relabel(ctx, filepath.Join(cred.Home, File)) // root may have no rights in a home
	return nil
}

// put writes the file; one in which nothing is left goes. The mode of a file
// with nothing of ours in it is its user's.
func (s *step) put(ctx context.Context, content string) error {
	op := asuser.Op{Act: asuser.Write, Path: File, Mode: 0o600, Content: []byte(content)}
	switch {
	case content == "":
		op = asuser.Op{Act: asuser.Remove, Path: File}
	case len(s.want) == 0 && s.now.Type == asuser.File:
		op.Mode = s.now.Mode
	}
	_, err := asuser.Do(ctx, s.cred.Identity(), s.cred.Home, op)
	return err
}

func (s *step) undo() error {
	if s.cred == nil {
		return nil
	}
	s.p.note(s.name, s.noted)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	op := asuser.Op{Act: asuser.Remove, Path: File}
	if s.now.Type == asuser.File {
		op = asuser.Op{Act: asuser.Write, Path: File, Mode: s.now.Mode, Content: s.now.Content, Group: &s.now.GID}
	}
	_, err := asuser.Do(ctx, s.cred.Identity(), s.cred.Home, op)
	return err
}

// look reads the file, and refuses a link and what isn't the user's own.
func look(ctx context.Context, cred *account.Credential) (asuser.Entry, error) {
	e, err := cred.LookOwn(ctx, File, wire.KindAccount)
	if err != nil {
		return asuser.Entry{}, err
	}
	return e[1], nil
}

func refused(err error, hint string) error { return wire.NewError(wire.KindAccount, err, hint) }

func asWire(err error) error {
	var e *wire.Error
	if errors.As(err, &e) {
		return err
	}
	return wire.NewError(wire.KindHost, err, "")
}
