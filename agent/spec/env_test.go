package spec_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/gofleet/gofleet/agent/spec"
)

func env(name string, value any) dict         { return v("env", dict{name: value}) }
func environment(name string, value any) dict { return v("environment", dict{name: value}) }

func TestGoEnv(t *testing.T) {
	check(t, inventory, []one{
		{vars: env("GOPROXY", "https://proxy.inner|direct")},
		{vars: env("GOPROXY", "")},
		{vars: env("GOPATH", "/srv/go:/srv/more")},
		{vars: env("GO111MODULE", "on")},
		{vars: env("CC", "gcc -m64")},
		{v("env", list{}), "gofleet_env", "must be a dictionary, not a list", "GOPROXY"},
		{env("GOROOT", "/usr/local/go"), "gofleet_env.GOROOT", "may not be set", "stale"},
		{env("GOVERSION", "x"), "gofleet_env.GOVERSION", "cannot be set", "only reports"},
		{env("GODEBUG", "x"), "gofleet_env.GODEBUG", "process environment only", "gofleet_environment"},
		{env("GOWORK", "off"), "gofleet_env.GOWORK", "process environment only", "gofleet_environment"},
		{env("GOMAXPROCS", "4"), "gofleet_env.GOMAXPROCS", "is not a variable of the go command", "put it in gofleet_environment"},
		{env("HTTPS_PROXY", "x"), "gofleet_env.HTTPS_PROXY", "is not a variable of the go command", "gofleet_environment"},
		{env("GOPROXXY", "x"), "gofleet_env.GOPROXXY", "is not a variable of the go command", "did you mean GOPROXY?"},
		{env("goproxy", "x"), "gofleet_env.goproxy", "is not a variable of the go command", "did you mean GOPROXY?"},
		{env("GOPATH", "~/go"), "gofleet_env.GOPATH", "must be absolute for GOPATH", "not expanded"},
		{env("GOPATH", "/a:b"), "gofleet_env.GOPATH", "must be absolute", ""},
		{env("GOCACHE", "$HOME/x"), "gofleet_env.GOCACHE", "must be absolute", "not expanded"},
		{env("GO111MODULE", "yes"), "gofleet_env.GO111MODULE", "is not a value", `"on", "off" or "auto"`},
		{env("GO111MODULE", true), "gofleet_env.GO111MODULE", "was read as a boolean", "quote it"},
		{env("GOFLAGS", "a\nb"), "gofleet_env.GOFLAGS", "control character (0x0a)", "one line"},
		{env("GOFLAGS", "a\x00"), "gofleet_env.GOFLAGS", "NUL", ""},
		{env("GOFLAGS", "a\x1b"), "gofleet_env.GOFLAGS", "control character", ""},
		{env("GOFLAGS", "a\xff"), "gofleet_env.GOFLAGS", "UTF-8", ""},
		{env("GOFLAGS", strings.Repeat("x", 32<<10+1)), "gofleet_env.GOFLAGS", "longer than 32768 bytes", ""},
		{env("GOFLAGS", list{}), "gofleet_env.GOFLAGS", "must be text, not a list", ""},
		{env("GOARM", 7.5), "gofleet_env.GOARM", "was read as a number", "quote"},
	})
}

// TestGoEnvKeepsDefaults: a dictionary given partly keeps GOTOOLCHAIN, and
// null takes it away.
func TestGoEnvKeepsDefaults(t *testing.T) {
	for _, tt := range []struct {
		given dict
		want  map[string]string
	}{
		{dict{}, map[string]string{"GOTOOLCHAIN": "local"}},
		{dict{"GOPROXY": "off"}, map[string]string{"GOTOOLCHAIN": "local", "GOPROXY": "off"}},
		{dict{"GOTOOLCHAIN": "auto"}, map[string]string{"GOTOOLCHAIN": "auto"}},
		{dict{"GOTOOLCHAIN": nil}, nil},
	} {
		if got := parse(t, v("env", tt.given)).Env; !reflect.DeepEqual(got, tt.want) {
			t.Errorf("gofleet_env %v gives %v; want %v", tt.given, got, tt.want)
		}
	}
}

func TestEnvironment(t *testing.T) {
	tests := []one{
		{vars: environment("_x9", "")},
		{vars: environment("GOMEMLIMIT", "1GiB")},
		{vars: environment("GOWORK", "off")},
		{vars: environment("HTTPS_PROXY", "http://proxy:3128")},
		{vars: environment("TMPDIR", "/srv/tmp")},
		{v("environment", "X=1"), "gofleet_environment", "must be a dictionary", "LOG_LEVEL"},
		{environment("GOPROXY", "off"), "gofleet_environment.GOPROXY", "is a variable of the go command", "put it in gofleet_env,"},
		{environment("CGO_ENABLED", "0"), "gofleet_environment.CGO_ENABLED", "is a variable of the go command", "gofleet_env,"},
		{environment("GOVERSION", "x"), "gofleet_environment.GOVERSION", "cannot be set", ""},
		{environment("GOROOT", nil), "gofleet_environment.GOROOT", "may not be set", "stale"},
		{environment("PATH", "/bin"), "gofleet_environment.PATH", "may not be set", "adds"},
		{environment("X", "a'\nid"), "gofleet_environment.X", "control character", "one line"},
		{environment("X", "a\rb"), "gofleet_environment.X", "control character", "one line"},
		{environment("X", "a\x00b"), "gofleet_environment.X", "NUL", ""},
		{environment("X", true), "gofleet_environment.X", "was read as a boolean", "quote it"},
	}
	for _, bad := range []string{"", "9X", "A-B", "A B", "A;id", "É", "A=B", "$(id)", strings.Repeat("X", 256)} {
		tests = append(tests, one{environment(bad, "x"), spec.PathString([]string{"gofleet_environment", bad}), "is not the name of a variable", "letters"})
	}
	for _, bad := range []string{
		"LD_PRELOAD", "LD_LIBRARY_PATH", "LD_AUDIT", "BASH_ENV", "BASH_FUNC_x", "ENV", "IFS", "SHELLOPTS", "BASHOPTS", "PS4",
		"PROMPT_COMMAND", "CDPATH", "GLOBIGNORE", "HOME", "USER", "LOGNAME", "SHELL", "UID", "GCONV_PATH", "GLIBC_TUNABLES",
		"MALLOC_TRACE", "SUDO_ASKPASS", "PERL5OPT", "PYTHONSTARTUP", "RUBYOPT", "ZDOTDIR", "_",
	} {
		tests = append(tests, one{environment(bad, "x"), "gofleet_environment." + bad, "may not be set", "remove it"})
	}
	check(t, inventory, tests)
}

// TestValuesAsWritten: a number or boolean is its text where YAML changes
// nothing, and must be quoted where it does.
func TestValuesAsWritten(t *testing.T) {
	for _, tt := range []struct {
		raw   string
		value any
		want  string // "" is an error
	}{
		{"5", int64(5), "5"},
		{"", int64(5), "5"},
		{"0644", int64(420), ""},
		{"1_000", int64(1000), ""},
		{"1:30", int64(90), ""},
		{"0.5", 0.5, "0.5"},
		{"1.20", 1.2, ""},
		{"", 0.5, ""},
		{"true", true, "true"},
		{"True", true, ""},
		{"on", true, ""},
		{"", false, ""},
	} {
		o := inventory
		o.Raw = func(path ...string) string {
			if !reflect.DeepEqual(path, []string{"gofleet_environment", "X"}) {
				t.Errorf("Raw asked for %q", path)
			}
			return tt.raw
		}
		s, err := spec.Parse(environment("X", tt.value), o)
		switch {
		case tt.want == "" && err == nil:
			t.Errorf("%q read as %v: no error", tt.raw, tt.value)
		case tt.want != "" && (err != nil || s.Environment["X"] != tt.want):
			t.Errorf("%q read as %v: %v, %v; want %q", tt.raw, tt.value, s, err, tt.want)
		case err != nil && strings.Contains(err.Error(), "420"):
			t.Errorf("the error shows a value: %v", err)
		}
	}
}

func TestEnvironmentFiles(t *testing.T) {
	in := func(files any, value string) dict {
		return dict{"gofleet_environment_files": files, "gofleet_environment": dict{"A": value}}
	}
	check(t, inventory, []one{
		{vars: in(list{"systemd", "profile", "environment"}, `two words $HOME ~`)},
		{vars: in(list{"systemd"}, `"quotes" \ #`)},
		{vars: in(list{"profile"}, `% " # '`)},
		{in("profile", "x"), "gofleet_environment_files", "must be a list, not text", "[profile"},
		{in(list{"profil"}, "x"), "gofleet_environment_files[0]", "must be one of profile, environment, systemd", "did you mean profile?"},
		{in(list{"systemd", "systemd"}, "x"), "gofleet_environment_files[1]", "names systemd twice", "keep one"},
		{in(list{}, "x"), "gofleet_environment", "reaches nobody", "[profile]"},
		{in(list{"environment"}, "a#secret"), "gofleet_environment.A", `has "#", which /etc/environment cannot express`, "drop environment from gofleet_environment_files"},
		{in(list{"environment"}, `it's`), "gofleet_environment.A", `has "'"`, "another value"},
		{in(list{"environment"}, strings.Repeat("x", 1000)), "gofleet_environment.A", "too long for /etc/environment", ""},
		{in(list{"profile", "systemd"}, "100%"), "gofleet_environment.A", "has %", "drop systemd"},
	})
	if s := parse(t, in(list{"systemd", "profile"}, "x")); !reflect.DeepEqual(s.EnvironmentFiles, []string{"profile", "systemd"}) {
		t.Errorf("files %q", s.EnvironmentFiles)
	}
}
