// Package sshsim is an SSH and SFTP server inside this process: for unit tests
// of what connects to hosts, for trying gofleet without privileges, and for
// fleets of thousands. It serves on loopback only, and what it does with a
// command is a function of the caller's.
package sshsim

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// Host says how one simulated host behaves.
type Host struct {
	// Keys log in; without any, nobody does.
	Keys []ssh.PublicKey

	// User is the one name that logs in; any if empty.
	User string

	// HostKey is made when nil.
	HostKey ssh.Signer

	// Exec runs commands; nil refuses them. See Shell.
	Exec Handler

	// NoSFTP refuses the subsystem.
	NoSFTP bool

	// Files, if not nil, is what SFTP shows instead of this machine's files.
	Files *sftp.Handlers

	// Dir is where relative SFTP paths start.
	Dir string

	// Forward lets clients connect onwards through this host, as jump hosts do.
	Forward bool

	// Banner is shown before authentication.
	Banner string

	Faults Faults
}

// Faults are what goes wrong.
type Faults struct {
	// DropFirst connections are closed before a word is said, as sshd does over
	// MaxStartups.
	DropFirst int

	// CutAfter closes a connection once it has received more than so many bytes
	// in its channels, uploads and stdin alike; 0 is never.
	CutAfter int64

	// Cuts is how many connections CutAfter cuts; 0 is every one.
	Cuts int

	// Delay passes before the handshake and before each session's start.
	Delay time.Duration
}

// Command is one exec request.
type Command struct {
	User   string
	Line   string // as the client sent it, meant for a shell
	Stdin  io.Reader
	Stdout io.Writer
	Stderr io.Writer
}

// Handler runs a command and returns its exit code. ctx ends with the
// connection.
type Handler func(ctx context.Context, c Command) int

// Server listens for one host or for many.
type Server struct {
	listener net.Listener
	hosts    []*host
	byAddr   map[netip.Addr]*host

	ctx    context.Context
	cancel context.CancelFunc
	done   sync.WaitGroup
}

// host is a Host at work.
type host struct {
	Host
	config  *ssh.ServerConfig
	addr    netip.AddrPort
	dropped atomic.Int64
	cut     atomic.Int64
}

// Start serves h on a free port of 127.0.0.1.
func Start(h Host) (*Server, error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	return start(l, []Host{h}, netip.MustParseAddr("127.0.0.1"))
}

// StartMany serves hosts behind one listener, each at an address of its own in
// 127.64.0.0/10, where Linux needs no set-up, and all on one port. A host costs
// about a kilobyte until somebody connects. Connections from other machines are
// closed.
func StartMany(hosts []Host) (*Server, error) {
	const most = 1<<22 - 2
	if len(hosts) == 0 || len(hosts) > most {
		return nil, fmt.Errorf("simulate %d hosts: want 1 to %d", len(hosts), most)
	}
	l, err := net.Listen("tcp4", "0.0.0.0:0")
	if err != nil {
		return nil, err
	}
	return start(l, hosts, netip.MustParseAddr("127.64.0.1"))
}

func start(l net.Listener, hosts []Host, first netip.Addr) (*Server, error) {
	s := &Server{listener: l, byAddr: make(map[netip.Addr]*host, len(hosts))}
	port := l.Addr().(*net.TCPAddr).AddrPort().Port()
	for addr := first; len(s.hosts) < len(hosts); addr = addr.Next() {
		h := &host{Host: hosts[len(s.hosts)], addr: netip.AddrPortFrom(addr, port)}
		if err := h.configure(); err != nil {
			l.Close()
			return nil, err
		}
		s.hosts = append(s.hosts, h)
		s.byAddr[addr] = h
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.done.Add(1)
	go s.accept()
	return s, nil
}

// Addr is where the i-th host listens, from 0.
func (s *Server) Addr(i int) netip.AddrPort { return s.hosts[i].addr }

// KnownHosts has a line of known_hosts for every host.
func (s *Server) KnownHosts() string {
	var b strings.Builder
	for _, h := range s.hosts {
		b.WriteString(knownhosts.Line([]string{h.addr.String()}, h.HostKey.PublicKey()) + "\n")
	}
	return b.String()
}

// Close ends the listener and all connections, and waits for their handlers.
func (s *Server) Close() error {
	s.cancel()
	err := s.listener.Close()
	s.done.Wait()
	return err
}

func (s *Server) accept() {
	defer s.done.Done()
	for {
		conn, err := s.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		} else if err != nil {
			continue // too many open files: the next may find one
		}
		h := s.byAddr[conn.LocalAddr().(*net.TCPAddr).AddrPort().Addr().Unmap()]
		from := conn.RemoteAddr().(*net.TCPAddr).AddrPort().Addr()
		if h == nil || !from.IsLoopback() || h.dropped.Add(1) <= int64(h.Faults.DropFirst) {
			conn.Close()
			continue
		}
		s.done.Add(1)
		go func() {
			defer s.done.Done()
			h.serve(s.ctx, conn)
		}()
	}
}

func (h *host) configure() error {
	if h.HostKey == nil {
		key, _, err := NewKey()
		if err != nil {
			return err
		}
		h.HostKey = key
	}
	accepted := make(map[string]bool, len(h.Keys))
	for _, k := range h.Keys {
		accepted[string(k.Marshal())] = true
	}
	h.config = &ssh.ServerConfig{
		PublicKeyCallback: func(c ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
			if h.User != "" && c.User() != h.User {
				return nil, fmt.Errorf("unknown user %q", c.User())
			}
			if !accepted[string(key.Marshal())] {
				return nil, errors.New("unknown key")
			}
			return nil, nil
		},
	}
	if h.Banner != "" {
		h.config.BannerCallback = func(ssh.ConnMetadata) string { return h.Banner }
	}
	h.config.AddHostKey(h.HostKey)
	return nil
}

// NewKey makes an ed25519 key, and its private half as OpenSSH stores it.
func NewKey() (ssh.Signer, []byte, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		return nil, nil, err
	}
	signer, err := ssh.NewSignerFromKey(private)
	return signer, pem.EncodeToMemory(block), err
}

// wait passes the delay, or returns early when ctx ends.
func wait(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
