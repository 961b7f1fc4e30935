package inventory

import (
	"bufio"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// ansible runs the real tools. GOFLEET_ANSIBLE_INVENTORY names an ansible-inventory
// in a virtual environment; ansible and python stand beside it.
type ansible struct {
	dialect Dialect
	bin     string
	in      *json.Encoder
	out     *bufio.Reader
}

// startAnsible starts the real tool, or skips the test where none is named.
func startAnsible(t testing.TB) *ansible {
	tool := os.Getenv("GOFLEET_ANSIBLE_INVENTORY")
	if tool == "" {
		t.Skip("GOFLEET_ANSIBLE_INVENTORY names no ansible-inventory to compare with")
	}
	a := &ansible{bin: filepath.Dir(tool)}
	cmd := exec.Command(filepath.Join(a.bin, "python"), filepath.Join("testdata", "run_ansible.py"))
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		_ = cmd.Wait()
	})
	a.in, a.out = json.NewEncoder(stdin), bufio.NewReader(stdout)
	var hello struct{ Version string }
	a.read(t, &hello)
	minor := strings.SplitN(hello.Version, ".", 3)[1]
	if n, err := strconv.Atoi(minor); err != nil || n < 19 {
		a.dialect = Core214
	}
	return a
}

func (a *ansible) read(t testing.TB, v any) {
	t.Helper()
	line, err := a.out.ReadBytes('\n')
	if err == io.EOF {
		t.Fatal("the real ansible ended; its error is above")
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(line, v); err != nil {
		t.Fatal(err)
	}
}

// answer is what a tool printed.
type answer struct {
	RC             int
	Stdout, Stderr string
}

func (a *ansible) run(t testing.TB, dir string, tool string, args ...string) answer {
	t.Helper()
	req := map[string]any{"dir": dir, "tool": filepath.Join(a.bin, tool), "args": args}
	if err := a.in.Encode(req); err != nil {
		t.Fatal(err)
	}
	var out answer
	a.read(t, &out)
	return out
}
