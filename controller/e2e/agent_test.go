//go:build linux

package e2e

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gofleet/gofleet/agent/spec"
	"github.com/gofleet/gofleet/agent/tree"
	"github.com/gofleet/gofleet/agent/wire"
	"github.com/gofleet/gofleet/controller/internal/lab"
)

// The agent believes nothing: these tests are a controller that lies to it.

// remoteAgent is where the tests put the agent on a host.
const remoteAgent = "/opt/gofleet-agent"

// agentHost starts a host with the agent on it.
func agentHost(t *testing.T) *lab.Host {
	t.Helper()
	needHosts(t)
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	l, err := lab.Up(ctx, lab.Config{Name: "agent", Dir: t.TempDir(), Ephemeral: true, Hosts: []lab.HostConfig{{}}})
	must(t, err)
	t.Cleanup(func() {
		if err := l.Down(context.Background()); err != nil {
			t.Error(err)
		}
	})
	h := l.Hosts[0]
	program, err := os.Open(filepath.Join(built.agents, "gofleet-agent-linux-"+runtime.GOARCH))
	must(t, err)
	defer program.Close()
	cmd, err := h.Command(ctx, "sh", "-c", "mkdir -p /opt; cat > "+remoteAgent+"; chmod 755 "+remoteAgent)
	must(t, err)
	cmd.Stdin = program
	must(t, cmd.Run())
	return h
}

// offer is a task with what travels for it.
type offer struct {
	task     wire.Task
	transfer wire.Transfer
	data     []byte // what really travels
	cut      bool   // the connection ends behind data
}

// honest is an offer without a lie.
func honest(t *testing.T, version string, fault string) *offer {
	t.Helper()
	s, err := spec.Parse(map[string]any{"go_version": version}, spec.Options{Required: true})
	must(t, err)
	entries, err := fakeTree(version, runtime.GOARCH)
	must(t, err)
	m := manifestOf(t, entries)
	if fault != "" {
		entries = faults[fault](entries)
	}
	var b bytes.Buffer
	must(t, pack(&b, entries))
	o := &offer{task: wire.Task{
		Run: "test", Host: "h1", Controller: "tester", Action: wire.Apply, Gofleet: "0.1.0", Now: time.Now(), Spec: *s,
		Release: &wire.Release{
			Version: version, Platform: spec.Platform{OS: "linux", Arch: runtime.GOARCH},
			Name: "go" + version + ".tar.gz", Evidence: "a test", Tree: treeOf(m),
		},
	}}
	o.send(b.Bytes())
	return o
}

// send makes b what travels, with sums that are true of it.
func (o *offer) send(b []byte) {
	o.data = b
	sum := fmt.Sprintf("%x", sha256.Sum256(b))
	o.task.Release.SHA256 = sum
	o.transfer = wire.Transfer{Encoding: wire.Gzip, SHA256: sum, Size: int64(len(b)), ChunkSize: 64 << 10}
	for chunk := range slices.Chunk(b, int(o.transfer.ChunkSize)) {
		o.transfer.Chunks = append(o.transfer.Chunks, fmt.Sprintf("%x", sha256.Sum256(chunk)))
	}
}

// manifestOf reads what an archive of entries promises.
func manifestOf(t *testing.T, entries []entry) tree.Manifest {
	t.Helper()
	var b bytes.Buffer
	must(t, pack(&b, entries))
	gz, err := gzip.NewReader(&b)
	must(t, err)
	m, err := tree.Read(gz, tree.DefaultLimits(), func(e tree.Entry, r io.Reader) error {
		if e.Dir {
			return nil
		}
		_, err := io.Copy(io.Discard, r)
		return err
	})
	must(t, err)
	return m
}

func treeOf(m tree.Manifest) wire.Tree {
	files, dirs, size := m.Count()
	return wire.Tree{SHA256: m.Sum(), Files: files, Dirs: dirs, Bytes: size}
}

// tell has one conversation with the agent on h. The report is nil where the
// agent ended without one; then the error says why.
func (o *offer) tell(t *testing.T, h *lab.Host) (*wire.Report, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd, err := h.Command(ctx, remoteAgent, "serve", "--marker", "mark", "--login-uid", "0")
	must(t, err)
	stdin, err := cmd.StdinPipe()
	must(t, err)
	stdout, err := cmd.StdoutPipe()
	must(t, err)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	must(t, cmd.Start())
	report, err := o.converse(wire.NewReader(stdout, wire.MaxLine), stdin)
	stdin.Close()
	werr := cmd.Wait()
	var exit *exec.ExitError
	if werr != nil && !errors.As(werr, &exit) {
		t.Fatal(werr)
	}
	if strings.Contains(stderr.String(), "goroutine ") {
		t.Errorf("the agent panicked:\n%s", &stderr)
	}
	if report == nil {
		err = fmt.Errorf("%w: %v: %s", err, werr, &stderr)
	}
	return report, err
}

func (o *offer) converse(in *wire.Reader, stdin io.WriteCloser) (*wire.Report, error) {
	line, err := in.Line()
	if err != nil {
		return nil, err
	}
	var hello wire.Hello
	text, ok := bytes.CutPrefix(line, []byte("mark hello "))
	if !ok || json.Unmarshal(text, &hello) != nil || hello.Protocol != wire.Protocol {
		return nil, fmt.Errorf("the agent says %q", line)
	}
	out := wire.NewWriter(stdin)
	if err := out.Write(wire.Command{Task: &o.task}); err != nil {
		return nil, err
	}
	for {
		var e wire.Event
		if err := in.Read(&e); err != nil {
			return nil, err
		}
		switch {
		case e.Report != nil:
			return e.Report, nil
		// An agent that has seen enough may have gone before it has all: what
		// counts is its report, so writing goes as far as it goes.
		case e.Want:
			out.Write(wire.Command{Send: &o.transfer})
		case e.Need != nil:
			for part := range slices.Chunk(o.data[min(e.Need.Offset, int64(len(o.data))):], wire.MaxData) {
				if out.WriteData(part) != nil {
					break
				}
			}
			if o.cut {
				stdin.Close()
			}
		}
	}
}

// ours is what gofleet leaves on a host; the agent's cache apart, which is
// kept once the preconditions hold.
var ours = regexp.MustCompile(`gofleet/(go|manifests|\.)|/usr/local/go$|/usr/local/bin|profile\.d/gofleet|evil|sudoers\.d/gofleet|/home/|\.staging`)

// clean fails the test if an install that was refused has left something.
func clean(t *testing.T, h *lab.Host) {
	t.Helper()
	now, err := written(h)
	must(t, err)
	for _, path := range slices.Sorted(maps.Keys(now)) {
		if ours.MatchString(path) && path != "/usr/local/lib/gofleet/manifests" {
			t.Errorf("left on the host: %s", path)
		}
	}
	out, err := h.Exec(t.Context(), "sh", "-c", "ls -d /etc/evil /run/gofleet.lock 2>/dev/null || true")
	must(t, err)
	if len(out) > 0 {
		t.Errorf("left on the host: %s", out)
	}
}

func TestAgentRefusesArchives(t *testing.T) {
	h := agentHost(t)
	const version = "1.26.90"
	tests := []struct {
		name  string
		fault string // of the archive
		lie   func(o *offer)
		want  wire.Kind
		says  string
	}{
		{name: "dotdot", fault: "dotdot", want: wire.KindArchiveUnsafe, says: "evil"},
		{name: "absolute", fault: "absolute", want: wire.KindArchiveUnsafe, says: "absolute"},
		{name: "outside", fault: "outside", want: wire.KindArchiveUnsafe, says: "evil"},
		{name: "symlink", fault: "symlink", want: wire.KindArchiveUnsafe, says: "link"},
		{name: "hardlink", fault: "hardlink", want: wire.KindArchiveUnsafe, says: "link"},
		{name: "device", fault: "device", want: wire.KindArchiveUnsafe, says: "go/null"},
		{name: "fifo", fault: "fifo", want: wire.KindArchiveUnsafe, says: "go/fifo"},
		{name: "setuid", fault: "setuid", want: wire.KindArchiveUnsafe, says: "setuid"},
		{name: "duplicate", fault: "duplicate", want: wire.KindArchiveUnsafe, says: "twice"},
		{name: "bomb", fault: "bomb", want: wire.KindArchiveUnsafe, says: "promised"},
		{name: "more files than promised", lie: func(o *offer) { o.task.Release.Tree.Files-- }, want: wire.KindArchiveUnsafe, says: "promised"},
		{name: "more directories than promised", lie: func(o *offer) { o.task.Release.Tree.Dirs-- }, want: wire.KindArchiveUnsafe, says: "promised"},
		{name: "another tree", lie: func(o *offer) { o.task.Release.Tree.SHA256 = strings.Repeat("0", 64) }, want: wire.KindArchiveCorrupt},
		{name: "another version inside", fault: "version", want: wire.KindArchiveCorrupt},
		{name: "another sum", lie: func(o *offer) { o.transfer.SHA256 = strings.Repeat("0", 64) }, want: wire.KindArchiveCorrupt},
		{name: "a bit flipped", lie: func(o *offer) { o.data = bytes.Clone(o.data); o.data[len(o.data)/2] ^= 1 }, want: wire.KindArchiveCorrupt},
		{name: "truncated, with true sums", lie: func(o *offer) { o.send(o.data[:len(o.data)-500]) }, want: wire.KindArchiveCorrupt},
		{name: "no gzip", lie: func(o *offer) { o.send([]byte("#!/bin/sh\ntouch /etc/evil\n")) }, want: wire.KindArchiveCorrupt},
		{name: "wrong encoding", lie: func(o *offer) { o.transfer.Encoding = wire.Zstd }, want: wire.KindArchiveCorrupt},
		{name: "unknown encoding", lie: func(o *offer) { o.transfer.Encoding = "shell" }, want: wire.KindProtocol},
		{name: "chunks that do not make it up", lie: func(o *offer) { o.transfer.Chunks = nil }, want: wire.KindProtocol},
		{name: "endless", lie: func(o *offer) { o.transfer.Size = 1 << 50 }, want: wire.KindProtocol},
		{name: "a sum that is a path", lie: func(o *offer) { o.transfer.SHA256 = "../../../../etc/evil" }, want: wire.KindProtocol},
		{name: "a version that is a path", lie: func(o *offer) { o.task.Release.Version = "../evil" }, want: wire.KindProtocol},
		{name: "another release than wanted", lie: func(o *offer) { o.task.Release.Version = "1.26.91" }, want: wire.KindArchiveCorrupt},
		{name: "another platform", lie: func(o *offer) { o.task.Release.Platform.Arch = "s390x" }, want: wire.KindProtocol},
		{name: "a manifest that is none", lie: func(o *offer) { o.transfer.Manifest = []byte("d 0755 ..\n") }, want: wire.KindArchiveCorrupt},
		{name: "the connection cut", lie: func(o *offer) { o.data, o.cut = o.data[:len(o.data)/2], true }, want: wire.KindStopped},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			o := honest(t, version, tc.fault)
			if tc.lie != nil {
				tc.lie(o)
			}
			report, err := o.tell(t, h)
			if report == nil {
				t.Fatal(err)
			}
			if report.Error == nil || report.Error.Kind != tc.want || !strings.Contains(report.Error.Message, tc.says) {
				t.Errorf("report is %s, %+v; want %s, %q", report.Status, report.Error, tc.want, tc.says)
			}
			if report.Status != wire.Failed || report.Changed {
				t.Errorf("status is %s, changed %t", report.Status, report.Changed)
			}
			if !o.cut { // what is there of an upload that was cut stays for the next run
				clean(t, h)
			}
		})
	}
	// The same offer without a lie is installed, so each lie was what was refused.
	report, err := honest(t, version, "").tell(t, h)
	if report == nil || report.Status != wire.Changed {
		t.Fatalf("an honest offer: %+v, %v", report, err)
	}
}

func TestAgentRefusesSpecs(t *testing.T) {
	h := agentHost(t)
	lies := map[string]func(s *spec.Spec){
		"root is /":         func(s *spec.Spec) { s.Root = "/" },
		"root is relative":  func(s *spec.Spec) { s.Root = "usr/local/lib/gofleet" },
		"link is /":         func(s *spec.Spec) { s.Link = "/" },
		"root in link":      func(s *spec.Spec) { s.Root, s.Link = "/opt/go/lib", "/opt/go" },
		"link is a file":    func(s *spec.Spec) { s.Link = "/etc/passwd" },
		"version is a path": func(s *spec.Spec) { s.GoVersion = "../../../etc/evil" },
		"user is root":      func(s *spec.Spec) { s.User = &spec.User{Name: "root"} },
		"user is an option": func(s *spec.Spec) { s.User = &spec.User{Name: "-o"} },
		"user is a path":    func(s *spec.Spec) { s.User = &spec.User{Name: "../evil"} },
		"key has two lines": func(s *spec.Spec) {
			s.User = &spec.User{Name: "deploy", AuthorizedKeys: []string{"ssh-ed25519 AAAA\nevil"}}
		},
		"sudo has two lines": func(s *spec.Spec) {
			s.User = &spec.User{Name: "deploy", Sudo: []string{"/bin/true\nALL ALL=(ALL) NOPASSWD: ALL"}}
		},
		"sudo is ALL":          func(s *spec.Spec) { s.User = &spec.User{Name: "deploy", Sudo: []string{"ALL"}} },
		"env has two lines":    func(s *spec.Spec) { s.Env = map[string]string{"GOPROXY": "off\nGOFLAGS=-toolexec=/tmp/evil"} },
		"environment is code":  func(s *spec.Spec) { s.Environment = map[string]string{"A=$(touch /etc/evil);B": "x"} },
		"environment is PATH":  func(s *spec.Spec) { s.Environment = map[string]string{"PATH": "/tmp/evil"} },
		"shell is not a shell": func(s *spec.Spec) { s.User = &spec.User{Name: "deploy", Shell: "/etc/passwd"} },
	}
	for name, lie := range lies {
		t.Run(name, func(t *testing.T) {
			o := honest(t, "1.26.90", "")
			lie(&o.task.Spec)
			report, err := o.tell(t, h)
			if report == nil {
				t.Fatal(err)
			}
			if report.Status != wire.Failed || report.Error == nil {
				t.Errorf("report is %s, %+v", report.Status, report.Error)
			}
			clean(t, h)
		})
	}
}

// What else only a controller of the test's own can ask for.

func TestClockIsComparedWithTheController(t *testing.T) {
	h := agentHost(t)
	o := honest(t, "1.26.90", "")
	o.task.Action, o.task.Now = wire.Audit, time.Now().Add(-time.Hour)
	report, err := o.tell(t, h)
	must(t, err)
	i := slices.IndexFunc(report.Checks, func(c wire.Check) bool { return c.Name == "clock" })
	if i < 0 || report.Checks[i].Status != wire.Warn || report.Checks[i].Hint == "" {
		t.Errorf("checks are%s", lines(report.Checks))
	}
	if report.Status != wire.Changed {
		t.Errorf("status is %s, error %v: a clock only warns", report.Status, report.Error)
	}
}

// TestRemoveEverything: without a version, all that is gofleet's goes, and what
// it had kept aside comes back.
func TestRemoveEverything(t *testing.T) {
	h := agentHost(t)
	_, err := h.Exec(t.Context(), "sh", "-c", `mkdir -p /usr/local/go/bin /usr/local/bin
		echo go1.19 > /usr/local/go/VERSION; echo theirs > /usr/local/go/bin/go; chmod +x /usr/local/go/bin/go; echo foreign > /usr/local/bin/go`)
	must(t, err)
	o := honest(t, "1.26.90", "")
	o.task.Spec.User = &spec.User{Name: "deploy", Shell: "/bin/sh", Sudo: []string{"/usr/bin/id"}}
	o.task.Spec.Environment = map[string]string{"LOG_LEVEL": "debug"}
	report, err := o.tell(t, h)
	must(t, err)
	if report.Status != wire.Changed {
		t.Fatalf("install: %+v", report.Error)
	}
	for _, check := range []bool{true, false} {
		o.task.Action, o.task.Check = wire.Remove, check
		report, err = o.tell(t, h)
		must(t, err)
		if report.Status != wire.Changed || report.Go.After != "" && report.Go.After != "1.19" {
			t.Fatalf("remove: %s, %+v, %+v", report.Status, report.Go, report.Error)
		}
	}
	out, err := h.Exec(t.Context(), "sh", "-c", `cat /usr/local/go/bin/go /usr/local/bin/go; find / -xdev -name '*gofleet*' ! -path '`+remoteAgent+`' ! -path '/proc/*' ! -path '/sys/*'; ls /run/gofleet.lock 2>/dev/null || true`)
	must(t, err)
	if string(out) != "theirs\nforeign\n" {
		t.Errorf("the host has %s", out)
	}
	report, err = o.tell(t, h)
	must(t, err)
	if report.Status != wire.OK {
		t.Errorf("remove again: %s, %+v", report.Status, report.Actions)
	}
}

// TestOutOfTurn: messages that do not belong where they come end the task, and
// nothing else.
func TestOutOfTurn(t *testing.T) {
	h := agentHost(t)
	for name, text := range map[string]string{
		"no JSON":       "hello\n",
		"too much data": fmt.Sprintf("{\"data\":%d}\n", wire.MaxData+1),
		"negative data": "{\"data\":-1}\n",
		"endless line":  `{"task":{"run":"` + strings.Repeat("x", wire.MaxLine+1),
		"nothing":       "",
	} {
		t.Run(name, func(t *testing.T) {
			cmd, err := h.Command(t.Context(), remoteAgent, "serve", "--marker", "mark", "--login-uid", "0")
			must(t, err)
			cmd.Stdin = strings.NewReader(text)
			out, err := cmd.CombinedOutput()
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.ExitCode() != 1 {
				t.Errorf("the agent ended with %v\n%s", err, out)
			}
			if bytes.Contains(out, []byte("goroutine ")) {
				t.Errorf("it panicked:\n%s", out)
			}
			clean(t, h)
		})
	}
}
