package toolchain

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gofleet/gofleet/agent/internal/record"
	"github.com/gofleet/gofleet/agent/wire"
)

// The child process of a fault test is this test binary with these set.
const (
	envScenario = "GOFLEET_TEST_SCENARIO"
	envDir      = "GOFLEET_TEST_DIR"
	envKill     = "GOFLEET_TEST_KILL" // point at which the process kills itself
	envTrace    = "GOFLEET_TEST_TRACE"
)

func TestMain(m *testing.M) {
	if name := os.Getenv(envScenario); name != "" {
		if err := child(name, os.Getenv(envDir)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// scenario is one thing that a run does to a host, cut at every fault point.
type scenario struct {
	overlay bool // the host's directories are an overlay's lower layer
	// prepare makes the host as it is before the run; dir is where it lies.
	prepare func(t *testing.T, s *Store)
	// run is the run, in a child process.
	run func(ctx context.Context, s *Store) error
	// wants is the version that the link leads to after a whole run.
	wants string
	// gaps are the points at which there may be no go at the link: the windows
	// that are documented.
	gaps []string
}

func applyVersion(version string) func(context.Context, *Store) error {
	return func(ctx context.Context, s *Store) error {
		return apply(ctx, s, pack(panics{}, version, smallTree(version)), Hooks{})
	}
}

// prepared installs versions one after the other.
func prepared(versions ...string) func(*testing.T, *Store) {
	return func(t *testing.T, s *Store) {
		for _, v := range versions {
			mustApply(t, s, pack(t, v, smallTree(v)))
		}
	}
}

// unmanaged is a Go that somebody unpacked at the link.
func unmanaged(t *testing.T, s *Store) {
	for path, body := range smallTree("1.0") {
		writeFile(t, filepath.Join(s.Link, path), body)
	}
	if err := os.Symlink("go", filepath.Join(s.Link, "bin/alias")); err != nil {
		t.Fatal(err)
	}
}

func drifted(t *testing.T, s *Store) {
	prepared("1.1")(t, s)
	writeFile(t, filepath.Join(s.Dir("1.1"), "bin/gofmt"), "altered")
	writeFile(t, filepath.Join(s.Dir("1.1"), "src/extra.go"), "package extra")
}

// alikeTree is a release that has most in common with its neighbours.
func alikeTree(version string) map[string]string {
	files := smallTree("1.0")
	own := smallTree(version)
	for _, path := range []string{"VERSION", "bin/go", "src/p1/p.go", "src/p7/p.go"} {
		files[path] = own[path]
	}
	files["src/only"+version+"/x.go"] = "package only"
	return files
}

func preparedAlike(versions ...string) func(*testing.T, *Store) {
	return func(t *testing.T, s *Store) {
		for _, v := range versions {
			mustApply(t, s, pack(t, v, alikeTree(v)))
		}
	}
}

func driftedAlike(t *testing.T, s *Store) {
	preparedAlike("1.1")(t, s)
	writeFile(t, filepath.Join(s.Dir("1.1"), "bin/gofmt"), "altered")
	writeFile(t, filepath.Join(s.Dir("1.1"), "src/extra.go"), "package extra")
}

// applyAlike installs by difference.
func applyAlike(version string) func(context.Context, *Store) error {
	return func(ctx context.Context, s *Store) error {
		_, err := applyDifference(ctx, s, pack(panics{}, version, alikeTree(version)), alikeTree(version))
		return err
	}
}

func withoutExchange(run func(context.Context, *Store) error) func(context.Context, *Store) error {
	return func(ctx context.Context, s *Store) error {
		s.noExchange = true
		return run(ctx, s)
	}
}

func scenarios() map[string]scenario {
	return map[string]scenario{
		"first install": {prepare: func(t *testing.T, s *Store) { mustMkdir(t, s.Root) }, run: applyVersion("1.1"), wants: "1.1",
			gaps: faultPoints()},
		"upgrade and prune":                  {prepare: prepared("1.0", "1.1"), run: applyVersion("1.2"), wants: "1.2"},
		"repair":                             {prepare: drifted, run: applyVersion("1.1"), wants: "1.1"},
		"repair file by file":                {prepare: drifted, run: withoutExchange(applyVersion("1.1")), wants: "1.1"},
		"unmanaged exchanged":                {prepare: unmanaged, run: applyVersion("1.1"), wants: "1.1"},
		"unmanaged moved":                    {prepare: unmanaged, run: withoutExchange(applyVersion("1.1")), wants: "1.1", gaps: []string{"aside.moved"}},
		"unmanaged copied":                   {overlay: true, prepare: unmanaged, run: applyVersion("1.1"), wants: "1.1", gaps: []string{"copy.removed"}},
		"repair on an overlay":               {overlay: true, prepare: drifted, run: applyVersion("1.1"), wants: "1.1"},
		"upgrade on an overlay":              {overlay: true, prepare: prepared("1.0", "1.1"), run: applyVersion("1.2"), wants: "1.2"},
		"upgrade by difference":              {prepare: preparedAlike("1.0", "1.1"), run: applyAlike("1.2"), wants: "1.2"},
		"repair by difference":               {prepare: driftedAlike, run: applyAlike("1.1"), wants: "1.1"},
		"repair by difference on an overlay": {overlay: true, prepare: driftedAlike, run: applyAlike("1.1"), wants: "1.1"},
		"rollback":                           {prepare: prepared("1.0", "1.1"), run: rollBack, wants: "1.0"},
		"remove all":                         {prepare: prepared("1.0", "1.1"), run: removeEverything, gaps: faultPoints()},
		"remove all but what was": {prepare: func(t *testing.T, s *Store) { unmanaged(t, s); prepared("1.1")(t, s) },
			run: removeEverything, wants: "1.0"},
	}
}

func rollBack(ctx context.Context, s *Store) error {
	rec, err := record.Load(s.Root)
	if err != nil {
		return err
	}
	if err := s.Sweep(false, rec); err != nil {
		return err
	}
	st, err := s.Inspect(ctx, "", false)
	if err != nil {
		return err
	}
	rb, err := s.PlanRollback(st, "1.0", rec)
	if err != nil {
		return err
	}
	for _, step := range rb.Steps {
		if err := step.Do(ctx); err != nil {
			return err
		}
	}
	return rec.Save(s.Root)
}

func removeEverything(ctx context.Context, s *Store) error {
	rec, err := record.Load(s.Root)
	if err != nil {
		return err
	}
	if err := s.Sweep(false, rec); err != nil {
		return err
	}
	st, err := s.Inspect(ctx, "", false)
	if err != nil {
		return err
	}
	steps, _, err := s.PlanRemoveAll(st, rec)
	if err != nil {
		return err
	}
	for _, step := range steps {
		if err := step.Do(ctx); err != nil {
			return err
		}
	}
	return nil
}

// child runs a scenario in this process, and ends it at a fault point.
func child(name, dir string) error {
	sc := scenarios()[name]
	host := filepath.Join(dir, "host")
	if sc.overlay {
		if err := mountOverlay(dir); err != nil {
			return err
		}
	}
	s := storeIn(panics{}, host)
	s.Fault = func(point string) {
		if trace := os.Getenv(envTrace); trace != "" {
			f, err := os.OpenFile(trace, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
			if err != nil {
				panic(err)
			}
			fmt.Fprintln(f, point)
			f.Close()
		}
		if point == os.Getenv(envKill) {
			syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}
	if os.Getenv(envKill) == "look" {
		return look(s)
	}
	return sc.run(context.Background(), s)
}

// look prints which go the link leads to, and what is left behind.
func look(s *Store) error {
	fmt.Println(goVersion(s))
	for _, line := range append(listing(panics{}, filepath.Dir(s.Link)), "") {
		if strings.Contains(line, "/.") {
			fmt.Println("left behind:", line)
		}
	}
	st, err := s.Inspect(context.Background(), "", true)
	if err != nil {
		return err
	}
	for _, path := range append(wire.Paths(st.Drift), st.Leftovers...) {
		fmt.Println("drift or leftover:", path)
	}
	return nil
}

// mountOverlay puts an overlay over dir/host, with what is there as its lower
// layer, in this process's own mount namespace.
func mountOverlay(dir string) error {
	host, upper, work := filepath.Join(dir, "host"), filepath.Join(dir, "upper"), filepath.Join(dir, "work")
	for _, d := range []string{upper, work} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return err
		}
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	o := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s,redirect_dir=off", host, upper, work)
	return unix.Mount("overlay", host, "overlay", 0, o)
}

func runChild(t *testing.T, name, dir, kill, trace string) (string, error) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), envScenario+"="+name, envDir+"="+dir, envKill+"="+kill, envTrace+"="+trace)
	if scenarios()[name].overlay {
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// TestKilledAtEveryPoint ends an install at every fault point, and shows that
// the go command still works, and that the next run succeeds and leaves
// nothing behind.
func TestKilledAtEveryPoint(t *testing.T) {
	asRoot(t)
	walked := map[string]bool{}
	for name, sc := range scenarios() {
		t.Run(name, func(t *testing.T) {
			for _, point := range pointsOf(t, name, sc) {
				walked[point] = true
				t.Run(point, func(t *testing.T) { killAt(t, name, sc, point) })
			}
		})
	}
	for _, point := range faultPoints() {
		if !walked[point] {
			t.Errorf("no scenario comes by %s", point)
		}
		delete(walked, point)
	}
	for point := range walked {
		t.Errorf("%s is not in faultPoints", point)
	}
}

// pointsOf runs a scenario whole and gives the points that it passed.
func pointsOf(t *testing.T, name string, sc scenario) []string {
	t.Helper()
	dir := prepareHost(t, sc)
	trace := filepath.Join(dir, "trace")
	if out, err := runChild(t, name, dir, "", trace); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	wantWhole(t, name, sc, dir)
	b, err := os.ReadFile(trace)
	if err != nil {
		t.Fatal(err)
	}
	points := strings.Fields(string(b))
	slices.Sort(points)
	return slices.Compact(points)
}

func prepareHost(t *testing.T, sc scenario) string {
	t.Helper()
	dir := memoryDir(t)
	host := filepath.Join(dir, "host")
	mustMkdir(t, host)
	sc.prepare(t, storeIn(t, host))
	return dir
}

func killAt(t *testing.T, name string, sc scenario, point string) {
	dir := prepareHost(t, sc)
	before, err := runChild(t, name, dir, "look", "")
	if err != nil {
		t.Fatalf("%v\n%s", err, before)
	}
	had, _, _ := strings.Cut(before, "\n")
	out, err := runChild(t, name, dir, point, "")
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("child was not killed at the point: %v\n%s", err, out)
	}
	if !slices.Contains(sc.gaps, point) {
		now, err := runChild(t, name, dir, "look", "")
		if got, _, _ := strings.Cut(now, "\n"); err != nil || got != had && got != sc.wants {
			t.Errorf("after the crash go is %q, want %q or %q (%v)", now, had, sc.wants, err)
		}
	}
	if out, err := runChild(t, name, dir, "", ""); err != nil {
		t.Fatalf("the next run: %v\n%s", err, out)
	}
	wantWhole(t, name, sc, dir)
}

func wantWhole(t *testing.T, name string, sc scenario, dir string) {
	t.Helper()
	now, err := runChild(t, name, dir, "look", "")
	got, rest, _ := strings.Cut(now, "\n")
	if err != nil || sc.wants != "" && got != sc.wants || rest != "" {
		t.Errorf("after a whole run: %v\n%s\nwant only %s", err, now, sc.wants)
	}
}

// memoryDir is a temporary directory on tmpfs, where syncing costs nothing;
// where there is none it is an ordinary one. Its name has no comma, which
// would end an overlay's option.
func memoryDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "gofleet-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func mustMkdir(t *testing.T, dir string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
}

// panics is a testing.TB for the child, which has none.
type panics struct{ testing.TB }

func (panics) Helper()           {}
func (panics) Fatal(args ...any) { panic(fmt.Sprint(args...)) }

// faultPoints lists where Store.Fault is called, in the order of the code. A
// test ends the process at each and proves that the next run succeeds.
func faultPoints() []string {
	return []string{
		"sweep.completed",
		"gather.made", "gather.half", "gather.done",
		"receive.staged", "receive.opened",
		"extract.made", "extract.half", "extract.done",
		"commit.prepared", "commit.renamed", "commit.synced", "commit.recorded",
		"repair.synced", "repair.exchanged", "repair.recorded", "mend.half",
		"switch.recorded", "switch.linked",
		"exchange.prepared", "exchange.done",
		"aside.intended", "aside.moved", "aside.linked",
		"copy.intended", "copy.copied", "copy.confirmed", "copy.forwarded", "copy.emptied", "copy.removed",
		"rollback.forgotten",
		"remove.forgotten", "remove.moved", "remove.unlinked",
	}
}
