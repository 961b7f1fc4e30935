package serve

import (
	"context"
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"github.com/gofleet/gofleet/agent/internal/account"
	"github.com/gofleet/gofleet/agent/internal/toolchain"
	"github.com/gofleet/gofleet/agent/wire"
)

// How much room programs in C and C++ take while they are built, and one with
// cgo, for which part of Go's standard library is compiled.
const (
	roomForC   = 16 << 20
	roomForCgo = 128 << 20
)

// lookForCgo adds to the facts what there is of a C toolchain. An audit builds
// a program with the Go that is on the host; what changes a host does that
// when it verifies what it has installed.
func (j *job) lookForCgo(ctx context.Context, f *wire.Facts) error {
	want := j.task.Spec.Preconditions.Cgo
	if want == nil || j.task.Action != wire.Apply && j.task.Action != wire.Audit {
		return nil
	}
	v := &toolchain.Verification{Store: j.store, Version: j.state.Before, Platform: j.platform}
	if user := j.task.Spec.User; user != nil && os.Getuid() == 0 {
		var err error
		if v.As, err = account.Lookup(ctx, user.Name); err != nil && !errors.Is(err, account.ErrNotFound) {
			return err
		}
	}
	dir, room := "", int64(roomForC)
	if j.task.Action == wire.Audit && j.state.Link.Dir != "" {
		dir, room = j.state.Link.Dir, roomForCgo
	}
	f.Cgo = v.LookForCgo(ctx, workplace(f.DiskPath, room), dir, want, j.task.Spec.Env)
	return ctx.Err()
}

// workplace is a directory in which programs may be built and run: in memory
// if there is room, and near gofleet_root if nowhere else.
func workplace(last string, room int64) string {
	dirs := []string{"/run", "/dev/shm", "/tmp", "/var/tmp"}
	if home, err := os.UserHomeDir(); err == nil && os.Getuid() != 0 {
		dirs = append(dirs, home)
	}
	for _, dir := range dirs {
		var fs unix.Statfs_t
		if unix.Access(dir, unix.W_OK) == nil && unix.Statfs(dir, &fs) == nil &&
			int64(fs.Flags)&(unix.MS_NOEXEC|unix.MS_RDONLY) == 0 && int64(fs.Bavail)*int64(fs.Bsize) >= room {
			return dir
		}
	}
	return last
}
