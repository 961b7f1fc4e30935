package inventory

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"
)

// TestScriptErrors has programs that fail, each in its own way.
func TestScriptErrors(t *testing.T) {
	const list = "#!/bin/sh\necho '"
	tests := []struct{ name, text, want, hint string }{
		{"fails", "#!/bin/sh\necho no such cloud >&2\nexit 3\n", "inv.sh: inv.sh --list failed: exit status 3; it said:\nno such cloud", ""},
		{"prints nothing", "#!/bin/sh\n", "inv.sh --list: it printed nothing", "JSON"},
		{"garbage", list + "{\"a\":\n [}'\n", "inv.sh --list:2: its output is not JSON: {\"a\":", "by hand"},
		{"a list", list + "[1]'\n", "inv.sh --list:1: its output has to be a dictionary of groups, and this is a list", ""},
		{"no UTF-8", "#!/bin/sh\nprintf '\\377'\n", "inv.sh --list:1: its output is not UTF-8", ""},
		{"hosts", list + "{\"web\": {\"hosts\": \"a\"}}'\n", "inv.sh --list:1: the hosts of the group web have to be a list, and this is a string", ""},
		{"host number", list + "{\"web\": [1]}'\n", "inv.sh --list:1: a host of the group web has to have a name, and this is an integer", ""},
		{"vars", list + "{\"web\": {\"vars\": []}}'\n", "inv.sh --list:1: vars of the group web has to be a dictionary, and this is a list", ""},
		{"children", list + "{\"web\": {\"children\": \"a\"}}'\n", "inv.sh --list:1: children of the group web has to be a list", ""},
		{"meta", list + "{\"_meta\": []}'\n", "inv.sh --list:1: _meta has to be a dictionary", ""},
		{"hostvars", list + "{\"_meta\": {\"hostvars\": []}}'\n", "inv.sh --list:1: _meta.hostvars has to be a dictionary", ""},
		{"host variables", list + "{\"w\": [\"h\"], \"_meta\": {\"hostvars\": {\"h\": 5}}}'\n", "inv.sh --list:1: the variables of the host h have to be a dictionary", ""},
		{"loop", list + "{\"a\": {\"children\": [\"b\"]}, \"b\": {\"children\": [\"a\"]}}'\n", "inv.sh --list:1: the group a can't be a child of b", ""},
		{"host fails", "#!/bin/sh\n[ $1 = --list ] && echo '{\"w\": [\"h\"]}'\n", "inv.sh: inv.sh --host h failed: exit status 1", ""},
		{"no program", "chmod +x\n\x7fELF\x00", "inv.sh: start it: exec format error", ""},
		{"no interpreter", "#!/nonexistent/python\n", "inv.sh: start it: no such file", "its first line names"},
		{"not executable", "chmod -x\n#!/bin/sh\necho {}\n", "inv.sh: a program that may not be executed", "chmod +x inv.sh"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := site(t, map[string]string{"inv.sh": test.text}, Options{Sources: []string{"inv.sh"}, Env: os.Environ()})
			checkError(t, err, test.want, test.hint)
		})
	}
}

// TestScriptBounds: a program has neither all the time nor all the memory,
// gets the environment that it is given, and what it says is made safe.
func TestScriptBounds(t *testing.T) {
	o := func(env ...string) Options {
		return Options{Sources: []string{"inv.sh"}, Env: append(env, "PATH="+os.Getenv("PATH")), ProgramTimeout: time.Minute}
	}
	slow := o()
	slow.ProgramTimeout = 100 * time.Millisecond
	_, err := site(t, map[string]string{"inv.sh": "#!/bin/sh\nsleep 1000\n"}, slow)
	checkError(t, err, "inv.sh: inv.sh --list did not end within 100ms", "")

	_, err = site(t, map[string]string{"inv.sh": "#!/bin/sh\ntail -c 300000000 /dev/zero\n"}, o())
	checkError(t, err, "inv.sh: inv.sh --list printed more than 256 MiB", "")

	inv := mustLoad(t, map[string]string{
		"inv.sh": "#!/bin/sh\nprintf 'look \\033[31mout\\n' >&2\necho \"{\\\"w\\\": {\\\"hosts\\\": [\\\"$NAME\\\"]}, \\\"_meta\\\": {\\\"hostvars\\\": {}}}\"\n",
	}, o("NAME=given"))
	if _, err := inv.Host("given"); err != nil {
		t.Error(err)
	}
	if w := strings.Join(inv.Warnings(), "|"); w != "inv.sh: it said: look ?[31mout" {
		t.Errorf("warnings are %q", w)
	}

	ctx, cancel := context.WithCancel(t.Context())
	dir := corpusCase{files: map[string]string{"inv.sh": "#!/bin/sh\n: > started\nsleep 1000\n"}}.write(t)
	go func() {
		for ctx.Err() == nil {
			if _, err := os.Stat(dir + "/started"); err == nil {
				cancel()
			}
			time.Sleep(time.Millisecond)
		}
	}()
	canceled := o()
	canceled.Dir = dir
	if _, err := Load(ctx, canceled); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
}

// TestSettings are what ansible.cfg may change about sources.
func TestSettings(t *testing.T) {
	files := map[string]string{
		"inv/a.yaml":     "web: {hosts: {a: }}\n",
		"inv/b.skip":     "b\n",
		"inv/c.txt":      "c\n",
		"inv/old_d.yaml": "[x\n",
		"named.yaml":     "web-1: {hosts: {n: }}\n1x: {children: {a.b: }}\n",
		"ini":            "[web-1]\nn\n[web_1:vars]\na=1\n",
	}
	hosts := func(o Options, want string) {
		t.Helper()
		inv := mustLoad(t, files, o)
		text, err := inv.HostsText("all", "")
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(strings.Fields(text)[2:], " "); got != want {
			t.Errorf("%v: hosts are %q, want %q", o.Settings, got, want)
		}
	}
	hosts(Options{Sources: []string{"inv"}, Settings: Settings{
		IgnoreExtensions: []string{".skip"}, IgnorePatterns: []string{"^old_"}}}, "c a")
	hosts(Options{Sources: []string{"n[1:3],m"}, Settings: Settings{Plugins: []string{"advanced_host_list"}}}, "n1 n2 n3 m")
	hosts(Options{Sources: []string{"n[1:3],m"}}, "n[1:3] m")
	list := mustLoad(t, nil, Options{Sources: []string{"n[1:3],m"}})
	if w := strings.Join(list.Warnings(), "|"); !strings.Contains(w, "n[1:3] is taken for the name of one host") {
		t.Errorf("warnings are %q", w)
	}

	inv := mustLoad(t, files, Options{Sources: []string{"named.yaml", "ini"}, Settings: Settings{SafeGroupNames: true}})
	graph, err := inv.GraphText("", false)
	if want := "@all:\n  |--@ungrouped:\n  |--@web_1:\n  |  |--n\n  |--@_x:\n  |  |--@a_b:\n"; err != nil || graph != want {
		t.Errorf("groups with safe names are\n%swant\n%s%v", graph, want, err)
	}
	for _, test := range []struct {
		o    Options
		want string
	}{
		{Options{Sources: []string{"ini"}, Settings: Settings{Plugins: []string{"yaml"}}}, "ini:1: an inventory is a dictionary of groups"},
		{Options{Sources: []string{"inv/c.txt"}, Settings: Settings{Plugins: []string{"yaml"}}}, "inv/c.txt: none of the enabled inventory plugins"},
		{Options{Sources: []string{"a,"}, Settings: Settings{Plugins: []string{"yaml"}}}, "-i a,: no inventory plugin that reads lists"},
		{Options{Sources: []string{"inv"}, Settings: Settings{IgnorePatterns: []string{"(?!x)"}}}, `the inventory's ignore pattern "(?!x)" can't be used`},
	} {
		_, err := site(t, files, test.o)
		checkError(t, err, test.want, "")
	}
}
