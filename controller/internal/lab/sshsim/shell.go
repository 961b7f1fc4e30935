//go:build unix

package sshsim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"syscall"
	"time"
)

// Shell returns a Handler that gives commands to sh as this process's user, with
// home as HOME and working directory and with env (NAME=value, the last wins)
// beyond a minimal environment. When the connection ends, the command and its
// children are killed.
func Shell(home string, env ...string) Handler {
	return func(ctx context.Context, c Command) int {
		cmd := exec.CommandContext(ctx, "/bin/sh", "-c", c.Line)
		cmd.Dir = home
		cmd.Env = append([]string{"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=" + home, "USER=" + c.User, "LOGNAME=" + c.User, "SHELL=/bin/sh"}, env...)
		cmd.Stdout, cmd.Stderr = c.Stdout, c.Stderr
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
		cmd.WaitDelay = time.Second // for pipes that somebody keeps open
		// Not cmd.Stdin: Wait would wait for the client to close it.
		stdin, err := cmd.StdinPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			fmt.Fprintln(c.Stderr, "sh:", err)
			return 127
		}
		go func() {
			_, _ = io.Copy(stdin, c.Stdin)
			stdin.Close()
		}()
		err = cmd.Wait()
		var exit *exec.ExitError
		switch {
		case errors.As(err, &exit) && exit.Exited():
			return exit.ExitCode()
		case errors.As(err, &exit):
			return 128 + int(exit.Sys().(syscall.WaitStatus).Signal())
		case err != nil && !errors.Is(err, exec.ErrWaitDelay):
			fmt.Fprintln(c.Stderr, "sh:", err)
			return 255
		}
		return 0
	}
}
