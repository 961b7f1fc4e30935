package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gofleet/gofleet/agent/spec"
	"github.com/gofleet/gofleet/controller/internal/bundle"
)

// bundleCommand makes, proves and shows what crosses an air gap.
func (a *app) bundleCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bundle",
		Short: "carry everything into an air gap as one thing",
		Long: `bundle makes, proves and shows bundles: Go archives with their evidence, gofleet
itself and its agents, the Ansible collection, module caches, signed as one. A
bundle is one file, that file in parts, or a directory; gofleet_archives takes
each of them.`,
		Example: `  # on the connected side
  gofleet bundle create --go 1.26.8 --platform linux/amd64,linux/arm64 -o site.bundle

  # before the crossing, and behind it
  gofleet bundle verify site.bundle
  gofleet apply -i inventory.yaml -e gofleet_archives=$PWD/site.bundle`,
		Args: takes(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.bundleCreateCommand(), a.bundleVerifyCommand(), a.bundleListCommand())
	return cmd
}

// addTrusted adds --trusted-key.
func addTrusted(cmd *cobra.Command, keys *[]string) {
	cmd.Flags().StringArrayVar(keys, "trusted-key", nil, "whose bundle is taken: a minisign public `key`, a file with one, or any; repeats")
}

// openTrusted opens a bundle of somebody who is trusted.
func openTrusted(path string, keys []string) (*bundle.Bundle, error) {
	trust, err := trustOf(keys)
	if err != nil {
		return nil, hint(fmt.Errorf("--trusted-key: %w", err), "give a minisign public key, the path of a file with one, or any")
	}
	return bundle.Open(path, bundle.Options{Trust: trust})
}

func (a *app) bundleListCommand() *cobra.Command {
	var keys []string
	cmd := &cobra.Command{
		Use:   "list FILE",
		Short: "show what is in a bundle",
		Long: `list shows what a bundle holds, how large it is and what evidence travels along,
and who signed it. It reads the manifest only; verify reads and proves the rest.`,
		Example: `  gofleet bundle list site.bundle
  gofleet bundle list -o json site.bundle`,
		Args: takes(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			b, err := openTrusted(args[0], append(keys, bundle.Any)) // showing does not hurt
			if err != nil {
				return err
			}
			defer b.Close()
			list := b.List()
			if a.output.format == "json" {
				return a.printJSON("gofleet.bundle.list/v1", list)
			}
			_, err = fmt.Fprint(a.stdout, list)
			return err
		},
	}
	addTrusted(cmd, &keys)
	a.addOutput(cmd, "text", "json")
	return cmd
}

func (a *app) bundleVerifyCommand() *cobra.Command {
	var keys []string
	o := bundle.VerifyOptions{}
	cmd := &cobra.Command{
		Use:   "verify FILE...",
		Short: "prove a bundle, with no network",
		Long: `verify proves a bundle with no network: the signature, every byte of it against
the signed manifest, and the evidence for every archive: official sums, PGP, the
proof of the checksum database; and the log of that database, with every public
module in it. What is wrong is named: part, archive, module zip, tile, tree head,
manifest, signature. The exit code is then 2. With --quick it compares all bytes
with the manifest and asks no other evidence. With --modules it also makes sure
that all that a go.mod and its go.sum name is inside.

Of a bundle in parts, name any of them.`,
		Example: `  gofleet bundle verify site.bundle
  gofleet bundle verify site.bundle.part001
  gofleet bundle verify --modules app/go.mod site.bundle
  gofleet bundle verify --trusted-key build.pub site.bundle`,
		Args: takes(1, -1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ui, err := a.reporter()
			if err != nil {
				return err
			}
			o.Progress = progress(ui)
			var found []*bundle.Verification
			bad := false
			ui.Start()
			for _, path := range bundle.Distinct(args) {
				v, err := verifyBundle(cmd.Context(), path, keys, o)
				if err != nil {
					ui.Stop()
					return err
				}
				found = append(found, v)
				bad = bad || !v.Good
			}
			ui.Stop()
			if err := a.printBundles(found); err != nil {
				return err
			}
			if bad {
				return exitError(2)
			}
			return nil
		},
	}
	addTrusted(cmd, &keys)
	cmd.Flags().StringSliceVar(&o.Modules, "modules", nil, "go.mod `files` whose modules must all be inside")
	cmd.Flags().BoolVar(&o.Older, "older", false, "take a log that is older than one that was seen here")
	cmd.Flags().BoolVar(&o.Quick, "quick", false, "signature and sums only")
	a.addOutput(cmd, "text", "json")
	return cmd
}

// verifyBundle verifies one bundle. One that cannot even be opened is verified
// too: it is bad.
func verifyBundle(ctx context.Context, path string, keys []string, o bundle.VerifyOptions) (*bundle.Verification, error) {
	b, err := openTrusted(path, keys)
	if err != nil {
		return bundle.Refused(path, err)
	}
	defer b.Close()
	return b.Verify(ctx, o)
}

func (a *app) printBundles(found []*bundle.Verification) error {
	if a.output.format == "json" {
		return a.printJSON("gofleet.bundle.verify/v1", map[string]any{"bundles": found})
	}
	for _, v := range found {
		if _, err := fmt.Fprint(a.stdout, v); err != nil {
			return err
		}
	}
	return nil
}

// isDirectory tells whether -o names a directory: one that is there, or a name
// that ends in a slash.
func isDirectory(output string) bool {
	st, err := os.Stat(output)
	return err == nil && st.IsDir() || strings.HasSuffix(output, string(filepath.Separator))
}

// sizeOf reads --split.
func sizeOf(text string) (int64, error) {
	if text == "" {
		return 0, nil
	}
	n, err := spec.ParseSize(text)
	if err == nil && n < 64<<10 {
		err = fmt.Errorf("%q is too small for a part", text)
	}
	if err != nil {
		return 0, hint(fmt.Errorf("--split: %w", err), "write it like 4GB")
	}
	return n, nil
}
