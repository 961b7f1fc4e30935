package account

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gofleet/gofleet/agent/internal/hostcmd"
	"github.com/gofleet/gofleet/agent/internal/hostfile"
	"github.com/gofleet/gofleet/agent/internal/record"
	"github.com/gofleet/gofleet/agent/spec"
	"github.com/gofleet/gofleet/agent/wire"
)

const (
	sudoersDir = "/etc/sudoers.d"
	rulePrefix = sudoersDir + "/gofleet-"
	ruleHeader = "# Written by gofleet from gofleet_user.sudo; the next apply undoes changes.\n"
)

// isAlias reports what sudoers takes for the name of an alias, ALL among them.
func isAlias(name string) bool {
	return name != "" && name[0] >= 'A' && name[0] <= 'Z' &&
		strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") == ""
}

// rulePath is the file of a user's rule. sudo ignores files whose name has a
// dot or ends in a tilde.
func rulePath(user string) string {
	return rulePrefix + strings.NewReplacer(".", "_", "~", "_").Replace(user)
}

// ruleFiles are the rules that rec knows as ours.
func ruleFiles(rec *record.Record) []string {
	var files []string
	for f := range rec.Files {
		if strings.HasPrefix(f, rulePrefix) {
			files = append(files, f)
		}
	}
	slices.Sort(files)
	return files
}

// planRule checks what can be checked before the account is there. Without
// commands there is no rule.
func planRule(want *spec.User) (*hostfile.Managed, error) {
	if len(want.Sudo) == 0 {
		return nil, nil
	}
	if hostcmd.Find("sudo") == "" {
		return nil, refused(fmt.Errorf("sudo is not on this host, and gofleet_user.sudo gives %s a rule", want.Name),
			"install sudo, or set gofleet_user.sudo to none")
	}
	visudo := hostcmd.Find("visudo")
	if visudo == "" {
		return nil, refused(errors.New("visudo is not on this host: without it no sudo rule is written"), "install it, or set gofleet_user.sudo to none")
	}
	if fi, err := os.Stat(sudoersDir); err != nil || !fi.IsDir() {
		return nil, refused(errors.New(sudoersDir+" is not a directory on this host"), "make it and have /etc/sudoers include it, or set gofleet_user.sudo to none")
	}
	text, err := ruleText(want.Name, want.Sudo)
	if err != nil {
		return nil, err
	}
	return &hostfile.Managed{
		Path:    rulePath(want.Name),
		Content: []byte(text),
		Mode:    0o440,
		Kind:    wire.KindAccount,
		Check: func(ctx context.Context, tmp string) error {
			if _, err := hostcmd.Run(ctx, "", visudo, "-cf", tmp); err != nil {
				return refused(fmt.Errorf("visudo refuses the sudo rule: %w", err), "look at gofleet_user.sudo")
			}
			return nil
		},
	}, nil
}

// rule plans the file, and says if sudo will not read it.
func (p *planner) rule(m *hostfile.Managed) error {
	if m == nil {
		return nil
	}
	steps, err := m.Plan(p.rec)
	if err != nil {
		return err
	}
	p.steps = append(p.steps, steps...)
	if !included() {
		p.warn("%s does not include %s: the sudo rule has no effect", sudoersFile(), sudoersDir)
	}
	return nil
}

// staleRules plans to remove the rules of ours that are no longer wanted: those
// that rec knows, and one with our header where rec was lost.
func (p *planner) staleRules(want *spec.User) error {
	files := ruleFiles(p.rec)
	keep := ""
	if want != nil {
		keep = rulePath(want.Name)
		if s, err := hostfile.Look(keep); err == nil && strings.HasPrefix(string(s.Content), ruleHeader) && !slices.Contains(files, keep) {
			files = append(files, keep)
		}
		if len(want.Sudo) == 0 {
			keep = ""
		}
	}
	for _, f := range files {
		if f == keep {
			continue
		}
		steps, err := hostfile.PlanRemove(f, p.rec, wire.KindAccount)
		if err != nil {
			return err
		}
		p.steps = append(p.steps, steps...)
	}
	return nil
}

// ruleText is the rule in the grammar of sudoers(5).
func ruleText(user string, commands []string) (string, error) {
	if isAlias(user) {
		return "", refused(fmt.Errorf("sudo takes the user name %s for an alias", user), "choose a name with lower-case letters, or set gofleet_user.sudo to none")
	}
	rules := make([]string, len(commands))
	for i, c := range commands {
		r, err := escapeCommand(c)
		if err != nil {
			return "", err
		}
		rules[i] = r
	}
	return ruleHeader + strings.ReplaceAll(user, "@", `\@`) + " ALL=(root) NOPASSWD: " + strings.Join(rules, ", ") + "\n", nil
}

// escapeCommand writes a command and its arguments so that sudo takes every
// character as itself: no wildcards, no separators. `""` alone after a command
// stays, which in sudoers means: without arguments.
func escapeCommand(command string) (string, error) {
	bad := func(why string) (string, error) {
		return "", refused(fmt.Errorf("gofleet_user.sudo: command %.100q %s", command, why),
			"write an absolute program and, if you like, its arguments: /usr/bin/systemctl restart app")
	}
	name, args, _ := strings.Cut(command, " ")
	args = strings.Trim(args, " ")
	switch {
	case !strings.HasPrefix(name, "/"):
		return bad("is not absolute")
	case path.Clean(name) != name || name == "/":
		return bad("is not a clean path of a program")
	}
	for _, r := range name {
		if !strings.ContainsRune("/_.+-@%:=,", r) && !isAlphanumeric(r) {
			return bad(fmt.Sprintf("has %q in the program's path", r))
		}
	}
	for _, r := range args {
		if r < ' ' || r == 0x7f || r == '\\' {
			return bad(fmt.Sprintf("has %q, which cannot be given to sudo safely", r))
		}
	}
	if args == `""` {
		return escapeWord(name) + ` ""`, nil
	}
	if strings.Contains(args, `"`) {
		return bad("has double quotes, which sudo and the shell take differently")
	}
	if args == "" {
		return escapeWord(name), nil
	}
	return escapeWord(name) + " " + escapeWord(args), nil
}

func isAlphanumeric(r rune) bool {
	return '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
}

// escapeWord escapes sudoers' separators and the characters of fnmatch(3) and,
// since sudo 1.9.10, of regular expressions.
func escapeWord(s string) string {
	var b strings.Builder
	for _, r := range s {
		if strings.ContainsRune(`,:=#*?[]!^`, r) {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}

func sudoersFile() string {
	for _, f := range []string{"/etc/sudoers", "/usr/etc/sudoers"} {
		if _, err := os.Lstat(f); err == nil {
			return f
		}
	}
	return "/etc/sudoers"
}

// included reports whether sudo reads sudoersDir. What cannot be read is taken
// to be right.
func included() bool {
	file := sudoersFile()
	b, err := os.ReadFile(file)
	if err != nil {
		return !errors.Is(err, os.ErrNotExist)
	}
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) < 2 || f[0] != "#includedir" && f[0] != "@includedir" {
			continue
		}
		dir := strings.Trim(f[1], `"`)
		if !filepath.IsAbs(dir) {
			dir = filepath.Join(filepath.Dir(file), dir)
		}
		if filepath.Clean(dir) == sudoersDir {
			return true
		}
	}
	return false
}
