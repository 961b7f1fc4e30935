// Package precond gathers the facts of the host that the agent runs on and
// checks them against the preconditions. The comparisons are agent/policy's.
// It reads files and asks the kernel; it changes nothing, and it runs no
// program but those whose version a precondition asks for and, where files
// do not tell, the C library's own.
package precond

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gofleet/gofleet/agent/policy"
	"github.com/gofleet/gofleet/agent/spec"
	"github.com/gofleet/gofleet/agent/wire"
)

// Installed is what the wanted toolchain already takes on the host. It counts
// as free, so that a host which had room enough before an installation has
// room enough after it.
type Installed struct {
	Bytes, Inodes int64
}

// Gather asks this host for everything that preconditions look at, and for
// the disk below root (gofleet_root, which need not exist yet). What cannot
// be found out stays zero or unknown and fails its check; an error means that
// the kernel answers nothing.
func Gather(ctx context.Context, root string) (*wire.Facts, error) {
	return host{}.gather(ctx, root)
}

// Check looks for the required commands, which it adds to f, and compares f
// with the preconditions of s. All results come, passed ones too.
func Check(ctx context.Context, f *wire.Facts, s *spec.Spec, now time.Time, have Installed) []wire.Check {
	f.Commands = host{}.commands(ctx, s.Preconditions.Commands)
	return policy.Check(f, s, policy.Input{Now: now, InstalledBytes: have.Bytes, InstalledInodes: have.Inodes})
}

// Platform is the platform whose Go this host wants: that of its userland,
// which on a 64-bit kernel may be a 32-bit one.
func Platform() (spec.Platform, error) {
	var h host
	var u unix.Utsname
	if err := h.uname(&u); err != nil {
		return spec.Platform{}, fmt.Errorf("ask for the machine: %w", err)
	}
	f := &wire.Facts{OS: "linux", Machine: text(u.Machine[:]), Bits: h.userland().bits}
	p, ok := policy.Platform(f)
	if !ok {
		return p, fmt.Errorf("no Go archive serves the machine %q", f.Machine)
	}
	return p, nil
}

// host is where facts come from. Its zero value is this host; tests set dir
// to a directory that stands for its root.
type host struct {
	dir   string
	utsFn func(*unix.Utsname) error
	// allowed gives the number of CPUs that this process may run on.
	allowed func() int
}

func (h host) uname(u *unix.Utsname) error {
	if h.utsFn != nil {
		return h.utsFn(u)
	}
	return unix.Uname(u)
}

func (h host) gather(ctx context.Context, root string) (*wire.Facts, error) {
	var u unix.Utsname
	if err := h.uname(&u); err != nil {
		return nil, fmt.Errorf("ask the kernel who it is: %w", err)
	}
	user := h.userland()
	f := &wire.Facts{
		// uname(2), as programs and the shell probe see it. /proc says the same,
		// but for a personality, and may be missing.
		OS:       strings.ToLower(text(u.Sysname[:])),
		Kernel:   text(u.Release[:]),
		Machine:  text(u.Machine[:]),
		Hostname: text(u.Nodename[:]),
		Bits:     user.bits,
		Libc:     h.libc(ctx, user),
		Clock:    time.Now(),
	}
	f.Distribution, f.DistVersion = h.distribution()
	f.Zone = h.zone()
	groups := h.cgroups()
	f.CPUs, f.CPULimit = h.cpus(groups)
	f.Memory, f.MemoryLimit = h.memory(groups)
	h.disk(f, root)
	return f, ctx.Err()
}

// path is where a file of the host lies for us.
func (h host) path(p string) string { return filepath.Join("/", h.dir, p) }

// read reads at most a megabyte of a small file; "" where it cannot.
func (h host) read(p string) string {
	f, err := os.Open(h.path(p))
	if err != nil {
		return ""
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 1<<20))
	if err != nil && len(b) == 0 {
		return ""
	}
	return string(b)
}

// text is a field of uname as printable ASCII.
func text(b []byte) string { return printable(unix.ByteSliceToString(b), 64) }

// printable is s as one line of printable ASCII, at most max bytes.
func printable(s string, max int) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return -1
		}
		return r
	}, s)
	return strings.TrimSpace(s[:min(len(s), max)])
}

// disk fills in what holds where root is, or will be made.
func (h host) disk(f *wire.Facts, root string) {
	f.DiskFree, f.InodesFree = -1, -1
	var fs unix.Statfs_t
	for p := filepath.Clean(root); ; p = filepath.Dir(p) {
		err := unix.Statfs(h.path(p), &fs)
		for errors.Is(err, unix.EINTR) {
			err = unix.Statfs(h.path(p), &fs)
		}
		if err == nil {
			f.DiskPath = p
			break
		}
		if p == "/" || !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ENOTDIR) {
			return
		}
	}
	block := int64(fs.Frsize)
	if block <= 0 {
		block = int64(fs.Bsize)
	}
	// What ordinary users may take, for root too: the reserve is for the day
	// when the disk is full.
	f.DiskFree = saturate(fs.Bavail, block)
	if fs.Files > 0 { // btrfs and others have no table of inodes
		f.InodesFree = saturate(fs.Ffree, 1)
	}
	f.ReadOnly = int64(fs.Flags)&unix.MS_RDONLY != 0
	f.Noexec = int64(fs.Flags)&unix.MS_NOEXEC != 0
}

// saturate multiplies without running over.
func saturate(n uint64, size int64) int64 {
	const most = 1<<63 - 1
	if size <= 0 || n > most/uint64(size) {
		return most
	}
	return int64(n) * size
}
