//go:build linux

package faults

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/gofleet/gofleet/agent/wire"
	"github.com/gofleet/gofleet/controller/e2e/faults/rig"
	"github.com/gofleet/gofleet/controller/internal/lab"
)

// TestKeysChangeMidway withdraws the user's key from one host and gives another
// new host keys while a third is upgraded: both are refused, the budget counts
// them, no new key is recorded, and the run goes on once the keys are as they
// were. The pause ends the connections of the audit beforehand, which were made
// with the old keys.
func TestKeysChangeMidway(t *testing.T) {
	needHosts(t)
	t.Parallel()
	a, b := toolchain(t, "1.26.90"), toolchain(t, "1.26.91")
	w := world(t, named(3)...)
	_, err := w.MustRun(t.Context(), rig.Want(a), "apply")
	check(t, err)
	first, user, host := w.Host("h1"), w.Host("h2"), w.Host("h3")
	known, err := os.ReadFile(w.Lab.KnownHostsFile())
	check(t, err)
	check(t, first.Arm(map[string]string{"hold": "receive.opened"}))
	run, err := w.Start(t.Context(), rig.Want(b), "apply", "--serial", "1", "--max-unreachable", "0", "--pause", "1")
	check(t, err)
	check(t, first.Held(t.Context(), run))
	check(t, user.WithdrawKeys())
	check(t, host.RotateHostKeys(t.Context()))
	check(t, first.Release())
	o, err := run.Wait()
	check(t, err)
	wantKind(t, o, "h2", "unreachable", wire.KindAuth)
	wantKind(t, o, "h3", "skipped", wire.KindRunStopped)
	wantStanding(t, w, map[string]string{"h1": "changed", "h2": "unreachable", "h3": "skipped"})

	resume := func() *rig.Outcome {
		t.Helper()
		j, err := w.Journal(t.Context())
		check(t, err)
		run, err := w.Resume(t.Context(), "apply", j.Run)
		check(t, err)
		o, err := run.Wait()
		check(t, err)
		return o
	}
	check(t, user.GiveKeysBack())
	o = resume()
	if s := o.Of("h2").Status; s != "changed" {
		t.Errorf("with its key back: %s", o.Of("h2"))
	}
	wantKind(t, o, "h3", "unreachable", wire.KindHostKeyChanged)
	wantCurrent(t, host, a)
	if now, err := os.ReadFile(w.Lab.KnownHostsFile()); err != nil || string(now) != string(known) {
		t.Errorf("known_hosts was changed: %v", err)
	}
	check(t, host.RestoreHostKeys(t.Context()))
	if err := resume().Err(); err != nil {
		t.Error(err)
	}
	wantStanding(t, w, map[string]string{"h1": "changed", "h2": "changed", "h3": "changed"})
	wantWhole(t, w, rig.Want(b), b)
}

// TestJumpHostLost takes the jump host away while hosts behind it are at work,
// and brings it back: the journal knows that it does not know, and the run goes
// on.
func TestJumpHostLost(t *testing.T) {
	needHosts(t)
	t.Parallel()
	a, b := toolchain(t, "1.26.90"), toolchain(t, "1.26.91")
	w := world(t, lab.HostConfig{Name: "jump"}, lab.HostConfig{Name: "h1"}, lab.HostConfig{Name: "h2"})
	jump, addresses := w.Host("jump"), map[string]string{}
	w.SSHArgs = map[string]string{}
	config := fmt.Sprintf("Host jump\n\tHostName %s\n\tUser %s\n\tIdentityFile %s\n\tUserKnownHostsFile %s\n",
		jump.Addr, lab.AdminUser, w.Lab.KeyFile(), w.Lab.KnownHostsFile())
	check(t, os.WriteFile(filepath.Join(w.Dir, "home", ".ssh", "config"), []byte(config), 0o600))
	behind := []*rig.Host{w.Host("h1"), w.Host("h2")}
	for _, h := range behind {
		addresses[h.Name], w.SSHArgs[h.Name] = net.JoinHostPort(h.Addr, "22"), "-o ProxyJump=jump"
	}
	check(t, w.Inventory(addresses))
	_, err := w.MustRun(t.Context(), rig.Want(a), "apply")
	check(t, err)
	for _, h := range behind {
		check(t, h.Arm(map[string]string{"hold": "receive.opened"}))
	}
	run, err := w.Start(t.Context(), rig.Want(b), "apply")
	check(t, err)
	for _, h := range behind {
		check(t, h.Held(t.Context(), run))
	}
	check(t, jump.KillSSHD(t.Context()))
	for _, h := range behind {
		check(t, h.Release())
	}
	o, err := run.Wait()
	check(t, err)
	for _, h := range behind {
		wantKind(t, o, h.Name, "unreachable", wire.KindUnreachable)
		check(t, h.Gone(t.Context()))
		wantCurrent(t, h, a)
	}
	j, err := w.Journal(t.Context())
	check(t, err)
	for _, h := range j.Hosts {
		if !h.Unknown {
			t.Errorf("the journal is sure of %s: %s", h.Host, h.Status)
		}
	}
	check(t, jump.StartSSHD(t.Context()))
	run, err = w.Resume(t.Context(), "apply", j.Run)
	check(t, err)
	if o, err = run.Wait(); err != nil || o.Err() != nil {
		t.Errorf("resumed: %v, %v", err, o.Err())
	}
	for _, h := range behind {
		wantCurrent(t, h, b)
		if err := h.Clean(); err != nil {
			t.Error(err)
		}
	}
}

func wantKind(t *testing.T, o *rig.Outcome, host, status string, kind wire.Kind) {
	t.Helper()
	if r := o.Of(host); r.Status != status || !rig.IsKind(r, kind) {
		t.Errorf("%s, want %s (%s)", r, status, kind)
	}
}

// wantStanding wants the journal of the last run to tell how hosts stand.
func wantStanding(t *testing.T, w *rig.World, want map[string]string) {
	t.Helper()
	j, err := w.Journal(t.Context())
	check(t, err)
	for _, h := range j.Hosts {
		if h.Status != want[h.Host] {
			t.Errorf("the journal says %s is %s, want %s", h.Host, h.Status, want[h.Host])
		}
	}
}
