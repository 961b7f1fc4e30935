// Command agent stands in for gofleet's agent in the tests of remote: it says
// Hello and answers each line with an event that repeats it.
package main

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
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
	in := bufio.NewReader(os.Stdin)
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		switch line = strings.TrimSuffix(line, "\n"); {
		case line == `{"stop":true}`:
			return
		case strings.HasPrefix(line, "sum "):
			event(sum(in, line[4:]))
		case line == "noise":
			fmt.Fprintln(os.Stderr, "a complaint")
			event(line)
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

// sum reads that many raw bytes.
func sum(in io.Reader, n string) string {
	size, err := strconv.ParseInt(n, 10, 64)
	if err != nil {
		return err.Error()
	}
	h := sha256.New()
	if _, err := io.CopyN(h, in, size); err != nil {
		return err.Error()
	}
	return hex.EncodeToString(h.Sum(nil))
}

func event(phase string) {
	b, _ := json.Marshal(wire.Event{Phase: phase})
	fmt.Printf("%s\n", b)
}
