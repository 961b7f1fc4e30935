package account_test

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/gofleet/gofleet/agent/internal/account"
	"github.com/gofleet/gofleet/agent/internal/change"
	"github.com/gofleet/gofleet/agent/internal/hosttest"
	"github.com/gofleet/gofleet/agent/internal/record"
	"github.com/gofleet/gofleet/agent/spec"
)

// cutAfter plans, saves the record, runs the first n steps, and gives the
// record that a later run finds: what the steps noted is lost.
func cutAfter(t *testing.T, want *spec.User, rec *record.Record, n int) *record.Record {
	t.Helper()
	return cutAfterAll(t, &spec.Spec{User: want}, rec, n)
}

func cutAfterAll(t *testing.T, want *spec.Spec, rec *record.Record, n int) *record.Record {
	t.Helper()
	steps, _, err := account.Plan(context.Background(), want, rec)
	if err != nil {
		t.Fatal(err)
	}
	saved, err := rec.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if err := change.NewRecorder(false, false).Run(context.Background(), steps[:n]...); err != nil {
		t.Fatal(err)
	}
	if rec, err = record.Parse(saved, "saved"); err != nil {
		t.Fatal(err)
	}
	return rec
}

// TestCutRunIsRemembered cuts a run behind each step. The next one still knows
// what of the account is ours, and takes it away when it is no longer wanted.
func TestCutRunIsRemembered(t *testing.T) {
	if !hosttest.Enter(t) {
		return
	}
	for _, existing := range []bool{false, true} {
		for n := range 4 {
			if existing {
				hosttest.Run(t, "useradd", "-m", "-s", "/bin/bash", "deploy")
				hosttest.Run(t, "install", "-d", "-m", "0700", "-o", "deploy", "-g", "deploy", "/home/deploy/.ssh")
				hosttest.Write(t, keyFile, key3+"\n", 0o600)
				hosttest.Run(t, "chown", "deploy:deploy", keyFile)
			}
			want := user()
			want.AuthorizedKeys = append(want.AuthorizedKeys, key3)
			rec := cutAfter(t, want, newRecord(t), n)
			apply(t, &spec.User{Name: "deploy", AuthorizedKeys: []string{key2}}, rec)
			foreign := ""
			if existing {
				foreign = key3 + "\n"
			}
			contains(t, keyFile, foreign+key2+"\n")
			if got := hosttest.Run(t, "id", "-nG", "deploy"); got != "deploy\n" {
				t.Errorf("cut after %d steps: groups: %s", n, got)
			}
			if _, err := os.Lstat("/etc/sudoers.d/gofleet-deploy"); err == nil {
				t.Errorf("cut after %d steps: the sudo rule is still there", n)
			}
			if u := rec.Users["deploy"]; u == nil || u.Created == existing || !slices.Equal(u.Keys, []string{key2}) || len(rec.Doing) != 0 {
				t.Errorf("cut after %d steps: record: %+v, doing %+v", n, rec.Users, rec.Doing)
			}
			// The user disappears from the inventory altogether.
			rec = cutAfter(t, want, newRecord(t), 1)
			apply(t, nil, rec)
			nothingToDo(t, nil, rec)
			if len(rec.Doing)+len(rec.Users) != 0 {
				t.Errorf("record: %+v, doing %+v", rec.Users, rec.Doing)
			}
			hosttest.Run(t, "userdel", "-r", "deploy")
		}
	}
}

// TestCutInTheMiddleOfUseradd leaves an account without a home, as a power cut
// does, or with one that is not yet its own. The next run makes it whole.
func TestCutInTheMiddleOfUseradd(t *testing.T) {
	if !hosttest.Enter(t) {
		return
	}
	for what, leave := range map[string][]string{
		"no home":     {"rm", "-r", "/home/deploy"},
		"root's home": {"sh", "-c", "rm -r /home/deploy && mkdir /home/deploy"},
	} {
		rec := cutAfter(t, user(), newRecord(t), 1)
		hosttest.Run(t, leave[0], leave[1:]...)
		apply(t, user(), rec)
		contains(t, keyFile, key1+"\n")
		if got := hosttest.Run(t, "id", "-nG", "deploy"); got != "deploy games\n" || rec.Users["deploy"] == nil || !rec.Users["deploy"].Created {
			t.Errorf("%s: groups %s, record %+v", what, got, rec.Users)
		}
		if got := hosttest.Run(t, "ls", "-A", "/home/deploy"); !strings.Contains(got, ".profile") {
			t.Errorf("%s: the home has only %q", what, got)
		}
		nothingToDo(t, user(), rec)
		hosttest.Run(t, "userdel", "-r", "deploy")
		hosttest.Run(t, "rm", "-f", "/etc/sudoers.d/gofleet-deploy")
	}
	// Somebody else's account without a home is nobody's to remake.
	hosttest.Run(t, "useradd", "-M", "deploy")
	if _, _, err := account.Plan(context.Background(), &spec.Spec{User: user()}, newRecord(t)); err == nil {
		t.Error("an account of somebody else's without a home was accepted")
	}
}
