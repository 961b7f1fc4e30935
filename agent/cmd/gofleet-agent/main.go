// Command gofleet-agent runs on a host for the length of one connection.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/gofleet/gofleet/agent"
)

func main() {
	// A connection that breaks shows as SIGHUP, SIGPIPE or EOF, whichever comes
	// first; each ends in the same orderly way.
	signal.Ignore(syscall.SIGPIPE)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGHUP, syscall.SIGTERM, syscall.SIGINT)
	code := agent.Run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}
