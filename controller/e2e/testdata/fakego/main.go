// Command fakego stands in for the go command in archives that tests make up:
// it answers what gofleet asks of a toolchain, in a hundredth of the size. The
// archives that matter are real ones.
package main

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "fakego:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if filepath.Base(os.Args[0]) == "sh" {
		// In place of /bin/sh it makes a host whose programs are of its architecture.
		return syscall.Exec("/usr/bin/dash", os.Args, os.Environ())
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if self, err = filepath.EvalSymlinks(self); err != nil {
		return err
	}
	goroot := filepath.Dir(filepath.Dir(self))
	text, err := os.ReadFile(filepath.Join(goroot, "VERSION"))
	if err != nil {
		return err
	}
	version, _, _ := strings.Cut(string(text), "\n")
	switch {
	case len(args) == 1 && args[0] == "version":
		fmt.Printf("go version %s %s/%s\n", version, runtime.GOOS, runtime.GOARCH)
	case len(args) > 1 && args[0] == "env":
		known := map[string]string{"GOROOT": goroot, "GOHOSTOS": runtime.GOOS, "GOHOSTARCH": runtime.GOARCH, "GOVERSION": version}
		for _, name := range args[1:] {
			fmt.Println(lookup(name, known, goroot))
		}
	case len(args) > 1 && args[0] == "tool" && args[1] == "compile":
		for i, a := range args {
			if a == "-o" && i+1 < len(args) {
				return os.WriteFile(args[i+1], []byte("object\n"), 0o644)
			}
		}
	default:
		return fmt.Errorf("does not know %q", args)
	}
	return nil
}

// lookup finds a variable where the go command does: the process, the user's
// file, go.env. The first of two equal keys wins.
func lookup(name string, known map[string]string, goroot string) string {
	if v, ok := known[name]; ok {
		return v
	}
	if v, ok := os.LookupEnv(name); ok {
		return v
	}
	user := os.Getenv("GOENV")
	if user == "" {
		user = filepath.Join(os.Getenv("HOME"), ".config/go/env")
	}
	for _, file := range []string{user, filepath.Join(goroot, "go.env")} {
		f, err := os.Open(file)
		if err != nil {
			continue
		}
		defer f.Close()
		for lines := bufio.NewScanner(f); lines.Scan(); {
			if v, ok := strings.CutPrefix(lines.Text(), name+"="); ok {
				return v
			}
		}
	}
	return ""
}
