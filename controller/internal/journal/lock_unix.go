//go:build unix

package journal

import (
	"errors"
	"os"
	"syscall"
)

// lock takes the lock of a run's process, which goes with the process. It is
// ErrRunning where another one has it.
func lock(f *os.File) error { return flock(f, syscall.LOCK_EX|syscall.LOCK_NB) }

// lockNew takes the lock of a run that has only just got its file: whoever has
// it looks whether the run is alive, and lets it go at once.
func lockNew(f *os.File) error { return flock(f, syscall.LOCK_EX) }

// probe is ErrRunning where a run's process has its lock.
func probe(f *os.File) error { return flock(f, syscall.LOCK_SH|syscall.LOCK_NB) }

func flock(f *os.File, how int) error {
	for {
		err := syscall.Flock(int(f.Fd()), how)
		switch {
		case errors.Is(err, syscall.EINTR):
		case errors.Is(err, syscall.EWOULDBLOCK):
			return ErrRunning
		default:
			return os.NewSyscallError("flock", err)
		}
	}
}
