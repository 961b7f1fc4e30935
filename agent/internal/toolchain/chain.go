package toolchain

import (
	"context"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/gofleet/gofleet/agent/internal/hostcmd"
	"github.com/gofleet/gofleet/agent/spec"
	"github.com/gofleet/gofleet/agent/wire"
)

// chain looks at the parts of a C toolchain, in the order in which they are
// needed. What only a compiler that is there can tell is left out without one.
func (r *runner) chain(ctx context.Context, want *spec.Cgo, env map[string]string) []wire.CgoPart {
	c := compiler{r: r, argv: compilerOf(env, "CC", "gcc")}
	parts := c.look(ctx, "gcc", "cc1")
	if !c.clang { // which assembles by itself
		parts = append(parts, c.program(ctx, "as"))
	}
	parts = append(parts, c.program(ctx, "ld"), c.headers(ctx), c.file(ctx, "crt1.o", "crt1.o"), c.file(ctx, "libc", "libc.so"))
	if c.runs {
		target, err := c.ask(ctx, "-dumpmachine")
		parts = append(parts, found("target", target, err))
	}
	if want.CXX {
		cxx := compiler{r: r, argv: compilerOf(env, "CXX", "g++")}
		parts = append(parts, cxx.look(ctx, "g++", "cc1plus")...)
		if cxx.runs {
			parts = append(parts, cxx.file(ctx, "libstdc++", "libstdc++.so"))
		}
	}
	if want.PkgConfig {
		p := compiler{r: r, argv: compilerOf(env, "PKG_CONFIG", "pkg-config")}
		parts = append(parts, p.version(ctx, "pkg-config", "--version"))
	}
	return parts
}

// found makes a part of what a program said.
func found(name, said string, err error) wire.CgoPart {
	p := wire.CgoPart{Name: name, Found: hostcmd.Printable(said, 200)}
	if err != nil {
		p.Problem = hostcmd.Printable(err.Error(), 200)
	}
	return p
}

// compiler is gcc, g++ or what gofleet_env has instead.
type compiler struct {
	r           *runner
	argv        []string
	runs, clang bool
}

// look asks for the compiler and, of gcc, for the program behind it that does
// the work, which a package of its own may bring.
func (c *compiler) look(ctx context.Context, name, proper string) []wire.CgoPart {
	p := c.version(ctx, name, "-dumpfullversion", "-dumpversion") // 12.2.0, where -dumpversion says 12
	if p.Problem != "" {
		p = c.version(ctx, name, "-dumpversion") // older than 7, or clang
	}
	parts := []wire.CgoPart{p}
	if p.Found == "" || p.Problem != "" {
		return parts
	}
	c.runs = true
	about, err := c.ask(ctx, "--version")
	if c.clang = err == nil && strings.Contains(about, "clang"); !c.clang {
		parts = append(parts, c.program(ctx, proper))
	}
	return parts
}

// version is a part that tells its version: "gcc 12.2.0".
func (c *compiler) version(ctx context.Context, name string, args ...string) wire.CgoPart {
	if c.r.find(c.argv[0]) == "" {
		return wire.CgoPart{Name: name}
	}
	said, err := c.ask(ctx, args...)
	return found(name, filepath.Base(c.argv[0])+" "+said, err)
}

// ask runs the compiler and gives what it says.
func (c *compiler) ask(ctx context.Context, args ...string) (string, error) {
	out, err := c.r.run(ctx, c.r.bare(quickTimeout, append(c.argv[:len(c.argv):len(c.argv)], args...)...))
	return strings.TrimSpace(out), err
}

// program finds a program where the compiler does. gcc and clang echo the bare
// name of what they do not find, or find on PATH.
func (c *compiler) program(ctx context.Context, name string) wire.CgoPart {
	at := name
	if c.runs {
		at, _ = c.ask(ctx, "-print-prog-name="+name)
	}
	return found(name, c.r.find(at), nil)
}

// usual are the places of files that no compiler is there to name.
var usual = []string{"/usr/lib64/", "/usr/lib/*-linux-*/", "/usr/lib/"}

// file finds a file that is linked to every program.
func (c *compiler) file(ctx context.Context, name, file string) wire.CgoPart {
	at := ""
	if c.runs {
		if said, err := c.ask(ctx, "-print-file-name="+file); err == nil && filepath.IsAbs(said) {
			at = said
		}
	}
	for i := 0; i < len(usual) && !c.runs && at == ""; i++ {
		if matches, _ := filepath.Glob(usual[i] + file); len(matches) > 0 {
			at = matches[0]
		}
	}
	if at != "" {
		at = filepath.Clean(at)
	}
	return found(name, at, nil)
}

// headers lets the preprocessor find what runtime/cgo includes. Where none is
// there, it looks itself.
func (c *compiler) headers(ctx context.Context) wire.CgoPart {
	p := wire.CgoPart{Name: "headers"}
	if !c.runs || !c.clang && c.program(ctx, "cc1").Found == "" {
		if h := "/usr/include/stdlib.h"; unix.Access(h, unix.R_OK) == nil {
			p.Found = h
		}
		return p
	}
	cmd := c.r.bare(quickTimeout, append(c.argv[:len(c.argv):len(c.argv)], "-M", "-x", "c", "-")...)
	cmd.stdin = "#include <errno.h>\n#include <pthread.h>\n#include <signal.h>\n#include <stdlib.h>\n"
	if _, err := c.r.run(ctx, cmd); err != nil {
		text := err.Error()
		if _, missing, ok := strings.Cut(text, "fatal error: "); ok {
			text, _, _ = strings.Cut(missing, "\n")
		}
		p.Problem = hostcmd.Printable(text, 200)
		return p
	}
	p.Found = "errno.h, pthread.h, signal.h, stdlib.h"
	return p
}
