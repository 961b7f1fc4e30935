package ansiblecfg

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// place lays out files in a working directory, a home and a system directory.
func place(t *testing.T, files map[string]string, env ...string) Options {
	t.Helper()
	top := t.TempDir()
	o := Options{Dir: filepath.Join(top, "work"), Home: filepath.Join(top, "home"), System: filepath.Join(top, "etc"), Env: env}
	for _, dir := range []string{o.Dir, o.Home, o.System} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range files {
		path := filepath.Join(top, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return o
}

func mustLoad(t *testing.T, o Options) *Settings {
	t.Helper()
	s, err := Load(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestFind looks in Ansible's places, in Ansible's order.
func TestFind(t *testing.T) {
	cfg := func(user string) string { return "[defaults]\nremote_user = " + user + "\n" }
	files := map[string]string{
		"work/ansible.cfg": cfg("work"), "home/.ansible.cfg": cfg("home"), "etc/ansible.cfg": cfg("etc"),
		"work/other/ansible.cfg": cfg("dir"), "work/my.ini": cfg("named"),
	}
	for _, test := range []struct {
		without []string
		env     string
		want    string
	}{
		{nil, "", "work"},
		{nil, "ANSIBLE_CONFIG=other", "dir"},
		{nil, "ANSIBLE_CONFIG=~/../work/my.ini", "named"},
		{nil, "ANSIBLE_CONFIG=nowhere.cfg", "work"},
		{[]string{"work/ansible.cfg"}, "", "home"},
		{[]string{"work/ansible.cfg", "home/.ansible.cfg"}, "", "etc"},
		{[]string{"work/ansible.cfg", "home/.ansible.cfg", "etc/ansible.cfg"}, "", ""},
		{nil, "ANSIBLE_REMOTE_USER=env", "env"},
	} {
		o := place(t, files, test.env)
		for _, name := range test.without {
			if err := os.Remove(filepath.Join(o.Dir, "..", name)); err != nil {
				t.Fatal(err)
			}
		}
		if s := mustLoad(t, o); s.RemoteUser != test.want {
			t.Errorf("%v %s: read %s, of %s, want %s", test.without, test.env, s.File, s.RemoteUser, test.want)
		}
	}
	o := place(t, files)
	if err := os.Chmod(o.Dir, 0o777); err != nil {
		t.Fatal(err)
	}
	s := mustLoad(t, o)
	if s.RemoteUser != "home" || len(s.Warnings) != 1 || !strings.Contains(s.Warnings[0], "passed over") {
		t.Errorf("in a public directory: read %s, warnings %q", s.File, s.Warnings)
	}
}

// TestSettings reads everything, from the file and from the environment.
func TestSettings(t *testing.T) {
	o := place(t, map[string]string{"work/cfg/ansible.cfg": everything}, "ANSIBLE_CONFIG=cfg", "SITE=/srv")
	s := mustLoad(t, o)
	cfg := filepath.Join(o.Dir, "cfg")
	want := Settings{
		File:      cfg + "/ansible.cfg",
		Warnings:  []string{"cfg/ansible.cfg:18: hash_behaviour is not supported: dictionaries replace each other"},
		Inventory: []string{cfg + "/hosts", "/srv/more", o.Home + "/mine", o.Dir + "/here"}, SafeGroupNames: true,
		Plugins: []string{"ini", "yaml"}, IgnoreExtensions: []string{".old", "~"}, IgnorePatterns: []string{"^x", "y$"},
		RemoteUser: "admin", RemotePort: 2222, PrivateKeyFile: cfg + "/keys/id", Forks: 7, Timeout: 20 * time.Second, AcceptHostKeys: true,
		VaultPasswordFile: cfg + "/.vault", VaultIdentity: "prod", VaultIdentityList: []string{"dev@prompt", "prod@~/.prod", "q@x"}, AskVaultPass: true,
		Become: true, BecomeMethod: "su", BecomeUser: "app", BecomeExe: "/opt/my su", BecomeFlags: "-H -S",
		BecomeAskPass: true, BecomePasswordFile: "/srv/become",
		SSHArgs: "-o ControlMaster=auto\n-o ControlPersist=60s\n\n-o X=y", SSHCommonArgs: "-J bastion", SSHExtraArgs: `-o A="b c" # kept`, SSHRetries: 3,
	}
	if got := s.Origin("forks"); got != "cfg/ansible.cfg:3" {
		t.Errorf("forks come from %s", got)
	}
	s.origins = nil
	if !reflect.DeepEqual(*s, want) {
		t.Errorf("settings are\n%+v\nwant\n%+v", *s, want)
	}

	o.Env = append(o.Env, "ANSIBLE_INVENTORY=a,b", "ANSIBLE_FORKS=9", "ANSIBLE_BECOME=false", "ANSIBLE_HOST_KEY_CHECKING=True",
		"ANSIBLE_TIMEOUT=1", "ANSIBLE_SSH_TIMEOUT=2", "ANSIBLE_HASH_BEHAVIOUR=replace")
	s = mustLoad(t, o)
	if !reflect.DeepEqual(s.Inventory, []string{o.Dir + "/a", o.Dir + "/b"}) || s.Forks != 9 || s.Become || s.AcceptHostKeys ||
		s.Timeout != 2*time.Second || s.Origin("forks") != "ANSIBLE_FORKS" || len(s.Warnings) != 0 {
		t.Errorf("with the environment: %+v", *s)
	}

	o = place(t, map[string]string{"etc/hosts": "h\n"})
	if s := mustLoad(t, o); !reflect.DeepEqual(s.Inventory, []string{o.System + "/hosts"}) || s.File != "" {
		t.Errorf("without a file: %+v", *s)
	}
	if s := mustLoad(t, place(t, nil)); s.Inventory != nil {
		t.Errorf("with nothing at all: %q", s.Inventory)
	}
}

// TestErrors: what Ansible refuses is refused, with its place.
func TestErrors(t *testing.T) {
	for _, test := range []struct{ text, env, want string }{
		{"forks = 5\n", "", "ansible.cfg:1: a line before the first [section]"},
		{"[defaults]\nforks\n", "", "ansible.cfg:2: no [section] and no name = value"},
		{"[defaults]\n= 5\n", "", "ansible.cfg:2: no [section]"},
		{"[defaults]\na=1\n[x]\n[defaults]\n", "", "ansible.cfg:4: the section [defaults] is there twice"},
		{"[defaults]\nforks=1\nFORKS=2\n", "", "ansible.cfg:3: forks is in [defaults] twice"},
		{"[defaults]\n\nforks=many\n", "", `ansible.cfg:3: "many" is no number`},
		{"[defaults]\nforce_valid_group_names=yes\n", "", "ansible.cfg:2: force_valid_group_names is always"},
		{"", "ANSIBLE_FORKS=0", `ANSIBLE_FORKS: "0" is no number from 1`},
		{"", "ANSIBLE_CONFIG=x.yml", "x.yml: only a file ending in .cfg"},
		{"[defaults]\nx=\xff\n", "", "ansible.cfg: not UTF-8"},
	} {
		_, err := Load(place(t, map[string]string{"work/ansible.cfg": test.text, "work/x.yml": "a: 1\n"}, test.env))
		var e *Error
		if !errors.As(err, &e) || !strings.HasPrefix(err.Error(), test.want) {
			t.Errorf("%q %s: error is %v (%T), want %s", test.text, test.env, err, err, test.want)
		}
	}
}

// FuzzINI reads arbitrary files.
func FuzzINI(f *testing.F) {
	f.Add("[defaults]\na = b ; c\n  d\n\n  e\n[x]\nk: v\n")
	f.Fuzz(func(t *testing.T, text string) {
		file, err := parseINI("ansible.cfg", text)
		var e *Error
		if err != nil && (!errors.As(err, &e) || e.Line < 1 || e.Line > 1+strings.Count(text, "\n")) {
			t.Fatalf("error %v", err)
		}
		for _, section := range file {
			for key, e := range section {
				if key == "" || e.line < 1 {
					t.Fatalf("key %q at line %d", key, e.line)
				}
			}
		}
	})
}
