package toolchain

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
)

const sourceCgo = `package main

/*
#include <stdlib.h>
static int twice(int n) { return abs(n) * 2; }
*/
import "C"

import "fmt"

func main() { fmt.Println("cgo says", C.twice(-21)) }
`

// cgo: the C toolchain is whole, and a program with cgo is built and runs. Go
// turns cgo off silently where it finds no compiler, so that one is looked for
// first, part by part.
func (v *Verification) cgo(ctx context.Context, r *runner) error {
	out, err := r.goCommand(ctx, quickTimeout, "env", "CC")
	if err != nil {
		return err
	}
	cc := strings.Fields(out)
	if len(cc) == 0 {
		cc = []string{"gcc"}
	}
	if err := r.probeCompiler(ctx, v, cc); err != nil {
		return fmt.Errorf("cgo: %w", err)
	}
	return v.buildAndRun(ctx, r, "withcgo", sourceCgo, "cgo says 42", "CGO_ENABLED=1")
}

// probeCompiler names what is missing. gcc and clang echo the bare name of a
// program or file that they do not find.
func (r *runner) probeCompiler(ctx context.Context, v *Verification, cc []string) error {
	ask := func(arg string) (string, error) {
		out, err := r.run(ctx, command{argv: append(cc[:len(cc):len(cc)], arg), env: r.env(), dir: r.work, timeout: quickTimeout, as: v.As})
		return strings.TrimSpace(out), err
	}
	if _, err := ask("-dumpmachine"); err != nil {
		return fmt.Errorf("the C compiler %q does not run; install gcc: %w", cc[0], err)
	}
	for _, probe := range []struct{ option, name, pack string }{
		{"-print-prog-name=", "as", "binutils"},
		{"-print-prog-name=", "ld", "binutils"},
		{"-print-file-name=", "crt1.o", "the C library's development files (libc6-dev, glibc-devel)"},
		{"-print-file-name=", "libc.so", "the C library's development files (libc6-dev, glibc-devel)"},
	} {
		at, err := ask(probe.option + probe.name)
		if err != nil {
			return err
		}
		// as and ld may be found on PATH, for which gcc gives the bare name.
		if at == probe.name && r.lookPath(probe.name) == "" || at == "" {
			return fmt.Errorf("%s has no %s; install %s", cc[0], probe.name, probe.pack)
		}
	}
	return nil
}

// lookPath finds a program on the PATH that verification runs with.
func (r *runner) lookPath(name string) string {
	for _, dir := range filepath.SplitList(r.path()) {
		if path := filepath.Join(dir, name); isExecutable(path) {
			return path
		}
	}
	return ""
}
