//go:build unix

package gate

import (
	"os/exec"
	"syscall"
)

// ownGroup has a command end with all that it started. In a group of its own
// it is not reached by a Ctrl-C either, of which gofleet tells it.
func ownGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}
