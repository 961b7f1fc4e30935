// Command agent stands in for gofleet's agent in the tests of remote: it says
// Hello and answers each line with an event that repeats it.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/gofleet/gofleet/agent/spec"
	"github.com/gofleet/gofleet/agent/wire"
)

func main() {
	if len(os.Args) < 2 || os.Args[1] != "serve" {
		os.Exit(64)
	}
	fs := flag.NewFlagSet("serve", flag.ExitOnError)
	marker := fs.String("marker", "", "")
	login := fs.Int("login-uid", -1, "")
	temp := fs.String("temp", "", "")
	cached := fs.Bool("cached", false, "")
	fs.Parse(os.Args[2:])
	if *temp != "" {
		exe, _ := os.Executable()
		if filepath.Dir(exe) != *temp {
			fmt.Fprintln(os.Stderr, "started from", exe, "not from", *temp)
			os.Exit(65)
		}
		os.RemoveAll(*temp)
	}
	hello, _ := json.Marshal(wire.Hello{Protocol: wire.Protocol, Agent: "test", PID: os.Getpid(), UID: os.Getuid(), LoginUID: *login,
		Cached: *cached, Platform: spec.Platform{OS: runtime.GOOS, Arch: runtime.GOARCH}})
	fmt.Printf("%s hello %s\n", *marker, hello)
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		switch line := in.Text(); {
		case line == "temp":
			event(*temp)
		case line == "wd":
			wd, _ := os.Getwd()
			event(wd)
		case strings.HasPrefix(line, "exit"):
			fmt.Fprintln(os.Stderr, "told to exit\x1b[31m")
			os.Exit(7)
		default:
			event(line)
		}
	}
}

func event(phase string) {
	b, _ := json.Marshal(wire.Event{Phase: phase})
	fmt.Printf("%s\n", b)
}
