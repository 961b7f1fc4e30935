// Command gofleet installs and keeps Go on fleets of hosts that cannot reach
// the internet. One file holds each command; the work is in the packages.
package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"

	"github.com/gofleet/gofleet/controller/internal/fleet"
	"github.com/gofleet/gofleet/controller/internal/image"
)

// exitUsage is the code for anything that ends before a host is contacted.
const exitUsage = 1

// exitError ends the process with a code and without a further message.
type exitError int

func (e exitError) Error() string { return "see above" }

// stoppedError is why a run did not start though nothing was wrong with what
// was asked for.
type stoppedError struct{ error }

func (e stoppedError) Unwrap() error { return e.error }

func main() {
	image.Main()
	os.Exit(run(os.Args[1:]))
}

// run is main with the process's exit code as its value.
func run(args []string) int {
	ctx, signals, done := watchSignals(context.Background())
	defer done()
	a := newApp(os.Stdin, os.Stdout, os.Stderr, signals)
	root := a.command()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	var code exitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &code):
		return int(code)
	}
	told := unknownCommand(root, err)
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		told = errors.New("interrupted")
	}
	a.printError(told)
	var stopped stoppedError
	if errors.As(err, &stopped) {
		return fleet.ExitStopped
	}
	if ctx.Err() != nil {
		return 130
	}
	return exitUsage
}

// interrupts are what Ctrl-C (or SIGTERM) does. While hosts are at work the
// first one closes stop, which ends the run cleanly, and the second cancels
// the context, which ends everything at once. At any other time the first one
// does that: there is nothing to end cleanly. A terminal that goes away counts
// once: kernel and shell may both tell of it.
type interrupts struct {
	stop    chan struct{}
	running atomic.Bool
}

// run says that hosts are at work from now on, and gives the channel that
// ends them cleanly.
func (i *interrupts) run() <-chan struct{} {
	i.running.Store(true)
	return i.stop
}

// watchSignals gives a context that interrupts cancel.
func watchSignals(parent context.Context) (context.Context, *interrupts, func()) {
	ctx, cancel := context.WithCancel(parent)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) { // as nohup has it
		signal.Notify(signals, syscall.SIGHUP)
	}
	i := &interrupts{stop: make(chan struct{})}
	go func() {
		hungUp := false
		for {
			select {
			case s := <-signals:
				if s == syscall.SIGHUP && hungUp {
					continue
				}
				hungUp = hungUp || s == syscall.SIGHUP
			case <-ctx.Done():
				return
			}
			if !i.running.CompareAndSwap(true, false) {
				cancel()
				return
			}
			close(i.stop)
		}
	}()
	return ctx, i, func() {
		signal.Stop(signals)
		cancel()
	}
}
