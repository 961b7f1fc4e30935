package ancestry

import (
	"os"
	"strconv"
	"testing"
)

func TestParseConnection(t *testing.T) {
	for environ, want := range map[string]string{
		"": "",
		"A=1\x00SSH_CONNECTION=192.0.2.7 51000 10.0.0.1 2222\x00B=2": "192.0.2.7 2222",
		"SSH_CONNECTION=::ffff:192.0.2.7 51000 ::ffff:10.0.0.1 22":   "192.0.2.7 22",
		"SSH_CONNECTION=fe80::1%eth0 51000 fe80::2%eth0 22":          "fe80::1 22",
		"SSH_CONNECTION=192.0.2.7 51000":                             "",
		"SSH_CONNECTION=name 51000 10.0.0.1 22":                      "",
		"SSH_CONNECTION=192.0.2.7 51000 10.0.0.1 0":                  "",
		"MY_SSH_CONNECTION=192.0.2.7 51000 10.0.0.1 22":              "",
	} {
		c, found := parseConnection(environ)
		got := ""
		if found {
			got = c.Client.String() + " " + strconv.Itoa(c.Port)
		}
		if got != want {
			t.Errorf("%q: %q, want %q", environ, got, want)
		}
	}
}

func TestAll(t *testing.T) {
	var pids []int
	for pid, name := range All {
		if again, err := Name(pid); err != nil || again != name {
			t.Errorf("process %d is %q and %q, %v", pid, name, again, err)
		}
		pids = append(pids, pid)
	}
	if len(pids) < 2 || pids[0] != os.Getpid() || pids[1] != os.Getppid() {
		t.Errorf("%v, and this is %d below %d", pids, os.Getpid(), os.Getppid())
	}
}
