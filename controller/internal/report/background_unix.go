//go:build unix

package report

import "golang.org/x/sys/unix"

// background reports whether the terminal is another job's at the moment: what
// we drew there would stand in the middle of its text.
func background(fd int) bool {
	group, err := unix.IoctlGetInt(fd, unix.TIOCGPGRP)
	return err == nil && group != unix.Getpgrp()
}
