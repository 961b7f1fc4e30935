//go:build linux

package lab

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
)

// The networks of labs: 64 slots of 1022 addresses each. A slot belongs to the
// lab whose bridge stands there, and a bridge carries the hash of its lab's
// directory as its hardware address, so that it has an owner from the instant
// it exists.
const (
	slots      = 64
	slotBits   = 22
	maxHosts   = 1000 // a Linux bridge takes 1024 ports
	bridgeHead = "gfl"
)

var labNet = netip.MustParsePrefix("10.213.0.0/16")

// slot numbers a lab's network.
type slot int

func (s slot) bridge() string       { return fmt.Sprintf("%s%d", bridgeHead, s) }
func (s slot) veth(host int) string { return fmt.Sprintf("%s%dh%d", bridgeHead, s, host) }

// prefix is the slot's network; its first address is the bridge's.
func (s slot) prefix() netip.Prefix {
	a := labNet.Addr().As4()
	a[2] = byte(int(s) << (24 - slotBits))
	return netip.PrefixFrom(netip.AddrFrom4(a), slotBits)
}

// addr is the address of the n-th host, counted from 1; 0 is the bridge.
func (s slot) addr(n int) netip.Addr {
	a := s.prefix().Addr().As4()
	n++
	a[2] += byte(n >> 8)
	a[3] = byte(n)
	return netip.AddrFrom4(a)
}

// hardwareAddr marks the bridge of the lab in dir: a locally administered
// address made of the directory's hash.
func hardwareAddr(dir string) net.HardwareAddr {
	sum := sha256.Sum256([]byte(dir))
	return append(net.HardwareAddr{0x0a}, sum[:5]...)
}

// hostHardwareAddr is the same whenever the host boots, so that what others have
// in their ARP caches stays true.
func (s slot) hostHardwareAddr(host int) net.HardwareAddr {
	return net.HardwareAddr{0x0a, 'g', 'f', byte(s), byte(host >> 8), byte(host)}
}

// Sent is how many bytes this machine has sent to all hosts since the lab is
// up, with all that the network adds. What hosts send to each other does not
// count.
func (l *Lab) Sent() (int64, error) {
	text, err := os.ReadFile("/sys/class/net/" + l.state.Slot.bridge() + "/statistics/tx_bytes")
	if err != nil {
		return 0, fmt.Errorf("count what was sent: %w", err)
	}
	return strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
}

// ip runs commands of ip(8) in one process.
func ip(ctx context.Context, commands ...string) error {
	cmd := exec.CommandContext(ctx, "ip", "-batch", "-")
	cmd.Stdin = strings.NewReader(strings.Join(commands, "\n") + "\n")
	out, err := cmd.CombinedOutput()
	if errors.Is(err, exec.ErrNotFound) {
		return fmt.Errorf("ip is not installed: apt-get install iproute2")
	}
	if err != nil {
		return fmt.Errorf("ip: %s: %w", bytes.TrimSpace(out), err)
	}
	return nil
}

// makeBridge claims the first free slot for the lab in dir.
func makeBridge(ctx context.Context, dir string) (slot, error) {
	var last error
	for s := range slot(slots) {
		free, err := s.free()
		if err != nil {
			return 0, err
		}
		if !free {
			continue
		}
		// Creation fails if another lab was quicker.
		if last = ip(ctx, fmt.Sprintf("link add name %s address %s type bridge forward_delay 0", s.bridge(), hardwareAddr(dir))); last != nil {
			continue
		}
		return s, ip(ctx,
			fmt.Sprintf("addr add %s/%d dev %s", s.addr(0), slotBits, s.bridge()),
			fmt.Sprintf("link set %s up", s.bridge()))
	}
	if last != nil {
		return 0, fmt.Errorf("make a bridge: %w", last)
	}
	return 0, fmt.Errorf("all %d networks in %s are in use: gofleet-lab list shows labs, gofleet-lab down --all ends them", slots, labNet)
}

// free tells whether nothing on this machine uses the slot's name or addresses.
func (s slot) free() (bool, error) {
	if _, err := net.InterfaceByName(s.bridge()); err == nil {
		return false, nil
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return false, err
	}
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Overlaps(s.prefix()) {
			return false, nil
		}
	}
	return true, nil
}

// plug makes the veth pairs of hosts, one end in the bridge and the other,
// eth0, in the network namespace of the host's pid 1.
func plug(ctx context.Context, s slot, pids map[int]int) error {
	commands := make([]string, 0, len(pids))
	for host, pid := range pids {
		commands = append(commands, fmt.Sprintf("link add name %s up master %s type veth peer name eth0 address %s netns %d",
			s.veth(host), s.bridge(), s.hostHardwareAddr(host), pid))
	}
	return ip(ctx, commands...)
}

// unplug removes a host's veth pair. The kernel may have done so already, with
// the host's network namespace.
func unplug(ctx context.Context, s slot, host int) {
	_ = ip(ctx, "link del "+s.veth(host))
}

// removeNetwork removes the bridges of the lab in dir and their ports; with an
// empty dir those of all labs.
func removeNetwork(ctx context.Context, dir string) error {
	all, err := net.Interfaces()
	if err != nil {
		return err
	}
	for _, br := range all {
		var n int
		if _, err := fmt.Sscanf(br.Name, bridgeHead+"%d", &n); err != nil || slot(n).bridge() != br.Name {
			continue
		}
		if dir != "" && !bytes.Equal(br.HardwareAddr, hardwareAddr(dir)) {
			continue
		}
		for _, port := range all {
			var host int
			if _, err := fmt.Sscanf(port.Name, br.Name+"h%d", &host); err == nil {
				unplug(ctx, slot(n), host)
			}
		}
		if err := ip(ctx, "link del "+br.Name); err != nil {
			if _, gone := net.InterfaceByName(br.Name); gone == nil {
				return err
			}
		}
	}
	return nil
}
