package toolchain

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// agentsIn is a cache below a closed directory of this user's.
func agentsIn(t *testing.T) (Agents, string) {
	t.Helper()
	asRoot(t)
	// Every directory above must be root's alone, which /tmp is not.
	top, err := os.MkdirTemp("/var/lib", "gofleet-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(top) })
	program := filepath.Join(t.TempDir(), "program")
	writeFile(t, program, "an agent")
	return Agents{Dir: filepath.Join(top, "lib/gofleet/agent"), self: program}, top
}

func TestAgentIsKeptOnce(t *testing.T) {
	a, _ := agentsIn(t)
	path, err := a.Keep(t.Context())
	if err != nil || path != filepath.Join(a.Dir, sum([]byte("an agent"))) {
		t.Fatalf("%q, %v", path, err)
	}
	first, err := os.Lstat(path)
	if err != nil || first.Mode() != 0o755 {
		t.Fatalf("%v, %v", first.Mode(), err)
	}
	if _, err := a.Keep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if again, err := os.Lstat(path); err != nil || !os.SameFile(first, again) || !again.ModTime().Equal(first.ModTime()) {
		t.Errorf("the kept agent was touched: %v", err)
	}
	// A cached agent that somebody altered is not believed.
	writeFile(t, path, "something else")
	if _, err := a.Keep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "an agent" {
		t.Errorf("altered agent: %q, %v", b, err)
	}
	old := time.Now().Add(-48 * time.Hour)
	if err := os.Chtimes(path, old, old); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Keep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if st, err := os.Lstat(path); err != nil || time.Since(st.ModTime()) > time.Hour {
		t.Errorf("use was not noted: %v", err)
	}
}

func TestAgentIsNotKeptWhereOthersCanWrite(t *testing.T) {
	for name, open := range map[string]func(dir string) error{
		"group":   func(dir string) error { return os.Chmod(dir, 0o2775) },
		"others":  func(dir string) error { return os.Chmod(dir, 0o1777) },
		"owner":   func(dir string) error { return os.Chown(dir, 12345, -1) },
		"link":    func(dir string) error { return errors.Join(os.Remove(dir), os.Symlink("/var/lib", dir)) },
		"no more": nil,
	} {
		t.Run(name, func(t *testing.T) {
			a, top := agentsIn(t)
			mustMkdir(t, filepath.Join(top, "lib"))
			if open != nil {
				if err := open(filepath.Join(top, "lib")); err != nil {
					t.Fatal(err)
				}
			}
			_, err := a.Keep(t.Context())
			var refused *UnsafeError
			if errors.As(err, &refused) != (open != nil) {
				t.Errorf("error %v", err)
			}
			if open != nil {
				if _, err := os.Lstat(a.Dir); !os.IsNotExist(err) {
					t.Errorf("something was made: %v", err)
				}
			}
		})
	}
}

func TestUnusedAgentsAreSwept(t *testing.T) {
	a, _ := agentsIn(t)
	path, err := a.Keep(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	foreign, cut := filepath.Join(a.Dir, "README"), filepath.Join(a.Dir, ".gofleet-123")
	writeFile(t, foreign, "")
	writeFile(t, cut, "half an agent")
	if err := a.Sweep(time.Now()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("a used agent was swept: %v", err)
	}
	if _, err := os.Lstat(cut); !os.IsNotExist(err) {
		t.Errorf("a cut copy stays: %v", err)
	}
	if err := a.Sweep(time.Now().Add(31 * 24 * time.Hour)); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("an unused agent stays: %v", err)
	}
	if _, err := os.Lstat(foreign); err != nil {
		t.Errorf("what is no agent was swept: %v", err)
	}
}
