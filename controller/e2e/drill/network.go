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
	rounds  uint64
	last    string                // run's ID
	hosts   []*rig.Host           // without the jump host
	proxies map[string]*rig.Proxy // of the hosts that are not behind it
	has     map[string]*rig.Toolchain
	spans   []time.Duration // how long the last whole runs took
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
	n := &network{drill: d, world: w, figures: newFigures(),
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
	defer func() { n.figures.printNetwork(os.Stdout, n, time.Since(begun)) }()
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

// round upgrades the fleet to another toolchain while things break, compares the
// journal with the hosts, and has gofleet go on without help.
func (n *network) round(ctx context.Context) error {
	n.rounds++
	r := n.draw(rand.New(rand.NewPCG(n.seed, n.rounds)))
	killed, err := n.spoiled(ctx, r)
	if err != nil {
		return fmt.Errorf("round %d, %s: %w", n.rounds, r, err)
	}
	id, done, err := n.truth(ctx, r.want)
	if err != nil {
		return fmt.Errorf("round %d, %s: after the run: %w", n.rounds, r, err)
	}
	if err := n.inventory(""); err != nil {
		return err
	}
	if !done && r.resume && id != "" {
		err = n.resume(ctx, id, r.want)
	} else {
		err = n.whole(ctx, r.want)
	}
	if err != nil {
		return fmt.Errorf("round %d, %s: the next run: %w", n.rounds, r, err)
	}
	for _, f := range r.faults {
		n.figures.add(f.name, came(f.came), 0)
	}
	switch {
	case r.after > 0:
		n.figures.add("controller killed between batches", came(killed), 0)
	case r.kill > 0:
		n.figures.add("controller killed", came(killed), 0)
	}
	return nil
}

// came is how figures count a fault: one that came too late happened to nobody.
func came(in bool) string {
	if in {
		return "network"
	}
	return ""
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
	if j.Run == n.last { // killed before it had a journal: nothing may have changed
		return "", false, n.unchanged(ctx)
	}
	n.last = j.Run
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
		case told.Changed: // and lost when its batch was looked at again
			allowed, done = []*rig.Toolchain{want}, false
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

// unchanged wants every host to have what it had.
func (n *network) unchanged(ctx context.Context) error {
	for _, h := range n.hosts {
		got, err := h.Current(ctx, n.small...)
		if err != nil {
			return err
		}
		if got != n.has[h.Name] {
			return fmt.Errorf("no journal was begun, but %s had %s and has %s", h.Name, state{now: n.has[h.Name]}, state{now: got})
		}
	}
	return nil
}

// resume goes on with a run, to its end.
func (n *network) resume(ctx context.Context, id string, want *rig.Toolchain) error {
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
	n.figures.add(resumed, "", 0)
	return n.settled(ctx, want)
}

// whole applies a toolchain, undisturbed.
func (n *network) whole(ctx context.Context, want *rig.Toolchain) error {
	begun := time.Now()
	if _, err := n.world.MustRun(ctx, rig.Want(want), "apply", "--serial", "1,50%,100%"); err != nil {
		return err
	}
	n.spans = append(n.spans, time.Since(begun))
	if len(n.spans) > remembered {
		n.spans = n.spans[1:]
	}
	return n.settled(ctx, want)
}

// settled wants every host to have a toolchain, and nothing left over.
func (n *network) settled(ctx context.Context, want *rig.Toolchain) error {
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
	j, err := n.world.Journal(ctx)
	if err != nil {
		return err
	}
	n.last = j.Run
	return nil
}
