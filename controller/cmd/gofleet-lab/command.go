//go:build linux

package main

import (
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/gofleet/gofleet/controller/internal/lab"
)

// options are the flags that all commands have.
type options struct{ dir, name string }

func command() *cobra.Command {
	var o options
	root := &cobra.Command{
		Use:           "gofleet-lab",
		Short:         "Start and end test hosts on this machine",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.PersistentFlags().StringVar(&o.dir, "dir", lab.DefaultDir, "where the state of labs is kept")
	root.PersistentFlags().StringVar(&o.name, "name", "default", "the lab's name; several may be up")
	root.AddCommand(upCommand(&o), inventoryCommand(&o), execCommand(&o), downCommand(&o))
	return root
}

func upCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "up N",
		Short: "Start N hosts",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			n, err := strconv.Atoi(args[0])
			if err != nil || n < 1 {
				return fmt.Errorf("up %s: want a number of hosts", args[0])
			}
			began := time.Now()
			l, err := lab.Up(cmd.Context(), lab.Config{Name: o.name, Dir: o.dir, Hosts: make([]lab.HostConfig, n)})
			if err != nil {
				return err
			}
			for _, h := range l.Hosts {
				fmt.Printf("%s\t%s\n", h.Name, h.Addr)
			}
			fmt.Fprintf(os.Stderr, "%d hosts up in %.1f s, what they write is on %s; inventory: %s\n", n, time.Since(began).Seconds(), l.Upper, l.InventoryFile())
			return nil
		},
	}
}

func inventoryCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "inventory",
		Short: "Print the lab as an Ansible inventory",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := lab.Find(o.dir, o.name)
			if err != nil {
				return err
			}
			_, err = cmd.OutOrStdout().Write(l.Inventory())
			return err
		},
	}
}

func execCommand(o *options) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "exec HOST COMMAND [ARGUMENT...]",
		Short: "Run a command as root inside a host, without SSH",
		Args:  cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := lab.Find(o.dir, o.name)
			if err != nil {
				return err
			}
			h := l.Host(args[0])
			if h == nil {
				return fmt.Errorf("lab %s has no host %s", l.Name, args[0])
			}
			c, err := h.Command(cmd.Context(), args[1:]...)
			if err != nil {
				return err
			}
			c.Stdin, c.Stdout, c.Stderr = os.Stdin, os.Stdout, os.Stderr
			return c.Run()
		},
	}
	cmd.Flags().SetInterspersed(false)
	return cmd
}

func downCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "down",
		Short: "End the lab and remove all of it",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			return lab.Remove(cmd.Context(), o.dir, o.name)
		},
	}
}
