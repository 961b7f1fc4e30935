// Package faults breaks what can break, through the front door: the real
// gofleet and real sshd, with power, networks, disks and processes failing at
// chosen instants. After each fault the old Go works, nothing half made is
// seen, no lock stays, and the next run succeeds without help and leaves no
// file behind.
package faults
