package baseline

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/gofleet/gofleet/agent/internal/ancestry"
	"github.com/gofleet/gofleet/agent/spec"
)

// login is how this run came in, and where others may.
type login struct {
	port   int           // the server's side of the connection; 0: there is none, or it is not known
	client *spec.Network // the other side
	ports  []int         // all that sshd listens on, port among them
}

// findLogin looks at the processes above this one, and at the sshd that
// listens.
func findLogin() (login, error) {
	var l login
	if c, found := ancestry.FindConnection(); found {
		l.port, l.client, l.ports = c.Port, &c.Client, []int{c.Port}
	}
	var inodes []string
	for pid, name := range ancestry.All {
		if strings.HasPrefix(name, "sshd") || name == "dropbear" {
			inodes = append(inodes, sockets(fmt.Sprintf("/proc/%d", pid))...)
		}
	}
	if b, err := os.ReadFile("/run/sshd.pid"); err == nil {
		if pid, err := strconv.Atoi(strings.TrimSpace(string(b))); err == nil {
			if name, err := ancestry.Name(pid); err == nil && strings.HasPrefix(name, "sshd") {
				inodes = append(inodes, sockets(fmt.Sprintf("/proc/%d", pid))...)
			}
		}
	}
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		b, err := os.ReadFile(table)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return l, fmt.Errorf("find the ports of sshd: %w", err)
		}
		l.addListening(string(b), inodes)
	}
	slices.Sort(l.ports)
	return l, nil
}

// addListening adds the ports of a table of sockets that listen, are one of
// inodes, and can be reached from another host.
func (l *login) addListening(table string, inodes []string) {
	for _, s := range waiting(table, "tcp", listening) {
		if slices.Contains(inodes, s.inode) && !s.addr.Loopback() && !slices.Contains(l.ports, int(s.port)) {
			l.ports = append(l.ports, int(s.port))
		}
	}
}
