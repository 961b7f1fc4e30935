package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
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
