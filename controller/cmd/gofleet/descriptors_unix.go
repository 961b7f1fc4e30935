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
// refuses a run that would come to it. Jumps are the files of connections to
// jump hosts.
func checkDescriptors(forks, hosts, jumps int) error {
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
	return enoughFiles(min(forks, hosts), jumps, limit.Cur)
}

// enoughFiles refuses more hosts at once, and the way to them, than a limit of
// open files allows.
func enoughFiles(atOnce, jumps int, limit uint64) error {
	need := uint64(max(atOnce, 1))*filesForHost + uint64(jumps) + filesForOther
	if need <= limit {
		return nil
	}
	by := ""
	if jumps > 0 {
		by = fmt.Sprintf(", %d of them for jump hosts", jumps)
	}
	err := fmt.Errorf("%d hosts at once may need %d open files%s, and this process may have %d", atOnce, need, by, limit)
	most := (int64(limit) - filesForOther - int64(jumps)) / filesForHost
	if jumps > 0 && most < 1 {
		return hint(err, "connections to jump hosts stay for the whole run: take the hosts in several runs (-l), or raise the hard limit (ulimit -Hn)")
	}
	return hint(err, fmt.Sprintf("give --forks at most %d, or raise the hard limit (ulimit -Hn)", max(most, 1)))
}
