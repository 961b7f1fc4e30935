//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gofleet/gofleet/controller/internal/lab"
)

// where are the flags that all commands have.
type where struct{ dir, name string }

func command() *cobra.Command {
	var w where
	root := &cobra.Command{
		Use:   "gofleet-lab",
		Short: "Start and end test hosts on this machine",
		Long: `gofleet-lab starts hosts to try gofleet on: real OpenSSH servers, each in
namespaces of its own on an overlay of this machine's root filesystem or of a
Debian image. It needs root on Linux, openssh-server, sudo and iproute2.

Every host has the users admin (sudo without a password), ops (sudo with the
password ` + lab.SudoPassword + `), plain (no sudo) and root; all take the lab's key.
The hosts reach one another and this machine, and nothing else.

Without root, gofleet-lab sim serves simpler hosts inside its own process.`,
		Example: `  gofleet-lab up 3
  gofleet apply -i $(gofleet-lab inventory --path) -b
  gofleet-lab exec h2 ps ax
  gofleet-lab down`,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.PersistentFlags().StringVar(&w.dir, "dir", lab.DefaultDir, "where the state of labs is kept")
	root.PersistentFlags().StringVar(&w.name, "name", "default", "the lab's name; several may be up")
	root.AddCommand(upCommand(&w), inventoryCommand(&w), execCommand(&w), rebootCommand(&w), listCommand(&w), downCommand(&w), simCommand())
	return root
}

func upCommand(w *where) *cobra.Command {
	var c lab.Config
	var all, single []string
	cmd := &cobra.Command{
		Use:   "up N",
		Short: "Start N hosts, called h1, h2, …",
		Long: `Start N hosts, called h1, h2, …, and wait until all answer. What an earlier
lab of the same name left by a crash is removed first.

Options make hosts differ from this machine (--with) or from each other (--host):

` + lab.Options(),
		Example: `  gofleet-lab up 8
  gofleet-lab up 3 --host h3:memory=1GB --host h3:kernel=3.10.0
  gofleet-lab up 2 --with image=bullseye --with sftp=off`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			n, err := strconv.Atoi(args[0])
			if err != nil || n < 1 {
				return fmt.Errorf("up %s: want a number of hosts", args[0])
			}
			c.Dir, c.Name = w.dir, w.name
			if c.Hosts, err = hosts(n, all, single); err != nil {
				return err
			}
			c.Progress = func(text string) { fmt.Fprintln(cmd.ErrOrStderr(), text) }
			began := time.Now()
			l, err := lab.Up(cmd.Context(), c)
			if err != nil {
				return err
			}
			for _, h := range l.Hosts {
				fmt.Fprintf(cmd.OutOrStdout(), "%s\t%s\n", h.Name, h.Addr)
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "%d hosts up in %.2f s; what they write is on %s; inventory: %s\n",
				n, time.Since(began).Seconds(), l.Upper, l.InventoryFile())
			return nil
		},
	}
	f := cmd.Flags()
	f.StringArrayVar(&all, "with", nil, "an `OPTION` of all hosts; repeats")
	f.StringArrayVar(&single, "host", nil, "an option of one host, `HOST:OPTION`; repeats")
	f.StringVar(&c.UpperDir, "upper", "", "keep what hosts write in this `DIRECTORY` on a disk, not on a tmpfs")
	f.StringVar(&c.CacheDir, "cache", lab.DefaultCacheDir, "where images are kept")
	f.StringVar(&c.Mirror, "mirror", "", "`URL` that debootstrap gets images from")
	return cmd
}

// hosts makes n configurations with the options of --with and --host.
func hosts(n int, all, single []string) ([]lab.HostConfig, error) {
	configs := make([]lab.HostConfig, n)
	for i := range configs {
		configs[i].Name = fmt.Sprintf("h%d", i+1)
		for _, word := range all {
			if err := configs[i].Set(word); err != nil {
				return nil, fmt.Errorf("--with %s: %w", word, err)
			}
		}
	}
	for _, s := range single {
		name, word, ok := strings.Cut(s, ":")
		i, err := strconv.Atoi(strings.TrimPrefix(name, "h"))
		if !ok || err != nil || i < 1 || i > n || configs[i-1].Name != name {
			return nil, fmt.Errorf("--host %s: want HOST:OPTION, the host one of h1 to h%d", s, n)
		}
		if err := configs[i-1].Set(word); err != nil {
			return nil, fmt.Errorf("--host %s: %w", s, err)
		}
	}
	return configs, nil
}

func inventoryCommand(w *where) *cobra.Command {
	var path bool
	cmd := &cobra.Command{
		Use:     "inventory",
		Short:   "Print the lab as an Ansible inventory",
		Example: "  gofleet-lab inventory > lab.yaml",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := lab.Find(w.dir, w.name)
			if err != nil {
				return err
			}
			if path {
				_, err = fmt.Fprintln(cmd.OutOrStdout(), l.InventoryFile())
				return err
			}
			_, err = cmd.OutOrStdout().Write(l.Inventory())
			return err
		},
	}
	cmd.Flags().BoolVar(&path, "path", false, "print where the inventory lies instead")
	return cmd
}

// host finds the lab's host called name.
func (w *where) host(name string) (*lab.Host, error) {
	l, err := lab.Find(w.dir, w.name)
	if err != nil {
		return nil, err
	}
	if h := l.Host(name); h != nil {
		return h, nil
	}
	return nil, fmt.Errorf("lab %s has no host %s: gofleet-lab list shows them", l.Name, name)
}

func execCommand(w *where) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "exec HOST COMMAND [ARGUMENT...]",
		Short:   "Run a command as root inside a host, without SSH",
		Example: "  gofleet-lab exec h1 find /usr/local -newer /etc/hostname\n  gofleet-lab exec h1 bash",
		Args:    cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			h, err := w.host(args[0])
			if err != nil {
				return err
			}
			c, err := h.Command(cmd.Context(), args[1:]...)
			if err != nil {
				return err
			}
			if term := os.Getenv("TERM"); term != "" {
				c.Env = append(c.Env, "TERM="+term)
			}
			c.Stdin, c.Stdout, c.Stderr = cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr()
			return c.Run()
		},
	}
	cmd.Flags().SetInterspersed(false)
	return cmd
}

// exitCode is the program's for err: that of the command which exec ran.
func exitCode(err error) int {
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() > 0 {
		return exit.ExitCode()
	}
	return 1
}

func rebootCommand(w *where) *cobra.Command {
	return &cobra.Command{
		Use:     "reboot HOST",
		Short:   "Kill a host's processes and boot it on the same files",
		Example: "  gofleet-lab reboot h1",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			h, err := w.host(args[0])
			if err != nil {
				return err
			}
			return h.Reboot(cmd.Context())
		},
	}
}

func listCommand(w *where) *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "List labs and their hosts",
		Example: "  gofleet-lab list",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			labs, err := lab.List(w.dir)
			if err != nil {
				return err
			}
			for _, l := range labs {
				for _, h := range l.Hosts {
					state := "down"
					if running, err := h.Running(); err != nil {
						return err
					} else if running {
						state = "up"
					}
					fmt.Fprintf(cmd.OutOrStdout(), "%s\t%s\t%s\t%s\n", l.Name, h.Name, h.Addr, state)
				}
				if len(l.Hosts) == 0 {
					fmt.Fprintf(cmd.OutOrStdout(), "%s\t-\t-\tstarting, or crashed\n", l.Name)
				}
			}
			return nil
		},
	}
}

func downCommand(w *where) *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:     "down",
		Short:   "End the lab and remove all of it, also after a crash",
		Example: "  gofleet-lab down\n  gofleet-lab down --all",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if all {
				return lab.Purge(cmd.Context())
			}
			return lab.Remove(cmd.Context(), w.dir, w.name)
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "end every lab on this machine")
	return cmd
}
