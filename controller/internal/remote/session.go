package remote

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/gofleet/gofleet/agent/wire"
)

// closeGrace is how long an agent may take to end after its stdin was closed.
const closeGrace = 5 * time.Second

// Session is an agent that has said Hello.
type Session struct {
	Hello  wire.Hello
	Probe  Probe          // zero if the host's cached agent was used
	Stdin  io.WriteCloser // wire.Commands go here
	Stdout *wire.Reader   // wire.Events come from here

	conn  *Conn
	proc  process
	tail  *tail
	ended chan struct{} // closed when the agent has ended; code and lost are set then
	code  int
	lost  error
}

// watch notes the agent's end.
func (s *Session) watch() {
	s.code, s.lost = s.proc.wait()
	close(s.ended)
}

// Wait returns when the agent has ended: nil if it ended well, else a
// *wire.Error with what it said last. It returns after Close at the latest.
func (s *Session) Wait() error {
	<-s.ended
	select {
	case <-s.tail.done:
	case <-time.After(time.Second):
	}
	said := s.tail.last()
	if said != "" {
		said = "; it said: " + said
	}
	switch {
	case s.lost != nil && brokenSoon(s.conn.via) != nil:
		return s.brokenError()
	case s.lost != nil:
		return &wire.Error{Kind: wire.KindAgent, Retryable: true, Message: fmt.Sprintf("the agent ended without saying how (%v)%s", s.lost, said)}
	case s.code > signalBase:
		return &wire.Error{Kind: wire.KindAgent, Retryable: true,
			Message: fmt.Sprintf("the agent was killed by signal %d%s", s.code-signalBase, said),
			Hint:    "somebody ended it, or the host ran out of memory; the host still has a Go that works: run the same command again"}
	case s.code != 0:
		return &wire.Error{Kind: wire.KindAgent, Message: fmt.Sprintf("the agent ended with exit code %d%s", s.code, said)}
	}
	return nil
}

func (s *Session) brokenError() error {
	cause := s.conn.via.broken()
	var w *wire.Error
	if errors.As(cause, &w) {
		return w
	}
	return &wire.Error{Kind: wire.KindUnreachable, Retryable: true, Message: cause.Error(),
		Hint: "the host still has the Go that it had; run the same command again"}
}

// Explain makes the best error of one that reading Stdout or writing Stdin
// gave: the end of the agent or of the connection tells more than EOF.
func (s *Session) Explain(err error) error {
	select {
	case <-s.ended:
	case <-time.After(closeGrace):
		return err
	}
	if why := s.Wait(); why != nil {
		return why
	}
	return err
}

// Stderr is the end of what the agent printed there, in one line, fit to be shown.
func (s *Session) Stderr() string { return s.tail.last() }

// Close ends the agent: it closes stdin, gives the agent some seconds to end
// by itself, and then ends its channel. It never hangs. The error is Wait's.
func (s *Session) Close() error {
	// Closing stdin writes to the connection, which blocks where the network does.
	go s.Stdin.Close()
	timer := time.NewTimer(closeGrace)
	defer timer.Stop()
	select {
	case <-s.ended:
		return s.Wait()
	case <-timer.C:
	}
	s.proc.kill()
	timer.Reset(time.Second)
	select {
	case <-s.ended:
		return s.Wait()
	case <-timer.C:
	}
	return &wire.Error{Kind: wire.KindAgent, Retryable: true, Message: "the agent did not end when it was told to"}
}

// body is what travels for a Binary: its gzip form as it is, or unpacked for
// a host without gzip.
func (b Binary) body(gz bool) (body []byte, encoding string, err error) {
	if gz {
		return b.Gzip, "gz", nil
	}
	r, err := gzip.NewReader(bytes.NewReader(b.Gzip))
	if err != nil {
		return nil, "", err
	}
	body, err = io.ReadAll(io.LimitReader(r, b.Size+1))
	if err == nil && int64(len(body)) != b.Size {
		err = fmt.Errorf("it has %d bytes or more instead of %d", len(body), b.Size)
	}
	return body, "raw", err
}
