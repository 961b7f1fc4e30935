package remote

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"testing/iotest"
)

// TestCrashSaysWhy crashes real Go programs: this one.
func TestCrashSaysWhy(t *testing.T) {
	if how := os.Getenv("GOFLEET_TEST_CRASH"); how != "" {
		var nothing *int
		m := map[int]int{}
		switch how {
		case "panic":
			deep(1000, func() { panic("no such thing") })
		case "nil":
			*nothing = 1
		case "fatal":
			for {
				go func() {
					for {
						m[1]++
					}
				}()
			}
		}
	}
	for how, want := range map[string]string{
		"panic": "panic: no such thing",
		"nil":   "panic: runtime error: invalid memory address or nil pointer dereference",
		"fatal": "fatal error: concurrent map writes",
	} {
		cmd := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$")
		cmd.Env = append(os.Environ(), "GOFLEET_TEST_CRASH="+how, "GOTRACEBACK=all")
		var said strings.Builder
		cmd.Stderr = &said
		if err := cmd.Run(); err == nil {
			t.Fatalf("%s: it did not crash", how)
		}
		tl := newTail("", nil, func() {})
		tl.read(iotest.HalfReader(strings.NewReader("a warning\n" + said.String())))
		if got := tl.last(); !strings.HasPrefix(got, want) || strings.Contains(got, "goroutine") {
			t.Errorf("%s: the end says %q, want %q", how, got, want)
		}
	}
}

func deep(n int, f func()) {
	if n == 0 {
		f()
		return
	}
	deep(n-1, f)
}

func TestNoCrash(t *testing.T) {
	tl := newTail("", nil, func() {})
	tl.read(strings.NewReader("fatal error: stdio.h: No such file or directory\ncompilation terminated.\n"))
	if got, want := tl.last(), "fatal error: stdio.h: No such file or directory | compilation terminated."; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
