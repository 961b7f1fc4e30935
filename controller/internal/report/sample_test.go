package report

import (
	"bytes"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/gofleet/gofleet/agent/wire"
	"github.com/gofleet/gofleet/controller/internal/fleet"
)

// sample is an apply over 30 hosts with every status.
func sample() *fleet.Outcome {
	o := &fleet.Outcome{Run: "20261122-144501-7c1e", Command: wire.Apply, Seconds: 14.32}
	add := func(host string, r wire.Report, seconds ...float64) {
		r.Seconds = map[string]float64{"connect": 0.05 + float64(len(o.Results))/1000, "agent": 0.11, "total": 0.4}
		for i, phase := range []string{"upload", "extract", "total"} {
			if i < len(seconds) {
				r.Seconds[phase] = seconds[i]
			}
		}
		platform := "linux/amd64"
		if r.Status == wire.Unreachable || r.Status == wire.Skipped {
			platform = ""
		}
		o.Results = append(o.Results, fleet.Result{Host: host, Platform: platform, Report: r})
	}
	low := wire.Check{Name: "memory", Status: wire.Warn, Actual: "4.1 GB", Wanted: "8 GB recommended",
		Hint: "large builds may run out of memory; give the host more, or lower gofleet_preconditions.memory.recommended"}
	install := []wire.ActionResult{
		{Name: "install go1.26.8 in /usr/local/lib/gofleet/go1.26.8", Changed: true},
		{Name: "link /usr/local/go to lib/gofleet/go1.26.8", Changed: true,
			Diff: "-/usr/local/go -> lib/gofleet/go1.25.3\n+/usr/local/go -> lib/gofleet/go1.26.8\n"},
	}
	for i := 1; i <= 8; i++ {
		add(fmt.Sprintf("web%02d", i), wire.Report{Status: wire.Changed, Changed: true,
			Go: wire.GoChange{Before: "1.25.3", After: "1.26.8"}, Actions: install, Checks: []wire.Check{low}},
			2.1+float64(i)/10, 3.2, 6.5+float64(i)/10)
	}
	fresh := append([]wire.ActionResult{{Name: "create user deploy", Changed: true}}, install...)
	for i := 9; i <= 12; i++ {
		add(fmt.Sprintf("web%02d", i), wire.Report{Status: wire.Changed, Changed: true,
			Go: wire.GoChange{After: "1.26.8"}, Actions: fresh, Checks: []wire.Check{{Name: "memory", Status: wire.Pass, Actual: "16.6 GB", Wanted: "8 GB recommended"}}},
			2.9, 3.4, 8.1)
	}
	for _, n := range []int{1, 2, 3, 7} {
		add(fmt.Sprintf("db%d", n), wire.Report{Status: wire.OK, Go: wire.GoChange{Before: "1.26.8", After: "1.26.8"},
			Checks: []wire.Check{low}})
	}
	add("ci1", wire.Report{Status: wire.Changed, Changed: true, Go: wire.GoChange{Before: "1.26.8", After: "1.26.8"},
		Actions: []wire.ActionResult{{Name: "write /etc/profile.d/gofleet.sh", Changed: true,
			Diff: "--- /etc/profile.d/gofleet.sh\n+++ /etc/profile.d/gofleet.sh\n@@ -3 +3 @@\n-export LOG_LEVEL='info'\n+export LOG_LEVEL='debug'\n"}}})
	add("ci2", wire.Report{Status: wire.Changed, Changed: true, Go: wire.GoChange{Before: "1.26.8", After: "1.26.8"},
		Actions: []wire.ActionResult{{Name: "install go1.26.8 in /usr/local/lib/gofleet/go1.26.8", Changed: true}},
		Drift:   []wire.Drift{{Path: "/usr/local/lib/gofleet/go1.26.8/bin/gofmt", How: "missing"}}})
	unmet := &wire.Error{Kind: wire.KindUnmet, Message: "2 preconditions are not met"}
	for i, memory := range []string{"0.9 GB", "1.1 GB", "1.1 GB"} {
		add(fmt.Sprintf("cache%d", i+1), wire.Report{Status: wire.Unmet, Error: unmet, Checks: []wire.Check{
			{Name: "memory", Status: wire.Fail, Actual: memory, Wanted: "at least 2 GB", Hint: "give the host more memory, or lower gofleet_preconditions.memory.min"},
			{Name: "glibc", Status: wire.Fail, Actual: "glibc 2.17", Wanted: "at least glibc 2.28", Hint: "a newer distribution; cgo programs built elsewhere would not start here"},
		}})
	}
	for i := 1; i <= 2; i++ {
		add(fmt.Sprintf("app%d", i), wire.Report{Status: wire.Drifted, Go: wire.GoChange{Before: "1.26.8", After: "1.26.8"},
			Drift: []wire.Drift{{Path: "/usr/local/go", How: `leads to "/opt"`}, {Path: "/etc/profile.d/gofleet.sh", How: "content, mode or owner"}}})
	}
	add("edge3", wire.Report{Status: wire.Failed, Go: wire.GoChange{Before: "1.25.3", After: "1.25.3"}, Error: &wire.Error{
		Kind: wire.KindVerify, Message: "verify go1.26.8: bin/go version: exit status 126\n/usr/local/lib/gofleet/.staging/tree/bin/go: Permission denied",
		Hint: "go1.25.3 is still in place; look for a policy (SELinux, AppArmor, fapolicyd) that forbids programs in /usr/local/lib"}})
	for i := 1; i <= 3; i++ {
		add(fmt.Sprintf("edge%d.example.net", i), wire.Report{Status: wire.Unreachable, Error: &wire.Error{
			Kind: wire.KindUnreachable, Retryable: true,
			Message: fmt.Sprintf("connect to 10.20.0.%d:22: connection refused", 10+i),
			Hint:    "is sshd running there, and is the port right? ansible_port sets another"}})
	}
	add("old.example.net", wire.Report{Status: wire.Unreachable, Error: &wire.Error{
		Kind: wire.KindHostKeyChanged, Message: "the host key of old.example.net:22 has changed: it shows ed25519 SHA256:dJ2Yb3hBq0o5yFQm3Vt1y1nJb1c0s8k7d6f5g4h3j2k, but ~/.ssh/known_hosts:17 has ed25519 SHA256:Qy1zT9Vw8uR7tS6pO5nM4lK3jI2hG1fE0dC9bA8zY7x",
		Hint: "somebody may be listening in. If the host was set up anew, compare the fingerprint with the host's own and forget the old key: ssh-keygen -R old.example.net"}})
	for i := 1; i <= 3; i++ {
		add(fmt.Sprintf("late-%d-a", i), wire.Report{Status: wire.Skipped, Error: &wire.Error{
			Kind: wire.KindInterrupted, Message: "not begun: the run was interrupted", Retryable: true}})
	}
	return o
}

func hostNames(o *fleet.Outcome) []string {
	names := make([]string, len(o.Results))
	for i, res := range o.Results {
		names[i] = res.Host
	}
	return names
}

// newReporter makes a Reporter that writes into two buffers.
func newReporter(t *testing.T, o Options) (r *Reporter, stdout, stderr *bytes.Buffer) {
	t.Helper()
	stdout, stderr = &bytes.Buffer{}, &bytes.Buffer{}
	o.Stdout, o.Stderr = stdout, stderr
	if o.Command == "" {
		o.Command = wire.Apply
	}
	r, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return r, stdout, stderr
}

// fakeClock is a clock that goes on when it is told to.
type fakeClock struct {
	mu sync.Mutex
	at time.Time
}

func newFakeClock() *fakeClock {
	return &fakeClock{at: time.Date(2026, 11, 22, 14, 45, 0, 0, time.UTC)}
}

func (c *fakeClock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *fakeClock) step(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}
