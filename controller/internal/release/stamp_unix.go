//go:build unix

package release

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Stamp tells whether a file is the one that was read before. Whoever writes
// to it changes ctime, which no program can set back.
type Stamp struct {
	Path  string `json:"path"`
	Size  int64  `json:"size"`
	MTime int64  `json:"mtime_ns"`
	CTime int64  `json:"ctime_ns"`
	Inode uint64 `json:"inode"`
	Dev   uint64 `json:"dev"`
}

// StampOf is the stamp of an open file.
func StampOf(f *os.File) (Stamp, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return Stamp{}, fmt.Errorf("stat %s: %w", f.Name(), err)
	}
	return Stamp{
		Path: f.Name(), Size: st.Size,
		MTime: st.Mtim.Nano(), CTime: st.Ctim.Nano(),
		Inode: st.Ino, Dev: uint64(st.Dev),
	}, nil
}

// Joined is the stamp of content with that path and size which lies in several
// files, whose stamps are given.
func Joined(path string, size int64, files []Stamp) Stamp {
	s := Stamp{Path: path, Size: size}
	h := fnv.New64a()
	for _, f := range files {
		fmt.Fprintln(h, f.Path, f.Size, f.Inode, f.Dev)
		s.MTime, s.CTime, s.Dev = max(s.MTime, f.MTime), max(s.CTime, f.CTime), f.Dev
	}
	s.Inode = h.Sum64() | 1
	return s
}

// Settled tells whether the file was last changed long enough ago that another
// change would show: clocks of filesystems are coarse.
func (s Stamp) Settled(now time.Time) bool {
	return s.Inode != 0 && now.Sub(time.Unix(0, s.CTime)) > time.Second
}

// private says why others than this user could have written into dir, or nil.
func private(dir string) error {
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		return fmt.Errorf("cache %s: %w", dir, err)
	}
	if int(st.Uid) != os.Geteuid() || st.Mode&0o022 != 0 {
		return fmt.Errorf("cache %s can be written by others: remove it, or name another one", dir)
	}
	return nil
}

// lock waits until this process has the file at path for itself. The lock goes
// with the process, whatever ends it. The holder may remove the file.
func lock(ctx context.Context, path string) (unlock func(), err error) {
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, err
		}
		if err := flock(ctx, f); err != nil {
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		// Whoever had it before may have removed it, and a third made it anew.
		mine, err := f.Stat()
		if err != nil {
			f.Close()
			return nil, err
		}
		if now, err := os.Stat(path); err == nil && os.SameFile(mine, now) {
			return func() { f.Close() }, nil
		}
		f.Close()
	}
}

// flock locks the file, or closes it and says why not.
func flock(ctx context.Context, f *os.File) error {
	got := make(chan error, 1)
	go func() {
		for {
			err := unix.Flock(int(f.Fd()), unix.LOCK_EX)
			if !errors.Is(err, unix.EINTR) {
				got <- err
				return
			}
		}
	}()
	select {
	case err := <-got:
		if err != nil {
			f.Close()
		}
		return err
	case <-ctx.Done():
		go func() { <-got; f.Close() }()
		return ctx.Err()
	}
}
