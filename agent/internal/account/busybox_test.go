package account_test

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/gofleet/gofleet/agent/internal/hosttest"
	"github.com/gofleet/gofleet/agent/spec"
)

// standIn does what busybox's applets do with the arguments that they know, by
// way of this machine's own tools, which a host such as Alpine doesn't have. An
// option that busybox doesn't know is an error.
const standIn = `#!/bin/sh
set -eu
tools=/usr/local/tools
case ${0##*/} in
adduser)
	home= shell=/bin/sh quiet= uid= group=
	while getopts h:s:u:G:D o; do
		case $o in
		u) uid=$OPTARG ;;
		G) group=$OPTARG ;;
		h) home=$OPTARG ;;
		s) shell=$OPTARG ;;
		D) quiet=1 ;;
		*) exit 1 ;;
		esac
	done
	shift $((OPTIND - 1))
	[ $# = 1 ] && [ -n "$quiet" ]
	exec $tools/useradd -m -d "$home" -s "$shell" ${uid:+-u $uid} ${group:+-g $group} "$1" ;;
chpasswd)
	[ "$*" = -e ]
	IFS=: read -r name hash
	exec $tools/usermod -p "$hash" "$name" ;;
addgroup)
	[ "$1" != -g ] || { [ $# = 3 ]; exec $tools/groupadd -g "$2" "$3"; }
	[ $# = 2 ]; exec $tools/gpasswd -a "$1" "$2" ;;
delgroup)
	[ $# != 1 ] || exec $tools/groupdel "$1"
	[ $# = 2 ]; exec $tools/gpasswd -d "$1" "$2" ;;
deluser) [ $# = 2 ] && [ "$1" = --remove-home ]; exec $tools/userdel -r "$2" ;;
*) exit 127 ;;
esac
`

// busybox gives the test's host busybox's applets instead of shadow's programs:
// the real ones where GOFLEET_BUSYBOX names a busybox that has them.
func busybox(t *testing.T) {
	t.Helper()
	real := os.Getenv("GOFLEET_BUSYBOX")
	hosttest.Run(t, "mkdir", "/usr/local/tools")
	for _, tool := range []string{"useradd", "usermod", "userdel", "gpasswd", "groupadd", "groupdel"} {
		path, err := exec.LookPath(tool)
		if err != nil {
			t.Fatal(err)
		}
		hosttest.Run(t, "cp", path, "/usr/local/tools/"+tool)
	}
	var binary []byte
	if real != "" {
		var err error
		if binary, err = os.ReadFile(real); err != nil {
			t.Fatal(err)
		}
	}
	hosttest.Hide(t, "useradd", "usermod", "userdel", "gpasswd", "groupadd", "groupdel", "adduser", "deluser", "addgroup", "delgroup", "chpasswd", "busybox")
	if binary == nil {
		binary = []byte(standIn)
	}
	hosttest.Write(t, "/bin/busybox", string(binary), 0o755)
	for _, applet := range []string{"adduser", "deluser", "addgroup", "delgroup", "chpasswd"} {
		hosttest.Run(t, "ln", "-s", "/bin/busybox", "/usr/sbin/"+applet)
	}
}

func TestBusybox(t *testing.T) {
	if !hosttest.Enter(t) {
		return
	}
	busybox(t)
	rec := newRecord(t)
	before := hosttest.Snapshot(t, "/home", "/etc/sudoers.d")
	want := user()
	want.Shell = "/bin/sh"
	r, steps, _ := apply(t, want, rec)
	if len(steps) != 3 {
		t.Errorf("steps %q", names(steps))
	}
	if got := hosttest.Run(t, "getent", "shadow", "deploy"); !strings.HasPrefix(got, "deploy:*:") {
		t.Errorf("shadow: %s", got)
	}
	if got := hosttest.Run(t, "getent", "passwd", "deploy"); !strings.HasSuffix(got, ":/home/deploy:/bin/sh\n") {
		t.Errorf("passwd: %s", got)
	}
	if got := strings.Fields(hosttest.Run(t, "id", "-nG", "deploy")); !slices.Contains(got, "games") {
		t.Errorf("groups: %s", got)
	}
	contains(t, keyFile, key1+"\n")
	nothingToDo(t, want, rec)

	more := *want
	more.Groups = []string{"games", "audio"}
	apply(t, &more, rec)
	if got := strings.Fields(hosttest.Run(t, "id", "-nG", "deploy")); !slices.Contains(got, "audio") {
		t.Errorf("groups: %s", got)
	}
	apply(t, want, rec)
	if got := strings.Fields(hosttest.Run(t, "id", "-nG", "deploy")); slices.Contains(got, "audio") {
		t.Errorf("groups: %s", got)
	}
	if err := r.Undo(); err != nil {
		t.Fatal(err)
	}
	hosttest.Same(t, before, hosttest.Snapshot(t, "/home", "/etc/sudoers.d"))
	if out, err := exec.Command("getent", "passwd", "deploy").Output(); err == nil {
		t.Errorf("the account is still there: %s", out)
	}
}

// TestBusyboxNumbers makes an account with a uid, gid and home of its own.
func TestBusyboxNumbers(t *testing.T) {
	if !hosttest.Enter(t) {
		return
	}
	busybox(t)
	before := hosttest.Snapshot(t, "/home", "/srv")
	want := &spec.User{Name: "app", UID: 4501, GID: 4600, Home: "/srv/apps/app", Shell: "/bin/sh", AuthorizedKeys: []string{key1}}
	r, _, _ := apply(t, want, newRecord(t))
	if got := hosttest.Run(t, "stat", "-c", "%u:%g %n", "/srv/apps", "/srv/apps/app"); got != "0:0 /srv/apps\n4501:4600 /srv/apps/app\n" {
		t.Errorf("home: %s", got)
	}
	if got := hosttest.Run(t, "getent", "passwd", "app"); !strings.HasPrefix(got, "app:x:4501:4600:") || !strings.HasSuffix(got, ":/srv/apps/app:/bin/sh\n") {
		t.Errorf("passwd: %s", got)
	}
	contains(t, "/srv/apps/app/.ssh/authorized_keys", key1+"\n")
	if err := r.Undo(); err != nil {
		t.Fatal(err)
	}
	hosttest.Same(t, before, hosttest.Snapshot(t, "/home", "/srv"))
	if out, err := exec.Command("getent", "group", "app").Output(); err == nil {
		t.Errorf("the group is still there: %s", out)
	}
}

// Debian has scripts named adduser and deluser with options of their own.
func TestNothingToMakeAccountsWith(t *testing.T) {
	if !hosttest.Enter(t) {
		return
	}
	hosttest.Hide(t, "useradd")
	planFails(t, &spec.User{Name: "deploy"}, "neither useradd and userdel nor busybox")
	hosttest.Run(t, "sh", "-c", "echo deploy:x:7777:7777::/home/deploy:/bin/sh >> /etc/passwd")
	hosttest.Hide(t, "gpasswd")
	planFails(t, &spec.User{Name: "deploy", Groups: []string{"games"}}, "neither gpasswd nor busybox")
}
