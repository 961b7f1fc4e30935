// Package release finds, fetches and judges the archives of Go releases. It is
// the only maker of an Archive, and it makes one only after some evidence says
// that the file is what its name says and after the content was seen to agree.
//
// It knows nothing of hosts or inventories, and it verifies with no network:
// what the connected side fetched carries its evidence along.
package release

import (
	"fmt"
	"strings"
)

// Kind is one kind of evidence.
type Kind string

// The kinds of evidence, in the order in which they decide.
const (
	Pin    Kind = "pin"    // gofleet_sha256
	Sums   Kind = "table"  // the built-in table of official sha256 sums
	Bundle Kind = "bundle" // the signed manifest of a bundle
	PGP    Kind = "pgp"    // a detached signature under the pinned primary key
	SumDB  Kind = "sumdb"  // a proof of the Go checksum database
)

// Status is what one kind of evidence says of a file.
type Status string

// A source that names the file says Good or Bad; Absent is one that does not.
const (
	Good   Status = "good"
	Bad    Status = "bad"
	Absent Status = "absent"
)

// Finding is what one kind of evidence says of a file.
type Finding struct {
	Kind   Kind   `json:"kind"`
	Status Status `json:"status"`
	Detail string `json:"detail"`
}

// Evidence is why an Archive is believed: the first source that named it.
type Evidence struct {
	Kind   Kind
	Detail string
}

// String is one line, kept in the manifest on the host.
func (e Evidence) String() string { return string(e.Kind) + ": " + e.Detail }

// MissingError says that there is no archive of a release for a platform. Only
// the hosts of that platform are concerned. It is not retryable.
type MissingError struct {
	Version  string
	Platform string
	Location string
	Looked   []string // the names looked for
	Hint     string
}

func (e *MissingError) Error() string {
	return fmt.Sprintf("no archive of go%s for %s in %s: looked for %s",
		e.Version, e.Platform, e.Location, strings.Join(e.Looked, " and "))
}

// RefusedError says that a file is there but must not be used: its evidence is
// bad, or there is none, or its content is not what its name says. It is not
// retryable.
type RefusedError struct {
	File   string
	Reason string
	SHA256 string // of the file; "" when it was not read
	Hint   string // the way out; where there is no evidence, the line to write to pin the file
	cause  error
}

func (e *RefusedError) Error() string { return fmt.Sprintf("refuse %s: %s", e.File, e.Reason) }

// Unwrap gives what the content check or the strict reader said, if it did.
func (e *RefusedError) Unwrap() error { return e.cause }
