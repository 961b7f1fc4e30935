package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/gofleet/gofleet/controller/internal/release"
)

// verifyCommand tells what evidence there is for archives.
func (a *app) verifyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "verify FILE...",
		Short: "tell what evidence there is for an archive",
		Long: `verify asks every kind of evidence about an archive, with no network: a pinned
sum, the built-in table of official sums, a PGP signature beside the file, the
proof of the Go checksum database. It checks the content too. The exit code is 2
if apply would refuse one of the files.`,
		Example: `  gofleet verify archives/go1.26.8.linux-amd64.tar.gz
  gofleet verify -o json archives/*.tar.gz`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ui, err := a.reporter()
			if err != nil {
				return err
			}
			var found []*release.Verification
			var errs []error
			refused := false
			ui.Start()
			for _, file := range args {
				v, err := release.Verify(cmd.Context(), file, release.Options{Progress: progress(ui)})
				if err != nil {
					errs = append(errs, err)
					continue
				}
				found = append(found, v)
				refused = refused || !v.Verdict.Accepted
			}
			ui.Stop()
			if err := a.printVerified(found); err != nil {
				return err
			}
			if err := errors.Join(errs...); err != nil {
				return err
			}
			if refused {
				return exitError(2)
			}
			return nil
		},
	}
	a.addOutput(cmd, "text", "json")
	return cmd
}

func (a *app) printVerified(found []*release.Verification) error {
	if a.output.format == "json" {
		return a.printJSON("gofleet.verify/v1", map[string]any{"files": found})
	}
	for _, v := range found {
		if _, err := fmt.Fprint(a.stdout, v); err != nil {
			return err
		}
	}
	return nil
}
