package ansiblecfg

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// realNames are what ansible-config calls the settings; those of the plugin
// ssh begin with "ssh.".
var realNames = map[string]string{
	"inventory": "DEFAULT_HOST_LIST", "enable_plugins": "INVENTORY_ENABLED", "ignore_extensions": "INVENTORY_IGNORE_EXTS",
	"ignore_patterns": "INVENTORY_IGNORE_PATTERNS", "force_valid_group_names": "TRANSFORM_INVALID_GROUP_CHARS",
	"remote_user": "DEFAULT_REMOTE_USER", "remote_port": "DEFAULT_REMOTE_PORT", "private_key_file": "DEFAULT_PRIVATE_KEY_FILE",
	"forks": "DEFAULT_FORKS", "timeout": "ssh.timeout", "host_key_checking": "ssh.host_key_checking",
	"vault_password_file": "DEFAULT_VAULT_PASSWORD_FILE", "vault_identity": "DEFAULT_VAULT_IDENTITY",
	"vault_identity_list": "DEFAULT_VAULT_IDENTITY_LIST", "ask_vault_pass": "DEFAULT_ASK_VAULT_PASS",
	"become": "DEFAULT_BECOME", "become_method": "DEFAULT_BECOME_METHOD", "become_user": "DEFAULT_BECOME_USER",
	"become_exe": "DEFAULT_BECOME_EXE", "become_flags": "DEFAULT_BECOME_FLAGS", "become_ask_pass": "DEFAULT_BECOME_ASK_PASS",
	"become_password_file": "BECOME_PASSWORD_FILE", "ssh_args": "ssh.ssh_args", "ssh_common_args": "ssh.ssh_common_args",
	"ssh_extra_args": "ssh.ssh_extra_args", "retries": "ssh.reconnection_retries",
}

// values are the settings as ansible-config shows them.
func (s *Settings) values() map[string]any {
	return map[string]any{
		"inventory": s.Inventory, "enable_plugins": s.Plugins, "ignore_extensions": s.IgnoreExtensions, "ignore_patterns": s.IgnorePatterns,
		"remote_user": s.RemoteUser, "remote_port": s.RemotePort, "private_key_file": s.PrivateKeyFile, "forks": s.Forks,
		"timeout": s.Timeout.Seconds(), "host_key_checking": !s.AcceptHostKeys, "vault_password_file": s.VaultPasswordFile,
		"vault_identity": s.VaultIdentity, "vault_identity_list": s.VaultIdentityList, "ask_vault_pass": s.AskVaultPass,
		"become": s.Become, "become_method": s.BecomeMethod, "become_user": s.BecomeUser, "become_exe": s.BecomeExe, "become_flags": s.BecomeFlags,
		"become_ask_pass": s.BecomeAskPass, "become_password_file": s.BecomePasswordFile, "ssh_args": s.SSHArgs, "ssh_common_args": s.SSHCommonArgs,
		"ssh_extra_args": s.SSHExtraArgs, "retries": s.SSHRetries,
	}
}

// dumped is a setting that ansible-config shows.
type dumped struct {
	Origin string
	Value  any
}

// dump asks ansible-config what file and environment set.
func dump(t *testing.T, tool string, o Options) map[string]dumped {
	t.Helper()
	cmd := exec.Command(tool, "dump", "--only-changed", "-t", "all", "--format", "json")
	cmd.Dir = o.Dir
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "LANG=C.UTF-8"}, o.Env...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	text, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, stderr.Bytes())
	}
	type entry struct {
		Name   string
		Origin string
		Value  any
		Plugin []map[string][]entry `json:"CONNECTION_PLUGINS"`
	}
	var all []entry
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	out := map[string]dumped{}
	for _, e := range all {
		if e.Name != "" {
			out[e.Name] = dumped{e.Origin, e.Value}
		}
		for _, plugin := range e.Plugin {
			for _, s := range plugin["ssh"] {
				out["ssh."+s.Name] = dumped{s.Origin, s.Value}
			}
		}
	}
	return out
}

// everything is all that means something, and what gofleet does otherwise.
const everything = `# comment
[DEFAULT]
forks = 7
[defaults]
inventory = hosts, $SITE/more,~/mine , {{CWD}}/here   ; the sources
remote_user: "admin"
remote_port = 2222
private_key_file=keys/id
timeout = 20
Host_Key_Checking = False
vault_password_file = .vault
vault_identity = prod
vault_identity_list = dev@prompt, prod@~/.prod , 'q@x'
ask_vault_pass = 1
become_password_file = ${SITE}/become
force_valid_group_names = silently
inventory_ignore_extensions = .old, "~"
hash_behaviour = merge
gathering = smart
[inventory]
ignore_patterns = ^x,
	y$
enable_plugins = ini, yaml
[privilege_escalation]
become = yes
become_method=su
become_user = app
become_exe = "/opt/my su"
become_flags = '-H -S'
become_ask_pass = On
[ssh_connection]
ssh_args = -o ControlMaster=auto
  -o ControlPersist=60s

  -o X=y
ssh_common_args = '-J bastion'
ssh_extra_args = -o A="b c" # kept
retries = 3
pipelining = True
`

// TestAnsibleConfig compares what is read with what ansible-config reads.
func TestAnsibleConfig(t *testing.T) {
	tool := os.Getenv("GOFLEET_ANSIBLE_INVENTORY")
	if tool == "" {
		t.Skip("GOFLEET_ANSIBLE_INVENTORY names no ansible-inventory, beside which ansible-config is")
	}
	tool = filepath.Join(filepath.Dir(tool), "ansible-config")
	tests := []struct {
		name  string
		files map[string]string
		env   []string
	}{
		{"nothing", nil, nil},
		{"everything", map[string]string{"work/ansible.cfg": everything}, []string{"SITE=/srv"}},
		{"in another directory", map[string]string{"work/cfg/ansible.cfg": everything}, []string{"ANSIBLE_CONFIG=cfg"}},
		{"in the home", map[string]string{"home/.ansible.cfg": everything}, []string{"SITE=/srv", "ANSIBLE_FORKS=9", "ANSIBLE_BECOME=false"}},
		{"environment before the file", map[string]string{"work/ansible.cfg": everything}, []string{
			"ANSIBLE_INVENTORY=a,~/b, /c", "ANSIBLE_FORKS= 9 ", "ANSIBLE_BECOME=maybe", "ANSIBLE_HOST_KEY_CHECKING=True", "ANSIBLE_TIMEOUT=1",
			"ANSIBLE_SSH_ARGS=-v  -C", "ANSIBLE_SSH_RETRIES=0", "ANSIBLE_BECOME_METHOD=doas", "ANSIBLE_PRIVATE_KEY_FILE=$HOME/k",
			"ANSIBLE_VAULT_IDENTITY_LIST=a@'b', 'c@d'", "ANSIBLE_INVENTORY_ENABLED=yaml", "ANSIBLE_REMOTE_USER="}},
		{"environment alone", nil, []string{
			"ANSIBLE_SSH_TIMEOUT=2", "ANSIBLE_TIMEOUT=1", "ANSIBLE_SSH_HOST_KEY_CHECKING=no", "ANSIBLE_HOST_KEY_CHECKING=yes", "ANSIBLE_VAULT_PASSWORD_FILE=../x/./y",
			"ANSIBLE_BECOME_USER=app", "ANSIBLE_BECOME_EXE=/x", "ANSIBLE_BECOME_FLAGS=-n", "ANSIBLE_BECOME_ASK_PASS=y", "ANSIBLE_ASK_VAULT_PASS=T",
			"ANSIBLE_BECOME_PASSWORD_FILE=~/p", "ANSIBLE_SSH_COMMON_ARGS=-J x", "ANSIBLE_SSH_EXTRA_ARGS=", "ANSIBLE_REMOTE_PORT=22",
			"ANSIBLE_INVENTORY_IGNORE=.a, .b", "ANSIBLE_INVENTORY_IGNORE_REGEX=^x$", "ANSIBLE_TRANSFORM_INVALID_GROUP_CHARS=ignore", "ANSIBLE_VAULT_IDENTITY=v"}},
		{"both places of a setting", map[string]string{"work/ansible.cfg": `[defaults]
timeout = 5
host_key_checking = True
inventory_ignore_patterns = a
[inventory]
ignore_patterns = b
[ssh_connection]
timeout = 6
host_key_checking = off
retries = 2
[connection]
retries = 4
`}, nil},
		{"quotes and comments", map[string]string{"work/ansible.cfg": `# one
[defaults] ; behind
remote_user = a;b ; c
private_key_file = "~/my key"
inventory = 'a,b'
forks : 0008
  # deeper
vault_identity = 'x" # y
ask_vault_pass = "yes"
inventory_ignore_extensions = '.a,.b', "c"
[privilege_escalation]
become_user = "" 
become = TRUE
become_exe =
[ssh_connection]
ssh_args = "-o A=b" "-C"
ssh_common_args = '\'x\''
`}, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			o := place(t, test.files, test.env...)
			o.Env = append(o.Env, "HOME="+o.Home)
			s := mustLoad(t, o)
			real := dump(t, tool, o)
			ours := s.values()
			for name, of := range realNames {
				r, set := real[of]
				if set != (s.Origin(name) != "") {
					t.Errorf("%s: from %q, ansible-config says %+v", name, s.Origin(name), r)
					continue
				}
				if !set {
					continue
				}
				if env, inEnv := strings.CutPrefix(r.Origin, "env: "); inEnv != (s.Origin(name) == env) {
					t.Errorf("%s comes from %s, want %s", name, s.Origin(name), r.Origin)
				}
				if name == "force_valid_group_names" {
					if s.SafeGroupNames != (r.Value == "always" || r.Value == "silently") {
						t.Errorf("force_valid_group_names is %v, want %v", s.SafeGroupNames, r.Value)
					}
					continue
				}
				if got := throughJSON(t, ours[name]); !reflect.DeepEqual(got, r.Value) {
					t.Errorf("%s is %#v, want %#v", name, got, r.Value)
				}
			}
		})
	}
}

func throughJSON(t *testing.T, v any) (out any) {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &out); err != nil {
		t.Fatal(err)
	}
	return out
}
