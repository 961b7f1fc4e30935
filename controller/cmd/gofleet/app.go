package main

import (
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gofleet/gofleet/agent"
	"github.com/gofleet/gofleet/controller/internal/ansiblecfg"
	"github.com/gofleet/gofleet/controller/internal/inventory"
	"github.com/gofleet/gofleet/controller/internal/report"
)

// app is one invocation: the standard streams, and the flags that several
// commands have.
type app struct {
	stdin          io.Reader
	stdout, stderr *os.File
	interrupts     *interrupts

	inventory inventoryFlags
	connect   connectFlags
	output    outputFlags

	ansible *ansiblecfg.Settings // nil until settle
}

// inventoryFlags choose hosts and variables, with ansible-playbook's names.
type inventoryFlags struct {
	sources   []string
	limit     string
	extraVars []string
	vault     vaultFlags
}

// connectFlags say how hosts are reached.
type connectFlags struct {
	forks             int
	uploads           uploads
	timeout           time.Duration
	hostTimeout       time.Duration
	user              string
	privateKey        string
	sshCommonArgs     string
	sshConfig         string
	encoding          string
	become            bool
	askBecomePass     bool
	becomePassFile    string
	acceptNewHostKeys bool
}

// outputFlags say what is printed.
type outputFlags struct {
	format  string
	noColor bool
	verbose int
}

func newApp(stdin io.Reader, stdout, stderr *os.File, i *interrupts) *app {
	return &app{stdin: stdin, stdout: stdout, stderr: stderr, interrupts: i}
}

const rootLong = `gofleet installs and keeps the Go toolchain on fleets of Linux hosts that cannot
reach the internet. It reads an Ansible inventory, connects over SSH with keys,
sends a verified archive over SFTP and runs a small agent on each host, which
checks preconditions, installs Go crash-safely and reports back.`

const rootExample = `  # on the connected side: get an archive, verified
  gofleet fetch 1.26.8 --platform linux/amd64,linux/arm64 --to archives

  # which hosts are ready, and which are not, changing nothing
  gofleet audit -i inventory.yaml

  # what would change, then change it
  gofleet apply -i inventory.yaml --check --diff
  gofleet apply -i inventory.yaml

  # back to the toolchain before
  gofleet rollback -i inventory.yaml -l web`

// command builds the command tree; help, completion and man pages come from it.
func (a *app) command() *cobra.Command {
	root := &cobra.Command{
		Use:           "gofleet",
		Short:         "Go on fleets that cannot reach the internet",
		Long:          rootLong,
		Example:       rootExample,
		Version:       version(),
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	root.SetIn(a.stdin)
	root.SetFlagErrorFunc(badFlag)
	root.DisableSuggestions, root.SuggestionsMinimumDistance = true, 2 // unknownCommand makes them
	root.PersistentFlags().BoolVar(&a.output.noColor, "no-color", false, "no colour, as with NO_COLOR set")
	root.PersistentFlags().CountVarP(&a.output.verbose, "verbose", "v", "say more; -vv more still")
	root.AddCommand(
		a.applyCommand(), a.auditCommand(), a.rollbackCommand(), a.removeCommand(),
		a.runsCommand(), a.inventoryCommand(), a.fetchCommand(), a.verifyCommand(), a.bundleCommand(), a.serveCommand(), a.offerCommand(), a.manCommand(),
	)
	ownHelp(root)
	return root
}

// version is gofleet's, with the revision that it was built from if known.
func version() string {
	v := agent.Version
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" && len(s.Value) >= 12 {
				v += " (" + s.Value[:12] + ")"
			}
		}
	}
	return v
}

// addInventory adds the flags that choose hosts.
func (a *app) addInventory(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringArrayVarP(&a.inventory.sources, "inventory", "i", nil, "`source` of hosts: a file, a program, a directory, or their names with a comma; repeats (default: ansible.cfg's)")
	f.StringVarP(&a.inventory.limit, "limit", "l", "", "only the hosts of this `pattern`; @file reads names")
	f.StringArrayVarP(&a.inventory.extraVars, "extra-vars", "e", nil, "variables above all others: `k=v`, YAML, JSON or @file; repeats")
	a.inventory.vault.add(f)
	complete(cmd, "limit", a.completeNames(true))
}

// addConnect adds the flags that say how hosts are reached.
func (a *app) addConnect(cmd *cobra.Command) {
	f := cmd.Flags()
	a.connect.forks = 50
	f.VarP(whole{&a.connect.forks, 1}, "forks", "f", "hosts at work at once")
	f.VarP(seconds{&a.connect.timeout}, "timeout", "T", "for connecting to a host: 10, 10s or 1m (default: ssh_config's ConnectTimeout, or 10s)")
	f.Var(seconds{&a.connect.hostTimeout}, "host-timeout", "for one host, all in all; none if not given")
	f.StringVarP(&a.connect.user, "user", "u", "", "log in as this `name` where the inventory says nothing")
	f.StringVar(&a.connect.privateKey, "private-key", "", "key `file` to log in with where the inventory says nothing")
	f.StringVar(&a.connect.privateKey, "key-file", "", "the same as --private-key")
	f.Lookup("key-file").Hidden = true
	f.StringVar(&a.connect.sshCommonArgs, "ssh-common-args", "", "`options` of ssh for every host, as in Ansible")
	f.StringVarP(&a.connect.sshConfig, "ssh-config", "F", "", "ssh_config `file` instead of ~/.ssh/config; none is none")
	f.BoolVarP(&a.connect.become, "become", "b", false, "become root on the hosts")
	f.BoolVarP(&a.connect.askBecomePass, "ask-become-pass", "K", false, "ask for the become password")
	f.StringVar(&a.connect.becomePassFile, "become-password-file", "", "`file` with the become password")
	f.BoolVar(&a.connect.acceptNewHostKeys, "accept-new-host-keys", false, "record unknown host keys, with a warning each")
	for _, flag := range []string{"forks", "timeout", "host-timeout", "user", "ssh-common-args"} {
		complete(cmd, flag, noFiles)
	}
}

// addUploads adds the flags of a command that sends archives.
func (a *app) addUploads(cmd *cobra.Command) {
	f := cmd.Flags()
	a.connect.uploads.most = 8
	f.Var(&a.connect.uploads, "uploads", "archives under way at once, or auto: as many as controller and link are found to be good for")
	f.StringVar(&a.connect.encoding, "encoding", "auto", "how archives travel: auto, gzip (the file as it is) or zstd")
	complete(cmd, "uploads", words("auto"))
	complete(cmd, "encoding", words("auto", "gzip", "zstd"))
}

// addOutput adds --output, whose formats depend on the command.
func (a *app) addOutput(cmd *cobra.Command, formats ...string) {
	last := len(formats) - 1
	usage := strings.Join(formats[:last], ", ") + " or " + formats[last]
	cmd.Flags().StringVarP(&a.output.format, "output", "o", formats[0], usage)
	complete(cmd, "output", words(formats...))
}

// look is what the outputs can show.
func (a *app) look() report.Look {
	return report.LookOf(a.stdout, a.stderr, a.output.noColor, os.Getenv)
}

// loadInventory reads the -i sources, or those of ansible.cfg.
func (a *app) loadInventory(cmd *cobra.Command) (*inventory.Inventory, error) {
	if err := a.settle(cmd); err != nil {
		return nil, err
	}
	if len(a.inventory.sources) == 0 {
		return nil, errNoInventory(cmd)
	}
	return inventory.Load(cmd.Context(), a.inventoryOptions())
}

// inventoryWarnings are what the settings and the inventory so far are worth
// a warning for.
func (a *app) inventoryWarnings(inv *inventory.Inventory) []string {
	return append(slices.Clone(a.ansible.Warnings), inv.Warnings()...)
}

// sayWarnings prints them where there is no run to show.
func (a *app) sayWarnings(inv *inventory.Inventory) {
	for _, w := range a.inventoryWarnings(inv) {
		fmt.Fprintf(a.stderr, "warning: %s\n", w)
	}
}
