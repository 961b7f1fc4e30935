//go:build linux

package e2e

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/gofleet/gofleet/controller/internal/lab"
)

// cmdLab starts the hosts of the script: lab HOST[:OPTION,OPTION...]...
//
// Options are those of gofleet-lab. It writes inventory.yaml, in which hosts
// are in the group lab and log in as admin, and known_hosts, which gofleet may
// add to. $KEYS has the keys, $PUBKEY the public one that is used, and a
// variable of each host's name its address.
func cmdLab(ts *testscript.TestScript, neg bool, args []string) {
	s := of(ts)
	if neg || len(args) == 0 || s.lab != nil {
		usage(ts, "lab HOST[:OPTION,OPTION...]..., once")
	}
	c := lab.Config{
		Name: "e2e", Dir: filepath.Join(built.dir, "labs", ts.Name()), Ephemeral: true,
		CacheDir: filepath.Join(built.repo, ".cache", "images"),
	}
	patience := 2 * time.Minute
	for _, a := range args {
		name, options, _ := strings.Cut(a, ":")
		h := lab.HostConfig{Name: name}
		for option := range strings.SplitSeq(options, ",") {
			if option != "" {
				ts.Check(h.Set(option))
			}
		}
		if h.Image != "" {
			patience = imagePatience
		}
		c.Hosts = append(c.Hosts, h)
	}
	ctx, cancel := context.WithTimeout(s.ctx, patience)
	defer cancel()
	l, err := lab.Up(ctx, c)
	ts.Check(err)
	s.lab = l
	ts.Defer(func() {
		if err := l.Down(context.Background()); err != nil {
			ts.Fatalf("end the lab: %v", err)
		}
	})
	known, err := os.ReadFile(l.KnownHostsFile())
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs("known_hosts"), known, 0o600))
	ts.Setenv("KEYS", filepath.Dir(l.KeyFile()))
	ts.Setenv("KNOWN", ts.MkAbs("known_hosts"))
	public, err := os.ReadFile(l.KeyFile() + ".pub")
	ts.Check(err)
	ts.Setenv("PUBKEY", strings.TrimSpace(string(public)))
	for _, h := range l.Hosts {
		ts.Setenv(strings.ReplaceAll(h.Name, "-", "_"), h.Addr)
	}
	ts.Check(os.WriteFile(ts.MkAbs("inventory.yaml"), inventory(l, ts.MkAbs("known_hosts")), 0o644))
}

// imagePatience is for the first script that wants an image, which makes it.
const imagePatience = 20 * time.Minute

func inventory(l *lab.Lab, known string) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, `all:
  vars:
    ansible_user: %s
    ansible_ssh_private_key_file: %s
    ansible_ssh_common_args: -o UserKnownHostsFile=%s -o IdentitiesOnly=yes
    gofleet_archives: %s
  children:
    lab:
      hosts:
`, lab.AdminUser, l.KeyFile(), known, built.archive)
	for _, h := range l.Hosts {
		fmt.Fprintf(&b, "        \"%s\":\n          ansible_host: %s\n", h.Name, h.Addr)
		if h.Config.Musl { // it has no sudo
			fmt.Fprintf(&b, "          ansible_user: root\n          ansible_become: false\n")
		}
	}
	return []byte(b.String())
}

func (s *script) host(ts *testscript.TestScript, name string) *lab.Host {
	if s.lab == nil {
		ts.Fatalf("no lab is up")
	}
	h := s.lab.Host(name)
	if h == nil {
		ts.Fatalf("there is no host %s", name)
	}
	return h
}

// cmdSSH runs a command over the real ssh client: ssh USER@HOST COMMAND
func cmdSSH(ts *testscript.TestScript, neg bool, args []string) {
	user, name, ok := strings.Cut(append(args, "")[0], "@")
	if !ok || len(args) != 2 {
		usage(ts, "ssh USER@HOST COMMAND")
	}
	s := of(ts)
	run(ts, neg, s.lab.SSH(s.ctx, user, s.host(ts, name), args[1]).Args...)
}

// cmdRoot runs a command as root on a host, not through SSH:
// root HOST COMMAND
func cmdRoot(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		usage(ts, "root HOST COMMAND")
	}
	s := of(ts)
	run(ts, neg, s.asRoot(ts, args[0], args[1])...)
}

func (s *script) asRoot(ts *testscript.TestScript, host, command string) []string {
	cmd, err := s.host(ts, host).Command(s.ctx, "sh", "-c", command)
	ts.Check(err)
	argv := append([]string{"env", "-i"}, cmd.Env...)
	return append(argv, cmd.Args...)
}

// cmdPut copies a file to a host, mode 0755: put HOST FILE PATH
func cmdPut(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		usage(ts, "put HOST FILE PATH")
	}
	s := of(ts)
	cmd, err := s.host(ts, args[0]).Command(s.ctx, "sh", "-c", `mkdir -p "${1%/*}"; cat > "$1"; chmod 755 "$1"`, "sh", args[2])
	ts.Check(err)
	f, err := os.Open(ts.MkAbs(args[1]))
	ts.Check(err)
	defer f.Close()
	cmd.Stdin = f
	ts.Check(cmd.Run())
}

// cmdHost does something to a host as a machine:
// host cut|restore|reboot|kill-sshd|start-sshd|drop HOST
func cmdHost(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		usage(ts, "host ACT HOST")
	}
	s := of(ts)
	h := s.host(ts, args[1])
	acts := map[string]func(context.Context) error{
		"cut": h.CutNetwork, "restore": h.RestoreNetwork, "reboot": h.Reboot,
		"kill-sshd": h.KillSSHD, "start-sshd": h.StartSSHD, "drop": h.DropSessions,
	}
	act := acts[args[0]]
	if act == nil {
		usage(ts, "host "+strings.Join(slices.Sorted(maps.Keys(acts)), "|")+" HOST")
	}
	ts.Check(act(s.ctx))
}

// markFile is what `untouched` looks for newer files than.
const markFile = "/var/tmp/e2e-mark"

// cmdMark remembers what is on hosts: mark HOST...
func cmdMark(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		usage(ts, "mark HOST...")
	}
	s := of(ts)
	for _, name := range args {
		h := s.host(ts, name)
		// Debian's sudo leaves a file in the home of who uses it first.
		_, err := h.Exec(s.ctx, "sh", "-c", "for h in /home/*; do touch $h/.sudo_as_admin_successful; done; touch "+markFile)
		ts.Check(err)
		s.marks[name], err = written(h)
		ts.Check(err)
		s.logs[name], err = os.ReadFile(h.LogFile())
		ts.Check(err)
	}
}

// cmdUndialled proves that nobody has talked to the hosts' sshd since `mark`:
// undialled HOST...
func cmdUndialled(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) == 0 {
		usage(ts, "[!] undialled HOST...")
	}
	s := of(ts)
	for _, name := range args {
		now, err := os.ReadFile(s.host(ts, name).LogFile())
		ts.Check(err)
		if more := now[len(s.logs[name]):]; len(more) > 0 != neg {
			ts.Fatalf("sshd of %s says since the mark: %q", name, more)
		}
	}
}

// cmdReceived notes how many bytes came to a host since the last call, in
// the log, and with a limit that they are fewer: received HOST [LIMIT]
func cmdReceived(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 1 || len(args) > 2 {
		usage(ts, "[!] received HOST [LIMIT]")
	}
	s := of(ts)
	out, err := s.host(ts, args[0]).Exec(s.ctx, "cat", "/sys/class/net/eth0/statistics/rx_bytes")
	ts.Check(err)
	now, err := strconv.ParseInt(strings.TrimSpace(string(out)), 10, 64)
	ts.Check(err)
	n := now - s.received[args[0]]
	s.received[args[0]] = now
	ts.Logf("%s received %d bytes", args[0], n)
	if len(args) == 2 {
		limit, err := strconv.ParseInt(args[1], 10, 64)
		ts.Check(err)
		if n < limit == neg {
			ts.Fatalf("%s received %d bytes; the limit is %d", args[0], n, limit)
		}
	}
}

// cmdUplink notes how many bytes this machine has sent to all its hosts since
// the last call, and with a limit that they are fewer. What hosts send to each
// other does not count: uplink [LIMIT]
func cmdUplink(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) > 1 {
		usage(ts, "[!] uplink [LIMIT]")
	}
	s := of(ts)
	now, err := s.lab.Sent()
	ts.Check(err)
	n := now - s.uplink
	s.uplink = now
	ts.Logf("%d bytes went to all hosts", n)
	if len(args) == 1 {
		limit, err := strconv.ParseInt(args[0], 10, 64)
		ts.Check(err)
		if n < limit == neg {
			ts.Fatalf("%d bytes went to all hosts; the limit is %d", n, limit)
		}
	}
}

// traces are what any login and any use of sudo leaves on a host: logs, sudo's
// memory of who was lectured, and the times of the directories in which they
// come and go.
var traces = regexp.MustCompile(`^/(` + strings.Join([]string{
	`var/log(/.*)?`, `run/utmp`, `run/sudo(/.*)?`, `var/lib/sudo(/.*)?`, `run/systemd/.*`,
	`run`, `tmp`, `var/tmp`, // their times: the agent's own directory came and went
	regexp.QuoteMeta(strings.TrimPrefix(markFile, "/")),
}, "|") + `)$`)

// cmdUntouched proves that since `mark` nothing on the hosts was made, changed
// or removed but for traces: untouched [find] [times=DIRECTORY] HOST...
//
// It looks at what their overlays hold and at their other filesystems; with
// find, at all that find(1) sees, as an administrator would. The times of a
// directory named with times may have changed: the agent was started from there.
func cmdUntouched(ts *testscript.TestScript, neg bool, args []string) {
	s := of(ts)
	var find bool
	var times string
	hosts := 0
	for _, arg := range args {
		if dir, ok := strings.CutPrefix(arg, "times="); ok {
			times = dir
			continue
		}
		if arg == "find" {
			find = true
			continue
		}
		hosts++
		h := s.host(ts, arg)
		if s.marks[arg] == nil {
			ts.Fatalf("mark %s first", arg)
		}
		changed, err := s.changed(h, find)
		ts.Check(err)
		changed = slices.DeleteFunc(changed, func(c string) bool {
			return times != "" && (strings.HasSuffix(c, ": "+times) || strings.HasPrefix(c, times+" was "))
		})
		if len(changed) > 0 != neg {
			ts.Fatalf("changed on %s:%s", arg, lines(changed[:min(len(changed), 40)]))
		}
	}
	if hosts == 0 {
		usage(ts, "[!] untouched [find] [times=DIRECTORY] HOST...")
	}
}

// changed lists what has changed on h since its mark.
func (s *script) changed(h *lab.Host, everywhere bool) ([]string, error) {
	roots := []string{"/"}
	if !everywhere {
		var err error
		if roots, err = mounts(s.ctx, h); err != nil {
			return nil, err
		}
	}
	argv := append([]string{"find"}, roots...)
	out, err := h.Exec(s.ctx, append(argv, "(", "-path", "/proc", "-o", "-path", "/sys", "-o", "-path", "/dev", ")", "-prune",
		"-o", "(", "-newer", markFile, "-o", "-cnewer", markFile, ")", "-print")...)
	if err != nil {
		return nil, err
	}
	var changed []string
	for path := range strings.Lines(string(out)) {
		if path = strings.TrimSpace(path); !traces.MatchString(path) && !machines(h, path) {
			changed = append(changed, "newer: "+path)
		}
	}
	now, err := written(h)
	if err != nil {
		return nil, err
	}
	was := s.marks[h.Name]
	for path, then := range was {
		if is, ok := now[path]; !traces.MatchString(path) && is != then {
			changed = append(changed, fmt.Sprintf("%s was %s, is %s (there: %t)", path, then, is, ok))
		}
	}
	for path := range now {
		if _, ok := was[path]; !ok && !traces.MatchString(path) {
			changed = append(changed, "new: "+path)
		}
	}
	slices.Sort(changed)
	return changed, nil
}

// mounts lists where a host has filesystems that keep files, other than its
// root. There is always one: /run.
func mounts(ctx context.Context, h *lab.Host) ([]string, error) {
	out, err := h.Exec(ctx, "cat", "/proc/self/mounts")
	if err != nil {
		return nil, err
	}
	var points []string
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line)
		if len(f) > 2 && f[1] != "/" && (f[2] == "tmpfs" || f[2] == "overlay") && !strings.HasPrefix(f[1], "/dev") && !strings.HasPrefix(f[1], "/proc") && !strings.HasPrefix(f[1], "/sys") {
			points = append(points, f[1])
		}
	}
	if len(points) == 0 {
		return nil, fmt.Errorf("%s has one filesystem only:\n%s", h.Name, out)
	}
	return points, nil
}

// machines tells whether a file that a host sees is this machine's own, over
// which the host's overlay lies: whatever runs here meanwhile may change it.
func machines(h *lab.Host, path string) bool {
	for _, own := range []string{"/run/", "/tmp/", "/home/", "/usr/local/"} {
		if strings.HasPrefix(path, own) {
			return false
		}
	}
	_, upper := os.Lstat(h.UpperDir + path)
	_, lower := os.Lstat(path)
	return upper != nil && lower == nil
}

// written lists what a host has written since it was made: its overlay's
// upper directory, with mode, size and times.
func written(h *lab.Host) (map[string]string, error) {
	all := map[string]string{}
	err := filepath.WalkDir(h.UpperDir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		st := info.Sys().(*syscall.Stat_t)
		all[strings.TrimPrefix(path, h.UpperDir)] = fmt.Sprintf("%v %d:%d %d bytes, %d.%09d", info.Mode(), st.Uid, st.Gid, st.Size, st.Mtim.Sec, st.Mtim.Nsec)
		return nil
	})
	delete(all, "")
	return all, err
}

// cmdAwait waits until a file that the host has written has that many bytes:
// await HOST GLOB BYTES
func cmdAwait(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		usage(ts, "await HOST GLOB BYTES")
	}
	s := of(ts)
	var size int64
	_, err := fmt.Sscan(args[2], &size)
	ts.Check(err)
	pattern := filepath.Join(s.host(ts, args[0]).UpperDir, args[1])
	for end := time.Now().Add(time.Minute); ; {
		files, err := filepath.Glob(pattern)
		ts.Check(err)
		for _, f := range files {
			if st, err := os.Stat(f); err == nil && st.Size() >= size {
				return
			}
		}
		if time.Now().After(end) {
			ts.Fatalf("%s has not %d bytes within a minute", args[1], size)
		}
		time.Sleep(time.Millisecond)
	}
}
