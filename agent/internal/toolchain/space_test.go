package toolchain

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gofleet/gofleet/agent/wire"
)

// mountTmpfs mounts a filesystem that is gone at the end of the test.
func mountTmpfs(t *testing.T, dir, options string) {
	t.Helper()
	if !strings.Contains(options, "=") {
		options = "size=" + options
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, options); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
}

// TestDiskFull fills the disk at every stage of an install: the old toolchain
// works, nothing is left, and the next run succeeds once there is room.
func TestDiskFull(t *testing.T) {
	asRoot(t)
	for _, free := range []int{4 << 10, 16 << 10, 40 << 10, 100 << 10, 200 << 10, 350 << 10} {
		t.Run(fmt.Sprint(free>>10, " KiB"), func(t *testing.T) {
			dir := t.TempDir()
			mountTmpfs(t, dir, "4m")
			s := storeIn(t, dir)
			mustApply(t, s, pack(t, "1.0", smallTree("1.0")))
			ballast := filepath.Join(dir, "ballast")
			fill(t, ballast, free)
			err := apply(t.Context(), s, pack(t, "1.1", smallTree("1.1")), Hooks{})
			if kindOf(err) != wire.KindNoSpace {
				t.Errorf("error %v of kind %s", err, kindOf(err))
			}
			wantVersion(t, s, "1.0")
			wantClean(t, s)
			if err := os.Remove(ballast); err != nil {
				t.Fatal(err)
			}
			mustApply(t, s, pack(t, "1.1", smallTree("1.1")))
			wantVersion(t, s, "1.1")
			wantClean(t, s)
		})
	}
}

// TestDiskFullForSFTP is a disk that the login user's writes fill: the agent
// only hears that the controller gives up.
func TestDiskFullForSFTP(t *testing.T) {
	asRoot(t)
	dir := t.TempDir()
	mountTmpfs(t, dir, "4m")
	s := storeIn(t, dir)
	u := receive(t, s, pack(t, "1.1", smallTree("1.1")), os.Geteuid())
	fill(t, u.Need().Path, 0)
	u.Fail(stopped(errors.New("the controller stopped the task")))
	if _, err := u.Extract(t.Context(), nil); kindOf(err) != wire.KindNoSpace {
		t.Errorf("error %v", err)
	}
	wantClean(t, s)
}

func TestNoInodes(t *testing.T) {
	asRoot(t)
	dir := t.TempDir()
	mountTmpfs(t, dir, "size=8m,nr_inodes=160")
	s := storeIn(t, dir)
	mustApply(t, s, pack(t, "1.0", smallTree("1.0")))
	if err := apply(t.Context(), s, pack(t, "1.1", smallTree("1.1")), Hooks{}); kindOf(err) != wire.KindNoSpace {
		t.Errorf("error %v", err)
	}
	wantVersion(t, s, "1.0")
	wantClean(t, s)
}

// fill takes all of a filesystem but free bytes.
func fill(t *testing.T, path string, free int) {
	t.Helper()
	var st unix.Statfs_t
	if err := unix.Statfs(filepath.Dir(path), &st); err != nil {
		t.Fatal(err)
	}
	n := int(st.Bavail)*int(st.Bsize) - free
	if err := os.WriteFile(path, bytes.Repeat([]byte{1}, n), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestReadOnlyRoot(t *testing.T) {
	asRoot(t)
	dir := t.TempDir()
	mountTmpfs(t, dir, "size=4m")
	s := storeIn(t, dir)
	mustApply(t, s, pack(t, "1.0", smallTree("1.0")))
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	err := apply(t.Context(), s, pack(t, "1.1", smallTree("1.1")), Hooks{})
	if kindOf(err) != wire.KindHost || !strings.Contains(wire.AsError(err, "").Hint, "read-only") {
		t.Errorf("error %v", err)
	}
	wantVersion(t, s, "1.0")
}
