package toolchain

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gofleet/gofleet/agent/internal/durable"
)

// How long a cached agent may go unused, and how often its use is noted.
const (
	agentUnused = 30 * 24 * time.Hour
	agentNoted  = 24 * time.Hour
)

// Agents is the cache of agent programs on a host, each named by its sha256.
// Root runs what lies there, so nobody else may be able to write anywhere on
// the way to it.
type Agents struct {
	Dir  string // absolute
	UID  int    // whose it is: 0, or an ordinary user
	self string // the running program, for tests; "" is /proc/self/exe
}

// AgentCache is the cache that the shell line looks into: a fixed place for
// root, whatever gofleet_root is, and one in the home of an ordinary user.
func AgentCache(uid int, home string) Agents {
	if uid == 0 {
		return Agents{Dir: "/usr/local/lib/gofleet/agent"}
	}
	return Agents{Dir: filepath.Join(home, ".cache/gofleet/agent"), UID: uid}
}

// UnsafeError says why no agent is kept: somebody else could replace it.
type UnsafeError struct{ Path, Why string }

func (e *UnsafeError) Error() string { return fmt.Sprintf("agent is not kept: %s %s", e.Path, e.Why) }

// Keep puts the running agent into the cache and gives its path. One that is
// there already is noted as used, at most once a day; unless it is the one
// that runs, its content is compared first. A place that others can write to is an *UnsafeError, which a run
// need not mind.
func (a Agents) Keep(ctx context.Context) (string, error) {
	if path, ok := a.running(); ok {
		return path, note(path)
	}
	if err := a.makeDirs(); err != nil {
		return "", err
	}
	self := a.self
	if self == "" {
		self = "/proc/self/exe"
	}
	in, err := os.Open(self)
	if err != nil {
		return "", fmt.Errorf("keep the agent: %w", err)
	}
	defer in.Close()
	name, err := sumOf(ctx, in)
	if err != nil {
		return "", fmt.Errorf("keep the agent: %w", err)
	}
	path := filepath.Join(a.Dir, name)
	if a.intact(ctx, path, name) {
		return path, note(path)
	}
	if err := a.copy(in, path, name); err != nil {
		return "", fmt.Errorf("keep the agent: %w", err)
	}
	return path, note(path) // in the clock's time: a filesystem may have another
}

// running reports whether this program was started from the cache, and is
// still what lies there.
func (a Agents) running() (string, bool) {
	path, err := os.Readlink("/proc/self/exe")
	if err != nil || a.self != "" || filepath.Dir(path) != a.Dir || !isSum(filepath.Base(path)) {
		return "", false
	}
	self, err1 := os.Stat("/proc/self/exe")
	there, err2 := os.Lstat(path)
	return path, err1 == nil && err2 == nil && os.SameFile(self, there)
}

// makeDirs makes what is missing on the way and checks what is there.
func (a Agents) makeDirs() error {
	parts := strings.Split(strings.Trim(filepath.Clean(a.Dir), "/"), "/")
	dir := "/"
	if err := a.check(dir); err != nil {
		return err
	}
	for i, part := range parts {
		dir = filepath.Join(dir, part)
		err := a.check(dir)
		if errors.Is(err, fs.ErrNotExist) {
			mode := fs.FileMode(0o755)
			if a.UID != 0 && i == len(parts)-1 {
				mode = 0o700
			}
			if err = makeDir(dir, mode); err == nil {
				err = a.check(dir)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// check refuses a directory that somebody else could change. For an ordinary
// user only the directories that are the user's own must be closed: what root
// made above them is root's business.
func (a Agents) check(dir string) error {
	var st unix.Stat_t
	if err := unix.Lstat(dir, &st); err != nil {
		return &os.PathError{Op: "lstat", Path: dir, Err: err}
	}
	switch {
	case st.Mode&unix.S_IFMT != unix.S_IFDIR:
		return &UnsafeError{dir, "is not a directory"}
	case st.Uid != 0 && int(st.Uid) != a.UID:
		return &UnsafeError{dir, fmt.Sprintf("belongs to uid %d", st.Uid)}
	case st.Mode&0o022 != 0 && (a.UID == 0 || int(st.Uid) == a.UID):
		return &UnsafeError{dir, fmt.Sprintf("has mode %04o, so others can write to it", st.Mode&0o7777)}
	}
	return nil
}

// intact reports whether the cached file is what its name says, ours, and
// closed to others.
func (a Agents) intact(ctx context.Context, path, name string) bool {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return false
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil || st.Mode() != 0o755 {
		return false
	}
	if uid, _ := owner(st); uid != a.UID {
		return false
	}
	sum, err := sumOf(ctx, f)
	return err == nil && sum == name
}

// note records the use of a cached agent in its modification time.
func note(path string) error {
	st, err := os.Lstat(path)
	if err != nil {
		return fmt.Errorf("note the agent's use: %w", err)
	}
	now := time.Now()
	if age := now.Sub(st.ModTime()); age < agentNoted && age > -agentNoted {
		return nil
	}
	if err := os.Chtimes(path, now, now); err != nil {
		return fmt.Errorf("note the agent's use: %w", err)
	}
	return nil
}

// copy writes the program under a temporary name, checks what it wrote, and
// moves it in.
func (a Agents) copy(in *os.File, path, name string) error {
	tmp, err := os.CreateTemp(a.Dir, ".gofleet-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	h := sha256.New()
	_, err = in.Seek(0, io.SeekStart)
	if err == nil {
		_, err = io.Copy(io.MultiWriter(tmp, h), in)
	}
	err = errors.Join(err, tmp.Chmod(0o755), tmp.Sync(), tmp.Close())
	if err == nil && hex.EncodeToString(h.Sum(nil)) != name {
		err = errors.New("the program changed while it was read")
	}
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return err
	}
	return durable.SyncDir(a.Dir)
}

// Sweep removes agents that no run has used for 30 days, and what a cut Keep
// left. It does not count as a change.
func (a Agents) Sweep(now time.Time) error {
	entries, err := os.ReadDir(a.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("sweep cached agents: %w", err)
	}
	if err := durable.Sweep(a.Dir); err != nil {
		return fmt.Errorf("sweep cached agents: %w", err)
	}
	for _, e := range entries {
		st, err := e.Info()
		if err != nil || !isSum(e.Name()) || now.Sub(st.ModTime()) < agentUnused {
			continue
		}
		if err := os.Remove(filepath.Join(a.Dir, e.Name())); err != nil {
			return fmt.Errorf("sweep cached agents: %w", err)
		}
	}
	return nil
}

// Remove removes the whole cache.
func (a Agents) Remove() error {
	if err := os.RemoveAll(a.Dir); err != nil {
		return fmt.Errorf("remove cached agents: %w", err)
	}
	os.Remove(filepath.Dir(a.Dir)) // if nothing else is there
	return nil
}

// isSum reports whether s is a sha256 in lower-case hex.
func isSum(s string) bool {
	return len(s) == 2*sha256.Size && strings.Trim(s, "0123456789abcdef") == ""
}

func sumOf(ctx context.Context, r io.Reader) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", stopped(context.Cause(ctx))
	}
	h := sha256.New()
	if _, err := io.Copy(h, r); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
