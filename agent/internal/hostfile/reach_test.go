package hostfile

import (
	"testing"

	"golang.org/x/sys/unix"
)

// Who else may write to a directory; Debian's /usr/local of its group staff is
// as good as root's.
func TestOthersWrite(t *testing.T) {
	for _, c := range []struct {
		path string
		gid  uint32
		mode uint32
		want bool
	}{
		{"/usr/local/lib", 0, 0o755, false},
		{"/usr/local/lib", 0, 0o775, false},
		{"/usr/local", 50, 0o2775, false},
		{"/usr/local/lib", 50, 0o2775, false},
		{"/usr/local/lib", 50, 0o2777, true},
		{"/usr/local/lib", 50, 0o775, true}, // not as Debian made it
		{"/usr/local/lib", 1000, 0o2775, true},
		{"/usr/localx", 50, 0o2775, true},
		{"/opt", 50, 0o2775, true},
		{"/opt", 0, 0o1777, true},
	} {
		if got := othersWrite(c.path, &unix.Stat_t{Gid: c.gid, Mode: unix.S_IFDIR | c.mode}); got != c.want {
			t.Errorf("%s, gid %d, mode %04o: %v", c.path, c.gid, c.mode, got)
		}
	}
}
