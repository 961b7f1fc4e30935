package account

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gofleet/gofleet/agent/internal/change"
	"github.com/gofleet/gofleet/agent/internal/hostcmd"
	"github.com/gofleet/gofleet/agent/internal/hostfile"
	"github.com/gofleet/gofleet/agent/internal/record"
)

// account is a new account as the host's tool is told of it.
type account struct {
	name, home, shell string
	uid               uint32 // 0: the next one
	group             string // primary; "": as the host does
	gid               uint32 // of group, which is made if it isn't there; 0: it is there
	groups            []string
}

// create plans a new account and gives what is known of it before it is there:
// its name and home. halfMade, if not nil, is what a run that was cut left of
// the same account; it makes room.
func (p *planner) create(ctx context.Context, want wanted, had record.User, groups []group, halfMade *Credential) (*Credential, error) {
	tool, err := findTool(ctx)
	if err != nil {
		return nil, err
	}
	for _, g := range groups {
		if !g.local {
			return nil, notLocal(g)
		}
	}
	if want.Shell != "" {
		if fi, err := os.Stat(want.Shell); err != nil || !fi.Mode().IsRegular() || fi.Mode()&0o111 == 0 {
			return nil, refused(fmt.Errorf("shell %s of user %s is not a program on this host", want.Shell, want.Name),
				"install it, or set "+want.variable+".shell to one that is there, such as /bin/sh")
		}
	}
	a := &account{name: want.Name, shell: want.Shell, uid: want.UID, home: cmp.Or(want.Home, filepath.Join(tool.homes, want.Name))}
	if a.group, a.gid, err = p.primaryGroup(ctx, want, halfMade != nil); err != nil {
		return nil, err
	}
	if a.gid != 0 || a.group == "" && tool.ownGroup {
		p.made[a.name] = true
	}
	if err := free(ctx, want, a.home, halfMade); err != nil {
		return nil, err
	}
	for _, g := range groups {
		a.groups = append(a.groups, g.name)
	}
	tried := false
	var made []string // directories above the home
	p.add(want.Name, change.Step{
		Name:  "create user " + want.Name,
		Path:  a.home,
		Drift: had.Created,
		Diff:  a.diff(),
		Do: func(ctx context.Context) (err error) {
			// Not to be killed halfway: tools hold the locks of /etc/passwd.
			ctx = context.WithoutCancel(ctx)
			if halfMade != nil {
				if err := tool.unmake(ctx, halfMade); err != nil {
					return err
				}
			}
			if made, err = hostfile.MakeDirs(filepath.Dir(a.home)); err != nil {
				return err
			}
			tried = true
			if err := a.make(ctx, tool); err != nil {
				return err
			}
			p.rec.Users[a.name] = &record.User{Name: a.name, Created: true, Groups: a.groups}
			return syncHome(a.home)
		},
		Undo: func() error {
			if !tried {
				return hostfile.RemoveDirs(made)
			}
			return errors.Join(tool.remove(a), hostfile.RemoveDirs(made))
		},
	})
	return &Credential{Name: a.name, Home: a.home, Shell: a.shell}, nil
}

// primaryGroup is the group that a new account is to have, if the inventory
// says, and its gid where it is to be made with the account: it bears its name
// then. A group of that name that nothing asks for is somebody else's.
func (p *planner) primaryGroup(ctx context.Context, want wanted, halfMade bool) (name string, gid uint32, err error) {
	name = want.Group
	if name == "" {
		name = want.Name
	}
	g, err := lookupGroup(ctx, name)
	switch {
	case err != nil && !errors.Is(err, ErrNotFound):
		return "", 0, err
	case err != nil && p.made[name]:
		return name, 0, nil
	case err == nil && want.GID != 0 && g.gid != want.GID:
		return "", 0, refused(fmt.Errorf("group %s has gid %d on this host, and %s.gid is %d", name, g.gid, want.variable, want.GID),
			"gofleet never changes a group that is there: write the gid that it has, or change it by hand (groupmod)")
	case err == nil && halfMade && want.GID != 0 && name == want.Name:
		return name, want.GID, nil // it may go with what is left of the account
	case err == nil && (want.Group != "" || want.GID != 0):
		return name, 0, nil
	case err == nil && halfMade:
		return "", 0, nil // it goes with what is left of the account
	case err == nil:
		return "", 0, refused(fmt.Errorf("there is a group %s but no user %s", want.Name, want.Name),
			fmt.Sprintf("if the account is to have it: %s.group: %s; otherwise remove the group", want.variable, want.Name))
	case want.Group != "" && want.Group != want.Name || want.Group != "" && want.GID == 0:
		return "", 0, missingGroup(want, want.Group, "group")
	case want.GID == 0:
		return "", 0, nil
	}
	if holder := nameOr(ctx, "group", want.GID); holder != fmt.Sprint(want.GID) {
		return "", 0, refused(fmt.Errorf("gid %d of user %s is group %s's on this host", want.GID, want.Name, holder),
			fmt.Sprintf("choose another gid, or, if that is to be its group: %s.group: %s", want.variable, holder))
	}
	return name, want.GID, nil
}

// free refuses a uid or home that somebody else has, and a home where others
// could put something in its place.
func free(ctx context.Context, want wanted, home string, halfMade *Credential) error {
	if want.UID != 0 && (halfMade == nil || halfMade.UID != want.UID) {
		if holder := nameOr(ctx, "passwd", want.UID); holder != fmt.Sprint(want.UID) {
			return refused(fmt.Errorf("uid %d of user %s is user %s's on this host", want.UID, want.Name, holder),
				fmt.Sprintf("choose another %s.uid, or name that account", want.variable))
		}
	}
	if _, err := os.Lstat(home); err == nil && (halfMade == nil || halfMade.Home != home) {
		return refused(fmt.Errorf("home %s is there already, but no user %s", home, want.Name),
			"it may belong to a removed account: move it away, or make the account yourself")
	}
	if want.Home == "" {
		return nil
	}
	above, err := hostfile.Reach(filepath.Dir(home))
	if err != nil {
		return refused(fmt.Errorf("home of user %s: %w", want.Name, err),
			"a new home lies where only root can change what stands there: put that right, or choose another "+want.variable+".home")
	}
	return above.Close()
}

// make has the tool make the account, and its group before it.
func (a *account) make(ctx context.Context, t tool) error {
	if a.gid != 0 {
		// A run that was cut may have made it.
		if _, err := lookupGroup(ctx, a.group); errors.Is(err, ErrNotFound) {
			if err := t.addGroup(ctx, a.group, a.gid); err != nil {
				return err
			}
		}
	}
	return t.add(ctx, a)
}

func (a *account) diff() string {
	d := fmt.Sprintf("user %s with home %s", a.name, a.home)
	if a.uid != 0 {
		d += fmt.Sprintf(", uid %d", a.uid)
	}
	if a.group != "" {
		d += ", group " + a.group
	}
	if a.gid != 0 {
		d += fmt.Sprintf(" (new, gid %d)", a.gid)
	}
	if a.shell != "" {
		d += ", shell " + a.shell
	}
	if len(a.groups) > 0 {
		d += ", groups " + strings.Join(a.groups, " ")
	}
	return d + "\n"
}

// tool is what this host manages accounts with: shadow's useradd, or busybox
// on hosts such as Alpine.
type tool struct {
	homes     string // directory of new homes
	ownGroup  bool   // a new account gets a group of its name, if nothing else is said
	add       func(ctx context.Context, a *account) error
	drop      func(ctx context.Context, name string) error
	addGroup  func(ctx context.Context, name string, gid uint32) error
	dropGroup func(ctx context.Context, name string) error
}

func findTool(ctx context.Context) (tool, error) {
	if useradd, userdel := hostcmd.Find("useradd"), hostcmd.Find("userdel"); useradd != "" && userdel != "" {
		return shadow(ctx, useradd, userdel), nil
	}
	adduser, addgroup, chpasswd := busybox("adduser"), busybox("addgroup"), hostcmd.Find("chpasswd")
	deluser, delgroup := busybox("deluser"), busybox("delgroup")
	if adduser == "" || addgroup == "" || deluser == "" || delgroup == "" || chpasswd == "" {
		return tool{}, refused(errors.New("this host has neither useradd and userdel nor busybox's adduser to make an account with"),
			"install the package passwd or shadow, or make the account yourself")
	}
	return tool{
		homes:    "/home",
		ownGroup: true,
		add: func(ctx context.Context, a *account) error {
			args := a.flags("-D", "-h", a.home)
			if a.group != "" {
				args = append(args, "-G", a.group)
			}
			if _, err := hostcmd.Run(ctx, "", adduser, append(args, a.name)...); err != nil {
				return err
			}
			// adduser leaves "!", which sshd takes for a locked account.
			if _, err := hostcmd.Run(ctx, a.name+":*\n", chpasswd, "-e"); err != nil {
				return err
			}
			for _, g := range a.groups {
				if _, err := hostcmd.Run(ctx, "", addgroup, a.name, g); err != nil {
					return err
				}
			}
			return nil
		},
		drop:      runOn(deluser, "--remove-home"),
		addGroup:  runGroup(addgroup),
		dropGroup: runOn(delgroup),
	}, nil
}

func shadow(ctx context.Context, useradd, userdel string) tool {
	t := tool{
		homes: "/home",
		add: func(ctx context.Context, a *account) error {
			args := a.flags("-m", "-d", a.home, "-p", "*")
			if a.group != "" {
				args = append(args, "-g", a.group)
			}
			if len(a.groups) > 0 {
				args = append(args, "-G", strings.Join(a.groups, ","))
			}
			_, err := hostcmd.Run(ctx, "", useradd, append(args, "--", a.name)...)
			return err
		},
		drop:      runOn(userdel, "-r", "--"),
		addGroup:  runGroup(hostcmd.Find("groupadd")),
		dropGroup: runOn(hostcmd.Find("groupdel")),
	}
	if out, err := hostcmd.Run(ctx, "", useradd, "-D"); err == nil {
		for _, line := range strings.SplitAfter(string(out), "\n") {
			if dir, ok := strings.CutPrefix(strings.TrimSpace(line), "HOME="); ok && filepath.IsAbs(dir) {
				t.homes = filepath.Clean(dir)
			}
		}
	}
	defs, _ := os.ReadFile("/etc/login.defs")
	for _, line := range strings.SplitAfter(string(defs), "\n") {
		if f := strings.Fields(line); len(f) == 2 && f[0] == "USERGROUPS_ENAB" {
			t.ownGroup = f[1] == "yes"
		}
	}
	return t
}

// flags are options that both tools have, behind others.
func (a *account) flags(args ...string) []string {
	if a.uid != 0 {
		args = append(args, "-u", fmt.Sprint(a.uid))
	}
	if a.shell != "" {
		args = append(args, "-s", a.shell)
	}
	return args
}

func runOn(program string, args ...string) func(context.Context, string) error {
	return func(ctx context.Context, name string) error {
		_, err := hostcmd.Run(ctx, "", program, append(slices.Clone(args), name)...)
		return err
	}
}

func runGroup(program string) func(context.Context, string, uint32) error {
	return func(ctx context.Context, name string, gid uint32) error {
		_, err := hostcmd.Run(ctx, "", program, "-g", fmt.Sprint(gid), name)
		return err
	}
}

// remove takes a new account back, home included: before it there was neither,
// nor a group that was made with it.
func (t tool) remove(a *account) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if _, err := Lookup(ctx, a.name); !errors.Is(err, ErrNotFound) {
		if err := t.drop(ctx, a.name); err != nil {
			return err
		}
	}
	if a.gid == 0 {
		return nil
	}
	// The tool may have removed it with the account.
	if _, err := lookupGroup(ctx, a.group); errors.Is(err, ErrNotFound) {
		return nil
	}
	return t.dropGroup(ctx, a.group)
}

// busybox finds an applet. Debian has scripts of the same names, with other
// options.
func busybox(applet string) string {
	path := hostcmd.Find(applet)
	if path == "" {
		return ""
	}
	real, err := filepath.EvalSymlinks(path)
	if err != nil || !slices.Contains([]string{"busybox", "busybox.static"}, filepath.Base(real)) {
		return ""
	}
	return path
}
