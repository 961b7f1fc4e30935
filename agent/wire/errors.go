package wire

import "errors"

// Kind is one of the closed list of error kinds; docs/errors.md explains each.
type Kind string

// Kinds that an agent reports.
const (
	KindUnmet          Kind = "precondition_unmet"
	KindNeedsRoot      Kind = "needs_root"      // something asked for cannot be done without become
	KindLocked         Kind = "locked"          // another run holds the host
	KindArchiveMissing Kind = "archive_missing" // no archive for this platform on the controller
	KindArchiveCorrupt Kind = "archive_corrupt" // what arrived is not what was promised
	KindArchiveUnsafe  Kind = "archive_unsafe"  // entries that no Go archive has
	KindTransfer       Kind = "transfer_failed" // the bytes did not arrive
	KindNoSpace        Kind = "no_space"
	KindVerify         Kind = "verify_failed"  // the new toolchain does not work
	KindLink           Kind = "link_refused"   // gofleet_link cannot be made a link, or others can change the way to it
	KindNotInstalled   Kind = "not_installed"  // rollback or remove of what is not there
	KindInUse          Kind = "in_use"         // removing the current toolchain
	KindFormat         Kind = "manifest_newer" // written by a newer gofleet
	KindAccount        Kind = "account_refused"
	KindEnvironment    Kind = "environment_refused"
	KindBaseline       Kind = "baseline_refused"
	KindLockout        Kind = "lockout"    // new rules of a firewall let no fresh login in
	KindHost           Kind = "host_error" // the operating system refused something
	KindStopped        Kind = "stopped"    // the controller asked, or went away
	KindProtocol       Kind = "protocol"
	KindInternal       Kind = "internal"
)

// Kinds that only a controller reports.
const (
	KindUnreachable    Kind = "unreachable"
	KindTimeout        Kind = "timeout"
	KindAuth           Kind = "auth_failed"
	KindHostKeyUnknown Kind = "host_key_unknown"
	KindHostKeyChanged Kind = "host_key_changed"
	KindHostKeyRevoked Kind = "host_key_revoked"
	KindBecomePassword Kind = "become_password" // wrong or missing
	KindBecomeDenied   Kind = "become_denied"   // the user may not
	KindBecomeMissing  Kind = "become_missing"  // sudo is not on the host
	KindPlatform       Kind = "platform"        // no agent for this platform
	KindAgent          Kind = "agent_failed"    // it could not be started, or died
	KindInterrupted    Kind = "interrupted"
	KindRunStopped     Kind = "run_stopped"    // a budget broke or a gate said no before the host was begun
	KindJournal        Kind = "journal_failed" // what was about to be done could not be written down
)

// Error is a failure with its kind and the way out. It crosses the wire, and
// it is a Go error on both sides.
type Error struct {
	Kind      Kind   `json:"kind"`
	Message   string `json:"message"`
	Hint      string `json:"hint,omitempty"`
	Retryable bool   `json:"retryable"` // the same command may succeed later, unchanged
	cause     error
}

// Error is the message; the hint is printed by the command.
func (e *Error) Error() string { return e.Message }

// Unwrap gives the error that New wrapped.
func (e *Error) Unwrap() error { return e.cause }

// NewError makes an Error from err, whose text becomes the message.
func NewError(kind Kind, err error, hint string) *Error {
	return &Error{Kind: kind, Message: err.Error(), Hint: hint, cause: err}
}

// AsError finds the Error in err's chain, or makes one of kind fallback. The
// message is always the whole chain's text.
func AsError(err error, fallback Kind) *Error {
	var e *Error
	if !errors.As(err, &e) {
		return NewError(fallback, err, "")
	}
	out := *e
	out.Message = err.Error()
	return &out
}
