//go:build linux

package ansible

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/gofleet/gofleet/controller/internal/lab"
)

// built is what TestMain makes for all tests.
var built struct {
	dir         string
	gofleet     string
	agents      string // programs
	collections string // a path for Ansible, with the collection as it is installed
	fakego      []byte
	ansible     []string // directories of virtual environments
	matrix      bool     // all of them run all tests
}

func TestMain(m *testing.M) {
	lab.Main()
	flag.Parse()
	os.Exit(func() int {
		if os.Geteuid() != 0 || testing.Short() {
			return m.Run() // every test with hosts says why it is skipped
		}
		dir, err := os.MkdirTemp("", "gofleet-ansible-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		built.dir = dir
		if err := build(); err != nil {
			fmt.Fprintln(os.Stderr, "ansible:", err)
			return 1
		}
		return m.Run()
	}())
}

func build() error {
	for _, d := range []string{"agents", "embed", "home"} {
		if err := os.Mkdir(filepath.Join(built.dir, d), 0o755); err != nil {
			return err
		}
	}
	if err := findAnsible(); err != nil {
		return err
	}
	built.agents = filepath.Join(built.dir, "agents")
	agent := filepath.Join(built.agents, "gofleet-agent-linux-"+runtime.GOARCH)
	if err := goCommand([]string{static}, "build", "-trimpath", "-ldflags=-s -w -buildid=", "-o", agent, "./agent/cmd/gofleet-agent"); err != nil {
		return err
	}
	embed := filepath.Join(built.dir, "embed")
	if err := goCommand(nil, "run", "./controller/internal/agents/pack", "-o", embed, built.agents); err != nil {
		return err
	}
	if err := buildGofleet(embed); err != nil {
		return err
	}
	fake := filepath.Join(built.dir, "fakego")
	if err := goCommand([]string{static}, "build", "-trimpath", "-ldflags=-s -w", "-o", fake, "./controller/e2e/testdata/fakego"); err != nil {
		return err
	}
	var err error
	if built.fakego, err = os.ReadFile(fake); err != nil {
		return err
	}
	return installCollection(embed)
}

// buildGofleet builds gofleet with the agents in embed instead of those in the
// repository.
func buildGofleet(embed string) error {
	repo, err := filepath.Abs(repository)
	if err != nil {
		return err
	}
	overlay := map[string]string{}
	for _, name := range []string{"index", "gofleet-agent-linux-" + runtime.GOARCH + ".gz"} {
		overlay[filepath.Join(repo, "controller/internal/agents/bin", name)] = filepath.Join(embed, name)
	}
	b, err := json.Marshal(map[string]any{"Replace": overlay})
	if err != nil {
		return err
	}
	file := filepath.Join(built.dir, "overlay.json")
	if err := os.WriteFile(file, b, 0o644); err != nil {
		return err
	}
	built.gofleet = filepath.Join(built.dir, "gofleet")
	return goCommand(nil, "build", "-overlay", file, "-o", built.gofleet, "./controller/cmd/gofleet")
}

// installCollection lays the collection out as ansible-galaxy installs it.
func installCollection(embed string) error {
	built.collections = filepath.Join(built.dir, "collections")
	home := filepath.Join(built.collections, "ansible_collections/gofleet/golang")
	if err := os.MkdirAll(home, 0o755); err != nil {
		return err
	}
	for _, part := range []string{"galaxy.yml", "meta", "plugins", "roles", "playbooks"} {
		if err := command("cp", "-a", filepath.Join(repository, part), home); err != nil {
			return err
		}
	}
	agents := filepath.Join(home, "plugins/plugin_utils/agents")
	if err := os.RemoveAll(agents); err != nil {
		return err
	}
	if err := command("cp", "-a", embed, agents); err != nil {
		return err
	}
	return command("cp", filepath.Join(repository, "controller/internal/release/go-releases.sha256"), agents)
}

// findAnsible finds the virtual environments that .ci/ansible has made: the
// oldest and the newest, or with GOFLEET_ANSIBLE_MATRIX=all every one.
func findAnsible() error {
	home := os.Getenv("GOFLEET_ANSIBLE")
	if home == "" {
		home = filepath.Join(repository, ".cache/ansible")
	}
	built.matrix = os.Getenv("GOFLEET_ANSIBLE_MATRIX") == "all"
	found, err := filepath.Glob(filepath.Join(home, "*/bin/ansible-playbook"))
	if err != nil {
		return err
	}
	if len(found) == 0 {
		return fmt.Errorf("no ansible-core in %s: run .ci/ansible", home)
	}
	for _, f := range found {
		name := filepath.Base(filepath.Dir(filepath.Dir(f)))
		if !built.matrix && name != "oldest" && name != "newest" {
			continue
		}
		dir, err := filepath.Abs(filepath.Dir(filepath.Dir(f)))
		if err != nil {
			return err
		}
		built.ansible = append(built.ansible, dir)
	}
	return nil
}

// static is what programs for hosts are built with. gofleet is not: so it shares
// what is compiled for it with the tests themselves.
const static = "CGO_ENABLED=0"

// goCommand runs go in the repository.
func goCommand(env []string, args ...string) error {
	cmd := exec.Command("go", args...)
	cmd.Dir, cmd.Env = repository, append(os.Environ(), env...)
	return runCommand(cmd)
}

func command(name string, args ...string) error { return runCommand(exec.Command(name, args...)) }

func runCommand(cmd *exec.Cmd) error {
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", cmd, err, out)
	}
	return nil
}
