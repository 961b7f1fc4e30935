package ansiblecfg

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// setting is one of Ansible's: its places, and what takes its value. Of the
// environment's variables, and then of the file's keys, the last that is set
// counts, as in Ansible.
type setting struct {
	name string   // of the file
	env  []string // variables
	keys []string // "section.key"
	set  func(s *Settings, v found) error
}

// found is a value and its place.
type found struct {
	text   string
	origin *Error // without a message
	base   string // directory that paths are relative to
	inFile bool
	loader *loader
}

func (v found) errorf(format string, args ...any) error {
	e := *v.origin
	e.Msg = fmt.Sprintf(format, args...)
	return &e
}

// settings are those that mean something here.
var settings = []setting{
	{"inventory", []string{"ANSIBLE_INVENTORY"}, []string{"defaults.inventory"}, func(s *Settings, v found) error {
		for _, p := range strings.Split(v.text, ",") {
			if p = strings.TrimSpace(p); p != "" {
				s.Inventory = append(s.Inventory, v.loader.path(p, v.base))
			}
		}
		return nil
	}},
	{"enable_plugins", []string{"ANSIBLE_INVENTORY_ENABLED"}, []string{"inventory.enable_plugins"},
		list(func(s *Settings) *[]string { return &s.Plugins })},
	{"ignore_extensions", []string{"ANSIBLE_INVENTORY_IGNORE"}, []string{"defaults.inventory_ignore_extensions", "inventory.ignore_extensions"},
		list(func(s *Settings) *[]string { return &s.IgnoreExtensions })},
	{"ignore_patterns", []string{"ANSIBLE_INVENTORY_IGNORE_REGEX"}, []string{"defaults.inventory_ignore_patterns", "inventory.ignore_patterns"},
		list(func(s *Settings) *[]string { return &s.IgnorePatterns })},
	{"force_valid_group_names", []string{"ANSIBLE_TRANSFORM_INVALID_GROUP_CHARS"}, []string{"defaults.force_valid_group_names"},
		func(s *Settings, v found) error {
			switch v.text {
			case "always", "silently":
				s.SafeGroupNames = true
			case "never", "ignore":
			default:
				return v.errorf("force_valid_group_names is always, never, ignore or silently, not %q", v.text)
			}
			return nil
		}},
	{"remote_user", []string{"ANSIBLE_REMOTE_USER"}, []string{"defaults.remote_user"}, text(func(s *Settings) *string { return &s.RemoteUser })},
	{"remote_port", []string{"ANSIBLE_REMOTE_PORT"}, []string{"defaults.remote_port"}, number(func(s *Settings) *int { return &s.RemotePort }, 1, 65535)},
	{"private_key_file", []string{"ANSIBLE_PRIVATE_KEY_FILE"}, []string{"defaults.private_key_file"}, path(func(s *Settings) *string { return &s.PrivateKeyFile })},
	{"forks", []string{"ANSIBLE_FORKS"}, []string{"defaults.forks"}, number(func(s *Settings) *int { return &s.Forks }, 1, 100000)},
	{"timeout", []string{"ANSIBLE_TIMEOUT", "ANSIBLE_SSH_TIMEOUT"}, []string{"defaults.timeout", "ssh_connection.timeout"}, func(s *Settings, v found) error {
		n := 0
		err := number(func(*Settings) *int { return &n }, 0, 1<<20)(s, v)
		s.Timeout = time.Duration(n) * time.Second
		return err
	}},
	{"host_key_checking", []string{"ANSIBLE_HOST_KEY_CHECKING", "ANSIBLE_SSH_HOST_KEY_CHECKING"},
		[]string{"defaults.host_key_checking", "ssh_connection.host_key_checking"}, func(s *Settings, v found) error {
			s.AcceptHostKeys = !truth(v.text)
			return nil
		}},
	{"vault_password_file", []string{"ANSIBLE_VAULT_PASSWORD_FILE"}, []string{"defaults.vault_password_file"}, path(func(s *Settings) *string { return &s.VaultPasswordFile })},
	{"vault_identity", []string{"ANSIBLE_VAULT_IDENTITY"}, []string{"defaults.vault_identity"}, text(func(s *Settings) *string { return &s.VaultIdentity })},
	{"vault_identity_list", []string{"ANSIBLE_VAULT_IDENTITY_LIST"}, []string{"defaults.vault_identity_list"}, list(func(s *Settings) *[]string { return &s.VaultIdentityList })},
	{"ask_vault_pass", []string{"ANSIBLE_ASK_VAULT_PASS"}, []string{"defaults.ask_vault_pass"}, boolean(func(s *Settings) *bool { return &s.AskVaultPass })},
	{"become", []string{"ANSIBLE_BECOME"}, []string{"privilege_escalation.become"}, boolean(func(s *Settings) *bool { return &s.Become })},
	{"become_method", []string{"ANSIBLE_BECOME_METHOD"}, []string{"privilege_escalation.become_method"}, text(func(s *Settings) *string { return &s.BecomeMethod })},
	{"become_user", []string{"ANSIBLE_BECOME_USER"}, []string{"privilege_escalation.become_user"}, text(func(s *Settings) *string { return &s.BecomeUser })},
	{"become_exe", []string{"ANSIBLE_BECOME_EXE"}, []string{"privilege_escalation.become_exe"}, text(func(s *Settings) *string { return &s.BecomeExe })},
	{"become_flags", []string{"ANSIBLE_BECOME_FLAGS"}, []string{"privilege_escalation.become_flags"}, text(func(s *Settings) *string { return &s.BecomeFlags })},
	{"become_ask_pass", []string{"ANSIBLE_BECOME_ASK_PASS"}, []string{"privilege_escalation.become_ask_pass"}, boolean(func(s *Settings) *bool { return &s.BecomeAskPass })},
	{"become_password_file", []string{"ANSIBLE_BECOME_PASSWORD_FILE"}, []string{"defaults.become_password_file"}, path(func(s *Settings) *string { return &s.BecomePasswordFile })},
	{"ssh_args", []string{"ANSIBLE_SSH_ARGS"}, []string{"ssh_connection.ssh_args"}, text(func(s *Settings) *string { return &s.SSHArgs })},
	{"ssh_common_args", []string{"ANSIBLE_SSH_COMMON_ARGS"}, []string{"ssh_connection.ssh_common_args"}, text(func(s *Settings) *string { return &s.SSHCommonArgs })},
	{"ssh_extra_args", []string{"ANSIBLE_SSH_EXTRA_ARGS"}, []string{"ssh_connection.ssh_extra_args"}, text(func(s *Settings) *string { return &s.SSHExtraArgs })},
	{"retries", []string{"ANSIBLE_SSH_RETRIES"}, []string{"connection.retries", "ssh_connection.retries"}, number(func(s *Settings) *int { return &s.SSHRetries }, 0, 1000)},
}

// read takes one setting over.
func (l *loader) read(known setting) error {
	v, ok := l.lookup(known.env, known.keys)
	if !ok {
		return nil
	}
	l.s.origins[known.name] = strings.TrimSuffix(v.origin.Error(), ": ")
	return known.set(l.s, v)
}

// lookup finds a value: in the environment, or else in the file.
func (l *loader) lookup(env, keys []string) (v found, ok bool) {
	for _, name := range env {
		if value, set := l.env[name]; set {
			v, ok = found{text: value, origin: &Error{File: name}, base: l.Dir, loader: l}, true
		}
	}
	if ok {
		return v, true
	}
	for _, place := range keys {
		section, key, _ := strings.Cut(place, ".")
		if e, set := l.file.get(section, key); set {
			name := l.s.File
			if rel, err := filepath.Rel(l.Dir, name); err == nil && filepath.IsLocal(rel) {
				name = rel
			}
			v, ok = found{text: e.value, origin: &Error{File: name, Line: e.line}, base: filepath.Dir(l.s.File), inFile: true, loader: l}, true
		}
	}
	return v, ok
}

// text takes a pair of quotes off what is in the file, as Ansible does, which
// knows no quotes around a path, number or boolean.
func text(field func(*Settings) *string) func(*Settings, found) error {
	return func(s *Settings, v found) error {
		*field(s) = v.text
		if v.inFile {
			*field(s) = unquote(v.text)
		}
		return nil
	}
}

func path(field func(*Settings) *string) func(*Settings, found) error {
	return func(s *Settings, v found) error {
		if v.text != "" {
			*field(s) = v.loader.path(v.text, v.base)
		}
		return nil
	}
}

func list(field func(*Settings) *[]string) func(*Settings, found) error {
	return func(s *Settings, v found) error {
		*field(s) = []string{}
		for _, word := range strings.Split(v.text, ",") {
			if word = unquote(strings.TrimSpace(word)); word != "" {
				*field(s) = append(*field(s), word)
			}
		}
		return nil
	}
}

func boolean(field func(*Settings) *bool) func(*Settings, found) error {
	return func(s *Settings, v found) error {
		*field(s) = truth(v.text)
		return nil
	}
}

// truth is Ansible's: everything but these words is false.
func truth(s string) bool {
	switch strings.ToLower(strings.TrimSpace(s)) {
	case "y", "yes", "on", "1", "true", "t", "1.0":
		return true
	}
	return false
}

func number(field func(*Settings) *int, low, high int) func(*Settings, found) error {
	return func(s *Settings, v found) error {
		f, err := strconv.ParseFloat(strings.TrimSpace(v.text), 64)
		if err != nil || f != float64(int(f)) || int(f) < low || int(f) > high {
			return v.errorf("%q is no number from %d to %d", v.text, low, high)
		}
		*field(s) = int(f)
		return nil
	}
}

// unquote removes one pair of quotes.
func unquote(s string) string {
	if n := len(s); n > 1 && s[0] == s[n-1] && (s[0] == '"' || s[0] == '\'') && s[n-2] != '\\' {
		return s[1 : n-1]
	}
	return s
}

// unsupported warns about what changes hosts, variables or connections in
// Ansible and does nothing here. Everything else that is not in settings is
// about how Ansible itself works: harmless.
func (l *loader) unsupported() {
	for _, u := range []struct {
		env, key string
		harmless func(value string) bool
		way      string
	}{
		{"ANSIBLE_HASH_BEHAVIOUR", "defaults.hash_behaviour", equals("replace"), "dictionaries replace each other"},
		{"ANSIBLE_PRECEDENCE", "defaults.precedence", nil, "variables have Ansible's default precedence"},
		{"ANSIBLE_YAML_FILENAME_EXT", "defaults.yaml_valid_extensions", nil, "YAML files end in .yml, .yaml, .json or nothing"},
		{"ANSIBLE_VARS_ENABLED", "defaults.vars_plugins_enabled", equals("host_group_vars", "ansible.builtin.host_group_vars"), "only group_vars and host_vars are read"},
		{"ANSIBLE_TRANSPORT", "defaults.transport", equals("ssh", "smart", "paramiko", "paramiko_ssh", "ansible.builtin.ssh"), "hosts are reached over SSH, or locally with ansible_connection: local"},
		{"ANSIBLE_ASK_PASS", "defaults.ask_pass", falsehood, "hosts are logged in to with keys"},
		{"ANSIBLE_CONNECTION_PASSWORD_FILE", "defaults.connection_password_file", equals(""), "hosts are logged in to with keys"},
		{"ANSIBLE_VAULT_ID_MATCH", "defaults.vault_id_match", falsehood, "every password is tried"},
		{"ANSIBLE_PKCS11_PROVIDER", "ssh_connection.pkcs11_provider", equals(""), "put the key into ssh-agent: ssh-add -s"},
	} {
		v, ok := l.lookup([]string{u.env}, []string{u.key})
		if !ok || u.harmless != nil && u.harmless(v.text) {
			continue
		}
		_, key, _ := strings.Cut(u.key, ".")
		v.origin.Msg = fmt.Sprintf("%s is not supported: %s", key, u.way)
		l.s.Warnings = append(l.s.Warnings, v.origin.Error())
	}
}

func equals(words ...string) func(string) bool {
	return func(value string) bool {
		for _, w := range words {
			if strings.TrimSpace(value) == w {
				return true
			}
		}
		return false
	}
}

func falsehood(value string) bool { return !truth(value) }
