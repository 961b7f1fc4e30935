package remote

import (
	"errors"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestTargetFromVars(t *testing.T) {
	got, err := TargetFromVars("web1", map[string]any{
		"ansible_host": "10.0.0.1", "ansible_port": int64(2222), "ansible_user": "deploy",
		"ansible_ssh_private_key_file": "~/.ssh/fleet", "ansible_ssh_common_args": `-o ProxyJump="b1,b2" -C`, "ansible_ssh_extra_args": "-4",
		"ansible_timeout": int64(30), "ansible_ssh_retries": "2", "ansible_host_key_checking": "no",
		"ansible_become": true, "ansible_become_user": "admin", "ansible_become_password": "secret", "ansible_become_flags": "-E",
		"unrelated": []any{"x"}, "ansible_python_interpreter": nil,
	}, Defaults{User: "other"})
	if err != nil {
		t.Fatal(err)
	}
	if got.Name != "web1" || got.Host != "10.0.0.1" || got.Port != 2222 || got.User != "deploy" || got.Timeout != 30*time.Second || *got.Retries != 2 || !got.AcceptNew || got.Local {
		t.Errorf("%+v", got)
	}
	if !slices.Equal(got.KeyFiles, []string{"~/.ssh/fleet"}) || !slices.Equal(got.Args, []string{"-o", "ProxyJump=b1,b2", "-C", "-4"}) {
		t.Errorf("%q %q", got.KeyFiles, got.Args)
	}
	b := got.Become
	if b == nil || b.User != "admin" || b.Flags != "-E" || b.Password == nil {
		t.Fatalf("become %+v", b)
	}
	if p, err := b.Password(); p != "secret" || err != nil {
		t.Errorf("password %q, %v", p, err)
	}

	// The command line's defaults, and variables that go before them.
	def := Defaults{User: "u", KeyFile: "k", Become: true, BecomeMethod: "doas", BecomeUser: "bu", BecomePassword: given("asked")}
	got, err = TargetFromVars("web1", nil, def)
	if err != nil || got.User != "u" || got.KeyFiles[0] != "k" || got.Become == nil || got.Become.Method != "doas" || got.Become.User != "bu" || got.Become.Password == nil {
		t.Errorf("%+v %v", got, err)
	}
	got, err = TargetFromVars("web1", map[string]any{"ansible_become": "false"}, def)
	if err != nil || got.Become != nil {
		t.Errorf("%+v %v", got, err)
	}
	got, err = TargetFromVars("web1", map[string]any{"ansible_become_method": "ansible.builtin.sudo", "ansible_sudo_pass": "own", "ansible_become_pass": "general"}, def)
	if err != nil {
		t.Fatal(err)
	}
	if p, _ := got.Become.Password(); p != "own" || got.Become.Method != "ansible.builtin.sudo" {
		t.Errorf("%+v, password %q", got.Become, p)
	}
	got, err = TargetFromVars("localhost", map[string]any{"ansible_connection": "local", "ansible_password": "x", "ansible_port": "nonsense"}, Defaults{})
	if err != nil || !got.Local {
		t.Errorf("%+v %v", got, err)
	}
}

func TestTargetErrors(t *testing.T) {
	for _, c := range []struct {
		variable string
		value    any
		says     string
	}{
		{"ansible_password", "topsecret", "keys only"},
		{"ansible_ssh_pass", int64(12345), "keys only"},
		{"ansible_port", "ssh", "not a number"},
		{"ansible_port", int64(70000), "not a port"},
		{"ansible_port", new(big.Int).Lsh(big.NewInt(1), 70), "not a port"},
		{"ansible_port", true, "not a number"},
		{"ansible_host", int64(5), "not a string"},
		{"ansible_host", []any{"a"}, "a list"},
		{"ansible_host", "{{ lookup('env', 'H') }}", "template"},
		{"ansible_user", 1.5, "not a string"},
		{"ansible_connection", "winrm", "winrm"},
		{"ansible_timeout", int64(-1), "seconds"},
		{"ansible_become", "perhaps", "neither true nor false"},
		{"ansible_become", map[string]any{}, "neither true nor false"},
		{"ansible_host_key_checking", "sometimes", "neither true nor false"},
		{"ansible_become_method", "runas", "runas"},
		{"ansible_become_password", int64(775533), "quotes"},
		{"ansible_become_password", "two\nlines", "line break"},
		{"ansible_become_user", "{% if x %}", "template"},
		{"ansible_ssh_common_args", "-o 'open", "not closed"},
		{"ansible_ssh_extra_args", "-W x", "-W"},
		{"ansible_ssh_extra_args", "-o PKCS11Provider=/lib/x.so", "pkcs11provider"},
		{"ansible_ssh_common_args", "-o NoSuchOption=1", "nosuchoption"},
		{"ansible_ssh_args", "-o Ciphers=rot13", "rot13"},
		{"ansible_ssh_use_tty", "perhaps", "perhaps"},
		{"ansible_ssh_retries", 1.5, "retries"},
	} {
		_, err := TargetFromVars("web1", map[string]any{c.variable: c.value}, Defaults{Become: true})
		var v *VariableError
		if !errors.As(err, &v) {
			t.Errorf("%s=%v: %v", c.variable, c.value, err)
			continue
		}
		if v.Variable != c.variable || !strings.Contains(v.Error()+v.Hint, c.says) {
			t.Errorf("%s=%v: %v (%s)", c.variable, c.value, err, v.Hint)
		}
		for _, secret := range []string{"topsecret", "12345", "775533"} {
			if strings.Contains(v.Error()+v.Hint, secret) {
				t.Errorf("%v shows a secret", err)
			}
		}
	}
}
