package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/gofleet/gofleet/agent/spec"
	"github.com/gofleet/gofleet/agent/wire"
	"github.com/gofleet/gofleet/controller/internal/lab/sshsim"
)

// marker is in the shell line that starts an agent; Hello stands behind it.
var marker = regexp.MustCompile(`[0-9a-f]{32}`)

// serveSimulated is another process of the bench: n hosts on loopback whose
// agents answer every task with a report. It writes an inventory and a key into
// dir, says so, and serves until stdin ends.
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
		hosts[i] = sshsim.Host{Keys: []ssh.PublicKey{signer.PublicKey()}, HostKey: hostKey, Exec: simulatedAgent}
	}
	server, err := sshsim.StartMany(hosts)
	if err != nil {
		return err
	}
	defer server.Close()
	var inventory strings.Builder
	fmt.Fprintf(&inventory, "all:\n  vars:\n    ansible_user: root\n    gofleet_go_version: \"1.26.8\"\n    ansible_ssh_private_key_file: %s\n    ansible_ssh_common_args: -o UserKnownHostsFile=%s\n  hosts:\n",
		filepath.Join(dir, "key"), filepath.Join(dir, "known_hosts"))
	for i := range hosts {
		a := server.Addr(i)
		fmt.Fprintf(&inventory, "    sim%05d: {ansible_host: %s, ansible_port: %d}\n", i, a.Addr(), a.Port())
	}
	for name, content := range map[string]string{
		"key": string(private), "known_hosts": server.KnownHosts(), "inventory.yaml": inventory.String(),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			return err
		}
	}
	fmt.Println("ready")
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// simulatedAgent says Hello and answers one task.
func simulatedAgent(_ context.Context, c sshsim.Command) int {
	m := marker.FindString(c.Line)
	hello, err := json.Marshal(wire.Hello{Protocol: wire.Protocol, Platform: spec.Platform{OS: "linux", Arch: "amd64"}, Cached: true})
	if err != nil || m == "" {
		return 1
	}
	fmt.Fprintf(c.Stdout, "%s cached\n%s hello %s\n", m, m, hello)
	in, out := wire.NewReader(c.Stdin, wire.MaxLine), wire.NewWriter(c.Stdout)
	for {
		var command wire.Command
		if err := in.Read(&command); err != nil {
			return 1
		}
		if command.Task != nil {
			report := wire.Report{Status: wire.OK, Go: wire.GoChange{Before: "1.26.8", After: "1.26.8"}}
			for _, name := range []string{"os", "arch", "kernel", "glibc", "cpus", "memory", "disk", "inodes", "noexec", "clock"} {
				report.Checks = append(report.Checks, wire.Check{Name: name, Status: wire.Pass, Actual: "as it is", Wanted: "as wanted"})
			}
			out.Write(wire.Event{Report: &report})
			return 0
		}
	}
}

// simulated audits n simulated hosts at once and prints what the controller
// took.
func (b *bench) simulated(ctx context.Context, n int) error {
	dir, err := os.MkdirTemp("", "gofleet-sim-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	server := exec.CommandContext(ctx, "/proc/self/exe", "-serve-simulated", fmt.Sprint(n), "-dir", dir)
	server.Stderr = os.Stderr
	stdin, err := server.StdinPipe()
	if err != nil {
		return err
	}
	stdout, err := server.StdoutPipe()
	if err != nil {
		return err
	}
	if err := server.Start(); err != nil {
		return err
	}
	defer func() {
		stdin.Close()
		server.Wait()
	}()
	if _, err := bufio.NewReader(stdout).ReadString('\n'); err != nil {
		return fmt.Errorf("simulated hosts did not start: %w", err)
	}
	audit := exec.CommandContext(ctx, b.gofleet, "audit", "-i", filepath.Join(dir, "inventory.yaml"), "-f", fmt.Sprint(n), "--timeout", "120")
	audit.Env = append(os.Environ(), "XDG_STATE_HOME="+filepath.Join(dir, "state"))
	begun := time.Now()
	if err := run(audit); err != nil {
		return err
	}
	took := time.Since(begun)
	usage, ok := audit.ProcessState.SysUsage().(*syscall.Rusage)
	if !ok {
		return errors.New("this system tells no peak memory")
	}
	peak := usage.Maxrss << 10
	fmt.Printf("%d simulated hosts audited at once: %.1f s, %.0f hosts/s, controller's peak memory %s (60 MB + %.0f KB a host)\n",
		n, took.Seconds(), float64(n)/took.Seconds(), spec.FormatSize(peak), float64(peak-60e6)/float64(n)/1e3)
	return nil
}

// agents prints what the agents weigh and how fast one is up.
func (b *bench) agents(ctx context.Context, agent string) error {
	program, err := os.ReadFile(agent)
	if err != nil {
		return err
	}
	var packed bytes.Buffer
	z, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	if err != nil {
		return err
	}
	if _, err := z.Write(program); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	best := time.Hour
	for range 20 {
		begun := time.Now()
		if err := run(exec.CommandContext(ctx, agent, "version")); err != nil {
			return err
		}
		best = min(best, time.Since(begun))
	}
	fmt.Printf("agent: %.2f MB on disk, %.2f MB compressed, up and done in %.1f ms at best of 20\n",
		float64(len(program))/1e6, float64(packed.Len())/1e6, best.Seconds()*1e3)
	return nil
}
