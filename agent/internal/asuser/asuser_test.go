package asuser_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gofleet/gofleet/agent/internal/asuser"
	"github.com/gofleet/gofleet/agent/internal/hosttest"
)

func TestMain(m *testing.M) { hosttest.Main(m) }

var who = asuser.Identity{UID: 4242, GID: 4243, Groups: []uint32{4243, 4244}}

func home(t *testing.T) string {
	t.Helper()
	// Not t.TempDir: its parents are root's alone.
	dir := "/srv/home"
	if err := errors.Join(os.Mkdir(dir, 0o700), os.Chown(dir, int(who.UID), int(who.GID))); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestWritesWithTheUsersRights(t *testing.T) {
	if !hosttest.Enter(t) {
		return
	}
	dir := home(t)
	before, err := asuser.Do(context.Background(), who, dir,
		asuser.Op{Act: asuser.Mkdir, Path: "d", Mode: 0o700},
		asuser.Op{Act: asuser.Write, Path: "d/f", Mode: 0o640, Content: []byte("one")},
		asuser.Op{Act: asuser.Look, Path: "d/f"},
		asuser.Op{Act: asuser.Chmod, Path: "d/f", Mode: 0o600},
		asuser.Op{Act: asuser.Write, Path: "d/f", Mode: 0o600, Content: []byte("two")})
	if err != nil {
		t.Fatal(err)
	}
	if got := before[2]; got.Type != asuser.File || string(got.Content) != "one" || got.Mode != 0o640 || got.UID != 4242 || got.GID != 4243 {
		t.Errorf("look: %+v", got)
	}
	if got := before[4]; string(got.Content) != "one" || got.Mode != 0o600 {
		t.Errorf("write gives what was there: %+v", got)
	}
	snap := hosttest.Snapshot(t, dir)
	want := map[string]string{dir: "drwx------ 4242:4243 ", dir + "/d": "drwx------ 4242:4243 ", dir + "/d/f": "-rw------- 4242:4243 two"}
	hosttest.Same(t, want, snap)
}

// On an NFS export with root_squash root has no rights in a home. Root without
// its capabilities over files is in the same position.
func TestWorksWhereRootHasNoRights(t *testing.T) {
	if !hosttest.Enter(t) {
		return
	}
	dir := home(t)
	dropFileCapabilities(t)
	if err := os.WriteFile(filepath.Join(dir, "f"), nil, 0o600); !errors.Is(err, os.ErrPermission) {
		t.Fatalf("root can still write: %v", err)
	}
	if _, err := asuser.Do(context.Background(), who, dir, asuser.Op{Act: asuser.Write, Path: "f", Mode: 0o600, Content: []byte("x")}); err != nil {
		t.Fatal(err)
	}
}

func dropFileCapabilities(t *testing.T) {
	t.Helper()
	runtime.LockOSThread() // capabilities are a thread's; the child inherits this one's
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&hdr, &data[0]); err != nil {
		t.Fatal(err)
	}
	for _, c := range []int{unix.CAP_DAC_OVERRIDE, unix.CAP_DAC_READ_SEARCH, unix.CAP_FOWNER, unix.CAP_CHOWN} {
		// A program that root executes has the bounding set again.
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(c), 0, 0, 0); err != nil {
			t.Fatal(err)
		}
		data[0].Effective &^= 1 << c
		data[0].Permitted &^= 1 << c
	}
	if err := unix.Capset(&hdr, &data[0]); err != nil {
		t.Fatal(err)
	}
}

func TestRefusesLinks(t *testing.T) {
	if !hosttest.Enter(t) {
		return
	}
	dir := home(t)
	hosttest.Write(t, "/srv/other/f", "precious", 0o666)
	for link, target := range map[string]string{"dir": "/srv/other", "file": "/srv/other/f", "dangling": "/srv/other/new"} {
		if err := os.Symlink(target, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Mkfifo(filepath.Join(dir, "pipe"), 0o666); err != nil {
		t.Fatal(err)
	}
	before := hosttest.Snapshot(t, "/srv")
	for _, op := range []asuser.Op{
		{Act: asuser.Write, Path: "file", Mode: 0o600},
		{Act: asuser.Write, Path: "dangling", Mode: 0o600},
		{Act: asuser.Write, Path: "dir/f", Mode: 0o600},
		{Act: asuser.Write, Path: "pipe", Mode: 0o600},
		{Act: asuser.Mkdir, Path: "dir", Mode: 0o700},
		{Act: asuser.Mkdir, Path: "dir/new", Mode: 0o700},
		{Act: asuser.Chmod, Path: "file", Mode: 0o600},
		{Act: asuser.Remove, Path: "dir/f"},
		{Act: asuser.Remove, Path: "file"},
		{Act: asuser.Look, Path: "dir/f"},
	} {
		_, err := asuser.Do(context.Background(), who, dir, op)
		var r *asuser.RefusedError
		if !errors.As(err, &r) {
			t.Errorf("%s %s: %v, not refused", op.Act, op.Path, err)
		}
	}
	hosttest.Same(t, before, hosttest.Snapshot(t, "/srv"))
}

func TestRefusesRootAndPathsOutside(t *testing.T) {
	if !hosttest.Enter(t) {
		return
	}
	dir := home(t)
	if _, err := asuser.Do(context.Background(), asuser.Identity{}, dir, asuser.Op{Act: asuser.Look, Path: "."}); err == nil {
		t.Error("uid 0 was not refused")
	}
	for _, p := range []string{"../x", "/etc/passwd", "a/../b", "", "a//b"} {
		if _, err := asuser.Do(context.Background(), who, dir, asuser.Op{Act: asuser.Look, Path: p}); err == nil {
			t.Errorf("path %q was not refused", p)
		}
	}
	var r *asuser.RefusedError
	if _, err := asuser.Do(context.Background(), who, "/srv/none", asuser.Op{Act: asuser.Look, Path: "."}); !errors.As(err, &r) {
		t.Errorf("home that isn't there: %v", err)
	}
}

// The user's groups count, and root's do not.
func TestGroups(t *testing.T) {
	if !hosttest.Enter(t) {
		return
	}
	for dir, gid := range map[string]int{"/srv/theirs": 4244, "/srv/roots": 0} {
		if err := errors.Join(os.Mkdir(dir, 0o770), os.Chmod(dir, 0o770), os.Chown(dir, 0, gid)); err != nil {
			t.Fatal(err)
		}
		_, err := asuser.Do(context.Background(), who, dir, asuser.Op{Act: asuser.Write, Path: "f", Mode: 0o600})
		if (err == nil) != (gid != 0) {
			t.Errorf("%s: %v", dir, err)
		}
	}
}

// What a crash left of a write is no obstacle, whatever it is.
func TestLeftoverOfACrash(t *testing.T) {
	if !hosttest.Enter(t) {
		return
	}
	dir := home(t)
	if err := os.Symlink("/srv/elsewhere", filepath.Join(dir, ".f.gofleet")); err != nil {
		t.Fatal(err)
	}
	if _, err := asuser.Do(context.Background(), who, dir, asuser.Op{Act: asuser.Write, Path: "f", Mode: 0o600, Content: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat("/srv/elsewhere"); err == nil {
		t.Error("the write went through a link")
	}
	if _, err := os.Lstat(filepath.Join(dir, ".f.gofleet")); err == nil {
		t.Error("the leftover is still there")
	}
}

func TestLargeFileIsRefused(t *testing.T) {
	if !hosttest.Enter(t) {
		return
	}
	dir := home(t)
	hosttest.Write(t, dir+"/big", strings.Repeat("x", asuser.MaxFile+1), 0o644)
	if _, err := asuser.Do(context.Background(), who, dir, asuser.Op{Act: asuser.Look, Path: "big"}); err == nil || !strings.Contains(err.Error(), "larger") {
		t.Errorf("err = %v", err)
	}
}

// A program whose main does not know the child starts it once, not for ever.
func TestGuard(t *testing.T) {
	t.Setenv("GOFLEET_AS_USER", "1")
	_, err := asuser.Do(context.Background(), asuser.Identity{UID: 4242, GID: 4242}, "/", asuser.Op{Act: asuser.Look, Path: "."})
	if err == nil || !strings.Contains(err.Error(), "asuser.Main") {
		t.Errorf("err = %v", err)
	}
}
