package main

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/gofleet/gofleet/agent/wire"
)

func (a *app) applyCommand() *cobra.Command {
	o := order{action: wire.Apply}
	cmd := &cobra.Command{
		Use:   "apply -i INVENTORY [flags]",
		Short: "bring hosts to what the inventory says",
		Long: `apply checks every host's preconditions, then brings its Go toolchain, deploy
user and environment to what the inventory says. A host that fails a required
precondition is changed in nothing. A second apply changes nothing.

Whether an installed toolchain is whole is judged by its manifest, VERSION and
programs; with --deep by every file, so that apply repairs what audit --deep
found. To a host that has a toolchain, only the files that it lacks are sent.`,
		Example: `  gofleet apply -i inventory.yaml
  gofleet apply -i inventory.yaml -l 'web:!web03' --check --diff
  gofleet apply -i db1,db2, -b -e gofleet_go_version=1.26.8 -e gofleet_archives=archives`,
		Args: takes(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.runFleet(cmd, o) },
	}
	a.runFlags(cmd, &o)
	a.addDeep(cmd, &o)
	a.addUploads(cmd)
	cmd.Flags().StringVar(&o.via, "via", "", "send archives once, to this `host`, from which all others get them (docs/sites.md)")
	complete(cmd, "via", a.completeNames(false))
	cmd.Flags().BoolVar(&o.whole, "whole", false, "send whole archives, also where only a part is lacking")
	return cmd
}

// addDeep adds --deep.
func (a *app) addDeep(cmd *cobra.Command, o *order) {
	cmd.Flags().BoolVar(&o.deep, "deep", false, "hash every file of the toolchain")
}

func (a *app) auditCommand() *cobra.Command {
	o := order{action: wire.Audit}
	cmd := &cobra.Command{
		Use:   "audit -i INVENTORY [flags]",
		Short: "check preconditions and drift; changes nothing",
		Long: `audit checks every host's preconditions and compares what is installed with
what was installed and with what the inventory says. It changes nothing on a
host and leaves no file there. It needs no archives.

A missing toolchain or another version is reported as to change, in JSON as
changed. Something that was altered since it was installed is reported as
drifted, and the exit code is 2.`,
		Example: `  gofleet audit -i inventory.yaml
  gofleet audit -i inventory.yaml --deep -l db
  gofleet audit -i inventory.yaml -o json | jq '.hosts[] | select(.status == "unmet")'`,
		Args: takes(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.runFleet(cmd, o) },
	}
	a.runFlags(cmd, &o)
	a.addDeep(cmd, &o)
	return cmd
}

func (a *app) rollbackCommand() *cobra.Command {
	o := order{action: wire.Rollback}
	cmd := &cobra.Command{
		Use:   "rollback -i INVENTORY [--to VERSION] [flags]",
		Short: "go back to the toolchain before",
		Long: `rollback points the link back to the toolchain that was current before the
last apply, which is still on the host, and rewrites the environment from the
inventory. Nothing is uploaded. A second rollback changes nothing; --to goes to
any toolchain that is on the host.`,
		Example: `  gofleet rollback -i inventory.yaml
  gofleet rollback -i inventory.yaml -l web --to 1.26.7`,
		Args: takes(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.runFleet(cmd, o) },
	}
	a.runFlags(cmd, &o)
	cmd.Flags().StringVar(&o.version, "to", "", "the `version` to go back to; it must be on the host")
	complete(cmd, "to", noFiles)
	return cmd
}

func (a *app) removeCommand() *cobra.Command {
	o := order{action: wire.Remove}
	cmd := &cobra.Command{
		Use:   "remove -i INVENTORY --version VERSION [flags]",
		Short: "remove a toolchain that is not the current one",
		Long: `remove takes a toolchain off the hosts. The current one is refused, and one that
a process uses.`,
		Example: `  gofleet remove -i inventory.yaml --version 1.26.6 --check
  gofleet remove -i inventory.yaml --version 1.26.6`,
		Args: takes(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.version == "" && o.rollout.resume == "" {
				return hint(errors.New("remove needs a version"), "name the toolchain to remove with --version")
			}
			return a.runFleet(cmd, o)
		},
	}
	a.runFlags(cmd, &o)
	cmd.Flags().StringVar(&o.version, "version", "", "the `version` to remove")
	complete(cmd, "version", noFiles)
	return cmd
}
