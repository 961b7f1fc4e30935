package toolchain

import (
	"errors"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/gofleet/gofleet/agent/wire"
)

// hostError gives an error of the operating system its kind: a full disk has
// one of its own. What has a kind already keeps it.
func hostError(err error) error {
	var known *wire.Error
	switch {
	case err == nil, errors.As(err, &known):
		return err
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return wire.NewError(wire.KindNoSpace, err,
			"free some space or inodes at gofleet_root, or set gofleet_root to a larger filesystem")
	case errors.Is(err, unix.EROFS):
		return wire.NewError(wire.KindHost, err, "the filesystem is read-only: set gofleet_root to one that can be written")
	}
	return wire.NewError(wire.KindHost, err, "")
}

// stopped is the error of a context that ended a step.
func stopped(err error) error {
	var known *wire.Error
	if errors.As(err, &known) {
		return err
	}
	e := wire.NewError(wire.KindStopped, err, "run the same command again")
	e.Retryable = true
	return e
}

// owner gives the numeric owner and group of a file.
func owner(st fs.FileInfo) (uid, gid int) {
	if s, ok := st.Sys().(*syscall.Stat_t); ok {
		return int(s.Uid), int(s.Gid)
	}
	return os.Geteuid(), os.Getegid()
}
