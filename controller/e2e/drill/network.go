//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/gofleet/gofleet/controller/e2e/faults/rig"
	"github.com/gofleet/gofleet/controller/internal/lab"
)

// jumpName is the host that others are reached through.
const jumpName = "jump"

// network is a fleet that is upgraded again and again in batches while the ways
// to its hosts, their sshd, their keys and the controller break.
type network struct {
	*drill
	world   *rig.World
	figures *figures
	rand    *rand.Rand
	hosts   []*rig.Host           // without the jump host
	proxies map[string]*rig.Proxy // of the hosts that are not behind it
	has     map[string]*rig.Toolchain
	spans   []time.Duration // how long the last whole runs took
}

// breakage is one way in which a host, or the way to it, breaks.
type breakage struct {
	name  string
	begin func(ctx context.Context, n *network, h *rig.Host) error
	end   func(ctx context.Context, n *network, h *rig.Host) error // nil: the proxy's healing does
}

// breakages of hosts behind a proxy.
var breakages = []breakage{
	{"cut", func(_ context.Context, n *network, h *rig.Host) error { n.proxies[h.Name].Cut(); return nil }, nil},
	{"cut after some bytes", func(_ context.Context, n *network, h *rig.Host) error {
		n.proxies[h.Name].CutAfter(1 + n.rand.Int64N(3<<20))
		return nil
	}, nil},
	{"delayed", func(_ context.Context, n *network, h *rig.Host) error {
		n.proxies[h.Name].Delay(time.Duration(20+n.rand.IntN(100)) * time.Millisecond)
		return nil
	}, nil},
	{"slow", func(_ context.Context, n *network, h *rig.Host) error { n.proxies[h.Name].Slow(300 << 10); return nil }, nil},
	{"half-open", func(_ context.Context, n *network, h *rig.Host) error { n.proxies[h.Name].Withhold(); return nil }, nil},
	{"sshd killed", func(ctx context.Context, _ *network, h *rig.Host) error { return h.KillSSHD(ctx) },
		func(ctx context.Context, _ *network, h *rig.Host) error { return h.StartSSHD(ctx) }},
	{"session killed", func(ctx context.Context, _ *network, h *rig.Host) error {
		h.DropSessions(ctx) // an error where there is none
		return nil
	}, nil},
	{"host keys rotated", func(ctx context.Context, _ *network, h *rig.Host) error { return h.RotateHostKeys(ctx) },
		func(ctx context.Context, _ *network, h *rig.Host) error { return h.RestoreHostKeys(ctx) }},
	{"user's key withdrawn", func(_ context.Context, _ *network, h *rig.Host) error { return h.WithdrawKeys() },
		func(_ context.Context, _ *network, h *rig.Host) error { return h.GiveKeysBack() }},
}

// drillNetwork breaks a fleet of hosts until there were enough faults. A third
// of the hosts is behind a jump host.
func (d *drill) drillNetwork(ctx context.Context, programs *rig.Programs) (err error) {
	c := lab.Config{Name: "drillnet", Hosts: []lab.HostConfig{{Name: jumpName}}}
	for i := range d.hosts {
		c.Hosts = append(c.Hosts, lab.HostConfig{Name: fmt.Sprintf("h%d", i+1)})
	}
	w, err := programs.Up(ctx, "drillnet", c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Down()) }()
	n := &network{drill: d, world: w, figures: newFigures(), rand: rand.New(rand.NewPCG(d.seed, 0)),
		proxies: map[string]*rig.Proxy{}, has: map[string]*rig.Toolchain{}}
	if err := n.connect(); err != nil {
		return err
	}
	defer func() {
		for _, p := range n.proxies {
			p.Close()
		}
	}()
	begun := time.Now()
	defer func() { n.figures.printNetwork(os.Stdout, d, time.Since(begun)) }()
	if err := n.whole(ctx, d.small[1]); err != nil {
		return fmt.Errorf("the first run: %w", err)
	}
	for n.figures.sum() < d.network {
		if err := n.round(ctx); err != nil {
			return err
		}
	}
	return nil
}

// connect leads every third host's connections through the jump host, and the
// others' through proxies.
func (n *network) connect() error {
	jump := n.world.Host(jumpName)
	config := fmt.Sprintf("Host %s\n\tHostName %s\n\tUser %s\n\tIdentityFile %s\n\tUserKnownHostsFile %s\n",
		jumpName, jump.Addr, lab.AdminUser, n.world.Lab.KeyFile(), n.world.Lab.KnownHostsFile())
	if err := os.WriteFile(filepath.Join(n.world.Dir, "home", ".ssh", "config"), []byte(config), 0o600); err != nil {
		return err
	}
	for i, h := range n.world.Hosts()[1:] {
		n.hosts = append(n.hosts, h)
		if i%3 == 2 {
			continue
		}
		p, err := rig.NewProxy(net.JoinHostPort(h.Addr, "22"))
		if err != nil {
			return err
		}
		n.proxies[h.Name] = p
	}
	return n.inventory("")
}

// inventory writes it, with more options of ssh's for all hosts.
func (n *network) inventory(args string) error {
	addresses := map[string]string{}
	n.world.SSHArgs = map[string]string{}
	for _, h := range n.hosts {
		if p := n.proxies[h.Name]; p != nil {
			addresses[h.Name], n.world.SSHArgs[h.Name] = p.Addr(), args
			continue
		}
		addresses[h.Name], n.world.SSHArgs[h.Name] = net.JoinHostPort(h.Addr, "22"), args+" -o ProxyJump="+jumpName
	}
	return n.world.Inventory(addresses)
}

// fault is a breakage of a host at an instant of a run.
type fault struct {
	breakage
	host *rig.Host
	at   time.Duration
}

// round upgrades the fleet to another toolchain while things break, compares the
// journal with the hosts, and has gofleet go on without help.
func (n *network) round(ctx context.Context) error {
	want := n.small[n.rand.IntN(len(n.small))]
	faults, kill := n.choose()
	var names []string
	for _, f := range faults {
		names = append(names, fmt.Sprintf("%s of %s at %s", f.name, f.host.Name, f.at.Round(time.Millisecond)))
	}
	fail := func(step string, err error) error {
		return fmt.Errorf("to go%s, controller killed at %s, %s: %s: %w", want.Version, kill, strings.Join(names, ", "), step, err)
	}
	// A host that went silent shall not be waited for as long as by default.
	if err := n.inventory("-o ServerAliveInterval=4 -o ServerAliveCountMax=2"); err != nil {
		return err
	}
	run, err := n.world.Start(ctx, rig.Want(want), "apply", "--serial", "1,50%,100%", "--order", "random")
	if err != nil {
		return err
	}
	if err := n.spoil(ctx, run, faults, kill); err != nil {
		return fail("break", err)
	}
	_, err = run.Wait()
	if err != nil {
		return fail("the run", err)
	}
	for _, f := range faults {
		if f.end != nil {
			if err := f.end(ctx, n, f.host); err != nil {
				return fail("heal", err)
			}
		}
	}
	for _, p := range n.proxies {
		p.Heal()
	}
	id, done, err := n.truth(ctx, want)
	if err != nil {
		return fail("after the run", err)
	}
	if err := n.inventory(""); err != nil {
		return err
	}
	if !done && n.rand.IntN(2) == 0 {
		err = n.resume(ctx, id)
	}
	if err == nil {
		err = n.whole(ctx, want)
	}
	if err != nil {
		return fail("the next run", err)
	}
	for _, f := range faults {
		n.figures.add(f.name, "network", 0)
	}
	if kill > 0 {
		n.figures.add("controller killed", "network", 0)
	}
	return nil
}

// choose draws what breaks, and when the controller is killed, if it is.
func (n *network) choose() (faults []fault, kill time.Duration) {
	span := 5 * time.Second
	if len(n.spans) > 0 {
		span = slices.Min(n.spans)
	}
	instant := func() time.Duration { return time.Duration(n.rand.Float64() * float64(span)) }
	for _, h := range n.hosts {
		if n.proxies[h.Name] == nil || n.rand.IntN(3) == 0 {
			continue
		}
		faults = append(faults, fault{breakages[n.rand.IntN(len(breakages))], h, instant()})
	}
	if n.rand.IntN(3) == 0 {
		faults = append(faults, fault{breakage{"jump host lost",
			func(ctx context.Context, _ *network, h *rig.Host) error { return h.KillSSHD(ctx) },
			func(ctx context.Context, _ *network, h *rig.Host) error { return h.StartSSHD(ctx) }}, n.world.Host(jumpName), instant()})
	}
	slices.SortFunc(faults, func(a, b fault) int { return int(a.at - b.at) })
	if n.rand.IntN(4) == 0 {
		kill = instant() + 1
	}
	return faults, kill
}

// spoil lets the faults happen, each at its instant, and kills the controller.
// Those that came too late happen all the same: to nobody.
func (n *network) spoil(ctx context.Context, run *rig.Run, faults []fault, kill time.Duration) error {
	begun := time.Now()
	until := func(at time.Duration) {
		select {
		case <-time.After(at - time.Since(begun)):
		case <-run.Ended():
		case <-ctx.Done():
		}
	}
	for _, f := range faults {
		if kill > 0 && kill < f.at {
			until(kill)
			if err := run.Signal(syscall.SIGKILL); err != nil {
				return err
			}
		}
		until(f.at)
		if err := f.begin(ctx, n, f.host); err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
	}
	if kill > 0 {
		until(kill)
		return run.Signal(syscall.SIGKILL)
	}
	return nil
}

// truth compares what the journal tells of each host with what is on it, once
// nothing of the run is left there. It tells whether every host was done.
func (n *network) truth(ctx context.Context, want *rig.Toolchain) (id string, done bool, err error) {
	for _, h := range n.hosts {
		if err := h.Gone(ctx); err != nil {
			return "", false, err
		}
	}
	j, err := n.world.Journal(ctx)
	if err != nil {
		return "", false, err
	}
	if j.Damaged > 0 || len(j.Hosts) != len(n.hosts) {
		return "", false, fmt.Errorf("the journal has %d damaged lines, and %d hosts", j.Damaged, len(j.Hosts))
	}
	done = true
	for _, told := range j.Hosts {
		h, before := n.world.Host(told.Host), n.has[told.Host]
		got, err := h.Current(ctx, n.small...)
		if err != nil {
			return "", false, err
		}
		if got == nil || got != before && got != want {
			return "", false, fmt.Errorf("%s had %s, should get go%s, and has %s", h.Name, state{now: before}, want.Version, state{now: got})
		}
		allowed := []*rig.Toolchain{before}
		switch {
		case told.Unknown || told.Status == "unknown":
			allowed, done = append(allowed, want), false
		case told.Status == "ok", told.Status == "changed":
			allowed = []*rig.Toolchain{want}
		default:
			done = false
		}
		if !slices.Contains(allowed, got) {
			return "", false, fmt.Errorf("the journal lies: %s is %s (unknown %t), had %s, should get go%s, and has %s",
				h.Name, told.Status, told.Unknown, state{now: before}, want.Version, state{now: got})
		}
		n.has[h.Name] = got
	}
	return j.Run, done, nil
}

// resume goes on with a run, to its end.
func (n *network) resume(ctx context.Context, id string) error {
	r, err := n.world.Resume(ctx, "apply", id)
	if err != nil {
		return err
	}
	o, err := r.Wait()
	if err != nil {
		return err
	}
	if err := o.Err(); err != nil {
		return fmt.Errorf("resumed: %w", err)
	}
	n.figures.add("resumed", "", 0)
	return nil
}

// whole applies a toolchain undisturbed: every host has it then, and nothing
// is left over.
func (n *network) whole(ctx context.Context, want *rig.Toolchain) error {
	begun := time.Now()
	if _, err := n.world.MustRun(ctx, rig.Want(want), "apply", "--serial", "1,50%,100%"); err != nil {
		return err
	}
	n.spans = append(n.spans, time.Since(begun))
	if len(n.spans) > remembered {
		n.spans = n.spans[1:]
	}
	for _, h := range n.hosts {
		got, err := h.Current(ctx, want)
		if err != nil || got != want {
			return fmt.Errorf("%s has %s: %w", h.Name, state{now: got}, err)
		}
		if err := h.Clean(); err != nil {
			return err
		}
		n.has[h.Name] = want
	}
	return nil
}
