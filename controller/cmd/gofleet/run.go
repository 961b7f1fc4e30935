package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/gofleet/gofleet/agent"
	"github.com/gofleet/gofleet/agent/spec"
	"github.com/gofleet/gofleet/agent/wire"
	"github.com/gofleet/gofleet/controller/internal/agents"
	"github.com/gofleet/gofleet/controller/internal/fleet"
	"github.com/gofleet/gofleet/controller/internal/inventory"
	"github.com/gofleet/gofleet/controller/internal/report"
)

// order is what one of the run commands asks for.
type order struct {
	action  wire.Action
	check   bool
	diff    bool
	deep    bool
	version string
}

// runFlags adds what all run commands have.
func (a *app) runFlags(cmd *cobra.Command, o *order) {
	a.addInventory(cmd)
	a.addConnect(cmd)
	a.addOutput(cmd, "text", "json", "jsonl")
	cmd.ValidArgsFunction = noFiles
	f := cmd.Flags()
	f.BoolVarP(&o.diff, "diff", "D", false, "show what changes inside files")
	if o.action != wire.Audit {
		f.BoolVarP(&o.check, "check", "C", false, "change nothing; say what would change")
	}
}

// runFleet is the way of every run command: inventory, hosts, specs, evidence,
// then the hosts. Whatever is wrong before the first host is contacted ends it
// with an error.
func (a *app) runFleet(cmd *cobra.Command, o order) error {
	ctx := cmd.Context()
	inv, err := a.loadInventory(cmd)
	if err != nil {
		return err
	}
	hosts, err := inv.Hosts("all", a.inventory.limit)
	if err != nil {
		return err
	}
	if len(hosts) == 0 {
		return a.noHosts()
	}
	names := make([]string, len(hosts))
	for i, h := range hosts {
		names[i] = h.Name
	}
	encoding, err := a.encoding()
	if err != nil {
		return err
	}
	run := runID(time.Now())
	ui, err := report.New(report.Options{
		Stdout: a.stdout, Stderr: a.stderr, Look: a.look(),
		Format: a.output.format, Verbose: a.output.verbose, Diff: o.diff,
		Run: run, Command: o.action, Check: o.check, Hosts: names,
	})
	if err != nil {
		return err
	}
	for _, w := range inv.Warnings() {
		ui.Warn("", w)
	}
	ui.Start()
	defer ui.Stop()
	set, err := agents.Load()
	if err != nil {
		return err
	}
	archives := &shelf{
		ui: ui, platforms: set.Platforms(), books: map[string]*book{},
		zstd: encoding == wire.Zstd || encoding == "" && len(hosts) >= fleet.ZstdFrom,
	}
	defer archives.close()
	work, err := a.plan(ctx, ui, set, archives, hosts, o)
	if err != nil {
		return err
	}
	stop := a.interrupts.run()
	defer sayStopping(ui, stop)()
	outcome := fleet.Run(ctx, work, fleet.Options{
		Run: run, Command: o.action, Check: o.check, Diff: o.diff, Deep: o.deep,
		Version: o.version, Gofleet: agent.Version, Controller: whoAmI(),
		Encoding: encoding, Forks: a.connect.forks, Uploads: a.connect.uploads, HostTimeout: a.connect.hostTimeout,
		Stop: stop, Observer: ui, Now: time.Now,
	})
	if err := ui.Print(outcome); err != nil {
		return fmt.Errorf("print the outcome: %w", err)
	}
	if code := outcome.ExitCode(); code != 0 {
		return exitError(code)
	}
	return nil
}

// sayStopping tells what the first Ctrl-C has done, until its end is called.
func sayStopping(ui *report.Reporter, stop <-chan struct{}) (end func()) {
	ended := make(chan struct{})
	var watch sync.WaitGroup
	watch.Go(func() {
		select {
		case <-stop:
			ui.Warn("", "interrupted: hosts finish or abandon what they are at; once more ends at once")
		case <-ended:
		}
	})
	return func() {
		close(ended)
		watch.Wait()
	}
}

// noHosts says why there is nothing to do.
func (a *app) noHosts() error {
	if a.inventory.limit != "" {
		return hint(fmt.Errorf("no host matches --limit %s", a.inventory.limit),
			"gofleet inventory --graph shows the hosts and groups there are")
	}
	return hint(errors.New("the inventory has no hosts"), "look at it with gofleet inventory --graph")
}

// plan turns inventory hosts into the hosts of a run: variables to specs,
// archives verified, targets read. It contacts no host.
func (a *app) plan(ctx context.Context, ui *report.Reporter, set agents.Set, archives *shelf, hosts []*inventory.Host, o order) ([]*fleet.Host, error) {
	specs, err := parseSpecs(hosts, o)
	if err != nil {
		return nil, err
	}
	connector, err := a.newConnector(ctx, ui, set)
	if err != nil {
		return nil, err
	}
	targets, err := connector.targets(hosts)
	if err != nil {
		return nil, err
	}
	if err := checkBecome(hosts, targets, specs); err != nil {
		return nil, err
	}
	offers := make([]map[spec.Platform]fleet.Offer, len(hosts))
	if o.action == wire.Apply { // nothing else sends an archive
		if offers, err = archives.open(ctx, hosts, specs); err != nil {
			return nil, err
		}
	}
	work := make([]*fleet.Host, len(hosts))
	for i, h := range hosts {
		work[i] = &fleet.Host{
			Name: h.Name, Spec: specs[i], Offers: offers[i],
			Connect: func(ctx context.Context) (fleet.Conn, error) { return connector.connect(ctx, targets[i]) },
		}
	}
	return work, nil
}

// runID names a run: when it began, in UTC, and four random bytes.
func runID(now time.Time) string {
	var b [4]byte
	rand.Read(b[:])
	return now.UTC().Format("20060102T150405Z") + "-" + hex.EncodeToString(b[:])
}

// whoAmI is what a host tells others who find it locked: user@machine.
func whoAmI() string {
	host, _ := os.Hostname()
	return os.Getenv("USER") + "@" + host
}

// encoding is --encoding as fleet wants it.
func (a *app) encoding() (string, error) {
	switch e := a.connect.encoding; e {
	case "auto":
		return "", nil
	case wire.Gzip, wire.Zstd:
		return e, nil
	default:
		return "", hint(fmt.Errorf("--encoding %s is not known", e), "auto, gzip or zstd")
	}
}
