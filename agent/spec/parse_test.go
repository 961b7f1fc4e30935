package spec_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/gofleet/gofleet/agent/spec"
)

const (
	ed25519Key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f alice@desk"
	sum        = "979694c2c25c735755bf26f4f45e19e64e4811d661dd07b8c010f7a8e18adfca"
)

type (
	dict = map[string]any
	list = []any
)

var inventory = spec.Options{Prefix: "gofleet_"}

func parse(t *testing.T, vars dict) *spec.Spec {
	t.Helper()
	s, err := spec.Parse(vars, inventory)
	if err != nil {
		t.Fatalf("Parse: %v", err)
	}
	return s
}

func TestDefaults(t *testing.T) {
	got := parse(t, dict{"ansible_host": "10.0.0.1", "http_port": int64(80)})
	want := &spec.Spec{
		Archives:         "../archives",
		Root:             "/usr/local/lib/gofleet",
		Link:             "/usr/local/go",
		Keep:             2,
		EnvironmentFiles: []string{spec.EnvironmentProfile},
		Env:              map[string]string{"GOTOOLCHAIN": "local"},
		Verify:           spec.Verify{Level: "quick"},
		Preconditions: spec.Preconditions{
			OS:     []string{"linux"},
			Arch:   []string{"x86_64", "aarch64"},
			Kernel: &spec.VersionRange{Min: "4.14"},
			Glibc:  &spec.VersionRange{Min: "2.28"},
			CPUs:   &spec.Amount{Min: 1, Recommended: 4},
			Memory: &spec.Amount{Min: 2_000_000_000, Recommended: 8_000_000_000},
			Disk:   &spec.Amount{Min: 1_000_000_000},
			Inodes: &spec.Amount{Min: 20000},
			Noexec: "fail",
			Clock:  &spec.Clock{MaxSkew: 5 * time.Minute},
		},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("defaults\n got %+v\nwant %+v", got, want)
	}
}

// everything sets every variable to something that is not its default.
func everything() dict {
	return dict{
		"gofleet_go_version": "go1.26.8",
		"gofleet_archives":   "https://files.inner/go",
		"gofleet_sha256":     dict{"linux-x86_64": strings.ToUpper(sum), "linux/arm64": sum},
		"gofleet_root":       "/opt//go/",
		"gofleet_link":       "/opt/go/go",
		"gofleet_keep":       int64(0),
		"gofleet_env":        dict{"GOPROXY": "off", "CGO_ENABLED": int64(0), "GOFLAGS": "-mod=vendor -p 2"},
		"gofleet_environment": dict{
			"LOG_LEVEL": "debug", "GOMAXPROCS": int64(4), "GODEBUG": "madvdontneed=1", "GREETING": "it's\tfine", "NOT_SET": nil,
		},
		"gofleet_environment_files": list{"systemd", "profile"},
		"gofleet_uniform":           list{"zone", "kernel", "zone"},
		"gofleet_verify": dict{"level": "cgo", "commands": list{
			dict{"command": list{"go", "test", int64(1)}, "user": "deploy", "chdir": "/srv/app/", "timeout": "5m", "retries": int64(2), "rc": int64(3)},
			dict{"command": list{"/usr/bin/true"}, "timeout": int64(90)},
		}},
		"gofleet_user": dict{
			"name": "deploy", "shell": "/bin/sh", "groups": list{"docker", "docker", "adm"},
			"authorized_keys": list{ed25519Key + "\n", ed25519Key},
			"sudo":            list{"/usr/bin/systemctl  restart app.service", `/usr/bin/id ""`},
		},
		"gofleet_preconditions": dict{
			"os": list{"Linux"}, "arch": list{"amd64", "x86_64", "armv7l"},
			"kernel": dict{"min": "5.4", "recommended": "5.15"},
			"glibc":  nil,
			"cpus":   dict{"min": int64(8)},
			"memory": dict{"recommended": "16GiB"},
			"disk":   dict{"min": "1.5GB", "recommended": int64(4_000_000_000)},
			"inodes": dict{"min": nil},
			"noexec": "warn",
			"clock":  dict{"max_skew": "30s"},
			"distributions": dict{
				"required":    list{"Ubuntu >= 20.04", "redhat>=8,<10", "debian"},
				"recommended": list{"ubuntu=22.04"},
			},
			"commands": list{"gcc", dict{"name": "git", "min": "2.30"}, dict{"name": "g++"}},
			"cgo":      dict{"min": "8.5", "pkg_config": false},
		},
	}
}

func TestEverything(t *testing.T) {
	got := parse(t, everything())
	want := &spec.Spec{
		GoVersion:        "1.26.8",
		Archives:         "https://files.inner/go",
		SHA256:           map[spec.Platform]string{{OS: "linux", Arch: "amd64"}: sum, {OS: "linux", Arch: "arm64"}: sum},
		Root:             "/opt/go",
		Link:             "/opt/go/go",
		Keep:             0,
		Env:              map[string]string{"GOTOOLCHAIN": "local", "GOPROXY": "off", "CGO_ENABLED": "0", "GOFLAGS": "-mod=vendor -p 2"},
		Environment:      map[string]string{"LOG_LEVEL": "debug", "GOMAXPROCS": "4", "GODEBUG": "madvdontneed=1", "GREETING": "it's\tfine"},
		EnvironmentFiles: []string{spec.EnvironmentProfile, spec.EnvironmentSystemd},
		Uniform:          []string{spec.UniformKernel, spec.UniformZone},
		Verify: spec.Verify{Level: "cgo", Commands: []spec.Command{
			{Command: []string{"go", "test", "1"}, User: "deploy", Chdir: "/srv/app", Timeout: 5 * time.Minute, Retries: 2, RC: 3},
			{Command: []string{"/usr/bin/true"}, Timeout: 90 * time.Second},
		}},
		User: &spec.User{
			Name: "deploy", Shell: "/bin/sh", Groups: []string{"docker", "adm"},
			AuthorizedKeys: []string{ed25519Key},
			Sudo:           []string{"/usr/bin/systemctl restart app.service", `/usr/bin/id ""`},
		},
		Preconditions: spec.Preconditions{
			OS:     []string{"linux"},
			Arch:   []string{"x86_64", "armv7l"},
			Kernel: &spec.VersionRange{Min: "5.4", Recommended: "5.15"},
			CPUs:   &spec.Amount{Min: 8},
			Memory: &spec.Amount{Min: 2e9, Recommended: 16 << 30},
			Disk:   &spec.Amount{Min: 1.5e9, Recommended: 4e9},
			Noexec: "warn",
			Clock:  &spec.Clock{MaxSkew: 30 * time.Second},
			Distributions: &spec.Distributions{
				Required:    []string{"ubuntu>=20.04", "rhel>=8,<10", "debian"},
				Recommended: []string{"ubuntu==22.04"},
			},
			Commands: []spec.CommandRequirement{{Name: "gcc"}, {Name: "git", Min: "2.30"}, {Name: "g++"}},
			Cgo:      &spec.Cgo{Min: "8.5", CXX: true},
		},
	}
	if !reflect.DeepEqual(got, want) {
		g, _ := json.MarshalIndent(got, "", " ")
		w, _ := json.MarshalIndent(want, "", " ")
		t.Errorf("got %s\nwant %s", g, w)
	}
}

func TestRoundTrip(t *testing.T) {
	for name, vars := range map[string]dict{"defaults": {}, "everything": everything()} {
		t.Run(name, func(t *testing.T) { roundTrip(t, parse(t, vars)) })
	}
}

func roundTrip(t *testing.T, s *spec.Spec) {
	t.Helper()
	b, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	var back spec.Spec
	if err := json.Unmarshal(b, &back); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(s, &back) {
		t.Errorf("round trip changed the spec:\n%+v\n%+v", s, back)
	}
}

func TestEveryErrorAtOnce(t *testing.T) {
	_, err := spec.Parse(dict{
		"gofleet_go_version":    "1.26",
		"gofleet_rot":           "/opt",
		"gofleet_modules":       list{},
		"gofleet_preconditions": dict{"memroy": dict{}, "memory": dict{"min": "2 GBB"}},
		"gofleet_user":          dict{"name": "deploy", "authorized_keys": list{"x", "y"}},
	}, inventory)
	var errs spec.Errors
	if !errors.As(err, &errs) {
		t.Fatalf("error is %T: %v", err, err)
	}
	got := make([]string, len(errs))
	for i, e := range errs {
		got[i] = spec.PathString(e.Path)
	}
	want := []string{
		"gofleet_go_version", "gofleet_modules", "gofleet_preconditions.memory.min", "gofleet_preconditions.memroy",
		"gofleet_rot", "gofleet_user.authorized_keys[0]", "gofleet_user.authorized_keys[1]",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("paths\n got %q\nwant %q", got, want)
	}
	if lines := strings.Split(err.Error(), "\n"); len(lines) != len(want) {
		t.Errorf("%d lines for %d errors:\n%s", len(lines), len(want), err)
	}
}
