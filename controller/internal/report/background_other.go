//go:build !unix

package report

// background is not known on this system.
func background(int) bool { return false }
