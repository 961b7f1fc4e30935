package main

import (
	"context"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gofleet/gofleet/controller/internal/agents"
	"github.com/gofleet/gofleet/controller/internal/inventory"
)

// completer answers a shell that asks how a word may go on. It must not fail:
// what cannot be told, such as hosts without -i, has no answers.
type completer = func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective)

// complete tells how the value of a flag may go on.
func complete(cmd *cobra.Command, flag string, f completer) {
	if err := cmd.RegisterFlagCompletionFunc(flag, f); err != nil {
		panic(err) // the flag is defined a line before
	}
}

// words completes one of a few words.
func words(list ...string) completer {
	return cobra.FixedCompletions(list, cobra.ShellCompDirectiveNoFileComp)
}

// noFiles keeps shells from offering the names of files.
func noFiles(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return nil, cobra.ShellCompDirectiveNoFileComp
}

// completeNames completes a host, or a group where groups is set, of the -i
// sources on the line. In a pattern of several, it completes the last.
func (a *app) completeNames(groups bool) completer {
	return func(cmd *cobra.Command, _ []string, word string) ([]string, cobra.ShellCompDirective) {
		before, prefix := "", word
		if i := strings.LastIndexAny(word, ",:&!"); i >= 0 && groups {
			before, prefix = word[:i+1], word[i+1:]
		}
		var list []string
		for _, name := range a.names(cmd.Context(), groups) {
			if strings.HasPrefix(name, prefix) {
				list = append(list, before+name)
			}
		}
		directive := cobra.ShellCompDirectiveNoFileComp
		if groups {
			directive |= cobra.ShellCompDirectiveNoSpace // the pattern may go on
		}
		return list, directive
	}
}

// names are the hosts of the -i sources, and the groups if asked for.
func (a *app) names(ctx context.Context, groups bool) []string {
	if len(a.inventory.sources) == 0 {
		return nil
	}
	inv, err := inventory.Load(ctx, a.inventoryOptions())
	if err != nil {
		return nil
	}
	hosts, err := inv.Hosts("all", "")
	if err != nil {
		return nil
	}
	var list []string
	for _, h := range hosts {
		list = append(list, h.Name)
		if groups {
			list = append(list, h.Groups...)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// completePlatforms completes the last of a list of platforms.
func completePlatforms(_ *cobra.Command, _ []string, word string) ([]string, cobra.ShellCompDirective) {
	set, err := agents.Load()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	before := word[:strings.LastIndex(word, ",")+1]
	var list []string
	for _, p := range set.Platforms() {
		if s := p.String(); strings.HasPrefix(s, word[len(before):]) && !strings.Contains(","+before, ","+s+",") {
			list = append(list, before+s)
		}
	}
	return list, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}
