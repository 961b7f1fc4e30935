package main

import (
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// complaint is what a command line that contacts nobody ends with: its
// problems, and what else was said on stderr.
func complaint(t *testing.T, args ...string) string {
	t.Helper()
	out, err := os.Create(filepath.Join(t.TempDir(), "stderr"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	a := newApp(nil, out, out, nil)
	root := a.command()
	root.SetArgs(args)
	err = root.ExecuteContext(t.Context())
	if err == nil {
		t.Fatal("no error")
	}
	a.printError(unknownCommand(root, err))
	text, err := os.ReadFile(out.Name())
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Each wrong command line is answered with what is wrong and the way out, and
// with nothing of Go's.
func TestUsage(t *testing.T) {
	t.Chdir(t.TempDir())
	t.Setenv("HOME", ".")
	for name, text := range map[string]string{
		"typo.yaml":  "web:\n  host:\n    w1:\n",
		"both.yaml":  "web:\n  hosts:\n    w1: {ansible_port: ssh, gofleet_keep: many}\n    w2: {}\n",
		"hosts.yaml": "web:\n  hosts:\n    w1:\n    w2:\n",
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	tests := []struct {
		args string
		want []string
	}{
		{"aply -i x", []string{`gofleet has no command "aply"`, "did you mean apply?"}},
		{"audit web", []string{`gofleet audit does not take "web"`, "usage: gofleet audit -i INVENTORY"}},
		{"help aply", []string{`gofleet has no command "aply"`, "did you mean apply?"}},
		{"help runs lst", []string{`gofleet runs does not take "lst"`}},
		{"completion bsh", []string{`gofleet completion does not take "bsh"`}},
		{"runs lst", []string{`gofleet runs does not take "lst"`}},
		{"fetch", []string{"gofleet fetch lacks an argument", "usage: gofleet fetch VERSION"}},
		{"fetch 1.26.8 1.26.7", []string{`gofleet fetch does not take "1.26.7"`}},
		{"audit --chek", []string{"gofleet audit has no flag --chek", "gofleet help audit lists the flags"}},
		{"apply --chek", []string{"gofleet apply has no flag --chek", "did you mean --check?"}},
		{"apply -xi y", []string{"gofleet apply has no flag -x"}},
		{"apply -l", []string{"--limit needs a value", "-l, --limit pattern: only the hosts of this pattern"}},
		{"apply -f many", []string{`--forks: "many" is no whole number from 1 on`, "-f, --forks number"}},
		{"apply -f 0", []string{`--forks: "0" is no whole number from 1 on`}},
		{"apply --gate-retries -1", []string{`--gate-retries: "-1" is no whole number from 0 on`}},
		{"apply --seed x", []string{`--seed: "x" is no whole number`}},
		{"apply --check=maybe", []string{`--check: "maybe" is neither true nor false`}},
		{"apply -T x", []string{`--timeout: "x" is no time: write 10 (seconds), 90s or 5m`}},
		{"apply -i hosts.yaml --seed 3", []string{"--seed: only a random order has one", "--order random"}},
		{"apply -i hosts.yaml --recheck", []string{"--recheck: only a resumed run", "--resume ID"}},
		{"audit -i hosts.yaml -F nowhere", []string{"--ssh-config nowhere: no such file"}},
		{"audit -i hosts.yaml -F .", []string{"--ssh-config .: it is a directory"}},
		{"audit -i hosts.yaml --private-key nowhere", []string{"--private-key nowhere: no such file"}},
		{"audit -i hosts.yaml -e @nowhere", []string{"-e @nowhere: no such file"}},
		{"audit -i hosts.yaml -l @nowhere", []string{"--limit @nowhere: no such file", "@RUN:failed"}},
		{"audit -i hosts.yaml -l web[", []string{"the limit web[ has a bracket without the other"}},
		{"audit -i hosts.yaml -l ~[", []string{"the limit ~[ has a bracket without the other"}},
		{"audit -i typo.yaml", []string{"typo.yaml:2: host in the group web is passed over", "typo.yaml: the inventory has no hosts", "hint: write each below"}},
		{"audit -i both.yaml", []string{"both.yaml:3: gofleet_keep: must be a whole number", "both.yaml:3: ansible_port: ssh is not a number"}},
		{"audit -i ", []string{"-i is empty"}},
		{"inventory -i hosts.yaml", []string{"gofleet inventory needs to know what to do", "give one of --list, --graph"}},
		{"inventory -i hosts.yaml --graph --list", []string{"--list and --graph cannot be given together"}},
		{"remove -i hosts.yaml --version v1", []string{`--version: "v1" is not the name of a Go release`}},
		{"runs prune --older-than x", []string{`--older-than: "x" is no age`}},
	}
	for _, tt := range tests {
		t.Run(tt.args, func(t *testing.T) {
			got := complaint(t, strings.Split(tt.args, " ")...)
			for _, want := range tt.want {
				if !strings.Contains(got, want) {
					t.Errorf("%q is not in\n%s", want, got)
				}
			}
			for _, word := range []string{"strconv", "%!", "arg(s)", "invalid argument"} {
				if strings.Contains(got, word) {
					t.Errorf("%q is in\n%s", word, got)
				}
			}
		})
	}
}

// What the ssh-agent holds is named by the public half of a key.
func TestKeyFileGiven(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "id.pub"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	a := newApp(nil, os.Stdout, os.Stderr, nil)
	cmd := a.auditCommand()
	if err := cmd.Flags().Set("private-key", filepath.Join(dir, "id")); err != nil {
		t.Fatal(err)
	}
	if err := a.checkFiles(cmd); err != nil {
		t.Error(err)
	}
}

// A terminal that goes away ends a run cleanly, however often that is told; the
// next signal of another kind ends it at once.
func TestHangup(t *testing.T) {
	// Whoever runs the tests with nohup has this process ignore hangups, and
	// gofleet leave it at that: who listens ends that.
	heard := make(chan os.Signal, 2)
	signal.Notify(heard, syscall.SIGHUP)
	defer signal.Stop(heard)
	ctx, i, done := watchSignals(t.Context())
	defer done()
	stop := i.run()
	tell := func(s syscall.Signal) {
		t.Helper()
		if err := syscall.Kill(os.Getpid(), s); err != nil {
			t.Fatal(err)
		}
	}
	tell(syscall.SIGHUP)
	select {
	case <-stop:
	case <-ctx.Done():
		t.Fatal("it ends at once")
	}
	tell(syscall.SIGHUP)
	select {
	case <-ctx.Done():
		t.Fatal("the same hangup counts twice")
	case <-time.After(50 * time.Millisecond):
	}
	tell(syscall.SIGTERM)
	<-ctx.Done()
}

func TestUserWithoutEnvironment(t *testing.T) {
	t.Setenv("USER", "")
	if me := whoAmI(); strings.HasPrefix(me, "@") {
		t.Errorf("whoAmI is %q", me)
	}
}
