// Command gofleet installs and keeps Go on fleets of hosts that cannot reach
// the internet. One file holds each command; the work is in the packages.
package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"
)

// exitUsage is the code for anything that ends before a host is contacted.
const exitUsage = 1

// exitError ends the process with a code and without a further message.
type exitError int

func (e exitError) Error() string { return "see above" }

func main() { os.Exit(run(os.Args[1:])) }

// run is main with the process's exit code as its value.
func run(args []string) int {
	ctx, stop, done := interrupts(context.Background())
	defer done()
	a := newApp(os.Stdin, os.Stdout, os.Stderr, stop)
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
	a.printError(err)
	if ctx.Err() != nil {
		return 130
	}
	return exitUsage
}

// interrupts turns the first Ctrl-C (or SIGTERM) into the closing of stop,
// which ends a run cleanly, and the second into the cancelling of ctx, which
// ends everything at once.
func interrupts(parent context.Context) (ctx context.Context, stop <-chan struct{}, done func()) {
	ctx, cancel := context.WithCancel(parent)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	stopping := make(chan struct{})
	go func() {
		select {
		case <-signals:
			close(stopping)
		case <-ctx.Done():
			return
		}
		select {
		case <-signals:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, stopping, func() {
		signal.Stop(signals)
		cancel()
	}
}
