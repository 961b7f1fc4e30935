// Package e2e shows that gofleet does what it says: the real program, its
// agent, and hosts that are real OpenSSH servers. The tests are scripts in
// testdata/script; README.md has their commands.
package e2e
