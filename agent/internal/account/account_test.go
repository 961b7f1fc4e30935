package account_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gofleet/gofleet/agent/internal/account"
	"github.com/gofleet/gofleet/agent/internal/change"
	"github.com/gofleet/gofleet/agent/internal/hosttest"
	"github.com/gofleet/gofleet/agent/internal/record"
	"github.com/gofleet/gofleet/agent/spec"
	"github.com/gofleet/gofleet/agent/wire"
)

func TestMain(m *testing.M) { hosttest.Main(m) }

const (
	key1 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB one"
	key2 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgIC two"
	key3 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMD three"

	keyFile = "/home/deploy/.ssh/authorized_keys"
)

func newRecord(t *testing.T) *record.Record {
	t.Helper()
	rec, err := record.Load("/nonexistent")
	if err != nil {
		t.Fatal(err)
	}
	return rec
}

func user() *spec.User {
	return &spec.User{Name: "deploy", Shell: "/bin/bash", Groups: []string{"games"}, AuthorizedKeys: []string{key1},
		Sudo: []string{"/usr/bin/id -u"}}
}

// apply plans and runs; it gives the recorder, to take things back with.
func apply(t *testing.T, want *spec.User, rec *record.Record) (*change.Recorder, []change.Step, []string) {
	t.Helper()
	steps, warnings, err := account.Plan(context.Background(), &spec.Spec{User: want}, rec)
	if err != nil {
		t.Fatalf("plan: %v", err)
	}
	r := change.NewRecorder(false, true)
	if err := r.Run(context.Background(), steps...); err != nil {
		t.Fatalf("run: %v", err)
	}
	return r, steps, warnings
}

func names(steps []change.Step) []string {
	var out []string
	for _, s := range steps {
		out = append(out, s.Name)
	}
	return out
}

func nothingToDo(t *testing.T, want *spec.User, rec *record.Record) {
	t.Helper()
	steps, _, err := account.Plan(context.Background(), &spec.Spec{User: want}, rec)
	if err != nil || len(steps) != 0 {
		t.Errorf("second plan: %v, %v", names(steps), err)
	}
}

func contains(t *testing.T, path, want string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil || string(b) != want {
		t.Errorf("%s is %q, %v; want %q", path, b, err, want)
	}
}

func TestNewAccount(t *testing.T) {
	if !hosttest.Enter(t) {
		return
	}
	rec := newRecord(t)
	before := hosttest.Snapshot(t, "/etc", "/home", "/var/mail")
	r, steps, warnings := apply(t, user(), rec)
	want := []string{"create user deploy", "write " + keyFile, "write /etc/sudoers.d/gofleet-deploy"}
	if !slices.Equal(names(steps), want) || len(warnings) != 0 {
		t.Errorf("steps %q, warnings %q", names(steps), warnings)
	}
	if got := hosttest.Run(t, "getent", "shadow", "deploy"); !strings.HasPrefix(got, "deploy:*:") {
		t.Errorf("shadow: %s", got)
	}
	if got := hosttest.Run(t, "getent", "passwd", "deploy"); !strings.HasSuffix(got, ":/home/deploy:/bin/bash\n") {
		t.Errorf("passwd: %s", got)
	}
	if got := hosttest.Run(t, "id", "-nG", "deploy"); got != "deploy games\n" {
		t.Errorf("groups: %s", got)
	}
	if got := hosttest.Run(t, "stat", "-c", "%a %U:%G", "/home/deploy/.ssh", keyFile, "/etc/sudoers.d/gofleet-deploy"); got != "700 deploy:deploy\n600 deploy:deploy\n440 root:root\n" {
		t.Errorf("modes: %s", got)
	}
	contains(t, keyFile, key1+"\n")
	hosttest.Run(t, "visudo", "-c")
	if got := hosttest.Run(t, "su", "-", "deploy", "-c", "sudo -n /usr/bin/id -u"); got != "0\n" {
		t.Errorf("sudo: %s", got)
	}
	if out, err := exec.Command("su", "-", "deploy", "-c", "sudo -n /usr/bin/id -g").CombinedOutput(); err == nil {
		t.Errorf("sudo allows more than the rule: %s", out)
	}
	if u := rec.Users["deploy"]; u == nil || !u.Created || !slices.Equal(u.Groups, []string{"games"}) || !slices.Equal(u.Keys, []string{key1}) {
		t.Errorf("record: %+v", rec.Users)
	}
	nothingToDo(t, user(), rec)

	if err := r.Undo(); err != nil {
		t.Fatal(err)
	}
	// The backups that shadow's tools make of their files are not part of it.
	hosttest.Same(t, before, hosttest.Snapshot(t, "/etc", "/home", "/var/mail"),
		"/etc/passwd-", "/etc/shadow-", "/etc/group-", "/etc/gshadow-", "/etc/subuid-", "/etc/subgid-")
	if len(rec.Users)+len(rec.Files) != 0 {
		t.Errorf("record after undo: %+v %v", rec.Users, rec.Files)
	}
}

func TestExistingAccountOnlyGains(t *testing.T) {
	if !hosttest.Enter(t) {
		return
	}
	hosttest.Run(t, "useradd", "-m", "-s", "/bin/sh", "deploy")
	theirs := "# mine\nfrom=\"10.0.0.1\" " + key2 + "\r\nsomething else" // no newline at the end
	hosttest.Run(t, "install", "-d", "-m", "0755", "-o", "deploy", "-g", "deploy", "/home/deploy/.ssh")
	hosttest.Write(t, keyFile, theirs, 0o644)
	hosttest.Run(t, "chown", "deploy:games", keyFile)
	before := hosttest.Snapshot(t, "/etc", "/home")
	rec := newRecord(t)
	r, steps, warnings := apply(t, user(), rec)
	want := []string{"add deploy to group games", "write " + keyFile, "write /etc/sudoers.d/gofleet-deploy"}
	if !slices.Equal(names(steps), want) {
		t.Errorf("steps %q", names(steps))
	}
	if len(warnings) != 1 || !strings.Contains(warnings[0], "keeps its shell /bin/sh") {
		t.Errorf("warnings %q", warnings)
	}
	contains(t, keyFile, theirs+"\n"+key1+"\n")
	if got := hosttest.Run(t, "getent", "passwd", "deploy"); !strings.HasSuffix(got, ":/bin/sh\n") {
		t.Errorf("passwd: %s", got)
	}
	for _, s := range steps {
		if s.Drift {
			t.Errorf("%s is called drift", s.Name)
		}
	}
	nothingToDo(t, user(), rec)
	if err := r.Undo(); err != nil {
		t.Fatal(err)
	}
	hosttest.Same(t, before, hosttest.Snapshot(t, "/etc", "/home"), "/etc/group-", "/etc/gshadow-")
}

func TestDroppedFromTheInventory(t *testing.T) {
	if !hosttest.Enter(t) {
		return
	}
	hosttest.Run(t, "useradd", "-m", "-s", "/bin/bash", "deploy")
	hosttest.Run(t, "install", "-d", "-m", "0700", "-o", "deploy", "-g", "deploy", "/home/deploy/.ssh")
	hosttest.Write(t, keyFile, key3+"\n", 0o600)
	hosttest.Run(t, "chown", "deploy:deploy", keyFile)
	rec := newRecord(t)
	first := user()
	first.AuthorizedKeys = []string{key1, key2, key3}
	apply(t, first, rec)
	contains(t, keyFile, key3+"\n"+key1+"\n"+key2+"\n")

	fewer := &spec.User{Name: "deploy", AuthorizedKeys: []string{key2}}
	before := hosttest.Snapshot(t, "/etc", "/home")
	r, steps, _ := apply(t, fewer, rec)
	for _, s := range steps {
		if s.Drift {
			t.Errorf("%s is called drift", s.Name)
		}
	}
	contains(t, keyFile, key3+"\n"+key2+"\n")
	if got := hosttest.Run(t, "id", "-nG", "deploy"); got != "deploy\n" {
		t.Errorf("groups: %s", got)
	}
	if _, err := os.Lstat("/etc/sudoers.d/gofleet-deploy"); err == nil {
		t.Error("the sudo rule is still there")
	}
	nothingToDo(t, fewer, rec)
	if err := r.Undo(); err != nil {
		t.Fatal(err)
	}
	hosttest.Same(t, before, hosttest.Snapshot(t, "/etc", "/home"), "/etc/group-", "/etc/gshadow-")
	nothingToDo(t, first, rec)

	steps, _, err := account.PlanRemove(context.Background(), rec)
	if err != nil {
		t.Fatal(err)
	}
	before = hosttest.Snapshot(t, "/etc", "/home")
	noted, err := rec.Encode()
	if err != nil {
		t.Fatal(err)
	}
	for _, undo := range []bool{true, false} {
		r := change.NewRecorder(false, false)
		if err := r.Run(context.Background(), steps...); err != nil {
			t.Fatal(err)
		}
		contains(t, keyFile, key3+"\n")
		if !undo {
			break
		}
		if err := r.Undo(); err != nil {
			t.Fatal(err)
		}
		hosttest.Same(t, before, hosttest.Snapshot(t, "/etc", "/home"), "/etc/group-", "/etc/gshadow-")
		if again, err := rec.Encode(); err != nil || string(again) != string(noted) {
			t.Errorf("record after undo: %s %v", again, err)
		}
	}
	if len(rec.Users)+len(rec.Files) != 0 {
		t.Errorf("record: %+v %v", rec.Users, rec.Files)
	}
	nothingToDo(t, nil, rec)
}

func TestDrift(t *testing.T) {
	if !hosttest.Enter(t) {
		return
	}
	rec := newRecord(t)
	apply(t, user(), rec)
	for _, c := range []struct {
		what string
		harm []string
		step string
	}{
		{"key gone", []string{"sh", "-c", ": > " + keyFile}, "write " + keyFile},
		{"key file gone", []string{"rm", keyFile}, "write " + keyFile},
		{"mode loosened", []string{"chmod", "0644", keyFile}, "write " + keyFile},
		{"ssh directory loosened", []string{"chmod", "0777", "/home/deploy/.ssh"}, "write " + keyFile},
		{"rule altered", []string{"sh", "-c", "echo 'deploy ALL=(ALL) ALL' >> /etc/sudoers.d/gofleet-deploy"}, "write /etc/sudoers.d/gofleet-deploy"},
		{"rule gone", []string{"rm", "/etc/sudoers.d/gofleet-deploy"}, "write /etc/sudoers.d/gofleet-deploy"},
		{"rule's mode", []string{"chmod", "0644", "/etc/sudoers.d/gofleet-deploy"}, "write /etc/sudoers.d/gofleet-deploy"},
		{"group gone", []string{"gpasswd", "-d", "deploy", "games"}, "add deploy to group games"},
	} {
		before := hosttest.Snapshot(t, "/etc", "/home")
		hosttest.Run(t, c.harm[0], c.harm[1:]...)
		_, steps, _ := apply(t, user(), rec)
		if len(steps) != 1 || steps[0].Name != c.step || !steps[0].Drift || steps[0].Path == "" {
			t.Errorf("%s: %q", c.what, names(steps))
		}
		hosttest.Same(t, before, hosttest.Snapshot(t, "/etc", "/home"), "/etc/group-", "/etc/gshadow-")
	}
	hosttest.Run(t, "userdel", "-r", "deploy")
	_, steps, _ := apply(t, user(), rec)
	if len(steps) == 0 || steps[0].Name != "create user deploy" || !steps[0].Drift {
		t.Errorf("account gone: %q", names(steps))
	}
}

func TestAnotherDeployUser(t *testing.T) {
	if !hosttest.Enter(t) {
		return
	}
	rec := newRecord(t)
	apply(t, user(), rec)
	next := user()
	next.Name = "release.bot"
	hosttest.Run(t, "useradd", "--badname", "-m", "release.bot")
	_, _, warnings := apply(t, next, rec)
	if _, err := os.Lstat("/home/deploy/.ssh"); err == nil {
		t.Error("the former user keeps its key")
	}
	if _, err := os.Lstat("/etc/sudoers.d/gofleet-deploy"); err == nil {
		t.Error("the former user keeps its rule")
	}
	if got := hosttest.Run(t, "id", "-nG", "deploy"); got != "deploy\n" {
		t.Errorf("the former user keeps its groups: %s", got)
	}
	if !strings.Contains(strings.Join(warnings, "\n"), "userdel -r deploy") {
		t.Errorf("warnings: %q", warnings)
	}
	if got := hosttest.Run(t, "su", "-", "release.bot", "-c", "sudo -n /usr/bin/id -u"); got != "0\n" {
		t.Errorf("sudo: %s", got)
	}
	if _, err := os.Lstat("/etc/sudoers.d/gofleet-release_bot"); err != nil {
		t.Error(err)
	}
	nothingToDo(t, next, rec)
}

func TestRefusedBeforeAnythingChanges(t *testing.T) {
	if !hosttest.Enter(t) {
		return
	}
	hosttest.Run(t, "useradd", "-m", "plain")
	for _, name := range []string{"linked", "linkedfile", "rooted", "rootfile", "filedir", "homeless", "foreign"} {
		hosttest.Run(t, "useradd", "-m", name)
	}
	hosttest.Run(t, "useradd", "-o", "-u", "0", "-m", "toor")
	hosttest.Run(t, "groupadd", "grouponly")
	hosttest.Run(t, "sh", "-ec", `
		mkdir /srv/elsewhere; chown linked /srv/elsewhere; ln -s /srv/elsewhere /home/linked/.ssh
		install -d -m 0700 -o linkedfile /home/linkedfile/.ssh; ln -s /etc/passwd /home/linkedfile/.ssh/authorized_keys
		install -d -m 0755 -o root /home/rooted/.ssh
		install -d -m 0700 -o rootfile /home/rootfile/.ssh; touch /home/rootfile/.ssh/authorized_keys
		touch /home/filedir/.ssh; chown filedir /home/filedir/.ssh
		rm -r /home/homeless
		chown root /home/foreign
		mkdir /home/leftover
		ln -s /etc/motd /etc/sudoers.d/gofleet-plain`)
	u := func(name string, change func(*spec.User)) *spec.User {
		w := &spec.User{Name: name, AuthorizedKeys: []string{key1}}
		if change != nil {
			change(w)
		}
		return w
	}
	before := hosttest.Snapshot(t, "/etc", "/home", "/srv")
	for _, c := range []struct {
		user *spec.User
		says string
	}{
		{u("root", nil), "root"},
		{u("toor", nil), "uid 0"},
		{u("linked", nil), "/home/linked/.ssh is a link"},
		{u("linkedfile", nil), "/home/linkedfile/.ssh/authorized_keys is a link"},
		{u("rooted", nil), "belongs to uid 0"},
		{u("rootfile", nil), "belongs to uid 0"},
		{u("filedir", nil), "/home/filedir/.ssh is"},
		{u("homeless", nil), "home /home/homeless of user homeless (uid"},
		{u("foreign", nil), "home /home/foreign belongs to uid 0"},
		{u("leftover", nil), "home /home/leftover is there already"},
		{u("grouponly", nil), "group grouponly but no user"},
		{u("0", nil), "is not a name"},
		{u("-r", nil), "is not a name"},
		{u("../x", nil), "is not a name"},
		{u("newone", func(w *spec.User) { w.Groups = []string{"games", "nogroupofthisname"} }), "group nogroupofthisname"},
		{u("newone", func(w *spec.User) { w.Shell = "/bin/noshell" }), "shell /bin/noshell"},
		{u("newone", func(w *spec.User) { w.AuthorizedKeys = []string{"ssh-ed25519 AAAA"} }), "key 1"},
		{u("newone", func(w *spec.User) { w.Sudo = []string{"id"} }), "not absolute"},
		{u("ADMIN", func(w *spec.User) { w.Sudo = []string{"/usr/bin/id"} }), "alias"},
		{u("plain", func(w *spec.User) { w.Sudo = []string{"/usr/bin/id"} }), "gofleet-plain is a link"},
	} {
		planFails(t, c.user, c.says)
	}
	hosttest.Same(t, before, hosttest.Snapshot(t, "/etc", "/home", "/srv"))

	// Where nothing in the home is asked for, nothing there matters.
	if _, _, err := account.Plan(context.Background(), &spec.Spec{User: &spec.User{Name: "linked"}}, newRecord(t)); err != nil {
		t.Error(err)
	}
	hosttest.Hide(t, "sudo")
	planFails(t, u("deploy", func(w *spec.User) { w.Sudo = []string{"/usr/bin/id"} }), "sudo is not on this host")
}

// A link that appears between plan and step is refused by the step.
func TestLinkThatAppearsLater(t *testing.T) {
	if !hosttest.Enter(t) {
		return
	}
	hosttest.Run(t, "useradd", "-m", "deploy")
	steps, _, err := account.Plan(context.Background(), &spec.Spec{User: &spec.User{Name: "deploy", AuthorizedKeys: []string{key1}}}, newRecord(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/root", "/home/deploy/.ssh"); err != nil {
		t.Fatal(err)
	}
	before := hosttest.Snapshot(t, "/root/.ssh", "/home")
	r := change.NewRecorder(false, false)
	if err := r.Run(context.Background(), steps...); err == nil {
		t.Error("the step followed a link")
	}
	if err := r.Undo(); err != nil {
		t.Error(err)
	}
	hosttest.Same(t, before, hosttest.Snapshot(t, "/root/.ssh", "/home"))
}

func TestVisudoRefuses(t *testing.T) {
	if !hosttest.Enter(t) {
		return
	}
	hosttest.Write(t, "/usr/local/sbin/unused", "", 0o755)
	hosttest.Hide(t, "visudo")
	hosttest.Write(t, "/usr/sbin/visudo", "#!/bin/sh\necho \"$2: syntax error\" >&2\nexit 1\n", 0o755)
	hosttest.Run(t, "useradd", "-m", "deploy")
	steps, _, err := account.Plan(context.Background(), &spec.Spec{User: &spec.User{Name: "deploy", Sudo: []string{"/usr/bin/id"}}}, newRecord(t))
	if err != nil {
		t.Fatal(err)
	}
	before := hosttest.Snapshot(t, "/etc")
	err = change.NewRecorder(false, false).Run(context.Background(), steps...)
	var e *wire.Error
	if !errors.As(err, &e) || e.Kind != wire.KindAccount || !strings.Contains(err.Error(), "syntax error") {
		t.Errorf("err = %v", err)
	}
	hosttest.Same(t, before, hosttest.Snapshot(t, "/etc"))
}

func TestNotRoot(t *testing.T) {
	if !hosttest.Enter(t) {
		return
	}
	rec := newRecord(t)
	asNobody(t)
	_, _, err := account.Plan(context.Background(), &spec.Spec{User: user()}, rec)
	var e *wire.Error
	if !errors.As(err, &e) || e.Kind != wire.KindNeedsRoot || !strings.Contains(e.Message, "gofleet_user deploy") {
		t.Errorf("err = %v", err)
	}
	if steps, _, err := account.Plan(context.Background(), &spec.Spec{User: nil}, rec); err != nil || len(steps) != 0 {
		t.Errorf("nothing wanted: %v %v", steps, err)
	}
}

func TestLookup(t *testing.T) {
	if !hosttest.Enter(t) {
		return
	}
	hosttest.Run(t, "useradd", "-m", "-u", "4242", "-G", "games", "-s", "/bin/sh", "deploy")
	check := func(how string) {
		t.Helper()
		c, err := account.Lookup(context.Background(), "deploy")
		if err != nil || c.Name != "deploy" || c.UID != 4242 || c.Home != "/home/deploy" || c.Shell != "/bin/sh" || len(c.Groups) != 2 || c.Groups[0] != c.GID {
			t.Errorf("%s: %+v, %v", how, c, err)
		}
		if _, err := account.Lookup(context.Background(), "nobodyhere"); !errors.Is(err, account.ErrNotFound) {
			t.Errorf("%s: %v", how, err)
		}
	}
	check("getent")
	hosttest.Hide(t, "getent", "id")
	check("files")
}

// A directory server's user is in no file of the host: getent stands in for it.
func TestUserOfADirectoryServer(t *testing.T) {
	if !hosttest.Enter(t) {
		return
	}
	real := hosttest.Run(t, "sh", "-c", "command -v getent")
	getent := strings.TrimSpace(real)
	hosttest.Run(t, "cp", getent, "/usr/local/getent.real")
	hosttest.Hide(t, "getent", "id")
	hosttest.Write(t, "/usr/bin/getent", `#!/bin/sh
[ "$1 $2" = "passwd jane@corp.example" ] && exec echo "jane@corp.example:*:7001:7001::/home/jane:/bin/bash"
[ "$1 $2" = "group staff-ldap" ] && exec echo "staff-ldap:*:7002:"
exec /usr/local/getent.real "$@"
`, 0o755)
	hosttest.Write(t, "/usr/bin/id", "#!/bin/sh\necho 7001\n", 0o755)
	hosttest.Run(t, "install", "-d", "-m", "0700", "-o", "7001", "-g", "7001", "/home/jane")
	want := &spec.User{Name: "jane@corp.example", AuthorizedKeys: []string{key1}, Sudo: []string{"/usr/bin/id"}}
	apply(t, want, newRecord(t))
	contains(t, "/home/jane/.ssh/authorized_keys", key1+"\n")
	b, err := os.ReadFile("/etc/sudoers.d/gofleet-jane@corp_example")
	if err != nil || !strings.Contains(string(b), `jane\@corp.example ALL=(root) NOPASSWD: /usr/bin/id`+"\n") {
		t.Errorf("rule: %s %v", b, err)
	}
	want.Groups = []string{"staff-ldap"}
	if _, _, err := account.Plan(context.Background(), &spec.Spec{User: want}, newRecord(t)); err == nil || !strings.Contains(err.Error(), "directory server") {
		t.Errorf("group of a directory server: %v", err)
	}
}

// Each file in a new home gets the context of the policy where SELinux is on.
func TestRestorecon(t *testing.T) {
	if !hosttest.Enter(t) {
		return
	}
	hosttest.Write(t, "/sys/fs/selinux/enforce", "1", 0o644)
	hosttest.Write(t, "/usr/sbin/restorecon", "#!/bin/sh\nshift\nprintf '%s\\n' \"$@\" >> /srv/labels\n", 0o755)
	apply(t, user(), newRecord(t))
	contains(t, "/srv/labels", strings.Join([]string{filepath.Dir(keyFile), keyFile, "/etc/sudoers.d/gofleet-deploy", ""}, "\n"))
}

// Every character of a command is itself to the real sudo: what is written is
// allowed, and nothing beside it.
func TestSudoTakesCommandsLiterally(t *testing.T) {
	if !hosttest.Enter(t) {
		return
	}
	hosttest.Run(t, "useradd", "-m", "-s", "/bin/bash", "deploy")
	for _, program := range []string{"/srv/show", "/srv/a=b,c:d+e@f%g"} {
		hosttest.Write(t, program, "#!/bin/sh\nprintf '<%s>' \"$@\"\n", 0o755)
	}
	type try struct {
		command string
		allowed [][]string
		denied  [][]string
	}
	for _, c := range []try{
		{"/srv/show a b", [][]string{{"/srv/show", "a", "b"}}, [][]string{{"/srv/show", "a"}, {"/srv/show", "a", "b", "c"}, {"/srv/show"}}},
		{"/srv/show", [][]string{{"/srv/show"}, {"/srv/show", "anything"}}, [][]string{{"/usr/bin/id"}}},
		{`/srv/show ""`, [][]string{{"/srv/show"}}, [][]string{{"/srv/show", "x"}}},
		{"/srv/show *", [][]string{{"/srv/show", "*"}}, [][]string{{"/srv/show", "x"}, {"/srv/show", "**"}}},
		{"/srv/show a?c", [][]string{{"/srv/show", "a?c"}}, [][]string{{"/srv/show", "abc"}}},
		{"/srv/show [ab]", [][]string{{"/srv/show", "[ab]"}}, [][]string{{"/srv/show", "a"}}},
		{"/srv/show [!a]", [][]string{{"/srv/show", "[!a]"}}, [][]string{{"/srv/show", "b"}}},
		{"/srv/show ^.*$", [][]string{{"/srv/show", "^.*$"}}, [][]string{{"/srv/show", "x"}}},
		{"/srv/show x=1,y:2 #3 !4 (5) {6} ~7 &|;<>$'`", [][]string{{"/srv/show", "x=1,y:2", "#3", "!4", "(5)", "{6}", "~7", "&|;<>$'`"}}, [][]string{{"/srv/show", "x=1"}, {"/srv/show", "x=1,y:2"}}},
		{"/srv/show a, /usr/bin/id", [][]string{{"/srv/show", "a,", "/usr/bin/id"}}, [][]string{{"/usr/bin/id"}, {"/srv/show", "a"}}},
		{"/srv/show %sudo ALL=(ALL) ALL", [][]string{{"/srv/show", "%sudo", "ALL=(ALL)", "ALL"}}, [][]string{{"/usr/bin/id"}}},
		{"/srv/a=b,c:d+e@f%g x", [][]string{{"/srv/a=b,c:d+e@f%g", "x"}}, [][]string{{"/srv/a=b,c:d+e@f%g", "y"}}},
	} {
		apply(t, &spec.User{Name: "deploy", Sudo: []string{c.command}}, newRecord(t))
		sudo := func(argv []string) (string, error) {
			out, err := exec.Command("runuser", append([]string{"-u", "deploy", "--", "sudo", "-n", "--"}, argv...)...).Output()
			return string(out), err
		}
		for _, argv := range c.allowed {
			want := "<>"
			if len(argv) > 1 {
				want = "<" + strings.Join(argv[1:], "><") + ">"
			}
			if out, err := sudo(argv); err != nil || out != want {
				t.Errorf("rule %q does not allow %q: %s %v", c.command, argv, out, err)
			}
		}
		for _, argv := range c.denied {
			if out, err := sudo(argv); err == nil {
				t.Errorf("rule %q allows %q: %s", c.command, argv, out)
			}
		}
	}
}

func TestRuleThatSudoDoesNotRead(t *testing.T) {
	if !hosttest.Enter(t) {
		return
	}
	hosttest.Run(t, "sed", "-i", "/includedir/d", "/etc/sudoers")
	_, _, warnings := apply(t, user(), newRecord(t))
	if len(warnings) != 1 || !strings.Contains(warnings[0], "has no effect") {
		t.Errorf("warnings %q", warnings)
	}
}

// planFails wants a plan refused as account_refused, with a hint.
func planFails(t *testing.T, want *spec.User, says string) {
	t.Helper()
	steps, _, err := account.Plan(context.Background(), &spec.Spec{User: want}, newRecord(t))
	var e *wire.Error
	if !errors.As(err, &e) || e.Kind != wire.KindAccount || !strings.Contains(e.Message, says) || e.Hint == "" {
		t.Errorf("%s: %q, %v; want it refused with %q and a hint", want.Name, names(steps), err, says)
	}
}

// A step that fails halfway is taken back too, and so are those before it.
func TestFailureHalfway(t *testing.T) {
	if !hosttest.Enter(t) {
		return
	}
	useradd := strings.TrimSpace(hosttest.Run(t, "sh", "-c", "command -v useradd"))
	hosttest.Run(t, "mv", useradd, "/usr/local/useradd.real")
	hosttest.Hide(t, "useradd")
	for _, script := range []string{
		"[ $1 = -D ] || { /usr/local/useradd.real \"$@\"; exit 12; }", // the account is there, its program failed
		"[ $1 = -D ] || exit 1",
		"[ $1 = -D ] || { /usr/local/useradd.real \"$@\" && ln -s /srv /home/deploy/.ssh; }", // the next step fails
	} {
		hosttest.Write(t, "/usr/sbin/useradd", "#!/bin/sh\n"+script+"\n", 0o755)
		rec := newRecord(t)
		before := hosttest.Snapshot(t, "/etc", "/home", "/srv")
		steps, _, err := account.Plan(context.Background(), &spec.Spec{User: user()}, rec)
		if err != nil {
			t.Fatal(err)
		}
		r := change.NewRecorder(false, false)
		if err := r.Run(context.Background(), steps...); err == nil {
			t.Errorf("%s: no error", script)
		}
		if err := r.Undo(); err != nil {
			t.Errorf("%s: %v", script, err)
		}
		hosttest.Same(t, before, hosttest.Snapshot(t, "/etc", "/home", "/srv"),
			"/etc/passwd-", "/etc/shadow-", "/etc/group-", "/etc/gshadow-", "/etc/subuid-", "/etc/subgid-")
		if len(rec.Users)+len(rec.Files) != 0 {
			t.Errorf("record: %+v", rec)
		}
	}
}
