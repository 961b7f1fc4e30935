package toolchain

import (
	"context"
	"fmt"
	"strings"

	"github.com/gofleet/gofleet/agent/internal/hostcmd"
	"github.com/gofleet/gofleet/agent/spec"
	"github.com/gofleet/gofleet/agent/wire"
)

// Programs that prove a C toolchain. None imports more of Go's standard library
// than it needs: none of it is compiled.
const (
	sourceC = `#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
int main(void) { printf("C says %d\n", abs(-42)); return 0; }
`
	sourceCXX = `#include <cstdio>
#include <string>
int main() { std::string s("42"); std::printf("C++ says %s\n", s.c_str()); return 0; }
`
	sourceCgo = `package main

/*
#include <stdio.h>
#include <stdlib.h>
static int twice(int n) { return abs(n) * 2; }
static void say(int n) { printf("cgo says %d\n", n); fflush(stdout); }
*/
import "C"

func main() { C.say(C.twice(-21)) }
`
)

// cgo: the C toolchain is whole, and a program with cgo is built and runs. Go
// turns cgo off silently where it finds no compiler, so that one is looked for
// first, part by part.
func (v *Verification) cgo(ctx context.Context, r *runner) error {
	out, err := r.goCommand(ctx, quickTimeout, "env", "CC")
	if err != nil {
		return err
	}
	var wrong []string
	for _, p := range r.chain(ctx, &spec.Cgo{}, map[string]string{"CC": strings.TrimSpace(out)}) {
		if p.Found == "" || p.Problem != "" {
			wrong = append(wrong, strings.TrimSpace(p.Name+" "+p.Problem))
		}
	}
	if len(wrong) > 0 {
		return fmt.Errorf("cgo: the C toolchain is not whole: %s; with gofleet_preconditions.cgo an audit tells what brings it", strings.Join(wrong, ", "))
	}
	return r.buildCgo(ctx)
}

func (r *runner) buildCgo(ctx context.Context) error {
	return r.buildAndRun(ctx, "withcgo", sourceCgo, "cgo says 42", "CGO_ENABLED=1")
}

// LookForCgo looks at the parts of the C toolchain that want asks for, as the
// deploy user and with the compilers that env (gofleet_env) names. If all are
// there, the part "program" says which programs were built and run: in C and
// C++, and with cgo if dir is a GOROOT. They are made below the directory
// parent, in one that is gone afterwards. What goes wrong is a part's problem.
func (v *Verification) LookForCgo(ctx context.Context, parent, dir string, want *spec.Cgo, env map[string]string) []wire.CgoPart {
	r, err := v.newRunnerIn(parent, dir)
	if err != nil {
		return []wire.CgoPart{found("program", "", err)}
	}
	defer r.close()
	parts := r.chain(ctx, want, env)
	for _, p := range parts {
		if p.Found == "" || p.Problem != "" {
			return parts
		}
	}
	return append(parts, r.prove(ctx, v.Version, want, env))
}

// prove builds and runs one program of each kind.
func (r *runner) prove(ctx context.Context, version string, want *spec.Cgo, env map[string]string) wire.CgoPart {
	p := wire.CgoPart{Name: "program", Found: "C"}
	err := r.buildC(ctx, compilerOf(env, "CC", "gcc"), "c.c", sourceC, "C says 42")
	if err == nil && want.CXX {
		p.Found += " and C++"
		err = r.buildC(ctx, compilerOf(env, "CXX", "g++"), "cxx.cc", sourceCXX, "C++ says 42")
	}
	switch {
	case err == nil && r.goroot != "":
		p.Found += " and cgo with go" + version
		err = r.buildCgo(ctx)
	case err == nil:
		p.Found += "; cgo is proved once Go is installed"
	}
	if err != nil {
		p.Problem = hostcmd.Printable(err.Error(), 300)
	}
	return p
}

// buildC builds a program as cgo's linker would, and runs it.
func (r *runner) buildC(ctx context.Context, compiler []string, name, source, says string) error {
	if err := r.write(name, source); err != nil {
		return err
	}
	argv := append(compiler[:len(compiler):len(compiler)], "-O1", "-pthread", "-o", name+".out", name)
	if _, err := r.run(ctx, r.bare(quickTimeout, argv...)); err != nil {
		return err
	}
	return r.says(ctx, name+".out", says)
}

// compilerOf is a compiler with the arguments that gofleet_env gives it.
func compilerOf(env map[string]string, name, usual string) []string {
	if words := strings.Fields(env[name]); len(words) > 0 {
		return words
	}
	return []string{usual}
}
