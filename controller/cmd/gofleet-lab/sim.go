//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/crypto/ssh"

	"github.com/gofleet/gofleet/controller/internal/lab/sshsim"
)

func simCommand() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:   "sim N",
		Short: "Serve N hosts inside this process, without privileges, until stopped",
		Long: `Serve N hosts, called h1, h2, …, until Ctrl-C or SIGTERM. They need no root:
each is an SSH and SFTP server inside this process, on a port of its own on
loopback, that runs commands as you, with a home directory of its own. So Go is
installed for an ordinary user (gofleet_root in that home); there is no become,
no deploy user and no sudo rule.

One directory holds everything: inventory.yaml, ssh_config, the key, known_hosts
and the homes. When the hosts are up, the path of the inventory is printed. At
the end all of that is removed again.`,
		Example: `  gofleet-lab sim 3 --in /tmp/sim
  gofleet audit -i /tmp/sim/inventory.yaml
  ssh -F /tmp/sim/ssh_config h1 go version`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			n, err := strconv.Atoi(args[0])
			if err != nil || n < 1 {
				return fmt.Errorf("sim %s: want a number of hosts", args[0])
			}
			if os.Geteuid() == 0 {
				return errors.New("sim runs commands as its own user, and root's would change this machine: gofleet-lab up starts real hosts")
			}
			s, err := startSim(n, dir)
			if err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), s.inventory())
			<-cmd.Context().Done()
			return s.close()
		},
	}
	cmd.Flags().StringVar(&dir, "in", "", "a new `DIRECTORY` for the hosts; one in TMPDIR if not given")
	return cmd
}

// sim is a set of simulated hosts and the directory that they live in.
type sim struct {
	dir     string
	servers []*sshsim.Server
}

// startSim makes dir, which must not be there yet ("" makes a temporary one),
// and serves n hosts from it.
func startSim(n int, dir string) (_ *sim, err error) {
	if dir == "" {
		dir, err = os.MkdirTemp("", "gofleet-sim-")
	} else if dir, err = filepath.Abs(dir); err == nil {
		err = os.Mkdir(dir, 0o700)
	}
	if err != nil {
		return nil, fmt.Errorf("make a directory for hosts: %w", err)
	}
	s := &sim{dir: dir}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	login, private, err := sshsim.NewKey()
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	for i := range n {
		if err := s.serve(i, login.PublicKey()); err != nil {
			return nil, fmt.Errorf("start host %s: %w", simName(i), err)
		}
	}
	for name, text := range map[string]string{
		"id_ed25519": string(private), "known_hosts": s.knownHosts(),
		"ssh_config": s.sshConfig(), "inventory.yaml": s.inventoryText(),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return nil, fmt.Errorf("write %s: %w", name, err)
		}
	}
	return s, nil
}

func simName(i int) string { return "h" + strconv.Itoa(i+1) }

func (s *sim) home(i int) string { return filepath.Join(s.dir, simName(i)) }

// root is the host's gofleet_root.
func (s *sim) root(i int) string { return filepath.Join(s.home(i), ".local", "gofleet") }

// serve starts the i-th host, whose sessions find Go as a user would who has
// added gofleet_root's bin to PATH.
func (s *sim) serve(i int, login ssh.PublicKey) error {
	home := s.home(i)
	temp := filepath.Join(home, "tmp")
	if err := os.MkdirAll(temp, 0o700); err != nil {
		return err
	}
	server, err := sshsim.Start(sshsim.Host{
		Keys: []ssh.PublicKey{login}, User: simUser(), Dir: home,
		Exec: sshsim.Shell(home, "TMPDIR="+temp, "PATH="+filepath.Join(s.root(i), "bin")+":/usr/local/bin:/usr/bin:/bin"),
	})
	if err != nil {
		return err
	}
	s.servers = append(s.servers, server)
	return nil
}

// simUser is the name to log in with: this user's, for what it is worth.
func simUser() string {
	if name := os.Getenv("USER"); name != "" && !strings.ContainsAny(name, " \t\n\"'#:") {
		return name
	}
	return "user"
}

func (s *sim) inventory() string { return filepath.Join(s.dir, "inventory.yaml") }

func (s *sim) knownHosts() string {
	var b strings.Builder
	for _, server := range s.servers {
		b.WriteString(server.KnownHosts())
	}
	return b.String()
}

func (s *sim) inventoryText() string {
	var b strings.Builder
	fmt.Fprintf(&b, "lab:\n  vars:\n")
	fmt.Fprintf(&b, "    ansible_user: %s\n", simUser())
	fmt.Fprintf(&b, "    ansible_ssh_private_key_file: %s\n", filepath.Join(s.dir, "id_ed25519"))
	fmt.Fprintf(&b, "    ansible_ssh_common_args: -o UserKnownHostsFile=%s -o IdentitiesOnly=yes\n", filepath.Join(s.dir, "known_hosts"))
	fmt.Fprintf(&b, "  hosts:\n")
	for i, server := range s.servers {
		addr := server.Addr(0)
		fmt.Fprintf(&b, "    %s:\n      ansible_host: %s\n      ansible_port: %d\n", simName(i), addr.Addr(), addr.Port())
		fmt.Fprintf(&b, "      gofleet_root: %s\n", s.root(i))
	}
	return b.String()
}

func (s *sim) sshConfig() string {
	var b strings.Builder
	for i, server := range s.servers {
		addr := server.Addr(0)
		fmt.Fprintf(&b, "Host %s\n  HostName %s\n  Port %d\n", simName(i), addr.Addr(), addr.Port())
	}
	fmt.Fprintf(&b, "Host *\n  User %s\n  IdentityFile %s\n  IdentitiesOnly yes\n  UserKnownHostsFile %s\n",
		simUser(), filepath.Join(s.dir, "id_ed25519"), filepath.Join(s.dir, "known_hosts"))
	return b.String()
}

// close ends the servers and what they run, and removes the directory.
func (s *sim) close() error {
	var errs []error
	for _, server := range s.servers {
		errs = append(errs, server.Close())
	}
	// A module cache of Go is not writable, and a home may have one.
	_ = filepath.WalkDir(s.dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			return os.Chmod(path, 0o700)
		}
		return nil
	})
	return errors.Join(append(errs, os.RemoveAll(s.dir))...)
}
