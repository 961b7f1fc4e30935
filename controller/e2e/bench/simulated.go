package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/gofleet/gofleet/agent/spec"
	"github.com/gofleet/gofleet/controller/e2e/faults/rig"
)

// few is how many simulated hosts Ansible gets: it takes a process for each.
const few = 200

// rawPlay is the least that Ansible can do with a host: one command without
// Python and without facts.
const rawPlay = `- hosts: all
  gather_facts: false
  tasks:
    - ansible.builtin.raw: uname -sm
      changed_when: false
`

// fleet is simulated hosts at work, and what they are measured with.
type fleet struct {
	*bench
	dir      string
	n        int
	releases []*rig.Toolchain
	table    *tabwriter.Writer
}

// simulated audits and installs n simulated hosts and prints what the
// controller took for it.
func (b *bench) simulated(ctx context.Context, n int) error {
	dir, err := os.MkdirTemp("", "gofleet-sim-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	end, err := startSimulated(ctx, n, dir)
	if err != nil {
		return err
	}
	defer end()
	f := &fleet{bench: b, dir: dir, n: n, table: tabwriter.NewWriter(os.Stdout, 0, 0, 3, ' ', 0)}
	if err := f.make("1.26.90", "1.26.91"); err != nil {
		return err
	}
	fmt.Printf("%d simulated hosts, and the controller, on %d CPUs; an archive of %s\n\n", n, runtime.NumCPU(), spec.FormatSize(f.releases[0].Size))
	fmt.Fprintln(f.table, "\tseconds\thosts/s\tcontroller's CPU seconds\tcontroller's peak memory\tbeyond 60 MB, a host\tjournal")
	all := fmt.Sprint(n)
	for _, r := range []struct {
		name  string
		hosts int
		to    int
		args  []string
	}{
		{"audit, 50 at once", n, 0, []string{"audit"}},
		{"audit, all at once", n, 0, []string{"audit", "-f", all}},
		{"apply, 50 at once", n, 0, []string{"apply"}},
		{"apply, 50 at once, nothing to do", n, 0, []string{"apply"}},
		{"apply --serial 1,10%,100%, all at once", n, 1, []string{"apply", "-f", all, "--serial", "1,10%,100%", "--max-fail", "1%"}},
		{"audit of a few", min(n, few), 1, []string{"audit", "-i", filepath.Join(dir, "few.yaml")}},
	} {
		if err := f.gofleet(ctx, r.name, r.hosts, f.releases[r.to], r.args...); err != nil {
			return fmt.Errorf("%s: %w", r.name, err)
		}
	}
	if b.ansible != "" {
		if err := f.playbook(ctx); err != nil {
			return err
		}
	}
	if err := f.table.Flush(); err != nil {
		return err
	}
	fmt.Println()
	return nil
}

// startSimulated starts the process of the simulated hosts.
func startSimulated(ctx context.Context, n int, dir string) (end func(), err error) {
	server := exec.CommandContext(ctx, "/proc/self/exe", "-serve-simulated", fmt.Sprint(n), "-dir", dir)
	server.Stderr = os.Stderr
	stdin, err := server.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := server.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := server.Start(); err != nil {
		return nil, err
	}
	end = func() {
		stdin.Close()
		server.Wait()
	}
	if _, err := bufio.NewReader(stdout).ReadString('\n'); err != nil {
		end()
		return nil, fmt.Errorf("simulated hosts did not start: %w", err)
	}
	return end, nil
}

// make makes small archives.
func (f *fleet) make(versions ...string) error {
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		return err
	}
	defer self.Close()
	programs := &rig.Programs{Dir: f.dir, GoCommand: make([]byte, 64)} // the head of a program for this machine
	if _, err := io.ReadFull(self, programs.GoCommand); err != nil {
		return err
	}
	for _, v := range versions {
		t, err := programs.Make(v, rig.Shape{Files: 100, Noise: 300 << 10})
		if err != nil {
			return err
		}
		f.releases = append(f.releases, t)
	}
	return nil
}

// gofleet measures one command over hosts, each of which must end well.
func (f *fleet) gofleet(ctx context.Context, name string, hosts int, t *rig.Toolchain, args ...string) error {
	vars, err := json.Marshal(rig.Want(t))
	if err != nil {
		return err
	}
	if hosts == f.n {
		args = append(args, "-i", filepath.Join(f.dir, "inventory.yaml"))
	}
	state := filepath.Join(f.dir, "state")
	if err := os.RemoveAll(state); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, f.bench.gofleet, append(args, "-e", string(vars), "--ssh-config", "none")...)
	cmd.Env = append(os.Environ(), "XDG_STATE_HOME="+state, "XDG_CACHE_HOME="+filepath.Join(f.dir, "cache"))
	begun := time.Now()
	if err := run(cmd); err != nil {
		return err
	}
	took := time.Since(begun)
	usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	if !ok {
		return errors.New("this system tells no peak memory")
	}
	peak := usage.Maxrss << 10
	journal, err := bytesIn(state)
	if err != nil {
		return err
	}
	fmt.Fprintf(f.table, "%d: gofleet %s\t%.1f\t%.0f\t%.1f\t%s\t%.0f KB\t%s\n", hosts, name, took.Seconds(), float64(hosts)/took.Seconds(), cpu(cmd),
		spec.FormatSize(peak), max(0, float64(peak-60e6))/float64(hosts)/1e3, spec.FormatSize(journal))
	return nil
}

// cpu is how many seconds a program that has ended, and the children that it
// has waited for, were at work: less moved by what else the machine does.
func cpu(cmd *exec.Cmd) float64 {
	return (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds()
}

// bytesIn is how much is in the files below a directory.
func bytesIn(dir string) (sum int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			sum += info.Size()
		}
		return err
	})
	return sum, err
}

// playbook is Ansible with one raw task on a few of the hosts.
func (f *fleet) playbook(ctx context.Context) error {
	play := filepath.Join(f.dir, "raw.yml")
	if err := os.WriteFile(play, []byte(rawPlay), 0o600); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, f.ansible, "-i", filepath.Join(f.dir, "few.yaml"), "-f", "50", play)
	cmd.Env = append(os.Environ(), "ANSIBLE_PIPELINING=1", "ANSIBLE_NOCOLOR=1", "ANSIBLE_LOCALHOST_WARNING=0",
		"ANSIBLE_SSH_USETTY=0", "ANSIBLE_SSH_ARGS=-o ControlMaster=no") // with one task, a shared connection only costs
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	begun := time.Now()
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w\n%s", f.ansible, err, out.Bytes()[:min(out.Len(), 4<<10)])
	}
	took := time.Since(begun)
	if ended := strings.Count(out.String(), "ok=1 "); ended != min(f.n, few) {
		return fmt.Errorf("ansible-playbook came through with %d of %d hosts", ended, min(f.n, few))
	}
	fmt.Fprintf(f.table, "%d: ansible-playbook -f 50, one raw task\t%.1f\t%.1f\t%.1f\t\t\t\n", min(f.n, few), took.Seconds(), float64(min(f.n, few))/took.Seconds(), cpu(cmd))
	return nil
}
