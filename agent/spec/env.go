package spec

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxValue bounds one value; the kernel refuses an environment string of
// 128 KiB, and nothing that people write comes near.
const maxValue = 32 << 10

// asText reads text, or a number or boolean whose text is certain: one that
// YAML prints exactly as it was written. "on", which YAML reads as true, and
// 1.20, which it reads as 1.2, must be quoted. Errors do not show the value.
func (n *node) asText() (string, bool) {
	var s string
	certain := true
	switch v := n.v.(type) {
	case string:
		s = v
	case bool:
		s = strconv.FormatBool(v)
		certain = n.raw() == s
	case float64:
		s = strconv.FormatFloat(v, 'f', -1, 64)
		certain = n.raw() == s
	case int, int64, uint64, json.Number:
		s = fmt.Sprint(v)
		raw := n.raw()
		certain = raw == "" || raw == s
	default:
		n.fail("quote it", "must be text, not %s", bareKind(n.v))
		return "", false
	}
	if !certain {
		n.fail("quote it", "was read as %s, which may not be what was written", bareKind(n.v))
		return "", false
	}
	switch {
	case !utf8.ValidString(s):
		n.fail("", "is not UTF-8")
	case strings.Contains(s, "\x00"):
		n.fail("", "has a NUL byte")
	case len(s) > maxValue:
		n.fail("", "is longer than %d bytes", maxValue)
	default:
		return s, true
	}
	return "", false
}

// value reads the value of an environment variable, which stands on one line
// of a file.
func (n *node) value() (string, bool) {
	s, ok := n.asText()
	return s, ok && n.printable(strings.ReplaceAll(s, "\t", " "))
}

// isEnvName reports whether s is [A-Za-z_][A-Za-z0-9_]*.
func isEnvName(s string) bool {
	for i, r := range s {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r == '_'
		if !letter && (i == 0 || r < '0' || r > '9') {
			return false
		}
	}
	return s != "" && len(s) <= 255
}

// goEnv reads gofleet_env over the defaults; null takes a default away.
func (n *node) goEnv(env map[string]string) map[string]string {
	m, ok := n.v.(map[string]any)
	if !ok {
		n.fail(`write it like {GOPROXY: "off"}`, "must be a dictionary, not %s", kind(n.v))
		return env
	}
	for name, v := range m {
		c := n.child(name, v)
		if !c.goEnvName(name) {
			continue
		}
		if v == nil {
			delete(env, name)
			continue
		}
		if s, ok := c.value(); ok && c.goEnvValue(name, s) {
			env[name] = s
		}
	}
	if len(env) == 0 {
		return nil
	}
	return env
}

// goEnvName reports an error and false for a name that go.env cannot set.
func (n *node) goEnvName(name string) bool {
	environment := n.p.o.Prefix + "environment"
	switch {
	case name == "GOROOT":
		n.fail("remove it; go finds its own root, and a stale GOROOT breaks builds", "may not be set")
	case slices.Contains(goEnvRead, name):
		n.fail("remove it; go only reports it", "cannot be set")
	case slices.Contains(goEnvProcess, name):
		n.fail("put it in "+environment, "is read from the process environment only")
	case slices.Contains(goEnvNames, name):
		return true
	default:
		hint := "put it in " + environment + ", which is for all other variables"
		if near := Nearest(strings.ToUpper(name), goEnvNames); near != "" && !slices.Contains(goRuntime, name) {
			hint = "did you mean " + near + "? Other variables belong in " + environment
		}
		n.fail(hint, "is not a variable of the go command")
	}
	return false
}

// goEnvValue reports an error and false for values that every later go
// command would stumble over.
func (n *node) goEnvValue(name, value string) bool {
	switch {
	case name == "GO111MODULE" && !slices.Contains([]string{"", "on", "off", "auto"}, value):
		n.fail(`write "on", "off" or "auto"`, "is not a value of GO111MODULE")
	case slices.Contains(goEnvPaths, name) && value != "":
		for _, p := range strings.Split(value, ":") {
			if !strings.HasPrefix(p, "/") {
				n.fail("write an absolute path; ~ and variables are not expanded in go.env", "must be absolute for %s", name)
				return false
			}
		}
		return true
	default:
		return true
	}
	return false
}

// environment reads gofleet_environment; null leaves a variable out.
func (n *node) environment() map[string]string {
	m, ok := n.v.(map[string]any)
	if !ok {
		n.fail("write it like {LOG_LEVEL: info}", "must be a dictionary, not %s", kind(n.v))
		return nil
	}
	var out map[string]string
	for name, v := range m {
		c := n.child(name, v)
		if !c.environmentName(name) || v == nil {
			continue
		}
		if s, ok := c.value(); ok {
			if out == nil {
				out = make(map[string]string, len(m))
			}
			out[name] = s
		}
	}
	return out
}

// environmentName reports an error and false for a name that login shells
// must not get from gofleet.
func (n *node) environmentName(name string) bool {
	switch {
	case !isEnvName(name):
		n.fail("names have letters, digits and _, and do not begin with a digit", "%s is not the name of a variable", quote(name))
	case name == "GOROOT":
		n.fail("remove it; go finds its own root, and a stale GOROOT breaks builds", "may not be set")
	case name == "PATH":
		n.fail("remove it; gofleet adds its directories to PATH", "may not be set")
	case slices.Contains(goEnvRead, name):
		n.fail("remove it; go only reports it", "cannot be set")
	case slices.Contains(goEnvNames, name):
		n.fail("put it in "+n.p.o.Prefix+"env, which reaches cron, systemd and bare ssh commands too", "is a variable of the go command")
	case refusedInEnvironment(name):
		n.fail("remove it; it changes how every login shell or program starts", "may not be set")
	default:
		return true
	}
	return false
}
