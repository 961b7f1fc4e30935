package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/user"
	"runtime"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/gofleet/gofleet/agent"
	"github.com/gofleet/gofleet/agent/spec"
	"github.com/gofleet/gofleet/agent/wire"
	"github.com/gofleet/gofleet/controller/internal/agents"
	"github.com/gofleet/gofleet/controller/internal/fleet"
	"github.com/gofleet/gofleet/controller/internal/image"
	"github.com/gofleet/gofleet/controller/internal/inventory"
	"github.com/gofleet/gofleet/controller/internal/journal"
	"github.com/gofleet/gofleet/controller/internal/release"
	"github.com/gofleet/gofleet/controller/internal/remote"
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
	via     string // a seed for all hosts
	version string
	root    string // of an image, in place of a host
	rollout rolloutFlags
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
	addRoot(cmd, o)
	if o.action != wire.Audit {
		f.BoolVarP(&o.check, "check", "C", false, "change nothing; say what would change")
		a.addRollout(cmd, o)
	}
}

// planned is a run with everything decided before the first host is contacted.
type planned struct {
	order   order
	inv     *inventory.Inventory
	options fleet.Options
	hosts   []*inventory.Host // in the order of the run
	specs   []*spec.Spec      // of each
	image   *image.Image      // in place of the one host; nil: hosts are hosts
	sites   map[string]seedOf // from which hosts get what travels, by name
	seed    uint64            // of a random order
	forced  string            // --force-start: what would have kept the run from starting
	resumed *resumed          // nil: the run begins
	notices []string
}

// runFleet is the way of every run command: inventory, hosts, specs, evidence,
// then the hosts. Whatever is wrong before the first host is contacted ends it
// with an error.
func (a *app) runFleet(cmd *cobra.Command, o order) (err error) {
	p := &planned{order: o}
	defer func() { err = maskError(err, p.hosts) }()
	if o.rollout.resume != "" {
		if p.resumed, err = recall(cmd, &p.order); err != nil {
			return err
		}
		defer p.resumed.writer.Close() // after an end, which has closed it, it does nothing
	}
	inv, err := a.loadInventory(cmd)
	if err != nil {
		return err
	}
	if o.list {
		return a.listHosts(inv)
	}
	p.inv = inv
	defer p.closeImage()
	if err := a.plan(inv, p); err != nil {
		a.sayWarnings(inv) // they may tell why
		return err
	}
	if p.resumed != nil && len(p.hosts) == 0 {
		fmt.Fprintf(a.stderr, "gofleet: nothing is left to do of run %s\n", p.options.Run)
		return nil
	}
	ui, err := a.runReporter(p)
	if err != nil {
		return err
	}
	if p.order.rollout.pause == "ask" {
		if err := ui.CanAsk(); err != nil {
			return hint(fmt.Errorf("--pause ask: %w", err), "give a time, as in --pause 5m, or run it on a terminal")
		}
		p.options.Rollout.Pause = askFor(ui)
	}
	for _, w := range append(a.inventoryWarnings(inv), p.notices...) {
		ui.Warn("", w)
	}
	ui.Start()
	defer ui.Stop()
	outcome, err := a.runHosts(cmd, ui, p)
	if err != nil {
		return err
	}
	if err := ui.Print(outcome); err != nil {
		return err
	}
	if code := outcome.ExitCode(); code != 0 {
		return exitError(code)
	}
	return nil
}

// listHosts prints the hosts of a run, as ansible's --list-hosts does.
func (a *app) listHosts(inv *inventory.Inventory) error {
	hosts, err := limit(a.inventory.limit)
	if err != nil {
		return err
	}
	out, err := inv.HostsText("all", hosts)
	a.sayWarnings(inv)
	if err != nil {
		return err
	}
	_, err = fmt.Fprint(a.stdout, out)
	return err
}

// plan decides what is done with which hosts, in which order. It contacts none.
func (a *app) plan(inv *inventory.Inventory, p *planned) (err error) {
	o := &p.order
	if o.check {
		o.rollout.serial, o.rollout.pause, o.rollout.gates = "", "", nil // nothing is changed that these could guard
	}
	rollout, serial, err := o.rollout.rollout()
	if err != nil {
		return err
	}
	if err := o.checkVersion(); err != nil {
		return err
	}
	if err := a.choose(inv, p); err != nil {
		return err
	}
	if p.options, err = a.fleetOptions(*o); err != nil {
		return err
	}
	if p.resumed != nil {
		var at []int
		at, rollout.Batches = p.resumed.rest(p, o.rollout.recheck)
		p.hosts, p.specs = pick(p.hosts, at), pick(p.specs, at)
		rollout.First, rollout.Scope, rollout.Before = p.resumed.record.Last(), len(p.resumed.record.Hosts), p.resumed.done()
		p.options.Run = p.resumed.record.Run.ID
	} else {
		rollout.Batches = fleet.Batches(serial, len(p.hosts))
	}
	p.options.Rollout = rollout
	return p.checkBudget()
}

// checkVersion takes the go off a version that is given with it. What is not a
// release's name is on no host to be removed, which hosts would call done; a
// rollback may go to a toolchain that somebody built.
func (o *order) checkVersion() error {
	version, way, err := spec.ParseGoVersion(o.version)
	switch {
	case err == nil:
		o.version = version
	case o.action == wire.Remove:
		return hint(fmt.Errorf("--version: %w", err), way)
	}
	return nil
}

// choose finds the hosts of a run, and reads what each should be.
func (a *app) choose(inv *inventory.Inventory, p *planned) (err error) {
	if p.resumed != nil {
		p.hosts, err = inv.Hosts("all", p.resumed.names())
	} else {
		var hosts string
		if hosts, err = limit(a.inventory.limit); err == nil {
			p.hosts, err = inv.Hosts("all", hosts)
		}
	}
	if err != nil {
		return err
	}
	if p.resumed == nil {
		p.seed = p.order.rollout.arrange(p.hosts)
		if p.seed != 0 {
			p.notices = append(p.notices, fmt.Sprintf("the hosts are in random order; --seed %d makes it the same again", p.seed))
		}
	}
	if p.specs, err = parseSpecs(p.hosts, p.order); err != nil {
		// What is wrong with how hosts are reached is said at once with it.
		c := &connector{standIns: a.standIns(), defaults: a.connectDefaults()}
		_, also := c.targets(p.hosts)
		return errors.Join(err, also)
	}
	if err = p.openImage(); err != nil {
		return err
	}
	p.notices = append(p.notices, plainPasswords(p.hosts)...)
	if err = p.readCertificates(time.Now()); err != nil || p.order.action != wire.Apply {
		return err
	}
	p.sites, err = p.seedsOf(inv, p.specs)
	return err
}

// checkBudget refuses a run whose hosts have used up their error budget over
// time, unless it is forced.
func (p *planned) checkBudget() error {
	if p.resumed != nil || p.options.Command == wire.Audit || p.options.Check {
		return nil
	}
	store, err := openJournals()
	if err != nil {
		return nil // without journals nothing was reckoned
	}
	used := checkBudgetOverTime(store, p.hosts, p.specs, time.Now())
	switch {
	case used == "":
		return nil
	case p.order.rollout.forceStart:
		p.forced = used
		p.notices = append(p.notices, "started all the same (--force-start): "+used)
		return nil
	}
	return stoppedError{hint(errors.New(used), "look at what failed (gofleet runs); --force-start starts all the same, and the journal says so")}
}

// pick gives the elements at some places.
func pick[T any](list []T, at []int) []T {
	out := make([]T, len(at))
	for n, i := range at {
		out[n] = list[i]
	}
	return out
}

// fleetOptions are the options of a run as far as flags say them.
func (a *app) fleetOptions(o order) (fleet.Options, error) {
	encoding, err := a.encoding()
	return fleet.Options{
		Run: runID(time.Now()), Command: o.action, Check: o.check, Diff: o.diff, Deep: o.deep,
		Version: o.version, Gofleet: agent.Version, Controller: whoAmI(), Encoding: encoding, Whole: o.whole,
		Forks: a.connect.forks, Uploads: a.connect.uploads.most, HostTimeout: a.connect.hostTimeout, Now: time.Now,
	}, err
}

// runReporter shows a run over hosts.
func (a *app) runReporter(p *planned) (*report.Reporter, error) {
	names := make([]string, len(p.hosts))
	for i, h := range p.hosts {
		names[i] = h.Name
	}
	o := &p.options
	return report.New(report.Options{
		Stdout: a.stdout, Stderr: a.stderr, Look: a.look(),
		Format: a.output.format, Verbose: a.output.verbose, Diff: o.Diff,
		Run: o.Run, Command: o.Command, Check: o.Check, Hosts: names,
	})
}

// runHosts verifies archives, asks for passwords, and runs.
func (a *app) runHosts(cmd *cobra.Command, ui *report.Reporter, p *planned) (*fleet.Outcome, error) {
	ctx, o := cmd.Context(), p.options
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
		ui: ui, platforms: set.Platforms(), books: map[string]*book{}, caches: map[string]*moduleCache{}, sources: map[string]*sourceTree{},
		packages: map[string]*packageStore{},
		zstd:     o.Encoding == wire.Zstd || o.Encoding == "" && len(p.hosts) >= fleet.ZstdFrom,
	}
	defer archives.close()
	targets, err := p.targets(connector)
	if err != nil {
		return nil, err
	}
	jumps, failed := connector.dialer.JumpFiles(targets, o.Forks)
	if err := unresolved(p.hosts, failed); err != nil {
		return nil, err
	}
	if err := checkDescriptors(o.Forks, len(targets), jumps); err != nil {
		return nil, err
	}
	work, err := prepare(ctx, connector, archives, p.hosts, targets, p.specs, o.Command)
	if err != nil {
		return nil, err
	}
	for i, h := range p.hosts {
		work[i].Mask = maskOf(p.inv, h)
	}
	if err := connector.seeds(work, p.sites, func(h *inventory.Host) *fleet.Mask { return maskOf(p.inv, h) }); err != nil {
		return nil, err
	}
	connector.mask = maskOfAll(p.hosts)
	if o.Journal, err = a.beginJournal(cmd, ui, p); err != nil {
		return nil, err
	}
	defer o.Journal.Close()
	if p.resumed != nil {
		o.Journal.Say(journal.Event{Kind: journal.KindResume, Hosts: len(work), Message: "by " + o.Controller + ", gofleet " + o.Gofleet})
	}
	if p.forced != "" {
		o.Journal.Say(journal.Event{Kind: journal.KindForce, Message: p.forced})
	}
	o.Observer, o.Stop = ui, a.interrupts.run()
	if a.connect.uploads.auto {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		o.Meter = &fleet.Meter{Tick: tick.C, CPU: usedCPU(), CPUs: runtime.GOMAXPROCS(0)}
	}
	defer sayStopping(ui, o.Stop)()
	outcome := fleet.Run(ctx, work, o)
	endJournal(ui, o.Journal, outcome)
	return outcome, nil
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

// prepare makes the hosts of a run: targets read, archives verified. It contacts
// no host.
func prepare(ctx context.Context, connector *connector, archives *shelf, hosts []*inventory.Host, targets []remote.Target, specs []*spec.Spec, action wire.Action) (_ []*fleet.Host, err error) {
	if err := checkBecome(hosts, targets, specs); err != nil {
		return nil, err
	}
	offers := make([]map[spec.Platform]fleet.Offer, len(hosts))
	if action == wire.Apply { // nothing else sends an archive
		if offers, err = archives.open(ctx, hosts, specs); err != nil {
			return nil, err
		}
	}
	modules, sources := make([]*release.FileTree, len(hosts)), make([]*release.FileTree, len(hosts))
	if action == wire.Apply || action == wire.Audit {
		if modules, err = archives.openModules(ctx, hosts, specs, action); err != nil {
			return nil, err
		}
		if sources, err = archives.openSources(ctx, hosts, specs, action); err != nil {
			return nil, err
		}
	}
	packages := make([]*packageStore, len(hosts))
	if action == wire.Apply || action == wire.Audit {
		if packages, err = archives.openPackages(ctx, hosts, specs, action); err != nil {
			return nil, err
		}
	}
	work := make([]*fleet.Host, len(hosts))
	for i, h := range hosts {
		work[i] = &fleet.Host{
			Name: h.Name, Groups: h.Groups, Spec: specs[i], Offers: offers[i], Modules: modules[i], Gopath: sources[i],
			Connect: func(ctx context.Context) (fleet.Conn, error) { return connector.connect(ctx, targets[i]) },
		}
		if p := packages[i]; p != nil {
			work[i].Packages, work[i].NoPackages = p.files, p.none
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
	name := os.Getenv("USER")
	if u, err := user.Current(); name == "" && err == nil {
		name = u.Username // cron and services have no USER
	}
	return name + "@" + host
}

// encoding is --encoding as fleet wants it.
func (a *app) encoding() (string, error) {
	switch e := a.connect.encoding; e {
	case "auto", "": // a command that sends nothing has no --encoding
		return "", nil
	case wire.Gzip, wire.Zstd:
		return e, nil
	default:
		return "", hint(fmt.Errorf("--encoding %s is not known", e), "auto, gzip or zstd")
	}
}
