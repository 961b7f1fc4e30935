package packages

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gofleet/gofleet/agent/internal/hostcmd"
	"github.com/gofleet/gofleet/agent/spec"
	"github.com/gofleet/gofleet/agent/wire"
)

// locks are the files whose locks package systems hold while they work.
func (h *Host) locks() []string {
	if h.Family == spec.Debian {
		return []string{"/var/lib/dpkg/lock-frontend", "/var/lib/dpkg/lock"}
	}
	var all []string
	for _, dir := range rpmDatabases {
		all = append(all, filepath.Join(dir, ".rpm.lock"))
	}
	return all
}

// WaitFree waits, for a bounded time, until nobody is at work on the host's
// packages. It takes no lock: apt and rpm do. Who does not come to an end is
// named in an error of kind baseline_refused that may be tried again.
func (h *Host) WaitFree(ctx context.Context) error { return waitFree(ctx, h.locks(), lockPatience) }

func waitFree(ctx context.Context, locks []string, patience time.Duration) error {
	tick := time.NewTicker(patience / 120)
	defer tick.Stop()
	for end := time.Now().Add(patience); ; {
		lock, pid := holder(locks)
		if lock == "" {
			return nil
		}
		if time.Now().After(end) {
			e := wire.NewError(wire.KindBaseline, fmt.Errorf("%s works on this host's packages: it has held the lock %s for %.0f s", process(pid), lock, patience.Seconds()),
				"run the same command again when it is done; what is it: ps -fp "+fmt.Sprint(pid))
			e.Retryable = true
			return e
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// holder finds a lock that a process has, and the process; "" where all are
// free.
func holder(locks []string) (lock string, pid int32) {
	for _, path := range locks {
		f, err := os.Open(path)
		if err != nil {
			continue // never used
		}
		l := unix.Flock_t{Type: unix.F_WRLCK}
		err = unix.FcntlFlock(f.Fd(), unix.F_GETLK, &l)
		f.Close()
		if err == nil && l.Type != unix.F_UNLCK {
			return path, l.Pid
		}
	}
	return "", 0
}

// process names a process for people.
func process(pid int32) string {
	name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	if err != nil {
		return fmt.Sprintf("process %d", pid)
	}
	return fmt.Sprintf("%s (process %d)", hostcmd.Printable(strings.TrimSpace(string(name)), 40), pid)
}
