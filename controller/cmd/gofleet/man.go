package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
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
		Args: takes(1, 1),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return nil, cobra.ShellCompDirectiveFilterDirs
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return fmt.Errorf("write man pages: %w", err)
			}
			root := cmd.Root()
			root.DisableAutoGenTag = true
			if err := writeMan(root, args[0]); err != nil {
				return fmt.Errorf("write man pages: %w", err)
			}
			return nil
		},
	}
}

// writeMan writes the pages of cmd and of the commands below it.
func writeMan(cmd *cobra.Command, dir string) error {
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() && !c.IsAdditionalHelpTopicCommand() {
			if err := writeMan(c, dir); err != nil {
				return err
			}
		}
	}
	name := strings.ReplaceAll(cmd.CommandPath(), " ", "-")
	// A page has no date: the same program writes the same pages. The library
	// would put today's, so it gets one to be taken out.
	none := time.Unix(0, 0).UTC()
	header := &doc.GenManHeader{
		Title: strings.ToUpper(name), Section: "1", Source: "gofleet " + cmd.Root().Version, Manual: "gofleet", Date: &none,
	}
	var page bytes.Buffer
	if err := doc.GenMan(cmd, header, &page); err != nil {
		return err
	}
	text := bytes.Replace(page.Bytes(), []byte(none.Format(`"Jan 2006"`)), []byte(`""`), 1)
	return os.WriteFile(filepath.Join(dir, name+".1"), text, 0o644)
}
