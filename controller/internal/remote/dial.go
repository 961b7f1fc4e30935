package remote

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/gofleet/gofleet/agent/wire"
)

// maxDropped is how often a connection that sshd drops before authentication
// is tried: MaxStartups drops at random while others log in.
const maxDropped = 12

// connect dials and logs in, again where trying again can help.
func (d *Dialer) connect(ctx context.Context, s *settings) (*sshTransport, error) {
	begun := time.Now()
	for try := 1; ; try++ {
		client, via, err := d.attempt(ctx, s)
		if err == nil {
			return newSSHTransport(client, s, via), nil
		}
		if ctx.Err() != nil {
			return nil, contextError(ctx, err)
		}
		var f *dialError
		if !errors.As(err, &f) || !f.again {
			return nil, err
		}
		tries := s.retries + 1
		if f.dropped {
			tries = max(tries, maxDropped)
		}
		// A host that does not answer at all is not waited for many times over.
		if try >= tries || s.retries < 0 || time.Since(begun) > 2*s.timeout && !f.dropped {
			return nil, err
		}
		select {
		case <-time.After(backoff(try)):
		case <-ctx.Done():
			return nil, contextError(ctx, err)
		}
	}
}

// backoff is the pause before another try: at random in a range that doubles,
// so that fifty hosts behind one sshd don't come back together.
func backoff(try int) time.Duration {
	limit := 100 * time.Millisecond << min(try, 5)
	return limit/4 + rand.N(limit)
}

func contextError(ctx context.Context, err error) error {
	var w *wire.Error
	if cause := context.Cause(ctx); errors.As(cause, &w) {
		return cause
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return &wire.Error{Kind: wire.KindTimeout, Retryable: true, Message: fmt.Sprintf("%v: out of time", err)}
	}
	return &wire.Error{Kind: wire.KindInterrupted, Retryable: true, Message: fmt.Sprintf("interrupted: %v", err)}
}

// dialError is a failed attempt, and whether another may go better.
type dialError struct {
	err     *wire.Error
	again   bool
	dropped bool // the host answered, but ended the connection before authentication
}

func (e *dialError) Error() string { return e.err.Error() }
func (e *dialError) Unwrap() error { return e.err }

// handshake is one attempt to log in.
type handshake struct {
	d       *Dialer
	s       *settings
	ctx     context.Context //nolint:containedctx // signers are called back without one
	end     context.CancelFunc
	keyErr  error    // why a key that the host wanted could not be used
	tried   []string // keys shown to the host
	notes   []string // named keys that are of no use
	auth    bool     // authentication has begun
	signing bool     // ssh-agent was asked for a signature and gave none

	conn  net.Conn
	timer *time.Timer

	mu       sync.Mutex
	timedOut bool
}

// pause stops the clock while the user is asked something.
func (h *handshake) pause() (resume func()) {
	h.timer.Stop()
	return func() { h.timer.Reset(h.s.timeout) }
}

// expire ends the attempt: its time is over.
func (h *handshake) expire() {
	h.mu.Lock()
	h.timedOut = true
	h.mu.Unlock()
	h.end()
	h.conn.Close()
}

// attempt dials once. via is the jump host that it went through, or nil.
func (d *Dialer) attempt(ctx context.Context, s *settings) (client *ssh.Client, via *sshTransport, err error) {
	check, err := d.newHostKeyCheck(s)
	if err != nil {
		return nil, nil, err
	}
	if via, err = d.way(ctx, s); err != nil {
		return nil, nil, d.networkError(s, err)
	}
	seat := func() {}
	if via != nil && s.via == nil {
		seat = sync.OnceFunc(via.stand)
	}
	conn, admitted, err := d.admit(ctx, s, via)
	if err != nil {
		seat()
		return nil, nil, d.networkError(s, err)
	}
	defer admitted()
	if via != nil {
		conn = &seated{conn, seat}
	}
	h := &handshake{d: d, s: s, conn: conn}
	h.ctx, h.end = context.WithCancel(ctx)
	defer h.end()
	h.timer = time.AfterFunc(s.timeout, h.expire)
	defer h.timer.Stop()
	defer context.AfterFunc(ctx, func() { conn.Close() })()

	c, chans, reqs, err := ssh.NewClientConn(conn, check.addr, h.config(check))
	if err == nil && !h.timer.Stop() {
		err = net.ErrClosed // the clock ran out at the last moment
	}
	if err != nil {
		conn.Close()
		return nil, nil, h.explain(check, err)
	}
	return ssh.NewClient(c, chans, reqs), via, nil
}

// way gives the connection to the jump host before this host, nil where there
// is none. Unless s is a jump host itself, it has a seat there.
func (d *Dialer) way(ctx context.Context, s *settings) (*sshTransport, error) {
	if s.via != nil || len(s.jumps) == 0 {
		return s.via, nil
	}
	return d.lastJump(ctx, s)
}

// admit opens the way to the host's sshd when there are not too many at it.
// admitted must be called when the login has ended.
func (d *Dialer) admit(ctx context.Context, s *settings, via *sshTransport) (conn net.Conn, admitted func(), err error) {
	leave, err := d.shared.admission.sshd(ctx, s.sshd(), cmp.Or(d.LoginsAtOnce, loginsAtOnce))
	if err != nil {
		return nil, nil, err
	}
	if conn, err = d.network(ctx, s, via); err != nil {
		leave()
		return nil, nil, err
	}
	done, err := d.shared.admission.handshake(ctx)
	if err != nil {
		leave()
		conn.Close()
		return nil, nil, err
	}
	return conn, func() { done(); leave() }, nil
}

// network opens the way to the host's sshd: TCP, a command, or a jump host.
func (d *Dialer) network(ctx context.Context, s *settings, via *sshTransport) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	switch {
	case via != nil:
		return via.dial(ctx, s.addr())
	case s.proxyCommand != "":
		return startProxyCommand(s.proxyCommand)
	}
	dialer := net.Dialer{KeepAlive: 30 * time.Second}
	if s.bindAddress != "" {
		ip := net.ParseIP(s.bindAddress)
		if ip == nil {
			return nil, fmt.Errorf("BindAddress %q is not an address", s.bindAddress)
		}
		dialer.LocalAddr = &net.TCPAddr{IP: ip}
	}
	return dialer.DialContext(ctx, "tcp"+s.addressFamily, s.addr())
}

func (h *handshake) config(check *hostKeyCheck) *ssh.ClientConfig {
	c := &ssh.ClientConfig{
		User:              h.s.user,
		HostKeyCallback:   check.callback,
		HostKeyAlgorithms: check.algorithms(),
		ClientVersion:     "SSH-2.0-gofleet",
		BannerCallback:    func(string) error { return nil },
		Auth:              []ssh.AuthMethod{ssh.PublicKeysCallback(h.signers)},
	}
	c.Ciphers, c.MACs, c.KeyExchanges = h.s.ciphers, h.s.macs, h.s.kex
	if c.Ciphers == nil {
		c.Ciphers = ciphers
	}
	return c
}

// signers is called once the host offers publickey.
func (h *handshake) signers() ([]ssh.Signer, error) {
	h.auth = true
	ids, notes := h.d.identities(h)
	h.notes = notes
	out := make([]ssh.Signer, 0, len(ids))
	for _, id := range ids {
		if refused := h.s.restrict(&id); refused != nil {
			h.notes = append(h.notes, fmt.Sprintf("%s: %v", id.from, refused))
			continue
		}
		h.tried = append(h.tried, fmt.Sprintf("%s %s", keyType(id.PublicKey()), id.from))
		out = append(out, id.AlgorithmSigner)
	}
	return out, nil
}

// networkError explains a failure before the host said anything.
func (d *Dialer) networkError(s *settings, err error) error {
	var f *dialError
	if errors.As(err, &f) {
		return err // a jump host's
	}
	e := wire.NewError(wire.KindUnreachable, fmt.Errorf("connect to %s: %w", s.addr(), rootCause(err)), "")
	again := true
	var dns *net.DNSError
	var open *ssh.OpenChannelError
	var timeout net.Error
	switch {
	case errors.As(err, &dns):
		e.Message = fmt.Sprintf("look up %s: no such host", s.host)
		if !dns.IsNotFound {
			e.Message = fmt.Sprintf("look up %s: %s", s.host, dns.Err)
		}
		e.Hint = "check the name, or set ansible_host"
		again, e.Retryable = dns.IsTemporary || dns.IsTimeout, !dns.IsNotFound
		return &dialError{err: e, again: again}
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		e.Kind = wire.KindTimeout
		e.Message = fmt.Sprintf("connect to %s: no answer within %s", s.addr(), s.timeout)
		e.Hint = "is the host up, and does a firewall let port " + fmt.Sprint(s.port) + " through? --timeout gives it more time"
	case errors.As(err, &open):
		e.Message = fmt.Sprintf("connect to %s through %s: %s", s.addr(), s.jumpName(), cmp.Or(neutral(open.Message), open.Reason.String()))
		e.Hint = "the jump host could not reach it, or may not forward (AllowTcpForwarding)"
	case errors.Is(err, syscall.ECONNREFUSED):
		e.Hint = "is sshd running there, on that port?"
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH):
		e.Hint = "there is no way to that address from here; a ProxyJump may be missing"
	case lost(err):
	default:
		again = false
	}
	e.Retryable = again
	return &dialError{err: e, again: again}
}

// rootCause takes the layers off whose text repeats the address.
func rootCause(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		err = op.Err
	}
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno
	}
	return err
}

// explain turns what ended a handshake into an error of the right kind.
func (h *handshake) explain(check *hostKeyCheck, err error) error {
	s := h.s
	h.mu.Lock()
	timedOut := h.timedOut
	h.mu.Unlock()
	var negotiation *ssh.AlgorithmNegotiationError
	switch {
	case check.refused() != nil:
		return check.refused()
	case h.keyErr != nil:
		return wire.NewError(wire.KindAuth, fmt.Errorf("log in to %s as %s: %w", s.addr(), s.user, h.keyErr),
			"add the key to ssh-agent with ssh-add, or name another with --private-key or ansible_ssh_private_key_file")
	case timedOut && h.signing:
		return &dialError{again: true, err: &wire.Error{Kind: wire.KindTimeout, Retryable: true,
			Message: fmt.Sprintf("log in to %s as %s: ssh-agent did not sign within %s", s.addr(), s.user, s.timeout),
			Hint:    "it may wait for a touch or a confirmation, or be stuck: try ssh-add -l; --timeout gives it more time"}}
	case timedOut && h.auth:
		return &dialError{again: true, err: &wire.Error{Kind: wire.KindTimeout, Retryable: true,
			Message: fmt.Sprintf("log in to %s as %s: not done within %s", s.addr(), s.user, s.timeout),
			Hint:    "the host is slow to check the login (DNS, LDAP, PAM): --timeout gives it more time"}}
	case timedOut:
		return &dialError{again: true, err: &wire.Error{Kind: wire.KindTimeout, Retryable: true,
			Message: fmt.Sprintf("connect to %s: it accepted the connection, but did not speak SSH within %s", s.addr(), s.timeout),
			Hint:    "is that port an SSH server's? --timeout gives it more time"}}
	case errors.As(err, &negotiation):
		return &dialError{err: wire.NewError(wire.KindUnreachable, fmt.Errorf("connect to %s: %w", s.addr(), err),
			"host and gofleet share no algorithm: update sshd, or allow an older one with Ciphers, MACs, KexAlgorithms or HostKeyAlgorithms in ssh_config")}
	case h.auth && !lost(err):
		return h.authError(err)
	case lost(err) && s.proxyCommand != "":
		return &dialError{again: true, dropped: true, err: &wire.Error{Kind: wire.KindUnreachable, Retryable: true,
			Message: fmt.Sprintf("connect to %s: the ProxyCommand ended before the host said anything", s.addr()),
			Hint:    "run it by hand, with HOST and PORT in place of %h and %p: it says why"}}
	case lost(err):
		return &dialError{again: true, dropped: true, err: &wire.Error{Kind: wire.KindUnreachable, Retryable: true,
			Message: fmt.Sprintf("connect to %s: the host ended the connection before authentication", s.addr()),
			Hint:    "sshd does so when many log in at once (MaxStartups), or when it has blocked this address"}}
	case strings.Contains(err.Error(), "unable to authenticate"):
		return h.authError(err) // the host offers no publickey
	}
	return &dialError{err: wire.NewError(wire.KindUnreachable, fmt.Errorf("connect to %s: %w", s.addr(), errors.New(neutral(err.Error()))), "")}
}

// lost tells whether the connection ended without a word about why.
func lost(err error) bool {
	var op *net.OpError
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.As(err, &op) || errors.Is(err, io.ErrClosedPipe)
}

func (h *handshake) authError(err error) error {
	s := h.s
	e := &wire.Error{Kind: wire.KindAuth, Message: fmt.Sprintf("log in to %s as %s: ", s.addr(), s.user)}
	switch text := err.Error(); {
	case !h.auth:
		e.Message += "the host offers no login with keys"
		e.Hint = "set PubkeyAuthentication yes in its sshd_config; gofleet logs in with keys only"
		return e
	case strings.Contains(text, "partial"), strings.Contains(text, "keyboard-interactive"):
		e.Message += "the key is accepted, but the host wants more than a key"
		e.Hint = "its AuthenticationMethods must allow publickey alone for this user"
		return e
	case strings.Contains(text, "Too many authentication failures"):
		e.Message += fmt.Sprintf("too many keys were tried (%d)", len(h.tried))
		e.Hint = "name the right key with --private-key or ansible_ssh_private_key_file, and set IdentitiesOnly yes"
		return e
	case len(h.tried) == 0:
		e.Message += "there is no key to log in with"
		e.Hint = "name one with --private-key or ansible_ssh_private_key_file, or run ssh-agent"
	default:
		e.Message += "permission denied (publickey)"
		e.Hint = fmt.Sprintf("add a public key to ~/.ssh/authorized_keys of %s there; tried: %s", s.user, strings.Join(h.tried, ", "))
	}
	if len(h.notes) > 0 {
		e.Message += "; " + strings.Join(h.notes, "; ")
	}
	return e
}
