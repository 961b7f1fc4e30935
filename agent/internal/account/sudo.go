package account

import (
	"context"
	"errors"
	"fmt"
	"maps"
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
	ruleMark   = "# Written by gofleet from gofleet_user" // every rule of ours begins so
	ruleHeader = ruleMark + "%s.sudo; the next apply undoes changes.\n"
)

// isAlias reports what sudoers takes for the name of an alias, ALL among them.
func isAlias(name string) bool {
	return name != "" && name[0] >= 'A' && name[0] <= 'Z' &&
		strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") == ""
}

// rulePath is the file of a user's rule.
func rulePath(user string) string { return filepath.Join(sudoersDir, spec.SudoRule(user)) }

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
func planRule(want wanted) (*hostfile.Managed, error) {
	if len(want.Sudo) == 0 {
		return nil, nil
	}
	variable := want.variable + ".sudo"
	if hostcmd.Find("sudo") == "" {
		return nil, refused(fmt.Errorf("sudo is not on this host, and %s gives %s a rule", variable, want.Name),
			"install sudo, or set "+variable+" to none")
	}
	visudo := hostcmd.Find("visudo")
	if visudo == "" {
		return nil, refused(errors.New("visudo is not on this host: without it no sudo rule is written"), "install it, or set "+variable+" to none")
	}
	if fi, err := os.Stat(sudoersDir); err != nil || !fi.IsDir() {
		return nil, refused(errors.New(sudoersDir+" is not a directory on this host"), "make it and have /etc/sudoers include it, or set "+variable+" to none")
	}
	text, err := ruleText(want)
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
				return refused(fmt.Errorf("visudo refuses the sudo rule: %w", err), "look at "+variable)
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
// that rec knows, and those with our header of accounts that a run which was
// cut, or one whose record is lost, may have given them to.
func (p *planner) staleRules(all []wanted) error {
	keep := map[string]bool{}
	names := slices.Collect(maps.Keys(p.cut))
	for _, w := range all {
		names = append(names, w.Name)
		keep[rulePath(w.Name)] = len(w.Sudo) > 0
	}
	for _, name := range names {
		path := rulePath(name)
		if s, err := hostfile.Look(path); err == nil && strings.HasPrefix(string(s.Content), ruleMark) && !keep[path] && p.rec.Files[path] == "" {
			p.rec.Files[path] = record.Sum(s.Content)
		}
	}
	for _, f := range ruleFiles(p.rec) {
		if keep[f] {
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
func ruleText(want wanted) (string, error) {
	if isAlias(want.Name) {
		return "", refused(fmt.Errorf("sudo takes the user name %s for an alias", want.Name),
			"choose a name with lower-case letters, or set "+want.variable+".sudo to none")
	}
	rules := make([]string, len(want.Sudo))
	for i, c := range want.Sudo {
		r, err := escapeCommand(c)
		if err != nil {
			return "", fmt.Errorf("%s.sudo: %w", want.variable, err)
		}
		rules[i] = r
	}
	variable, _, _ := strings.Cut(strings.TrimPrefix(want.variable, "gofleet_user"), "[") // an index is not to change a file
	return fmt.Sprintf(ruleHeader, variable) + strings.ReplaceAll(want.Name, "@", `\@`) + " ALL=(root) NOPASSWD: " + strings.Join(rules, ", ") + "\n", nil
}

// escapeCommand writes a command and its arguments so that sudo takes every
// character as itself: no wildcards, no separators. `""` alone after a command
// stays, which in sudoers means: without arguments.
func escapeCommand(command string) (string, error) {
	bad := func(why string) (string, error) {
		return "", refused(fmt.Errorf("command %.100q %s", command, why),
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
	for _, line := range strings.SplitAfter(string(b), "\n") {
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
