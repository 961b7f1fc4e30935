package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/gofleet/gofleet/controller/internal/journal"
	"github.com/gofleet/gofleet/controller/internal/report"
)

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
