//go:build linux

package ansible

import (
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/gofleet/gofleet/controller/internal/lab"
)

type dict = map[string]any

// TestLife takes a host from nothing over an upgrade and back to nothing.
func TestLife(t *testing.T) {
	eachAnsible(t, []lab.HostConfig{{}}, func(w *world) {
		before := w.left("h1")
		r := w.install(w.options("1.26.7"), nil, true, "--check", "--diff")
		if r.Go.Before != "" || r.Go.After != "1.26.7" || !strings.Contains(r.text(), "would: install go1.26.7") {
			w.Errorf("check mode says %q", r.text())
		}
		if after := w.left("h1"); after != before {
			w.Errorf("check mode left something:\n%s", after)
		}
		checked := r.Actions
		r = w.install(w.options("1.26.7"), nil, true)
		if !slices.Equal(r.Actions, checked) {
			w.Errorf("did %q; check mode said %q", r.Actions, checked)
		}
		if got := w.goVersion("h1"); !strings.Contains(got, "go1.26.7") {
			w.Errorf("go version says %q", got)
		}
		w.install(w.options("1.26.7"), nil, false)
		w.install(w.options("1.26.7"), nil, false, "--check")

		r = w.install(w.options("1.26.8"), nil, true)
		if r.Go.Before != "1.26.7" || r.Go.After != "1.26.8" || !strings.HasPrefix(r.text(), "go1.26.8 (was go1.26.7): install go1.26.8") {
			w.Errorf("the upgrade says %q", r.text())
		}
		r = w.install(dict{"state": "rolled_back"}, nil, true, "--check")
		if got := w.goVersion("h1"); !strings.Contains(got, "go1.26.8") {
			w.Errorf("check mode rolled back to %q", got)
		}
		r = w.install(dict{"state": "rolled_back"}, nil, true)
		if got := w.goVersion("h1"); !strings.Contains(got, "go1.26.7") || r.Go.After != "1.26.7" {
			w.Errorf("rolled back to %q, says %+v", got, r.Go)
		}
		w.install(dict{"state": "rolled_back"}, nil, false)
		w.install(dict{"state": "rolled_back", "version": "1.26.8"}, nil, true)
		w.refused(dict{"state": "absent", "version": "1.26.8"}, nil, "1.26.8")
		w.install(dict{"state": "absent", "version": "1.26.7"}, nil, true)
		w.install(dict{"state": "absent", "version": "1.26.7"}, nil, false)
		w.install(dict{"state": "absent"}, nil, true)
		w.install(dict{"state": "absent"}, nil, false)
		for left := range strings.Lines(w.left("h1")) {
			if !strings.Contains(left, "/agent") && strings.TrimSpace(left) != "/usr/local/lib/gofleet" {
				w.Errorf("absent left %s", left)
			}
		}
	})
}

// TestRoleAndApply: what one of the two has done, the other finds in order.
func TestRoleAndApply(t *testing.T) {
	eachAnsible(t, []lab.HostConfig{{}, {}}, func(w *world) {
		vars := w.vars("1.26.8")
		vars["gofleet_keep"] = 1
		vars["gofleet_env"] = dict{"GOPROXY": "off", "GOFLAGS": "-mod=mod"}
		vars["gofleet_environment"] = dict{"LOG_LEVEL": "debug", "RATIO": 0.5, "TRACE": true}
		vars["gofleet_slo"] = dict{"target": 50.5, "window": "30d"} // for gofleet's runs
		vars["gofleet_trusted_keys"] = []string{"any"}              // for bundles
		vars["gofleet_preconditions"] = dict{"memory": dict{"min": "64MB"}, "noexec": nil, "commands": []any{"sh", dict{"name": "ls"}}}
		key := strings.TrimSpace(string(must(os.ReadFile(w.lab.KeyFile() + ".pub"))))
		vars["gofleet_user"] = dict{"name": "deploy", "groups": []string{"adm"}, "authorized_keys": []string{key}}
		vars["gofleet_users"] = []any{dict{"name": "app", "uid": 4501, "home": "/srv/app", "authorized_keys": []string{key}, "exclusive": true}}
		vars["gofleet_directories"] = []any{dict{"path": "/opt/app", "owner": "app", "mode": "2750"}}
		vars["gofleet_cache"] = dict{"build": "/srv/go-build", "group": "adm"}
		vars["gofleet_environment_files"] = []string{"profile", "environment"}
		vars["gofleet_ca_certificates"] = []string{w.write("ca.pem", authority(w.T, true))}
		vars["gofleet_time"] = dict{"zone": "Asia/Shanghai"}
		if got := w.gofleet("apply", vars); got != "h1=changed h2=changed" {
			w.Fatalf("apply: %s", got)
		}
		play := "gofleet.golang.install"
		if strings.HasSuffix(w.venv, "oldest") {
			play = filepath.Join(built.collections, "ansible_collections/gofleet/golang/playbooks/install.yml")
		}
		role := func(changed bool, args ...string) {
			w.Helper()
			events, out := w.playbook(play, vars, args...)
			n := 0
			for _, e := range events {
				if e.Result.Failed || e.Outcome != "ok" {
					w.Fatalf("%+v\n%s", e, out)
				}
				if len(e.Result.Checks) > 0 {
					n++
					if e.Result.Changed != changed {
						w.Errorf("role on %s: changed=%v: %s", e.Host, e.Result.Changed, e.Result.text())
					}
				}
			}
			if n != 2 {
				w.Errorf("%d results of the module:\n%s", n, out)
			}
		}
		role(false)
		role(false, "--check", "--diff")
		vars["gofleet_environment"] = dict{"LOG_LEVEL": "info"}
		vars["gofleet_time"] = dict{"zone": "Europe/Paris"}
		vars["gofleet_cache"] = dict{"build": "/srv/go-build", "modcache": "/srv/go-mod", "group": "adm"}
		role(true, "--check")
		role(true)
		if got := w.gofleet("apply", vars); got != "h1=ok h2=ok" {
			w.Errorf("apply after the role: %s", got)
		}
		if got := w.exec("h1", "sh", "-lc", "echo $LOG_LEVEL; readlink /etc/localtime; grep LOG_LEVEL /etc/environment; stat -c %G /srv/go-mod"); got != "info\n/usr/share/zoneinfo/Europe/Paris\nLOG_LEVEL=info\nadm" {
			w.Errorf("after the role there is %q", got)
		}
		play = strings.Replace(play, "install", "audit", 1)
		if _, out := w.playbook(play, vars); !strings.Contains(out, "go1.26.8: nothing to do") {
			w.Errorf("the audit does not say how the hosts stand:\n%s", out)
		}
		w.exec("h2", "sh", "-c", "echo >>/usr/local/go/VERSION")
		if _, out := w.playbook(play, vars); !strings.Contains(out, "drift: /usr/local/lib/gofleet/go1.26.8/VERSION") {
			w.Errorf("the audit does not tell drift:\n%s", out)
		}
	})
}

// TestOrdinary: who cannot become root uses the playbooks as they are, and
// keeps Go in the home.
func TestOrdinary(t *testing.T) {
	someAnsible(t, []lab.HostConfig{{}}, func(w *world) {
		vars := merge(w.vars("1.26.8"), dict{"ansible_user": lab.PlainUser, "ansible_become": false, "gofleet_root": "/home/plain/gofleet"})
		playbooks := filepath.Join(built.collections, "ansible_collections/gofleet/golang/playbooks") // 2.14 does not find them by name
		run := func(playbook string, changed bool, more dict, args ...string) {
			w.Helper()
			events, out := w.playbook(filepath.Join(playbooks, playbook+".yml"), merge(vars, more), args...)
			did := false
			for _, e := range events {
				if e.Outcome != "ok" {
					w.Fatalf("%s: %s: %s\n%s", playbook, e.Outcome, e.Result.text(), out)
				}
				did = did || e.Result.Changed
			}
			if len(events) < 2 || did != changed {
				w.Fatalf("%s: changed=%v, want %v:\n%s", playbook, did, changed, out)
			}
		}
		run("install", true, w.vars("1.26.7"), "--check")
		run("install", true, w.vars("1.26.7"))
		if got := w.gofleet("apply", merge(vars, w.vars("1.26.7"))); got != "h1=ok" {
			w.Errorf("apply after the role: %s", got)
		}
		if got := w.gofleet("apply", vars); got != "h1=changed" {
			w.Errorf("gofleet says %s", got)
		}
		run("install", false, nil)
		run("audit", false, nil)
		run("rollback", true, nil)
		if got := w.exec("h1", "sh", "-c", "/home/plain/gofleet/go/bin/go version; find /home/plain ! -user plain; ls -d /usr/local/go /usr/local/lib/gofleet 2>/dev/null; true"); got != "go version go1.26.7 linux/"+runtime.GOARCH {
			w.Errorf("on the host:\n%s", got)
		}
		_, out := w.playbook(filepath.Join(playbooks, "install.yml"), merge(vars, dict{"gofleet_users": []any{dict{"name": "app"}}}))
		if !strings.Contains(out, "needs_root") {
			w.Errorf("what needs root is not refused by that name:\n%s", out)
		}
	})
}

// TestUnmet: a host that fails a precondition is changed in nothing.
func TestUnmet(t *testing.T) {
	eachAnsible(t, []lab.HostConfig{{Memory: 512 << 20}}, func(w *world) {
		before := w.left("h1")
		r := w.refused(w.options("1.26.8"), nil, "preconditions not met: memory is ")
		if r.Kind != "precondition_unmet" || len(r.Unmet) != 1 || !strings.HasSuffix(r.Unmet[0], "wanted at least 2 GB; give the host more memory, or lower preconditions.memory.min") || len(r.Checks) < 5 {
			w.Errorf("result is %+v", r)
		}
		if after := w.left("h1"); after != before {
			w.Errorf("something was left:\n%s", after)
		}
		options := w.options("1.26.8")
		options["preconditions"] = dict{"memory": dict{"min": "256MB"}}
		w.install(options, nil, true)
	})
}

// TestInfo: the audit leaves no file, and tells what would change.
func TestInfo(t *testing.T) {
	eachAnsible(t, []lab.HostConfig{{}}, func(w *world) {
		info := func(options dict) result {
			w.Helper()
			events, out := w.playbook(w.play("gofleet.golang.toolchain_info", options, nil), nil)
			return w.one(events, out)
		}
		before := w.left("h1")
		if r := info(w.options("1.26.8")); r.Failed || r.Changed || !r.Would || !r.Met || r.Go.After != "1.26.8" {
			w.Errorf("fresh host: %+v", r)
		}
		if after := w.left("h1"); after != before {
			w.Errorf("something was left:\n%s", after)
		}
		if r := info(dict{"preconditions": dict{"cpus": dict{"min": 1000}}}); r.Failed || r.Met || r.Status != "unmet" || len(r.Unmet) != 1 {
			w.Errorf("unmet host: %+v", r)
		}
		w.install(w.options("1.26.8"), nil, true)
		w.exec("h1", "sh", "-c", "printf p >/tmp/p; dd if=/tmp/p of=/usr/local/go/src/runtime/proc.go conv=notrunc; rm /tmp/p; sed -i s/package/Package/ /usr/local/go/src/runtime/proc.go")
		if r := info(w.options("1.26.8")); r.Would || len(r.Drift) > 0 {
			w.Errorf("a quick look saw a source file: %+v", r)
		}
		deep := w.options("1.26.8")
		deep["deep"] = true
		if r := info(deep); r.Status != "drifted" || !slices.Contains(r.Drift, "/usr/local/lib/gofleet/go1.26.8/src/runtime/proc.go") {
			w.Errorf("drift: %+v", r)
		}
		events, out := w.ansible("ansible", w.vars("1.26.8"), "all", "-b", "-m", "gofleet.golang.toolchain_info", "-a", "from_variables=true")
		if len(events) > 0 && events[0].Result.Failed || !strings.Contains(out, "h1 | SUCCESS") {
			w.Errorf("ansible -m:\n%s", out)
		}
	})
}

// TestEvidence: what is not believed is found before anything travels, and
// where the archives lie on this machine before a host is contacted.
func TestEvidence(t *testing.T) {
	someAnsible(t, []lab.HostConfig{{}}, func(w *world) {
		platform := "linux-" + runtime.GOARCH
		before := w.left("h1")
		refused := func(contact bool, options dict, words string, args ...string) result {
			w.Helper()
			events, out := w.playbook(w.play("gofleet.golang.toolchain", options, nil), nil, append(args, "-vvv")...)
			r := w.one(events, out)
			if !r.Failed || !strings.Contains(r.text(), words) {
				w.Errorf("want a failure with %q:\n%s", words, out)
			}
			if got := strings.Count(out, "SSH: EXEC"); got > 0 != contact || strings.Contains(out, " PUT ") {
				w.Errorf("the host was contacted %d times, or a file put there; want a contact: %v\n%s", got, contact, out)
			}
			if after := w.left("h1"); after != before {
				w.Errorf("something was left:\n%s", after)
			}
			return r
		}
		served := newInner(w.T, w.dir)
		remote := func(options dict) dict { return merge(options, dict{"archives": served.URL + "/archives"}) }

		wrong := w.options("1.26.8")
		wrong["sha256"] = dict{platform: strings.Repeat("0", 64)}
		says := `this file's pin would be sha256: {` + platform + `: "` + w.pins["1.26.8"] + `"}`
		for _, args := range [][]string{nil, {"--check"}} {
			refused(false, wrong, says, args...)
			refused(true, remote(wrong), says, args...)
		}
		// Where no agent runs on the controller, or has a place there, too.
		env := w.env
		w.env = append(slices.Clone(env), "XDG_CACHE_HOME=/dev/null")
		refused(false, wrong, says)
		wrong["sha256"] = dict{strings.Replace(platform, "amd64", "x86_64", 1): strings.Repeat("0", 64)}
		refused(false, wrong, says)
		w.env = env
		official := w.options("1.26.8")
		delete(official, "sha256") // then the table speaks, and this is not the official file
		for contact, options := range map[bool]dict{false: official, true: remote(official)} {
			if r := refused(contact, options, "the official go1.26.8."+platform+".tar.gz has sha256"); r.Kind != "archive_corrupt" {
				w.Errorf("kind is %s", r.Kind)
			}
		}
		w.archive("1.99.1", nil)
		unknown := w.options("1.99.1")
		delete(unknown, "sha256")
		refused(true, unknown, "which is not on this machine's PATH; put gofleet beside ansible-playbook")
		w.env = append(slices.Clone(env), "GOFLEET="+built.gofleet)
		refused(false, unknown, "there is no evidence of where it comes from")
		refused(true, remote(unknown), "there is no evidence of where it comes from")

		// Options that are wrong are found as early.
		refused(false, merge(w.options("1.26.8"), dict{"keep": 500}), "keep: is 500")

		// What cannot be read is not taken for missing.
		loop := filepath.Join(w.archives, "go1.26.5."+platform+".tar.gz")
		if err := os.Symlink(loop, loop); err != nil {
			w.Fatal(err)
		}
		refused(false, dict{"go_version": "1.26.5", "archives": w.archives}, "read "+loop+": Too many levels of symbolic links; let the user that runs ansible-playbook read it")

		// What is missing concerns only the host that needs it.
		w.env = env
		w.refused(dict{"go_version": "1.26.6", "archives": w.archives}, nil, "no archive of go1.26.6 for linux/"+runtime.GOARCH)
		if after := w.left("h1"); after != before {
			w.Errorf("something was left:\n%s", after)
		}
	})
}

// TestNoNeed: a host that lacks nothing is not failed for an archive that
// cannot be had or judged here.
func TestNoNeed(t *testing.T) {
	someAnsible(t, []lab.HostConfig{{}}, func(w *world) {
		w.archive("1.99.1", nil)
		w.install(w.options("1.99.1"), nil, true)
		options := w.options("1.99.1")
		delete(options, "sha256")
		w.install(options, nil, false)
		w.install(merge(options, dict{"archives": "nowhere"}), nil, false)
		w.install(merge(options, dict{"archives": "http://127.0.0.1:1/"}), nil, false)
	})
}

// TestVariables: errors are those of package spec, all at once, with the name
// that the reader has written.
func TestVariables(t *testing.T) {
	eachAnsible(t, []lab.HostConfig{{}}, func(w *world) {
		r := w.refused(dict{"go_version": "1.26.8", "keep": 500, "rooot": "/x"}, nil, "keep: is 500; it must be from 0 to 100. rooot: is not a variable of gofleet; did you mean root?")
		if len(r.Errors) != 2 || !strings.Contains(r.Errors[1], "did you mean root?") {
			w.Errorf("errors are %q", r.Errors)
		}
		w.refused(dict{"go_version": 1.2}, nil, "quote")
		w.refused(dict{}, nil, "go_version: is required")
		w.refused(dict{"go_version": "1.26.8", "state": "there"}, nil, "it must be present, absent or rolled_back")
		events, out := w.playbook(w.play("gofleet.golang.toolchain", dict{"from_variables": true}, nil),
			dict{"gofleet_go_version": "{{ wanted }}", "wanted": "1.26.8", "gofleet_keeep": 1})
		if r := w.one(events, out); !strings.Contains(r.text(), "gofleet_keeep: is not a variable of gofleet; did you mean gofleet_keep?") {
			w.Errorf("says %q", r.text())
		}
		w.refused(dict{"from_variables": "maybe"}, nil, "from_variables is 'maybe', which is neither true nor false")

		// Variables that are omitted are not there, nor are keys.
		const omitted = "{{ nowhere | default(omit) }}"
		events, out = w.playbook(w.play("gofleet.golang.toolchain", dict{"from_variables": true}, nil), merge(w.vars("1.26.8"), dict{
			"gofleet_keep": omitted, "gofleet_user": dict{"name": "deploy", "shell": omitted}, "gofleet_preconditions": dict{"commands": []string{"sh", omitted}},
		}), "--check")
		if r := w.one(events, out); r.Failed || !r.Changed {
			w.Errorf("with omitted variables:\n%s", out)
		}
		w.install(merge(w.options("1.26.8"), dict{"keep": "3", "preconditions": dict{"cpus": dict{"min": "1"}}}), nil, true, "--check")
	})
}

func merge(a, b dict) dict {
	out := maps.Clone(a)
	maps.Copy(out, b)
	return out
}
