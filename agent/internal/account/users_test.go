package account_test

import (
	"context"
	"errors"
	"os"
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

const appKeys = "/srv/apps/app/.ssh/authorized_keys"

// several are two accounts beside the deploy user.
func several() *spec.Spec {
	return &spec.Spec{User: user(), Users: []spec.User{
		{Name: "app", UID: 4501, GID: 4600, Home: "/srv/apps/app", Shell: "/bin/sh", AuthorizedKeys: []string{key2}, Exclusive: true},
		{Name: "ci", UID: 4502, Group: "games", Shell: "/bin/sh", Groups: []string{"audio"}, Sudo: []string{"/usr/bin/id -u"}},
	}}
}

// applyAll is apply for more than the deploy user.
func applyAll(t *testing.T, want *spec.Spec, rec *record.Record) (*change.Recorder, []change.Step, []string) {
	t.Helper()
	steps, warnings, err := account.Plan(context.Background(), want, rec)
	if err != nil {
		t.Fatalf("plan: %v", err)
	}
	r := change.NewRecorder(false, true)
	if err := r.Run(context.Background(), steps...); err != nil {
		t.Fatalf("run: %v", err)
	}
	return r, steps, warnings
}

func TestSeveralAccounts(t *testing.T) {
	if !hosttest.Enter(t) {
		return
	}
	rec := newRecord(t)
	before := hosttest.Snapshot(t, "/etc", "/home", "/srv", "/var/mail")
	r, steps, warnings := applyAll(t, several(), rec)
	if len(warnings) != 0 || len(rec.Doing) != 0 {
		t.Errorf("warnings %q, doing %v", warnings, rec.Doing)
	}
	if got := hosttest.Run(t, "getent", "passwd", "app", "ci"); got != "app:x:4501:4600::/srv/apps/app:/bin/sh\nci:x:4502:60::/home/ci:/bin/sh\n" {
		t.Errorf("passwd: %s", got)
	}
	if got := hosttest.Run(t, "stat", "-c", "%n %a %U:%G", "/srv/apps", "/srv/apps/app", appKeys); got != "/srv/apps 755 root:root\n/srv/apps/app "+
		hosttest.Run(t, "stat", "-c", "%a", "/home/ci")[:3]+" app:app\n"+appKeys+" 600 app:app\n" {
		t.Errorf("modes: %s", got)
	}
	if got := hosttest.Run(t, "id", "-nG", "ci"); got != "games audio\n" {
		t.Errorf("groups of ci: %s", got)
	}
	contains(t, appKeys, key2+"\n")
	contains(t, keyFile, key1+"\n")
	if got := hosttest.Run(t, "su", "-", "ci", "-c", "sudo -n /usr/bin/id -u"); got != "0\n" {
		t.Errorf("sudo: %s", got)
	}
	if steps, _, err := account.Plan(context.Background(), several(), rec); err != nil || len(steps) != 0 {
		t.Errorf("second plan: %q, %v", names(steps), err)
	}
	// An index that moves is no change of a rule.
	moved := several()
	slices.Reverse(moved.Users)
	if steps, _, err := account.Plan(context.Background(), moved, rec); err != nil || len(steps) != 0 {
		t.Errorf("plan of the same in another order: %q, %v", names(steps), err)
	}
	if err := r.Undo(); err != nil {
		t.Fatal(err)
	}
	hosttest.Same(t, before, hosttest.Snapshot(t, "/etc", "/home", "/srv", "/var/mail"),
		"/etc/passwd-", "/etc/shadow-", "/etc/group-", "/etc/gshadow-", "/etc/subuid-", "/etc/subgid-")
	if len(rec.Users)+len(rec.Files) != 0 {
		t.Errorf("record after undo of %q: %v %v", names(steps), rec.Users, rec.Files)
	}
}

// TestGroupOfAnother: an account may be in the group that another one of the
// same run brings, whichever stands first.
func TestGroupOfAnother(t *testing.T) {
	if !hosttest.Enter(t) {
		return
	}
	want := func() *spec.Spec {
		return &spec.Spec{User: user(), Users: []spec.User{
			{Name: "ci", UID: 4502, Shell: "/bin/sh", Groups: []string{"app"}},
			{Name: "web", UID: 4503, Shell: "/bin/sh", Group: "app"},
			{Name: "app", UID: 4501, GID: 4600, Shell: "/bin/sh", Groups: []string{"deploy"}},
		}}
	}
	hosttest.Run(t, "useradd", "-M", "old")
	both := want()
	both.Users = append(both.Users, spec.User{Name: "old", Groups: []string{"app"}})
	rec := newRecord(t)
	before := hosttest.Snapshot(t, "/etc", "/home")
	r, steps, _ := applyAll(t, both, rec)
	for name, groups := range map[string]string{"ci": "ci app\n", "web": "app\n", "app": "app deploy\n", "old": "old app\n"} {
		if got := hosttest.Run(t, "id", "-nG", name); got != groups {
			t.Errorf("groups of %s: %s", name, got)
		}
	}
	if steps, _, err := account.Plan(context.Background(), both, rec); err != nil || len(steps) != 0 {
		t.Errorf("second plan: %q, %v", names(steps), err)
	}
	if err := r.Undo(); err != nil {
		t.Fatalf("undo of %q: %v", names(steps), err)
	}
	hosttest.Same(t, before, hosttest.Snapshot(t, "/etc", "/home"),
		"/etc/passwd-", "/etc/shadow-", "/etc/group-", "/etc/gshadow-", "/etc/subuid-", "/etc/subgid-")

	// Two that want each other's cannot be made one after the other.
	mutual := want()
	mutual.Users[2].Groups = []string{"ci"}
	if _, _, err := account.Plan(context.Background(), mutual, newRecord(t)); err == nil || !strings.Contains(err.Error(), "group ci of user app is not on this host") {
		t.Errorf("%v", err)
	}
}

func TestOneOfSeveralIsDropped(t *testing.T) {
	if !hosttest.Enter(t) {
		return
	}
	rec := newRecord(t)
	applyAll(t, several(), rec)
	fewer := several()
	fewer.User, fewer.Users = nil, fewer.Users[:1]
	_, _, warnings := applyAll(t, fewer, rec)
	if said := strings.Join(warnings, "\n"); !strings.Contains(said, "userdel -r deploy") || !strings.Contains(said, "userdel -r ci") || len(warnings) != 2 {
		t.Errorf("warnings %q", warnings)
	}
	for _, gone := range []string{keyFile, "/etc/sudoers.d/gofleet-deploy", "/etc/sudoers.d/gofleet-ci"} {
		if _, err := os.Lstat(gone); err == nil {
			t.Errorf("%s is still there", gone)
		}
	}
	if got := hosttest.Run(t, "id", "-nG", "ci"); got != "games\n" {
		t.Errorf("groups of ci: %s", got)
	}
	contains(t, appKeys, key2+"\n")
	if len(rec.Users) != 1 || rec.Users["app"] == nil {
		t.Errorf("record: %v", rec.Users)
	}
	// The same account, from the one variable to the other.
	fewer.User, fewer.Users = &fewer.Users[0], nil
	if steps, _, err := account.Plan(context.Background(), fewer, rec); err != nil || len(steps) != 0 {
		t.Errorf("app becomes the deploy user: %q, %v", names(steps), err)
	}
}

// TestExclusiveKeys takes the keys of others away, shows them, knows the next
// one for drift, and puts everything back.
func TestExclusiveKeys(t *testing.T) {
	if !hosttest.Enter(t) {
		return
	}
	hosttest.Run(t, "useradd", "-m", "-s", "/bin/sh", "deploy")
	hosttest.Run(t, "install", "-d", "-m", "0755", "-o", "deploy", "-g", "deploy", "/home/deploy/.ssh")
	hosttest.Write(t, keyFile, "# kept\nrestrict "+key1+"\r\n"+key2+"\n\nssh-dss \x1b[2J\n"+key3, 0o600)
	hosttest.Run(t, "chown", "deploy:deploy", keyFile)
	before := hosttest.Snapshot(t, "/etc", "/home")
	want := &spec.User{Name: "deploy", AuthorizedKeys: []string{key1, key2}, Exclusive: true}
	rec := newRecord(t)
	r, steps, warnings := apply(t, want, rec)
	contains(t, keyFile, "# kept\n"+key2+"\n\n"+key1+"\n")
	if len(steps) != 1 || steps[0].Drift || len(warnings) != 0 || steps[0].Diff != "-restrict "+key1+"\n-ssh-dss [2J\n-"+key3+"\n+"+key1+"\n" {
		t.Errorf("%d steps, warnings %q, diff\n%s", len(steps), warnings, steps[0].Diff)
	}
	nothingToDo(t, want, rec)

	hosttest.Run(t, "sh", "-c", "echo '"+key3+"' >> "+keyFile)
	_, steps, _ = apply(t, want, rec)
	if len(steps) != 1 || !steps[0].Drift {
		t.Errorf("a key that somebody added: %q", names(steps))
	}
	contains(t, keyFile, "# kept\n"+key2+"\n\n"+key1+"\n")
	if err := r.Undo(); err != nil {
		t.Fatal(err)
	}
	hosttest.Same(t, before, hosttest.Snapshot(t, "/etc", "/home"))

	// No longer exclusive: what others add stays, and is no drift.
	apply(t, want, rec)
	want.Exclusive = false
	nothingToDo(t, want, rec)
	hosttest.Run(t, "sh", "-c", "echo '"+key3+"' >> "+keyFile)
	nothingToDo(t, want, rec)
	if rec.Users["deploy"].Exclusive {
		t.Error("the record still says exclusive")
	}
	// No key at all is to log in.
	want.AuthorizedKeys, want.Exclusive = nil, true
	apply(t, want, rec)
	contains(t, keyFile, "# kept\n\n")
}

func TestAccountsThatAreRefused(t *testing.T) {
	if !hosttest.Enter(t) {
		return
	}
	hosttest.Run(t, "useradd", "-m", "-u", "4400", "-s", "/bin/sh", "there")
	hosttest.Run(t, "groupadd", "-g", "4700", "grouponly")
	hosttest.Run(t, "sh", "-ec", `
		mkdir -p /srv/theirs/deep /srv/open /srv/taken; chown there /srv/theirs; chmod 0777 /srv/open
		ln -s /srv/theirs /srv/link; ln -s /srv /srv/theirs/back; chown -h there /srv/theirs/back`)
	before := hosttest.Snapshot(t, "/etc", "/home", "/srv")
	for _, c := range []struct {
		user spec.User
		says string
	}{
		{spec.User{Name: "there", UID: 4401}, "user there has uid 4400 on this host, and gofleet_users[0].uid is 4401"},
		{spec.User{Name: "there", GID: 4401}, "user there has gid 4400"},
		{spec.User{Name: "there", Home: "/srv/there"}, "user there has home /home/there"},
		{spec.User{Name: "there", Group: "games"}, "user there has group there"},
		{spec.User{Name: "there", Group: "nosuch"}, "group nosuch of user there is not on this host"},
		{spec.User{Name: "fresh", UID: 4400}, "uid 4400 of user fresh is user there's"},
		{spec.User{Name: "fresh", GID: 4700}, "gid 4700 of user fresh is group grouponly's"},
		{spec.User{Name: "fresh", Group: "games", GID: 4701}, "group games has gid 60 on this host, and gofleet_users[0].gid is 4701"},
		{spec.User{Name: "fresh", Group: "nosuch", GID: 4701}, "group nosuch of user fresh is not on this host"},
		{spec.User{Name: "grouponly"}, "group grouponly but no user"},
		{spec.User{Name: "fresh", Home: "/srv/taken"}, "home /srv/taken is there already"},
		{spec.User{Name: "fresh", Home: "/srv/theirs/deep/fresh"}, "/srv/theirs belongs to uid 4400"},
		{spec.User{Name: "fresh", Home: "/srv/open/fresh"}, "/srv/open can be written by others"},
		{spec.User{Name: "fresh", Home: "/srv/link/fresh"}, "/srv/theirs belongs to uid 4400"},
		{spec.User{Name: "fresh", Home: "/etc/motd/fresh"}, "/etc/motd"},
	} {
		_, _, err := account.Plan(context.Background(), &spec.Spec{Users: []spec.User{c.user}}, newRecord(t))
		var e *wire.Error
		if !errors.As(err, &e) || e.Kind != wire.KindAccount || !strings.Contains(e.Message, c.says) || e.Hint == "" {
			t.Errorf("%+v: %v; want it refused with %q and a hint", c.user, err, c.says)
		}
	}
	hosttest.Same(t, before, hosttest.Snapshot(t, "/etc", "/home", "/srv"))
	// What fits is taken.
	apply(t, &spec.User{Name: "there", UID: 4400, GID: 4400, Group: "there", Home: "/home/there", Shell: "/bin/sh"}, newRecord(t))
	apply(t, &spec.User{Name: "grouponly", Group: "grouponly", GID: 4700, Shell: "/bin/sh"}, newRecord(t))
	if got := hosttest.Run(t, "id", "-g", "grouponly"); got != "4700\n" {
		t.Errorf("gid of grouponly: %s", got)
	}
}

// TestRecordOfOneAccount: what a gofleet that knew the deploy user only has
// noted is still known, and so is what it was about to give.
func TestRecordOfOneAccount(t *testing.T) {
	if !hosttest.Enter(t) {
		return
	}
	hosttest.Run(t, "useradd", "-m", "-s", "/bin/sh", "-G", "games,audio", "deploy")
	hosttest.Run(t, "install", "-d", "-m", "0700", "-o", "deploy", "-g", "deploy", "/home/deploy/.ssh")
	hosttest.Write(t, keyFile, key3+"\n"+key1+"\n"+key2+"\n", 0o600)
	hosttest.Run(t, "chown", "deploy:deploy", keyFile)
	rec, err := record.Parse([]byte(`{"format": 1,
		"user": {"name": "deploy", "created": true, "groups": ["games"], "keys": ["`+key1+`"]},
		"doing": {"name": "deploy", "created": true, "groups": ["games", "audio"], "keys": ["`+key1+`", "`+key2+`"]}}`), "host.json")
	if err != nil {
		t.Fatal(err)
	}
	_, _, warnings := apply(t, nil, rec)
	contains(t, keyFile, key3+"\n")
	if got := hosttest.Run(t, "id", "-nG", "deploy"); got != "deploy\n" {
		t.Errorf("groups: %s", got)
	}
	text, err := rec.Encode()
	if err != nil || strings.Contains(string(text), "deploy") || len(warnings) != 1 {
		t.Errorf("record: %s %v, warnings %q", text, err, warnings)
	}
}

// TestCutRunOfSeveral cuts a run behind each step, and again while what it gave
// is taken away: nothing of it stays.
func TestCutRunOfSeveral(t *testing.T) {
	if !hosttest.Enter(t) {
		return
	}
	steps, _, err := account.Plan(context.Background(), several(), newRecord(t))
	if err != nil {
		t.Fatal(err)
	}
	for n := range len(steps) + 1 {
		rec := cutAfterAll(t, several(), newRecord(t), n)
		leave, _, err := account.Plan(context.Background(), &spec.Spec{}, rec)
		if err != nil {
			t.Fatal(err)
		}
		if len(leave) > 0 {
			if rec, err = reparse(rec); err != nil { // saved before the first step, and cut behind it
				t.Fatal(err)
			}
			if err := change.NewRecorder(false, false).Run(context.Background(), leave[0]); err != nil {
				t.Fatal(err)
			}
		}
		apply(t, nil, rec)
		for _, gone := range []string{keyFile, appKeys, "/etc/sudoers.d/gofleet-deploy", "/etc/sudoers.d/gofleet-ci"} {
			if _, err := os.Lstat(gone); err == nil {
				t.Errorf("cut after %d steps: %s is still there", n, gone)
			}
		}
		if got := hosttest.Run(t, "getent", "group", "audio"); !strings.HasSuffix(got, ":\n") {
			t.Errorf("cut after %d steps: %s", n, got)
		}
		if len(rec.Users)+len(rec.Doing) != 0 {
			t.Errorf("cut after %d steps: record %v, doing %v", n, rec.Users, rec.Doing)
		}
		for _, name := range []string{"deploy", "app", "ci"} {
			hosttest.Run(t, "sh", "-c", "userdel -r "+name+"; rm -rf /srv/apps; groupdel app; true")
		}
	}
}

func reparse(rec *record.Record) (*record.Record, error) {
	text, err := rec.Encode()
	if err != nil {
		return nil, err
	}
	return record.Parse(text, "saved")
}
