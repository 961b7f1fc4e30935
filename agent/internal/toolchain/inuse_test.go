package toolchain

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gofleet/gofleet/agent/wire"
)

// started starts a command that says a line when it is ready, and ends it with
// the test.
func started(t *testing.T, cmd *exec.Cmd) *exec.Cmd {
	t.Helper()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		cmd.Wait()
	})
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	return cmd
}

func TestToolchainInUseIsNotRemoved(t *testing.T) {
	const wait = "echo ready; read line"
	for name, use := range map[string]func(t *testing.T, dir string) (cmd *exec.Cmd, program string){
		"its program": func(t *testing.T, dir string) (*exec.Cmd, string) {
			b, err := os.ReadFile("/bin/sh")
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(dir, "bin/gopls")
			writeFile(t, path, string(b))
			return started(t, exec.Command(path, "-c", wait)), "gopls"
		},
		"working directory": func(t *testing.T, dir string) (*exec.Cmd, string) {
			cmd := exec.Command("/bin/sh", "-c", wait)
			cmd.Dir = filepath.Join(dir, "src")
			return started(t, cmd), shell(t)
		},
		"open file": func(t *testing.T, dir string) (*exec.Cmd, string) {
			return started(t, exec.Command("/bin/sh", "-c", "exec 5<"+filepath.Join(dir, "VERSION")+"; "+wait)), shell(t)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStore(t)
			prepared("1.1", "1.2")(t, s)
			cmd, program := use(t, s.Dir("1.1"))
			st, err := s.Inspect(t.Context(), "", false)
			if err != nil {
				t.Fatal(err)
			}
			says := fmt.Sprintf("%s is in use by process %d (%s)", s.Dir("1.1"), cmd.Process.Pid, program)
			_, err = s.PlanRemove(st, "1.1")
			if kindOf(err) != wire.KindInUse || err.Error() != says {
				t.Errorf("remove says %v, want %s", err, says)
			}
			if st, err = s.Inspect(t.Context(), "1.3", false); err != nil {
				t.Fatal(err)
			}
			// 1.2 is what a rollback goes to; 1.1 would be pruned.
			steps, warnings := s.PlanPrune(st, "1.3", 0)
			if len(steps) > 0 || len(warnings) != 1 || !strings.Contains(warnings[0], fmt.Sprintf("process %d (%s)", cmd.Process.Pid, program)) {
				t.Errorf("prune: %d steps, warnings %q", len(steps), warnings)
			}
		})
	}
}

// A mapping outlives the descriptor that it was made of.
func TestMappedFileIsInUse(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "lib"), "content")
	f, err := os.Open(filepath.Join(dir, "lib"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := unix.Mmap(int(f.Fd()), 0, 7, unix.PROT_READ, unix.MAP_PRIVATE)
	f.Close()
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(b)
	if !uses("/proc/self", dir) {
		t.Error("a mapped file is not in use")
	}
	if uses("/proc/self", dir+"/li") {
		t.Error("a directory whose name only begins so is in use")
	}
}

// shell is what /bin/sh really is.
func shell(t *testing.T) string {
	real, err := filepath.EvalSymlinks("/bin/sh")
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Base(real)
}

// TestNamesakeInUse: a container's toolchain has the path of the host's, and
// what runs there does not hold up the host.
func TestNamesakeInUse(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("mounts need root")
	}
	dir := t.TempDir()
	sh, err := os.ReadFile("/bin/sh")
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, "bin/go"), string(sh))
	cmd := started(t, exec.Command("unshare", "-m", "/bin/sh", "-c",
		`mount -t tmpfs none "$0" && mkdir "$0/bin" && cp /bin/sh "$0/bin/go" && exec "$0/bin/go" -c 'echo ready; read line'`, dir))
	exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", cmd.Process.Pid))
	if err != nil || exe != filepath.Join(dir, "bin/go") {
		t.Fatalf("the process runs %s, %v", exe, err)
	}
	if users := usersOf(dir); len(users) > 0 {
		t.Errorf("in use by %s, which has a directory of its own there", processes(users))
	}
}
