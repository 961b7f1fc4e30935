package baseline

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/gofleet/gofleet/agent/internal/hostcmd"
	"github.com/gofleet/gofleet/agent/spec"
	"github.com/gofleet/gofleet/agent/wire"
)

// socket is one that waits for others.
type socket struct {
	port  uint16
	proto string // tcp or udp
	addr  spec.Network
	inode string
}

// The states of sockets that wait, as the kernel writes them: of TCP's, and of
// UDP's, which are all called closed.
const listening, closed = "0A", "07"

// tables are the kernel's lists of sockets, and the state of those that wait.
var tables = []struct{ file, proto, state string }{
	{"net/tcp", "tcp", listening}, {"net/tcp6", "tcp", listening}, {"net/udp", "udp", closed}, {"net/udp6", "udp", closed},
}

// maxListening bounds what the check shows, in bytes.
const maxListening = 4000

// checkListening tells which ports are listened on, and by which programs.
func checkListening(proc string) wire.Check {
	c := wire.Check{Name: "listening", Status: wire.Pass, Wanted: "what should be reached from outside"}
	var all []socket
	for _, t := range tables {
		b, err := os.ReadFile(filepath.Join(proc, t.file))
		if err == nil {
			all = append(all, waiting(string(b), t.proto, t.state)...)
		}
	}
	owners := socketOwners(proc, all)
	sort.SliceStable(all, func(i, j int) bool {
		a, b := all[i], all[j]
		if a.port != b.port {
			return a.port < b.port
		}
		return a.proto+a.addr.String() < b.proto+b.addr.String()
	})
	var shown []string
	for _, s := range all {
		owner := owners[s.inode]
		if owner == "" {
			owner = "unknown"
		}
		line := fmt.Sprintf("%d/%s %s", s.port, s.proto, owner)
		if !s.addr.Unspecified() {
			addr := s.addr.String()
			if s.addr.V6 {
				addr = "[" + addr + "]"
			}
			line = fmt.Sprintf("%s:%d %s %s", addr, s.port, s.proto, owner)
		}
		if !slices.Contains(shown, line) {
			shown = append(shown, line)
		}
	}
	c.Actual = hostcmd.Printable(strings.Join(shown, ", "), maxListening)
	if c.Actual == "" {
		c.Actual = "nothing"
	}
	return c
}

// waiting reads one of the kernel's tables: those that wait for anybody.
func waiting(table, proto, state string) []socket {
	var found []socket
	for _, line := range strings.SplitAfter(table, "\n") {
		f := strings.Fields(line)
		if len(f) < 10 || f[3] != state || strings.Trim(f[2], "0:") != "" {
			continue
		}
		text, port, _ := strings.Cut(f[1], ":")
		n, err := strconv.ParseUint(port, 16, 16)
		addr, ok := kernelAddr(text)
		if err != nil || !ok {
			continue
		}
		found = append(found, socket{uint16(n), proto, addr, f[9]})
	}
	return found
}

// kernelAddr reads an address whose words of 32 bits are in the order of this
// machine's bytes.
func kernelAddr(text string) (spec.Network, bool) {
	b, err := hex.DecodeString(text)
	if err != nil || len(b)%4 != 0 {
		return spec.Network{}, false
	}
	if binary.NativeEndian.Uint16([]byte{1, 0}) == 1 {
		for i := 0; i < len(b); i += 4 {
			slices.Reverse(b[i : i+4])
		}
	}
	return spec.NetworkOf(b)
}

// socketOwners names the programs that hold sockets, by inode.
func socketOwners(proc string, all []socket) map[string]string {
	wanted := map[string]bool{}
	for _, s := range all {
		wanted[s.inode] = true
	}
	found := map[string]string{}
	dirs, _ := filepath.Glob(filepath.Join(proc, "[0-9]*"))
	for _, dir := range dirs {
		for _, inode := range sockets(dir) {
			// A service's socket is systemd's too.
			if !wanted[inode] || found[inode] != "" && found[inode] != "systemd" {
				continue
			}
			comm, _ := os.ReadFile(filepath.Join(dir, "comm"))
			found[inode] = hostcmd.Printable(strings.TrimSpace(string(comm)), 32)
		}
	}
	return found
}

// sockets are the inodes of the sockets of the process whose directory in /proc
// is dir: none if it has gone meanwhile, or is not ours to see.
func sockets(dir string) []string {
	entries, err := os.ReadDir(filepath.Join(dir, "fd"))
	if err != nil {
		return nil
	}
	var inodes []string
	for _, e := range entries {
		to, err := os.Readlink(filepath.Join(dir, "fd", e.Name()))
		if inode, ok := strings.CutPrefix(to, "socket:["); ok && err == nil {
			inodes = append(inodes, strings.TrimSuffix(inode, "]"))
		}
	}
	return inodes
}
