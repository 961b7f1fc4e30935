//go:build unix

package main

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// What a run needs of open files: for a host its connection, or the three
// pipes of a ProxyCommand; beside hosts archives, terminal, keys and journal.
const (
	filesForHost  = 3
	filesForOther = 64
)

// checkDescriptors raises the limit of open files as far as it goes, and
// refuses a run that would come to it.
func checkDescriptors(forks, hosts int) error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return nil // then it shows itself, host by host
	}
	if limit.Cur < limit.Max {
		raised := unix.Rlimit{Cur: limit.Max, Max: limit.Max}
		if unix.Setrlimit(unix.RLIMIT_NOFILE, &raised) == nil {
			limit = raised
		}
	}
	return enoughFiles(min(forks, hosts), limit.Cur)
}

// enoughFiles refuses more hosts at once than a limit of open files allows.
func enoughFiles(atOnce int, limit uint64) error {
	need := uint64(max(atOnce, 1))*filesForHost + filesForOther
	if need <= limit {
		return nil
	}
	most := (int64(limit) - filesForOther) / filesForHost
	return hint(fmt.Errorf("%d hosts at once may need %d open files, and this process may have %d", atOnce, need, limit),
		fmt.Sprintf("give --forks at most %d, or raise the hard limit (ulimit -Hn)", max(most, 1)))
}
