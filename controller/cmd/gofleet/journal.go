package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/gofleet/gofleet/agent/spec"
	"github.com/gofleet/gofleet/agent/wire"
	"github.com/gofleet/gofleet/controller/internal/fleet"
	"github.com/gofleet/gofleet/controller/internal/journal"
	"github.com/gofleet/gofleet/controller/internal/report"
)

// journals is where the journals of this user's runs are.
type journals = journal.Store

func openJournals() (journals, error) { return journal.Default(os.Getenv) }

func sumOf(tally map[string]journal.Tally) (all journal.Tally) {
	for _, t := range tally {
		all.Add(t)
	}
	return all
}

// specSum stands for what a host should be.
func specSum(s *spec.Spec) string {
	b, err := json.Marshal(s)
	if err != nil {
		return "" // cannot be: plain values
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8])
}

// unkept are the flags that say nothing of the run itself.
var unkept = []string{"resume", "recheck", "no-journal", "output", "no-color", "verbose", "force-start"}

// arguments are the flags of a command line as the journal keeps them: without
// those that say nothing of the run, and without the values of variables that
// may be secrets.
func arguments(f *pflag.FlagSet) []journal.Argument {
	list := []journal.Argument{}
	f.Visit(func(flag *pflag.Flag) {
		if slices.Contains(unkept, flag.Name) {
			return
		}
		values := []string{flag.Value.String()}
		if many, ok := flag.Value.(pflag.SliceValue); ok {
			values = many.GetSlice()
		}
		for _, v := range values {
			arg := journal.Argument{Flag: flag.Name, Value: v}
			if flag.Name == "extra-vars" {
				arg.Value, arg.Withheld = harmlessVars(v)
			}
			list = append(list, arg)
		}
	})
	return list
}

// word is name=value without quotes, in which nothing is left to be parsed.
var word = regexp.MustCompile(`^([A-Za-z_]\w*)=[^\s'"\\]*$`)

// harmlessVars is a -e option as it may be kept. Files are only named. Where
// every variable is one of gofleet's without a secret, it is kept whole; of
// others only the names.
func harmlessVars(option string) (kept string, withheld bool) {
	option = strings.TrimSpace(option)
	if strings.HasPrefix(option, "@") {
		return option, false
	}
	var names []string
	var object map[string]json.RawMessage
	if json.Unmarshal([]byte(option), &object) == nil {
		for name := range object {
			names = append(names, name)
		}
	} else {
		for _, w := range strings.Fields(option) {
			m := word.FindStringSubmatch(w)
			if m == nil {
				return "…", true
			}
			names = append(names, m[1])
		}
	}
	slices.Sort(names)
	if slices.ContainsFunc(names, func(n string) bool { return !strings.HasPrefix(n, prefix) || n == netrcVariable }) {
		return strings.Join(names, "=… ") + "=…", true
	}
	return option, false
}

// beginJournal begins the journal of a run, or goes on with the one that is
// resumed. A run that only looks goes on without one where none can be kept.
func (a *app) beginJournal(cmd *cobra.Command, ui *report.Reporter, p *planned) (*journal.Writer, error) {
	o := &p.options
	if p.order.rollout.noJournal {
		return nil, nil
	}
	looks := o.Command == wire.Audit || o.Check
	if p.resumed != nil {
		return p.resumed.writer, nil
	}
	store, err := openJournals()
	var w *journal.Writer
	if err == nil {
		w, err = store.Create(p.journalRun(cmd.Flags()), time.Now)
	}
	switch {
	case err != nil && looks:
		ui.Warn("", fmt.Sprintf("no journal of this run is kept: %v", err))
		return nil, nil
	case err != nil:
		return nil, hint(err, "the journal lets a run be resumed: make its directory writable, set XDG_STATE_HOME to another, or do without with --no-journal")
	}
	if _, err := store.Prune(journal.KeepRuns, journal.KeepAge, time.Now()); err != nil {
		ui.Warn("", err.Error())
	}
	return w, nil
}

// journalRun is the head of a run's journal.
func (p *planned) journalRun(f *pflag.FlagSet) journal.Run {
	dir, _ := os.Getwd() // without one, relative paths have already failed
	o := &p.options
	run := journal.Run{
		ID: o.Run, Command: o.Command, Check: o.Check, Gofleet: o.Gofleet, Controller: o.Controller,
		Started: time.Now().UTC().Round(time.Millisecond), Directory: dir, Arguments: arguments(f),
		Order: p.order.rollout.order, Seed: p.seed, Batches: o.Rollout.Batches,
		Scope: make([]journal.Member, len(p.hosts)),
	}
	if run.Order == "" { // of commands that have no order to choose
		run.Order = orderInventory
	}
	for i, h := range p.hosts {
		run.Scope[i] = journal.Member{Host: h.Name, Spec: specSum(p.specs[i])}
	}
	return run
}

// endJournal says how the run ended.
func endJournal(ui *report.Reporter, w *journal.Writer, out *fleet.Outcome) {
	ended := "done"
	switch {
	case out.Interrupted:
		ended = "interrupted"
	case out.Stopped != nil:
		ended = "stopped"
	}
	if err := w.End(ended, out.ExitCode()); err != nil {
		ui.Warn("", fmt.Sprintf("the end of the run is not in its journal: %v", err))
	}
}

// selectors are what may stand behind a run in --limit @RUN:SELECTOR.
var selectors = map[string]func(*journal.Host) bool{
	"ok":          func(h *journal.Host) bool { return !h.Unknown && h.Status == wire.OK },
	"changed":     func(h *journal.Host) bool { return h.Changed },
	"failed":      func(h *journal.Host) bool { return h.Status == wire.Failed },
	"unmet":       func(h *journal.Host) bool { return h.Status == wire.Unmet },
	"unreachable": func(h *journal.Host) bool { return h.Status == wire.Unreachable },
	"skipped":     func(h *journal.Host) bool { return !h.Unknown && h.Status == wire.Skipped },
	"unknown":     func(h *journal.Host) bool { return h.Unknown },
	"undone":      func(h *journal.Host) bool { return !h.Done() },
}

var ofRun = regexp.MustCompile(`^@([0-9][0-9A-Za-z-]*|last):([a-z]+)$`)

// limit is --limit with the hosts of runs in place of @RUN:SELECTOR.
func limit(text string) (string, error) {
	if !strings.Contains(text, "@") || !strings.Contains(text, ":") {
		return text, nil
	}
	terms, found := strings.Split(text, ","), false
	for i, term := range terms {
		m := ofRun.FindStringSubmatch(strings.TrimSpace(term))
		if m == nil {
			continue
		}
		names, err := hostsOfRun(m[1], m[2])
		if err != nil {
			return "", err
		}
		terms[i], found = strings.Join(names, ","), true
	}
	if !found {
		return text, nil
	}
	return strings.Join(terms, ",") + ",", nil // with a comma, a colon in a name divides nothing
}

// hostsOfRun are the hosts of a run that a selector chooses.
func hostsOfRun(name, selector string) ([]string, error) {
	choose := selectors[selector]
	if choose == nil {
		var words []string
		for w := range selectors {
			words = append(words, w)
		}
		slices.Sort(words)
		return nil, hint(fmt.Errorf("--limit @%s:%s: there is no %q", name, selector, selector), "behind a run may stand: "+strings.Join(words, ", "))
	}
	_, r, err := findRun(name)
	if err != nil {
		return nil, err
	}
	var names []string
	for i := range r.Hosts {
		if choose(&r.Hosts[i]) {
			names = append(names, r.Hosts[i].Host)
		}
	}
	if len(names) == 0 {
		return nil, hint(fmt.Errorf("no host of run %s is %s", r.Run.ID, selector), "gofleet runs show "+r.Run.ID+" tells how they stand")
	}
	return names, nil
}

// findRun reads the run that a name stands for.
func findRun(name string) (journals, *journal.Record, error) {
	store, err := openJournals()
	if err != nil {
		return store, nil, err
	}
	id, err := store.Find(name)
	if err != nil {
		return store, nil, hint(err, "gofleet runs lists the runs; the beginning of an id is enough, and last is the newest")
	}
	r, err := store.Load(id)
	return store, r, err
}

// fixed are flags that a run keeps when it is resumed.
var fixed = []string{"inventory", "limit", "serial", "order", "seed", "check", "to", "version"}

// resumed is the run that --resume goes on with.
type resumed struct {
	record *journal.Record
	writer *journal.Writer
}

// recall brings the flags, and the working directory that relative paths start
// from, to what they were when the run began. Flags on this command line win,
// where they may.
func recall(cmd *cobra.Command, o *order) (*resumed, error) {
	store, r, err := findRun(o.rollout.resume)
	if err != nil {
		return nil, err
	}
	id := r.Run.ID
	switch {
	case r.Run.Command != o.action:
		return nil, hint(fmt.Errorf("run %s is of another command, %s", id, r.Run.Command), fmt.Sprintf("gofleet %s --resume %s", r.Run.Command, id))
	case r.Run.Check:
		return nil, hint(fmt.Errorf("run %s was one with --check, which changes nothing", id), "run it again")
	case r.Alive:
		return nil, hint(fmt.Errorf("run %s: %w", id, journal.ErrRunning), "wait for its end, or end its process")
	}
	var given, withheld []string
	for _, name := range fixed {
		if cmd.Flags().Changed(name) {
			given = append(given, "--"+name)
		}
	}
	if given != nil {
		return nil, hint(fmt.Errorf("%s cannot be given with --resume", strings.Join(given, ", ")), "a resumed run goes on with its own; begin another run for another")
	}
	again := cmd.Flags().Changed("extra-vars")
	values := map[string][]string{}
	for _, arg := range r.Run.Arguments {
		switch {
		case arg.Withheld:
			withheld = append(withheld, arg.Value)
		case !cmd.Flags().Changed(arg.Flag) || arg.Flag == "extra-vars":
			values[arg.Flag] = append(values[arg.Flag], arg.Value)
		}
	}
	if withheld != nil && !again {
		return nil, hint(fmt.Errorf("run %s had -e %s, whose values are not kept", id, strings.Join(withheld, " -e ")), "give them again with -e")
	}
	if err := setFlags(cmd.Flags(), values); err != nil {
		return nil, fmt.Errorf("resume run %s: %w", id, err)
	}
	if err := os.Chdir(r.Run.Directory); err != nil {
		return nil, hint(fmt.Errorf("resume run %s: %w", id, err), "relative paths of its command line start there")
	}
	w, record, err := store.Resume(id, time.Now)
	if errors.Is(err, journal.ErrRunning) {
		return nil, hint(err, "wait for its end, or end its process")
	}
	return &resumed{record: record, writer: w}, err
}

func setFlags(f *pflag.FlagSet, values map[string][]string) error {
	for name, list := range values {
		flag := f.Lookup(name)
		if flag == nil {
			return fmt.Errorf("this gofleet has no --%s, which the run had", name)
		}
		if many, ok := flag.Value.(pflag.SliceValue); ok {
			if flag.Changed {
				list = append(list, many.GetSlice()...)
			}
			if err := many.Replace(list); err != nil {
				return err
			}
			flag.Changed = true
			continue
		}
		for _, v := range list {
			if err := f.Set(name, v); err != nil {
				return err
			}
		}
	}
	return nil
}

// rest gives the hosts that are left of a resumed run, with their batches:
// first those of which nothing is known, then batch by batch as it was planned.
// What is not as it was when the run began is told.
func (r *resumed) rest(p *planned, recheck bool) (order, sizes []int) {
	byName := make(map[string]int, len(p.hosts))
	for i, h := range p.hosts {
		byName[h.Name] = i
	}
	var gone, other []string
	var unknown []int
	planned := map[int][]int{}
	last := 0
	for i := range r.record.Hosts {
		h := &r.record.Hosts[i]
		at, there := byName[h.Host]
		if !there {
			if !h.Done() {
				gone = append(gone, h.Host)
			}
			continue
		}
		if h.Done() && !recheck {
			continue
		}
		if specSum(p.specs[at]) != h.Spec {
			other = append(other, h.Host)
		}
		last = max(last, h.Batch)
		if h.Unknown {
			unknown = append(unknown, at)
		} else {
			planned[h.Batch] = append(planned[h.Batch], at)
		}
	}
	if gone != nil {
		p.notices = append(p.notices, "no longer in the inventory, and left out: "+report.Fold(gone))
	}
	if other != nil {
		p.notices = append(p.notices, "not what the inventory said when the run began: "+report.Fold(other))
	}
	order = slices.Clone(unknown)
	if len(unknown) > 0 {
		sizes = append(sizes, len(unknown))
	}
	for b := 1; b <= last; b++ {
		if n := len(planned[b]); n > 0 {
			order, sizes = append(order, planned[b]...), append(sizes, n)
		}
	}
	return order, sizes
}

// names are those of the run's hosts, as a limit.
func (r *resumed) names() string {
	names := make([]string, len(r.record.Hosts))
	for i := range names {
		names[i] = r.record.Hosts[i].Host
	}
	return strings.Join(names, ",") + ","
}

// done counts the hosts of the run that are done.
func (r *resumed) done() int {
	n := 0
	for i := range r.record.Hosts {
		if r.record.Hosts[i].Done() {
			n++
		}
	}
	return n
}
