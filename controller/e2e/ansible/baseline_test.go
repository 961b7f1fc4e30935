//go:build linux

package ansible

import (
	"maps"
	"strings"
	"testing"

	"github.com/gofleet/gofleet/controller/internal/lab"
)

// TestBooted: what only a host with an init of its own can have stands between
// apply and role too: services, and rules of a firewall, which a fresh login of
// the action plugin proves.
func TestBooted(t *testing.T) {
	host := lab.HostConfig{Image: "trixie", Systemd: true, Packages: []string{"ufw"}}
	someAnsible(t, []lab.HostConfig{host, host}, func(w *world) {
		vars := w.vars("1.26.8")
		maps.Copy(vars, dict{
			"gofleet_preconditions": dict{"memory": nil, "cpus": nil},
			"gofleet_environment":   dict{"LOG_LEVEL": "info"}, "gofleet_environment_files": []string{"systemd"},
			"gofleet_services": dict{"disabled": []string{"apt-daily.timer"}, "masked": []string{"fstrim"}},
			"gofleet_firewall": dict{"allow": []string{"8443/tcp"}, "policy": "deny", "enabled": true},
			"gofleet_time":     dict{"zone": "Asia/Shanghai"},
		})
		play := w.plays(nil, dict{"roles": []string{"gofleet.golang.toolchain"}, "become": true})
		role := func(changed bool, args ...string) string {
			w.Helper()
			events, out := w.playbook(play, vars, args...)
			if len(events) == 0 {
				w.Fatalf("no results:\n%s", out)
			}
			for _, e := range events {
				if e.Result.Failed || e.Outcome != "ok" || len(e.Result.Checks) > 0 && e.Result.Changed != changed {
					w.Fatalf("%s: changed=%v, want %v: %s\n%s", e.Host, e.Result.Changed, changed, e.Result.text(), out)
				}
			}
			return out
		}
		state := func(host string) string {
			return w.exec(host, "sh", "-c", `ufw status; systemctl is-enabled apt-daily.timer fstrim.service; systemctl show-environment | grep LOG_LEVEL; readlink /etc/localtime; ls /run | grep gofleet-; systemctl list-timers --all | grep gofleet; true`)
		}
		if got := w.gofleet("apply", vars, "-l", "h1"); got != "h1=changed" {
			w.Fatalf("apply: %s", got)
		}
		before := state("h2")
		if out := role(true, "--check", "--diff", "-l", "h2"); !strings.Contains(out, "+allow 8443/tcp") {
			w.Errorf("check says\n%s", out)
		}
		if got := state("h2"); got != before {
			w.Errorf("check left\n%s\nthere was\n%s", got, before)
		}
		role(true, "-l", "h2")
		one, two := state("h1"), state("h2")
		if one != two || !strings.Contains(one, "8443/tcp") || !strings.Contains(one, "disabled\nmasked\nLOG_LEVEL=info\n/usr/share/zoneinfo/Asia/Shanghai") || strings.Contains(one, "gofleet-") {
			w.Errorf("gofleet made\n%s\nthe role\n%s", one, two)
		}
		role(false)
		if out := role(false, "--check", "--diff"); strings.Contains(out, "+++") {
			w.Errorf("check of what is done says\n%s", out)
		}
		if got := w.gofleet("apply", vars); got != "h1=ok h2=ok" {
			w.Errorf("apply after the role: %s", got)
		}
		// What the inventory drops goes both ways.
		maps.DeleteFunc(vars, func(name string, _ any) bool {
			return name == "gofleet_services" || name == "gofleet_firewall" || name == "gofleet_time"
		})
		role(true)
		if got := w.gofleet("apply", vars); got != "h1=ok h2=ok" {
			w.Errorf("apply after variables went: %s", got)
		}
		if got := state("h2"); strings.Contains(got, "8443") || strings.Contains(got, "masked") || strings.Contains(got, "Shanghai") {
			w.Errorf("left:\n%s", got)
		}
	})
}
