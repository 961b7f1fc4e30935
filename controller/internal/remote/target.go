package remote

import (
	"fmt"
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Defaults are what the command line gives for all hosts; variables of a host
// come before them, as with Ansible.
type Defaults struct {
	User           string
	KeyFile        string
	CommonArgs     string // ssh's options where ansible_ssh_common_args says nothing
	Become         bool
	BecomeMethod   string
	BecomeUser     string
	BecomePassword func() (string, error) // asked for with -K; nil: none
}

// VariableError says what is wrong with a variable of a host.
type VariableError struct {
	Variable string
	Message  string
	Hint     string
}

func (e *VariableError) Error() string { return e.Variable + ": " + e.Message }

// TargetFromVars reads the connection and become variables of a host. Errors
// are *VariableError.
func TargetFromVars(name string, vars map[string]any, def Defaults) (Target, error) {
	v := &variables{vars: vars}
	t := Target{Name: name}
	switch c := v.text("ansible_connection"); strings.TrimPrefix(c, "ansible.builtin.") {
	case "", "ssh", "smart", "paramiko", "paramiko_ssh", "ansible.netcommon.libssh":
	case "local":
		t.Local = true
	default:
		v.fail("ansible_connection", fmt.Sprintf("connection %q is not supported", c), "set it to ssh or local")
	}
	if !t.Local {
		v.connection(&t, def)
	}
	t.Become = v.become(def)
	return t, v.err
}

// connection reads what SSH needs. Where Ansible has two names for one thing,
// the one with ssh in it wins, as its plugins do it.
func (v *variables) connection(t *Target, def Defaults) {
	t.Host = v.text("ansible_ssh_host", "ansible_host")
	t.User = v.text("ansible_ssh_user", "ansible_user")
	if t.User == "" {
		t.User = def.User
	}
	if n, ok := v.number("ansible_ssh_port", "ansible_port"); ok {
		if n < 1 || n > 65535 || n != math.Trunc(n) {
			v.fail(v.last, fmt.Sprintf("%v is not a port", n), "give a number from 1 to 65535")
		}
		t.Port = int(n)
	}
	key := v.text("ansible_ssh_private_key_file", "ansible_private_key_file")
	if key == "" {
		key = def.KeyFile
	}
	if key != "" {
		t.KeyFiles = []string{key}
	}
	var given options // of all three; the first value of each counts
	for _, variable := range []string{"ansible_ssh_args", "ansible_ssh_common_args", "ansible_ssh_extra_args"} {
		value := v.text(variable)
		if value == "" && variable == "ansible_ssh_common_args" {
			variable, value = "--ssh-common-args", def.CommonArgs
		}
		words, err := splitWords(value)
		var args sshArgs
		if err == nil {
			args, err = parseArgs(words)
		}
		if err != nil {
			v.fail(variable, err.Error(), "gofleet takes ssh's -o, -i, -l, -p, -J and -F there")
		}
		for _, l := range args.options {
			refused, err := given.apply(l)
			switch {
			case err != nil:
				v.fail(variable, err.Error(), "docs/ssh.md has the options that gofleet takes")
			case refused != "":
				v.fail(variable, fmt.Sprintf("ssh option %s is not supported", l.keyword), refused)
			}
		}
		t.Args = append(t.Args, words...)
	}
	for _, variable := range []string{"ansible_password", "ansible_ssh_password", "ansible_ssh_pass"} {
		if value, ok := v.get(variable); ok && value != "" {
			v.fail(variable, "gofleet logs in with keys only", "take it out and put a public key into the user's ~/.ssh/authorized_keys (ssh-copy-id); a password for become is ansible_become_password")
		}
	}
	t.Timeout = v.duration("ansible_ssh_timeout", "ansible_timeout")
	if n, ok := v.number("ansible_ssh_retries"); ok {
		if n < 0 || n > 1000 || n != math.Trunc(n) {
			v.fail("ansible_ssh_retries", fmt.Sprintf("%v is not a number of retries", n), "")
		}
		retries := int(n)
		t.Retries = &retries
	}
	if tty, ok := v.flag("ansible_ssh_use_tty"); ok {
		t.TTY = &tty
	}
	if check, ok := v.flag("ansible_ssh_host_key_checking", "ansible_host_key_checking"); ok {
		t.AcceptNew = !check
	}
}

// become reads how to become, or nil.
func (v *variables) become(def Defaults) *Become {
	on, ok := v.flag("ansible_become")
	if !ok {
		on = def.Become
	}
	if !on {
		return nil
	}
	b := &Become{Method: v.text("ansible_become_method"), Password: def.BecomePassword}
	if b.Method == "" {
		b.Method = def.BecomeMethod
	}
	method := b.Method
	if i := strings.LastIndexByte(method, '.'); i >= 0 {
		method = method[i+1:]
	}
	if method == "" {
		method = "sudo"
	}
	if _, ok := becomeMethods[method]; !ok {
		v.fail("ansible_become_method", fmt.Sprintf("method %q is not supported", b.Method), "set it to sudo, su or doas")
	}
	// As in Ansible, the method's own variables come before the general ones.
	own := "ansible_" + method + "_"
	if b.User = v.text(own+"user", "ansible_become_user"); b.User == "" {
		b.User = def.BecomeUser
	}
	b.Exe = v.text(own+"exe", "ansible_become_exe")
	b.Flags = v.text(own+"flags", "ansible_become_flags")
	if p := v.secret(own+"pass", own+"password", "ansible_become_pass", "ansible_become_password"); p != "" {
		b.Password = func() (string, error) { return p, nil }
	}
	return b
}

// variables reads typed values and keeps the first error.
type variables struct {
	vars map[string]any
	last string // the variable that was read last
	err  error
}

func (v *variables) fail(variable, message, hint string) {
	if v.err == nil {
		v.err = &VariableError{Variable: variable, Message: message, Hint: hint}
	}
}

func (v *variables) get(name string) (any, bool) {
	value, ok := v.vars[name]
	return value, ok && value != nil
}

// find gives the first of names that is set, and notes it.
func (v *variables) find(names []string) (any, bool) {
	i := slices.IndexFunc(names, func(n string) bool { _, ok := v.get(n); return ok })
	if i < 0 {
		return nil, false
	}
	v.last = names[i]
	value := v.vars[v.last]
	if s, ok := value.(string); ok && (strings.Contains(s, "{{") || strings.Contains(s, "{%")) {
		v.fail(v.last, "its template is not evaluated", "write the value itself")
	}
	return value, true
}

// text reads a string. Numbers are refused: YAML has changed how they were written.
func (v *variables) text(names ...string) string { return v.line(names, true) }

// secret is text that appears in no message.
func (v *variables) secret(names ...string) string { return v.line(names, false) }

func (v *variables) line(names []string, shown bool) string {
	value, ok := v.find(names)
	if !ok {
		return ""
	}
	s, ok := value.(string)
	switch {
	case !ok:
		what := "it"
		if shown {
			what = fmt.Sprint(value)
		}
		v.fail(v.last, fmt.Sprintf("%s is %s, not a string", what, kindOf(value)), "put it in quotes")
	case strings.ContainsAny(s, "\n\r\x00"):
		v.fail(v.last, "it holds a line break", "write it in one line")
	}
	return s
}

func (v *variables) number(names ...string) (float64, bool) {
	value, ok := v.find(names)
	if !ok {
		return 0, false
	}
	switch n := value.(type) {
	case int:
		return float64(n), true
	case int64:
		return float64(n), true
	case float64:
		return n, true
	case *big.Int:
		f, _ := n.Float64()
		return f, true
	case string:
		if f, err := strconv.ParseFloat(strings.TrimSpace(n), 64); err == nil {
			return f, true
		}
	}
	v.fail(v.last, fmt.Sprintf("%v is not a number", value), "")
	return 0, false
}

func (v *variables) duration(names ...string) time.Duration {
	n, ok := v.number(names...)
	if !ok {
		return 0
	}
	const day = 24 * 60 * 60
	if n <= 0 || n > day {
		v.fail(v.last, fmt.Sprintf("%v is not a number of seconds above 0", n), "")
		return 0
	}
	return time.Duration(n * float64(time.Second))
}

// flag reads Ansible's truth: yes, on, 1, true and t.
func (v *variables) flag(names ...string) (value, ok bool) {
	found, ok := v.find(names)
	if !ok {
		return false, false
	}
	switch b := found.(type) {
	case bool:
		return b, true
	case int64, int, float64:
		switch fmt.Sprint(b) {
		case "1":
			return true, true
		case "0":
			return false, true
		}
	case string:
		switch strings.ToLower(strings.TrimSpace(b)) {
		case "yes", "on", "1", "true", "t", "y":
			return true, true
		case "no", "off", "0", "false", "f", "n":
			return false, true
		}
	}
	v.fail(v.last, fmt.Sprintf("%v is neither true nor false", found), "write true or false")
	return false, false
}

func kindOf(value any) string {
	switch value.(type) {
	case bool:
		return "a boolean"
	case []any:
		return "a list"
	case map[string]any:
		return "a dictionary"
	}
	return "a number"
}
