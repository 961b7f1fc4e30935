//go:build linux

package ansible

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gofleet/gofleet/controller/internal/lab"
)

// ways are the ways to a host, and kinds of hosts. They are installed by one
// play, each with variables of its own. One whose connection an ansible-core
// does not have is over ssh there.
var ways = []struct {
	name       string
	host       lab.HostConfig
	vars       dict
	connection string
}{
	{name: "sudo"},
	{name: "pipelining", vars: dict{"ansible_pipelining": true}},
	{name: "rootlogin", vars: dict{"ansible_user": "root", "ansible_become": false}},
	{name: "password", vars: dict{"ansible_user": "ops", "ansible_become_password": lab.SudoPassword}},
	{name: "su", vars: dict{"ansible_user": "root", "ansible_become_method": "su", "ansible_become_user": "plain", "gofleet_root": "/home/plain/gofleet"}},
	{name: "otheruser", vars: dict{"ansible_become_user": "plain", "gofleet_root": "/home/plain/gofleet"}},
	{name: "plain", vars: dict{"ansible_user": "plain", "ansible_become": false, "gofleet_root": "/home/plain/gofleet"}},
	{name: "nopython", host: lab.HostConfig{NoPython: true}},
	{name: "musl", host: lab.HostConfig{Musl: true}, vars: dict{"ansible_user": "root", "ansible_become": false, "gofleet_preconditions": dict{"glibc": nil}}},
	{name: "nosftp", host: lab.HostConfig{SFTP: lab.SFTPOff}},
	{name: "readonly", host: lab.HostConfig{SFTP: lab.SFTPReadOnly}, vars: dict{"ansible_ssh_transfer_method": "sftp"}},
	{name: "piped", vars: dict{"ansible_ssh_transfer_method": "piped"}},
	{name: "paramiko", connection: "paramiko_ssh", vars: dict{"ansible_connection": "paramiko_ssh", "ansible_host_key_checking": false}},
	{name: "nopipelining", vars: dict{"ansible_pipelining": false}},
	{name: "noisy", host: lab.HostConfig{Noisy: true}},
	{name: "noexec", host: lab.HostConfig{Noexec: []string{"/tmp", "/run", "/home"}}},
}

// inventory adds variables to hosts and gives the path of the file.
func (w *world) inventory(vars map[string]dict) string {
	w.Helper()
	b, err := json.Marshal(dict{"all": dict{"hosts": vars}})
	if err != nil {
		w.Fatal(err)
	}
	return w.write("more.json", string(b))
}

// TestWays installs on every kind of host, over every way to one.
func TestWays(t *testing.T) {
	var hosts []lab.HostConfig
	for _, way := range ways {
		way.host.Name = way.name
		hosts = append(hosts, way.host)
	}
	eachAnsible(t, hosts, func(w *world) {
		vars := map[string]dict{}
		for _, way := range ways {
			vars[way.name] = dict{}
			if way.vars != nil && w.hasConnection(way.connection) {
				vars[way.name] = way.vars
			}
		}
		more := w.inventory(vars)
		play := w.play("gofleet.golang.toolchain", dict{"from_variables": true}, nil)
		run := func(changed bool, args ...string) {
			w.Helper()
			events, out := w.playbook(play, w.vars("1.26.8"), append(args, "-i", more, "-f", "4")...)
			if len(events) != len(ways) && !slices.Contains(args, "-l") {
				w.Errorf("%d results for %d hosts:\n%s", len(events), len(ways), out)
			}
			for _, e := range events {
				if e.Outcome != "ok" || e.Result.Changed != changed {
					w.Errorf("%s: %s, changed=%v: %s", e.Host, e.Outcome, e.Result.Changed, e.Result.text())
				}
			}
			if w.Failed() {
				w.Fatalf("with %q:\n%s", args, out)
			}
		}
		run(true, "--check")
		for _, way := range ways {
			if left := w.exec(way.name, "sh", "-c", "find /home /root /run /srv /tmp /opt /usr/local /var/tmp -xdev '(' -name '*gofleet-agent*' -o -name '.gofleet*' ')' -print 2>/dev/null; ls -d /usr/local/lib/gofleet /home/plain/go* /home/*/.ansible/tmp/* /root/.ansible/tmp/* 2>/dev/null; true"); left != "" {
				w.Errorf("check mode left on %s:\n%s", way.name, left)
			}
		}
		run(true)
		run(false)
		for _, way := range ways {
			root, _ := way.vars["gofleet_root"].(string)
			link := "/usr/local/go"
			if root != "" {
				link = root + "/go"
			}
			if got := w.exec(way.name, link+"/bin/go", "version"); !strings.Contains(got, "go1.26.8") {
				w.Errorf("%s: go version says %q", way.name, got)
			}
			if left := w.exec(way.name, "sh", "-c", "ls -d /home/*/.ansible/tmp/* /root/.ansible/tmp/* /usr/local/lib/gofleet/.staging /home/plain/*/.staging /run/.gofleet* 2>/dev/null; true"); left != "" {
				w.Errorf("left on %s:\n%s", way.name, left)
			}
		}
		play = w.play("gofleet.golang.toolchain", dict{"from_variables": true, "state": "absent"}, nil)
		run(true, "-l", "sudo,su,plain")
		run(false, "-l", "sudo,su,plain")
		for _, name := range []string{"sudo", "su", "plain"} {
			if left := w.exec(name, "sh", "-c", "ls -d /usr/local/go /usr/local/lib/gofleet /home/plain/go* /home/plain/.cache/gofleet/agent/* 2>/dev/null; true"); left != "" {
				w.Errorf("absent leaves on %s:\n%s", name, left)
			}
		}
	})
}

// hasConnection tells whether this ansible-core brings a connection; "" is any.
func (w *world) hasConnection(name string) bool {
	w.Helper()
	found, err := filepath.Glob(filepath.Join(w.venv, "lib/python3*/site-packages/ansible/plugins/connection", name+".py"))
	if err != nil {
		w.Fatal(err)
	}
	return name == "" || len(found) > 0
}

// TestRefusals: what cannot work is refused in words that say why.
func TestRefusals(t *testing.T) {
	eachAnsible(t, []lab.HostConfig{{}}, func(w *world) {
		w.refused(w.options("1.26.8"), dict{"async": 60}, "does not support async")
		w.refused(w.options("1.26.8"), dict{"become": false}, "an ordinary user cannot install to /usr/local/lib/gofleet; become root")
		w.refused(w.options("1.26.8"), dict{"become": true, "vars": dict{"ansible_user": lab.OpsUser}}, "assword") // Ansible's own words

		env := w.env
		mitogen := filepath.Join(filepath.Dir(w.venv), "mitogen")
		w.env = append(slices.Clone(env), "PYTHONPATH="+mitogen, "ANSIBLE_STRATEGY=mitogen_linear",
			"ANSIBLE_DEPRECATION_WARNINGS=0", // of strategies as such
			"ANSIBLE_STRATEGY_PLUGINS="+filepath.Join(mitogen, "ansible_mitogen/plugins/strategy"))
		w.refused(w.options("1.26.8"), nil, "does not work with Mitogen, which needs Python on the host and replaces Ansible's connections. Run this play with strategy: linear")
		w.env = env

		w.exec("h1", "sh", "-ec", "mount -t tmpfs -o noexec,mode=1777 none /tmp; mount --bind /home/plain /home/plain; mount -o remount,bind,noexec /home/plain")
		home := merge(w.options("1.26.8"), dict{"root": "/home/plain/gofleet"})
		r := w.refused(home, dict{"become": false, "vars": dict{"ansible_user": lab.PlainUser}}, "no directory to start a program from (tried ")
		if r.Kind != "agent_failed" || !strings.Contains(r.text(), "set TMPDIR in the task's environment") {
			w.Errorf("where no program may run: %+v", r)
		}
	})
}

// TestKeywords: loops, delegation, serial, handlers, environment and no_log.
func TestKeywords(t *testing.T) {
	eachAnsible(t, []lab.HostConfig{{}, {}, {}}, func(w *world) {
		const module = "gofleet.golang.toolchain"
		task := func(options, keywords dict) dict {
			return merge(dict{"name": "it", module: options, "notify": "heard"}, keywords)
		}
		play := func(t ...any) string {
			return w.plays(t, dict{"become": true, "serial": 2, "handlers": []any{dict{"name": "heard", "ansible.builtin.meta": "noop"},
				dict{"name": "heard too", "listen": "heard", "ansible.builtin.debug": dict{"msg": "the handler ran"}}}})
		}
		loop := w.options("{{ item }}")
		loop["sha256"] = dict{"linux-amd64": "{{ pins[item] }}", "linux-arm64": "{{ pins[item] }}"}
		file := play(task(loop, dict{"loop": []string{"1.26.7", "1.26.8"}}))
		vars := dict{"pins": w.pins}
		events, out := w.playbook(file, vars, "-l", "h1:h2")
		if len(events) < 2 || strings.Count(out, "the handler ran") != 2 || !strings.Contains(w.goVersion("h1"), "go1.26.8") {
			w.Errorf("loop:\n%s", out)
		}
		file = play(task(w.options("1.26.8"), dict{"delegate_to": "h1", "environment": dict{"X": "it's set"}, "no_log": true}))
		events, out = w.playbook(file, nil, "-l", "h3")
		if len(events) != 1 || events[0].Result.Changed || strings.Contains(out, "the handler ran") {
			w.Errorf("delegated, with nothing to do:\n%s", out)
		}
		if left := w.exec("h3", "sh", "-c", "ls -d /usr/local/lib/gofleet 2>/dev/null; true"); left != "" {
			w.Errorf("the task ran on h3 too: %s", left)
		}
		secret := merge(w.options("1.26.8"), dict{"environment": dict{"API_TOKEN": "hunter2hunter2"}, "env": dict{"GOPROXY": "https://u:hunter2hunter2@proxy.inner"}})
		_, out = w.playbook(play(task(secret, nil)), nil, "-l", "h1", "--diff", "-vvvv")
		if !strings.Contains(out, "API_TOKEN") || strings.Contains(out, "hunter2") {
			w.Errorf("a secret shows, or the diff does not:\n%s", out)
		}
	})
}

// TestLocal: the connection local installs, as root and with sudo. This
// machine is the host, with a copy of its own of what may be written.
func TestLocal(t *testing.T) {
	someAnsible(t, []lab.HostConfig{{}}, func(w *world) {
		over := filepath.Join(w.dir, "over")
		if err := os.Mkdir(over, 0o755); err != nil {
			w.Fatal(err)
		}
		if err := unix.Mount("tmpfs", over, "tmpfs", 0, ""); err != nil {
			w.Fatal(err)
		}
		w.Cleanup(func() {
			if err := unix.Unmount(over, unix.MNT_DETACH); err != nil {
				w.Error(err)
			}
		})
		w.inside = []string{"unshare", "--mount", "--propagation", "private", "sh", "-ec", `for d in usr/local etc; do
			mkdir -p "$0/$d/upper" "$0/$d/work"
			mount -t overlay overlay -o "lowerdir=/$d,upperdir=$0/$d/upper,workdir=$0/$d/work" "/$d"
		done
		mkdir -p "$0/run"
		mount --bind "$0/run" /run
		exec "$@"`, over}
		installed := filepath.Join(over, "usr/local/upper/lib/gofleet/go1.26.8/bin/go")
		for _, become := range []bool{false, true} {
			local := dict{"become": become, "connection": "local"}
			r := w.install(w.options("1.26.8"), local, true, "--check")
			if !slices.Contains(r.Actions, "install go1.26.8") {
				w.Errorf("actions are %q", r.Actions)
			}
			if _, err := os.Stat(installed); err == nil {
				w.Error("check mode installed")
			}
			w.install(w.options("1.26.8"), local, true)
			if out, err := exec.CommandContext(w.Context(), installed, "version").Output(); err != nil || !strings.Contains(string(out), "go1.26.8") {
				w.Errorf("go version says %q, %v", out, err)
			}
			w.install(w.options("1.26.8"), local, false)
			w.install(dict{"state": "absent"}, local, true)
		}
	})
}

// TestResume: a broken upload goes on from what is right of it, through
// standard input or, where a way has none, through a file.
func TestResume(t *testing.T) {
	someAnsible(t, []lab.HostConfig{{Name: "sudo"}, {Name: "su"}}, func(w *world) {
		noise := make([]byte, 20<<20)
		state := uint32(1)
		for i := range noise { // what does not compress
			state ^= state << 13
			state ^= state >> 17
			state ^= state << 5
			noise[i] = byte(state)
		}
		w.archive("1.26.8", noise)
		b := must(os.ReadFile(w.archivePath("1.26.8")))
		staging := "/usr/local/lib/gofleet/.staging/" + w.pins["1.26.8"]
		opens := w.opens(w.archivePath("1.26.8"))
		for host, keywords := range map[string]dict{
			"sudo": nil,
			"su":   {"become": true, "become_method": "su", "vars": dict{"ansible_user": "root"}},
		} {
			w.exec(host, "mkdir", "-p", "-m", "0711", staging)
			cmd := must(w.lab.Host(host).Command(w.Context(), "sh", "-c", "cat >"+staging+"/archive"))
			cmd.Stdin = strings.NewReader(string(b[:9<<20]))
			if err := runCommand(cmd); err != nil {
				w.Fatal(err)
			}
			events, out := w.playbook(w.play("gofleet.golang.toolchain", w.options("1.26.8"), keywords), nil, "-vvvv", "-l", host)
			if r := w.one(events, out); !r.Changed || r.Failed {
				w.Fatalf("%s", out)
			}
			for line := range strings.Lines(out) {
				if strings.Contains(line, "PUT") && strings.Contains(line, ".staging") {
					w.Errorf("%s: the whole archive travelled: %s", host, line)
				}
			}
		}
		// Judged once; then read by the plugin alone, two pieces and one rest.
		if n := opens(); n > 1+3+3 {
			w.Errorf("the archive was opened %d times", n)
		}
	})
}

// TestModuleFile: the agent alone, dropped into library/, is a module.
func TestModuleFile(t *testing.T) {
	someAnsible(t, []lab.HostConfig{{NoPython: true}}, func(w *world) {
		library := filepath.Join(w.dir, "library")
		if err := os.Mkdir(library, 0o755); err != nil {
			w.Fatal(err)
		}
		agent := must(filepath.Glob(built.agents + "/*"))[0]
		for _, name := range []string{"go_toolchain", "go_toolchain_info"} {
			if err := command("cp", agent, filepath.Join(library, name)); err != nil {
				w.Fatal(err)
			}
		}
		run := func(module string, options dict) result {
			w.Helper()
			events, out := w.playbook(w.play(module, options, nil), nil)
			return w.one(events, out)
		}
		if r := run("go_toolchain", w.options("1.26.8")); !r.Failed || !strings.Contains(r.text(), "no archive in "+w.archives) {
			w.Errorf("without the archive: %+v", r)
		}
		w.exec("h1", "mkdir", "/srv/go")
		cmd := exec.CommandContext(w.Context(), "tar", "-C", w.archives, "-c", ".")
		data, err := cmd.Output()
		if err != nil {
			w.Fatal(err)
		}
		in := must(w.lab.Host("h1").Command(w.Context(), "tar", "-C", "/srv/go", "-x"))
		in.Stdin = strings.NewReader(string(data))
		if err := runCommand(in); err != nil {
			w.Fatal(err)
		}
		options := merge(w.options("1.26.8"), dict{"archives": "/srv/go"})
		if r := run("go_toolchain_info", options); r.Failed || !r.Would {
			w.Errorf("info: %+v", r)
		}
		for _, changed := range []bool{true, false} {
			if r := run("go_toolchain", options); r.Failed || r.Changed != changed {
				w.Errorf("changed should be %v: %+v", changed, r)
			}
		}
		if r := run("go_toolchain", merge(options, dict{"packages": []string{"no-such-package"}})); !r.Failed || !strings.Contains(r.text(), "nobody is there to bring them") {
			w.Errorf("packages: %+v", r)
		}
		delete(options, "sha256")
		if r := run("go_toolchain", merge(options, dict{"go_version": "1.26.7"})); !r.Failed || !strings.Contains(r.text(), "only a pin is evidence") {
			w.Errorf("without a pin: %+v", r)
		}
	})
}
