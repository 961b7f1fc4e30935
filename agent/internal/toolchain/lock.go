package toolchain

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gofleet/gofleet/agent/wire"
)

// Holder is who holds a lock. What is read from a lock's file is only told to
// people: the kernel alone decides who holds it.
type Holder struct {
	PID        int       `json:"pid"`
	Run        string    `json:"run"`
	Controller string    `json:"controller,omitempty"`
	Since      time.Time `json:"since"`
}

func (h Holder) String() string {
	var parts []string
	if h.Run != "" {
		parts = append(parts, "run "+h.Run)
	}
	if h.Controller != "" {
		parts = append(parts, "from "+h.Controller)
	}
	if h.PID > 0 {
		parts = append(parts, "process "+strconv.Itoa(h.PID))
	}
	if !h.Since.IsZero() {
		parts = append(parts, "since "+h.Since.UTC().Format(time.RFC3339))
	}
	if len(parts) == 0 {
		return "another gofleet"
	}
	return strings.Join(parts, ", ")
}

// Lock is held until Unlock, or until this process ends, however it ends.
type Lock struct{ f *os.File }

// Lock takes the layout's lock. While another process holds it, waiting, which
// may be nil, is told who, once for each holder; after patience the error is
// one of kind locked, which may be retried.
func (s *Store) Lock(ctx context.Context, me Holder, patience time.Duration, waiting func(Holder)) (*Lock, error) {
	if s.User {
		if err := s.Make(); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, patience, errPatience)
	defer cancel()
	for {
		f, err := os.OpenFile(s.LockPath(), os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
		if err != nil {
			return nil, hostError(fmt.Errorf("open the lock: %w", err))
		}
		err = wait(ctx, f, waiting)
		if err == nil && !isAt(f, s.LockPath()) {
			f.Close() // its holder removed it meanwhile; somebody may hold the new one
			continue
		}
		if err == nil {
			if err = writeHolder(f, me); err == nil {
				return &Lock{f: f}, nil
			}
			err = hostError(fmt.Errorf("write the lock's holder: %w", err))
		}
		f.Close()
		return nil, err
	}
}

var errPatience = errors.New("waited long enough")

// isAt reports whether f is the file that path names.
func isAt(f *os.File, path string) bool {
	a, err1 := f.Stat()
	b, err2 := os.Lstat(path)
	return err1 == nil && err2 == nil && os.SameFile(a, b)
}

// wait polls: a flock that blocks could not be ended by a context.
func wait(ctx context.Context, f *os.File, waiting func(Holder)) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	var told *Holder
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return hostError(fmt.Errorf("lock %s: %w", f.Name(), err))
		}
		holder := readHolder(f)
		if waiting != nil && (told == nil || holder != *told) {
			waiting(holder)
			told = &holder
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			if cause := context.Cause(ctx); cause != errPatience {
				return stopped(fmt.Errorf("wait for the lock: %w", cause))
			}
			e := wire.NewError(wire.KindLocked, fmt.Errorf("host is held by %s", holder),
				"wait for the other run to end; a lock frees itself when its process ends")
			e.Retryable = true
			return e
		}
	}
}

// Unlock frees the lock and removes its file. Lock knows that a file which is
// no longer at its path is no lock.
func (l *Lock) Unlock() error {
	var err error
	if isAt(l.f, l.f.Name()) {
		err = os.Remove(l.f.Name())
	}
	if err = errors.Join(err, l.f.Close()); err != nil {
		return fmt.Errorf("unlock: %w", err)
	}
	return nil
}

func writeHolder(f *os.File, h Holder) error {
	b, err := json.Marshal(h)
	if err != nil {
		return err
	}
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err = f.WriteAt(append(b, '\n'), 0)
	return err
}

// readHolder reads at most a line's worth and drops what nobody should print.
func readHolder(f *os.File) Holder {
	var h Holder
	b, err := io.ReadAll(io.LimitReader(io.NewSectionReader(f, 0, 1<<10), 1<<10))
	if err != nil || json.Unmarshal(b, &h) != nil {
		return Holder{}
	}
	h.Run, h.Controller = printable(h.Run, 80), printable(h.Controller, 80)
	return h
}

// printable is s without control characters, at most max bytes of it.
func printable(s string, max int) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 || r == '\ufffd' || r == '\u2028' || r == '\u2029' {
			return '?'
		}
		return r
	}, s)
	if len(s) > max {
		s = strings.ToValidUTF8(s[:max], "")
	}
	return s
}
