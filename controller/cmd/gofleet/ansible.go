package main

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gofleet/gofleet/controller/internal/ansiblecfg"
	"github.com/gofleet/gofleet/controller/internal/inventory"
)

// settle reads ansible.cfg and the ANSIBLE_ variables, and takes from them
// what no flag says.
func (a *app) settle(cmd *cobra.Command) error {
	dir, err := os.Getwd()
	if err != nil {
		return fmt.Errorf("find the working directory: %w", err)
	}
	home, err := os.UserHomeDir()
	if err != nil {
		home = "" // then there is no ~/.ansible.cfg
	}
	s, err := ansiblecfg.Load(ansiblecfg.Options{Env: os.Environ(), Dir: dir, Home: home})
	if err != nil {
		return err
	}
	a.ansible = s
	if a.output.verbose > 0 && s.File != "" {
		fmt.Fprintf(a.stderr, "settings: %s\n", s.File)
	}
	given := cmd.Flags().Changed
	if len(a.inventory.sources) == 0 {
		a.inventory.sources = s.Inventory
	}
	v := &a.inventory.vault
	v.ids = append(slices.Clone(s.VaultIdentityList), v.ids...) // as Ansible does
	if len(v.files) == 0 && len(v.other) == 0 && s.VaultPasswordFile != "" {
		if v.files = []string{s.VaultPasswordFile}; s.VaultIdentity != "" {
			v.files, v.ids = nil, append(v.ids, s.VaultIdentity+"@"+s.VaultPasswordFile)
		}
	}
	v.ask = v.ask || s.AskVaultPass && !given("ask-vault-pass") && !given("ask-vault-password")
	c := &a.connect
	if s.Forks > 0 && !given("forks") {
		c.forks = s.Forks
	}
	if s.Timeout > 0 && !given("timeout") {
		c.timeout = s.Timeout
	}
	if !given("user") {
		c.user = s.RemoteUser
	}
	if !given("private-key") && !given("key-file") {
		c.privateKey = s.PrivateKeyFile
	}
	c.become = c.become || s.Become && !given("become")
	if !given("ask-become-pass") && !given("become-password-file") {
		c.askBecomePass, c.becomePassFile = s.BecomeAskPass, s.BecomePasswordFile
	}
	return a.checkFiles(cmd)
}

// checkFiles refuses a key file and an ssh_config file that the command line
// names and that cannot be read; ssh does so too with -F. Of a key that the
// ssh-agent holds, the public half is enough.
func (a *app) checkFiles(cmd *cobra.Command) error {
	given, c := cmd.Flags().Changed, &a.connect
	if given("ssh-config") && c.sshConfig != "none" {
		if err := readable("ssh-config", c.sshConfig); err != nil {
			return err
		}
	}
	if given("private-key") || given("key-file") {
		if err := readable("private-key", c.privateKey); err != nil && readable("private-key", c.privateKey+".pub") != nil {
			return err
		}
	}
	return nil
}

// inventoryOptions say what to read, and how.
func (a *app) inventoryOptions() inventory.Options {
	o := inventory.Options{
		Sources:          a.inventory.sources,
		ExtraVars:        a.inventory.extraVars,
		Vault:            a.vaultOptions(),
		Env:              os.Environ(),
		AnsibleInventory: ansibleInventory(),
	}
	if s := a.ansible; s != nil {
		o.Settings = inventory.Settings{
			Plugins: s.Plugins, IgnoreExtensions: s.IgnoreExtensions,
			IgnorePatterns: s.IgnorePatterns, SafeGroupNames: s.SafeGroupNames,
		}
	}
	return o
}

// ansibleInventory is the real tool, for sources that only Python can read;
// "" where it is not installed.
func ansibleInventory() string {
	path, err := exec.LookPath("ansible-inventory")
	if err != nil {
		return ""
	}
	return path
}

// standIn is a setting that stands for a variable of hosts that have none of
// its names.
type standIn struct {
	names  []string // the first is set
	value  any
	origin string // file and line of the setting
}

// standIns are the settings of connections that Ansible lets variables of a
// host override.
func (a *app) standIns() []standIn {
	s := a.ansible
	if s == nil {
		return nil
	}
	var list []standIn
	add := func(setting string, value any, names ...string) {
		if origin := s.Origin(setting); origin != "" {
			list = append(list, standIn{names, value, origin})
		}
	}
	oneLine := func(args string) string { return strings.Join(strings.Fields(args), " ") }
	add("remote_port", int64(s.RemotePort), "ansible_port", "ansible_ssh_port")
	add("host_key_checking", !s.AcceptHostKeys, "ansible_host_key_checking", "ansible_ssh_host_key_checking")
	add("ssh_args", oneLine(s.SSHArgs), "ansible_ssh_args")
	if a.connect.sshCommonArgs == "" {
		add("ssh_common_args", oneLine(s.SSHCommonArgs), "ansible_ssh_common_args")
	}
	add("ssh_extra_args", oneLine(s.SSHExtraArgs), "ansible_ssh_extra_args")
	add("retries", int64(s.SSHRetries), "ansible_ssh_retries")
	add("become_method", s.BecomeMethod, "ansible_become_method")
	add("become_user", s.BecomeUser, "ansible_become_user")
	add("become_exe", s.BecomeExe, "ansible_become_exe")
	add("become_flags", s.BecomeFlags, "ansible_become_flags")
	return list
}

// withStandIns gives the variables of a host with the settings' for those that it
// has not, and where these come from.
func withStandIns(vars map[string]any, list []standIn) (map[string]any, map[string]string) {
	origins := map[string]string{}
	for _, s := range list {
		if slices.ContainsFunc(s.names, func(n string) bool { return vars[n] != nil }) {
			continue
		}
		if len(origins) == 0 {
			vars = maps.Clone(vars)
			if vars == nil {
				vars = map[string]any{}
			}
		}
		vars[s.names[0]] = s.value
		origins[s.names[0]] = s.origin
	}
	return vars, origins
}

// errNoInventory is for commands that need hosts.
func errNoInventory(cmd *cobra.Command) error {
	return hint(errors.New(cmd.CommandPath()+" needs an inventory"),
		"name one with -i: a file, a program, a directory, or host names with a comma behind them; or in ansible.cfg or ANSIBLE_INVENTORY")
}
