package toolchain

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/gofleet/gofleet/agent/wire"
)

func TestLockIsHeldByOne(t *testing.T) {
	s := newStore(t)
	first, err := s.Lock(t.Context(), Holder{PID: 42, Run: "r-1", Controller: "desk\x1b[31m", Since: time.Unix(0, 0)}, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	var told []Holder
	_, err = s.Lock(t.Context(), Holder{}, 0, func(h Holder) { told = append(told, h) })
	var e *wire.Error
	if !errors.As(err, &e) || e.Kind != wire.KindLocked || !e.Retryable {
		t.Fatalf("second lock: %v", err)
	}
	if len(told) != 1 || told[0].Run != "r-1" || !strings.Contains(e.Message, "run r-1, from desk?[31m, process 42, since 1970") {
		t.Errorf("told %v; message %q", told, e.Message)
	}
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := s.Lock(ctx, Holder{}, time.Minute, func(Holder) { cancel() }); kindOf(err) != wire.KindStopped {
		t.Errorf("cancelled: %v", err)
	}
	// Whoever waits gets it when it is freed, though its file is a new one.
	second, err := s.Lock(t.Context(), Holder{}, time.Minute, func(Holder) {
		if err := first.Unlock(); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Unlock(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(s.LockPath()); !os.IsNotExist(err) {
		t.Errorf("the lock's file stays: %v", err)
	}
}

func TestLockRefusesALink(t *testing.T) {
	s := newStore(t)
	if err := s.Make(); err != nil {
		t.Fatal(err)
	}
	victim := s.Root + "/victim"
	writeFile(t, victim, "untouched")
	if err := os.Symlink(victim, s.LockPath()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Lock(t.Context(), Holder{}, 0, nil); kindOf(err) != wire.KindHost {
		t.Errorf("a link for a lock: %v", err)
	}
	if b, _ := os.ReadFile(victim); string(b) != "untouched" {
		t.Errorf("the link was followed: %q", b)
	}
}

// TestLockOfADeadProcess kills a holder: the lock is free at once, whatever
// its file says.
func TestLockOfADeadProcess(t *testing.T) {
	s := newStore(t)
	if err := s.Make(); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("flock", "-o", s.LockPath(), "sh", "-c", "echo locked; exec cat")
	in, _ := cmd.StdinPipe()
	defer in.Close()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 8)); err != nil {
		t.Fatal(err)
	}
	var waited bool
	lock, err := s.Lock(t.Context(), Holder{}, time.Minute, func(Holder) {
		waited = true
		cmd.Process.Kill()
	})
	if err != nil || !waited {
		t.Fatalf("waited %v, %v", waited, err)
	}
	lock.Unlock()
	cmd.Wait()
}
