package toolchain

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gofleet/gofleet/agent/internal/account"
	"github.com/gofleet/gofleet/agent/spec"
	"github.com/gofleet/gofleet/agent/wire"
)

// nobody is an account with a home that is nowhere.
var nobody = &account.Credential{Name: "nobody", UID: 65534, GID: 65534, Groups: []uint32{65534}, Home: "/nonexistent"}

// verification is one of the Go that runs this test.
func verification(t *testing.T, level string) (*Verification, string) {
	t.Helper()
	dir := memoryDir(t)
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	s := storeIn(t, dir)
	if err := s.Make(); err != nil {
		t.Fatal(err)
	}
	platform := spec.Platform{OS: runtime.GOOS, Arch: runtime.GOARCH}
	goroot, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	version := strings.TrimPrefix(runtime.Version(), "go")
	return &Verification{Store: s, Version: version, Platform: platform, Want: spec.Verify{Level: level}}, strings.TrimSpace(string(goroot))
}

func TestVerifyQuick(t *testing.T) {
	v, goroot := verification(t, spec.VerifyQuick)
	t.Setenv("GOROOT", "/nonexistent")
	t.Setenv("GOFLAGS", "-mod=nonsense")
	t.Setenv("GOOS", "plan9")
	if err := v.Verify(t.Context(), goroot); err != nil {
		t.Fatal(err)
	}
	wantClean(t, v.Store)
	if os.Geteuid() == 0 {
		v.As = nobody
		if err := v.Verify(t.Context(), goroot); err != nil {
			t.Fatal(err)
		}
	}
	v.Version = "1.2.3"
	err := v.Verify(t.Context(), goroot)
	if kindOf(err) != wire.KindVerify || !strings.Contains(err.Error(), "not \"go version go1.2.3 ") {
		t.Errorf("another version: %v", err)
	}
	wantClean(t, v.Store)
}

// TestInstallOfARealGo installs the commands of the Go that runs this test,
// verifies them on the way, and runs them through the link.
func TestInstallOfARealGo(t *testing.T) {
	v, goroot := verification(t, spec.VerifyQuick)
	files := map[string]string{}
	for _, dir := range []string{"VERSION", "go.env", "bin", "pkg/tool"} {
		err := filepath.WalkDir(filepath.Join(goroot, dir), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			b, err := os.ReadFile(path)
			files[strings.TrimPrefix(path, goroot+"/")] = string(b)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	a := pack(t, v.Version, files)
	a.release.Platform = v.Platform
	if err := apply(t.Context(), v.Store, a, Hooks{Verify: v.Verify}); err != nil {
		t.Fatal(err)
	}
	wantVersion(t, v.Store, v.Version)
	wantClean(t, v.Store)
	st, err := v.Store.Inspect(t.Context(), v.Version, true)
	if err != nil || !st.Ready() || st.Before != v.Version {
		t.Errorf("%+v, %v", st, err)
	}
	if err := v.Verify(t.Context(), v.Store.Link); err != nil { // through the link
		t.Error(err)
	}
}

// TestVerifyCgo builds and runs programs as an ordinary user where /tmp cannot
// run any.
func TestVerifyCgo(t *testing.T) {
	asRoot(t)
	if os.Getenv("GOFLEET_TEST_NOEXEC") == "" {
		cmd := exec.Command("/proc/self/exe", "-test.run=^TestVerifyCgo$", "-test.v")
		cmd.Env = append(os.Environ(), "GOFLEET_TEST_NOEXEC=1")
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	if err := errors.Join(
		unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
		unix.Mount("tmpfs", "/tmp", "tmpfs", unix.MS_NOEXEC, "mode=1777"),
	); err != nil {
		t.Fatal(err)
	}
	v, goroot := verification(t, spec.VerifyCgo)
	v.As = nobody
	if err := v.Verify(t.Context(), goroot); err != nil {
		t.Fatal(err)
	}
	wantClean(t, v.Store)
	if left, _ := os.ReadDir("/tmp"); len(left) != 0 {
		t.Errorf("left in /tmp: %v", left)
	}
}

func TestVerifyFails(t *testing.T) {
	v, _ := verification(t, spec.VerifyQuick)
	for name, tc := range map[string]struct {
		script string
		says   string
	}{
		"does not run":  {"#!/nonexistent/interpreter\n", "no such file"},
		"crashes":       {"#!/bin/sh\necho 'fatal: wrong \033[31mlibc' >&2\nexit 3\n", "exit code 3 instead of 0: fatal: wrong ?[31mlibc"},
		"is killed":     {"#!/bin/sh\nkill -9 $$\n", "signal: killed"},
		"says nonsense": {"#!/bin/sh\necho hello\n", `go version says "hello"`},
	} {
		goroot := filepath.Join(v.Store.Root, "broken")
		writeFile(t, filepath.Join(goroot, "bin/go"), tc.script)
		err := v.Verify(t.Context(), goroot)
		if kindOf(err) != wire.KindVerify || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: %v (kind %s), want %q", name, err, kindOf(err), tc.says)
		}
	}
}

func TestVerifyCommands(t *testing.T) {
	v, goroot := verification(t, spec.VerifyQuick)
	counter := filepath.Join(t.TempDir(), "count")
	v.Lookup = func(_ context.Context, name string) (*account.Credential, error) {
		if name == "nobody" {
			return nobody, nil
		}
		return nil, account.ErrNotFound
	}
	sh := func(script string) []string { return []string{"sh", "-c", script} }
	for name, tc := range map[string]struct {
		c    spec.Command
		says string // of the error; "" for none
		root bool
	}{
		"good":        {c: spec.Command{Command: sh(`test "$(command -v go)" = ` + goroot + `/bin/go`)}},
		"other rc":    {c: spec.Command{Command: sh("exit 7"), RC: 7}},
		"wrong rc":    {c: spec.Command{Command: sh("echo why; exit 1"), RC: 7}, says: "exit code 1 instead of 7: why"},
		"no program":  {c: spec.Command{Command: []string{"no-such-program"}}, says: "no-such-program is not on PATH"},
		"chdir":       {c: spec.Command{Command: sh(`test "$PWD" = /usr`), Chdir: "/usr"}},
		"retries":     {c: spec.Command{Command: sh("echo x >>" + counter + "; test $(wc -l <" + counter + ") = 3"), Retries: 2}},
		"in vain":     {c: spec.Command{Command: sh("exit 1"), Retries: 2}, says: "tried 3 times"},
		"timeout":     {c: spec.Command{Command: sh("sleep 600 & wait"), Timeout: 50 * time.Millisecond}, says: "took longer than 50ms"},
		"long output": {c: spec.Command{Command: sh("yes | head -c 1000000; echo the end; exit 1")}, says: "the end"},
		"as a user":   {c: spec.Command{Command: sh(`test "$(id -u):$(id -G):$HOME" = 65534:65534:/nonexistent`), User: "nobody", Chdir: "/"}, root: true},
		"own session": {c: spec.Command{Command: sh(`read -r pid name state parent group session rest </proc/$$/stat && test "$session" = $$`)}},
		"no user":     {c: spec.Command{Command: sh("true"), User: "who"}, says: "is not on this host"},
	} {
		t.Run(name, func(t *testing.T) {
			if tc.root {
				asRoot(t)
			}
			if tc.c.Timeout == 0 {
				tc.c.Timeout = time.Minute
			}
			v.Want.Commands = []spec.Command{tc.c}
			err := v.Verify(t.Context(), goroot)
			switch {
			case tc.says == "" && err != nil:
				t.Error(err)
			case tc.says != "" && (kindOf(err) != wire.KindVerify || !strings.Contains(err.Error(), tc.says)):
				t.Errorf("error %v, want %q", err, tc.says)
			}
			if err != nil && len(err.Error()) > maxTail+1000 {
				t.Errorf("error has %d bytes", len(err.Error()))
			}
		})
	}
}

// What a command leaves running in its session ends when the command has.
func TestVerifyCommandLeavesNothingRunning(t *testing.T) {
	v, goroot := verification(t, spec.VerifyQuick)
	fifo := filepath.Join(t.TempDir(), "held")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := os.ReadFile(fifo) // ends with the last that holds it
		ended <- err
	}()
	v.Want.Commands = []spec.Command{{Command: []string{"sh", "-c", "exec 3>" + fifo + "; sleep 600 >/dev/null 2>&1 &"}, Timeout: time.Minute}}
	if err := v.Verify(t.Context(), goroot); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(30 * time.Second):
		t.Error("a program that the command started still runs")
	}
}

// TestVerifyIsStopped ends a verification whose program would run on.
func TestVerifyIsStopped(t *testing.T) {
	v, _ := verification(t, spec.VerifyQuick)
	goroot := filepath.Join(v.Store.Root, "slow")
	fifo := filepath.Join(v.Store.Root, "started")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(goroot, "bin/go"), "#!/bin/sh\necho started >"+fifo+"\nsleep 600\n")
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		os.ReadFile(fifo)
		cancel(errors.New("controller went away"))
	}()
	err := v.Verify(ctx, goroot)
	if kindOf(err) != wire.KindStopped || !strings.Contains(err.Error(), "controller went away") {
		t.Errorf("error %v", err)
	}
}
