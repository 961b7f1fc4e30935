package remote

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// TestJumpFiles counts what connections to jump hosts take of this process's
// files: they stay, however few hosts are at work at once.
func TestJumpFiles(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config")
	config := "Host inner\n\tProxyJump outer\nHost piped\n\tProxyCommand nc gate 22\nHost broken\n\tProxyJump gate:0\n"
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	behind := func(n int, jump string) []Target {
		targets := make([]Target, n)
		for i := range targets {
			at := jump
			if jump == "each" {
				at = fmt.Sprintf("jump%d", i)
			}
			targets[i] = Target{Name: fmt.Sprintf("h%d", i), Args: []string{"-o", "ProxyJump=" + at}}
		}
		return targets
	}
	for _, tt := range []struct {
		name    string
		targets []Target
		atOnce  int
		want    int
	}{
		{"none", []Target{{Name: "h1"}, {Name: "h2", Local: true}}, 50, 0},
		{"one for all", behind(200, "gate"), 50, 1},
		{"as many as its sshd bears", behind(1200, "gate"), 1200, 3},
		{"fewer at once", behind(1200, "gate"), 50, 1},
		{"one for each", behind(300, "each"), 50, 300},
		{"a chain has one", behind(10, "first,second"), 50, 1},
		{"of ssh_config, the same one", append(behind(5, "inner"), behind(5, "outer")...), 50, 1},
		{"users are different logins", append(behind(5, "a@gate"), behind(5, "b@gate")...), 50, 2},
		{"a command's pipes", behind(10, "piped"), 50, 3},
		{"what cannot be resolved", []Target{{Name: "broken"}}, 50, 0},
	} {
		d := &Dialer{Home: t.TempDir(), ConfigFiles: []string{file}, LocalUser: "me"}
		got, failed := d.JumpFiles(tt.targets, tt.atOnce)
		if got != tt.want {
			t.Errorf("%s: %d files, want %d", tt.name, got, tt.want)
		}
		if broken := tt.targets[0].Name == "broken"; broken != (failed[0] != nil) || len(failed) > 1 {
			t.Errorf("%s: failed are %v", tt.name, failed)
		}
	}
}
