package toolchain

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/gofleet/gofleet/agent/internal/account"
	"github.com/gofleet/gofleet/agent/spec"
	"github.com/gofleet/gofleet/agent/wire"
)

// Verification proves that a toolchain works on this host.
type Verification struct {
	Store    *Store
	Version  string // without "go"
	Platform spec.Platform
	Want     spec.Verify
	Cache    *spec.Cache // that As shares with others; nil: none
	// As is the deploy user, whom the toolchain must work for; nil: this
	// process's user.
	As *account.Credential
	// Lookup finds the users of gofleet_verify's commands.
	Lookup func(ctx context.Context, name string) (*account.Credential, error)
}

// How long each part may take on a slow, busy host.
const (
	quickTimeout = time.Minute
	buildTimeout = 15 * time.Minute
)

// Verify runs the checks of its level on the GOROOT dir, then the inventory's
// commands. Everything runs as the deploy user with an environment of its own,
// without a network, in a directory under gofleet_root that is gone
// afterwards: nothing needs /tmp or the user's home. Errors are of kind
// verify_failed and end with the output's tail.
func (v *Verification) Verify(ctx context.Context, dir string) error {
	return v.run(ctx, dir, v.checks())
}

// VerifyCommands runs only the inventory's commands, with the GOROOT dir, which
// has been verified before.
func (v *Verification) VerifyCommands(ctx context.Context, dir string) error {
	if len(v.Want.Commands) == 0 {
		return nil
	}
	return v.run(ctx, dir, []func(context.Context, *runner) error{v.commands})
}

func (v *Verification) run(ctx context.Context, dir string, checks []func(context.Context, *runner) error) error {
	r, err := v.newRunner(dir)
	if err != nil {
		return hostError(fmt.Errorf("verify %s: %w", dir, err))
	}
	defer r.close()
	for _, check := range checks {
		if err := check(ctx, r); err != nil {
			return v.failed(ctx, dir, err)
		}
	}
	return nil
}

func (v *Verification) failed(ctx context.Context, dir string, err error) error {
	var known *wire.Error
	switch {
	case ctx.Err() != nil:
		return stopped(fmt.Errorf("verify %s: %w", dir, context.Cause(ctx)))
	case errors.As(err, &known):
		return fmt.Errorf("verify %s: %w", dir, err)
	}
	return wire.NewError(wire.KindVerify, fmt.Errorf("verify %s: %w", dir, err),
		"the toolchain that was in use before still is")
}

func (v *Verification) checks() []func(context.Context, *runner) error {
	checks := []func(context.Context, *runner) error{v.version, v.env, v.compile}
	switch v.Want.Level {
	case spec.VerifyBuild:
		checks = append(checks, v.build)
	case spec.VerifyCgo:
		checks = append(checks, v.build, v.cgo)
	}
	return append(checks, v.caches, v.commands)
}

// version: the go command runs and is the one that was asked for.
func (v *Verification) version(ctx context.Context, r *runner) error {
	out, err := r.goCommand(ctx, quickTimeout, "version")
	if err != nil {
		return err
	}
	want := fmt.Sprintf("go version go%s %s/%s", v.Version, v.Platform.OS, v.Platform.GOARCH())
	if got := strings.TrimSpace(out); got != want {
		return fmt.Errorf("go version says %q, not %q", printable(got, 200), want)
	}
	return nil
}

// env: the go command finds its own GOROOT.
func (v *Verification) env(ctx context.Context, r *runner) error {
	real, err := filepath.EvalSymlinks(r.goroot)
	if err != nil {
		return err
	}
	names := []string{"GOROOT", "GOHOSTOS", "GOHOSTARCH"}
	want := []string{real, v.Platform.OS, v.Platform.GOARCH()}
	if v.after(17) { // before, there was no GOVERSION
		names, want = append(names, "GOVERSION"), append(want, "go"+v.Version)
	}
	out, err := r.goCommand(ctx, quickTimeout, append([]string{"env"}, names...)...)
	if err != nil {
		return err
	}
	got := strings.Split(strings.TrimSuffix(out, "\n"), "\n")
	if len(got) != len(want) {
		return fmt.Errorf("go env gives %d lines for %d names: %q", len(got), len(want), printable(out, 200))
	}
	for i := range want {
		if got[i] != want[i] {
			return fmt.Errorf("go env %s is %q, not %q", names[i], printable(got[i], 200), want[i])
		}
	}
	return nil
}

// after reports whether the version is 1.<minor> or later.
func (v *Verification) after(minor int) bool {
	major, rest, _ := strings.Cut(v.Version, ".")
	digits := rest[:len(rest)-len(strings.TrimLeft(rest, "0123456789"))]
	n, err := strconv.Atoi(digits)
	return err == nil && (major != "1" || n >= minor)
}

const sourceWithoutImports = `package probe

func Sum(numbers []int) (n int) {
	for _, x := range numbers {
		n += x
	}
	return n
}
`

// compile: the compiler runs. Without an import it needs no standard library,
// which no release ships compiled.
func (v *Verification) compile(ctx context.Context, r *runner) error {
	if err := r.write("probe.go", sourceWithoutImports); err != nil {
		return err
	}
	if _, err := r.goCommand(ctx, quickTimeout, "tool", "compile", "-p", "probe", "-o", "probe.o", "probe.go"); err != nil {
		return err
	}
	if st, err := os.Stat(filepath.Join(r.work, "probe.o")); err != nil || st.Size() == 0 {
		return errors.New("go tool compile wrote no object file")
	}
	return nil
}

const sourceHello = `package main

import "fmt"

func main() { fmt.Println("hello from", "gofleet") }
`

// build: a program is built, standard library and all, and runs.
func (v *Verification) build(ctx context.Context, r *runner) error {
	return r.buildAndRun(ctx, "hello", sourceHello, "hello from gofleet")
}

func (r *runner) buildAndRun(ctx context.Context, name, source, says string, env ...string) error {
	if err := r.write(name+".go", source); err != nil {
		return err
	}
	cmd := r.toolCommand("build", "-o", name, name+".go")
	cmd.env, cmd.timeout = append(cmd.env, env...), buildTimeout
	if _, err := r.run(ctx, cmd); err != nil {
		return err
	}
	return r.says(ctx, name, says)
}

// says runs a program that was built.
func (r *runner) says(ctx context.Context, name, says string) error {
	out, err := r.run(ctx, r.bare(quickTimeout, filepath.Join(r.work, name)))
	if err != nil {
		return err
	}
	if got := strings.TrimSpace(out); got != says {
		return fmt.Errorf("the program that was built says %q, not %q", printable(got, 200), says)
	}
	return nil
}

// commands: those of gofleet_verify, each in the environment of its user.
func (v *Verification) commands(ctx context.Context, r *runner) error {
	for _, c := range v.Want.Commands {
		as := v.As
		if c.User != "" {
			var err error
			if as, err = v.Lookup(ctx, c.User); err != nil {
				return fmt.Errorf("command %s: %w", strings.Join(c.Command, " "), err)
			}
		}
		if err := r.try(ctx, c, as); err != nil {
			return err
		}
	}
	return nil
}
