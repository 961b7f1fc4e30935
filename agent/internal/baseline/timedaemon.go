package baseline

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gofleet/gofleet/agent/internal/hostcmd"
)

// timeDaemon is a program that keeps the clock by NTP.
type timeDaemon struct {
	name     string
	comm     string   // its process's name, as the kernel cuts it
	programs []string // one is there where it is installed
	units    []string // its services; the first that is there
	place    func(p *planner) (serversPlace, error)
	text     func(servers []string) string
	asks     func(ctx context.Context) (synced string, offset string, err error)
}

// timeDaemons are those that gofleet knows.
var timeDaemons = []timeDaemon{
	{"chrony", "chronyd", []string{"/usr/sbin/chronyd"}, []string{"chrony", "chronyd"}, chronyPlace, serverLines, askChrony},
	{
		"systemd-timesyncd", "systemd-timesyn", []string{"/usr/lib/systemd/systemd-timesyncd", "/lib/systemd/systemd-timesyncd"},
		[]string{"systemd-timesyncd"},
		func(*planner) (serversPlace, error) { return serversPlace{path: timesyncdDir + "/gofleet.conf"}, nil },
		func(servers []string) string { return "[Time]\nNTP=" + strings.Join(servers, " ") + "\n" },
		askTimesyncd,
	},
	{"ntpd", "ntpd", []string{"/usr/sbin/ntpd", "/usr/bin/ntpd"}, []string{"ntpsec", "ntp", "ntpd"}, ntpdPlace, serverLines, askNTPD},
}

const timesyncdDir = "/etc/systemd/timesyncd.conf.d"

// serverDirs are where files with servers are written.
var serverDirs = []string{timesyncdDir, "/etc/chrony/sources.d", "/etc/chrony/conf.d", "/etc/chrony.d"}

func findDaemon(name string) *timeDaemon {
	for i := range timeDaemons {
		if timeDaemons[i].name == name {
			return &timeDaemons[i]
		}
	}
	return nil
}

// keepsClock reports whether a process's name is that of one.
func keepsClock(comm string) bool {
	for i := range timeDaemons {
		if timeDaemons[i].comm == comm {
			return true
		}
	}
	return false
}

func (d *timeDaemon) installed(p *planner) bool {
	return slices.ContainsFunc(d.programs, func(path string) bool {
		fi, err := os.Stat(p.path(path))
		return err == nil && fi.Mode().IsRegular()
	})
}

// daemon finds the one daemon that keeps this host's clock: that which runs, or
// else the only one that is installed.
func (p *planner) daemon() (*timeDaemon, error) {
	var running, installed []string
	processes := p.processes()
	for i := range timeDaemons {
		d := &timeDaemons[i]
		if slices.Contains(processes, d.comm) {
			running = append(running, d.name)
		}
		if d.installed(p) {
			installed = append(installed, d.name)
		}
	}
	switch {
	case len(running) > 1:
		return nil, refused(fmt.Errorf("%s run at once, and would both set the clock", strings.Join(running, " and ")),
			"disable all of them but one, and apply again")
	case len(running) == 1:
		return findDaemon(running[0]), nil
	case len(installed) > 1:
		return nil, refused(fmt.Errorf("%s are installed and none runs", strings.Join(installed, " and ")), "start the one that is to keep the clock")
	case len(installed) == 1:
		return findDaemon(installed[0]), nil
	}
	for _, pkg := range p.want.Packages { // what this run installs counts as there
		if d := findDaemon(pkg.Name); d != nil {
			return d, nil
		}
	}
	return nil, refused(errors.New("this host has no NTP daemon that gofleet knows: chrony, systemd-timesyncd or ntpd"),
		"install chrony, or drop servers and max_offset from gofleet_time")
}

// processes are the names of the processes in this pid namespace: a container's
// daemons are not the host's.
func (p *planner) processes() []string {
	own, _ := os.Readlink(p.path("/proc/self/ns/pid"))
	files, _ := filepath.Glob(p.path("/proc/[0-9]*/comm"))
	var names []string
	for _, file := range files {
		b, err := os.ReadFile(file)
		name := strings.TrimSpace(string(b))
		if err != nil || !keepsClock(name) {
			continue
		}
		if ns, err := os.Readlink(filepath.Join(filepath.Dir(file), "ns/pid")); err == nil && ns != own {
			continue
		}
		names = append(names, name)
	}
	return names
}

// chronyPlace finds, in what chrony's configuration includes, where sources of
// others belong. Without any, they become a block in the configuration itself.
func chronyPlace(p *planner) (serversPlace, error) {
	for _, conf := range []string{"/etc/chrony/chrony.conf", "/etc/chrony.conf"} {
		b, err := os.ReadFile(p.path(conf))
		if err != nil {
			continue
		}
		for _, kind := range []struct{ directive, file string }{{"sourcedir", "gofleet.sources"}, {"confdir", "gofleet.conf"}, {"include", "gofleet.conf"}} {
			for _, line := range strings.SplitAfter(string(b), "\n") {
				f := strings.Fields(line)
				if len(f) < 2 || !strings.EqualFold(f[0], kind.directive) {
					continue
				}
				for _, dir := range f[1:] {
					if kind.directive == "include" {
						var all bool
						if dir, all = strings.CutSuffix(dir, "/*.conf"); !all {
							continue
						}
					}
					if slices.Contains(serverDirs, dir) {
						return serversPlace{path: p.path(filepath.Join(dir, kind.file))}, nil
					}
				}
			}
		}
		return serversPlace{path: p.path(conf), block: true}, nil
	}
	if _, err := os.Stat(p.path("/usr/sbin/chronyd")); err != nil { // its package comes first
		if isDir(p.path("/etc/apt")) {
			return serversPlace{path: p.path("/etc/chrony/sources.d/gofleet.sources")}, nil
		}
		return serversPlace{path: p.path("/etc/chrony.conf"), block: true}, nil
	}
	return serversPlace{}, refused(errors.New("chrony is here without a configuration in /etc/chrony/chrony.conf or /etc/chrony.conf"),
		"install its package anew, or drop servers from gofleet_time")
}

func ntpdPlace(p *planner) (serversPlace, error) {
	for _, conf := range []string{"/etc/ntpsec/ntp.conf", "/etc/ntp.conf"} {
		if fi, err := os.Stat(p.path(conf)); err == nil && fi.Mode().IsRegular() {
			return serversPlace{path: p.path(conf), block: true}, nil
		}
	}
	return serversPlace{}, refused(errors.New("the ntpd of this host has neither /etc/ntpsec/ntp.conf nor /etc/ntp.conf: gofleet does not know it"),
		"install chrony in its place, or drop servers from gofleet_time")
}

func serverLines(servers []string) string {
	var b strings.Builder
	for _, s := range servers {
		b.WriteString("server " + s + " iburst\n")
	}
	return b.String()
}

func (p *planner) canRestart() bool {
	_, err := p.manager()
	return err == nil
}

// restart restarts the daemon, or starts it.
func (d *timeDaemon) restart(ctx context.Context, p *planner) error {
	if !isDir(p.path("/run/systemd/system")) {
		_, err := hostcmd.Run(ctx, "", hostcmd.Find("rc-service"), d.comm, "restart")
		return err
	}
	for _, unit := range d.units {
		for _, dir := range []string{"/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"} {
			if _, err := os.Stat(p.path(filepath.Join(dir, unit+".service"))); err == nil {
				_, err := hostcmd.Run(ctx, "", hostcmd.Find("systemctl"), "restart", unit+".service")
				return err
			}
		}
	}
	return fmt.Errorf("%s has no service of systemd's", d.name)
}

func isDir(path string) bool {
	fi, err := os.Stat(path)
	return err == nil && fi.IsDir()
}
