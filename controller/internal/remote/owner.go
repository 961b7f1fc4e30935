package remote

import (
	"io/fs"
	"os"
	"syscall"
)

// ownedByUs tells whether a file is the user's own: ssh judges the mode of
// such key files only.
func ownedByUs(st fs.FileInfo) bool {
	sys, ok := st.Sys().(*syscall.Stat_t)
	return ok && int(sys.Uid) == os.Getuid()
}
