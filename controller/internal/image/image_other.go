//go:build !linux

// Package image enters system images, which only Linux can.
package image

import (
	"errors"
	"os/exec"
)

// Error says what is wrong with a directory, and what to do.
type Error struct {
	Err  error
	Hint string
}

func (e *Error) Error() string { return e.Err.Error() }

// Unwrap gives the error.
func (e *Error) Unwrap() error { return e.Err }

// Image is the root of a system that does not run.
type Image struct{}

// Open fails: there is no way into an image here.
func Open(string, bool) (*Image, error) {
	return nil, &Error{errors.New("images can be entered on Linux only"), "run gofleet on a Linux machine"}
}

// Close does nothing.
func (*Image) Close() error { return nil }

// Dir is "".
func (*Image) Dir() string { return "" }

// Command is nil: there is no Image.
func (*Image) Command(string, string) *exec.Cmd { return nil }

// Main returns.
func Main() {}
