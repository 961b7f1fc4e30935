package main

import (
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// manCommand writes man pages from the command definitions.
func (a *app) manCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "man DIR",
		Short: "write the man pages into a directory",
		Long: `man writes a page for gofleet and one for each command, gofleet-apply.1 and so
on, from the same definitions as --help. The directory is made if need be.`,
		Example: `  sudo gofleet man /usr/local/share/man/man1
  man gofleet-apply`,
		Args: cobra.ExactArgs(1),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return nil, cobra.ShellCompDirectiveFilterDirs
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return fmt.Errorf("write man pages: %w", err)
			}
			date := time.Unix(0, 0) // no date: the same program writes the same pages
			header := &doc.GenManHeader{Title: "GOFLEET", Section: "1", Source: "gofleet " + cmd.Root().Version, Manual: "gofleet", Date: &date}
			cmd.Root().DisableAutoGenTag = true
			if err := doc.GenManTree(cmd.Root(), header, args[0]); err != nil {
				return fmt.Errorf("write man pages: %w", err)
			}
			return nil
		},
	}
}
