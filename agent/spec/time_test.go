package spec_test

import (
	"testing"
	"time"

	"github.com/gofleet/gofleet/agent/spec"
)

func TestTime(t *testing.T) {
	check(t, inventory, []one{
		{v("time", dict{"zone": "America/Argentina/Buenos_Aires", "servers": list{"ntp1.corp", "fd00::1", "10.0.0.1"}, "max_offset": "500ms"}), "", "", ""},
		{v("time", dict{"zone": "Etc/GMT+8"}), "", "", ""},
		{v("time", nil), "", "", ""},
		{v("time", "UTC"), "gofleet_time", "must be a dictionary", "zone"},
		{v("time", dict{"zome": "UTC"}), "gofleet_time.zome", "unknown key", "did you mean zone?"},
		{v("time", dict{"zone": "../../etc/passwd"}), "gofleet_time.zone", "is not the name of a time zone", "Asia/Shanghai"},
		{v("time", dict{"zone": "/UTC"}), "gofleet_time.zone", "is not the name of a time zone", ""},
		{v("time", dict{"servers": list{"a b"}}), "gofleet_time.servers[0]", "is not the name or address", ""},
		{v("time", dict{"servers": list{"-x"}}), "gofleet_time.servers[0]", "is not the name or address", ""},
		{v("time", dict{"servers": list{"a", "a"}}), "gofleet_time.servers[1]", "is there twice", "keep one"},
		{v("time", dict{"max_offset": "0s"}), "gofleet_time.max_offset", "above 0", ""},
	})
	s, err := spec.Parse(v("time", dict{"max_offset": "500ms"}), inventory)
	if err != nil || s.Time.MaxOffset != 500*time.Millisecond || !s.Time.Synchronised() {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestServices(t *testing.T) {
	check(t, inventory, []one{
		{v("services", dict{"enabled": list{"chrony", "ssh"}, "disabled": list{"cups"}, "masked": list{"rpcbind.socket", "getty@tty7x.path"}}), "gofleet_services.masked[1]", "not for gofleet to touch", "take it out"},
		{v("services", dict{"disabled": list{"cups.service"}, "masked": list{"rpcbind"}}), "", "", ""},
		{v("services", dict{"disabled": list{"ssh.socket"}}), "gofleet_services.disabled[0]", "gofleet reaches the host through it", ""},
		{v("services", dict{"masked": list{"NetworkManager-wait-online"}}), "gofleet_services.masked[0]", "the host's network", ""},
		{v("services", dict{"masked": list{"systemd-journald.socket"}}), "gofleet_services.masked[0]", "the system itself", ""},
		{v("services", dict{"disabled": list{"firewalld"}}), "gofleet_services.disabled[0]", "gofleet_firewall", ""},
		{v("services", dict{"disabled": list{"gofleet-firewall.timer"}}), "gofleet_services.disabled[0]", "gofleet's own", ""},
		{v("services", dict{"disabled": list{"cups"}, "masked": list{"cups.service"}}), "gofleet_services.masked[0]", "stands under disabled too", ""},
		{v("services", dict{"disabled": list{"--all"}}), "gofleet_services.disabled[0]", "is not the name of a service", ""},
		{v("services", dict{"disabled": list{"multi-user.target"}}), "gofleet_services.disabled[0]", "is not a service", ""},
		{v("services", dict{"enabled": list{"app@"}}), "gofleet_services.enabled[0]", "template", "instance"},
		{v("services", dict{"enable": list{"app"}}), "gofleet_services.enable", "unknown key", "did you mean enabled?"},
	})
}
