package account

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/gofleet/gofleet/agent/internal/change"
	"github.com/gofleet/gofleet/agent/internal/hostcmd"
	"github.com/gofleet/gofleet/agent/internal/record"
)

// inOrder puts accounts behind those whose groups they are to be in, and leaves
// the order of the inventory otherwise. Of two that want each other's group, the
// first one's is then missing.
func inOrder(all []wanted) []wanted {
	var out []wanted
	done := map[string]bool{}
	var put func(w wanted)
	put = func(w wanted) {
		if done[w.Name] {
			return
		}
		done[w.Name] = true
		for _, above := range all {
			if above.Name == w.Group || slices.Contains(w.Groups, above.Name) {
				put(above)
			}
		}
		out = append(out, w)
	}
	for _, w := range all {
		put(w)
	}
	return out
}

// wantedGroups looks every group up. Missing ones are not made, but for an
// account's own: what a group may do is not for this inventory to invent.
func (p *planner) wantedGroups(ctx context.Context, want wanted) ([]group, error) {
	var groups []group
	for _, name := range want.Groups {
		g, err := lookupGroup(ctx, name)
		if errors.Is(err, ErrNotFound) && p.made[name] {
			g, err = &group{name: name, local: true, made: true}, nil
		}
		if errors.Is(err, ErrNotFound) {
			return nil, missingGroup(want, name, "groups")
		}
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(groups, func(h group) bool { return h.name == g.name }) {
			groups = append(groups, *g)
		}
	}
	return groups, nil
}

func missingGroup(want wanted, name, key string) error {
	return refused(fmt.Errorf("group %s of user %s is not on this host", name, want.Name),
		fmt.Sprintf("make it (groupadd %s), or drop it from %s.%s", name, want.variable, key))
}

func notLocal(g group) error {
	return refused(fmt.Errorf("group %s is not in this host's /etc/group: it comes from a directory server", g.name),
		"add the user to it there")
}

// joinGroups plans a step for each wanted group that an existing account is
// not in.
func (p *planner) joinGroups(cred *Credential, groups []group, had record.User) error {
	for _, g := range groups {
		if !g.made && slices.Contains(cred.Groups, g.gid) {
			continue
		}
		if !g.local {
			return notLocal(g)
		}
		tool, err := memberTool()
		if err != nil {
			return err
		}
		name := cred.Name
		p.joining = append(p.joining, g.name)
		p.add(name, change.Step{
			Name:  fmt.Sprintf("add %s to group %s", name, g.name),
			Path:  "/etc/group",
			Drift: slices.Contains(had.Groups, g.name),
			Diff:  fmt.Sprintf("group %s: +%s\n", g.name, name),
			Do: func(ctx context.Context) error {
				if err := tool.join(ctx, name, g.name); err != nil {
					return err
				}
				if u := p.user(name); !slices.Contains(u.Groups, g.name) {
					u.Groups = append(u.Groups, g.name)
				}
				return nil
			},
			Undo: func() error { return undoMember(tool.leave, name, g, false) },
		})
	}
	return nil
}

// leaveGroups plans to take an account out of groups that gofleet put it in.
func (p *planner) leaveGroups(ctx context.Context, cred *Credential, names []string, had record.User) error {
	for _, n := range names {
		g, err := lookupGroup(ctx, n)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
		if err != nil || !g.local || g.gid == cred.GID || !slices.Contains(cred.Groups, g.gid) {
			forget(p.rec, cred.Name, n)
			continue
		}
		members, err := memberTool()
		if err != nil {
			return err
		}
		name, g1 := cred.Name, *g
		p.add(name, change.Step{
			Name: fmt.Sprintf("take %s out of group %s", name, g.name),
			Path: "/etc/group",
			Diff: fmt.Sprintf("group %s: -%s\n", g.name, name),
			Do: func(ctx context.Context) error {
				if err := members.leave(ctx, name, g1.name); err != nil {
					return err
				}
				forget(p.rec, name, g1.name)
				return nil
			},
			Undo: func() error { return undoMember(members.join, name, g1, true) },
		})
	}
	return nil
}

func forget(rec *record.Record, user, group string) {
	if u := rec.Users[user]; u != nil {
		u.Groups = slices.DeleteFunc(slices.Clone(u.Groups), func(g string) bool { return g == group })
	}
}

// undoMember brings a membership back to what it was, unless it is that.
func undoMember(do func(ctx context.Context, user, group string) error, user string, g group, was bool) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if g.made {
		now, err := lookupGroup(ctx, g.name)
		if errors.Is(err, ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		g = *now
	}
	cred, err := Lookup(ctx, user)
	if err != nil {
		return err
	}
	if slices.Contains(cred.Groups, g.gid) == was {
		return nil
	}
	return do(ctx, user, g.name)
}

// members changes who is in a group of /etc/group. Unlike usermod, gpasswd
// does so for users of a directory server too.
type members struct {
	join, leave func(ctx context.Context, user, group string) error
}

func memberTool() (members, error) {
	run := func(program string, args ...string) func(context.Context, string, string) error {
		return func(ctx context.Context, user, group string) error {
			// Not to be killed halfway: it holds the locks of /etc/group.
			_, err := hostcmd.Run(context.WithoutCancel(ctx), "", program, append(slices.Clone(args), user, group)...)
			return err
		}
	}
	if gpasswd := hostcmd.Find("gpasswd"); gpasswd != "" {
		return members{join: run(gpasswd, "-a"), leave: run(gpasswd, "-d")}, nil
	}
	if addgroup, delgroup := busybox("addgroup"), busybox("delgroup"); addgroup != "" && delgroup != "" {
		return members{join: run(addgroup), leave: run(delgroup)}, nil
	}
	return members{}, refused(errors.New("this host has neither gpasswd nor busybox's addgroup to add a user to a group with"),
		"install the package passwd or shadow, or add the user yourself")
}
