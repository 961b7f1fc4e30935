package fleet

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/gofleet/gofleet/agent/wire"
)

// ErrNoUpload is what a Conn's Upload error wraps where the host offers no
// SFTP, or refuses it; the bytes then travel through the agent's stdin.
var ErrNoUpload = errors.New("no upload channel")

// Run takes every host through the command and returns when all have ended.
// One host's trouble never cancels another's. Closing Options.Stop lets no new
// host begin and asks the running ones to end cleanly; cancelling ctx cuts
// every connection at once.
func Run(ctx context.Context, hosts []*Host, o Options) *Outcome {
	start := o.Now()
	r := &run{Options: o, hosts: len(hosts), uploads: semaphore.NewWeighted(int64(max(o.Uploads, 1)))}
	out := &Outcome{Run: o.Run, Command: o.Command, Check: o.Check, Results: make([]Result, len(hosts))}

	var wg sync.WaitGroup
	next := make(chan int)
	for range min(max(o.Forks, 1), len(hosts)) {
		wg.Go(func() {
			for i := range next {
				out.Results[i] = r.host(ctx, hosts[i])
				o.Observer.Done(out.Results[i])
			}
		})
	}
	for i, h := range hosts {
		select {
		case <-o.Stop:
		case <-ctx.Done():
		default:
			select {
			case next <- i:
				continue
			case <-o.Stop:
			case <-ctx.Done():
			}
		}
		out.Interrupted = true
		out.Results[i] = notBegun(h)
		o.Observer.Done(out.Results[i])
	}
	close(next)
	wg.Wait()
	select {
	case <-o.Stop:
		out.Interrupted = true
	default:
		out.Interrupted = out.Interrupted || ctx.Err() != nil
	}
	out.Seconds = o.Now().Sub(start).Seconds()
	return out
}

// notBegun is the result of a host that the run did not come to.
func notBegun(h *Host) Result {
	return Result{Host: h.Name, Report: wire.Report{Status: wire.Skipped, Error: &wire.Error{
		Kind: wire.KindInterrupted, Message: "not begun: the run was interrupted", Retryable: true,
	}}}
}

// run is what the hosts of a run share.
type run struct {
	Options
	hosts   int
	uploads *semaphore.Weighted
}

// host takes one host through its phases.
func (r *run) host(ctx context.Context, h *Host) Result {
	start := r.Now()
	if r.HostTimeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, r.HostTimeout, hostTimeoutError(r.HostTimeout))
		defer cancel()
	}
	res := Result{Host: h.Name}
	c := &conversation{run: r, host: h, seconds: map[string]float64{}}
	report, err := c.hold(ctx)
	if report != nil {
		res.Report = *report
	}
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = causeError(cause, err)
		}
		res.fail(err)
	}
	if c.agent != nil {
		res.Platform = c.agent.Hello.Platform.String()
	}
	if res.Seconds == nil {
		res.Seconds = map[string]float64{}
	}
	for phase, s := range c.seconds {
		res.Seconds[phase] = s
	}
	res.Seconds["total"] = r.Now().Sub(start).Seconds()
	return res
}

// fail turns err into the result's status and error.
func (res *Result) fail(err error) {
	res.Error = wire.AsError(err, wire.KindInternal)
	switch res.Error.Kind {
	case wire.KindUnreachable, wire.KindTimeout, wire.KindAuth,
		wire.KindHostKeyUnknown, wire.KindHostKeyChanged, wire.KindHostKeyRevoked:
		res.Status = wire.Unreachable
	case wire.KindPlatform:
		res.Status = wire.Unmet
	default:
		res.Status = wire.Failed
	}
	var probed *ProbedError
	if errors.As(err, &probed) {
		res.Facts, res.Checks = probed.Facts, probed.Checks
		if probed.Unmet {
			res.Status = wire.Unmet
			res.Error.Kind, res.Error.Retryable = wire.KindUnmet, false
		}
	}
}

func hostTimeoutError(d time.Duration) error {
	return &wire.Error{Kind: wire.KindTimeout, Retryable: true,
		Message: fmt.Sprintf("not done within %s (--host-timeout)", d),
		Hint:    "give --host-timeout more, or look at what the host was doing in this phase"}
}

// causeError prefers why the context ended over the I/O error that followed.
func causeError(cause, err error) error {
	var w *wire.Error
	if errors.As(cause, &w) {
		return cause
	}
	return &wire.Error{Kind: wire.KindInterrupted, Retryable: true,
		Message: fmt.Sprintf("interrupted: %v", err),
		Hint:    "the next run finishes or cleans up what was begun"}
}
