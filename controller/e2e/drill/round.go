//go:build linux

package main

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/gofleet/gofleet/controller/e2e/faults/rig"
)

// breakage is one way in which a host, or the way to it, breaks.
type breakage struct {
	name  string
	begin func(ctx context.Context, n *network, f *fault) error
	end   func(ctx context.Context, h *rig.Host) error // nil: the proxy's healing does
}

// breakages of hosts behind a proxy.
var breakages = []breakage{
	{"cut", func(_ context.Context, n *network, f *fault) error { n.proxies[f.host.Name].Cut(); return nil }, nil},
	{"cut after some bytes", func(_ context.Context, n *network, f *fault) error {
		n.proxies[f.host.Name].CutAfter(1 + int64(f.much*(3<<20)))
		return nil
	}, nil},
	{"delayed", func(_ context.Context, n *network, f *fault) error {
		n.proxies[f.host.Name].Delay(time.Duration((20 + f.much*100) * float64(time.Millisecond)))
		return nil
	}, nil},
	{"slow", func(_ context.Context, n *network, f *fault) error {
		n.proxies[f.host.Name].Slow(300 << 10)
		return nil
	}, nil},
	{"half-open", func(_ context.Context, n *network, f *fault) error { n.proxies[f.host.Name].Withhold(); return nil }, nil},
	{"sshd killed", killSSHD, startSSHD},
	{"session killed", func(ctx context.Context, _ *network, f *fault) error {
		f.host.DropSessions(ctx) // an error where there is none
		return nil
	}, nil},
	{"host keys rotated", func(ctx context.Context, _ *network, f *fault) error { return f.host.RotateHostKeys(ctx) },
		func(ctx context.Context, h *rig.Host) error { return h.RestoreHostKeys(ctx) }},
	{"user's key withdrawn", func(_ context.Context, _ *network, f *fault) error { return f.host.WithdrawKeys() },
		func(_ context.Context, h *rig.Host) error { return h.GiveKeysBack() }},
}

// jumpLost is the breakage of the jump host.
var jumpLost = breakage{"jump host lost", killSSHD, startSSHD}

// seedLost is the breakage of a site's seed: hosts hear nothing more from it,
// nor does the controller.
var seedLost = breakage{"seed lost", func(ctx context.Context, _ *network, f *fault) error { return f.host.CutNetwork(ctx) },
	func(ctx context.Context, h *rig.Host) error { return h.RestoreNetwork(ctx) }}

func killSSHD(ctx context.Context, _ *network, f *fault) error { return f.host.KillSSHD(ctx) }
func startSSHD(ctx context.Context, h *rig.Host) error         { return h.StartSSHD(ctx) }

// fault is a breakage of a host at an instant of a run.
type fault struct {
	breakage
	host *rig.Host
	at   time.Duration
	much float64 // from 0 to 1, where a breakage has a size
	came bool    // before the run's end
}

// round is what happens to one run. All but the time that a run takes is drawn
// from the drill's seed and the round's number.
type round struct {
	want   *rig.Toolchain
	order  uint64 // seed of the order of the hosts
	via    string // the host that hands the archive on; "" is none
	faults []*fault
	kill   time.Duration // when the controller is killed; 0: it is not
	after  int           // batch after which the controller is killed; 0: none
	resume bool          // go on with the run, if it is not done
}

func (r *round) String() string {
	s := "to go" + r.want.Version
	if r.via != "" {
		s += " via " + r.via
	}
	if r.kill > 0 {
		s += fmt.Sprintf(", controller killed at %s", r.kill)
	}
	if r.after > 0 {
		s += fmt.Sprintf(", controller killed after batch %d", r.after)
	}
	for _, f := range r.faults {
		s += fmt.Sprintf(", %s of %s at %s", f.name, f.host.Name, f.at.Round(time.Millisecond))
	}
	return s
}

// draw makes up a round.
func (n *network) draw(rand *rand.Rand) *round {
	span := 5 * time.Second
	if len(n.spans) > 0 {
		span = slices.Min(n.spans)
	}
	instant := func() time.Duration { return time.Duration(rand.Float64() * float64(span)) }
	r := &round{want: n.small[rand.IntN(len(n.small))], order: rand.Uint64() | 1, resume: rand.IntN(3) > 0}
	for _, h := range n.hosts {
		if n.proxies[h.Name] != nil && rand.IntN(5) > 0 {
			r.faults = append(r.faults, &fault{breakages[rand.IntN(len(breakages))], h, instant(), rand.Float64(), false})
		}
	}
	if rand.IntN(3) == 0 {
		r.faults = append(r.faults, &fault{breakage: jumpLost, host: n.world.Host(jumpName), at: instant()})
	}
	if rand.IntN(3) == 0 {
		seed := n.hosts[rand.IntN(len(n.hosts))]
		r.via = seed.Name
		if at := instant(); rand.IntN(2) == 0 && !slices.ContainsFunc(r.faults, func(f *fault) bool { return f.host == seed }) {
			r.faults = append(r.faults, &fault{breakage: seedLost, host: seed, at: at})
		}
	}
	slices.SortStableFunc(r.faults, func(a, b *fault) int { return cmp.Compare(a.at, b.at) })
	switch rand.IntN(4) {
	case 0:
		r.kill = instant() + 1
	case 1:
		r.after = 1 + rand.IntN(2)
	}
	return r
}

// spoiled runs gofleet while the round's faults happen, and heals them. It tells
// whether the controller was killed.
func (n *network) spoiled(ctx context.Context, r *round) (killed bool, err error) {
	// A host that went silent shall not be waited for as long as by default.
	n.world.Timeout = "10"
	defer func() { n.world.Timeout = "" }()
	if err := n.inventory("-o ServerAliveInterval=4 -o ServerAliveCountMax=2"); err != nil {
		return false, err
	}
	args := []string{"apply", "--serial", "1,50%,100%", "--order", "random", "--seed", strconv.FormatUint(r.order, 10)}
	if r.via != "" {
		args = append(args, "--via", r.via)
	}
	if r.after > 0 {
		// Once: the run that goes on has the gate too.
		armed := filepath.Join(n.world.Dir, "armed")
		if err := os.WriteFile(armed, nil, 0o600); err != nil {
			return false, err
		}
		args = append(args, "--gate", fmt.Sprintf("if [ $GOFLEET_BATCH = %d ] && rm %s; then kill -KILL $PPID; fi", r.after, armed))
	}
	run, err := n.world.Start(ctx, rig.Want(r.want), args...)
	if err != nil {
		return false, err
	}
	if err := n.spoil(ctx, run, r); err != nil {
		return false, err
	}
	o, err := run.Wait()
	if err != nil {
		return false, err
	}
	for _, f := range r.faults {
		if f.came && f.end != nil {
			if err := f.end(ctx, f.host); err != nil {
				return false, fmt.Errorf("heal: %w", err)
			}
		}
	}
	for _, p := range n.proxies {
		p.Heal()
	}
	return o.Exit < 0, nil
}

// spoil lets the faults happen, each at its instant, and kills the controller.
func (n *network) spoil(ctx context.Context, run *rig.Run, r *round) error {
	begun := time.Now()
	until := func(at time.Duration) bool {
		select {
		case <-time.After(at - time.Since(begun)):
			return true
		case <-run.Ended():
		case <-ctx.Done():
		}
		return false
	}
	for _, f := range r.faults {
		if r.kill > 0 && r.kill < f.at {
			break
		}
		if !until(f.at) {
			return ctx.Err()
		}
		f.came = true
		if err := f.begin(ctx, n, f); err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
	}
	if r.kill > 0 && until(r.kill) {
		return run.Signal(syscall.SIGKILL)
	}
	return ctx.Err()
}
