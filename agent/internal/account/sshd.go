package account

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gofleet/gofleet/agent/internal/ancestry"
	"github.com/gofleet/gofleet/agent/internal/hostcmd"
	"github.com/gofleet/gofleet/agent/spec"
	"github.com/gofleet/gofleet/agent/wire"
)

// JudgeSSHD asks sshd, for each account of s with keys, whether it would take
// them, and gives a check each: never more than a warning, for sshd's settings
// are not gofleet's. Accounts that are still to be made are judged as they will
// be. Without root or sshd there is nothing to ask.
func JudgeSSHD(ctx context.Context, s *spec.Spec) []wire.Check {
	sshd := hostcmd.Find("sshd")
	if sshd == "" || os.Geteuid() != 0 {
		return nil
	}
	var checks []wire.Check
	addr := ""
	for _, w := range wantedOf(s) {
		if len(w.AuthorizedKeys) == 0 {
			continue
		}
		if addr == "" {
			addr = clientAddress()
		}
		j := &sshdJudge{want: w}
		out, err := hostcmd.Run(ctx, "", sshd, "-T", "-C", fmt.Sprintf("user=%s,host=%s,addr=%s", w.Name, addr, addr))
		if err == nil {
			j.settings = parseSSHD(string(out))
			err = j.judge(ctx)
		}
		if err != nil {
			j.problem(fmt.Sprintf("not judged: %v", err), "ask it yourself, as root: sshd -T -C user="+w.Name)
		}
		checks = append(checks, j.check())
	}
	return checks
}

// sshdJudge is what is found out about one account.
type sshdJudge struct {
	want     wanted
	settings map[string][]string // lower-case keyword to its words
	cred     *Credential         // nil: it is still to be made

	problems, hints []string
}

func (j *sshdJudge) problem(text, hint string) {
	j.problems, j.hints = append(j.problems, text), append(j.hints, hint)
}

func (j *sshdJudge) check() wire.Check {
	c := wire.Check{Name: "sshd " + j.want.Name, Status: wire.Pass, Actual: "it would", Wanted: "sshd takes the keys of " + j.want.Name}
	if len(j.problems) > 0 {
		c.Status, c.Actual, c.Hint = wire.Warn, strings.Join(j.problems, "; "), strings.Join(j.hints, "; ")
	}
	return c
}

// parseSSHD reads what sshd -T prints: a keyword and its words a line, some of
// them on several lines.
func parseSSHD(out string) map[string][]string {
	settings := map[string][]string{}
	for _, line := range strings.SplitAfter(out, "\n") {
		if f := strings.Fields(line); len(f) > 1 {
			key := strings.ToLower(f[0])
			settings[key] = append(settings[key], f[1:]...)
		}
	}
	return settings
}

func (j *sshdJudge) is(keyword, value string) bool {
	return len(j.settings[keyword]) == 1 && j.settings[keyword][0] == value
}

// judge goes through what sshd asks before it takes a key.
func (j *sshdJudge) judge(ctx context.Context) (err error) {
	if j.cred, err = Lookup(ctx, j.want.Name); err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	if j.is("pubkeyauthentication", "no") {
		j.problem("PubkeyAuthentication is no", "set it to yes in sshd_config")
	}
	j.keysFile()
	j.methods()
	j.algorithms()
	if err := j.allowed(ctx); err != nil {
		return err
	}
	if j.cred != nil {
		j.account()
		j.modes()
	}
	return nil
}

// keysFile looks whether sshd reads the file that gofleet writes.
func (j *sshdJudge) keysFile() {
	files := j.settings["authorizedkeysfile"]
	home, uid := j.want.Home, ""
	if j.cred != nil {
		home, uid = j.cred.Home, fmt.Sprint(j.cred.UID)
	}
	if home == "" {
		home = "/home/" + j.want.Name
	}
	expand := strings.NewReplacer("%%", "%", "%h", home, "%u", j.want.Name, "%U", uid)
	for _, file := range files {
		file = expand.Replace(file)
		if !filepath.IsAbs(file) {
			file = filepath.Join(home, file)
		}
		if filepath.Clean(file) == filepath.Join(home, keyFile) {
			return
		}
	}
	j.problem("AuthorizedKeysFile is "+shown(files), "add "+keyFile+" to it in sshd_config")
}

// methods looks whether a key alone is enough.
func (j *sshdJudge) methods() {
	all := j.settings["authenticationmethods"]
	enough := func(list string) bool {
		return list == "any" || strings.Trim(strings.ReplaceAll(list, "publickey", ""), ",") == ""
	}
	if len(all) > 0 && !slices.ContainsFunc(all, enough) {
		j.problem("AuthenticationMethods is "+shown(all), "a key alone does not log in: allow publickey, or know the rest")
	}
}

// algorithms looks whether the types of the keys are accepted.
func (j *sshdJudge) algorithms() {
	var accepted []string
	keyword := ""
	for _, name := range []string{"PubkeyAcceptedAlgorithms", "PubkeyAcceptedKeyTypes"} {
		if list := j.settings[strings.ToLower(name)]; len(list) > 0 && keyword == "" {
			keyword, accepted = name, strings.Split(list[0], ",")
		}
	}
	if keyword == "" {
		return
	}
	var missing []string
	for _, line := range j.want.AuthorizedKeys {
		k, _, err := spec.ParseAuthorizedKey(line)
		if err != nil || strings.Contains(k.Options, "cert-authority") {
			continue
		}
		signs := []string{k.Type}
		if k.Type == "ssh-rsa" {
			signs = []string{"rsa-sha2-512", "rsa-sha2-256", "ssh-rsa"}
		}
		known := slices.ContainsFunc(accepted, func(a string) bool { return slices.Contains(signs, a) })
		if !known && !slices.Contains(missing, k.Type) {
			missing = append(missing, k.Type)
		}
	}
	if len(missing) > 0 {
		j.problem(keyword+" has no "+strings.Join(missing, ", "), "add it in sshd_config, or use a key of another type")
	}
}

// allowed goes through the four lists in sshd's order.
func (j *sshdJudge) allowed(ctx context.Context) error {
	user := []string{j.want.Name}
	// Of USER@HOST only the first part is known here: it may let in, and does
	// not keep out.
	patterns := func(keyword string, withHost bool) []string {
		var out []string
		for _, p := range j.settings[keyword] {
			if name, _, host := strings.Cut(p, "@"); !host || withHost {
				out = append(out, name)
			}
		}
		return out
	}
	if p := patterns("denyusers", false); matchAny(p, user) {
		j.problem("DenyUsers has "+shown(p), "take "+j.want.Name+" out of it in sshd_config")
	}
	if p := patterns("allowusers", true); len(p) > 0 && !matchAny(p, user) {
		j.problem("AllowUsers is "+shown(p), "add "+j.want.Name+" to it in sshd_config")
	}
	deny, allow := j.settings["denygroups"], j.settings["allowgroups"]
	if len(deny)+len(allow) == 0 {
		return nil
	}
	groups := append([]string{j.want.Group, j.want.Name}, j.want.Groups...)
	if j.cred != nil {
		groups = nil
		for _, gid := range j.cred.Groups {
			groups = append(groups, nameOr(ctx, "group", gid))
		}
		groups = append(groups, j.want.Groups...) // those that it is about to get
	}
	if matchAny(deny, groups) {
		j.problem("DenyGroups has "+shown(deny), "it has one of the groups of "+j.want.Name+": take it out in sshd_config")
	}
	if len(allow) > 0 && !matchAny(allow, groups) {
		j.problem("AllowGroups is "+shown(allow), "add a group of "+j.want.Name+" to it in sshd_config, or one of these to "+j.want.variable+".groups")
	}
	return nil
}

// account looks at shell, lock and expiry.
func (j *sshdJudge) account() {
	fi, err := os.Stat(j.cred.Shell)
	base := filepath.Base(j.cred.Shell)
	switch {
	case err != nil || !fi.Mode().IsRegular() || fi.Mode()&0o111 == 0:
		j.problem("shell "+hostcmd.Printable(j.cred.Shell, 100)+" is not a program", "install it, or usermod -s /bin/sh "+j.want.Name)
	case base == "nologin" || base == "false":
		j.problem("shell is "+hostcmd.Printable(j.cred.Shell, 100), "nobody gets in with it: usermod -s /bin/sh "+j.want.Name)
	}
	line, err := fileEntry("/etc/shadow", j.want.Name)
	f := strings.Split(line, ":")
	if err != nil || len(f) < 8 {
		return
	}
	if strings.HasPrefix(f[1], "!") && j.is("usepam", "no") {
		j.problem("the account is locked (its password field begins with !), and UsePAM is no", "usermod -p '*' "+j.want.Name)
	}
	if days, err := strconv.ParseInt(f[7], 10, 64); err == nil && days > 0 && time.Unix(days*86400, 0).Before(time.Now()) {
		j.problem("the account expired on "+time.Unix(days*86400, 0).UTC().Format(time.DateOnly), "chage -E -1 "+j.want.Name)
	}
}

// modes looks at who else can write where the keys lie.
func (j *sshdJudge) modes() {
	if j.is("strictmodes", "no") {
		return
	}
	for _, dir := range []string{j.cred.Home, filepath.Join(j.cred.Home, sshDir)} {
		var st unix.Stat_t
		if unix.Stat(dir, &st) != nil {
			continue // not there yet, or not for root to see
		}
		switch {
		case st.Mode&0o022 != 0:
			j.problem(fmt.Sprintf("StrictModes is on, and %s can be written by others (mode %04o)", dir, st.Mode&0o7777), "chmod go-w "+dir)
		case st.Uid != 0 && st.Uid != j.cred.UID:
			j.problem(fmt.Sprintf("StrictModes is on, and %s belongs to uid %d", dir, st.Uid), "chown "+j.want.Name+" "+dir)
		}
	}
}

// shown is a list of words of sshd's for people.
func shown(words []string) string {
	if len(words) == 0 {
		return "none"
	}
	return hostcmd.Printable(strings.Join(words, " "), 200)
}

// matchAny reports whether one of the names matches one of sshd's patterns.
func matchAny(patterns, names []string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		return slices.ContainsFunc(names, func(n string) bool { return n != "" && match(p, n) })
	})
}

// match is sshd's match_pattern: * is any text and ? any byte.
func match(pattern, s string) bool {
	for pattern != "" {
		switch {
		case pattern[0] == '*':
			for i := range len(s) + 1 {
				if match(pattern[1:], s[i:]) {
					return true
				}
			}
			return false
		case s == "" || pattern[0] != '?' && pattern[0] != s[0]:
			return false
		}
		pattern, s = pattern[1:], s[1:]
	}
	return s == ""
}

// clientAddress is where this run came from, which Match may ask for.
func clientAddress() string {
	if c, found := ancestry.FindConnection(); found {
		return c.Client.String()
	}
	return "127.0.0.1"
}
