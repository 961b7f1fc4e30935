//go:build linux

package lab

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestSet(t *testing.T) {
	var h HostConfig
	for _, word := range []string{
		"memory=1GB", "cpus=2", "kernel=3.10.0", "glibc=2.17", "os=rocky:8.9", "no-sudo", "noexec=/tmp", "noexec=/run",
		"disk=50MiB", "sftp=off", "max-startups=2", "sshd=Ciphers aes256-ctr", "known=revoked",
	} {
		if err := h.Set(word); err != nil {
			t.Errorf("%s: %v", word, err)
		}
	}
	want := HostConfig{
		Memory: 1e9, CPUs: 2, Kernel: "3.10.0", Glibc: "2.17", NoSudo: true, Noexec: []string{"/tmp", "/run"},
		OSRelease: "NAME=\"rocky\"\nID=rocky\nVERSION_ID=\"8.9\"\nPRETTY_NAME=\"rocky 8.9\"\n",
		LocalSize: 50 << 20, SFTP: SFTPOff, MaxStartups: 2, SSHD: []string{"Ciphers aes256-ctr"}, KnownHosts: KnownRevoked,
	}
	if !reflect.DeepEqual(h, want) {
		t.Errorf("got %+v\nwant %+v", h, want)
	}
	for word, says := range map[string]string{
		"memroy=1GB": "unknown option", "memory": "memory=1GB", "memory=lots": "not a size", "memory=-1GB": "not a size",
		"memory=99999999999GB": "not a size", "cpus=0": "above 0", "no-sudo=yes": "takes no value", "os=rocky": "ID:VERSION",
	} {
		if err := new(HostConfig).Set(word); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: error %v, want %q", word, err, says)
		}
	}
}

func TestWrongConfig(t *testing.T) {
	for says, c := range map[string]Config{
		"no hosts":     {},
		"lower-case":   {Name: "My Lab", Hosts: make([]HostConfig, 1)},
		"has room for": {Hosts: make([]HostConfig, maxHosts+1)},
		"named twice":  {Hosts: []HostConfig{{Name: "a"}, {Name: "a"}}},
		"use lower":    {Hosts: []HostConfig{{Name: "a/b"}}},
		"needs an ima": {Hosts: []HostConfig{{Arch: "arm64"}}},
		"absolute":     {Hosts: []HostConfig{{Hide: []string{"../etc"}}}},
		"relative":     {Hosts: []HostConfig{{Cgroup: map[string]string{"../x": ""}}}},
		"exclude":      {Hosts: []HostConfig{{Musl: true, Glibc: "2.17"}}},
		"sftp":         {Hosts: []HostConfig{{SFTP: "sometimes"}}},
		"known_hosts":  {Hosts: []HostConfig{{KnownHosts: "maybe"}}},
		"negative":     {Hosts: []HostConfig{{Memory: -1}}},
	} {
		if _, err := c.withDefaults(); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("error %v, want %q", err, says)
		}
	}
}

func TestProcFiles(t *testing.T) {
	info := meminfo("MemTotal:        8000000 kB\nMemFree:   1 kB\nSlab:      800000 kB\nSwapTotal: 500 kB\nHugePages_Total:       3\n", 4000*1024)
	if want := "MemTotal:           4000 kB\nMemFree:            2000 kB\nSlab:                400 kB\nSwapTotal:             0 kB\nHugePages_Total:       3\n"; info != want {
		t.Errorf("meminfo %q\nwant %q", info, want)
	}
	cpus := cpuinfo("processor\t: 0\nsiblings\t: 2\ncore id\t\t: 0\ncpu cores\t: 2\n\nprocessor\t: 1\n\n", 3)
	for i, block := range strings.Split(strings.TrimSuffix(cpus, "\n\n"), "\n\n") {
		if want := strings.ReplaceAll("processor\t: N\nsiblings\t: 3\ncore id\t\t: N\ncpu cores\t: 3", "N", string(rune('0'+i))); block != want {
			t.Errorf("processor %d: %q, want %q", i, block, want)
		}
	}
}

func TestRelabel(t *testing.T) {
	in := "\x00GLIBC_2.36\x00glibc 2.36\x002.36\x00GNU C Library (Debian GLIBC 2.36-9+deb12u14) stable release version 2.36.\nx12.36y"
	want := "\x00GLIBC_2.36\x00glibc 2.17\x002.17\x00GNU C Library (Debian GLIBC 2.17-9+deb12u14) stable release version 2.17.\nx12.36y"
	if got, err := relabel([]byte(in), "2.17"); err != nil || string(got) != want {
		t.Errorf("got %q, %v\nwant %q", got, err, want)
	}
	if _, err := relabel([]byte(in), "2.5"); err == nil || !strings.Contains(err.Error(), "as long") {
		t.Errorf("a shorter version: %v", err)
	}
	if got, err := relabel([]byte("no libc"), "2.17"); err != nil || got != nil {
		t.Errorf("got %q, %v", got, err)
	}
}

// A layer follows the links of what is below, inside the root only.
func TestResolve(t *testing.T) {
	below := t.TempDir()
	for _, dir := range []string{"usr/bin", "run", "var", "a"} {
		if err := os.MkdirAll(filepath.Join(below, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, to := range map[string]string{"bin": "usr/bin", "var/run": "/run", "a/up": "../../../usr", "loop": "loop"} {
		if err := os.Symlink(to, filepath.Join(below, name)); err != nil {
			t.Fatal(err)
		}
	}
	l := &layer{dir: t.TempDir(), below: []string{below}}
	for path, want := range map[string]string{
		"/bin/sh": "/usr/bin/sh", "/var/run/x/y": "/run/x/y", "/a/up/bin/z": "/usr/bin/z", "/bin": "/bin", "/new/dir/f": "/new/dir/f",
	} {
		if got, err := l.resolve(path); err != nil || got != want {
			t.Errorf("resolve %s: %s, %v; want %s", path, got, err, want)
		}
	}
	if _, err := l.resolve("/loop/x"); err == nil {
		t.Error("a loop of links resolves")
	}
}

func TestSlots(t *testing.T) {
	seen := map[string]int{}
	for s := range slot(slots) {
		for _, n := range []int{0, 1, 255, maxHosts} {
			a := s.addr(n)
			if !s.prefix().Contains(a) || !labNet.Contains(a) {
				t.Errorf("slot %d: %s is not in %s", s, a, s.prefix())
			}
			seen[a.String()]++
		}
	}
	if len(seen) != slots*4 {
		t.Errorf("%d addresses, want %d", len(seen), slots*4)
	}
	if n := len(slot(slots - 1).veth(maxHosts)); n > 15 {
		t.Errorf("an interface's name has %d characters, Linux takes 15", n)
	}
}

func TestCanRun(t *testing.T) {
	if err := canRun("bookworm", debianArch()); err != nil {
		t.Error(err)
	}
	for _, tt := range [][2]string{{"woody", debianArch()}, {"bookworm", "pdp11"}} {
		if err := canRun(tt[0], tt[1]); err == nil || !strings.Contains(err.Error(), "unknown") {
			t.Errorf("%v: %v", tt, err)
		}
	}
}
