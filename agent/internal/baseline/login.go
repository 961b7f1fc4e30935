package baseline

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/gofleet/gofleet/agent/spec"
)

// login is how this run came in, and where others may.
type login struct {
	port   int           // the server's side of the connection; 0: there is none, or it is not known
	client *spec.Network // the other side
	ports  []int         // all that sshd listens on, port among them
}

// maxAncestors is more than lie between an agent and its sshd.
const maxAncestors = 32

// findLogin looks at the processes above this one: become may have dropped the
// environment, but sshd's own child and what it started still have it.
func findLogin() (login, error) {
	var l login
	var inodes []string
	for pid, n := os.Getpid(), 0; pid > 1 && n < maxAncestors; n++ {
		if l.port == 0 {
			l.readConnection(pid)
		}
		name, parent, err := processStat(pid)
		if err != nil {
			break
		}
		if strings.HasPrefix(name, "sshd") || name == "dropbear" {
			inodes = append(inodes, sockets(pid)...)
		}
		pid = parent
	}
	if b, err := os.ReadFile("/run/sshd.pid"); err == nil {
		if pid, err := strconv.Atoi(strings.TrimSpace(string(b))); err == nil {
			if name, _, err := processStat(pid); err == nil && strings.HasPrefix(name, "sshd") {
				inodes = append(inodes, sockets(pid)...)
			}
		}
	}
	if l.port != 0 {
		l.ports = append(l.ports, l.port)
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

// readConnection reads sshd's word about the connection from a process's
// environment: client address and port, server address and port.
func (l *login) readConnection(pid int) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil {
		return
	}
	for entry := range strings.SplitSeq(string(b), "\x00") {
		value, ok := strings.CutPrefix(entry, "SSH_CONNECTION=")
		words := strings.Fields(value)
		if !ok || len(words) != 4 {
			continue
		}
		port, err1 := strconv.ParseUint(words[3], 10, 16)
		address, _, _ := strings.Cut(words[0], "%")
		if v4 := strings.TrimPrefix(address, "::ffff:"); strings.Contains(v4, ".") {
			address = v4
		}
		client, err2 := spec.ParseNetwork(address)
		if err1 == nil && err2 == nil && port > 0 {
			l.port, l.client = int(port), &client
			return
		}
	}
}

// processStat is the name and the parent of a process.
func processStat(pid int) (name string, parent int, err error) {
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

// sockets are the inodes of a process's sockets.
func sockets(pid int) []string {
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	var out []string
	for _, e := range entries {
		to, err := os.Readlink(filepath.Join(dir, e.Name()))
		if inode, ok := strings.CutPrefix(to, "socket:["); ok && err == nil {
			out = append(out, strings.TrimSuffix(inode, "]"))
		}
	}
	return out
}

// addListening adds the ports of a table of sockets that listen, are one of
// inodes, and can be reached from another host.
func (l *login) addListening(table string, inodes []string) {
	const listening = "0A"
	for line := range strings.Lines(table) {
		f := strings.Fields(line)
		if len(f) < 10 || f[3] != listening || !slices.Contains(inodes, f[9]) {
			continue
		}
		address, text, _ := strings.Cut(f[1], ":")
		port, err := strconv.ParseUint(text, 16, 16)
		loopback := len(address) == 8 && strings.HasSuffix(address, "7F") || address == "00000000000000000000000001000000"
		if err == nil && !loopback && !slices.Contains(l.ports, int(port)) {
			l.ports = append(l.ports, int(port))
		}
	}
}
