//go:build linux

package ansible

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/gofleet/gofleet/controller/internal/lab"
)

// world is a test's hosts, its archives and one version of ansible-core.
type world struct {
	*testing.T
	lab      *lab.Lab
	dir      string
	archives string
	pins     map[string]string // by version
	venv     string
	env      []string
	inside   []string // a command that runs programs of ansible-core
}

// eachAnsible runs a test with every version of ansible-core that is there,
// on fresh hosts each time.
func eachAnsible(t *testing.T, hosts []lab.HostConfig, test func(w *world)) {
	t.Helper()
	needHosts(t)
	t.Parallel() // playbooks wait a lot
	for _, venv := range built.ansible {
		t.Run(filepath.Base(venv), func(t *testing.T) {
			t.Parallel()
			test(newWorld(t, venv, hosts))
		})
	}
}

// someAnsible is eachAnsible for what hardly depends on ansible-core: in the
// short form of the tests the newest version alone runs it.
func someAnsible(t *testing.T, hosts []lab.HostConfig, test func(w *world)) {
	t.Helper()
	needHosts(t)
	t.Parallel()
	for _, venv := range built.ansible {
		if built.matrix || len(built.ansible) == 1 || filepath.Base(venv) == "newest" {
			t.Run(filepath.Base(venv), func(t *testing.T) {
				t.Parallel()
				test(newWorld(t, venv, hosts))
			})
		}
	}
}

func needHosts(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("starts hosts: not with -short")
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root: hosts are namespaces and mounts")
	}
}

func newWorld(t *testing.T, venv string, hosts []lab.HostConfig) *world {
	t.Helper()
	w := &world{T: t, dir: t.TempDir(), pins: map[string]string{}, venv: venv}
	l, err := lab.Up(t.Context(), lab.Config{
		Name: "ansible", CacheDir: filepath.Join(repository, ".cache/images"), Dir: filepath.Join(built.dir, "labs", fmt.Sprint(rand.Uint32())), Ephemeral: true, Hosts: hosts,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Down(context.Background()); err != nil {
			t.Error(err)
		}
	})
	w.lab, w.archives = l, filepath.Join(w.dir, "archives")
	for _, version := range []string{"1.26.7", "1.26.8"} {
		w.archive(version, nil)
	}
	w.env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + filepath.Join(built.dir, "home"), "LC_ALL=C.UTF-8",
		"ANSIBLE_COLLECTIONS_PATH=" + built.collections,
		// Hosts share the machine with whatever else it tests.
		"ANSIBLE_TIMEOUT=120",
		"ANSIBLE_NOCOLOR=1", "ANSIBLE_LOCALHOST_WARNING=0", "ANSIBLE_RETRY_FILES_ENABLED=0",
		"ANSIBLE_CALLBACK_PLUGINS=" + must(filepath.Abs("testdata/callback")), "ANSIBLE_CALLBACKS_ENABLED=record",
		"ANSIBLE_SSH_CONTROL_PATH_DIR=" + filepath.Join(w.dir, "cp"), "RECORD=" + filepath.Join(w.dir, "record"),
	}
	return w
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// archive makes the archive of a Go that is none, with more in one file.
func (w *world) archive(version string, more []byte) {
	w.Helper()
	stub := built.fakego[:64]
	tools := "go/pkg/tool/linux_" + runtime.GOARCH + "/"
	var b bytes.Buffer
	gz := gzip.NewWriter(&b)
	t := tar.NewWriter(gz)
	for _, e := range []struct {
		name string
		mode int64
		body []byte
	}{
		{"go/VERSION", 0o644, []byte("go" + version + "\n")},
		{"go/bin/go", 0o755, built.fakego},
		{"go/bin/gofmt", 0o755, stub},
		{"go/go.env", 0o644, []byte("GOTOOLCHAIN=auto\n")},
		{tools + "compile", 0o755, stub}, {tools + "link", 0o755, stub}, {tools + "asm", 0o755, stub},
		{"go/src/runtime/proc.go", 0o644, []byte("package runtime\n")},
		{"go/src/cmd/more.txt", 0o644, more},
	} {
		err := t.WriteHeader(&tar.Header{Name: e.name, Mode: e.mode, Size: int64(len(e.body)), Typeflag: tar.TypeReg})
		if err == nil {
			_, err = t.Write(e.body)
		}
		if err != nil {
			w.Fatal(err)
		}
	}
	if err := errors.Join(t.Close(), gz.Close(), os.MkdirAll(w.archives, 0o755)); err != nil {
		w.Fatal(err)
	}
	w.write(filepath.Join("archives", "go"+version+".linux-"+runtime.GOARCH+".tar.gz"), b.String())
	w.pins[version] = fmt.Sprintf("%x", sha256.Sum256(b.Bytes()))
}

// write makes a file in the test's directory and gives its path.
func (w *world) write(name, content string) string {
	w.Helper()
	path := filepath.Join(w.dir, name)
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		w.Fatal(err)
	}
	return path
}

// vars are the variables that install a version.
func (w *world) vars(version string) map[string]any {
	return map[string]any{
		"gofleet_go_version": version, "gofleet_archives": w.archives,
		"gofleet_sha256": map[string]string{"linux-" + runtime.GOARCH: w.pins[version]},
	}
}

// event is one result that the callback has written.
type event struct {
	Outcome string `json:"outcome"` // ok, failed, unreachable, skipped
	Host    string `json:"host"`
	Task    string `json:"task"`
	Result  result `json:"result"`
}

// result is what the modules return.
type result struct {
	Changed  bool   `json:"changed"`
	Failed   bool   `json:"failed"`
	Msg      any    `json:"msg"`
	Kind     string `json:"kind"`
	Status   string `json:"status"`
	Go       struct{ Before, After string }
	Actions  []string
	Drift    []string
	Unmet    []string
	Errors   []string
	Checks   []struct{ Name, Status string }
	Warnings []string
	Met      bool
	Would    bool `json:"would_change"`
}

func (r result) text() string { return fmt.Sprint(r.Msg) }

// playbook runs one with extra variables and further arguments, and gives the
// results by "host task" in order, and the output.
func (w *world) playbook(file string, vars map[string]any, args ...string) ([]event, string) {
	w.Helper()
	return w.ansible("ansible-playbook", vars, append(args, file)...)
}

func (w *world) ansible(program string, vars map[string]any, args ...string) ([]event, string) {
	w.Helper()
	record := filepath.Join(w.dir, "record")
	os.Remove(record)
	args = append([]string{"-i", w.lab.InventoryFile()}, args...)
	if vars != nil {
		b, err := json.Marshal(vars)
		if err != nil {
			w.Fatal(err)
		}
		args = append(args, "-e", string(b))
	}
	out, err := w.command(program, args...)
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		w.Fatal(err)
	}
	var events []event
	b, _ := os.ReadFile(record)
	for line := range strings.Lines(string(b)) {
		var e event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			w.Fatalf("%v in %s", err, line)
		}
		e.Result.Failed = e.Result.Failed || e.Outcome == "failed"
		events = append(events, e)
	}
	said := strings.ReplaceAll(string(out), "[DEPRECATION WARNING]: The paramiko connection plugin is deprecated", "") // since 2.19; gone in 2.21
	if strings.Contains(said, "Traceback") || strings.Contains(said, "DEPRECATION") {
		w.Errorf("%s is not happy:\n%s", program, out)
	}
	return events, string(out)
}

// command runs a program of ansible-core.
func (w *world) command(program string, args ...string) ([]byte, error) {
	words := append(append(slices.Clone(w.inside), filepath.Join(w.venv, "bin", program)), args...)
	cmd := exec.CommandContext(w.Context(), words[0], words[1:]...)
	cmd.Dir, cmd.Env = w.dir, w.env
	return cmd.CombinedOutput()
}

// play writes a playbook with one task, whose options are given, and keywords.
func (w *world) play(module string, options, keywords map[string]any) string {
	task := map[string]any{"name": "it", module: options}
	maps.Copy(task, keywords)
	if _, ok := keywords["become"]; !ok {
		task["become"] = true
	}
	return w.plays([]any{task}, nil)
}

// plays writes a playbook with tasks.
func (w *world) plays(tasks []any, keywords map[string]any) string {
	w.Helper()
	play := map[string]any{"hosts": "all", "gather_facts": false, "tasks": tasks}
	maps.Copy(play, keywords)
	b, err := json.Marshal([]any{play})
	if err != nil {
		w.Fatal(err)
	}
	return w.write("play.yml", string(b))
}

// options are those that install a version.
func (w *world) options(version string) map[string]any {
	out := map[string]any{}
	for k, v := range w.vars(version) {
		out[strings.TrimPrefix(k, "gofleet_")] = v
	}
	return out
}

// one gives the only result of a run.
func (w *world) one(events []event, out string) result {
	w.Helper()
	if len(events) != 1 {
		w.Fatalf("%d results, want one:\n%s", len(events), out)
	}
	if e := events[0]; e.Outcome == "unreachable" {
		w.Fatalf("unreachable:\n%s", out)
	}
	return events[0].Result
}

// install runs the module with options and wants it to have changed or not.
func (w *world) install(options, keywords map[string]any, changed bool, args ...string) result {
	w.Helper()
	events, out := w.playbook(w.play("gofleet.golang.toolchain", options, keywords), nil, args...)
	r := w.one(events, out)
	if r.Failed || r.Changed != changed {
		w.Fatalf("changed=%v, want %v: %s\n%s", r.Changed, changed, r.text(), out)
	}
	return r
}

// refused runs the module and wants it to fail with the words in its message.
func (w *world) refused(options, keywords map[string]any, words string, args ...string) result {
	w.Helper()
	events, out := w.playbook(w.play("gofleet.golang.toolchain", options, keywords), nil, args...)
	r := w.one(events, out)
	if !r.Failed || !strings.Contains(r.text(), words) {
		w.Fatalf("want a failure with %q:\n%s", words, out)
	}
	return r
}

// exec runs a command as root inside a host.
func (w *world) exec(host string, argv ...string) string {
	w.Helper()
	out, err := w.lab.Host(host).Exec(w.Context(), argv...)
	if err != nil {
		w.Fatalf("%s: %q: %v\n%s", host, argv, err, out)
	}
	return strings.TrimSpace(string(out))
}

// left is every file that gofleet or Ansible may have left on a host, those
// that the installation consists of apart. It looks only where a host has
// directories of its own: elsewhere what this machine makes meanwhile, such as
// another test's files in /var/lib, shows through.
func (w *world) left(host string) string {
	w.Helper()
	return w.exec(host, "sh", "-c", `find /etc/profile.d /etc/sudoers.d /home /root /run /srv /tmp /opt /usr/local /var/tmp -xdev `+
		`\( -iname "*gofleet*" -o -iname "ansible-tmp*" -o -path "/usr/local/go*" -o -path "*/.staging/*" \) -print 2>/dev/null; true`)
}

// goVersion asks the go that a login shell finds.
func (w *world) goVersion(host string) string {
	w.Helper()
	return w.exec(host, "sh", "-lc", "go version")
}

// gofleet runs gofleet on the same inventory.
func (w *world) gofleet(command string, vars map[string]any, args ...string) string {
	w.Helper()
	b, err := json.Marshal(vars)
	if err != nil {
		w.Fatal(err)
	}
	args = append([]string{command, "-b", "-i", w.lab.InventoryFile(), "-e", string(b), "-o", "json"}, args...)
	cmd := exec.CommandContext(w.Context(), built.gofleet, args...)
	cmd.Env = w.env
	out, err := cmd.Output()
	if err != nil {
		w.Fatalf("gofleet %s: %v\n%s", command, err, out)
	}
	var report struct {
		Hosts []struct{ Host, Status string }
	}
	if err := json.Unmarshal(out, &report); err != nil {
		w.Fatal(err)
	}
	var b2 strings.Builder
	for _, h := range report.Hosts {
		fmt.Fprintf(&b2, "%s=%s ", h.Host, h.Status)
	}
	return strings.TrimSpace(b2.String())
}
