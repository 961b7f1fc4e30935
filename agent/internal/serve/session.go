// Package serve is the agent's task loop: it says Hello, takes one Task, runs
// its phases in order and ends with a Report. It also turns Ansible's
// arguments into the same Task.
package serve

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/gofleet/gofleet/agent/internal/precond"
	"github.com/gofleet/gofleet/agent/spec"
	"github.com/gofleet/gofleet/agent/wire"
)

// silence is how long an agent bears hearing nothing from its controller,
// which pings every ten seconds.
const silence = 60 * time.Second

// Options are those of one connection.
type Options struct {
	In       io.Reader
	Out      io.Writer
	Marker   string
	LoginUID int
	Cached   bool
	Version  string

	Fault func(point string) // if set, called between every two steps of a task; tests end the process there
}

func (o *Options) fault(point string) {
	if o.Fault != nil {
		o.Fault(point)
	}
}

// errGone ends a task whose controller went away or asked to stop.
var errGone = &wire.Error{Kind: wire.KindStopped, Retryable: true,
	Message: "the controller stopped the task or went away", Hint: "run the same command again"}

// sink takes what the controller sends of an upload.
type sink interface {
	// Have says that the upload file is contiguous up to n.
	Have(n int64)
	// Append takes n raw bytes from r.
	Append(r io.Reader, n int64) error
}

// events takes what the agent has to say: the connection, or whoever plays the
// controller in this process.
type events interface {
	Write(v any) error
}

// session is one connection: it reads commands in a goroutine of its own, and
// writes events.
type session struct {
	in    *wire.Reader
	out   events
	tasks chan *wire.Task
	trees chan []byte // tree manifests, packed
	sends chan wire.Transfer
	proof chan wire.Proof

	mu   sync.Mutex
	sink sink // where Have and Data go; nil drops them
}

// Serve says Hello and runs the task of a connection, and after one that says
// Stay the next. Errors of a task are in its Report; the error returned is about
// the connection. One that ends while no task is at work ended well.
func Serve(ctx context.Context, o Options) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	platform, err := hostPlatform()
	if err != nil {
		return err
	}
	s := &session{
		in: wire.NewReader(o.In, wire.MaxLine), out: wire.NewWriter(o.Out),
		tasks: make(chan *wire.Task, 1), trees: make(chan []byte, 1), sends: make(chan wire.Transfer, 1),
		proof: make(chan wire.Proof, 1),
	}
	hello := wire.Hello{
		Protocol: wire.Protocol, Agent: o.Version, Platform: platform, PID: os.Getpid(),
		UID: os.Getuid(), LoginUID: o.LoginUID, Cached: o.Cached,
	}
	if err := s.hello(o.Out, o.Marker, hello); err != nil {
		return err
	}
	go s.listen(cancel)

	for served := false; ; served = true {
		var task *wire.Task
		select {
		case task = <-s.tasks:
		case <-ctx.Done():
			if served {
				return nil
			}
			return context.Cause(ctx)
		}
		o.fault("task")
		var report *wire.Report
		switch task.Action {
		case wire.Serve:
			return s.seed(ctx, task)
		case wire.Confirm:
			report = confirm(ctx, task.Token)
		default:
			report = (&job{session: s, task: task, options: o, platform: platform}).run(ctx)
		}
		o.fault("report")
		if err := s.out.Write(wire.Event{Report: report}); err != nil {
			return fmt.Errorf("send the report: %w", err)
		}
		o.fault("reported")
		if !task.Stay {
			return nil
		}
	}
}

// listen reads commands until the connection ends or is silent for too long.
func (s *session) listen(cancel context.CancelCauseFunc) {
	watchdog := time.AfterFunc(silence, func() { cancel(errGone) })
	defer watchdog.Stop()
	for {
		var c wire.Command
		err := s.in.Read(&c)
		watchdog.Reset(silence)
		if err == nil {
			err = s.command(c, cancel)
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			cancel(errGone)
			return
		}
		if err != nil {
			cancel(wire.NewError(wire.KindProtocol, err, ""))
			return
		}
	}
}

// command handles one command.
func (s *session) command(c wire.Command, cancel context.CancelCauseFunc) error {
	switch {
	case c.Task != nil:
		s.forget()
		select {
		case s.tasks <- c.Task:
			return nil
		default:
			return errors.New("a second task came")
		}
	case c.Manifest != nil:
		select {
		case s.trees <- c.Manifest:
			return nil
		default:
			return errors.New("a second tree manifest came")
		}
	case c.Send != nil:
		select {
		case s.sends <- *c.Send:
			return nil
		default:
			return errors.New("a second transfer was offered")
		}
	case c.Proof != nil:
		select {
		case s.proof <- *c.Proof:
			return nil
		default:
			return errors.New("a second proof came")
		}
	case c.Have != nil:
		if to := s.current(); to != nil {
			to.Have(*c.Have)
		}
	case c.Data != nil:
		return s.data(*c.Data)
	case c.Ready:
		return s.out.Write(wire.Event{Ready: true})
	case c.Stop:
		cancel(errGone)
	}
	return nil
}

// forget drops answers that the task before did not wait for.
func (s *session) forget() {
	for {
		select {
		case <-s.trees:
		case <-s.sends:
		case <-s.proof:
		default:
			return
		}
	}
}

// data takes raw bytes off the connection, into the sink if there is one.
func (s *session) data(n int64) error {
	if n < 0 || n > wire.MaxData {
		return fmt.Errorf("%d raw bytes were announced; at most %d are allowed", n, wire.MaxData)
	}
	raw := io.LimitReader(s.in.Raw(), n)
	if to := s.current(); to != nil {
		// The upload remembers its own error and ends the task with it.
		_ = to.Append(raw, n)
	}
	_, err := io.Copy(io.Discard, raw)
	return err
}

func (s *session) current() sink {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sink
}

func (s *session) receiveInto(to sink) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sink = to
}

func (s *session) phase(name string) { s.out.Write(wire.Event{Phase: name}) }

// hello writes the marker and Hello as one line.
func (s *session) hello(w io.Writer, marker string, h wire.Hello) error {
	b, err := encode(h)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(w, "%s hello %s\n", marker, b); err != nil {
		return fmt.Errorf("say hello: %w", err)
	}
	return nil
}

// hostPlatform is the platform whose Go this host wants: that of its
// userland, which on a 64-bit kernel may be a 32-bit one.
func hostPlatform() (spec.Platform, error) { return precond.Platform() }
