//go:build linux

package main

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestSim asks OpenSSH's client, with the files that sim writes, what its hosts
// are like.
func TestSim(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "sim")
	s, err := startSim(2, dir)
	if err != nil {
		t.Fatal(err)
	}
	closed := false
	defer func() {
		if !closed {
			s.close()
		}
	}()
	for _, host := range []string{"h1", "h2"} {
		home := filepath.Join(dir, host)
		out, err := exec.Command("ssh", "-F", filepath.Join(dir, "ssh_config"), host,
			`mkdir -p .local/gofleet/bin cache/full
			echo 'echo go of '`+host+` > .local/gofleet/bin/go && chmod +x .local/gofleet/bin/go
			touch cache/full/file && chmod 0500 cache/full
			pwd; go; test -d "$TMPDIR" && echo temporary`).CombinedOutput()
		if want := home + "\ngo of " + host + "\ntemporary\n"; err != nil || string(out) != want {
			t.Errorf("%s said %q, %v; want %q", host, out, err, want)
		}
		text, err := os.ReadFile(s.inventory())
		if want := "gofleet_root: " + home + "/.local/gofleet\n"; err != nil || !strings.Contains(string(text), want) {
			t.Errorf("inventory %q, %v; want %q in it", text, err, want)
		}
	}
	if _, err := startSim(1, dir); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a second sim in the same directory: error %v, want %v", err, fs.ErrExist)
	}
	closed = true
	if err := s.close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s is still there: %v", dir, err)
	}
}

// TestSimRefusesRoot: its hosts would run commands as root on this machine.
func TestSimRefusesRoot(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root is refused")
	}
	if _, err := run(t, "sim", "1"); err == nil || !strings.Contains(err.Error(), "gofleet-lab up") {
		t.Errorf("error %v, want one that leads to gofleet-lab up", err)
	}
}
