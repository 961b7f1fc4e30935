package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"time"

	crand "crypto/rand"

	"github.com/spf13/cobra"

	"github.com/gofleet/gofleet/agent/spec"
	"github.com/gofleet/gofleet/agent/wire"
	"github.com/gofleet/gofleet/controller/internal/fleet"
	"github.com/gofleet/gofleet/controller/internal/gate"
	"github.com/gofleet/gofleet/controller/internal/inventory"
	"github.com/gofleet/gofleet/controller/internal/report"
)

// rolloutFlags say how a run goes over many hosts.
type rolloutFlags struct {
	serial, order, pause       string
	seed                       uint64
	gates                      []string
	gateTimeout                time.Duration
	gateRetries                int
	maxFail, maxUnreachable    string
	anyErrorsFatal, forceStart bool
	rollbackOnStop             bool
	resume                     string
	recheck, noJournal         bool
}

// Orders of the hosts of a run.
const (
	orderInventory = "inventory"
	orderName      = "name"
	orderRandom    = "random"
)

// gateWait is how long a gate waits between two tries.
const gateWait = 5 * time.Second

// addRollout adds the flags of commands that change hosts.
func (a *app) addRollout(cmd *cobra.Command, o *order) {
	f, r := cmd.Flags(), &o.rollout
	f.StringVar(&r.serial, "serial", "", "hosts in `batches`: 10, or 1,10%,100%; the last one repeats")
	f.StringVar(&r.order, "order", orderInventory, "of the hosts: inventory, name or random")
	f.Uint64Var(&r.seed, "seed", 0, "`number` that makes --order random the same again")
	f.StringVar(&r.pause, "pause", "", "between batches: a `time` such as 5m, or ask")
	f.StringArrayVar(&r.gates, "gate", nil, "`command`, or http(s) address, that must succeed after each batch; repeats")
	r.gateTimeout = time.Minute
	f.Var(seconds{&r.gateTimeout}, "gate-timeout", "for one try of a gate")
	f.Var(whole{&r.gateRetries, 0}, "gate-retries", "further tries of a gate, 5 s apart")
	f.StringVar(&r.maxFail, "max-fail", "", "stop when more `hosts` than that fail: 3, or 5% of all")
	f.StringVar(&r.maxUnreachable, "max-unreachable", "", "stop when more `hosts` than that are unreachable: 3, or 10% of all")
	f.BoolVar(&r.anyErrorsFatal, "any-errors-fatal", false, "stop at the first host that does not end well")
	f.BoolVar(&r.forceStart, "force-start", false, "start even where a budget would be broken; the journal says so")
	if o.action != wire.Remove {
		f.BoolVar(&r.rollbackOnStop, "rollback-on-stop", false, "take back what the run has changed when it is stopped")
	}
	f.StringVar(&r.resume, "resume", "", "go on with the run of that `ID`, or last")
	f.BoolVar(&r.recheck, "recheck", false, "with --resume: hosts that were done, too")
	f.BoolVar(&r.noJournal, "no-journal", false, "keep no journal: the run cannot be resumed")
	complete(cmd, "order", words(orderInventory, orderName, orderRandom))
	complete(cmd, "pause", words("ask", "5m"))
	complete(cmd, "resume", completeRuns)
	for _, flag := range []string{"serial", "seed", "gate-timeout", "gate-retries", "max-fail", "max-unreachable"} {
		complete(cmd, flag, noFiles)
	}
}

// rollout is what the flags say, but for the batches, which depend on the hosts.
func (r *rolloutFlags) rollout() (fleet.Rollout, []fleet.Share, error) {
	out := fleet.Rollout{
		Budget: fleet.Budget{Fatal: r.anyErrorsFatal}, Force: r.forceStart, TakeBack: r.rollbackOnStop,
	}
	var serial []fleet.Share
	var errs []error
	note := func(flag string, err error, way string) {
		if err != nil {
			errs = append(errs, hint(fmt.Errorf("--%s: %w", flag, err), way))
		}
	}
	if r.serial != "" {
		var err error
		serial, err = fleet.ParseSerial(r.serial)
		note("serial", err, "for example --serial 1,10%,100%: one host, then a tenth, then all others")
	}
	for _, b := range []struct {
		flag, text string
		to         **fleet.Share
	}{{"max-fail", r.maxFail, &out.Budget.Fail}, {"max-unreachable", r.maxUnreachable, &out.Budget.Unreachable}} {
		if b.text != "" {
			s, err := fleet.ParseShare(b.text)
			note(b.flag, err, "for example --"+b.flag+" 5%")
			*b.to = &s
		}
	}
	for _, text := range r.gates {
		g, err := gate.Parse(text)
		note("gate", err, "")
		g.Timeout, g.Retries, g.Wait = r.gateTimeout, r.gateRetries, gateWait
		out.Gates = append(out.Gates, fleet.Gate{Name: g.String(), Check: ask(g)})
	}
	if !slices.Contains([]string{"", orderInventory, orderName, orderRandom}, r.order) { // an audit has none
		note("order", fmt.Errorf("%q is not known", r.order), "inventory, name or random")
	}
	if r.seed != 0 && r.order != orderRandom {
		note("seed", errors.New("only a random order has one"), "add --order random")
	}
	if r.recheck && r.resume == "" {
		note("recheck", errors.New("only a resumed run has hosts that were done"), "add --resume ID; gofleet runs lists the ids")
	}
	pause, err := r.pauseTime()
	note("pause", err, "a time such as 30 (seconds) or 5m, or ask")
	if pause > 0 {
		out.Pause = waitFor(pause)
	}
	out.Verify = r.serial != "" || len(r.gates) > 0
	out.LookAhead = r.serial != "" || out.Budget.Given()
	return out, serial, errors.Join(errs...)
}

// pauseTime is how long --pause is; 0 for none, and for ask.
func (r *rolloutFlags) pauseTime() (d time.Duration, err error) {
	if r.pause != "" && r.pause != "ask" {
		err = seconds{&d}.Set(r.pause)
	}
	return d, err
}

// ask makes a fleet's gate: the hosts of the batch are in a file meanwhile.
func ask(g gate.Gate) func(context.Context, fleet.Batch) error {
	return func(ctx context.Context, b fleet.Batch) error {
		f, err := os.CreateTemp("", "gofleet-hosts-")
		if err != nil {
			return fmt.Errorf("write the hosts for the gate: %w", err)
		}
		defer os.Remove(f.Name())
		_, err = f.WriteString(strings.Join(b.Hosts, "\n") + "\n")
		if err = errors.Join(err, f.Close()); err != nil {
			return fmt.Errorf("write the hosts for the gate: %w", err)
		}
		return g.Ask(ctx, gate.Batch{Run: b.Run, Number: b.Number, Of: b.Of, HostsFile: f.Name()})
	}
}

// waitFor is a pause of some time.
func waitFor(d time.Duration) fleet.Pause {
	return func(ctx context.Context, _ fleet.Batch, until func(time.Time)) error {
		until(time.Now().Add(d))
		t := time.NewTimer(d)
		defer t.Stop()
		select {
		case <-t.C:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// askFor is a pause until somebody says yes.
func askFor(ui *report.Reporter) fleet.Pause {
	return func(ctx context.Context, b fleet.Batch, _ func(time.Time)) error {
		question := fmt.Sprintf("batch %d of %d is done. Go on? [yes/no]", b.Number, b.Of)
		for {
			answer, err := ui.Ask(ctx, question, false)
			if err != nil {
				return err
			}
			switch strings.ToLower(strings.TrimSpace(answer)) {
			case "y", "yes":
				return nil
			case "n", "no":
				return errors.New("the answer was no")
			}
		}
	}
}

// arrange puts the hosts of a run in the order that was asked for. Without a
// seed a random order makes one, which it gives.
func (r *rolloutFlags) arrange(hosts []*inventory.Host) uint64 {
	switch r.order {
	case orderName:
		slices.SortFunc(hosts, func(x, y *inventory.Host) int { return strings.Compare(x.Name, y.Name) })
	case orderRandom:
		seed := r.seed
		if seed == 0 {
			var b [4]byte
			crand.Read(b[:])
			seed = uint64(binary.BigEndian.Uint32(b[:])) | 1
		}
		rand.New(rand.NewPCG(seed, 0)).Shuffle(len(hosts), func(i, j int) { hosts[i], hosts[j] = hosts[j], hosts[i] })
		return seed
	}
	return 0
}

// checkBudgetOverTime refuses a run whose hosts have used up their error budget
// (gofleet_slo). What is wrong with the journals it reads is passed over.
func checkBudgetOverTime(j journals, hosts []*inventory.Host, specs []*spec.Spec, now time.Time) string {
	groups := map[spec.SLO]map[string]bool{}
	for i, s := range specs {
		if s.SLO != nil {
			if groups[*s.SLO] == nil {
				groups[*s.SLO] = map[string]bool{}
			}
			groups[*s.SLO][hosts[i].Name] = true
		}
	}
	var used []string
	for slo, names := range groups {
		tally, err := j.Tally(now.Add(-slo.Window), func(host string) bool { return names[host] })
		if err != nil {
			continue
		}
		all := sumOf(tally)
		if share := all.Share() * 100; share < slo.Target {
			used = append(used, fmt.Sprintf("gofleet_slo: of %d results of %d hosts since %s, %.4g%% were good, less than %g%%",
				all.Good+all.Bad, len(names), now.Add(-slo.Window).Format(time.DateOnly), share, slo.Target))
		}
	}
	slices.Sort(used)
	return strings.Join(used, "; ")
}
