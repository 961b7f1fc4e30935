package spec

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
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
	write := func(names ...string) error {
		cmd := exec.Command("go", append([]string{"env", "-w"}, names...)...)
		cmd.Env = append(cmd.Environ(), "GOENV="+filepath.Join(t.TempDir(), "env"))
		out, err := cmd.CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	}
	all := make([]string, len(goEnvNames))
	for i, name := range goEnvNames {
		all[i] = name + "=" + map[string]string{"GOOS": "linux", "GOARCH": "amd64"}[name]
	}
	if err := write(all...); err != nil {
		t.Errorf("go env -w refuses one of goEnvNames: %v", err)
	}
	for _, name := range slices.Concat(goEnvRead, goEnvProcess) {
		if write(name+"=x") == nil {
			t.Errorf("go env -w takes %s", name)
		}
	}
	for _, name := range goEnvPaths {
		if !slices.Contains(goEnvNames, name) {
			t.Errorf("%s must be absolute and is not a name", name)
		}
	}
}
