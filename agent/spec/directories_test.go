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

func TestCache(t *testing.T) {
	cache := func(more ...any) dict {
		d := dict{"build": "/srv/go/build", "group": "ci"}
		for i := 0; i < len(more); i += 2 {
			d[more[i].(string)] = more[i+1]
		}
		return v("cache", d)
	}
	with := func(vars dict, name string, value any) dict {
		vars["gofleet_"+name] = value
		return vars
	}
	s := parse(t, cache("modcache", "/srv/go/mod"))
	want := []spec.Directory{{Path: "/srv/go/mod", Owner: "root", Group: "ci", Mode: 0o2775}, {Path: "/srv/go/build", Owner: "root", Group: "ci", Mode: 0o2775}}
	if !reflect.DeepEqual(s.Directories, want) || s.Env["GOCACHE"] != "/srv/go/build" || s.Env["GOMODCACHE"] != "/srv/go/mod" {
		t.Errorf("directories %+v, env %v", s.Directories, s.Env)
	}
	check(t, inventory, []one{
		{vars: cache("mode", "2770")},
		{vars: with(cache(), "env", dict{"GOCACHE": "/srv/go/build"})},
		{vars: with(cache(), "directories", list{dict{"path": "/srv/go"}})},
		{v("cache", "/srv"), "gofleet_cache", "must be a dictionary", "group: ci"},
		{v("cache", dict{"build": "/srv/b"}), "gofleet_cache", "has no group", ""},
		{v("cache", dict{"group": "ci"}), "gofleet_cache", "has neither modcache nor build", ""},
		{cache("mode", "0775"), "gofleet_cache.mode", "would not be the group's", "2775"},
		{cache("mode", "2755"), "gofleet_cache.mode", "does not let the group write", "2775"},
		{cache("mode", int64(2775)), "gofleet_cache.mode", "must be text in quotes", ""},
		{cache("mode", "2777"), "gofleet_cache.mode", "lets everybody replace", ""},
		{cache("modcache", "/srv/go/build/mod"), "gofleet_cache.build", "lies in modcache", "side by side"},
		{cache("build", "/tmp/x"), "gofleet_cache.build", "lies in /tmp", ""},
		{cache("build", "/usr/local/lib/gofleet/b"), "gofleet_cache.build", "where gofleet keeps toolchains", ""},
		{with(cache(), "env", dict{"GOCACHE": "/other"}), "gofleet_cache.build", "contradicts GOCACHE in gofleet_env", "one of the two"},
		{with(cache(), "directories", list{dict{"path": "/srv/go/build"}}), "gofleet_cache.build", "is in gofleet_directories too", "drop it"},
		{with(cache(), "directories", list{dict{"path": "/srv/go", "owner": "deploy"}}), "gofleet_cache.build", "others than root could put a link", "give /srv/go to root"},
		{with(cache(), "directories", list{dict{"path": "/srv/go/build/x"}}), "gofleet_cache.build", "where the group could put a link", ""},
	})
}
