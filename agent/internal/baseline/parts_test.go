package baseline

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gofleet/gofleet/agent/spec"
)

// tree makes a root with files, whose directories come with them; a path with
// a slash at its end is a directory.
func tree(t *testing.T, files map[string]string) *planner {
	t.Helper()
	p := &planner{root: t.TempDir(), want: &spec.Spec{}}
	for path, content := range files {
		real := filepath.Join(p.root, path)
		if strings.HasSuffix(path, "/") {
			real = filepath.Join(real, ".keep")
		}
		if err := os.MkdirAll(filepath.Dir(real), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(real, []byte(content), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

// The daemon that keeps the clock, and where its servers are written, by
// family.
func TestTimeDaemons(t *testing.T) {
	const chronyd, timesyncd, ntpd = "usr/sbin/chronyd", "usr/lib/systemd/systemd-timesyncd", "usr/sbin/ntpd"
	for name, tt := range map[string]struct {
		files        map[string]string
		packages     []spec.Package
		daemon, path string
		block        bool
		err          string
	}{
		"Debian":          {files: map[string]string{chronyd: "", "etc/chrony/chrony.conf": "confdir /etc/chrony/conf.d\nsourcedir /run/chrony-dhcp\nsourcedir /etc/chrony/sources.d\n"}, daemon: "chrony", path: "/etc/chrony/sources.d/gofleet.sources"},
		"RHEL":            {files: map[string]string{chronyd: "", "etc/chrony.conf": "pool a iburst\nsourcedir /run/chrony-dhcp\n"}, daemon: "chrony", path: "/etc/chrony.conf", block: true},
		"SUSE":            {files: map[string]string{chronyd: "", "etc/chrony.conf": "include /etc/chrony.d/*.conf\n"}, daemon: "chrony", path: "/etc/chrony.d/gofleet.conf"},
		"Alpine":          {files: map[string]string{chronyd: "", "etc/chrony/chrony.conf": "pool a iburst\n"}, daemon: "chrony", path: "/etc/chrony/chrony.conf", block: true},
		"elsewhere":       {files: map[string]string{chronyd: "", "etc/chrony.conf": "confdir /home/x\n"}, daemon: "chrony", path: "/etc/chrony.conf", block: true},
		"timesyncd":       {files: map[string]string{timesyncd: ""}, daemon: "systemd-timesyncd", path: "/etc/systemd/timesyncd.conf.d/gofleet.conf"},
		"ntpsec":          {files: map[string]string{ntpd: "", "etc/ntpsec/ntp.conf": ""}, daemon: "ntpd", path: "/etc/ntpsec/ntp.conf", block: true},
		"busybox":         {files: map[string]string{ntpd: ""}, daemon: "ntpd", err: "gofleet does not know it"},
		"none":            {err: "no NTP daemon"},
		"package":         {files: map[string]string{"etc/apt/": ""}, packages: []spec.Package{{Name: "chrony"}}, daemon: "chrony", path: "/etc/chrony/sources.d/gofleet.sources"},
		"the one running": {files: map[string]string{chronyd: "", "etc/chrony.conf": "", timesyncd: "", "proc/7/comm": "systemd-timesyn\n", "proc/8/comm": "bash\n"}, daemon: "systemd-timesyncd", path: "/etc/systemd/timesyncd.conf.d/gofleet.conf"},
		"two running":     {files: map[string]string{chronyd: "", "proc/7/comm": "chronyd\n", "proc/8/comm": "systemd-timesyn\n"}, err: "chrony and systemd-timesyncd run at once"},
		"two, none runs":  {files: map[string]string{chronyd: "", timesyncd: ""}, err: "none runs"},
	} {
		t.Run(name, func(t *testing.T) {
			p := tree(t, tt.files)
			p.want.Packages = tt.packages
			d, err := p.daemon()
			var place serversPlace
			if err == nil {
				if d.name != tt.daemon {
					t.Fatalf("daemon is %s", d.name)
				}
				place, err = d.place(p)
			}
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("error is %v", err)
				}
				return
			}
			if err != nil || strings.TrimPrefix(place.path, p.root) != tt.path || place.block != tt.block {
				t.Errorf("%+v, %v", place, err)
			}
		})
	}
}

func TestDaemonsSay(t *testing.T) {
	for _, tt := range []struct {
		says          func(string) (string, string, error)
		out           string
		state, offset string
	}{
		{chronySays, "0A000001,10.0.0.1,9,1763862000.1,-0.000012345,0.1,0.2,-3.1,0.0,0.1,0.001,0.002,64.2,Normal\n", synchronised, "-12µs"},
		{chronySays, "00000000,,0,0.0,0.000000000,0.0,0.0,0.0,0.0,0.0,1.0,1.0,0.0,Not synchronised\n", unsynchronised, "0s"},
		{chronySays, "506 Cannot talk to daemon\n", "", ""},
		{ntpdSays, "leap=00, offset=-1.5\n", synchronised, "-1.5ms"},
		{ntpdSays, "leap=11, offset=0.0\n", unsynchronised, "0s"},
		{ntpdSays, "Name or service not known\n", "", ""},
	} {
		state, offset, err := tt.says(tt.out)
		if state != tt.state || offset != tt.offset || (err != nil) != (tt.state == "") {
			t.Errorf("%q: %s, %s, %v", tt.out, state, offset, err)
		}
	}
	for out, want := range map[string]string{
		"       Server: 10.0.0.1\n       Offset: -2.5ms\n        Delay: 1ms\n": "-2.5ms",
		"       Offset: +1min 2.5s\n":                                          "1m2.5s",
		"       Offset: n/a\n":                                                 "",
	} {
		if got := timesyncdOffset(out); got != want {
			t.Errorf("%q: %q", out, got)
		}
	}
}

func TestSystemdUnits(t *testing.T) {
	out := "Type=simple\nId=cups.service\nNames=cups.service\nTriggeredBy=cups.socket cups.path\nRequiredBy=print.service\nLoadState=loaded\nActiveState=active\nUnitFileState=enabled\n\n" +
		"Id=no.service\nNames=no.service\nLoadState=not-found\nActiveState=inactive\nUnitFileState=\n"
	units, err := systemdUnits(out, []string{"cups.service", "no.service"})
	u := units["cups.service"]
	if err != nil || !u.there || !u.active || len(u.triggers) != 2 || len(u.needed) != 1 || units["no.service"].there {
		t.Errorf("%+v, %v", units, err)
	}
	for want, is := range map[string]bool{enabled: true, disabled: false, masked: false} {
		if got := (systemd{}).is(u, want); got != is {
			t.Errorf("%s: %t", want, got)
		}
	}
	if _, err := systemdUnits(out, []string{"cups.service"}); err == nil {
		t.Error("more units than were asked for are no error")
	}
}

func TestOpenRCUnits(t *testing.T) {
	p := tree(t, map[string]string{"etc/init.d/cupsd": "", "etc/runlevels/default/cupsd": "", "etc/runlevels/boot/cupsd": "", "run/openrc/started/cupsd": "", "etc/init.d/off": ""})
	o := openrc{root: p.root}
	units, err := o.look(t.Context(), []string{"cupsd", "off", "no"})
	if err != nil {
		t.Fatal(err)
	}
	if u := units["cupsd"]; u.file != "boot,default" || !u.active || !o.is(u, enabled) {
		t.Errorf("%+v", u)
	}
	if u := units["off"]; !u.there || !o.is(u, disabled) || units["no"].there {
		t.Errorf("%+v", units)
	}
	if o.can(masked) == nil {
		t.Error("OpenRC can mask")
	}
}

func TestCheckListening(t *testing.T) {
	const head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
	p := tree(t, map[string]string{
		"net/tcp":  head + "   0: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 501 1\n   1: 0100007F:0277 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 502 1\n   2: 0100007F:0016 0100007F:9000 01 00000000:00000000 00:00000000 00000000     0        0 503 1\n",
		"net/tcp6": head + "   0: 00000000000000000000000000000000:0016 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 504 1\n",
		"net/udp":  head + "  10: 00000000:0143 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 505 1\n",
		"7/comm":   "sshd\n", "8/comm": "cupsd\n", "1/comm": "systemd\n", "7/fd/": "", "8/fd/": "", "1/fd/": "",
	})
	for fd, inode := range map[string]string{"7/fd/3": "501", "7/fd/4": "504", "1/fd/9": "502", "8/fd/1": "502"} {
		if err := os.Symlink("socket:["+inode+"]", filepath.Join(p.root, fd)); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := checkListening(p.root).Actual, "22/tcp sshd, 323/udp unknown, 127.0.0.1:631 tcp cupsd"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
