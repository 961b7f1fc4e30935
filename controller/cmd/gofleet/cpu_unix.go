//go:build unix

package main

import (
	"time"

	"golang.org/x/sys/unix"
)

// usedCPU tells the time of CPUs that this process has used.
func usedCPU() func() time.Duration {
	return func() time.Duration {
		var used unix.Rusage
		if unix.Getrusage(unix.RUSAGE_SELF, &used) != nil {
			return 0 // cannot be
		}
		return time.Duration(used.Utime.Nano() + used.Stime.Nano())
	}
}
