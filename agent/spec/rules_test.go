package spec_test

import (
	"strings"
	"testing"

	"github.com/gofleet/gofleet/agent/spec"
)

// one is a variable with one value, and what Parse says of it: nothing, or the
// first error's path, and parts of its message and hint.
type one struct {
	vars                dict
	path, message, hint string
}

func v(name string, value any) dict { return dict{"gofleet_" + name: value} }

// pre is one precondition.
func pre(name string, value any) dict { return v("preconditions", dict{name: value}) }

// user is the deploy user with one more key.
func user(key string, value any) dict { return v("user", dict{"name": "deploy", key: value}) }

// cmd is one verification command with one more key.
func cmd(key string, value any) dict {
	c := dict{"command": list{"go", "version"}}
	c[key] = value
	return v("verify", dict{"commands": list{c}})
}

func check(t *testing.T, o spec.Options, tests []one) {
	t.Helper()
	for _, tt := range tests {
		_, err := spec.Parse(tt.vars, o)
		if tt.path == "" {
			if err != nil {
				t.Errorf("%v: %v; want no error", tt.vars, err)
			}
			continue
		}
		if err == nil {
			t.Errorf("%v: no error; want one at %s: %s", tt.vars, tt.path, tt.message)
			continue
		}
		first := parseError(t, tt.vars, o)[0]
		if got := spec.PathString(first.Path); got != tt.path {
			t.Errorf("%v: error at %s; want %s", tt.vars, got, tt.path)
		}
		if !strings.Contains(first.Message, tt.message) || !strings.Contains(first.Hint, tt.hint) {
			t.Errorf("%v:\n got %s\nhint %s\nwant %s\nhint %s", tt.vars, first.Message, first.Hint, tt.message, tt.hint)
		}
	}
}

func TestNames(t *testing.T) {
	check(t, inventory, []one{
		{vars: dict{"other_thing": struct{}{}, "gofleet": "x"}},
		{v("go_verison", "1.26.8"), "gofleet_go_verison", "is not a variable of gofleet", "did you mean gofleet_go_version?"},
		{v("precondition", nil), "gofleet_precondition", "is not a variable", "did you mean gofleet_preconditions?"},
		{v("GO_VERSION", "1"), "gofleet_GO_VERSION", "is not a variable", "gofleet_go_version?"},
		{v("completely_different", 1), "gofleet_completely_different", "is not a variable", "docs/variables.md"},
		{v("policy", list{}), "gofleet_policy", "is not yet supported by this gofleet", "later"},
		{v("policy", nil), "gofleet_policy", "is not yet supported by this gofleet", "later"},
		{pre("memroy", dict{}), "gofleet_preconditions.memroy", `unknown key "memroy"`, "did you mean memory?"},
		{pre("memory", dict{"minimum": "2GB"}), "gofleet_preconditions.memory.minimum", "unknown key", "did you mean min?"},
		{user("authorised_keys", list{}), "gofleet_user.authorised_keys", "unknown key", "did you mean authorized_keys?"},
		{cmd("cmd", "x"), "gofleet_verify.commands[0].cmd", "unknown key", "known here: command, user"},
		{v("verify", dict{"levle": "x"}), "gofleet_verify.levle", "unknown key", "did you mean level?"},
		{pre("\x1b[2J", 1), "gofleet_preconditions.\"\\x1b[2J\"", `unknown key "\x1b[2J"`, ""},
	})
}

func TestGoVersion(t *testing.T) {
	var tests []one
	for _, good := range []string{"1.20.3", "1.20", "1.21.0", "1.26.8", "1.27rc1", "1.21rc2", "1.20beta1", "go1.26.8", " 1.26.8 ", "1.9"} {
		tests = append(tests, one{vars: v("go_version", good)})
	}
	for bad, hint := range map[string]string{
		"1.26":       `first release is "1.26.0"; "gofleet fetch 1.26"`,
		"go1.21":     `first release is "1.21.0"`,
		"1.20.0":     `first release has two parts: "1.20"`,
		"1.26.x":     "whole version",
		"1.26.08":    "whole version",
		"1.026.1":    "whole version",
		"1.26.8.1":   "whole version",
		"1.26.8rc1":  "whole version",
		"1.27rc0":    "whole version",
		"1.27rc":     "whole version",
		"1.27-rc1":   "whole version",
		"2.0":        "whole version",
		"1":          "whole version",
		"1.":         "whole version",
		"":           "whole version",
		"latest":     "whole version",
		"v1.26.8":    "whole version",
		"1.99999.1":  "whole version",
		"1.26.8\n\"": "whole version",
		"../1.26.8":  "whole version",
	} {
		tests = append(tests, one{v("go_version", bad), "gofleet_go_version", "is not the name of a Go release", hint})
	}
	check(t, inventory, append(tests,
		one{v("go_version", 1.2), "gofleet_go_version", "was read as the number 1.2", "quote it"},
		one{v("go_version", int64(1)), "gofleet_go_version", "was read as the number 1", "quote it"},
		one{v("go_version", true), "gofleet_go_version", "must be a version in quotes, not a boolean", ""},
		one{v("go_version", list{"1.26.8"}), "gofleet_go_version", "must be a version in quotes, not a list", ""},
		one{v("go_version", "{{ version }}"), "gofleet_go_version", "still holds a template", "value itself"},
	))
}

func TestGoVersionAsWritten(t *testing.T) {
	for raw, tt := range map[string]struct {
		value   any
		message string
		hint    string
	}{
		"1.20": {1.2, "1.20 was read as the number 1.2", `quote it: "1.20"`},
		"1.2":  {1.2, "is a number", `quote it: "1.2"`},
		"1.26": {1.26, "is a number", `quote it: "1.26"; and its first release is "1.26.0"`},
		"1_2":  {int64(12), "1_2 was read as the number 12", `quote it`},
	} {
		o := inventory
		o.Raw = func(path ...string) string {
			if len(path) == 1 && path[0] == "gofleet_go_version" {
				return raw
			}
			return ""
		}
		check(t, o, []one{{v("go_version", tt.value), "gofleet_go_version", tt.message, tt.hint}})
	}
}

func TestRequired(t *testing.T) {
	o := inventory
	o.Required = true
	check(t, o, []one{
		{dict{}, "gofleet_go_version", "is required", `"1.26.8"`},
		{v("go_version", nil), "gofleet_go_version", "is required", ""},
		{vars: v("go_version", "1.26.8")},
	})
	o.Prefix, o.Required = "", false
	check(t, o, []one{{dict{"gofleet_go_version": "1.26.8"}, "gofleet_go_version", "is not a variable", "did you mean go_version?"}})
}

func TestArchives(t *testing.T) {
	check(t, inventory, []one{
		{vars: v("archives", "/srv/archives")},
		{vars: v("archives", "bundle.tar")},
		{vars: v("archives", "http://files.inner:8080/go?x=1")},
		{v("archives", ""), "gofleet_archives", "is empty", "directory"},
		{v("archives", int64(3)), "gofleet_archives", "must be text, not a number (3)", "directory"},
		{v("archives", "ftp://files/go"), "gofleet_archives", `"ftp://" is not a scheme`, "http(s)"},
		{v("archives", "file:///srv"), "gofleet_archives", "is not a scheme", "http(s)"},
		{v("archives", "https://me:secret@files/go"), "gofleet_archives", "has a user or password", "without a password"},
		{v("archives", "https:///go"), "gofleet_archives", "is not a URL", ""},
		{v("archives", "https://files/a b"), "gofleet_archives", "is not a URL", ""},
		{v("archives", "a\nb"), "gofleet_archives", "control character (0x0a)", "one line"},
		{v("archives", "a\xff"), "gofleet_archives", "is not UTF-8", ""},
	})
	if _, err := spec.Parse(v("archives", "https://me:secret@files/go"), inventory); strings.Contains(err.Error(), "secret") {
		t.Errorf("the error shows the password: %v", err)
	}
}

func TestTrustedKeys(t *testing.T) {
	check(t, inventory, []one{
		{vars: v("trusted_keys", list{"any", "../keys/build.pub"})},
		{vars: v("trusted_keys", list{})},
		{v("trusted_keys", "any"), "gofleet_trusted_keys", "must be a list, not text", "list"},
		{v("trusted_keys", list{""}), "gofleet_trusted_keys[0]", "is empty", "list"},
		{v("trusted_keys", list{int64(3)}), "gofleet_trusted_keys[0]", "must be text, not a number (3)", "list"},
	})
}

func TestPins(t *testing.T) {
	check(t, inventory, []one{
		{vars: v("sha256", dict{"linux/amd64": sum, "linux-armv7l": sum, "linux-ppc64le": sum, "linux-s390x": nil})},
		{v("sha256", sum), "gofleet_sha256", "must be a dictionary of platform and sha256, not text", "linux-amd64"},
		{v("sha256", dict{"linux-amd46": sum}), "gofleet_sha256.linux-amd46", "is not a platform", "did you mean linux-amd64?"},
		{v("sha256", dict{"x86_64": sum}), "gofleet_sha256.x86_64", "is not a platform", ""},
		{v("sha256", dict{"windows-amd64": sum}), "gofleet_sha256.windows-amd64", "is not a platform", ""},
		{v("sha256", dict{"linux-amd64": sum, "linux/x86_64": sum}), "gofleet_sha256.linux/x86_64", `same platform as "linux-amd64"`, "one"},
		{v("sha256", dict{"linux-amd64": sum[1:]}), "gofleet_sha256.linux-amd64", "is not a sha256", "64 hexadecimal digits"},
		{v("sha256", dict{"linux-amd64": "g" + sum[1:]}), "gofleet_sha256.linux-amd64", "is not a sha256", "64 hexadecimal digits"},
		{v("sha256", dict{"linux-amd64": ""}), "gofleet_sha256.linux-amd64", "is not a sha256", ""},
		{v("sha256", dict{"linux-amd64": int64(1)}), "gofleet_sha256.linux-amd64", "must be a sha256 in quotes", ""},
	})
}

func TestPlaces(t *testing.T) {
	var tests []one
	for _, good := range []string{"/opt/go", "/home/alice/gofleet", "/srv/go/", "//srv///go", "/opt/go@1", "/tmp/x"} {
		tests = append(tests, one{vars: v("root", good)}, one{vars: v("link", good)})
	}
	for bad, message := range map[string]string{
		"/": "holds other things", "/usr": "holds other things", "/usr/": "holds other things", "/usr/local": "holds other things",
		"/home/alice": "holds other things", "/opt": "holds other things", "/var/lib": "holds other things",
		"/etc/go": "lies in /etc", "/proc/x": "lies in /proc", "/usr/local/bin/go": "lies in /usr/local/bin", "/bin/go": "lies in /bin",
		"opt/go": "is not an absolute path", "~/go": "is not an absolute path", "": "is not an absolute path",
		"/opt/../usr": "has .. in it", "/opt/a b": "has a character", "/opt/a:b": "has a character", "/opt/$x": "has a character",
		"/opt/é": "has a character", "/opt/'": "has a character", "/opt/\n": "control character", "/opt/\x00": "control character",
		"/" + strings.Repeat("x", 1024): "longer than 1024",
	} {
		tests = append(tests, one{v("root", bad), "gofleet_root", message, ""}, one{v("link", bad), "gofleet_link", message, ""})
	}
	check(t, inventory, append(tests,
		one{v("root", "~/go"), "gofleet_root", "", "are not expanded"},
		one{v("link", "/usr/local/lib/gofleet"), "gofleet_link", "cannot lead into itself", ""},
		one{v("link", "/usr/local/lib/gofleet/go1.26.8"), "gofleet_link", "gofleet keeps for itself", "/usr/local/lib/gofleet/go"},
		one{v("link", "/usr/local/lib/gofleet/manifests/x"), "gofleet_link", "gofleet keeps for itself", ""},
		one{v("link", "/usr/local/lib/gofleet/.staging"), "gofleet_link", "gofleet keeps for itself", ""},
		one{vars: v("link", "/usr/local/lib/gofleet/go")},
		one{v("link", "/usr/local/lib/gofleet/current"), "gofleet_link", "gofleet keeps for itself", ""},
		one{v("root", "/usr/local/go"), "gofleet_root", "cannot lead into itself", "side by side"},
		one{v("root", "/usr/local/go/versions"), "gofleet_root", "cannot lead into itself", ""},
		one{v("link", int64(1)), "gofleet_link", "must be text", ""},
	))
}

func TestVerify(t *testing.T) {
	check(t, inventory, []one{
		{vars: v("verify", dict{"level": "Build"})},
		{vars: v("verify", dict{"level": nil, "commands": nil})},
		{vars: cmd("chdir", "/srv/a b")},
		{vars: cmd("command", list{"/usr/bin/env", "", "a\nb"})},
		{v("verify", "build"), "gofleet_verify", "must be a dictionary, not text", "level: build"},
		{v("verify", dict{"level": "biuld"}), "gofleet_verify.level", `must be one of quick, build, cgo, not "biuld"`, "did you mean build?"},
		{v("verify", dict{"level": true}), "gofleet_verify.level", "not a boolean (true)", "quick, build, cgo"},
		{v("verify", dict{"commands": "go version"}), "gofleet_verify.commands", "must be a list, not text", "[{command"},
		{v("verify", dict{"commands": list{"go version"}}), "gofleet_verify.commands[0]", "must be a dictionary", "command: ["},
		{v("verify", dict{"commands": list{dict{"user": "x"}}}), "gofleet_verify.commands[0]", "has no command", ""},
		{cmd("command", "go version"), "gofleet_verify.commands[0].command", `must be a list of a program and its arguments, not "go version"`, "no shell"},
		{cmd("command", list{}), "gofleet_verify.commands[0].command", "must be a list", ""},
		{cmd("command", list{""}), "gofleet_verify.commands[0].command[0]", "is not a program", "absolute"},
		{cmd("command", list{"bin/x"}), "gofleet_verify.commands[0].command[0]", "is not a program", "absolute"},
		{cmd("command", list{"go", "a\x00"}), "gofleet_verify.commands[0].command[1]", "has a NUL byte", ""},
		{cmd("command", list{"go", list{}}), "gofleet_verify.commands[0].command[1]", "must be text, not a list", ""},
		{cmd("command", list{"go", 1.5}), "gofleet_verify.commands[0].command[1]", "was read as a number", "quote"},
		{cmd("user", "no one"), "gofleet_verify.commands[0].user", "cannot be the name of a user", ""},
		{cmd("chdir", "srv"), "gofleet_verify.commands[0].chdir", "is not an absolute path", ""},
		{cmd("timeout", "0s"), "gofleet_verify.commands[0].timeout", "must be above 0", ""},
		{cmd("timeout", "-5m"), "gofleet_verify.commands[0].timeout", "must be above 0", ""},
		{cmd("timeout", int64(-1)), "gofleet_verify.commands[0].timeout", "must be above 0", ""},
		{cmd("timeout", "5"), "gofleet_verify.commands[0].timeout", `must be a duration, not "5"`, "bare number is seconds"},
		{cmd("timeout", "25h"), "gofleet_verify.commands[0].timeout", "at most 24h", ""},
		{cmd("timeout", int64(1<<62)), "gofleet_verify.commands[0].timeout", "the most is 24h", ""},
		{cmd("timeout", list{}), "gofleet_verify.commands[0].timeout", "must be a duration, not a list", ""},
		{cmd("retries", int64(101)), "gofleet_verify.commands[0].retries", "from 0 to 100", ""},
		{cmd("retries", "5"), "gofleet_verify.commands[0].retries", `must be a whole number, not "5"`, ""},
		{cmd("rc", int64(256)), "gofleet_verify.commands[0].rc", "from 0 to 255", ""},
		{cmd("rc", 1.0), "gofleet_verify.commands[0].rc", "must be a whole number", ""},
		{v("keep", int64(-1)), "gofleet_keep", "from 0 to 100", ""},
		{v("keep", "2"), "gofleet_keep", "must be a whole number", ""},
		{v("keep", true), "gofleet_keep", "not a boolean (true)", ""},
	})
}

func TestTemplatesAreNamed(t *testing.T) {
	check(t, inventory, []one{
		{vars: dict{"other": "{{ x }}"}},
		{v("root", "/opt/{{ x }}"), "gofleet_root", "still holds a template", ""},
		{v("environment", dict{"TOKEN": "hunter2-{{ x }}"}), "gofleet_environment.TOKEN", "still holds a template", ""},
		{v("verify", dict{"commands": list{dict{"command": list{"go", "{% if x %}"}}}}), "gofleet_verify.commands[0].command[1]", "template ({{ or {%)", ""},
	})
	if _, err := spec.Parse(v("environment", dict{"TOKEN": "hunter2-{{ x }}"}), inventory); strings.Contains(err.Error(), "hunter2") {
		t.Errorf("the error shows a secret: %v", err)
	}
}
