// Package agent is the whole agent behind one function, for its program and
// for hosts that live inside a test.
package agent

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/gofleet/gofleet/agent/internal/asuser"
	"github.com/gofleet/gofleet/agent/internal/serve"
)

// Version is gofleet's version, said in Hello and kept in manifests.
const Version = "0.1.0"

const usage = `gofleet-agent is started by gofleet on a host; it is not meant to be run by hand.

    gofleet-agent serve --marker HEX --login-uid N [--temp DIR] [--cached]
                                   one task on standard input and output
    gofleet-agent version
`

// Run is the agent's program. It returns the exit code.
func Run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	if len(args) == 0 {
		fmt.Fprint(stderr, usage)
		return 2
	}
	switch args[0] {
	case "serve":
		return runServe(ctx, args[1:], stdin, stdout, stderr)
	case asuser.Command:
		return asuser.Main(stdin, stdout)
	case "version", "--version":
		fmt.Fprintln(stdout, "gofleet-agent", Version)
		return 0
	case "help", "-h", "--help":
		fmt.Fprint(stdout, usage)
		return 0
	}
	fmt.Fprint(stderr, usage)
	return 2
}

// runServe reads the flags of serve and serves one task.
func runServe(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	o := serve.Options{In: stdin, Out: stdout, Version: Version}
	flags := flag.NewFlagSet("gofleet-agent serve", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&o.Marker, "marker", "", "what Hello stands behind")
	flags.IntVar(&o.LoginUID, "login-uid", os.Getuid(), "the uid that logged in")
	flags.BoolVar(&o.Cached, "cached", false, "started from the host's cache")
	temp := flags.String("temp", "", "the fresh directory this program lies in, to be removed")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	if *temp != "" {
		if err := unlinkSelf(*temp); err != nil {
			fmt.Fprintln(stderr, "gofleet-agent:", err)
		}
	}
	if err := serve.Serve(ctx, o); err != nil {
		fmt.Fprintln(stderr, "gofleet-agent:", err)
		return 1
	}
	return 0
}

// unlinkSelf removes the directory that the agent was started from, if the
// running program really lies in it. The kernel keeps the program until it
// ends.
func unlinkSelf(dir string) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return fmt.Errorf("unlink this program: %w", err)
	}
	if filepath.Dir(self) != dir {
		return fmt.Errorf("unlink this program: it lies in %s, not in %s", filepath.Dir(self), dir)
	}
	return os.RemoveAll(dir)
}
