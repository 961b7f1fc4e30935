package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gofleet/gofleet/controller/internal/bundle"
	"github.com/gofleet/gofleet/controller/internal/release"
)

// verifyCommand tells what evidence there is for archives.
func (a *app) verifyCommand() *cobra.Command {
	prove, proxy := false, ""
	cmd := &cobra.Command{
		Use:   "verify FILE...",
		Short: "tell what evidence there is for an archive",
		Long: `verify asks every kind of evidence about an archive, with no network: a pinned
sum, the built-in table of official sums, a PGP signature beside the file, the
proof of the Go checksum database. It checks the content too. The exit code is 2
if apply would refuse one of the files.

With --prove it first asks the checksum database, through the GOPROXY, about every
archive that has no proof: it derives the hash of the toolchain module from the
archive's content, also an official one's, and keeps the proof beside the file.`,
		Example: `  gofleet verify archives/go1.26.8.linux-amd64.tar.gz
  gofleet verify --prove archives/go1.26.8.linux-amd64.tar.gz
  gofleet verify -o json archives/*.tar.gz`,
		Args: takes(1, -1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ui, err := a.reporter()
			if err != nil {
				return err
			}
			var found []*release.Verification
			var errs []error
			refused := false
			if prove && proxy == "" {
				proxy = goEnv("GOPROXY")
			}
			ui.Start()
			for _, file := range args {
				if archive := strings.TrimSuffix(strings.TrimSuffix(file, ".asc"), release.EvidenceSuffix); archive != file && slices.Contains(args, archive) {
					continue // as with archives/*: it is read with its archive
				}
				if _, err := release.ParseName(filepath.Base(file)); err != nil && bundle.Is(file) {
					errs = append(errs, hint(fmt.Errorf("verify %s: it is no archive", file), "if it is a bundle: gofleet bundle verify "+file))
					continue
				}
				if prove {
					err := release.Prove(cmd.Context(), file, release.FetchOptions{Proxy: proxy, Progress: progress(ui)})
					if err != nil {
						errs = append(errs, err)
						continue
					}
				}
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
	cmd.Flags().BoolVar(&prove, "prove", false, "fetch the checksum database's proof where there is none")
	cmd.Flags().StringVar(&proxy, "proxy", "", "module proxies for --prove, written as GOPROXY is; GOPROXY if not given")
	complete(cmd, "proxy", noFiles)
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
