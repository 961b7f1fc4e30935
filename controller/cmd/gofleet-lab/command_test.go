//go:build linux

package main

import (
	"bytes"
	"context"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/gofleet/gofleet/controller/internal/lab"
)

func TestMain(m *testing.M) {
	lab.Main()
	os.Exit(m.Run())
}

// run executes one command line and returns what it printed.
func run(t *testing.T, args ...string) (stdout string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var out, errs bytes.Buffer
	cmd := command()
	cmd.SetArgs(args)
	cmd.SetIn(strings.NewReader("input"))
	cmd.SetOut(&out)
	cmd.SetErr(&errs)
	err = cmd.ExecuteContext(ctx)
	t.Logf("gofleet-lab %s\n%s%s", strings.Join(args, " "), out.String(), errs.String())
	return out.String(), err
}

func TestCommands(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: hosts are namespaces and mounts")
	}
	dir := t.TempDir()
	in := func(args ...string) []string { return append([]string{"--dir", dir}, args...) }
	defer run(t, in("down")...)
	for _, step := range []struct {
		args  []string
		want  string // a regular expression
		fails string
	}{
		{args: in("inventory"), fails: "no lab default"},
		{args: in("up", "2", "--with", "os=rocky:8.9", "--host", "h2:no-sudo"), want: `^h1\t10\.213\.\d+\.2\nh2\t10\.213\.\d+\.3\n$`},
		{args: in("up", "2"), fails: "up already"},
		{args: in("list"), want: `^default\th1\t10\.213\.\d+\.2\tup\ndefault\th2\t10\.213\.\d+\.3\tup\n$`},
		{args: in("inventory"), want: `(?s)^lab:\n.*ansible_user: admin\n.*    h2:\n      ansible_host: 10\.213\.\d+\.3\n$`},
		{args: in("inventory", "--path"), want: `^` + regexp.QuoteMeta(dir) + `/default/inventory.yaml\n$`},
		{args: in("exec", "h1", "sh", "-c", "cat; . /etc/os-release; echo $ID; ls /usr/bin/sudo"), want: `^inputrocky\n/usr/bin/sudo\n$`},
		{args: in("exec", "h2", "ls", "/usr/bin/sudo"), fails: "exit status 2"},
		{args: in("exec", "h3", "true"), fails: "no host h3"},
		{args: in("reboot", "h1")},
		{args: in("down")},
		{args: in("down")},
		{args: in("list"), want: `^$`},
	} {
		out, err := run(t, step.args...)
		switch {
		case step.fails == "" && err != nil:
			t.Errorf("%v: %v", step.args, err)
		case step.fails != "" && (err == nil || !strings.Contains(err.Error(), step.fails)):
			t.Errorf("%v: error %v, want %q", step.args, err, step.fails)
		case !regexp.MustCompile(step.want).MatchString(out):
			t.Errorf("%v: printed %q, want %q", step.args, out, step.want)
		}
	}
}

func TestWrongArguments(t *testing.T) {
	for says, args := range map[string][]string{
		"number of hosts": {"up", "many"},
		"unknown option":  {"up", "1", "--with", "fast"},
		"one of h1 to h2": {"up", "2", "--host", "h3:no-sudo"},
		"HOST:OPTION":     {"up", "2", "--host", "no-sudo"},
		"accepts 1 arg":   {"up"},
	} {
		if _, err := run(t, args...); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v: error %v, want %q", args, err, says)
		}
	}
}
