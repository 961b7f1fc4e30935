package account

import (
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
	"github.com/gofleet/gofleet/agent/internal/record"
	"github.com/gofleet/gofleet/agent/spec"
)

// create plans a new account and gives what is known of it before it is there:
// its name and home. halfMade, if not nil, is what a run that was cut left of
// the same account; it makes room.
func (p *planner) create(ctx context.Context, want *spec.User, had record.User, groups []group, halfMade *Credential) (*Credential, error) {
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
				"install it, or set gofleet_user.shell to one that is there, such as /bin/sh")
		}
	}
	switch _, err := lookupGroup(ctx, want.Name); {
	case halfMade != nil:
	case err == nil:
		return nil, refused(fmt.Errorf("there is a group %s but no user %s", want.Name, want.Name),
			fmt.Sprintf("make the account yourself (useradd -m -g %s -p '*' %s), or remove the group", want.Name, want.Name))
	case !errors.Is(err, ErrNotFound):
		return nil, err
	}
	home := filepath.Join(tool.homes, want.Name)
	if _, err := os.Lstat(home); err == nil && halfMade == nil {
		return nil, refused(fmt.Errorf("home %s is there already, but no user %s", home, want.Name),
			"it may belong to a removed account: move it away, or make the account yourself")
	}
	names := make([]string, len(groups))
	for i, g := range groups {
		names[i] = g.name
	}
	tried := false
	p.add(change.Step{
		Name:  "create user " + want.Name,
		Path:  home,
		Drift: had.Created,
		Diff:  createdDiff(want.Name, home, want.Shell, names),
		Do: func(ctx context.Context) error {
			if halfMade != nil {
				if err := tool.unmake(context.WithoutCancel(ctx), halfMade); err != nil {
					return err
				}
			}
			tried = true
			// Not to be killed halfway: it holds the locks of /etc/passwd.
			if err := tool.add(context.WithoutCancel(ctx), want.Name, home, want.Shell, names); err != nil {
				return err
			}
			p.rec.User = &record.User{Name: want.Name, Created: true, Groups: names}
			return syncHome(home)
		},
		Undo: func() error {
			if !tried {
				return nil
			}
			return tool.remove(want.Name)
		},
	})
	return &Credential{Name: want.Name, Home: home, Shell: want.Shell}, nil
}

func createdDiff(name, home, shell string, groups []string) string {
	d := fmt.Sprintf("user %s with home %s", name, home)
	if shell != "" {
		d += ", shell " + shell
	}
	if len(groups) > 0 {
		d += ", groups " + strings.Join(groups, " ")
	}
	return d + "\n"
}

// tool is what this host manages accounts with: shadow's useradd, or busybox
// on hosts such as Alpine.
type tool struct {
	homes string // directory of new homes
	add   func(ctx context.Context, name, home, shell string, groups []string) error
	drop  func(ctx context.Context, name string) error
}

func findTool(ctx context.Context) (tool, error) {
	if useradd, userdel := hostcmd.Find("useradd"), hostcmd.Find("userdel"); useradd != "" && userdel != "" {
		return shadow(ctx, useradd, userdel), nil
	}
	adduser, addgroup := busybox("adduser"), busybox("addgroup")
	deluser, chpasswd := busybox("deluser"), hostcmd.Find("chpasswd")
	if adduser == "" || addgroup == "" || deluser == "" || chpasswd == "" {
		return tool{}, refused(errors.New("this host has neither useradd and userdel nor busybox's adduser to make an account with"),
			"install the package passwd or shadow, or make the account yourself")
	}
	return tool{
		homes: "/home",
		add: func(ctx context.Context, name, home, shell string, groups []string) error {
			args := []string{"-D", "-h", home}
			if shell != "" {
				args = append(args, "-s", shell)
			}
			if _, err := hostcmd.Run(ctx, "", adduser, append(args, name)...); err != nil {
				return err
			}
			// adduser leaves "!", which sshd takes for a locked account.
			if _, err := hostcmd.Run(ctx, name+":*\n", chpasswd, "-e"); err != nil {
				return err
			}
			for _, g := range groups {
				if _, err := hostcmd.Run(ctx, "", addgroup, name, g); err != nil {
					return err
				}
			}
			return nil
		},
		drop: func(ctx context.Context, name string) error {
			_, err := hostcmd.Run(ctx, "", deluser, "--remove-home", name)
			return err
		},
	}, nil
}

func shadow(ctx context.Context, useradd, userdel string) tool {
	t := tool{
		homes: "/home",
		add: func(ctx context.Context, name, home, shell string, groups []string) error {
			args := []string{"-m", "-d", home, "-p", "*"}
			if shell != "" {
				args = append(args, "-s", shell)
			}
			if len(groups) > 0 {
				args = append(args, "-G", strings.Join(groups, ","))
			}
			_, err := hostcmd.Run(ctx, "", useradd, append(args, "--", name)...)
			return err
		},
		drop: func(ctx context.Context, name string) error {
			_, err := hostcmd.Run(ctx, "", userdel, "-r", "--", name)
			return err
		},
	}
	if out, err := hostcmd.Run(ctx, "", useradd, "-D"); err == nil {
		for line := range strings.Lines(string(out)) {
			if dir, ok := strings.CutPrefix(strings.TrimSpace(line), "HOME="); ok && filepath.IsAbs(dir) {
				t.homes = filepath.Clean(dir)
			}
		}
	}
	return t
}

// remove takes a new account back, home included: before it there was neither.
func (t tool) remove(name string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if _, err := Lookup(ctx, name); errors.Is(err, ErrNotFound) {
		return nil
	}
	return t.drop(ctx, name)
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
