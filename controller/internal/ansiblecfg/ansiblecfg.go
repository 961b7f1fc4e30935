// Package ansiblecfg reads the settings that an Ansible user has: ansible.cfg,
// found where Ansible finds it, and the ANSIBLE_ variables of the environment,
// which come before the file. It knows which of them mean something to
// gofleet, and nothing of flags. It is pure: environment, working directory
// and home are given to it.
package ansiblecfg

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Error says what is wrong with a setting and where it is.
type Error struct {
	File string // or the name of a variable of the environment
	Line int    // 0 for the environment
	Msg  string
	Hint string
}

// Error is file:line: message, without the hint.
func (e *Error) Error() string {
	if e.Line == 0 {
		return e.File + ": " + e.Msg
	}
	return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Msg)
}

// Options are where to look.
type Options struct {
	Env    []string // NAME=value
	Dir    string   // the working directory, absolute
	Home   string   // the user's home; "" for none
	System string   // "" is /etc/ansible
}

// Settings are what file and environment say. What they say nothing of has
// its zero value, which is never Ansible's own default.
type Settings struct {
	File     string   // the ansible.cfg that was read; "" for none
	Warnings []string // what is set and would matter, but is not supported

	Inventory        []string // absolute paths
	Plugins          []string // nil: Ansible's default
	IgnoreExtensions []string // nil: Ansible's default
	IgnorePatterns   []string
	SafeGroupNames   bool

	RemoteUser     string
	RemotePort     int
	PrivateKeyFile string
	Forks          int
	Timeout        time.Duration
	AcceptHostKeys bool // host_key_checking is off

	VaultPasswordFile string
	VaultIdentity     string
	VaultIdentityList []string // label@source, as written
	AskVaultPass      bool

	Become             bool
	BecomeMethod       string
	BecomeUser         string
	BecomeExe          string
	BecomeFlags        string
	BecomeAskPass      bool
	BecomePasswordFile string

	SSHArgs       string
	SSHCommonArgs string
	SSHExtraArgs  string
	SSHRetries    int

	origins map[string]string
}

// Origin says where a setting comes from: "ansible.cfg:7" or the name of a
// variable of the environment; "" if nothing sets it. Names are those of the
// file, such as "forks" or "ssh_args".
func (s *Settings) Origin(name string) string { return s.origins[name] }

// Load finds and reads the settings. The error is an *Error.
func Load(o Options) (*Settings, error) {
	l := &loader{Options: o, env: map[string]string{}, s: &Settings{origins: map[string]string{}}}
	if l.System == "" {
		l.System = "/etc/ansible"
	}
	for _, e := range o.Env {
		if name, value, ok := strings.Cut(e, "="); ok {
			l.env[name] = value
		}
	}
	if err := l.find(); err != nil {
		return nil, err
	}
	for _, known := range settings {
		if err := l.read(known); err != nil {
			return nil, err
		}
	}
	l.unsupported()
	if l.s.Inventory == nil {
		if hosts := filepath.Join(l.System, "hosts"); exists(hosts) {
			l.s.Inventory = []string{hosts}
		}
	}
	return l.s, nil
}

type loader struct {
	Options
	env  map[string]string
	file iniFile
	s    *Settings
}

// find reads the first ansible.cfg of ANSIBLE_CONFIG, the working directory,
// the home and the system.
func (l *loader) find() error {
	var paths []string
	if set, ok := l.env["ANSIBLE_CONFIG"]; ok {
		path := l.path(set, l.Dir)
		if info, err := os.Stat(path); err == nil && info.IsDir() {
			path = filepath.Join(path, "ansible.cfg")
		}
		paths = append(paths, path)
	}
	here := filepath.Join(l.Dir, "ansible.cfg")
	public := false
	if info, err := os.Stat(l.Dir); err == nil {
		if public = info.Mode().Perm()&0o002 != 0; !public {
			paths = append(paths, here)
		}
	}
	if l.Home != "" {
		paths = append(paths, filepath.Join(l.Home, ".ansible.cfg"))
	}
	paths = append(paths, filepath.Join(l.System, "ansible.cfg"))
	i := slices.IndexFunc(paths, readable)
	if public && exists(here) && (i != 0 || l.env["ANSIBLE_CONFIG"] == "") {
		l.s.Warnings = append(l.s.Warnings, here+": passed over, as everybody may write to its directory (Ansible does the same)")
	}
	if i < 0 {
		return nil
	}
	return l.parse(paths[i])
}

func (l *loader) parse(path string) error {
	name := path
	if rel, err := filepath.Rel(l.Dir, path); err == nil && filepath.IsLocal(rel) {
		name = rel
	}
	if ext := filepath.Ext(path); ext != ".cfg" && ext != ".ini" {
		return &Error{File: name, Msg: "only a file ending in .cfg or .ini is read as ansible.cfg"}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return &Error{File: name, Msg: err.Error()}
	}
	if !utf8.Valid(text) {
		return &Error{File: name, Msg: "not UTF-8"}
	}
	l.s.File = path
	l.file, err = parseINI(name, string(text))
	return err
}

func readable(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	f.Close()
	return true
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// path makes a path as Ansible does: variables, ~ and {{CWD}} expanded, then
// absolute, from base.
func (l *loader) path(p, base string) string {
	p = strings.ReplaceAll(p, "{{CWD}}", l.Dir)
	if p == "~" || strings.HasPrefix(p, "~/") {
		p = l.Home + p[1:]
	}
	p = expandVariables(p, l.env)
	if !filepath.IsAbs(p) {
		p = filepath.Join(base, p)
	}
	return filepath.Clean(p)
}

// expandVariables replaces $NAME and ${NAME}; what is not set stays.
func expandVariables(s string, env map[string]string) string {
	var b strings.Builder
	for {
		i := strings.IndexByte(s, '$')
		if i < 0 {
			break
		}
		b.WriteString(s[:i])
		s = s[i:]
		name, size := "", 1
		if end := strings.IndexByte(s, '}'); strings.HasPrefix(s, "${") && end > 0 {
			name, size = s[2:end], end+1
		} else {
			for size < len(s) && (s[size] == '_' || s[size] >= '0' && s[size] <= '9' || s[size]|0x20 >= 'a' && s[size]|0x20 <= 'z') {
				size++
			}
			name = s[1:size]
		}
		if value, ok := env[name]; ok {
			b.WriteString(value)
		} else {
			b.WriteString(s[:size])
		}
		s = s[size:]
	}
	return b.String() + s
}
