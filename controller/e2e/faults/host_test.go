//go:build linux

package faults

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gofleet/gofleet/agent/wire"
	"github.com/gofleet/gofleet/controller/e2e/faults/rig"
	"github.com/gofleet/gofleet/controller/internal/lab"
)

// TestTwoControllers runs two at once: the second waits for the first on every
// host. On one both succeed; on another the agent that has the lock is killed,
// and the other one goes on; on the third the one that waits is killed.
func TestTwoControllers(t *testing.T) {
	needHosts(t)
	t.Parallel()
	a, b := toolchain(t, "1.26.90"), toolchain(t, "1.26.91")
	w := world(t, lab.HostConfig{Name: "both"}, lab.HostConfig{Name: "holder"}, lab.HostConfig{Name: "waiter"})
	for _, h := range w.Hosts() {
		check(t, h.Arm(map[string]string{"hold": "commit.synced", "trace": ""}))
	}
	first, err := w.Start(t.Context(), rig.Want(a), "apply")
	check(t, err)
	each(t, w, func(_ int, h *rig.Host) error { return h.Held(t.Context(), first) })
	second, err := w.Start(t.Context(), rig.Want(b), "apply")
	check(t, err)
	each(t, w, func(_ int, h *rig.Host) error {
		return rig.Until(t.Context(), func() (bool, error) {
			points, err := h.Trace()
			return slices.Contains(points, "waiting"), err
		})
	})
	if !w.Host("holder").KillAgent(rig.Oldest) || !w.Host("waiter").KillAgent(rig.Newest) {
		t.Fatal("there was no agent to kill")
	}
	for _, h := range w.Hosts() {
		check(t, h.Release())
	}
	for i, r := range []*rig.Run{first, second} {
		o, err := r.Wait()
		check(t, err)
		for _, h := range w.Hosts() {
			killed := h.Name == "holder" && i == 0 || h.Name == "waiter" && i == 1
			if r := o.Of(h.Name); killed && (!rig.IsKind(r, wire.KindAgent) || !r.Error.Retryable) || !killed && r.Status != "changed" {
				t.Errorf("controller %d: %s", i+1, r)
			}
			check(t, h.Gone(t.Context()))
		}
	}
	wantCurrent(t, w.Host("both"), b)
	wantCurrent(t, w.Host("holder"), b)
	wantCurrent(t, w.Host("waiter"), a)
	wantWhole(t, w, rig.Want(b), b)
}

// TestSilentNetwork cuts the network without a word, and brings it back when
// the agent has given up, after its minute: the lock has freed itself, for all
// that sshd's session still stands.
func TestSilentNetwork(t *testing.T) {
	needHosts(t)
	t.Parallel()
	a, b := toolchain(t, "1.26.90"), toolchain(t, "1.26.91")
	w := world(t, named(1)...)
	_, err := w.MustRun(t.Context(), rig.Want(a), "apply")
	check(t, err)
	h := w.Host("h1")
	check(t, h.Arm(map[string]string{"hold": "receive.opened"}))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	run, err := w.Start(ctx, rig.Want(b), "apply")
	check(t, err)
	check(t, h.Held(t.Context(), run))
	check(t, h.CutNetwork(t.Context()))
	check(t, h.Release())
	check(t, h.Gone(t.Context()))
	wantCurrent(t, h, a)
	check(t, h.RestoreNetwork(t.Context()))
	wantWhole(t, w, rig.Want(b), b)
}

// TestCrowd installs on eight inventory hosts that are one machine, whose sshd
// takes two logins at once: one changes it, seven find it done.
func TestCrowd(t *testing.T) {
	needHosts(t)
	t.Parallel()
	a := toolchain(t, "1.26.90")
	w := world(t, lab.HostConfig{Name: "h1", MaxStartups: 2})
	h := w.Host("h1")
	addresses := map[string]string{}
	for i := range 8 {
		addresses[fmt.Sprintf("h1-%d", i)] = net.JoinHostPort(h.Addr, "22")
	}
	check(t, w.Inventory(addresses))
	o, err := w.MustRun(t.Context(), rig.Want(a), "apply")
	check(t, err)
	changed := 0
	for i := range o.Hosts {
		if o.Hosts[i].Status == "changed" {
			changed++
		}
	}
	if changed != 1 || len(o.Hosts) != 8 {
		t.Errorf("%d of %d changed it", changed, len(o.Hosts))
	}
	wantWhole(t, w, rig.Want(a), a)
}

// TestBanner installs on hosts that say a megabyte before anything else, in
// lines and in one, and where sshd has the longest banner that it can send:
// with more than a packet's 256 KB it drops every client, ssh too.
func TestBanner(t *testing.T) {
	needHosts(t)
	t.Parallel()
	a := toolchain(t, "1.26.90")
	megabyte := strings.Repeat(strings.Repeat("x", 99)+"\n", 10<<10)
	w := world(t,
		lab.HostConfig{Name: "sshd", SSHD: []string{"Banner /etc/banner"}, Files: map[string]string{"/etc/banner": megabyte[:250_000]}},
		lab.HostConfig{Name: "shell", Files: map[string]string{"/etc/banner": megabyte, "/etc/bash.bashrc": "cat /etc/banner; cat /etc/banner >&2\n"}},
		lab.HostConfig{Name: "line", Files: map[string]string{
			"/etc/banner": strings.Repeat("x", 1<<20), "/etc/bash.bashrc": "cat /etc/banner\n"}})
	wantWhole(t, w, rig.Want(a), a)
}

// TestNoexec installs where programs may not run in the usual places, with the
// connection cut while the agent travels.
func TestNoexec(t *testing.T) {
	needHosts(t)
	t.Parallel()
	a := toolchain(t, "1.26.90")
	w := world(t,
		lab.HostConfig{Name: "run", Noexec: []string{"/run"}}, lab.HostConfig{Name: "tmp", Noexec: []string{"/tmp"}},
		lab.HostConfig{Name: "both", Noexec: []string{"/run", "/tmp", "/dev/shm", "/home"}})
	for _, p := range proxiesOf(t, w) {
		p.CutAfter(300 << 10) // in the middle of the agent
	}
	o, err := w.Run(t.Context(), rig.Want(a), "apply")
	check(t, err)
	for _, h := range w.Hosts() {
		if r := o.Of(h.Name); r.Error == nil {
			t.Errorf("cut: %s", r)
		}
		check(t, rig.Until(t.Context(), func() (bool, error) { return h.Clean() == nil, nil }))
	}
	proxiesOf(t, w)
	wantWhole(t, w, rig.Want(a), a)
}

// TestReplacedAgent lets another user replace the cached agent, in each way in
// which a place can be open. It is not used.
func TestReplacedAgent(t *testing.T) {
	needHosts(t)
	t.Parallel()
	a := toolchain(t, "1.26.90")
	ways := []string{
		`chmod 777 "$dir" && su -s /bin/sh plain -c "cd $dir && mv $agent old && cp /var/tmp/evil $agent"`,
		`chmod 777 /usr/local/lib/gofleet && su -s /bin/sh plain -c "cd /usr/local/lib/gofleet && mv agent old && mkdir agent && cp /var/tmp/evil agent/$agent"`,
		`chown plain "$dir/$agent" && su -s /bin/sh plain -c "cat /var/tmp/evil > $dir/$agent"`,
		`chmod 777 "$dir/$agent" && su -s /bin/sh plain -c "cat /var/tmp/evil > $dir/$agent"`,
		`chgrp plain "$dir/$agent" && chmod 775 "$dir/$agent" && su -s /bin/sh plain -c "cat /var/tmp/evil > $dir/$agent"`,
		`su -s /bin/sh plain -c "cp /var/tmp/evil /home/plain/evil" && ln -sf /home/plain/evil "$dir/$agent"`,
		`mv "$dir" /home/plain/agent && chown -R plain /home/plain/agent && cp /var/tmp/evil "/home/plain/agent/$agent" && ln -s /home/plain/agent "$dir"`,
	}
	w := world(t, named(len(ways))...)
	_, err := w.MustRun(t.Context(), rig.Want(a), "apply")
	check(t, err)
	for i, h := range w.Hosts() {
		evil := "#!/bin/sh\ntouch /usr/local/evil\n"
		check(t, os.WriteFile(h.Path("/var/tmp/evil"), []byte(evil), 0o755))
		_, err := h.Exec(t.Context(), "sh", "-c", `dir=/usr/local/lib/gofleet/agent; agent=$(ls $dir); export dir agent; `+ways[i])
		check(t, err)
	}
	const opened = 1 // where all of gofleet_root was open to others: nothing in it is believed
	for _, args := range [][]string{{"audit"}, {"apply"}} {
		o, err := w.Run(t.Context(), rig.Want(a), args...)
		check(t, err)
		for i, h := range w.Hosts() {
			if _, err := os.Lstat(h.Path("/usr/local/evil")); err == nil {
				t.Errorf("%s ran what another user had put there: %s", args[0], ways[i])
			}
			refused := o.Of(h.Name).Error != nil && o.Of(h.Name).Error.Kind == "link_refused"
			if got := o.Of(h.Name); refused != (i == opened) || !refused && got.Status != "ok" {
				t.Errorf("%s: %s: %s", args[0], got, ways[i])
			}
			wantCurrent(t, h, a)
		}
	}
	_, err = w.Hosts()[opened].Exec(t.Context(), "chmod", "755", "/usr/local/lib/gofleet")
	check(t, err)
	wantWhole(t, w, rig.Want(a), a)
}

// TestWrongClock upgrades hosts whose clocks are decades ahead and behind, with
// an upload to be resumed, and where everything already has such times: what
// may be resumed and what is cached is judged by content. The clock itself is a
// warning.
func TestWrongClock(t *testing.T) {
	needHosts(t)
	t.Parallel()
	const year = 365 * 24 * time.Hour
	small, large := toolchain(t, "1.26.90"), toolchain(t, "1.27.1")
	w := world(t, lab.HostConfig{Name: "ahead", Clock: 70 * year}, lab.HostConfig{Name: "behind", Clock: -50 * year},
		lab.HostConfig{Name: "future"}, lab.HostConfig{Name: "past"})
	_, err := w.MustRun(t.Context(), rig.Want(small, w.Everything(0)), "apply")
	check(t, err)
	for _, p := range proxiesOf(t, w) {
		p.CutAfter(2*chunk + chunk/2)
	}
	_, err = w.Run(t.Context(), rig.Want(large), "apply", "--encoding", "gzip")
	check(t, err)
	for _, h := range w.Hosts() {
		check(t, h.Gone(t.Context()))
		if date := map[string]string{"future": "2099-01-01", "past": "1971-01-01"}[h.Name]; date != "" {
			_, err := h.Exec(t.Context(), "sh", "-c", "find /usr/local /home -exec touch -h -d "+date+" {} +")
			check(t, err)
		}
		wantCurrent(t, h, small)
	}
	proxiesOf(t, w)
	vars := rig.Want(large, w.Everything(0))
	o, err := w.MustRun(t.Context(), vars, "apply")
	check(t, err)
	for _, h := range w.Hosts() {
		want := "pass"
		if h.Config.Clock != 0 {
			want = "warn"
		}
		if got := o.Of(h.Name).Check("clock"); got != want {
			t.Errorf("%s: the check of the clock says %q, want %q", h.Name, got, want)
		}
	}
	wantWhole(t, w, vars, large)
	for _, h := range w.Hosts() {
		if files, err := filepath.Glob(h.Path("/usr/local/lib/gofleet/agent/*")); err != nil || len(files) != 1 {
			t.Errorf("%s: cached agents are %q, %v", h.Name, files, err)
		}
	}
}
