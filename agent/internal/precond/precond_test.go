package precond

import (
	"bytes"
	"context"
	"encoding/binary"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gofleet/gofleet/agent/spec"
	"github.com/gofleet/gofleet/agent/wire"
)

// fake makes a host whose root is a directory with these files. A name that
// ends in "@" is a link to its content; one in "*" is a program.
func fake(t *testing.T, files map[string]string) host {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		p := filepath.Join(dir, strings.TrimRight(name, "@*"))
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		switch name[len(name)-1] {
		case '@':
			err = os.Symlink(content, p)
		case '*':
			err = os.WriteFile(p, []byte(content), 0o755)
		default:
			err = os.WriteFile(p, []byte(content), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return host{dir: dir, allowed: func() int { return 0 }}
}

// program is the head of an ELF program, with a loader or without.
func program(bits int, order binary.ByteOrder, loader string) string {
	data := byte(1)
	if order == binary.BigEndian {
		data = 2
	}
	head := make([]byte, 64)
	copy(head, "\x7fELF")
	head[5] = data
	var segment []byte
	if bits == 64 {
		head[4] = 2
		order.PutUint64(head[32:], 64)
		order.PutUint16(head[54:], 56)
		order.PutUint16(head[56:], 2)
		segment = make([]byte, 56)
		order.PutUint64(segment[8:], 64+2*56)
		order.PutUint64(segment[32:], uint64(len(loader)+1))
	} else {
		head[4] = 1
		order.PutUint32(head[28:], 64)
		order.PutUint16(head[42:], 32)
		order.PutUint16(head[44:], 2)
		segment = make([]byte, 32)
		order.PutUint32(segment[4:], 64+2*32)
		order.PutUint32(segment[16:], uint32(len(loader)+1))
	}
	first := make([]byte, len(segment))
	order.PutUint32(first, 1) // PT_LOAD
	if loader != "" {
		order.PutUint32(segment, 3)
	} else {
		order.PutUint32(segment, 1)
	}
	return string(head) + string(first) + string(segment) + loader + "\x00"
}

const banner = "\x00GNU C Library (Debian GLIBC 2.31-13+deb11u11) release release version 2.31.\nCopyright\x00"

var little, big = binary.LittleEndian, binary.BigEndian

func TestUserlandAndLibc(t *testing.T) {
	const debian = "/lib64/ld-linux-x86-64.so.2"
	libc := strings.Replace(banner, "release release", "stable release", 1)
	musl := "#!/bin/sh\nprintf 'musl libc (x86_64)\\nVersion 1.2.4_git\\nDynamic Program Loader\\n' >&2\nexit 1\n"
	for name, tt := range map[string]struct {
		files map[string]string
		bits  int
		libc  string
	}{
		"loader is a link into the directory of libc": {map[string]string{
			"bin/sh": program(64, little, debian), "lib64/ld-linux-x86-64.so.2@": "../lib/x86_64-linux-gnu/ld-2.31.so",
			"lib/x86_64-linux-gnu/ld-2.31.so": "", "lib/x86_64-linux-gnu/libc.so.6": libc,
		}, 64, "glibc 2.31"},
		"libc in a usual directory": {map[string]string{
			"bin/sh": program(64, big, "/lib/ld64.so.1"), "usr/lib64/libc.so.6": libc,
		}, 64, "glibc 2.31"},
		"32 bits": {map[string]string{
			"bin/sh": program(32, little, "/lib/ld-linux.so.2"), "lib/i386-linux-gnu/libc.so.6": libc,
		}, 32, "glibc 2.31"},
		"32 bits, big endian, shell is a link": {map[string]string{
			"bin/sh@": "dash", "bin/dash": program(32, big, "/lib/ld.so.1"), "lib/libc.so.6": libc,
		}, 32, "glibc 2.31"},
		"vendor without a banner": {map[string]string{
			"bin/sh": program(64, little, debian), "lib64/libc.so.6": "\x00GLIBC_2.2.5\x00GLIBC_2.9\x00GLIBC_2.34\x00GLIBC_2.4\x00GLIBC_PRIVATE\x00",
		}, 64, "glibc 2.34"},
		"getconf where files do not tell": {map[string]string{
			"bin/sh": program(64, little, debian), "lib64/libc.so.6": "x", "usr/bin/getconf*": "#!/bin/sh\necho \"glibc 2.28\"\n",
		}, 64, "glibc 2.28"},
		"glibc of unknown version": {map[string]string{"bin/sh": program(64, little, debian)}, 64, "glibc"},
		"musl": {map[string]string{
			"bin/sh@": "busybox", "bin/busybox": program(64, little, "/lib/ld-musl-x86_64.so.1"), "lib/ld-musl-x86_64.so.1*": musl,
		}, 64, "musl 1.2.4"},
		"musl that does not run": {map[string]string{"bin/sh": program(64, little, "/lib/ld-musl-armhf.so.1")}, 64, "musl"},
		"static shell beside musl": {map[string]string{
			"bin/busybox": program(32, little, ""), "lib/ld-musl-i386.so.1*": musl,
		}, 32, "musl 1.2.4"},
		"static shell beside glibc": {map[string]string{
			"bin/sh": program(64, little, ""), "lib64/ld-linux-x86-64.so.2": "", "lib64/libc.so.6": libc,
		}, 64, "glibc 2.31"},
		"static alone":          {map[string]string{"bin/sh": program(64, little, "")}, 64, "none"},
		"shell is a script":     {map[string]string{"bin/sh": "#!/bin/bash\n", "usr/bin/env": program(32, little, "")}, 32, "none"},
		"nothing":               {nil, 0, "none"},
		"version in a cut libc": {map[string]string{"bin/sh": program(64, little, debian), "lib64/libc.so.6": libc[:60]}, 64, "glibc"},
	} {
		t.Run(name, func(t *testing.T) {
			h := fake(t, tt.files)
			u := h.userland()
			if got := h.libc(t.Context(), u); u.bits != tt.bits || got != tt.libc {
				t.Errorf("%d bits, %q; want %d, %q", u.bits, got, tt.bits, tt.libc)
			}
		})
	}
}

func FuzzParseProgram(f *testing.F) {
	f.Add([]byte(program(64, little, "/lib64/ld-linux-x86-64.so.2")))
	f.Add([]byte(program(32, big, "/lib/ld.so.1")))
	f.Fuzz(func(t *testing.T, b []byte) {
		u, err := parseProgram(bytes.NewReader(b))
		if err == nil && (u.bits != 32 && u.bits != 64 || len(u.loader) > 4096) {
			t.Errorf("%+v", u)
		}
	})
}

func TestDistribution(t *testing.T) {
	for name, tt := range map[string]struct {
		files       map[string]string
		id, version string
	}{
		"debian": {map[string]string{"etc/os-release@": "../usr/lib/os-release",
			"usr/lib/os-release": "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nVERSION_ID=\"12\"\nID=debian\n"}, "debian", "12"},
		"only in usr":    {map[string]string{"usr/lib/os-release": "ID=fedora\nVERSION_ID=41"}, "fedora", "41"},
		"etc before usr": {map[string]string{"etc/os-release": "ID='rocky'\nVERSION_ID='8.9'\n", "usr/lib/os-release": "ID=x\n"}, "rocky", "8.9"},
		"escapes":        {map[string]string{"etc/os-release": "ID=\"a\\\"b\\\\c\\$d\\e\"\nVERSION_ID=1\\.2\n"}, `a"b\c$d\e`, "1.2"},
		"comments":       {map[string]string{"etc/os-release": "# ID=no\n\nnonsense\n  ID=Alpine  \nID_LIKE=x\nVERSION_ID=3.20.1\r\n"}, "alpine", "3.20.1"},
		"rolling":        {map[string]string{"etc/os-release": "ID=arch\n"}, "arch", ""},
		"no id":          {map[string]string{"etc/os-release": "NAME=x\n"}, "linux", ""},
		"hostile":        {map[string]string{"etc/os-release": "ID=\"\x1b[2J" + strings.Repeat("x", 200) + "\"\n"}, "[2j" + strings.Repeat("x", 61), ""},
		"none":           {nil, "", ""},
		"half a quote":   {map[string]string{"etc/os-release": "ID=\"\nVERSION_ID='\n"}, `"`, "'"},
	} {
		t.Run(name, func(t *testing.T) {
			id, version := fake(t, tt.files).distribution()
			if id != tt.id || version != tt.version {
				t.Errorf("%q %q; want %q %q", id, version, tt.id, tt.version)
			}
		})
	}
}

func TestCommands(t *testing.T) {
	h := fake(t, map[string]string{
		"usr/bin/git*":      "#!/bin/sh\n[ \"$1\" = --version ] && echo 'git version 2.39.5'\n",
		"usr/local/bin/go*": "#!/bin/sh\n[ \"$1\" = version ] && echo 'go version go1.26.8 linux/amd64'\n",
		"usr/bin/ssh*":      "#!/bin/sh\n[ \"$1\" = -V ] && echo 'OpenSSH_9.2p1 Debian-2, OpenSSL 3.0.15' >&2\n",
		"usr/bin/broken*":   "#!/bin/sh\necho 1.2.3\nexit 1\n",
		"usr/bin/asked*":    "#!/bin/sh\n[ $# = 0 ] || : > \"$0.ran\"\n",
		"sbin/visudo*":      "#!/bin/sh\necho unknown\n",
		"usr/bin/plain":     "not executable",
		"usr/bin/dir/file":  "",
		"usr/bin/env-leak*": "#!/bin/sh\necho \"1.0 $SECRET\"; [ -z \"$SECRET\" ] || echo leak > \"$0.ran\"\n",
	})
	t.Setenv("SECRET", "x")
	got := h.commands(t.Context(), []spec.CommandRequirement{
		{Name: "git", Min: "2.30"}, {Name: "go", Min: "1.20"}, {Name: "ssh", Min: "8.0"}, {Name: "broken", Min: "1"}, {Name: "asked"},
		{Name: "visudo", Min: "1.9"}, {Name: "plain"}, {Name: "dir"}, {Name: "missing"}, {Name: "env-leak", Min: "1"},
	})
	want := map[string]string{"git": "2.39.5", "go": "1.26.8", "ssh": "9.2", "broken": "", "asked": "", "visudo": "", "env-leak": "1.0"}
	for name, version := range want {
		if v, ok := got[name]; !ok || v != version {
			t.Errorf("%s: %q, %v; want %q", name, v, ok, version)
		}
	}
	if len(got) != len(want) {
		t.Errorf("found %v", got)
	}
	for _, name := range []string{"asked", "env-leak"} {
		if _, err := os.Stat(h.path("/usr/bin/" + name + ".ran")); err == nil {
			t.Errorf("%s was run as it should not be", name)
		}
	}
}

// TestCommandThatHangs: a program that never ends, and its children, are
// ended with the context.
func TestCommandThatHangs(t *testing.T) {
	h := fake(t, map[string]string{"usr/bin/hang*": "#!/bin/sh\nsleep 1000 &\necho $! > \"$0.pid\"\nwait\n"})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan map[string]string)
	go func() { done <- h.commands(ctx, []spec.CommandRequirement{{Name: "hang", Min: "1"}}) }()
	var pid string
	for pid == "" { // until it runs
		b, _ := os.ReadFile(h.path("/usr/bin/hang.pid"))
		pid = strings.TrimSpace(string(b))
		runtime.Gosched()
	}
	cancel()
	if got := <-done; got["hang"] != "" || len(got) != 1 {
		t.Errorf("got %v", got)
	}
	for running := true; running; runtime.Gosched() { // or the test's own timeout ends it
		b, err := os.ReadFile("/proc/" + pid + "/cmdline")
		running = err == nil && strings.HasPrefix(string(b), "sleep")
	}
}

func TestFirstVersion(t *testing.T) {
	for text, want := range map[string]string{
		"git version 2.39.5": "2.39.5",
		"gcc (Debian 12.2.0-14+deb12u1) 12.2.0\nCopyright": "12.2.0",
		"GNU bash, version 5.2.15(1)-release":              "5.2.15",
		"iptables v1.8.9 (nf_tables)":                      "1.8.9",
		"systemd 252 (252.38-1~deb12u1)":                   "252.38",
		"less 590 (GNU regular expressions)":               "590",
		"x86_64-linux-gnu-gcc without any":                 "",
		"jq-1.6":                                           "1.6",
		"1.8.1\n":                                          "1.8.1",
		"Version 1.":                                       "1",
		"":                                                 "",
		"nothing":                                          "",
		strings.Repeat("9", 50) + "." + strings.Repeat("9", 9): "",
	} {
		if got := firstVersion(text); got != want {
			t.Errorf("firstVersion(%q) = %q; want %q", text, got, want)
		}
	}
}

func TestDisk(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("mounting needs root")
	}
	for name, tt := range map[string]struct {
		flags   uintptr
		options string
		want    wire.Facts
	}{
		"small":     {0, "size=8m,nr_inodes=100", wire.Facts{DiskFree: 8 << 20, InodesFree: 99}},
		"noexec":    {unix.MS_NOEXEC, "size=4m,nr_inodes=50", wire.Facts{DiskFree: 4 << 20, InodesFree: 49, Noexec: true}},
		"read-only": {unix.MS_RDONLY, "size=4m,nr_inodes=50", wire.Facts{DiskFree: 4 << 20, InodesFree: 49, ReadOnly: true}},
		"unlimited": {0, "size=4m,nr_inodes=0", wire.Facts{DiskFree: 4 << 20, InodesFree: -1}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := unix.Mount("tmpfs", dir, "tmpfs", tt.flags, tt.options); err != nil {
				t.Fatalf("mount tmpfs: %v", err)
			}
			t.Cleanup(func() {
				if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
					t.Errorf("unmount %s: %v", dir, err)
				}
			})
			var f wire.Facts
			host{}.disk(&f, filepath.Join(dir, "lib/gofleet"))
			tt.want.DiskPath = dir
			if f.DiskPath != tt.want.DiskPath || f.DiskFree != tt.want.DiskFree || f.InodesFree != tt.want.InodesFree ||
				f.Noexec != tt.want.Noexec || f.ReadOnly != tt.want.ReadOnly {
				t.Errorf("got %+v\nwant %+v", f, tt.want)
			}
		})
	}
}

func TestDiskBelowAFile(t *testing.T) {
	h := fake(t, map[string]string{"opt/file": ""})
	var f wire.Facts
	h.disk(&f, "/opt/file/go")
	if f.DiskPath != "/opt/file" || f.DiskFree <= 0 {
		t.Errorf("got %+v", f)
	}
}

// TestThisHost: the facts of the machine that runs the tests make sense, and
// gathering leaves nothing behind.
func TestThisHost(t *testing.T) {
	root := filepath.Join(t.TempDir(), "a/b")
	before := time.Now()
	f, err := Gather(t.Context(), root)
	if err != nil {
		t.Fatal(err)
	}
	if f.OS != "linux" || f.Kernel == "" || f.Machine == "" || f.Hostname == "" || f.Bits == 0 || f.Libc == "" ||
		f.CPUs < 1 || f.CPUs > runtime.NumCPU() || f.Memory < 1e8 || f.DiskFree <= 0 || f.Clock.Before(before) {
		t.Errorf("facts are %+v", f)
	}
	if _, err := os.Stat(filepath.Dir(root)); err == nil {
		t.Error("gathering made a directory")
	}
	s, err := spec.Parse(map[string]any{"preconditions": map[string]any{"commands": []any{"sh", "no-such-command"}}}, spec.Options{})
	if err != nil {
		t.Fatal(err)
	}
	status := map[string]wire.CheckStatus{}
	for _, c := range Check(t.Context(), f, s, time.Now(), Installed{}) {
		status[c.Name] = c.Status
	}
	if status["os"] != wire.Pass || status["clock"] != wire.Pass || status["command sh"] != wire.Pass || status["command no-such-command"] != wire.Fail {
		t.Errorf("checks are %v", status)
	}
	if p, err := Platform(); err != nil || p.OS != "linux" || p.GOARCH() != runtime.GOARCH {
		t.Errorf("platform is %v, %v", p, err)
	}
}

func TestUname(t *testing.T) {
	h := fake(t, map[string]string{"proc/sys/kernel/osrelease": "6.1.0\n"})
	h.utsFn = func(u *unix.Utsname) error {
		copy(u.Sysname[:], "Linux")
		copy(u.Release[:], "2.6.78\x1b[2J")
		copy(u.Machine[:], "aarch64")
		copy(u.Nodename[:], "web01")
		return nil
	}
	f, err := h.gather(t.Context(), "/usr/local/lib/gofleet")
	if err != nil {
		t.Fatal(err)
	}
	// uname(2) counts, as it does for the shell probe and for programs.
	if f.OS != "linux" || f.Kernel != "2.6.78[2J" || f.Machine != "aarch64" || f.Hostname != "web01" {
		t.Errorf("facts are %+v", f)
	}
	if f.DiskPath != "/" || f.CPUs != 0 || f.Memory != 0 || f.Distribution != "" {
		t.Errorf("facts of an empty host are %+v", f)
	}
	h.utsFn = func(*unix.Utsname) error { return unix.EFAULT }
	if _, err := h.gather(t.Context(), "/"); err == nil {
		t.Error("no error from a kernel that does not answer")
	}
}
