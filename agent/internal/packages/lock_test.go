package packages

import (
	"bufio"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gofleet/gofleet/agent/wire"
)

// TestMain is also the program that holds a lock until its input ends.
func TestMain(m *testing.M) {
	if path := os.Getenv("HOLD_LOCK"); path != "" {
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err == nil {
			err = unix.FcntlFlock(f.Fd(), unix.F_SETLK, &unix.Flock_t{Type: unix.F_WRLCK})
		}
		if err != nil {
			os.Exit(1)
		}
		os.Stdout.WriteString("held\n")
		io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestWaitFree(t *testing.T) {
	lock := filepath.Join(t.TempDir(), "lock")
	if err := os.WriteFile(lock, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	locks := []string{filepath.Join(t.TempDir(), "never made"), lock}
	if err := waitFree(t.Context(), locks, time.Hour); err != nil {
		t.Errorf("nobody has it: %v", err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "HOLD_LOCK="+lock)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatalf("the lock was not taken: %q, %v", line, err)
	}
	err = waitFree(t.Context(), locks, 100*time.Millisecond)
	var e *wire.Error
	if !errors.As(err, &e) || e.Kind != wire.KindBaseline || !e.Retryable || !strings.Contains(e.Message, lock) || !strings.Contains(e.Message, process(int32(cmd.Process.Pid))) {
		t.Errorf("a lock that is held: %v", err)
	}
	waited := make(chan error, 1)
	go func() { waited <- waitFree(t.Context(), locks, time.Hour/10) }()
	in.Close()
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	if err := <-waited; err != nil {
		t.Errorf("a lock that came free: %v", err)
	}
}
