package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gofleet/gofleet/controller/internal/journal"
	"github.com/gofleet/gofleet/controller/internal/report"
)

// runsCommand shows the journal.
func (a *app) runsCommand() *cobra.Command {
	most := 20
	cmd := &cobra.Command{
		Use:   "runs",
		Short: "list the runs of this user; show what one did",
		Long: `runs lists the runs of this user, the newest first, from the journal that each
run keeps under the user's state directory. What one did is shown by runs show.`,
		Example: `  gofleet runs
  gofleet runs -n 100 -o json | jq -r '.runs[] | select(.state == "broken") | .run'
  gofleet runs show last`,
		Args: takes(0, 0),
		RunE: func(*cobra.Command, []string) error { return a.listRuns(most) },
	}
	a.addOutput(cmd, "text", "json")
	cmd.Flags().VarP(whole{&most, 0}, "number", "n", "how many to list; 0 is all")
	complete(cmd, "number", noFiles)
	cmd.ValidArgsFunction = noFiles
	cmd.AddCommand(a.showRunCommand(), a.pruneRunsCommand())
	return cmd
}

func (a *app) listRuns(most int) error {
	store, err := openJournals()
	if err != nil {
		return err
	}
	ids, err := store.IDs()
	if err != nil {
		return err
	}
	if most > 0 && len(ids) > most {
		ids = ids[:most]
	}
	ui, err := a.resultReporter()
	if err != nil {
		return err
	}
	var list []*journal.Glance
	for _, id := range ids {
		g, err := store.Glance(id)
		if err != nil { // of another gofleet, or gone since
			ui.Warn("", err.Error())
			continue
		}
		list = append(list, g)
	}
	return ui.Runs(list)
}

// resultReporter prints results that come at once.
func (a *app) resultReporter() (*report.Reporter, error) {
	return report.New(report.Options{
		Stdout: a.stdout, Stderr: a.stderr, Look: a.look(), Format: a.output.format, Verbose: a.output.verbose,
	})
}

func (a *app) showRunCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "show ID",
		Short: "what one run did, host by host",
		Long: `show tells what a run was asked for, what happened when, and how each of its
hosts stands as far as the journal knows. ID may be the beginning of an id that
no other has, or last.`,
		Example: `  gofleet runs show last
  gofleet runs show 20261122T1751 -o json | jq '.hosts[] | select(.unknown)'`,
		Args:              takes(1, 1),
		ValidArgsFunction: completeRuns,
		RunE: func(_ *cobra.Command, args []string) error {
			_, record, err := findRun(args[0])
			if err != nil {
				return err
			}
			ui, err := a.resultReporter()
			if err != nil {
				return err
			}
			return ui.Record(record)
		},
	}
	a.addOutput(cmd, "text", "json")
	return cmd
}

func (a *app) pruneRunsCommand() *cobra.Command {
	keep, age := journal.KeepRuns, "90d"
	cmd := &cobra.Command{
		Use:   "prune",
		Short: "remove old runs from the journal",
		Long: `prune removes the runs beyond the newest and those older than an age; one that
is going on stays. Every run does the same with the defaults shown here.`,
		Example: `  gofleet runs prune
  gofleet runs prune --keep 100 --older-than 30d`,
		Args:              takes(0, 0),
		ValidArgsFunction: noFiles,
		RunE: func(*cobra.Command, []string) error {
			d, err := parseAge(age)
			if err != nil {
				return hint(fmt.Errorf("--older-than: %q is no age", age), "write days or hours, such as 30d or 12h")
			}
			store, err := openJournals()
			if err != nil {
				return err
			}
			gone, err := store.Prune(keep, d, time.Now())
			runs := "runs"
			if len(gone) == 1 {
				runs = "run"
			}
			fmt.Fprintf(a.stdout, "removed %d %s\n", len(gone), runs)
			return err
		},
	}
	cmd.Flags().Var(whole{&keep, 0}, "keep", "the newest `runs` that stay")
	cmd.Flags().StringVar(&age, "older-than", age, "the `age` from which runs go: 30d, 12h")
	complete(cmd, "keep", noFiles)
	complete(cmd, "older-than", noFiles)
	return cmd
}

// parseAge reads a duration that may be in days.
func parseAge(text string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		return time.Duration(n) * 24 * time.Hour, err
	}
	d, err := time.ParseDuration(text)
	if err == nil && d < 0 {
		err = fmt.Errorf("%s is below zero", text)
	}
	return d, err
}

// completeRuns completes the id of a run.
func completeRuns(_ *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	store, err := openJournals()
	if err != nil || len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ids, err := store.IDs()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var list []string
	for _, id := range append([]string{"last"}, ids...) {
		if strings.HasPrefix(id, word) {
			list = append(list, id)
		}
	}
	return list, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
}
