//go:build linux

package e2e

import (
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// started is a program in the background.
type started struct {
	cmd   *exec.Cmd
	ended chan struct{}
}

// cmdStart starts a program in the background: start NAME PROGRAM [ARGUMENT...]
func cmdStart(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		usage(ts, "start NAME PROGRAM [ARGUMENT...]")
	}
	s := of(ts)
	path := args[1]
	if path == "gofleet" { // this process's PATH is not the script's
		path = ts.Getenv("GOFLEET")
	}
	cmd := exec.Command(path, args[2:]...)
	cmd.Dir = ts.MkAbs(".")
	for _, name := range []string{"HOME", "USER", "PATH", "XDG_CACHE_HOME", "SSH_AUTH_SOCK"} {
		cmd.Env = append(cmd.Env, name+"="+ts.Getenv(name))
	}
	out, err := os.Create(ts.MkAbs(args[0] + ".out"))
	ts.Check(err)
	defer out.Close()
	stderr, err := os.Create(ts.MkAbs(args[0] + ".err"))
	ts.Check(err)
	defer stderr.Close()
	cmd.Stdout, cmd.Stderr = out, stderr
	ts.Check(cmd.Start())
	p := &started{cmd, make(chan struct{})}
	s.background[args[0]] = p
	go func() {
		_ = cmd.Wait() // what `finish` reads is in ProcessState
		close(p.ended)
	}()
	ts.Defer(func() {
		_ = cmd.Process.Kill()
		<-p.ended
	})
}

func (s *script) started(ts *testscript.TestScript, name string) *started {
	p := s.background[name]
	if p == nil {
		ts.Fatalf("nothing was started as %s", name)
	}
	return p
}

// cmdInterrupt presses Ctrl-C: interrupt NAME
func cmdInterrupt(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		usage(ts, "interrupt NAME")
	}
	ts.Check(of(ts).started(ts, args[0]).cmd.Process.Signal(syscall.SIGINT))
}

// cmdCrash ends a program as the end of its machine would, without a chance to
// say a word: crash NAME
func cmdCrash(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		usage(ts, "crash NAME")
	}
	p := of(ts).started(ts, args[0])
	ts.Check(p.cmd.Process.Kill())
	<-p.ended
}

// cmdFinish waits for a program, which has to end with that code within the
// seconds given, and makes its output the last one: finish NAME CODE SECONDS
func cmdFinish(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		usage(ts, "finish NAME CODE SECONDS")
	}
	p := of(ts).started(ts, args[0])
	limit, err := strconv.Atoi(args[2])
	ts.Check(err)
	select {
	case <-p.ended:
	case <-time.After(time.Duration(limit) * time.Second):
		_ = p.cmd.Process.Signal(syscall.SIGQUIT) // so that its goroutines are in the log
		<-p.ended
		ts.Logf("%s", ts.ReadFile(args[0]+".err"))
		ts.Fatalf("%s did not end within %d s", args[0], limit)
	}
	ts.Check(ts.Exec("sh", "-c", `cat "$1.out"; cat "$1.err" >&2`, "sh", args[0]))
	if got := strconv.Itoa(p.cmd.ProcessState.ExitCode()); got != args[1] {
		ts.Fatalf("%s ended with exit code %s, want %s", args[0], got, args[1])
	}
}
