package sshsim

import (
	"context"
	"io"
	"net"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
)

// serve speaks SSH on conn until the client or ctx ends it.
func (h *host) serve(ctx context.Context, conn net.Conn) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	wait(ctx, h.Faults.Delay)
	c, channels, requests, err := ssh.NewServerConn(conn, h.config)
	if err != nil {
		return // the client hears why
	}
	defer c.Close()
	meter := &meter{conn: conn, left: h.quota()}
	go ssh.DiscardRequests(requests) // keepalives are answered so
	var sessions sync.WaitGroup
	for nc := range channels {
		sessions.Add(1)
		go func() {
			defer sessions.Done()
			switch nc.ChannelType() {
			case "session":
				h.session(ctx, c.User(), nc, meter)
			case "direct-tcpip":
				h.forward(ctx, nc)
			default:
				nc.Reject(ssh.UnknownChannelType, "sessions only")
			}
		}()
	}
	cancel() // the client is gone, and so shall be its commands
	sessions.Wait()
}

// quota is how much a new connection may receive before it is cut; -1 is all.
func (h *host) quota() int64 {
	f := h.Faults
	if f.CutAfter <= 0 || f.Cuts > 0 && h.cut.Add(1) > int64(f.Cuts) {
		return -1
	}
	return f.CutAfter
}

// meter closes a connection when it has received too much.
type meter struct {
	conn net.Conn
	mu   sync.Mutex
	left int64
}

// take returns how many of n bytes may pass.
func (m *meter) take(n int) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.left < 0 {
		return n
	}
	if int64(n) > m.left {
		n = int(m.left)
		m.conn.Close()
	}
	m.left -= int64(n)
	return n
}

// metered is a channel whose reader is metered.
type metered struct {
	ssh.Channel
	meter *meter
}

func (m metered) Read(p []byte) (int, error) {
	n, err := m.Channel.Read(p)
	if passed := m.meter.take(n); passed < n {
		return passed, io.ErrUnexpectedEOF
	}
	return n, err
}

// session serves one channel: its first exec or sftp request, then no other.
func (h *host) session(ctx context.Context, user string, nc ssh.NewChannel, m *meter) {
	ch, requests, err := nc.Accept()
	if err != nil {
		return
	}
	defer ch.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	in := metered{ch, m}
	var started atomic.Bool
	var running sync.WaitGroup
	defer running.Wait()
	for r := range requests {
		work := h.work(r, user, in)
		ok := work != nil && started.CompareAndSwap(false, true)
		if r.WantReply {
			_ = r.Reply(ok || r.Type == "env", nil)
		}
		if !ok {
			continue
		}
		running.Add(1)
		go func() {
			defer running.Done()
			wait(ctx, h.Faults.Delay)
			code := work(ctx)
			_, _ = ch.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{uint32(code)}))
			ch.Close()
		}()
	}
	cancel() // the client closed the channel
}

// work is what a request starts; nil refuses it.
func (h *host) work(r *ssh.Request, user string, ch metered) func(context.Context) int {
	var text struct{ Value string }
	switch r.Type {
	case "exec":
		if h.Exec == nil || ssh.Unmarshal(r.Payload, &text) != nil {
			return nil
		}
		c := Command{User: user, Line: text.Value, Stdin: ch, Stdout: ch, Stderr: ch.Stderr()}
		return func(ctx context.Context) int { return h.Exec(ctx, c) }
	case "subsystem":
		if h.NoSFTP || ssh.Unmarshal(r.Payload, &text) != nil || text.Value != "sftp" {
			return nil
		}
		return func(context.Context) int { return h.sftp(ch) }
	}
	return nil
}

func (h *host) sftp(ch io.ReadWriteCloser) int {
	if h.Files != nil {
		s := sftp.NewRequestServer(ch, *h.Files)
		defer s.Close()
		return exitCode(s.Serve())
	}
	var options []sftp.ServerOption
	if h.Dir != "" {
		options = append(options, sftp.WithServerWorkingDirectory(h.Dir))
	}
	s, err := sftp.NewServer(ch, options...)
	if err != nil {
		return 1
	}
	defer s.Close()
	return exitCode(s.Serve())
}

func exitCode(err error) int {
	if err != nil && err != io.EOF {
		return 1
	}
	return 0
}

// forward connects a channel onwards, as ssh -W and ProxyJump ask for.
func (h *host) forward(ctx context.Context, nc ssh.NewChannel) {
	var to struct {
		Host     string
		Port     uint32
		FromHost string
		FromPort uint32
	}
	if !h.Forward || ssh.Unmarshal(nc.ExtraData(), &to) != nil {
		nc.Reject(ssh.Prohibited, "no forwarding")
		return
	}
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort(to.Host, strconv.Itoa(int(to.Port))))
	if err != nil {
		nc.Reject(ssh.ConnectionFailed, err.Error())
		return
	}
	defer conn.Close()
	ch, requests, err := nc.Accept()
	if err != nil {
		return
	}
	defer ch.Close()
	go ssh.DiscardRequests(requests)
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	var up sync.WaitGroup
	up.Add(1)
	go func() {
		defer up.Done()
		_, _ = io.Copy(conn, ch)
		_ = conn.(*net.TCPConn).CloseWrite()
	}()
	_, _ = io.Copy(ch, conn)
	ch.Close()
	up.Wait()
}
