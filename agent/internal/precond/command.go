package precond

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gofleet/gofleet/agent/spec"
)

// searched is where programs are looked for, whatever PATH the agent got:
// root must not run what a login user's PATH finds first.
var searched = []string{
	"/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin", "/snap/bin", "/run/current-system/sw/bin",
}

// versionArgs are for programs that know no --version.
var versionArgs = map[string][]string{
	"go": {"version"}, "java": {"-version"}, "javac": {"-version"}, "openssl": {"version"}, "ssh": {"-V"},
	"tmux": {"-V"}, "unzip": {"-v"}, "zip": {"-v"},
}

const (
	commandTimeout = 10 * time.Second
	maxOutput      = 64 << 10
)

// commands finds the required programs and, where a version is asked for,
// asks them for it. Missing ones are left out.
func (h host) commands(ctx context.Context, wanted []spec.CommandRequirement) map[string]string {
	var out map[string]string
	for _, want := range wanted {
		if h.find(want.Name) == "" {
			continue
		}
		if out == nil {
			out = make(map[string]string, len(wanted))
		}
		out[want.Name] = ""
		if want.Min == "" {
			continue
		}
		args, special := versionArgs[want.Name]
		if !special {
			args = []string{"--version"}
		}
		text, err := h.run(ctx, want.Name, args...)
		if err == nil {
			out[want.Name] = firstVersion(text)
		}
	}
	return out
}

// find gives the path of a program, or "".
func (h host) find(name string) string {
	if strings.HasPrefix(name, "/") {
		return h.path(name)
	}
	dirs := searched
	if os.Geteuid() != 0 {
		dirs = append(slices.Clone(searched), filepath.SplitList(os.Getenv("PATH"))...)
	}
	for _, dir := range dirs {
		if !strings.HasPrefix(dir, "/") {
			continue
		}
		p := h.path(filepath.Join(dir, name))
		if st, err := os.Stat(p); err == nil && st.Mode().IsRegular() && unix.Access(p, unix.X_OK) == nil {
			return p
		}
	}
	return ""
}

// run runs a program without input and gives both its outputs together, cut
// at a bound. It ends it, and its children, after some seconds.
func (h host) run(ctx context.Context, name string, args ...string) (string, error) {
	program := h.find(name)
	if program == "" {
		return "", exec.ErrNotFound
	}
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	var out bounded
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = []string{"PATH=" + strings.Join(searched, ":"), "LC_ALL=C", "HOME=/nonexistent"}
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.SysProcAttr = &unix.SysProcAttr{Setsid: true}
	cmd.Cancel = func() error { return unix.Kill(-cmd.Process.Pid, unix.SIGKILL) }
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	if ctx.Err() != nil {
		return "", context.Cause(ctx)
	}
	if errors.Is(err, exec.ErrWaitDelay) { // a child keeps the pipe; what was said is there
		err = nil
	}
	return out.b.String(), err
}

// bounded keeps the first maxOutput bytes and swallows the rest.
type bounded struct{ b bytes.Buffer }

func (w *bounded) Write(p []byte) (int, error) {
	n := len(p)
	w.b.Write(p[:min(n, maxOutput-w.b.Len())])
	return n, nil
}

// firstVersion gives the first number with a dot in it that begins a word or
// follows a letter that no version has: "git version 2.39.5", "OpenSSH_9.2p1",
// "go1.26.8". A lone number counts only where there is nothing better.
func firstVersion(s string) string {
	lone := ""
	for i := 0; i < len(s); {
		if s[i] < '0' || s[i] > '9' {
			i++
			continue
		}
		end := i
		for end < len(s) && (s[end] >= '0' && s[end] <= '9' || s[end] == '.' && end+1 < len(s) && s[end+1] >= '0' && s[end+1] <= '9') {
			end++
		}
		v := s[i:end]
		if strings.Contains(v, ".") && len(v) <= 40 {
			return v
		}
		if lone == "" && len(v) <= 9 && (i == 0 || s[i-1] == ' ') {
			lone = v
		}
		i = end
	}
	return lone
}
