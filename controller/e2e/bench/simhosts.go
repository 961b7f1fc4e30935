package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"

	"github.com/gofleet/gofleet/agent/spec"
	"github.com/gofleet/gofleet/agent/wire"
	"github.com/gofleet/gofleet/controller/internal/lab/sshsim"
)

// marker is in the shell line that starts an agent; Hello stands behind it.
var marker = regexp.MustCompile(`[0-9a-f]{32}`)

// serveSimulated is another process of the bench: n hosts on loopback whose
// agents install nothing, but want the archive, prove its sha256 and remember
// its version. It writes inventories and a key into dir, says so, and serves
// until stdin ends.
func serveSimulated(n int, dir string) error {
	signer, private, err := sshsim.NewKey()
	if err != nil {
		return err
	}
	hostKey, _, err := sshsim.NewKey()
	if err != nil {
		return err
	}
	hosts := make([]sshsim.Host, n)
	for i := range hosts {
		h := &simulatedHost{}
		hosts[i] = sshsim.Host{
			Keys: []ssh.PublicKey{signer.PublicKey()}, HostKey: hostKey, Exec: h.exec,
			Files: &sftp.Handlers{FileGet: h, FilePut: h, FileCmd: h, FileList: h},
		}
	}
	server, err := sshsim.StartMany(hosts)
	if err != nil {
		return err
	}
	defer server.Close()
	files := map[string]string{"key": string(private), "known_hosts": server.KnownHosts()}
	for file, count := range map[string]int{"inventory.yaml": n, "few.yaml": min(n, few)} {
		var b strings.Builder
		fmt.Fprintf(&b, "all:\n  vars:\n    ansible_user: root\n    ansible_ssh_private_key_file: %s\n    ansible_ssh_common_args: -o UserKnownHostsFile=%s\n  hosts:\n",
			filepath.Join(dir, "key"), filepath.Join(dir, "known_hosts"))
		for i := range count {
			a := server.Addr(i)
			fmt.Fprintf(&b, "    sim%05d: {ansible_host: %s, ansible_port: %d}\n", i, a.Addr(), a.Port())
		}
		files[file] = b.String()
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			return err
		}
	}
	fmt.Println("ready")
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// simulatedHost is a host of which nothing is kept but the version of its Go.
type simulatedHost struct {
	mu      sync.Mutex
	version string
	upload  []byte // while one is under way
}

// uploadPath is where the agent of a simulated host wants the archive.
const uploadPath = "/upload"

// exec is the host's shell: it starts agents, and answers uname.
func (h *simulatedHost) exec(_ context.Context, c sshsim.Command) int {
	m := marker.FindString(c.Line)
	if m == "" {
		fmt.Fprintln(c.Stdout, "Linux x86_64")
		return 0
	}
	hello, err := json.Marshal(wire.Hello{Protocol: wire.Protocol, Platform: spec.Platform{OS: "linux", Arch: runtime.GOARCH}, Cached: true})
	if err != nil {
		return 1
	}
	fmt.Fprintf(c.Stdout, "%s cached\n%s hello %s\n", m, m, hello)
	in, out := wire.NewReader(c.Stdin, wire.MaxLine), wire.NewWriter(c.Stdout)
	report, err := h.serve(in, out)
	if err != nil {
		report.Status, report.Error = wire.Failed, wire.NewError(wire.KindInternal, err, "")
	}
	if out.Write(wire.Event{Report: report}) != nil {
		return 1
	}
	return 0
}

// serve is the agent.
func (h *simulatedHost) serve(in *wire.Reader, out *wire.Writer) (*wire.Report, error) {
	report := &wire.Report{Status: wire.OK}
	for _, name := range []string{"os", "arch", "kernel", "glibc", "cpus", "memory", "disk", "inodes", "noexec", "clock"} {
		report.Checks = append(report.Checks, wire.Check{Name: name, Status: wire.Pass, Actual: "as it is", Wanted: "as wanted"})
	}
	var command wire.Command
	if err := in.Read(&command); err != nil || command.Task == nil {
		return report, errors.Join(err, errors.New("there is no task"))
	}
	task := command.Task
	h.mu.Lock()
	defer h.mu.Unlock()
	report.Go = wire.GoChange{Before: h.version, After: h.version}
	// After a batch an audit comes without a release; the host is as it was left.
	if task.Release == nil || task.Release.Version == h.version {
		return report, nil
	}
	report.Status, report.Changed, report.Go.After = wire.Changed, true, task.Release.Version
	if task.Action != wire.Apply || task.Check {
		return report, nil
	}
	report.Actions = []wire.ActionResult{{Name: "install go" + task.Release.Version, Changed: true}, {Name: "link /usr/local/go", Changed: true}}
	if err := h.receive(in, out); err != nil {
		return report, err
	}
	h.version = task.Release.Version
	return report, nil
}

// receive gets the archive over SFTP and proves it. h.mu is held: the upload
// is the agent's as long as it is there.
func (h *simulatedHost) receive(in *wire.Reader, out *wire.Writer) error {
	var command wire.Command
	if err := errors.Join(out.Write(wire.Event{Phase: "receive"}), out.Write(wire.Event{Want: true}), in.Read(&command)); err != nil {
		return err
	}
	send := command.Send
	if send == nil || send.Size > 64<<20 {
		return errors.New("nothing is sent that was wanted")
	}
	h.upload = make([]byte, send.Size)
	defer func() { h.upload = nil }()
	if err := out.Write(wire.Event{Need: &wire.Need{Path: uploadPath}}); err != nil {
		return err
	}
	for have := int64(0); have < send.Size; {
		var command wire.Command
		if err := in.Read(&command); err != nil {
			return err
		}
		switch {
		case command.Have != nil:
			have = *command.Have
		case command.Stop:
			return errors.New("stopped")
		}
	}
	if sum := sha256.Sum256(h.upload); hex.EncodeToString(sum[:]) != send.SHA256 {
		return errors.New("what came is not what was sent")
	}
	return errors.Join(out.Write(wire.Event{Phase: "verify"}), out.Write(wire.Event{Phase: "switch"}))
}

// Filewrite opens the upload for SFTP.
func (h *simulatedHost) Filewrite(r *sftp.Request) (io.WriterAt, error) {
	if r.Filepath != uploadPath || h.upload == nil {
		return nil, os.ErrNotExist
	}
	return writerAt(h.upload), nil
}

// Fileread, Filecmd and Filelist refuse everything else.
func (h *simulatedHost) Fileread(*sftp.Request) (io.ReaderAt, error) { return nil, os.ErrPermission }

// Filecmd refuses.
func (h *simulatedHost) Filecmd(*sftp.Request) error { return os.ErrPermission }

// Filelist refuses.
func (h *simulatedHost) Filelist(*sftp.Request) (sftp.ListerAt, error) { return nil, os.ErrPermission }

// writerAt is a file of a size that stays.
type writerAt []byte

func (w writerAt) WriteAt(p []byte, at int64) (int, error) {
	if at < 0 || at > int64(len(w)) {
		return 0, io.ErrShortWrite
	}
	n := copy(w[at:], p)
	if n < len(p) {
		return n, io.ErrShortWrite
	}
	return n, nil
}
