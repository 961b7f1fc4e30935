//go:build faultpoints

package fault

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Hook is what to call at each point.
func Hook() func(point string) {
	if st, err := os.Stat(Dir); err != nil || !st.IsDir() {
		return nil
	}
	return at
}

func at(point string) {
	trace(point)
	if says("kill") == point {
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
	if says("hold") != point {
		return
	}
	held := filepath.Join(Dir, "held")
	if err := os.WriteFile(held, nil, 0o600); err != nil {
		panic(err)
	}
	for says("hold") == point {
		time.Sleep(time.Millisecond)
	}
	os.Remove(held)
}

// says reads one of the files; "" if it is not there.
func says(name string) string {
	b, err := os.ReadFile(filepath.Join(Dir, name))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

func trace(point string) {
	f, err := os.OpenFile(filepath.Join(Dir, "trace"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return
	}
	defer f.Close()
	fmt.Fprintln(f, point)
}
