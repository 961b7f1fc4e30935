//go:build linux

// Package lab starts test hosts on this machine: real OpenSSH servers, each in
// its own mount, pid, uts, ipc and network namespace on an overlay of a root
// filesystem, joined by a bridge, without a way to any other network. It needs
// root on Linux with overlayfs and iproute2, and knows nothing of gofleet.
//
// A lab's state is a directory with state.json, so that another process can
// work with it. Nothing else is recorded: processes are found by their command
// line and the bridge by its hardware address, both made of that directory's
// name, and a host's mounts live and die with its namespace. So Down clears up
// after a crash as it does otherwise.
package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// Lab is a set of running hosts.
type Lab struct {
	Name  string
	Dir   string // the lab's own directory
	Upper string // where the hosts' writes go: "tmpfs" or "disk"
	Hosts []*Host

	state   state
	mu      sync.Mutex // of holders: hosts may be rebooted at once
	holders []*os.File // of an ephemeral lab: what keeps its hosts alive
}

// Up starts the hosts of c and returns when all of them answer on their SSH
// port. What a crashed lab of the same name and directory left is removed
// first; a running one is an error. If Up fails, nothing remains.
func Up(ctx context.Context, c Config) (_ *Lab, err error) {
	if os.Args[0] == initName {
		return nil, errors.New("lab.Main has to be called first in main or TestMain")
	}
	if os.Geteuid() != 0 {
		return nil, errors.New("a lab needs root: its hosts are namespaces and mounts")
	}
	if c, err = c.withDefaults(); err != nil {
		return nil, err
	}
	unlock, err := lockDir(ctx, c.Dir, c.Name)
	if err != nil {
		return nil, err
	}
	defer unlock()
	dir := filepath.Join(c.Dir, c.Name)
	if old, err := readState(dir); err == nil && old.Ready {
		if running, err := livingHosts(dir); err != nil {
			return nil, err
		} else if len(running) > 0 {
			return nil, fmt.Errorf("lab %s is up already: gofleet-lab down --name %s ends it", c.Name, c.Name)
		}
	}
	if err := clear(ctx, dir); err != nil {
		return nil, fmt.Errorf("clear what an earlier lab left: %w", err)
	}
	l, err := up(ctx, c, dir)
	if err != nil {
		if cerr := clear(context.WithoutCancel(ctx), dir); cerr != nil {
			err = errors.Join(err, cerr)
		}
		return nil, err
	}
	return l, nil
}

func up(ctx context.Context, c Config, dir string) (*Lab, error) {
	roots, err := imageRoots(ctx, c)
	if err != nil {
		return nil, err
	}
	l := &Lab{Name: c.Name, Dir: dir}
	if err := l.makeDirs(c); err != nil {
		return nil, err
	}
	if l.state.Slot, err = makeBridge(ctx, dir); err != nil {
		return nil, err
	}
	if err := l.prepare(c, roots); err != nil {
		return nil, err
	}
	if err := l.start(ctx, l.Hosts); err != nil {
		return nil, err
	}
	if err := os.WriteFile(l.InventoryFile(), l.Inventory(), 0o644); err != nil {
		return nil, err
	}
	l.state.Ready = true
	return l, l.state.write(dir)
}

// makeDirs makes the lab's directories, recorded before anything is outside dir.
func (l *Lab) makeDirs(c Config) error {
	if err := os.MkdirAll(l.Dir, 0o755); err != nil {
		return err
	}
	l.Upper = "tmpfs"
	l.state = state{Format: stateFormat, Name: c.Name, Upper: l.Upper, Writable: l.fs(), Ephemeral: c.Ephemeral}
	if c.UpperDir != "" {
		l.Upper = "disk"
		l.state.Upper, l.state.Writable = l.Upper, filepath.Join(c.UpperDir, "gofleet-lab-"+c.Name)
	}
	if err := l.state.write(l.Dir); err != nil {
		return err
	}
	for _, dir := range []string{l.fs(), l.state.Writable} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	if err := unix.Mount(mountSource, l.fs(), "tmpfs", 0, "mode=755"); err != nil {
		return fmt.Errorf("mount a tmpfs: %w", err)
	}
	return nil
}

// fs is the tmpfs of the lab's own. The base layers are always there: overlayfs
// refuses lower layers of which one contains another, and / contains most.
func (l *Lab) fs() string { return filepath.Join(l.Dir, "fs") }

// mountSource is what /proc/mounts says of the lab's tmpfs.
const mountSource = "gofleet-lab"

// prepare lays out all hosts' files over the roots that imageRoots returned;
// nothing runs yet.
func (l *Lab) prepare(c Config, roots map[string]string) error {
	var rsaKey keyPair
	var authorized []byte
	var g errgroup.Group
	g.Go(func() (err error) { rsaKey, err = newKey("rsa", ""); return err })
	g.Go(func() (err error) { authorized, err = makeClientKeys(filepath.Join(l.Dir, "keys")); return err })
	if err := g.Wait(); err != nil {
		return err
	}
	hostsFile := "127.0.0.1 localhost\n::1 localhost\n"
	for i, h := range c.Hosts {
		hostsFile += fmt.Sprintf("%s %s\n", l.state.Slot.addr(i+1), h.Name)
	}
	for key, root := range roots {
		if err := makeBase(filepath.Join(l.fs(), "base", key), root, authorized, hostsFile, rsaKey); err != nil {
			return err
		}
	}
	known := make([]string, len(c.Hosts))
	l.Hosts = make([]*Host, len(c.Hosts))
	l.state.Hosts = make([]hostState, len(c.Hosts))
	for i, hc := range c.Hosts {
		g.Go(func() error {
			key := imageKey(hc)
			own := filepath.Join(l.state.Writable, "hosts", hc.Name)
			d := hostDirs{
				upper: filepath.Join(own, "upper"), work: filepath.Join(own, "work"),
				root: filepath.Join(own, "root"), files: filepath.Join(own, "files"),
				lower: []string{filepath.Join(l.fs(), "base", key), roots[key]},
			}
			keys, mounts, err := prepareHost(hc, d, rsaKey)
			if err != nil {
				return fmt.Errorf("prepare host %s: %w", hc.Name, err)
			}
			addr := l.state.Slot.addr(i + 1).String()
			if known[i], err = knownHostsLines(hc.KnownHosts, addr, keys); err != nil {
				return err
			}
			command := []string{"/usr/sbin/sshd", "-D", "-e"}
			if hc.Systemd {
				command = nspawn(d.root, hc.Name)
			}
			l.state.Hosts[i] = hostState{Config: hc, Addr: addr, Upper: d.upper, Boot: bootOrder{
				Root: d.root, Mounts: mounts, Hostname: hc.Name, Addr: fmt.Sprintf("%s/%d", addr, slotBits),
				CPUs: hc.CPUs, Kernel: hc.Kernel, Machine: hc.Machine, Memory: hc.Memory, Clock: int64(hc.Clock.Seconds()), Command: command, Ephemeral: c.Ephemeral,
				Systemd: hc.Systemd, Cgroup: cgroupName(l.Dir, hc.Name),
			}}
			l.Hosts[i] = newHost(l, i+1, l.state.Hosts[i])
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return os.WriteFile(l.KnownHostsFile(), []byte(strings.Join(known, "")), 0o644)
}

// start boots hosts all at once and waits until each answers.
func (l *Lab) start(ctx context.Context, hosts []*Host) (err error) {
	pids := map[int]int{}
	boots := make([]*booting, len(hosts))
	defer func() {
		for _, b := range boots {
			if b != nil {
				b.close(err == nil && l.state.Ephemeral)
			}
		}
	}()
	for i, h := range hosts {
		if boots[i], err = l.spawn(h); err != nil {
			return fmt.Errorf("start host %s: %w", h.Name, err)
		}
		pids[h.index] = boots[i].pid
	}
	// The kernel makes the links while the hosts mount their filesystems. If that
	// fails because a host has ended, the host says why.
	unplugged := plug(ctx, l.state.Slot, pids)
	if err := each(hosts, func(i int, h *Host) error { return boots[i].mounted(ctx) }); err != nil {
		return err
	}
	if unplugged != nil {
		return unplugged
	}
	if err := each(hosts, func(i int, h *Host) error {
		if err := boots[i].listening(ctx); err != nil {
			return err
		}
		if err := answers(ctx, net.JoinHostPort(h.Addr, "22")); err != nil || !h.Config.Systemd {
			return err
		}
		return h.booted(ctx)
	}); err != nil {
		return err
	}
	if l.state.Ephemeral {
		l.mu.Lock()
		defer l.mu.Unlock()
		for _, b := range boots {
			l.holders = append(l.holders, b.orders)
		}
	}
	return nil
}

// each calls f for all hosts at once and adds what a failing one logged.
func each(hosts []*Host, f func(i int, h *Host) error) error {
	var g errgroup.Group
	for i, h := range hosts {
		g.Go(func() error {
			if err := f(i, h); err != nil {
				return fmt.Errorf("start host %s: %w%s", h.Name, err, tail(h.LogFile()))
			}
			return nil
		})
	}
	return g.Wait()
}

// bootTimeout is far more than a host takes: an emulated one a few seconds.
const bootTimeout = time.Minute

// answers waits for the SSH banner at addr, and then until sshd has logged that
// nothing more came: who looks at its log finds what comes later.
func answers(ctx context.Context, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, bootTimeout)
	defer cancel()
	var conn net.Conn
	for {
		var err error
		if conn, err = new(net.Dialer).DialContext(ctx, "tcp", addr); err == nil {
			break
		}
		// A busy machine is slow to answer who has the address, too.
		if !errors.Is(err, unix.ECONNREFUSED) && !errors.Is(err, unix.EHOSTUNREACH) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s does not listen: %w", addr, ctx.Err())
		case <-time.After(time.Millisecond):
		}
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	banner := make([]byte, 4)
	if _, err := conn.Read(banner); err != nil {
		return fmt.Errorf("read SSH banner: %w", err)
	}
	if string(banner) != "SSH-" {
		return fmt.Errorf("not an SSH banner: %q", banner)
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		return fmt.Errorf("take leave of %s: %w", addr, err)
	}
	if _, err := io.Copy(io.Discard, conn); err != nil && !errors.Is(err, unix.ECONNRESET) {
		return fmt.Errorf("take leave of %s: %w", addr, err)
	}
	return nil
}

// Down ends the lab and removes all of it.
func (l *Lab) Down(ctx context.Context) error {
	unlock, err := lockDir(ctx, filepath.Dir(l.Dir), l.Name)
	if err != nil {
		return err
	}
	defer unlock()
	l.mu.Lock()
	for _, f := range l.holders {
		f.Close()
	}
	l.holders = nil
	l.mu.Unlock()
	return clear(ctx, l.Dir)
}

// Host returns the host of that name, or nil.
func (l *Lab) Host(name string) *Host {
	for _, h := range l.Hosts {
		if h.Name == name {
			return h
		}
	}
	return nil
}

// KeyFile is the private key (ed25519, no passphrase) that logs in everywhere.
// Beside it lie id_ecdsa, id_rsa, id_encrypted (KeyPassphrase), which log in
// too, and id_wrong, which does not.
func (l *Lab) KeyFile() string { return filepath.Join(l.Dir, "keys", "id_ed25519") }

// KnownHostsFile speaks of the hosts as each one's KnownHosts says.
func (l *Lab) KnownHostsFile() string { return filepath.Join(l.Dir, "known_hosts") }

// InventoryFile is an Ansible inventory of the hosts.
func (l *Lab) InventoryFile() string { return filepath.Join(l.Dir, "inventory.yaml") }

// SSH returns a command of the real ssh client, as user on h.
func (l *Lab) SSH(ctx context.Context, user string, h *Host, args ...string) *exec.Cmd {
	full := append([]string{
		"-F", "none", "-i", l.KeyFile(), "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes",
		"-o", "UserKnownHostsFile=" + l.KnownHostsFile(), "-o", "GlobalKnownHostsFile=none",
		"-o", "StrictHostKeyChecking=yes", user + "@" + h.Addr,
	}, args...)
	return exec.CommandContext(ctx, "ssh", full...)
}
