// Package ansible shows what the collection gofleet.golang does: real
// ansible-playbook, of several ansible-core versions, against real sshd hosts
// of this machine. It also writes those parts of the collection that say what
// package spec says: go test -run Generated -update.
package ansible
