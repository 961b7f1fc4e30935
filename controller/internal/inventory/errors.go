package inventory

import (
	"errors"
	"fmt"
)

// ErrNoHosts is wrapped by the error of Hosts when pattern and limit leave no
// host.
var ErrNoHosts = errors.New("no hosts matched")

// Position is where something was written. Line is 0 where there are no
// lines, as in a host list or a -e option.
type Position struct {
	File string
	Line int
}

// String is file:line, or the file alone where there is no line.
func (p Position) String() string {
	if p.Line == 0 {
		return p.File
	}
	return fmt.Sprintf("%s:%d", p.File, p.Line)
}

// Error says what is wrong in an inventory, where, and in Hint how to put it
// right.
type Error struct {
	File string // as the user named it; "" where no file is at fault
	Line int    // 0 where unknown
	Msg  string
	Hint string
	// Variable is the one that Evaluate could not evaluate, if that is wrong.
	Variable string
	err      error
}

// Error is file:line: message, without the hint.
func (e *Error) Error() string {
	if e.File == "" {
		return e.Msg
	}
	return Position{e.File, e.Line}.String() + ": " + e.Msg
}

// Unwrap gives the cause, if there is one.
func (e *Error) Unwrap() error { return e.err }

// at makes an Error at a position.
func at(p Position, format string, args ...any) *Error {
	return &Error{File: p.File, Line: p.Line, Msg: fmt.Sprintf(format, args...)}
}

// hint adds the way out.
func (e *Error) hint(format string, args ...any) *Error {
	e.Hint = fmt.Sprintf(format, args...)
	return e
}

// Errors are the single errors in what Load, Hosts or a renderer returned.
// One that is not an *Error, such as a context's, becomes one.
func Errors(err error) []*Error {
	switch e := err.(type) {
	case nil:
		return nil
	case *Error:
		return []*Error{e}
	case interface{ Unwrap() []error }:
		var out []*Error
		for _, one := range e.Unwrap() {
			out = append(out, Errors(one)...)
		}
		return out
	}
	return []*Error{{Msg: err.Error(), err: err}}
}
