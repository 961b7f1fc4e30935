// Package agent is the whole agent behind one function, for its program and
// for hosts that live inside a test.
package agent

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/gofleet/gofleet/agent/internal/asuser"
	"github.com/gofleet/gofleet/agent/internal/fault"
	"github.com/gofleet/gofleet/agent/internal/serve"
)

// Version is gofleet's version, said in Hello and kept in manifests.
const Version = "0.1.0"

const usage = `gofleet-agent is started by gofleet on a host; it is not meant to be run by hand.

    gofleet-agent serve --marker HEX --login-uid N [--temp DIR] [--cached]
                                   one task on standard input and output
    gofleet-agent ansible --marker HEX [--login-uid N] [--temp DIR] [FILE]
                                   one Ansible task; its arguments in FILE or on standard input
    gofleet-agent questions PLATFORM...
                                   the archives that an Ansible task with the arguments on
                                   standard input could ask for, on the controller
    gofleet-agent survey FILE      sums and tree manifest of an archive, on the controller
    gofleet-agent /FILE            an Ansible binary module with its arguments in FILE
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
	case "ansible":
		return runAnsible(ctx, args[1:], stdin, stdout, stderr)
	case "questions":
		return runQuestions(args[1:], stdin, stdout, stderr)
	case "survey":
		return runSurvey(ctx, args[1:], stdout, stderr)
	case asuser.Command:
		return asuser.Main(stdin, stdout)
	case "version", "--version":
		fmt.Fprintln(stdout, "gofleet-agent", Version)
		return 0
	case "help", "-h", "--help":
		fmt.Fprint(stdout, usage)
		return 0
	}
	if len(args) == 1 && filepath.IsAbs(args[0]) {
		self, _ := os.Executable() // its name tells toolchain from toolchain_info
		program := strings.TrimSuffix(filepath.Base(self), filepath.Ext(self))
		return ansibleTask(ctx, serve.AnsibleOptions{Program: program, LoginUID: os.Getuid()}, args[0], nil, stdout, stderr)
	}
	fmt.Fprint(stderr, usage)
	return 2
}

// runAnsible reads the flags of ansible, which the collection's action plugin
// gives, and does one task.
func runAnsible(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	given, rest, err := parseOptions(args, -1)
	if err != nil {
		fmt.Fprintln(stderr, "gofleet-agent ansible:", err)
		return 2
	}
	given.unlinkSelf(stderr)
	file := ""
	if len(rest) > 0 {
		file = rest[0]
	}
	return ansibleTask(ctx, serve.AnsibleOptions{Marker: given.marker, LoginUID: given.loginUID}, file, stdin, stdout, stderr)
}

// ansibleTask does one Ansible task, whose arguments are in file or, if that
// is "", on stdin. A module's exit code says nothing; its output says all.
func ansibleTask(ctx context.Context, o serve.AnsibleOptions, file string, stdin io.Reader, stdout, stderr io.Writer) int {
	o.Arguments, o.Out, o.Version, o.Fault = stdin, stdout, Version, fault.Hook()
	if file != "" {
		f, err := os.Open(file)
		if err != nil {
			fmt.Fprintln(stderr, "gofleet-agent:", err)
			return 1
		}
		defer f.Close()
		o.Arguments = f
	}
	if err := serve.Ansible(ctx, o); err != nil {
		fmt.Fprintln(stderr, "gofleet-agent:", err)
		return 1
	}
	return 0
}

// runQuestions tells the collection's action plugin what a task may need.
func runQuestions(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	if err := serve.Questions(stdin, args, stdout); err != nil {
		fmt.Fprintln(stderr, "gofleet-agent:", err)
		return 1
	}
	return 0
}

// runSurvey tells the collection's action plugin what is in an archive.
func runSurvey(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if len(args) != 1 {
		fmt.Fprint(stderr, usage)
		return 2
	}
	if err := serve.Survey(ctx, args[0], stdout); err != nil {
		fmt.Fprintln(stderr, "gofleet-agent:", err)
		return 1
	}
	return 0
}

// runServe reads the flags of serve and serves one task.
func runServe(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	given, _, err := parseOptions(args, os.Getuid())
	if err != nil {
		fmt.Fprintln(stderr, "gofleet-agent serve:", err)
		return 2
	}
	given.unlinkSelf(stderr)
	err = serve.Serve(ctx, serve.Options{
		In: stdin, Out: stdout, Version: Version, Fault: fault.Hook(),
		Marker: given.marker, LoginUID: given.loginUID, Cached: given.cached,
	})
	if err != nil {
		fmt.Fprintln(stderr, "gofleet-agent:", err)
		return 1
	}
	return 0
}
