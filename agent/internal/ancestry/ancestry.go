// Package ancestry looks at the processes above the agent, which know how this
// run came to the host: become may have dropped the environment, but sshd's own
// child and what it started still have it.
package ancestry

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/gofleet/gofleet/agent/spec"
)

// maxAncestors is more than lie between an agent and its sshd.
const maxAncestors = 32

// All gives this process and those above it, with their names, as far as /proc
// tells; the host's first process is none of them.
func All(yield func(pid int, name string) bool) {
	for pid, n := os.Getpid(), 0; pid > 1 && n < maxAncestors; n++ {
		name, parent, err := stat(pid)
		if err != nil || !yield(pid, name) {
			return
		}
		pid = parent
	}
}

// Name is the name of a process.
func Name(pid int) (string, error) {
	name, _, err := stat(pid)
	return name, err
}

// stat is the name and the parent of a process.
func stat(pid int) (name string, parent int, err error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", 0, err
	}
	text := string(b)
	open, end := strings.IndexByte(text, '('), strings.LastIndexByte(text, ')')
	if open < 0 || end < open {
		return "", 0, fmt.Errorf("process %d is not what /proc should say", pid)
	}
	fields := strings.Fields(text[end+1:])
	if len(fields) < 2 {
		return "", 0, fmt.Errorf("process %d is not what /proc should say", pid)
	}
	parent, err = strconv.Atoi(fields[1])
	return text[open+1 : end], parent, err
}

// Connection is the SSH connection that a run came in on.
type Connection struct {
	Client spec.Network // the other side's address
	Server spec.Network // this side's
	Port   int          // this side's
}

// FindConnection is sshd's word about this run's connection, SSH_CONNECTION of
// the nearest process that has it. A run that came in another way has none.
func FindConnection() (c Connection, found bool) {
	for pid := range All {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		if err != nil {
			continue
		}
		if c, found = parseConnection(string(b)); found {
			break
		}
	}
	return c, found
}

// parseConnection reads the client's address and port and the server's out of
// an environment.
func parseConnection(environ string) (Connection, bool) {
	for _, entry := range strings.Split(environ, "\x00") {
		value, ok := strings.CutPrefix(entry, "SSH_CONNECTION=")
		words := strings.Fields(value)
		if !ok || len(words) != 4 {
			continue
		}
		port, err1 := strconv.ParseUint(words[3], 10, 16)
		client, err2 := parseAddress(words[0])
		server, err3 := parseAddress(words[2])
		if err1 == nil && err2 == nil && err3 == nil && port > 0 {
			return Connection{client, server, int(port)}, true
		}
	}
	return Connection{}, false
}

// parseAddress reads an address as sshd writes it: one of a single link has an
// interface behind it, and one of IPv4 may stand in IPv6.
func parseAddress(text string) (spec.Network, error) {
	address, _, _ := strings.Cut(text, "%")
	if v4 := strings.TrimPrefix(address, "::ffff:"); strings.Contains(v4, ".") {
		address = v4
	}
	return spec.ParseNetwork(address)
}
