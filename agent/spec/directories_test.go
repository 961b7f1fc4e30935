package spec_test

import (
	"reflect"
	"testing"

	"github.com/gofleet/gofleet/agent/spec"
)

func TestDirectories(t *testing.T) {
	s := parse(t, v("directories", list{
		dict{"path": "/opt/app/", "owner": "deploy", "group": "games", "mode": "2775"},
		dict{"path": "/srv/data"},
	}))
	want := []spec.Directory{{Path: "/opt/app", Owner: "deploy", Group: "games", Mode: 0o2775}, {Path: "/srv/data", Owner: "root", Mode: 0o755}}
	if !reflect.DeepEqual(s.Directories, want) {
		t.Errorf("directories are %+v; want %+v", s.Directories, want)
	}
	dirs := func(all ...any) dict { return v("directories", all) }
	at := func(path string, more ...any) dict {
		d := dict{"path": path}
		for i := 0; i < len(more); i += 2 {
			d[more[i].(string)] = more[i+1]
		}
		return d
	}
	tests := []one{
		{vars: dirs()},
		{vars: dirs(at("/opt/a", "owner", "deploy"), at("/opt/a/b", "owner", "deploy"))},
		{vars: dirs(at("/opt/a", "mode", "1777"), at("/opt/a/b", "owner", "deploy"))},
		{vars: dirs(at("/opt/a", "mode", "0775"), at("/opt/ab", "owner", "deploy"))},
		{v("directories", "/opt/app"), "gofleet_directories", "must be a list, not text", "[{path: /opt/app"},
		{dirs("/opt/app"), "gofleet_directories[0]", "must be a dictionary, not text", "[{path: /opt/app"},
		{dirs(dict{"owner": "deploy"}), "gofleet_directories[0]", "has no path", ""},
		{dirs(at("/opt/a", "user", "deploy")), "gofleet_directories[0].user", "unknown key", ""},
		{dirs(at("/opt/a", "mode", int64(493))), "gofleet_directories[0].mode", "must be text in quotes, not a number (493)", `quote it: "0755"`},
		{dirs(at("/opt/a", "mode", "u=rwx")), "gofleet_directories[0].mode", "is not a mode of three or four octal digits", "2775"},
		{dirs(at("/opt/a", "mode", "0789")), "gofleet_directories[0].mode", "is not a mode", "0755"},
		{dirs(at("/opt/a", "mode", "4755")), "gofleet_directories[0].mode", "has the setuid bit", ""},
		{dirs(at("/opt/a", "mode", "0777")), "gofleet_directories[0].mode", "lets everybody replace what is in it", "1777"},
		{dirs(at("/opt/a"), at("/opt/a/")), "gofleet_directories[1].path", "is the path of an entry above", "keep one"},
		{dirs(at("opt/a")), "gofleet_directories[0].path", "is not an absolute path", ""},
		{dirs(at("/opt/../etc")), "gofleet_directories[0].path", "has .. in it", ""},
		{dirs(at("/opt/a b")), "gofleet_directories[0].path", "has a character", "letters"},
		{dirs(at("/usr/local/lib/gofleet/x")), "gofleet_directories[0].path", "where gofleet keeps toolchains", "/opt/app"},
		{dirs(at("/opt/a", "owner", "deploy"), at("/opt/a/b")), "gofleet_directories[1].path", "where deploy could put a link", "same owner"},
		{dirs(at("/opt/a", "owner", "deploy", "group", "games", "mode", "0775"), at("/opt/a/b/c", "owner", "deploy")),
			"gofleet_directories[1].path", "others than its owner could put a link", "right to write"},
	}
	for _, path := range []string{"/", "/etc", "/usr", "/home", "/opt", "/proc/1", "/sys", "/dev/shm/x", "/run/app", "/tmp/app", "/usr/bin/app", "/root", "/var/lib"} {
		tests = append(tests, one{dirs(at(path)), "gofleet_directories[0].path", "the system", "/opt/app"})
	}
	check(t, inventory, tests)
}
