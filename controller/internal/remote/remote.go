// Package remote reaches hosts: it dials them over SSH (or starts a shell on
// this machine), checks their keys, logs in with keys, starts the agent under
// become in one exec, and uploads over SFTP. It knows the agent's Hello, but
// nothing of tasks, releases, inventories or reports.
package remote

import (
	"context"
	"net/netip"
	"os/exec"
	"sync"
	"time"

	"github.com/gofleet/gofleet/agent/wire"
)

// Target is one host as its inventory describes it. What is empty comes from
// ssh_config or the Dialer.
type Target struct {
	Name     string   // the inventory's name, for messages
	Host     string   // what to connect to; empty means Name. ssh_config may rename it
	User     string   // empty: ssh_config's, else the local user
	Port     int      // 0: ssh_config's, else 22
	KeyFiles []string // private keys named for this host, tried first
	Args     []string // words of ssh's command line: -o K=V, -i, -p, -J, -F, -l
	Local    bool     // a shell on this machine instead of SSH

	Shell func(line string) *exec.Cmd // what runs a line for a shell, if Local; nil: /bin/sh

	AcceptNew bool // record an unknown host key with a warning
	Timeout   time.Duration
	Retries   *int  // nil: the Dialer's
	TTY       *bool // start the agent on a terminal; nil: where the host wants one
	Become    *Become

	depth int // of jump hosts
}

// Become says how a command becomes another user on the host.
type Become struct {
	Method   string                 // "sudo" if empty
	User     string                 // "root" if empty
	Exe      string                 // the program, if not the method's name; words as a shell splits them
	Flags    string                 // replaces the method's own flags; words as a shell splits them
	Password func() (string, error) // nil: there is none, and the host must not ask
}

// Dialer dials hosts. Its fields must not change after the first Dial. Close
// ends what its connections share: jump hosts and the agent's socket.
type Dialer struct {
	Timeout           time.Duration // of one attempt to connect and log in; 0 is 10 s or ssh_config's ConnectTimeout
	Retries           int           // further attempts after the first; 0 is 3, negative none
	AcceptNewHostKeys bool          // record unknown host keys, with a warning each
	KnownHosts        []string      // instead of ssh_config's and ~/.ssh/known_hosts; new keys go to the first
	ConfigFiles       []string      // instead of ~/.ssh/config and /etc/ssh/ssh_config
	AgentSocket       string        // of ssh-agent, usually $SSH_AUTH_SOCK; empty: none
	Home              string        // the user's home; empty: os.UserHomeDir
	LocalUser         string        // empty: $USER, else the account's name
	StartTimeout      time.Duration // how long a starting agent may be silent; 0 is 60 s
	LoginsAtOnce      int           // at one sshd; 0 is 4
	ForwardsEach      int           // hosts behind one connection to a jump host; 0 is 500
	KeepAlive         time.Duration // between server-alive requests; 0 is 15 s or ssh_config's; three unanswered end the connection

	// Passphrase asks for the passphrase of an encrypted key file. It is
	// called once for a file, however many hosts wait for it. Nil: encrypted
	// keys are of use through ssh-agent only.
	Passphrase func(ctx context.Context, keyFile string) ([]byte, error)
	// Warn is told what the user should know and no host fails for. It is
	// called from many goroutines, once for each text. Nil drops warnings.
	Warn func(message string)

	shared shared
}

// Conn is a connected host.
type Conn struct {
	target Target
	user   string // who logged in
	addr   string // for messages
	via    transport
	start  time.Duration // Dialer.StartTimeout

	mu    sync.Mutex
	tty   bool // agents are started on a terminal
	noTTY bool // they never are
}

// Dial connects to a host and logs in. Every error is a *wire.Error.
func (d *Dialer) Dial(ctx context.Context, t Target) (*Conn, error) {
	c := &Conn{target: t, start: d.StartTimeout}
	if c.start == 0 {
		c.start = time.Minute
	}
	if t.Local {
		c.via, c.addr, c.user, c.noTTY = &localTransport{shell: t.Shell}, "this machine", d.localUser(), true
		return c, nil
	}
	s, err := d.resolve(t)
	if err != nil {
		return nil, wire.AsError(err, wire.KindUnreachable)
	}
	client, err := d.connect(ctx, s)
	if err != nil {
		return nil, wire.AsError(err, wire.KindUnreachable)
	}
	c.via, c.addr, c.user = client, s.addr(), s.user
	if s.tty != nil {
		c.tty, c.noTTY = *s.tty, !*s.tty
	}
	return c, nil
}

// Addresses are those by which this machine knows the host: where the
// connection goes, unless that is a jump host or a command.
func (c *Conn) Addresses() []netip.Addr {
	var out []netip.Addr
	if at, err := netip.ParseAddrPort(c.addr); err == nil {
		out = append(out, at.Addr())
	}
	if t, ok := c.via.(*sshTransport); ok && t.direct {
		if at, err := netip.ParseAddrPort(t.client.RemoteAddr().String()); err == nil {
			out = append(out, at.Addr().WithZone(""))
		}
	}
	return out
}

// Close ends the connection and everything on it. It does not wait for the host.
func (c *Conn) Close() error { return c.via.close() }

// Close ends the connections to jump hosts and to ssh-agent.
func (d *Dialer) Close() error { return d.shared.close() }

// transport is a way to run commands on a host.
type transport interface {
	// exec starts a command line, which a login shell of whatever kind reads,
	// on a terminal if tty; errNoTerminal where there is none to be had.
	exec(ctx context.Context, command string, tty bool) (process, error)
	// upload is Conn.Upload.
	upload(ctx context.Context, u upload) error
	// answers asks the other end, and is false if the transport ends first.
	answers() bool
	// broken tells why the transport ended by itself, or nil.
	broken() error
	// over is closed when the transport has ended; nil if it cannot end.
	over() <-chan struct{}
	close() error
}

// brokenSoon is broken after what ends a channel was seen: when a connection
// ends, its channels do so a moment earlier. So the other end is asked: it
// answers, or the connection ends, which is waited for.
func brokenSoon(t transport) error {
	answers := make(chan bool, 1)
	go func() { answers <- t.answers() }()
	select {
	case <-t.over():
	case there := <-answers:
		if there {
			break
		}
		select { // it is asked itself then whether its jump host is there
		case <-t.over():
		case <-time.After(2 * answerGrace):
		}
	case <-time.After(answerGrace):
	}
	return t.broken()
}
