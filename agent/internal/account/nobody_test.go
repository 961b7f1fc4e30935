package account_test

import (
	"syscall"
	"testing"
)

// asNobody makes the rest of the test run as an ordinary user.
func asNobody(t *testing.T) {
	t.Helper()
	if err := syscall.Setgroups([]int{65534}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Setresgid(65534, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Setresuid(65534, 65534, 65534); err != nil {
		t.Fatal(err)
	}
}
