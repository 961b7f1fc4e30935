//go:build linux

package e2e

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/gofleet/gofleet/controller/internal/lab"
)

// The two releases that scripts install, real ones.
const (
	oldGo = "1.26.7"
	newGo = "1.26.8"
)

func TestMain(m *testing.M) {
	lab.Main()
	flag.Parse()
	os.Exit(func() int {
		if os.Geteuid() != 0 || testing.Short() {
			return m.Run() // every test says why it is skipped
		}
		// Two scripts wait for a minute, the others work meanwhile.
		if err := flag.Set("test.parallel", strconv.Itoa(runtime.GOMAXPROCS(0)+1)); err != nil {
			fmt.Fprintln(os.Stderr, "e2e:", err)
			return 1
		}
		dir, err := os.MkdirTemp("", "gofleet-e2e-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		if built, err = build(dir); err != nil {
			fmt.Fprintln(os.Stderr, "e2e:", err)
			return 1
		}
		return m.Run()
	}())
}

// programs are what TestMain builds, for all tests.
type programs struct {
	repo    string // the repository
	dir     string // gone with the process
	bin     string // has gofleet
	agents  string // has gofleet-agent-linux-<arch>
	archive string // has the real archives
	goproxy string // as this machine has it

	mu   sync.Mutex
	fake map[string][]byte // fakego by architecture
}

var built *programs // set once, before any test runs

// needHosts skips where there can be no hosts.
func needHosts(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("starts hosts: not with -short")
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root: hosts are namespaces and mounts")
	}
}

// agentPlatforms are those that the gofleet under test carries: this machine's
// own, another that the same kernel runs, and one that it does not.
var agentPlatforms = map[string][]string{
	"amd64": {"amd64", "386", "arm64"},
	"arm64": {"arm64", "armv6l", "amd64"},
}

// build builds gofleet from the sources as they are, with agents of the same
// sources inside, whatever lies in the repository's own place for them.
func build(dir string) (*programs, error) {
	repo, err := filepath.Abs("../..")
	if err != nil {
		return nil, err
	}
	p := &programs{
		repo: repo, dir: dir, bin: filepath.Join(dir, "bin"), agents: filepath.Join(dir, "agents"), fake: map[string][]byte{},
	}
	embed := filepath.Join(dir, "embed")
	for _, d := range []string{p.bin, p.agents, embed} {
		if err := os.Mkdir(d, 0o755); err != nil {
			return nil, err
		}
	}
	platforms := agentPlatforms[runtime.GOARCH]
	if platforms == nil {
		return nil, fmt.Errorf("no agents are known to test with on %s", runtime.GOARCH)
	}
	overlay := map[string]map[string]string{"Replace": {}}
	replace := func(name string) {
		overlay["Replace"][filepath.Join(repo, "controller/internal/agents/bin", name)] = filepath.Join(embed, name)
	}
	replace("index")
	for _, arch := range platforms {
		name := "gofleet-agent-linux-" + arch
		env := []string{"CGO_ENABLED=0", "GOOS=linux", "GOARCH=" + arch}
		if arch == "armv6l" {
			env = []string{"CGO_ENABLED=0", "GOOS=linux", "GOARCH=arm", "GOARM=6"}
		}
		if err := p.goCommand(env, "build", "-trimpath", "-ldflags=-s -w -buildid=", "-o", filepath.Join(p.agents, name), "./agent/cmd/gofleet-agent"); err != nil {
			return nil, err
		}
		replace(name + ".gz")
	}
	if err := p.goCommand(nil, "run", "./controller/internal/agents/pack", "-o", embed, p.agents); err != nil {
		return nil, err
	}
	b, err := json.Marshal(overlay)
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(file, b, 0o644); err != nil {
		return nil, err
	}
	if err := p.goCommand(nil, "build", "-overlay", file, "-o", filepath.Join(p.bin, "gofleet"), "./controller/cmd/gofleet"); err != nil {
		return nil, err
	}
	out, err := exec.Command("go", "env", "GOPROXY").Output()
	if err != nil {
		return nil, fmt.Errorf("go env GOPROXY: %w", err)
	}
	p.goproxy = strings.TrimSpace(string(out))
	return p, p.fetch()
}

// goCommand runs go in the repository.
func (p *programs) goCommand(env []string, args ...string) error {
	cmd := exec.Command("go", args...)
	cmd.Dir, cmd.Env = p.repo, append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go %s: %w\n%s", args[0], err, out)
	}
	return nil
}

// fetch gets the real archives through the module proxy, with gofleet itself,
// unless an earlier test run has left them in GOFLEET_TEST_CACHE or else the
// user's cache directory.
func (p *programs) fetch() error {
	p.archive = os.Getenv("GOFLEET_TEST_CACHE")
	if p.archive == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return err
		}
		p.archive = filepath.Join(cache, "gofleet-test")
	}
	if err := os.MkdirAll(p.archive, 0o755); err != nil {
		return err
	}
	for _, version := range []string{oldGo, newGo} {
		cmd := exec.Command(filepath.Join(p.bin, "gofleet"), "fetch", version, "--from", "proxy",
			"--platform", "linux/"+runtime.GOARCH, "--to", p.archive)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("fetch go%s: %w\n%s", version, err, out)
		}
	}
	return nil
}

// fakego is the program fakego for an architecture, built at most once.
func (p *programs) fakego(goarch string) ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if b := p.fake[goarch]; b != nil {
		return b, nil
	}
	out := filepath.Join(p.dir, "fakego-"+goarch)
	err := p.goCommand([]string{"CGO_ENABLED=0", "GOARCH=" + goarch}, "build", "-trimpath", "-ldflags=-s -w", "-o", out, "./controller/e2e/testdata/fakego")
	if err != nil {
		return nil, err
	}
	b, err := os.ReadFile(out)
	if err == nil && len(b) == 0 {
		err = errors.New("fakego is empty")
	}
	p.fake[goarch] = b
	return b, err
}
