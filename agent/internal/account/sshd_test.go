package account_test

import (
	"context"
	"strings"
	"testing"

	"github.com/gofleet/gofleet/agent/internal/account"
	"github.com/gofleet/gofleet/agent/internal/hosttest"
	"github.com/gofleet/gofleet/agent/spec"
	"github.com/gofleet/gofleet/agent/wire"
)

// TestJudgeSSHD asks the real sshd about settings and accounts with which it
// takes keys, or does not.
func TestJudgeSSHD(t *testing.T) {
	if !hosttest.Enter(t) {
		return
	}
	hosttest.Run(t, "sh", "-ec", "mkdir -p /run/sshd; ssh-keygen -A >/dev/null; rm -rf /etc/ssh/sshd_config.d")
	hosttest.Run(t, "useradd", "-m", "-p", "*", "-s", "/bin/sh", "deploy")
	judge := func(user spec.User) []wire.Check {
		return account.JudgeSSHD(context.Background(), &spec.Spec{Users: []spec.User{user, {Name: "keyless"}}})
	}
	deploy := spec.User{Name: "deploy", Groups: []string{"games"}, AuthorizedKeys: []string{key1}}
	fresh := spec.User{Name: "fresh", Home: "/srv/fresh", Shell: "/bin/sh", AuthorizedKeys: []string{key1}}
	for _, c := range []struct {
		config, harm string
		user         spec.User
		says, hint   string // "": it passes
	}{
		{user: deploy},
		{user: fresh},
		{config: "PubkeyAuthentication no", user: deploy, says: "PubkeyAuthentication is no", hint: "sshd_config"},
		{config: "AuthorizedKeysFile /etc/ssh/keys/%u", user: deploy, says: "AuthorizedKeysFile is /etc/ssh/keys/%u", hint: ".ssh/authorized_keys"},
		{config: "AuthorizedKeysFile none", user: deploy, says: "AuthorizedKeysFile is none", hint: ".ssh/authorized_keys"},
		{config: "AuthorizedKeysFile %h/.ssh/authorized_keys", user: deploy},
		{config: "AuthorizedKeysFile /srv/%u/.ssh/authorized_keys", user: fresh},
		{config: "AllowUsers root adm*", user: deploy, says: "AllowUsers is root adm*", hint: "add deploy"},
		{config: "AllowUsers root dep?oy@10.0.0.0/8", user: deploy},
		{config: "DenyUsers d*", user: deploy, says: "DenyUsers has d*", hint: "deploy"},
		{config: "DenyUsers deploy@10.0.0.1", user: deploy},
		{config: "AllowGroups wheel", user: deploy, says: "AllowGroups is wheel", hint: "gofleet_users[0].groups"},
		{config: "AllowGroups wheel deploy", user: deploy},
		{config: "AllowGroups games", user: deploy}, // which it is about to get
		{config: "DenyGroups deplo*", user: deploy, says: "DenyGroups has deplo*", hint: "sshd_config"},
		{config: "AuthenticationMethods publickey,password", user: deploy, says: "AuthenticationMethods is publickey,password", hint: "key alone"},
		{config: "AuthenticationMethods password publickey", user: deploy},
		{config: "PubkeyAcceptedAlgorithms rsa-sha2-512", user: deploy, says: "PubkeyAcceptedAlgorithms has no ssh-ed25519", hint: "another type"},
		{config: "Match User other\nPubkeyAuthentication no", user: deploy},
		{config: "Match User deploy\nPubkeyAuthentication no", user: deploy, says: "PubkeyAuthentication is no", hint: "sshd_config"},
		{config: "Nonsense yes", user: deploy, says: "not judged", hint: "sshd -T -C user=deploy"},
		{harm: "chmod 0775 /home/deploy", user: deploy, says: "/home/deploy can be written by others (mode 0775)", hint: "chmod go-w /home/deploy"},
		{config: "StrictModes no", user: deploy},
		{harm: "chmod 0755 /home/deploy; mkdir -m 0777 /home/deploy/.ssh", user: deploy, says: "/home/deploy/.ssh can be written", hint: "chmod"},
		{harm: "chmod 0700 /home/deploy/.ssh; chown games /home/deploy/.ssh", user: deploy, says: "/home/deploy/.ssh belongs to uid 5", hint: "chown deploy"},
		{harm: "rm -r /home/deploy/.ssh; usermod -s /usr/sbin/nologin deploy", user: deploy, says: "shell is /usr/sbin/nologin", hint: "usermod"},
		{harm: "usermod -s /bin/gone deploy 2>/dev/null", user: deploy, says: "shell /bin/gone is not a program", hint: "usermod"},
		{harm: "usermod -s /bin/sh deploy; usermod -p '!' deploy", config: "UsePAM no", user: deploy, says: "the account is locked", hint: "usermod -p"},
		{config: "UsePAM yes", user: deploy},
		{harm: "usermod -p '*' deploy; chage -E 2020-01-31 deploy", user: deploy, says: "the account expired on 2020-01-31", hint: "chage"},
	} {
		hosttest.Write(t, "/etc/ssh/sshd_config", c.config+"\n", 0o600)
		if c.harm != "" {
			hosttest.Run(t, "sh", "-ec", c.harm)
		}
		got := judge(c.user)
		what := c.config + c.harm
		if len(got) != 1 || got[0].Name != "sshd "+c.user.Name {
			t.Errorf("%s: checks %+v", what, got)
			continue
		}
		switch ok := got[0]; {
		case c.says == "" && (ok.Status != wire.Pass || ok.Hint != ""):
			t.Errorf("%s: %+v; want it to pass", what, ok)
		case c.says != "" && (ok.Status != wire.Warn || !strings.Contains(ok.Actual, c.says) || !strings.Contains(ok.Hint, c.hint)):
			t.Errorf("%s: %+v; want %q and a hint with %q", what, ok, c.says, c.hint)
		}
	}
	hosttest.Hide(t, "sshd")
	if got := judge(deploy); got != nil {
		t.Errorf("without sshd: %+v", got)
	}
}
