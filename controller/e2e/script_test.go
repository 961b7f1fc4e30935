//go:build linux

package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/gofleet/gofleet/controller/internal/lab"
)

// TestScripts runs testdata/script. Each script starts the hosts that it
// wants and has them to itself.
func TestScripts(t *testing.T) {
	needHosts(t)
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("testdata", "script"),
		RequireUniqueNames:  true,
		RequireExplicitExec: true,
		Setup:               setup,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"lab":       cmdLab,
			"corp":      cmdCorp,
			"exits":     cmdExits,
			"start":     cmdStart,
			"interrupt": cmdInterrupt,
			"crash":     cmdCrash,
			"finish":    cmdFinish,
			"ssh":       cmdSSH,
			"root":      cmdRoot,
			"mark":      cmdMark,
			"untouched": cmdUntouched,
			"await":     cmdAwait,
			"put":       cmdPut,
			"host":      cmdHost,
			"result":    cmdResult,
			"actions":   cmdActions,
			"predicted": cmdPredicted,
			"drifted":   cmdDrifted,
			"check":     cmdCheck,
			"toolchain": cmdToolchain,
			"fakego":    cmdFakego,
			"undialled": cmdUndialled,
			"jsonl":     cmdJSONL,
			"received":  cmdReceived,
			"uplink":    cmdUplink,
			"archive":   cmdArchive,
			"expand":    cmdExpand,
			"image":     cmdImage,
		},
	})
}

// script is what the commands of one script share.
type script struct {
	ctx context.Context
	lab *lab.Lab
	// marks are the hosts' files as `mark` saw them.
	marks map[string]map[string]string
	logs  map[string][]byte // of the hosts' sshd, then
	// received counts the bytes that came to hosts.
	received   map[string]int64
	uplink     int64 // and that went to all of them
	background map[string]*started
	last       *document // the last -o json that was read
	raw        string    // its text
}

type scriptKey struct{}

func of(ts *testscript.TestScript) *script { return ts.Value(scriptKey{}).(*script) }

func setup(env *testscript.Env) error {
	s := &script{ctx: context.Background(), marks: map[string]map[string]string{}, logs: map[string][]byte{}, received: map[string]int64{}, background: map[string]*started{}}
	env.Values[scriptKey{}] = s
	home := filepath.Join(env.WorkDir, ".home")
	for _, dir := range []string{home, filepath.Join(home, ".ssh")} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			return err
		}
	}
	env.Setenv("HOME", home)
	env.Setenv("USER", "tester")
	env.Setenv("PATH", built.bin+":"+os.Getenv("PATH"))
	// What archives were verified, and their zstd forms: made once for all.
	env.Setenv("XDG_CACHE_HOME", filepath.Join(built.archive, "home"))
	env.Setenv("ARCHIVES", built.archive)
	env.Setenv("GOFLEET", filepath.Join(built.bin, "gofleet"))
	env.Setenv("ARCH", runtime.GOARCH)
	env.Setenv("OLD", oldGo)
	env.Setenv("NEW", newGo)
	env.Setenv("LIB", "/usr/local/lib/gofleet")
	env.Setenv("SSH_AUTH_SOCK", "")
	// The go command's, which depend on a HOME that scripts do not have.
	env.Setenv("GOPROXY", built.goproxy)
	env.Setenv("GOCACHE", filepath.Join(built.archive, "go-build"))
	return nil
}

// usage ends the script over a command that is not written as it has to be.
func usage(ts *testscript.TestScript, text string) { ts.Fatalf("usage: %s", text) }

// cmdExits runs a program that has to end with exactly this code:
// exits CODE PROGRAM [ARGUMENT...]
func cmdExits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		usage(ts, "exits CODE PROGRAM [ARGUMENT...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		got = exit.ExitCode()
	case err != nil:
		ts.Fatalf("%v", err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// run runs a program whose success or failure the script tells with !.
func run(ts *testscript.TestScript, neg bool, argv ...string) {
	err := ts.Exec(argv[0], argv[1:]...)
	switch {
	case err == nil && neg:
		ts.Fatalf("it succeeded, against expectation")
	case err != nil && !neg:
		ts.Fatalf("%v", err)
	}
}

// cmdExpand replaces $VARIABLES in files: expand FILE...
func cmdExpand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		usage(ts, "expand FILE...")
	}
	for _, name := range args {
		path := ts.MkAbs(name)
		b, err := os.ReadFile(path)
		ts.Check(err)
		var missing []string
		text := os.Expand(string(b), func(v string) string {
			if v == "$" { // $$ is a dollar sign
				return v
			}
			value := ts.Getenv(v)
			if value == "" {
				missing = append(missing, v)
			}
			return value
		})
		if len(missing) > 0 {
			ts.Fatalf("%s: not set: %s", name, strings.Join(missing, ", "))
		}
		ts.Check(os.WriteFile(path, []byte(text), 0o644))
	}
}

// must ends a test over an error.
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// lines joins what is to be shown one below the other.
func lines[T any](list []T) string {
	var b strings.Builder
	for _, one := range list {
		fmt.Fprintf(&b, "\n  %v", one)
	}
	return b.String()
}
