package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
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
	list    bool // only list the hosts
	deep    bool
	whole   bool
	version string
}

// runFlags adds what all run commands have.
func (a *app) runFlags(cmd *cobra.Command, o *order) {
	a.addInventory(cmd)
	a.addConnect(cmd)
	a.addOutput(cmd, "text", "json", "jsonl")
	cmd.ValidArgsFunction = noFiles
	f := cmd.Flags()
	f.BoolVar(&o.list, "list-hosts", false, "list the hosts that it would be done on, and do nothing")
	f.BoolVarP(&o.diff, "diff", "D", false, "show what changes inside files")
	if o.action != wire.Audit {
		f.BoolVarP(&o.check, "check", "C", false, "change nothing; say what would change")
	}
}

// runFleet is the way of every run command: inventory, hosts, specs, evidence,
// then the hosts. Whatever is wrong before the first host is contacted ends it
// with an error.
func (a *app) runFleet(cmd *cobra.Command, o order) error {
	inv, err := a.loadInventory(cmd)
	if err != nil {
		return err
	}
	if o.list {
		return a.listHosts(inv)
	}
	hosts, err := inv.Hosts("all", a.inventory.limit)
	if err != nil {
		return err
	}
	specs, err := parseSpecs(hosts, o)
	if err != nil {
		return err
	}
	options, err := a.fleetOptions(o)
	if err != nil {
		return err
	}
	ui, err := a.runReporter(options, hosts)
	if err != nil {
		return err
	}
	for _, w := range a.inventoryWarnings(inv) {
		ui.Warn("", w)
	}
	ui.Start()
	defer ui.Stop()
	outcome, err := a.runHosts(cmd.Context(), ui, options, hosts, specs)
	if err != nil {
		return err
	}
	if err := ui.Print(outcome); err != nil {
		return fmt.Errorf("print the outcome: %w", err)
	}
	if code := outcome.ExitCode(); code != 0 {
		return exitError(code)
	}
	return nil
}

// listHosts prints the hosts of a run, as ansible's --list-hosts does.
func (a *app) listHosts(inv *inventory.Inventory) error {
	out, err := inv.HostsText("all", a.inventory.limit)
	for _, w := range inv.Warnings() {
		fmt.Fprintf(a.stderr, "warning: %s\n", w)
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprint(a.stdout, out)
	return err
}

// fleetOptions are the options of a run as far as flags say them.
func (a *app) fleetOptions(o order) (fleet.Options, error) {
	encoding, err := a.encoding()
	return fleet.Options{
		Run: runID(time.Now()), Command: o.action, Check: o.check, Diff: o.diff, Deep: o.deep,
		Version: o.version, Gofleet: agent.Version, Controller: whoAmI(), Encoding: encoding, Whole: o.whole,
		Forks: a.connect.forks, Uploads: a.connect.uploads, HostTimeout: a.connect.hostTimeout, Now: time.Now,
	}, err
}

// runReporter shows a run over hosts.
func (a *app) runReporter(o fleet.Options, hosts []*inventory.Host) (*report.Reporter, error) {
	names := make([]string, len(hosts))
	for i, h := range hosts {
		names[i] = h.Name
	}
	return report.New(report.Options{
		Stdout: a.stdout, Stderr: a.stderr, Look: a.look(),
		Format: a.output.format, Verbose: a.output.verbose, Diff: o.Diff,
		Run: o.Run, Command: o.Command, Check: o.Check, Hosts: names,
	})
}

// runHosts verifies archives, asks for passwords, and runs.
func (a *app) runHosts(ctx context.Context, ui *report.Reporter, o fleet.Options, hosts []*inventory.Host, specs []*spec.Spec) (*fleet.Outcome, error) {
	set, err := agents.Load()
	if err != nil {
		return nil, err
	}
	connector, err := a.newConnector(ctx, ui, set)
	if err != nil {
		return nil, err
	}
	defer connector.dialer.Close() // jump hosts and ssh-agent; an error would help nobody
	archives := &shelf{
		ui: ui, platforms: set.Platforms(), books: map[string]*book{},
		zstd: o.Encoding == wire.Zstd || o.Encoding == "" && len(hosts) >= fleet.ZstdFrom,
	}
	defer archives.close()
	work, err := plan(ctx, connector, archives, hosts, specs, o.Command)
	if err != nil {
		return nil, err
	}
	o.Observer, o.Stop = ui, a.interrupts.run()
	defer sayStopping(ui, o.Stop)()
	return fleet.Run(ctx, work, o), nil
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

// plan makes the hosts of a run: targets read, archives verified. It contacts
// no host.
func plan(ctx context.Context, connector *connector, archives *shelf, hosts []*inventory.Host, specs []*spec.Spec, action wire.Action) ([]*fleet.Host, error) {
	targets, err := connector.targets(hosts)
	if err != nil {
		return nil, err
	}
	if err := checkBecome(hosts, targets, specs); err != nil {
		return nil, err
	}
	offers := make([]map[spec.Platform]fleet.Offer, len(hosts))
	if action == wire.Apply { // nothing else sends an archive
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
