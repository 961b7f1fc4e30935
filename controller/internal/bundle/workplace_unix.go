//go:build unix

package bundle

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
)

// lockDir locks a directory until it is closed. It is an error where another
// process has; a filesystem without locks is none.
func lockDir(dir *os.File) error {
	err := syscall.Flock(int(dir.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return err
	}
	return nil
}

// isMount tells whether a filesystem is mounted on the directory: then it
// cannot be renamed.
func isMount(dir string) bool {
	device := func(path string) (uint64, bool) {
		st, err := os.Stat(path)
		if err != nil {
			return 0, false
		}
		sys, ok := st.Sys().(*syscall.Stat_t)
		return uint64(sys.Dev), ok
	}
	here, ok := device(dir)
	above, ok2 := device(filepath.Dir(dir))
	return ok && ok2 && here != above
}
