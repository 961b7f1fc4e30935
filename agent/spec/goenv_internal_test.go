package spec

import (
	"encoding/json"
	"os/exec"
	"slices"
	"testing"
)

// TestGoEnvTableKnowsThisGo holds the tables to what the go command at hand
// lists and to what it lets go env -w set.
func TestGoEnvTableKnowsThisGo(t *testing.T) {
	out, err := exec.Command("go", "env", "-json").Output()
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]string{}
	if err := json.Unmarshal(out, &listed); err != nil {
		t.Fatal(err)
	}
	if len(listed) < 30 {
		t.Fatalf("go env lists only %d variables", len(listed))
	}
	for name := range listed {
		if name != "GOROOT" && !slices.Contains(goEnvNames, name) && !slices.Contains(goEnvRead, name) && !slices.Contains(goEnvProcess, name) {
			t.Errorf("go env lists %s, which the tables do not have", name)
		}
	}
	// go env -w checks all names before it writes anything, and GOENV=off keeps
	// it from writing.
	for _, name := range []string{"GOVERSION", "GODEBUG", "GOENV", "GOWORK"} {
		cmd := exec.Command("go", "env", "-w", name+"=x")
		cmd.Env = append(cmd.Environ(), "GOENV=off")
		if out, err := cmd.CombinedOutput(); err == nil || slices.Contains(goEnvNames, name) {
			t.Errorf("go env -w takes %s: %s", name, out)
		}
	}
	for _, name := range goEnvPaths {
		if !slices.Contains(goEnvNames, name) {
			t.Errorf("%s must be absolute and is not a name", name)
		}
	}
}
